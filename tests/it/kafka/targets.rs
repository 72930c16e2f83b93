//! K01 to K08: where each target moves the offsets to.

use serde_json::json;
use stream_pipeline_api::{RecordPhase, Stage, TargetReason};

use crate::support::status::{assert_has, reset, says};
use crate::support::world::{FIRST_RECORD_TIME, World};

#[tokio::test(flavor = "multi_thread")]
async fn k01_earliest_puts_every_partition_at_its_log_start() {
    let world = World::new("k01").await;
    let topic = world.topic(&[10, 20, 0]).await;
    let group = world.group(&topic, &[10, 5, 0]).await;
    testbed::kafka::delete_records(&world.bootstrap, &[(&topic, 1, 3)]).await;
    world.known("p", &group).await;
    world.apply("p", &group, json!({ "id": "r1", "quietPeriod": "1s", "to": { "position": "Earliest" } })).await;
    let status = world.verified("p", "r1").await;
    assert_eq!(world.offsets(&group, &topic, 3).await, [Some(0), Some(3), Some(0)]);
    let (value, reason, message) = says(&status, "OffsetsReset");
    assert_eq!((value, reason), ("True", "ResetVerified"));
    assert!(
        message.starts_with("3 of 3 partitions read back as planned; at most 12 records will be replayed, 0 skipped"),
        "expected the counts at the beginning: {message}"
    );
    let totals = reset(&status).plan.clone().expect("totals");
    assert_eq!((totals.partitions, totals.replayed, totals.skipped, totals.lag_after), (3, 12, 0, 27));
    let record = world.record(&status).await;
    assert_eq!(record.status.as_ref().map(|s| s.phase), Some(RecordPhase::Verified));
    let plan = record.spec.plan.expect("the plan is kept");
    assert_eq!(plan.topics[0].from, [10, 5, 0], "the offsets that the plan starts from");
    assert_eq!(plan.topics[0].to, [0, 3, 0]);
    assert_eq!(reset(&status).stage, Stage::Verified);
}

#[tokio::test(flavor = "multi_thread")]
async fn k03_a_timestamp_between_records_finds_the_first_at_or_after_it_in_any_zone() {
    let world = World::new("k03").await;
    let topic = world.topic(&[10, 3]).await;
    let group = world.group(&topic, &[9, 3]).await;
    world.known("p", &group).await;
    // 1.5 s after the first record, seen from Shanghai: 00:00:01.5Z.
    world.apply("p", &group, json!({ "id": "r1", "quietPeriod": "0s", "to": { "timestamp": "2026-01-01T08:00:01.500+08:00" } })).await;
    let status = world.verified("p", "r1").await;
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(2), Some(2)]);
    assert_eq!(
        world.record(&status).await.spec.plan.expect("a plan").topics[0].found_time,
        [FIRST_RECORD_TIME + 2000, FIRST_RECORD_TIME + 2000]
    );
    // Exactly on a record, in UTC.
    world.apply("p", &group, json!({ "id": "r2", "quietPeriod": "0s", "to": { "timestamp": "2026-01-01T00:00:01Z" } })).await;
    world.verified("p", "r2").await;
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(1), Some(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn k04_a_timestamp_after_the_last_record_follows_no_record_at_time() {
    let world = World::new("k04").await;
    let topic = world.topic(&[10, 2]).await;
    let group = world.group(&topic, &[3, 1]).await;
    world.known("p", &group).await;
    // Partition 0 has a record then, partition 1 has none.
    let to = json!({ "timestamp": "2026-01-01T00:00:05Z" });
    world.apply("p", &group, json!({ "id": "fail", "quietPeriod": "0s", "to": to, "noRecordAtTime": "Fail" })).await;
    let status = world.reaches("p", "fail", Stage::Failed, "NoRecordAtTime").await;
    let (_, _, message) = says(&status, "Ready");
    assert_has(message, &[&format!("{topic}-1 has no record at or after"), "Nothing was sent"]);
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(3), Some(1)]);
    world.apply("p", &group, json!({ "id": "skip", "quietPeriod": "0s", "to": to, "noRecordAtTime": "Skip" })).await;
    let status = world.verified("p", "skip").await;
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(5), Some(1)]);
    let plan = world.record(&status).await.spec.plan.expect("a plan");
    assert_eq!(
        (plan.topics[0].to.as_slice(), plan.topics[0].why.as_slice()),
        ([5, -1].as_slice(), [TargetReason::Target, TargetReason::NoRecordSkipped].as_slice())
    );
    assert_eq!(plan.totals.as_ref().map(|t| (t.partitions, t.left_alone)), Some((1, 1)));
    world.apply("p", &group, json!({ "id": "latest", "quietPeriod": "0s", "to": to })).await;
    let status = world.verified("p", "latest").await;
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(5), Some(2)]);
    assert_eq!(world.record(&status).await.spec.plan.expect("a plan").topics[0].why, [TargetReason::Target, TargetReason::NoRecordLatest]);
}

