//! C1: what the operator remembers of objects that are gone is let go: made and deleted again and again, they cost no more than once.

use futures::future::join_all;
use kube::api::{DeleteParams, ListParams};
use testbed::{eventually, kafka};

use crate::hostile::process;
use crate::watching::ask;
use crate::world::{LIMIT, World};

const ROUNDS: usize = 3;
/// Of each group.
const PARTITIONS: i32 = 1000;
/// KiB from one round to the next that are no growth: what the allocator keeps.
const SLACK: u64 = 4 * 1024;

/// Objects at once: few by default, as many as `OBJECTS` says where it is measured.
fn objects() -> usize {
    std::env::var("OBJECTS").ok().and_then(|n| n.parse().ok()).unwrap_or(20)
}

#[tokio::test(flavor = "multi_thread")]
async fn c1_objects_that_are_made_and_deleted_again_and_again_leave_no_memory_behind() {
    let mut world = World::without_operator("c1").await;
    world.start_operator_with(&["--concurrency=16", "--call-deadline=30s", "--send-window=30s"]);
    let topic = world.unique("t");
    kafka::create_topic(&world.bootstrap, &topic, PARTITIONS, &[]).await;
    let commits: Vec<_> = (0..PARTITIONS).map(|partition| (topic.as_str(), partition, 0, "")).collect();
    let mut groups = Vec::new();
    for _ in 0..objects() {
        let group = world.unique("g");
        kafka::commit(&world.bootstrap, &group, &commits).await;
        groups.push(group);
    }
    let (mut with, mut after) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let name = |n: usize| format!("p{round}-{n}");
        let of = |(n, group): (usize, &String)| {
            let (world, name, group) = (&world, name(n), group.clone());
            async move {
                world.known(&name, &group).await;
                world.apply(&name, &group, ask("r1", "Latest")).await;
                world.verified(&name, "r1").await;
            }
        };
        join_all(groups.iter().enumerate().map(of)).await;
        let full = process(world.operator().pid(), "VmRSS");
        let (pipelines, records, params) = (world.pipelines(), world.records(), ListParams::default());
        pipelines.delete_collection(&DeleteParams::default(), &params).await.expect("they can be deleted");
        records.delete_collection(&DeleteParams::default(), &params).await.expect("they can be deleted");
        eventually("all to be gone", LIMIT, async || {
            let left = (pipelines.list(&params).await.map_err(|e| e.to_string())?.items.len(), world.all_records().await.len());
            if left == (0, 0) { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
        // What is forgotten within ten seconds is used again: it is no more than the first ones took.
        let most = with.first().copied().unwrap_or(u64::MAX - SLACK) + SLACK;
        with.push(full);
        let pid = world.operator().pid();
        eventually("the memory of what is gone to be let go", LIMIT, async || match process(pid, "VmRSS") {
            now if now <= most => Ok(()),
            now => Err(format!("{now} KiB of {most}: {with:?}")),
        })
        .await;
        after.push(process(world.operator().pid(), "VmRSS"));
        println!(
            "round {}: {} objects of {PARTITIONS} partitions: {full} KiB with them, {} KiB after them",
            round + 1,
            objects(),
            after[round]
        );
    }
}
