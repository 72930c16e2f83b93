//! A cluster of three brokers, whose coordinators can move, stand still and die.

use std::sync::Arc;

use testbed::{Broker, eventually, offsets_topic};

use crate::support::brokers;
use crate::support::proxied::ProxiedWorld;
use crate::support::sockets::ports;
use crate::support::world::{LIMIT, World};

/// Three brokers, and an operator whose calls to each of them go through a proxy.
pub struct ThreeBrokers {
    pub proxied: ProxiedWorld,
    pub nodes: Vec<Arc<Broker>>,
    /// The proxies' addresses, in the order of the nodes.
    addresses: Vec<String>,
}

impl ThreeBrokers {
    pub async fn start(test: &str) -> Self {
        let mut world = World::without_operator(test).await;
        let (sockets, addresses) = ports(3);
        let (parts, behind) = (&world.testbed.parts, addresses.clone());
        let start = move || Broker::start_cluster(parts, &behind);
        let nodes = brokers::start(start).await;
        world.bootstrap = nodes.iter().map(Broker::bootstrap).collect::<Vec<_>>().join(",");
        let lines = sockets.into_iter().zip(nodes.iter().map(Broker::second)).collect();
        let proxied = ProxiedWorld::behind(world, lines).await;
        Self { proxied, nodes: nodes.into_iter().map(Arc::new).collect(), addresses }
    }

    /// Index of the node that coordinates this group.
    pub async fn coordinator(&self, group: &str) -> usize {
        let found = eventually("the group to have a coordinator", LIMIT, async || {
            offsets_topic::coordinator(&self.proxied.world.bootstrap, group).await
        })
        .await;
        let of = |node: &Arc<Broker>| i32::try_from(node.id()).is_ok_and(|id| id == found);
        self.nodes.iter().position(of).expect("the coordinator is one of the three")
    }

    /// The brokers that the objects name from now on, in this order.
    pub fn name(&mut self, nodes: &[usize]) {
        self.proxied.world.named = Some(nodes.iter().map(|n| self.addresses[*n].clone()).collect());
    }

    /// A pipeline; returns its group's coordinator, which is not the first of the brokers that it names.
    pub async fn fresh(&mut self, name: &str) -> usize {
        self.name(&[0, 1, 2]);
        self.proxied.fresh(name).await;
        let group = self.proxied.group.clone();
        let found = self.coordinator(&group).await;
        self.name(&[(found + 1) % 3, (found + 2) % 3, found]);
        found
    }

    /// Waits until another node than this one coordinates the group.
    pub async fn settled(&self, dead: usize) {
        let group = &self.proxied.group;
        eventually("the group to have another coordinator than the dead one", LIMIT, async || match self.coordinator(group).await {
            found if found == dead => Err("still the dead one".to_owned()),
            _ => Ok(()),
        })
        .await;
    }
}
