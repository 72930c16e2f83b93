//! A crowd that asks while the leader leaves, and again while the next one is killed.

use std::collections::BTreeMap;

use futures::future::join_all;
use futures::{StreamExt, stream};
use kube::ResourceExt;
use kube::api::ListParams;
use stream_pipeline_api::{RecordPhase, Stage};
use testbed::{eventually, offsets_topic};

use super::leader::{leads, replica, stands_by, world};
use crate::support::requests::ask;
use crate::support::settings;
use crate::support::world::{LIMIT, World};

/// CROWD=1000 for more.
const CROWD: u64 = 60;
/// Of so many the reset is over when the leader ends: others are planned, sent, closed at that moment.
const SOME: usize = 10;
/// Groups that are made at once; each takes a client.
const AT_ONCE: usize = 16;

struct Crowd {
    world: World,
    topic: String,
    /// Groups, by the name of the pipeline.
    groups: BTreeMap<String, String>,
}

impl Crowd {
    async fn ask(&self, id: &str, position: &str) {
        join_all(self.groups.iter().map(|(name, group)| self.world.apply(name, group, ask(id, position)))).await;
    }

    /// Where the records of this request stand.
    async fn phases(&self, id: &str) -> BTreeMap<String, RecordPhase> {
        let of_id = self.world.all_records().await.into_iter().filter(|record| record.spec.request.id == id);
        of_id.filter_map(|record| Some((record.spec.pipeline.name, record.status?.phase))).collect()
    }

    async fn some_are_over(&self, id: &str) {
        eventually("some to be reset", LIMIT, async || match self.phases(id).await.len() {
            n if n >= SOME => Ok(()),
            n => Err(n.to_string()),
        })
        .await;
    }

    /// Waits until each request has ended; returns the names of those that are held.
    async fn all_end(&self, id: &str) -> Vec<String> {
        eventually(&format!("{id} to end everywhere"), LIMIT, async || {
            let all = self.world.pipelines().list(&ListParams::default()).await.map_err(|e| e.to_string())?;
            let resets = all.iter().filter_map(|p| Some((p.name_any(), p.status.as_ref()?.offset_reset.as_ref()?)));
            let ended = resets.filter(|(_, r)| r.id == id && matches!(r.stage, Stage::Verified | Stage::Held));
            let (ended, held): (Vec<_>, Vec<_>) = ended.map(|(name, r)| ((), (r.stage == Stage::Held).then_some(name))).unzip();
            let left = self.groups.len() - ended.len();
            if left == 0 { Ok(held.into_iter().flatten().collect()) } else { Err(format!("{left} have not ended")) }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o09_a_crowd_that_asks_while_the_leader_leaves_or_is_killed_is_reset_once_each() {
    let world = world("hand-over").await;
    let topic = world.topic(&[10]).await;
    let mut first = replica(&world, "300s");
    leads(&first).await;
    let made = stream::iter(0..settings::number("CROWD", CROWD)).map(async |n| {
        let (name, group) = (format!("p{n}"), world.group(&topic, &[7]).await);
        world.known(&name, &group).await;
        (name, group)
    });
    let groups: BTreeMap<_, _> = made.buffer_unordered(AT_ONCE).collect().await;
    let crowd = Crowd { groups, topic, world };
    let mut second = replica(&crowd.world, "3s");
    stands_by(&second).await;

    crowd.ask("r1", "Earliest").await;
    crowd.some_are_over("r1").await;
    assert!(first.terminate().success());
    let at_once = crowd.phases("r1").await.len();
    assert_eq!(crowd.all_end("r1").await, Vec::<String>::new(), "who leaves finishes what it has begun, or leaves it unsent");
    println!("hand-over: {at_once} of {} were over when the leader had left", crowd.groups.len());

    let third = replica(&crowd.world, "3s");
    stands_by(&third).await;
    crowd.ask("r2", "Latest").await;
    crowd.some_are_over("r2").await;
    second.kill();
    // What was planned and not sent by then is held, since nobody can know that it was not; nothing of it has moved.
    let held = crowd.all_end("r2").await;
    println!("hand-over: {held:?} are held after the kill");
    let landed = offsets_topic::landed_by_group(&crowd.world.bootstrap).await;
    for (name, group) in &crowd.groups {
        let mut expected = vec![7, 0];
        expected.extend((!held.contains(name)).then_some(10));
        let commits = landed.get(group).and_then(|of_group| of_group.get(&(crowd.topic.clone(), 0)));
        assert_eq!(commits, Some(&expected), "commits of {name}");
    }
}
