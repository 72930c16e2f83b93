//! K02, K22, K26, K29, A07, A10, O12: what others change between the plan and the write, and between the write and the read-back.

use serde_json::json;
use stream_pipeline_api::{RecordPhase, Stage};
use testbed::consumer::Consumer;
use testbed::kafka::OpenTransaction;
use testbed::offsets_topic::{self, Written};
use testbed::trap::Side;
use testbed::{eventually, kafka};

use crate::support::brokers;
use crate::support::calls::{creates_record, is_commit};
use crate::support::proxied::ProxiedWorld;
use crate::support::requests::ask;
use crate::support::status::{assert_has, reset, says};
use crate::support::world::{FIRST_RECORD_TIME, LIMIT, PATIENT, World};

async fn patient(test: &str) -> ProxiedWorld {
    let mut proxied = ProxiedWorld::without_operator(test).await;
    proxied.restart_with(&PATIENT);
    proxied
}

/// Stops the answer to the write of the plan: the record is there, and the operator does not know yet.
async fn planned(proxied: &ProxiedWorld) {
    proxied.ask_and_stop(Side::After, creates_record).await;
    assert_eq!(proxied.commits(), 0);
}

/// Stops the answer to the commit: it is done, and the operator does not know yet.
async fn committed(proxied: &ProxiedWorld, id: &str, position: &str) {
    proxied.traps.arm(Side::After, is_commit);
    proxied.ask_for(id, position).await;
    proxied.traps.sprung().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k02_latest_puts_every_partition_at_the_end_pinned_in_the_plan() {
    let mut proxied = patient("k02").await;
    proxied.fresh("p").await;
    proxied.traps.arm(Side::After, creates_record);
    proxied.ask_for("r1", "Latest").await;
    proxied.traps.sprung().await;
    // Records that come between the plan and the write do not change what was planned.
    let (bootstrap, topic) = (proxied.world.bootstrap.clone(), proxied.topic.clone());
    for partition in 0..3 {
        kafka::produce(&bootstrap, &topic, partition, 5, |n| FIRST_RECORD_TIME + n).await;
        assert_eq!(kafka::watermarks(&bootstrap, &topic, partition).await, (0, 15));
    }
    proxied.traps.release();
    let status = proxied.world.verified("p", "r1").await;
    assert_eq!(proxied.landed().await, [[10, 10, 10]]);
    let plan = proxied.world.record(&status).await.spec.plan.expect("a plan");
    assert_eq!((plan.topics[0].to.as_slice(), plan.topics[0].log_end.as_slice()), ([10; 3].as_slice(), [10; 3].as_slice()));
    assert_eq!(reset(&status).plan.as_ref().map(|p| (p.skipped, p.lag_after)), Some((6, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn k22_partitions_added_between_plan_and_commit_are_told_and_not_covered() {
    let mut proxied = patient("k22").await;
    proxied.fresh("p").await;
    planned(&proxied).await;
    let (bootstrap, topic) = (proxied.world.bootstrap.clone(), proxied.topic.clone());
    kafka::create_partitions(&bootstrap, &topic, 5).await;
    eventually("leaders of the new partitions", LIMIT, async || match kafka::led(&bootstrap, &topic).await? {
        5 => Ok(()),
        n => Err(format!("{n} have one")),
    })
    .await;
    proxied.traps.release();
    proxied.verified().await;
    let status = proxied.world.verified("p", "r1").await;
    let message = says(&status, "OffsetsReset").2;
    assert!(message.starts_with("3 of 3 partitions read back as planned"), "expected the counts at the beginning: {message}");
    assert_has(message, &[&format!("not covered, since the topic got them after the plan: 2 partitions ({topic}-3, {topic}-4)")]);
    let record = proxied.world.record(&status).await;
    assert_eq!(record.spec.plan.expect("a plan").topics[0].partition, [0, 1, 2]);
    assert!(record.status.expect("it is closed").message.contains("not covered"), "the record must say it too");
    let now = kafka::offsets(&bootstrap, &proxied.group, &topic, 5).await;
    assert_eq!(now, [Some(0), Some(0), Some(0), None, None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn k26_a_topic_made_anew_between_plan_and_write_gets_nothing() {
    let mut proxied = patient("k26").await;
    proxied.fresh("p").await;
    planned(&proxied).await;
    let (bootstrap, topic, group) = (proxied.world.bootstrap.clone(), proxied.topic.clone(), proxied.group.clone());
    kafka::delete_topic(&bootstrap, &topic).await;
    eventually("the commits of the old topic to be gone", LIMIT, async || match proxied.offsets().await {
        all if all.iter().all(Option::is_none) => Ok(()),
        all => Err(format!("{all:?}")),
    })
    .await;
    kafka::create_topic(&bootstrap, &topic, 3, &[]).await;
    kafka::produce(&bootstrap, &topic, 0, 10, |n| FIRST_RECORD_TIME + n).await;
    kafka::commit(&bootstrap, &group, &[(&topic, 0, 4, ""), (&topic, 1, 5, ""), (&topic, 2, 6, "")]).await;
    proxied.traps.release();
    let status = proxied.world.reaches("p", "r1", Stage::Failed, "TopicRecreated").await;
    let message = says(&status, "Stalled").2;
    assert_has(message, &[&format!("topic {topic} was deleted or made anew since the plan; nothing was sent")]);
    proxied.world.decides_twice("p").await;
    assert_eq!(proxied.commits(), 0);
    assert_eq!(proxied.offsets().await, [Some(4), Some(5), Some(6)]);
    let all = proxied.world.all_records().await;
    let ends: Vec<_> = all.iter().map(|r| r.status.as_ref().map(|s| (s.phase, s.reason.as_str()))).collect();
    assert_eq!(ends, [Some((RecordPhase::Abandoned, "TopicRecreated"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn k29_a_leader_epoch_is_committed_and_compared_in_the_read_back() {
    let (mut proxied, broker) = ProxiedWorld::with_broker("k29").await;
    proxied.restart_with(&PATIENT);
    proxied.fresh("p").await;
    let (bootstrap, topic, group) = (proxied.world.bootstrap.clone(), proxied.topic.clone(), proxied.group.clone());
    // After a restart the leader has a new epoch.
    brokers::restart(&broker).await;
    for partition in 0..3 {
        kafka::produce(&bootstrap, &topic, partition, 2, |n| FIRST_RECORD_TIME + n).await;
    }
    let last = async || -> Vec<Written> {
        let all = offsets_topic::commits(&bootstrap, &group).await;
        (0..3).filter_map(|p| all.get(&(topic.clone(), p))?.last().copied()).collect()
    };
    proxied.ask_for("r1", "Latest").await;
    let status = proxied.world.verified("p", "r1").await;
    let epochs = proxied.world.record(&status).await.spec.plan.expect("a plan").topics[0].to_leader_epoch.clone();
    assert!(epochs.len() == 3 && epochs.iter().all(|epoch| *epoch > 0), "expected three epochs after the first: {epochs:?}");
    let expected: Vec<_> = epochs.iter().map(|epoch| Written { offset: 12, leader_epoch: Some(*epoch) }).collect();
    assert_eq!(last().await, expected);
    // The records at the log start are of epoch 0, which is not the same as no epoch.
    proxied.ask_for("r2", "Earliest").await;
    proxied.world.verified("p", "r2").await;
    assert_eq!(last().await, [Written { offset: 0, leader_epoch: Some(0) }; 3]);
    // The same offset without an epoch is not what the operator wrote.
    committed(&proxied, "r3", "Latest").await;
    kafka::commit(&bootstrap, &group, &[(&topic, 0, 12, "")]).await;
    assert_eq!(last().await[0], Written { offset: 12, leader_epoch: None });
    proxied.traps.release();
    let status = proxied.world.reaches("p", "r3", Stage::Held, "OffsetsMoved").await;
    let message = says(&status, "Stalled").2;
    assert_has(message, &["2 of 3 partitions at their target, 0 as before, 1 elsewhere"]);
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
    assert_has(message, &[&held]);
    world.apply("p", &group, ask("r2", "10m")).await;
    world.reaches("p", "r2", Stage::Waiting, "TransactionOpen").await;
    assert!(world.all_records().await.is_empty());
    open.commit().await;
    let status = world.verified("p", "r2").await;
    let plan = world.record(&status).await.spec.plan.expect("a plan");
    assert_eq!(plan.topics[0].from, [5, 8], "the offsets that the plan starts from, after the transaction");
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(0), Some(0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a07_a_transaction_opened_between_plan_and_write_unloads_the_plan() {
    let mut proxied = patient("a07b").await;
    proxied.fresh("p").await;
    planned(&proxied).await;
    let open = OpenTransaction::holding(&proxied.world.bootstrap, &proxied.group, &[(&proxied.topic, 0, 5)]).await;
    proxied.traps.release();
    proxied.world.reaches("p", "r1", Stage::Waiting, "TransactionOpen").await;
    assert_eq!(proxied.commits(), 0);
    assert!(
        proxied.world.all_records().await.iter().all(|r| r.spec.plan.is_none() && r.status.is_none()),
        "expected records without a plan"
    );
    open.abort().await;
    proxied.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a07_a_transaction_opened_after_the_write_is_found_by_the_read_back() {
    let mut proxied = patient("a07c").await;
    let bootstrap = proxied.world.bootstrap.clone();
    // A transaction that commits its own offset before the read-back.
    proxied.fresh("ended").await;
    committed(&proxied, "r1", "Earliest").await;
    OpenTransaction::holding(&bootstrap, &proxied.group, &[(&proxied.topic, 0, 5)]).await.commit().await;
    proxied.traps.release();
    let status = proxied.world.reaches("ended", "r1", Stage::Held, "OffsetsMoved").await;
    let message = says(&status, "Stalled").2;
    assert_has(message, &["2 of 3 partitions at their target, 0 as before, 1 elsewhere"]);
    assert_eq!(proxied.offsets().await, [Some(5), Some(0), Some(0)]);
    // A transaction that is still open: the outcome is known only when it ends.
    proxied.fresh("open").await;
    committed(&proxied, "r1", "Earliest").await;
    let open = OpenTransaction::holding(&bootstrap, &proxied.group, &[(&proxied.topic, 0, 5)]).await;
    proxied.traps.release();
    let status = proxied.world.reaches("open", "r1", Stage::Sending, "TransactionOpen").await;
    assert_eq!(says(&status, "OffsetsReset").0, "False");
    open.abort().await;
    proxied.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o12_another_tool_moves_the_group_between_plan_and_send_and_between_send_and_read_back() {
    let mut proxied = ProxiedWorld::new("o12").await;
    proxied.restart_with(&["--call-deadline=60s"]);
    let direct = proxied.world.bootstrap.clone();
    // While the answer to the plan's write is stopped, another tool moves the group: the second look must see it.
    proxied.ask_and_stop(Side::After, creates_record).await;
    kafka::commit(&direct, &proxied.group, &[(&proxied.topic, 1, 3, "")]).await;
    proxied.traps.release();
    let status = proxied.world.verified("p", "r1").await;
    assert_eq!(
        proxied.world.record(&status).await.spec.plan.expect("a plan").topics[0].from,
        [7, 3, 9],
        "planned anew from where it was moved"
    );
    assert_eq!(proxied.commits(), 1);
    // Moved after the commit: the request is held, and nothing is sent again.
    proxied.traps.arm(Side::After, is_commit);
    proxied.world.apply("p", &proxied.group, ask("r2", "Latest")).await;
    proxied.traps.sprung().await;
    kafka::commit(&direct, &proxied.group, &[(&proxied.topic, 1, 4, "")]).await;
    proxied.traps.release();
    let status = proxied.world.reaches("p", "r2", Stage::Held, "OffsetsMoved").await;
    assert_has(says(&status, "Ready").2, &["2 of 3 partitions at their target, 0 as before, 1 elsewhere"]);
    assert_eq!(proxied.offsets().await, [Some(10), Some(4), Some(10)]);
    assert_eq!(proxied.commits(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_a_member_that_joins_after_the_second_look_is_refused_by_the_broker_and_nothing_is_half_done() {
    let mut proxied = ProxiedWorld::new("a10").await;
    proxied.restart_with(&["--call-deadline=60s"]);
    let direct = proxied.world.bootstrap.clone();
    proxied.ask_and_stop(Side::Before, is_commit).await;
    let member = Consumer::classic(&direct, &proxied.group, &proxied.topic, "late-comer");
    member.wait().await;
    proxied.traps.release();
    let status = proxied.world.reaches("p", "r1", Stage::Waiting, "GroupActive").await;
    assert!(
        says(&status, "PipelineInactive").2.contains("late-comer") || says(&status, "Ready").2.contains("25"),
        "expected the member or the code 25 to be told: {status:?}"
    );
    assert_eq!(proxied.offsets().await, [Some(7), Some(8), Some(9)], "offsets, where nothing was written");
    assert_eq!(proxied.world.all_records().await[0].spec.plan, None, "the plan, where it was dropped");
    member.stop().await;
    proxied.world.verified("p", "r1").await;
    assert_eq!(proxied.offsets().await, [Some(0), Some(0), Some(0)]);
    assert_eq!(proxied.world.all_records().await.len(), 1);
}
