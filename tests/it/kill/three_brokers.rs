//! F11, F16: a cluster of three brokers whose coordinators move, stand still and die.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use serde_json::{Value, json};
use stream_pipeline_api::{Stage, StreamPipelineStatus};
use stream_pipeline_operator::process_state::is_closed;
use testbed::trap::Side;
use testbed::{Operator, kafka, offsets_topic};

use crate::support::brokers;
use crate::support::calls::is_commit;
use crate::support::requests::ask;
use crate::support::settings;
use crate::support::three_brokers::ThreeBrokers;
use crate::support::world::{EXE, World, flags};

/// Kafka's API key of FindCoordinator.
const FIND_COORDINATOR: &str = "10";

#[tokio::test(flavor = "multi_thread")]
async fn f11_a_cluster_of_three_brokers_one_of_them_dead_and_the_coordinator_moving() {
    let mut three = ThreeBrokers::start("f11").await;
    three.proxied.restart_with(&[]);
    // The objects name one broker only, which is not the coordinator.
    let coordinator = three.fresh("other").await;
    three.name(&[(coordinator + 1) % 3]);
    three.proxied.ask().await;
    three.proxied.verified().await;

    // The coordinator dies during the commit, which is done or not: the group gets another one, which is asked.
    for (name, side, end) in [("done", Side::After, Stage::Verified), ("lost", Side::Before, Stage::Held)] {
        let coordinator = three.fresh(name).await;
        three.proxied.ask_and_stop(side, is_commit).await;
        three.nodes[coordinator].kill();
        three.proxied.traps.disarm();
        three.settled(coordinator).await;
        assert_eq!(three.proxied.honest_end().await, end, "{name}");
        assert_eq!(three.proxied.landed().await.len(), usize::from(end == Stage::Verified), "{name}");
        println!("f11: coordinator killed during the commit, {name}: {end:?}");
        brokers::restart(&three.nodes[coordinator]).await;
    }

    // The coordinator dies between the bootstrap and FindCoordinator.
    let coordinator = three.fresh("asked").await;
    three.proxied.operator = None;
    three.proxied.traps.arm(Side::Before, |call| call == FIND_COORDINATOR);
    three.proxied.restart_with(&[]);
    three.proxied.traps.sprung().await;
    three.nodes[coordinator].kill();
    three.proxied.traps.release();
    three.proxied.ask().await;
    three.proxied.verified().await;
    println!("f11: coordinator killed between bootstrap and look-up: Verified");

    // The dead broker is the first that the objects name, and a new operator knows no other.
    let dead = coordinator;
    three.name(&[dead, (dead + 1) % 3, (dead + 2) % 3]);
    three.proxied.operator = None;
    three.proxied.restart_with(&[]);
    three.proxied.fresh("dead-first").await;
    three.proxied.ask().await;
    three.proxied.verified().await;
    println!("f11: the first of the list is dead: Verified");
    brokers::restart(&three.nodes[dead]).await;
    assert!(three.proxied.world.all_records().await.iter().all(is_closed));
}

const PIPELINES: usize = 200;
/// Pipelines on a broker that is left alone.
const OTHERS: usize = 10;

fn over(id: &str, status: &StreamPipelineStatus) -> bool {
    status.offset_reset.as_ref().is_some_and(|r| r.id == id && matches!(r.stage, Stage::Verified | Stage::Held))
}

