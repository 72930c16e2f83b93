//! K01 to K15: where each target moves the offsets to.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use stream_pipeline_api::{RecordPhase, Stage, TargetReason};
use testbed::KeptPort;
use testbed::consumer::Consumer;
use testbed::kafka::{self, OpenTransaction};

use crate::support::requests::with;
use crate::support::status::{assert_has, reset, says};
use crate::support::world::{FIRST_RECORD_TIME, World};

#[tokio::test(flavor = "multi_thread")]
async fn k01_earliest_puts_every_partition_at_its_log_start() {
    let world = World::new("k01").await;
    let topic = world.topic(&[10, 20, 0]).await;
    let group = world.group(&topic, &[10, 5, 0]).await;
    kafka::delete_records(&world.bootstrap, &[(&topic, 1, 3)]).await;
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
    assert_eq!(totals.catch_up.as_deref(), Some("unknown (it was not seen reading)"));
    assert_has(message, &[&format!("{topic}-0 from 10 to 0 (-10), {topic}-1 from 5 to 3 (-2), {topic}-2 from 0 to 0")]);
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
    kafka::delete_records(&world.bootstrap, &[(&topic, 0, 4)]).await;
    world.known("p", &group).await;
    world.apply("p", &group, json!({ "id": "r1", "quietPeriod": "0s", "to": { "timestamp": "2025-01-01T00:00:00Z" } })).await;
    world.verified("p", "r1").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(4)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn k06_a_timestamp_in_the_future_is_refused_before_anything_is_read() {
    let mut world = World::new("k06").await;
    // Nobody listens there, so nothing can be read.
    let nobody = KeptPort::new().expect("a port");
    world.named = Some(vec![nobody.address.clone()]);
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

#[tokio::test(flavor = "multi_thread")]
async fn k07_a_lookback_goes_back_from_when_the_record_is_made_which_keeps_the_time() {
    let mut world = World::new("k07").await;
    let topic = world.unique("t");
    kafka::create_topic(&world.bootstrap, &topic, 2, &[]).await;
    // Partition 0 has a record of each of the last five hours; partition 1 of none after that.
    let (hour, now) = (3_600_000, Timestamp::now().as_millisecond());
    kafka::produce(&world.bootstrap, &topic, 0, 5, move |n| now - (5 - n) * hour).await;
    kafka::produce(&world.bootstrap, &topic, 1, 2, move |n| now - (9 - n) * hour).await;
    let group = world.group(&topic, &[5, 0]).await;
    world.known("p", &group).await;
    let back = |id: &str| json!({ "id": id, "quietPeriod": "0s", "to": { "lookback": "2h30m" } });
    let (begun, half) = (Timestamp::now(), SignedDuration::from_mins(150));
    world.apply("p", &group, back("r1")).await;
    let status = world.verified("p", "r1").await;
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(3), Some(2)]);
    let record = world.record(&status).await;
    let plan = record.spec.plan.clone().expect("a plan");
    let time = plan.time.expect("the time that was looked up");
    assert!(begun - half <= time && time <= record.spec.created_at - half, "{begun} {time} {}", record.spec.created_at);
    assert_eq!(plan.topics[0].why, [TargetReason::Target, TargetReason::NoRecordLatest]);
    // Neither a restart nor a later look makes another time of it.
    world.restart();
    world.looks("p", 2).await;
    assert_eq!(world.record(&status).await, record);
    world.apply("p", &group, with(back("r2"), "noRecordAtTime", json!("Fail"))).await;
    let status = world.reaches("p", "r2", Stage::Failed, "NoRecordAtTime").await;
    assert_has(says(&status, "Stalled").2, &[&format!("{topic}-1 has no record at or after 20")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn k09_written_offsets_are_taken_as_they_are_within_the_log() {
    let world = World::new("k09").await;
    let topic = world.topic(&[10, 20, 30]).await;
    let group = world.group(&topic, &[1, 2, 3]).await;
    kafka::delete_records(&world.bootstrap, &[(&topic, 1, 5)]).await;
    world.known("p", &group).await;
    let ask = |id: &str, to: Value| json!({ "id": id, "quietPeriod": "0s", "to": to });
    world.apply("p", &group, ask("one", json!({ "offset": 7 }))).await;
    world.verified("p", "one").await;
    assert_eq!(world.offsets(&group, &topic, 3).await, [Some(7), Some(7), Some(7)]);
    // Outside of the log.
    world.apply("p", &group, ask("past", json!({ "offset": 15 }))).await;
    let status = world.reaches("p", "past", Stage::Failed, "OutOfRange").await;
    assert_has(says(&status, "Stalled").2, &[&format!("{topic}-0 would be at 15, its log is 0 to 10")]);
    world.apply("p", &group, with(ask("clamp", json!({ "offset": 15 })), "outOfRange", json!("Clamp"))).await;
    let status = world.verified("p", "clamp").await;
    assert_eq!(world.offsets(&group, &topic, 3).await, [Some(10), Some(15), Some(15)]);
    assert_eq!(reset(&status).plan.as_ref().map(|p| p.clamped), Some(1));
    // Each its own, and nothing for the one that is not named.
    let row = |partition: i32, offset: i64| json!({ "topic": topic, "partition": partition, "offset": offset });
    world.apply("p", &group, ask("each", json!({ "offsets": [row(2, 30), row(1, 6)] }))).await;
    let status = world.verified("p", "each").await;
    assert_eq!(world.offsets(&group, &topic, 3).await, [Some(10), Some(6), Some(30)]);
    assert_eq!(world.record(&status).await.spec.plan.expect("a plan").topics[0].partition, [1, 2]);
    assert!(!says(&status, "OffsetsReset").2.contains("not covered"), "partition 0 was not meant");
    world.apply("p", &group, with(ask("low", json!({ "offsets": [row(1, 4)] })), "outOfRange", json!("Clamp"))).await;
    world.verified("p", "low").await;
    assert_eq!(world.offsets(&group, &topic, 3).await, [Some(10), Some(5), Some(30)]);
    // A group that is not there yet, placed before its first start.
    let new = world.unique("new");
    world.known("new", &new).await;
    world.apply("new", &new, with(ask("made", json!({ "offsets": [row(0, 9)] })), "missingGroup", json!("Create"))).await;
    world.verified("new", "made").await;
    assert_eq!(world.offsets(&new, &topic, 3).await, [Some(9), None, None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn k10_a_written_offset_of_what_does_not_exist_is_named_and_nothing_moves() {
    let world = World::new("k10").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    for (id, other, partition) in [("partition", topic.as_str(), 7), ("topic", "no-such-topic", 0)] {
        let rows = json!([
            { "topic": topic, "partition": 0, "offset": 1 },
            { "topic": other, "partition": partition, "offset": 1 },
        ]);
        world.apply("p", &group, json!({ "id": id, "quietPeriod": "0s", "to": { "offsets": rows } })).await;
        let status = world.reaches("p", id, Stage::Failed, "PartitionNotFound").await;
        assert_has(says(&status, "Stalled").2, &[other]);
    }
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(7)]);
    assert!(world.all_records().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn k15_current_commits_what_is_committed_once_more_with_its_metadata() {
    let world = World::new("k15").await;
    let topic = world.topic(&[10, 10, 10]).await;
    let group = world.unique("g");
    kafka::commit(&world.bootstrap, &group, &[(&topic, 0, 7, "theirs"), (&topic, 1, 3, "")]).await;
    world.known("p", &group).await;
    let before = kafka::committed(&world.bootstrap, &group, &topic, 3).await;
    let ask = |id: &str| json!({ "id": id, "quietPeriod": "0s", "to": { "position": "Current" } });
    // A partition without a commit has nothing to renew.
    world.apply("p", &group, ask("fail")).await;
    let status = world.reaches("p", "fail", Stage::Failed, "NoCommittedOffset").await;
    assert_has(says(&status, "Stalled").2, &[&format!("{topic}-2 has no committed offset")]);
    world.apply("p", &group, with(ask("skip"), "noCommittedOffset", json!("Skip"))).await;
    let status = world.verified("p", "skip").await;
    assert_eq!(kafka::committed(&world.bootstrap, &group, &topic, 3).await, before);
    let totals = reset(&status).plan.clone().expect("totals");
    assert_eq!((totals.partitions, totals.left_alone, totals.replayed, totals.skipped, totals.clamped), (2, 1, 0, 0, 0));
    let plan = world.record(&status).await.spec.plan.expect("a plan");
    assert_eq!(plan.topics[0].to_metadata, ["theirs", "", ""]);
    assert!(plan.warnings.is_empty(), "nothing is dropped: {:?}", plan.warnings);
    // What fell off the log is not simply renewed.
    kafka::delete_records(&world.bootstrap, &[(&topic, 1, 5)]).await;
    world.apply("p", &group, with(ask("gone"), "noCommittedOffset", json!("Skip"))).await;
    world.reaches("p", "gone", Stage::Failed, "OutOfRange").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k11_another_groups_position_is_copied_and_that_group_is_only_read() {
    let world = World::new("k11").await;
    let topic = world.topic(&[10, 10, 10]).await;
    let group = world.group(&topic, &[1, 2, 3]).await;
    let other = world.unique("other");
    kafka::commit(&world.bootstrap, &other, &[(&topic, 0, 7, "theirs"), (&topic, 1, 8, "")]).await;
    let theirs = kafka::committed(&world.bootstrap, &other, &topic, 3).await;
    world.known("p", &group).await;
    let ask = |id: &str| json!({ "id": id, "quietPeriod": "0s", "to": { "consumerGroup": other } });
    // What the other one lacks follows noCommittedOffset.
    world.apply("p", &group, ask("fail")).await;
    let status = world.reaches("p", "fail", Stage::Failed, "NoCommittedOffset").await;
    assert_has(says(&status, "Stalled").2, &[&format!("{topic}-2 has no committed offset in group {other}")]);
    world.apply("p", &group, with(ask("skip"), "noCommittedOffset", json!("Skip"))).await;
    world.verified("p", "skip").await;
    assert_eq!(world.offsets(&group, &topic, 3).await, [Some(7), Some(8), Some(3)]);
    // While it reads, the plan says so.
    let reader = Consumer::classic(&world.bootstrap, &other, &topic, "k11-reader");
    reader.wait().await;
    world.apply("p", &group, with(with(ask("active"), "noCommittedOffset", json!("Skip")), "dryRun", json!(true))).await;
    let status = world.reaches("p", "active", Stage::Planned, "PlanReady").await;
    let plan = world.record(&status).await.spec.plan.expect("a plan");
    assert_has(plan.warnings.join("; "), &[&format!("the position of group {other} as of 20"), "which is active: 1 member"]);
    reader.stop().await;
    // A group that is not there yet.
    let new = world.unique("new");
    world.known("new", &new).await;
    let create = json!({ "missingGroup": "Create", "topics": [{ "name": topic, "partitions": [0, 1] }] });
    let request = create.as_object().expect("fields").iter().fold(ask("made"), |ask, (field, value)| with(ask, field, value.clone()));
    world.apply("new", &new, request).await;
    world.verified("new", "made").await;
    assert_eq!(world.offsets(&new, &topic, 3).await, [Some(7), Some(8), None]);
    assert_eq!(kafka::committed(&world.bootstrap, &other, &topic, 3).await, theirs, "the other group was only read");
}

#[tokio::test(flavor = "multi_thread")]
async fn k11_what_a_transaction_of_the_other_group_holds_is_waited_for() {
    let world = World::new("k11t").await;
    let topic = world.topic(&[10]).await;
    let (group, other) = (world.group(&topic, &[1]).await, world.unique("other"));
    let holding = OpenTransaction::holding(&world.bootstrap, &other, &[(&topic, 0, 6)]).await;
    world.known("p", &group).await;
    let to = json!({ "consumerGroup": other });
    world
        .apply("p", &group, json!({ "id": "r1", "quietPeriod": "0s", "to": to, "outOfRange": "Clamp", "noCommittedOffset": "Skip" }))
        .await;
    world.reaches("p", "r1", Stage::Waiting, "TransactionOpen").await;
    holding.commit().await;
    world.verified("p", "r1").await;
    assert_eq!(world.offset(&group, &topic).await, Some(6));
}
