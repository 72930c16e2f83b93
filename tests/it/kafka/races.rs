//! K02, K22, K26, K29, A07: what changes between the plan and the write, and between the write and the read-back.

use serde_json::json;
use stream_pipeline_operator::api::{RecordPhase, Stage};
use testbed::kafka::OpenTransaction;
use testbed::offsets_topic::{self, Written};
use testbed::proxy::OFFSET_COMMIT;
use testbed::trap::Side;
use testbed::{eventually, kafka};

use crate::kill::broker::restart;
use crate::support::proxied::{Wired, records};
use crate::support::world::{FIRST, LIMIT, World, reset, says};

/// What a test does in between may take longer than a healthy reset.
const PATIENT: [&str; 2] = ["--send-window=60s", "--call-deadline=60s"];

async fn wired(test: &str) -> Wired {
    let mut wired = Wired::without_operator(test).await;
    wired.restart_with(&PATIENT);
    wired
}

/// Stops the operator when its plan is in the record and it has not been told so.
async fn planned(wired: &Wired) {
    wired.traps.arm(Side::After, |call| records(call, "POST"));
    wired.ask().await;
    wired.traps.sprung().await;
    assert_eq!(wired.commits(), 0);
}

/// Stops the operator when its commit was done and is not answered.
async fn committed(wired: &Wired, id: &str, position: &str) {
    wired.traps.arm(Side::After, |call| call == OFFSET_COMMIT);
    wired.ask_for(id, position).await;
    wired.traps.sprung().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k02_latest_puts_every_partition_at_the_end_pinned_in_the_plan() {
    let mut wired = wired("k02").await;
    wired.fresh("p").await;
    wired.traps.arm(Side::After, |call| records(call, "POST"));
    wired.ask_for("r1", "Latest").await;
    wired.traps.sprung().await;
    // Records that come between the plan and the write do not change what was planned.
    let (bootstrap, topic) = (wired.world.bootstrap.clone(), wired.topic.clone());
    for partition in 0..3 {
        kafka::produce(&bootstrap, &topic, partition, 5, |n| FIRST + n).await;
        assert_eq!(kafka::watermarks(&bootstrap, &topic, partition).await, (0, 15));
    }
    wired.traps.release();
    let status = wired.world.verified("p", "r1").await;
    assert_eq!(wired.landed().await, [[10, 10, 10]]);
    let plan = wired.world.record(&status).await.spec.plan.expect("a plan");
    assert_eq!((plan.topics[0].to.as_slice(), plan.topics[0].log_end.as_slice()), ([10; 3].as_slice(), [10; 3].as_slice()));
    assert_eq!(reset(&status).plan.as_ref().map(|p| (p.skipped, p.lag_after)), Some((6, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn k22_partitions_added_between_plan_and_commit_are_told_and_not_covered() {
    let mut wired = wired("k22").await;
    wired.fresh("p").await;
    planned(&wired).await;
    let (bootstrap, topic) = (wired.world.bootstrap.clone(), wired.topic.clone());
    kafka::create_partitions(&bootstrap, &topic, 5).await;
    eventually("leaders of the new partitions", LIMIT, async || match kafka::led(&bootstrap, &topic).await? {
        5 => Ok(()),
        n => Err(format!("{n} have one")),
    })
    .await;
    wired.traps.release();
    wired.verified().await;
    let status = wired.world.verified("p", "r1").await;
    let message = says(&status, "OffsetsReset").2;
    assert!(message.starts_with("3 of 3 partitions read back as planned"), "{message}");
    assert!(
        message.contains(&format!("not covered, since the topic got them after the plan: 2 partitions ({topic}-3, {topic}-4)")),
        "{message}"
    );
    let record = wired.world.record(&status).await;
    assert_eq!(record.spec.plan.expect("a plan").topics[0].partition, [0, 1, 2]);
    assert!(record.status.expect("it is closed").message.contains("not covered"), "kept in the record");
    let now = kafka::offsets(&bootstrap, &wired.group, &topic, 5).await;
    assert_eq!(now, [Some(0), Some(0), Some(0), None, None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn k26_a_topic_made_anew_between_plan_and_write_gets_nothing() {
    let mut wired = wired("k26").await;
    wired.fresh("p").await;
    planned(&wired).await;
    let (bootstrap, topic, group) = (wired.world.bootstrap.clone(), wired.topic.clone(), wired.group.clone());
    kafka::delete_topic(&bootstrap, &topic).await;
    eventually("the commits of the old topic to be gone", LIMIT, async || match wired.offsets().await {
        all if all.iter().all(Option::is_none) => Ok(()),
        all => Err(format!("{all:?}")),
    })
    .await;
    kafka::create_topic(&bootstrap, &topic, 3, &[]).await;
    kafka::produce(&bootstrap, &topic, 0, 10, |n| FIRST + n).await;
    kafka::commit(&bootstrap, &group, &[(&topic, 0, 4, ""), (&topic, 1, 5, ""), (&topic, 2, 6, "")]).await;
    wired.traps.release();
    let status = wired.world.reaches("p", "r1", Stage::Failed, "TopicRecreated").await;
    let message = says(&status, "Stalled").2;
    assert!(message.contains(&format!("topic {topic} was deleted or made anew since the plan; nothing was sent")), "{message}");
    wired.world.passes("p").await;
    assert_eq!(wired.commits(), 0);
    assert_eq!(wired.offsets().await, [Some(4), Some(5), Some(6)]);
    let all = wired.world.all_records().await;
    let ends: Vec<_> = all.iter().map(|r| r.status.as_ref().map(|s| (s.phase, s.reason.as_str()))).collect();
    assert_eq!(ends, [Some((RecordPhase::Abandoned, "TopicRecreated"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn k29_a_leader_epoch_is_committed_and_compared_in_the_read_back() {
    let (mut wired, broker) = Wired::with_broker("k29").await;
    wired.restart_with(&PATIENT);
    wired.fresh("p").await;
    let (bootstrap, topic, group) = (wired.world.bootstrap.clone(), wired.topic.clone(), wired.group.clone());
    // Who leads after a restart does so in another epoch.
    restart(&broker).await;
    for partition in 0..3 {
        kafka::produce(&bootstrap, &topic, partition, 2, |n| FIRST + n).await;
    }
    let last = async || -> Vec<Written> {
        let all = offsets_topic::commits(&bootstrap, &group).await;
        (0..3).filter_map(|p| all.get(&(topic.clone(), p))?.last().copied()).collect()
    };
    wired.ask_for("r1", "Latest").await;
    let status = wired.world.verified("p", "r1").await;
    let epochs = wired.world.record(&status).await.spec.plan.expect("a plan").topics[0].to_leader_epoch.clone();
    assert!(epochs.len() == 3 && epochs.iter().all(|epoch| *epoch > 0), "{epochs:?}");
    let expected: Vec<_> = epochs.iter().map(|epoch| Written { offset: 12, leader_epoch: Some(*epoch) }).collect();
    assert_eq!(last().await, expected);
    // The log starts in the first epoch, which is 0 and not none.
    wired.ask_for("r2", "Earliest").await;
    wired.world.verified("p", "r2").await;
    assert_eq!(last().await, [Written { offset: 0, leader_epoch: Some(0) }; 3]);
    // The same offset of no epoch is not what was written.
    committed(&wired, "r3", "Latest").await;
    kafka::commit(&bootstrap, &group, &[(&topic, 0, 12, "")]).await;
    assert_eq!(last().await[0], Written { offset: 12, leader_epoch: None });
    wired.traps.release();
    let status = wired.world.reaches("p", "r3", Stage::Held, "OffsetsMoved").await;
    let message = says(&status, "Stalled").2;
    assert!(message.contains("2 of 3 partitions at their target, 0 as before, 1 elsewhere"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a07_an_open_transaction_is_waited_out_up_to_the_deadline() {
    let world = World::new("a07").await;
    let topic = world.topic(&[10, 10]).await;
    let group = world.group(&topic, &[7, 8]).await;
    world.known("p", &group).await;
    let open = OpenTransaction::holding(&world.bootstrap, &group, &[(&topic, 0, 5)]).await;
    let ask = |id: &str, timeout: &str| json!({ "id": id, "quietPeriod": "0s", "waitTimeout": timeout, "to": { "position": "Earliest" } });
    world.apply("p", &group, ask("r1", "5s")).await;
    world.reaches("p", "r1", Stage::Waiting, "TransactionOpen").await;
    let status = world.reaches("p", "r1", Stage::Failed, "WaitTimedOut").await;
    let message = says(&status, "Stalled").2;
    let held = format!("nothing was sent. Last seen: TransactionOpen: an open transaction holds the offset of {topic}-0;");
    assert!(message.contains(&held), "{message}");
    world.apply("p", &group, ask("r2", "10m")).await;
    world.reaches("p", "r2", Stage::Waiting, "TransactionOpen").await;
    assert!(world.all_records().await.is_empty());
    open.commit().await;
    let status = world.verified("p", "r2").await;
    let plan = world.record(&status).await.spec.plan.expect("a plan");
    assert_eq!(plan.topics[0].from, [5, 8], "what the transaction held is where the group came from");
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(0), Some(0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a07_a_transaction_opened_between_plan_and_write_unloads_the_plan() {
    let mut wired = wired("a07b").await;
    wired.fresh("p").await;
    planned(&wired).await;
    let open = OpenTransaction::holding(&wired.world.bootstrap, &wired.group, &[(&wired.topic, 0, 5)]).await;
    wired.traps.release();
    wired.world.reaches("p", "r1", Stage::Waiting, "TransactionOpen").await;
    assert_eq!(wired.commits(), 0);
    assert!(wired.world.all_records().await.iter().all(|r| r.spec.plan.is_none() && r.status.is_none()), "unloaded");
    open.abort().await;
    wired.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a07_a_transaction_opened_after_the_write_is_found_by_the_read_back() {
    let mut wired = wired("a07c").await;
    let bootstrap = wired.world.bootstrap.clone();
    // One that ends before it, with its own offset.
    wired.fresh("ended").await;
    committed(&wired, "r1", "Earliest").await;
    OpenTransaction::holding(&bootstrap, &wired.group, &[(&wired.topic, 0, 5)]).await.commit().await;
    wired.traps.release();
    let status = wired.world.reaches("ended", "r1", Stage::Held, "OffsetsMoved").await;
    let message = says(&status, "Stalled").2;
    assert!(message.contains("2 of 3 partitions at their target, 0 as before, 1 elsewhere"), "{message}");
    assert_eq!(wired.offsets().await, [Some(5), Some(0), Some(0)]);
    // One that is still open: what is true is known when it ends.
    wired.fresh("open").await;
    committed(&wired, "r1", "Earliest").await;
    let open = OpenTransaction::holding(&bootstrap, &wired.group, &[(&wired.topic, 0, 5)]).await;
    wired.traps.release();
    let status = wired.world.reaches("open", "r1", Stage::Sending, "TransactionOpen").await;
    assert_eq!(says(&status, "OffsetsReset").0, "False");
    open.abort().await;
    wired.verified().await;
}