#[tokio::test(flavor = "multi_thread")]
async fn k05_a_timestamp_before_the_first_record_is_the_log_start() {
    let world = World::new("k05").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[10]).await;
    testbed::kafka::delete_records(&world.bootstrap, &[(&topic, 0, 4)]).await;
    world.known("p", &group).await;
    world.apply("p", &group, json!({ "id": "r1", "quietPeriod": "0s", "to": { "timestamp": "2025-01-01T00:00:00Z" } })).await;
    world.verified("p", "r1").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(4)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn k06_a_timestamp_in_the_future_is_refused_before_anything_is_read() {
    let mut world = World::new("k06").await;
    // Nobody listens there, so nothing can be read.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    world.named = Some(vec![nobody.to_string()]);
    let group = world.unique("g");
    world.known("p", &group).await;
    let ask = |id: &str, time: &str| json!({ "id": id, "quietPeriod": "0s", "to": { "timestamp": time } });
    world.apply("p", &group, ask("past", "2026-01-01T00:00:00Z")).await;
    world.reaches("p", "past", Stage::Waiting, "BrokerUnreachable").await;
    world.apply("p", &group, ask("future", "2999-01-01T00:00:00Z")).await;
    let status = world.reaches("p", "future", Stage::Failed, "InvalidTarget").await;
    let message = says(&status, "Stalled").2;
    assert!(
        message.contains("2999-01-01T00:00:00Z is in the future, now is 20") && !message.contains("local time"),
        "expected the time to be called one in the future, without advice about zones: {message}"
    );
    // A local time of a zone eight hours ahead, written with Z as if it were UTC.
    let local = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(8);
    world.apply("p", &group, ask("local", &local.to_string())).await;
    let status = world.reaches("p", "local", Stage::Failed, "InvalidTarget").await;
    let message = says(&status, "Stalled").2;
    assert!(
        message.ends_with("A local time is written with its own offset, such as +08:00, not with Z"),
        "expected advice about zones at the end: {message}"
    );
    assert!(world.all_records().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn k08_a_shift_past_an_end_fails_or_is_clamped_as_asked() {
    let world = World::new("k08").await;
    let topic = world.topic(&[100, 100, 10]).await;
    let group = world.group(&topic, &[50, 10, 5]).await;
    world.known("p", &group).await;
    world.apply("p", &group, json!({ "id": "back", "quietPeriod": "0s", "to": { "shiftBy": -20 } })).await;
    let status = world.reaches("p", "back", Stage::Failed, "OutOfRange").await;
    let message = says(&status, "Stalled").2;
    assert_has(message, &[&format!("{topic}-1 would be at -10, its log is 0 to 100"), &format!("{topic}-2")]);
    assert_eq!(world.offsets(&group, &topic, 3).await, [Some(50), Some(10), Some(5)], "offsets, where nothing was written");
    world.apply("p", &group, json!({ "id": "clamped", "quietPeriod": "0s", "to": { "shiftBy": -20 }, "outOfRange": "Clamp" })).await;
    let status = world.verified("p", "clamped").await;
    assert_eq!(world.offsets(&group, &topic, 3).await, [Some(30), Some(0), Some(0)]);
    assert_eq!(reset(&status).plan.as_ref().map(|p| (p.replayed, p.clamped)), Some((35, 2)));
    world.apply("p", &group, json!({ "id": "on", "quietPeriod": "0s", "to": { "shiftBy": 40 }, "outOfRange": "Clamp" })).await;
    let status = world.verified("p", "on").await;
    assert_eq!(world.offsets(&group, &topic, 3).await, [Some(70), Some(40), Some(10)]);
    assert_eq!(
        world.record(&status).await.spec.plan.expect("a plan").topics[0].why,
        [TargetReason::Target, TargetReason::Target, TargetReason::ClampedToEnd]
    );
}
