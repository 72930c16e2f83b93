//! A06, A16: consumers that commit without ever being a member of the group (`assign()`).

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use stream_pipeline_api::{Phase, Stage};
use testbed::consumer::Consumer;
use testbed::{eventually, kafka};

use crate::support::status::{assert_has, reset, says};
use crate::support::world::{LIMIT, World};

/// A consumer commits without ever being a member; the request says nothing of a quiet period, so it is 10 s.
async fn an_assigned_consumer_is_waited_for(world: &World, topic: &str, group: &str) {
    let records = kafka::watermarks(&world.bootstrap, topic, 0).await.1;
    let consumer = Consumer::assigned(&world.bootstrap, group, topic, 0, Duration::from_millis(300));
    consumer.wait().await;
    let begun = Instant::now();
    world.apply("p", group, json!({ "id": "r1", "to": { "position": "Latest" } })).await;
    let status = world.reaches("p", "r1", Stage::Waiting, "OffsetsMoving").await;
    assert_has(says(&status, "Ready").2, &["assign()"]);
    assert_eq!(says(&status, "Reconciling").0, "True");
    let status = world.wait("p", "the movement to be shown", |s| s.phase == Some(Phase::Running)).await;
    let (inactive, reason, _) = says(&status, "PipelineInactive");
    assert_eq!((inactive, reason), ("False", "OffsetsMoving"));
    // As long as the consumer reads, even for longer than the quiet period, the group is not moved.
    let committed = async || world.offsets(group, topic, 1).await[0].unwrap_or_default();
    eventually("the consumer to commit for longer than the quiet period", LIMIT, async || {
        let at = committed().await;
        assert!(at < records, "the group must not be moved under its consumer");
        assert!(world.all_records().await.is_empty(), "expected no record while the offsets move");
        if begun.elapsed() > Duration::from_secs(13) && at > 30 { Ok(()) } else { Err(format!("at {at}")) }
    })
    .await;
    let status = world.reaches("p", "r1", Stage::Waiting, "OffsetsMoving").await;
    assert!(reset(&status).record_ref.is_none());
    let stopping = Timestamp::now();
    consumer.stop().await;
    let left_at = committed().await;
    let status = world.verified("p", "r1").await;
    assert_eq!(world.offsets(group, topic, 1).await, [Some(records)]);
    let record = world.record(&status).await;
    assert_eq!(record.spec.plan.as_ref().expect("a plan").topics[0].from, [left_at], "the offset that the plan starts from");
    let waited = record.spec.created_at.duration_since(stopping);
    // Its last commit was a little before it stopped.
    assert!(waited > SignedDuration::from_secs(7), "planned {waited} after the last commit");
    assert_eq!(world.all_records().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a06_an_assign_consumer_that_was_never_a_member_counts_as_active() {
    let world = World::new("a06").await;
    let topic = world.topic(&[500]).await;
    let group = world.unique("g");
    world.known("p", &group).await;
    an_assigned_consumer_is_waited_for(&world, &topic, &group).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a16_an_assign_consumer_on_a_group_that_once_had_members_and_looks_before_the_request() {
    let mut world = World::new("a16").await;
    let topic = world.topic(&[500]).await;
    let group = world.group(&topic, &[7]).await;
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "a16-member");
    member.wait().await;
    member.stop().await;
    world.known("p", &group).await;
    an_assigned_consumer_is_waited_for(&world, &topic, &group).await;
    // The operator's looks before the request count for the quiet period, so only time has to pass here.
    world.known("q", &group).await;
    world.ask_to_delete("p").await;
    let looked = "the operator's looks to be older than the quiet period";
    let seen = Instant::now();
    eventually(looked, LIMIT, async || if seen.elapsed() > Duration::from_secs(3) { Ok(()) } else { Err(String::new()) }).await;
    world.apply("q", &group, json!({ "id": "r2", "quietPeriod": "3s", "to": { "position": "Earliest" } })).await;
    world.verified("q", "r2").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
    let waits: Vec<_> = world
        .operator()
        .log()
        .lines()
        .filter(|l| l.contains("r2") && l.contains("Waiting") && !l.contains("PlanRecorded"))
        .map(str::to_owned)
        .collect();
    assert!(waits.is_empty(), "it had to wait: {waits:#?}");
}
