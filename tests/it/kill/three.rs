//! F11: a cluster of three brokers, one of them dead, whose coordinators move.

use std::sync::Arc;

use stream_pipeline_operator::api::Stage;
use stream_pipeline_operator::memory::is_closed;
use testbed::proxy::OFFSET_COMMIT;
use testbed::trap::Side;
use testbed::{Broker, eventually, offsets_topic};

use super::broker::{honest_end, restart};
use crate::wired::{Wired, sockets};
use crate::world::{LIMIT, World};

/// Kafka's API key of FindCoordinator.
const FIND_COORDINATOR: &str = "10";

/// Three brokers, and an operator whose calls to each of them go through a proxy.
struct Three {
    wired: Wired,
    nodes: Vec<Arc<Broker>>,
    /// The proxies' addresses, in the order of the nodes.
    addresses: Vec<String>,
}

impl Three {
    async fn start(test: &str) -> Self {
        let mut world = World::without_operator(test).await;
        let (sockets, addresses) = sockets(3);
        let (parts, behind) = (&world.testbed.parts, addresses.clone());
        let start = move || Broker::start_cluster(parts, &behind);
        let nodes = tokio::task::spawn_blocking(start).await.expect("no panic").expect("three brokers start");
        world.bootstrap = nodes.iter().map(Broker::bootstrap).collect::<Vec<_>>().join(",");
        let lines = sockets.into_iter().zip(nodes.iter().map(Broker::second)).collect();
        let wired = Wired::between(world, lines).await;
        Self { wired, nodes: nodes.into_iter().map(Arc::new).collect(), addresses }
    }

    /// Index of the node that coordinates this group.
    async fn coordinator(&self, group: &str) -> usize {
        let found = eventually("the group to have a coordinator", LIMIT, async || {
            offsets_topic::coordinator(&self.wired.world.bootstrap, group).await
        })
        .await;
        let of = |node: &Arc<Broker>| i32::try_from(node.id()).is_ok_and(|id| id == found);
        self.nodes.iter().position(of).expect("one of the three")
    }

    /// What the objects name from now on.
    fn name(&mut self, nodes: &[usize]) {
        self.wired.world.named = Some(nodes.iter().map(|n| self.addresses[*n].clone()).collect());
    }

    /// A pipeline; returns its group's coordinator, which is not the first of the brokers that it names.
    async fn fresh(&mut self, name: &str) -> usize {
        self.name(&[0, 1, 2]);
        self.wired.fresh(name).await;
        let group = self.wired.group.clone();
        let found = self.coordinator(&group).await;
        self.name(&[(found + 1) % 3, (found + 2) % 3, found]);
        found
    }

    /// Waits until every partition is led, and the groups by somebody who lives.
    async fn settled(&self, dead: Option<usize>) {
        let group = &self.wired.group;
        eventually("a living coordinator", LIMIT, async || match dead == Some(self.coordinator(group).await) {
            true => Err("still the dead one".to_owned()),
            false => Ok(()),
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f11_a_cluster_of_three_brokers_one_of_them_dead_and_the_coordinator_moving() {
    let mut three = Three::start("f11").await;
    three.wired.restart_with(&[]);
    // The coordinator is another one than the broker that is asked first, and the only one that is named.
    let coordinator = three.fresh("other").await;
    three.name(&[(coordinator + 1) % 3]);
    three.wired.ask().await;
    three.wired.verified().await;

    // It dies during the commit, done or not: the group moves, and is looked at where it went.
    for (name, side, end) in [("done", Side::After, Stage::Verified), ("lost", Side::Before, Stage::Held)] {
        let coordinator = three.fresh(name).await;
        three.wired.traps.arm(side, |call| call == OFFSET_COMMIT);
        three.wired.ask().await;
        three.wired.traps.sprung().await;
        three.nodes[coordinator].kill();
        three.wired.traps.disarm();
        three.settled(Some(coordinator)).await;
        assert_eq!(honest_end(&three.wired).await, end, "{name}");
        assert_eq!(three.wired.landed().await.len(), usize::from(end == Stage::Verified), "{name}");
        println!("f11: coordinator killed during the commit, {name}: {end:?}");
        restart(&three.nodes[coordinator]).await;
    }

    // It dies between the bootstrap and the question who it is.
    let coordinator = three.fresh("asked").await;
    three.wired.operator = None;
    three.wired.traps.arm(Side::Before, |call| call == FIND_COORDINATOR);
    three.wired.restart_with(&[]);
    three.wired.traps.sprung().await;
    three.nodes[coordinator].kill();
    three.wired.traps.release();
    three.wired.ask().await;
    three.wired.verified().await;
    println!("f11: coordinator killed between bootstrap and look-up: Verified");

    // It is still dead, and the first that is named; then also without its being known from before.
    let dead = coordinator;
    three.name(&[dead, (dead + 1) % 3, (dead + 2) % 3]);
    three.wired.operator = None;
    three.wired.restart_with(&[]);
    three.wired.fresh("dead-first").await;
    three.wired.ask().await;
    three.wired.verified().await;
    println!("f11: the first of the list is dead: Verified");
    restart(&three.nodes[dead]).await;
    assert!(three.wired.world.all_records().await.iter().all(is_closed));
}