#[tokio::test(flavor = "multi_thread")]
async fn f16_coordinators_stop_go_on_and_die_under_two_hundred_group_calls() {
    let mut three = ThreeBrokers::start("f16").await;
    let calm = World::without_operator("f16-calm").await.bootstrap;
    let world = &mut three.proxied.world;
    // Without proxies, which would be slow with two hundred pipelines.
    let args = flags(&["--concurrency=220", "--recheck-idle=30s", "--recheck-waiting=5s", "--call-deadline=10s"]);
    let operator = Operator::start(world.testbed, Path::new(EXE), world.namespace.name(), &args);
    let pid = operator.pid();
    three.proxied.operator = Some(operator);
    world.named = Some(three.nodes.iter().map(|node| node.bootstrap()).collect());
    let topic = world.topic(&[10]).await;
    let through = world.named.clone();
    let mut groups = Vec::new();
    for n in 0..PIPELINES {
        groups.push((format!("p{n}"), world.unique("g")));
    }
    let direct = world.bootstrap.clone();
    for part in groups.chunks(20) {
        join_all(part.iter().map(async |(_, group)| kafka::commit(&direct, group, &[(&topic, 0, 7, "")]).await)).await;
        join_all(part.iter().map(|(name, group)| world.apply(name, group, Value::Null))).await;
    }
    // The others are on the testbed's own broker, and named by the same operator.
    (world.named, world.bootstrap) = (None, calm.clone());
    let quiet = world.topic(&[10]).await;
    let mut others = Vec::new();
    for n in 0..OTHERS {
        let (name, group) = (format!("other{n}"), world.group(&quiet, &[7]).await);
        world.known(&name, &group).await;
        others.push((name, group));
    }
    (world.named, world.bootstrap) = (through, direct);
    for (name, _) in &groups {
        world.wait(name, "the operator to see the object", |s| s.phase.is_some()).await;
    }

    let (stress, begun) = (Duration::from_secs(if settings::long() { 300 } else { 40 }), Instant::now());
    let disturb = async {
        let (mut turns, mut deaths) = (0, 0);
        while begun.elapsed() < stress {
            let node = &three.nodes[turns % 3];
            node.pause();
            tokio::time::sleep(Duration::from_millis(1500)).await;
            node.resume();
            if turns % 2 == 0 {
                brokers::restart(node).await;
                deaths += 1;
            }
            turns += 1;
        }
        (turns, deaths)
    };
    let demand = async {
        let world = &three.proxied.world;
        let (mut round, mut done) = (0, 0);
        while begun.elapsed() < stress {
            // Every group gets a new request; what still ran for an earlier one is given up or ended by the operator.
            let (id, position) = (format!("r{round}"), if round % 2 == 0 { "Earliest" } else { "Latest" });
            for part in groups.chunks(40) {
                join_all(part.iter().map(|(name, group)| world.apply(name, group, ask(&id, position)))).await;
            }
            for (name, group) in &others {
                let kafka = json!({ "bootstrapServers": [calm], "consumerGroup": group });
                world.apply_spec(name, json!({ "kafka": kafka, "offsetReset": ask(&id, position) })).await.expect("it is taken");
            }
            for (name, _) in &others {
                world.verified(name, &id).await;
                done += 1;
            }
            round += 1;
        }
        (round, done)
    };
    let ((turns, deaths), (round, others_done)) = join(disturb, demand).await;
    assert!(deaths > 1 && round > 0, "{deaths} deaths, {round} rounds");
    // With all nodes up again, every pipeline ends its last request.
    let last = format!("r{}", round - 1);
    let (mut verified, mut held) = (0, 0);
    for (name, _) in &groups {
        let status = three.proxied.world.wait(name, "the last request to end", |s| over(&last, s)).await;
        let stage = status.offset_reset.as_ref().expect("a request").stage;
        if stage == Stage::Verified { verified += 1 } else { held += 1 }
    }
    // At most one commit for each record.
    let records = three.proxied.world.all_records().await;
    let open = records.iter().filter(|r| !is_closed(r)).count();
    let mut commits = 0;
    let landed = offsets_topic::landed_by_group(&three.proxied.world.bootstrap).await;
    for (name, group) in &groups {
        let sent = landed.get(group).map_or(0, |partitions| partitions.values().map(Vec::len).sum::<usize>());
        let made = records.iter().filter(|r| r.spec.pipeline.name == *name).count();
        // The commit that the group began with is among them.
        assert!(sent <= made + 1, "{name}: {sent} commits, {made} records");
        commits += sent - 1;
    }
    let operator = three.proxied.operator.as_mut().expect("an operator");
    assert!(operator.is_running());
    assert_eq!(operator.pid(), pid);
    println!(
        "f16: {PIPELINES} groups asked for {round} times, {turns} stops and {deaths} deaths of brokers in {:.0} s; last request: {verified} Verified, {held} Held; {} records, {open} open, {commits} commits; {others_done} of {} others Verified meanwhile",
        begun.elapsed().as_secs_f32(),
        records.len(),
        round * OTHERS,
    );
    assert_eq!(open, 0, "records that are open");
}
