//! K16 to K31: which partitions and groups are reset, and logs with gaps, transactions or odd time stamps.

use std::process::Stdio;

use serde_json::json;
use stream_pipeline_api::{Stage, TargetReason};
use testbed::kafka::{self, OpenTransaction};

use crate::support::requests::ask;
use crate::support::status::{assert_has, reset, says};
use crate::support::world::{FIRST_RECORD_TIME, LIMIT, World};

#[tokio::test(flavor = "multi_thread")]
async fn k16_topics_selects_and_the_others_stay_byte_for_byte() {
    let world = World::new("k16").await;
    let (one, two) = (world.topic(&[10, 10, 10]).await, world.topic(&[10]).await);
    let group = world.unique("g");
    kafka::commit(
        &world.bootstrap,
        &group,
        &[(&one, 0, 5, "a"), (&one, 1, 5, "b"), (&one, 2, 5, "c"), (&two, 0, 5, "{\"keep\":\"größe\"}")],
    )
    .await;
    world.known("p", &group).await;
    world
        .apply(
            "p",
            &group,
            json!({ "id": "r1", "quietPeriod": "0s", "to": { "position": "Earliest" }, "topics": [{ "name": one, "partitions": [0, 2] }] }),
        )
        .await;
    let status = world.verified("p", "r1").await;
    assert_eq!(reset(&status).plan.as_ref().map(|p| p.partitions), Some(2));
    assert_eq!(world.offsets(&group, &one, 3).await, [Some(0), Some(5), Some(0)]);
    assert_eq!(kafka::committed(&world.bootstrap, &group, &one, 3).await[&1], (5, "b".to_owned()));
    assert_eq!(kafka::committed(&world.bootstrap, &group, &two, 1).await[&0], (5, "{\"keep\":\"größe\"}".to_owned()));
    // A partition and a topic that do not exist.
    world.apply("p", &group, json!({ "id": "r2", "quietPeriod": "0s", "to": { "position": "Earliest" }, "topics": [{ "name": one, "partitions": [1, 7] }, { "name": "k16-none" }] })).await;
    let status = world.reaches("p", "r2", Stage::Failed, "PartitionNotFound").await;
    let message = says(&status, "Stalled").2;
    assert_has(message, &[&format!("{one}-7"), "k16-none"]);
    assert_eq!(world.offsets(&group, &one, 3).await, [Some(0), Some(5), Some(0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn k17_partitions_without_a_commit_follow_no_committed_offset() {
    let world = World::new("k17").await;
    let topic = world.topic(&[10, 10]).await;
    let group = world.group(&topic, &[5]).await;
    world.known("p", &group).await;
    let ask =
        |id: &str, policy: &str| json!({ "id": id, "quietPeriod": "0s", "to": { "position": "Latest" }, "noCommittedOffset": policy });
    world.apply("p", &group, ask("fail", "Fail")).await;
    let status = world.reaches("p", "fail", Stage::Failed, "NoCommittedOffset").await;
    assert!(says(&status, "Ready").2.contains(&format!("{topic}-1 has no committed offset")));
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(5), None]);
    world.apply("p", &group, ask("skip", "Skip")).await;
    let status = world.verified("p", "skip").await;
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(10), None]);
    assert_eq!(world.record(&status).await.spec.plan.expect("a plan").topics[0].why, [TargetReason::Target, TargetReason::NoCommitSkipped]);
    world.apply("p", &group, json!({ "id": "shift", "quietPeriod": "0s", "to": { "shiftBy": -1 } })).await;
    world.reaches("p", "shift", Stage::Failed, "NoCommittedOffset").await;
    world.apply("p", &group, ask("target", "Target")).await;
    world.verified("p", "target").await;
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(10), Some(10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn k18_a_group_that_does_not_exist_is_61108_and_is_created_only_on_purpose() {
    let world = World::new("k18").await;
    let topic = world.topic(&[10]).await;
    let group = world.unique("nobody");
    world.known("p", &group).await;
    world
        .apply("p", &group, json!({ "id": "r1", "quietPeriod": "0s", "to": { "position": "Latest" }, "topics": [{ "name": topic }] }))
        .await;
    let status = world.reaches("p", "r1", Stage::Failed, "PipelineNotFound").await;
    let error = reset(&status).error.clone().expect("an error");
    assert_eq!((error.code, error.retryable), (Some(61108), false));
    assert!(error.message.starts_with("61108: ") && says(&status, "Stalled").2.starts_with("61108: "), "{}", error.message);
    let groups = world.testbed.kafka_consumer_groups(&["--list"]);
    assert!(!groups.contains(&group), "not created as a side effect: {groups}");
    world.apply("p", &group, json!({ "id": "r2", "quietPeriod": "0s", "to": { "position": "Latest" }, "topics": [{ "name": topic }], "missingGroup": "Create" })).await;
    world.verified("p", "r2").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn k19_empty_and_compacted_topics_and_a_log_start_past_the_commit() {
    let world = World::new("k19").await;
    let topic = world.topic(&[0, 10, 10]).await;
    let compacted = world.unique("compacted");
    // Each record has a segment of its own, so that all but the last can be compacted: three records are left, after a gap.
    let settings = [("cleanup.policy", "compact"), ("segment.ms", "100"), ("min.cleanable.dirty.ratio", "0.01")];
    kafka::create_topic(&world.bootstrap, &compacted, 1, &settings).await;
    let keys = ["a", "b", "c", "a", "b", "c", "a", "b", "c", "last"];
    let records: Vec<_> = keys.into_iter().zip((0..).map(|n| FIRST_RECORD_TIME + n * 1000)).collect();
    kafka::produce_keyed(&world.bootstrap, &compacted, 0, &records).await;
    testbed::eventually("the broker to compact the topic", LIMIT, async || {
        match kafka::offsets_at(&world.bootstrap, &compacted, 1, FIRST_RECORD_TIME).await[0] {
            Some(6) => Ok(()),
            first => Err(format!("its first record is {first:?}")),
        }
    })
    .await;
    assert_eq!(kafka::watermarks(&world.bootstrap, &compacted, 0).await, (0, 10), "offsets, where the log still begins at 0");
    let group = world.unique("g");
    kafka::commit(&world.bootstrap, &group, &[(&topic, 0, 0, ""), (&topic, 1, 2, ""), (&topic, 2, 9, ""), (&compacted, 0, 10, "")]).await;
    kafka::delete_records(&world.bootstrap, &[(&topic, 1, 6)]).await;
    world.known("p", &group).await;
    world.apply("p", &group, json!({ "id": "r1", "quietPeriod": "0s", "to": { "shiftBy": -3 }, "outOfRange": "Clamp" })).await;
    let status = world.verified("p", "r1").await;
    assert_eq!(world.offsets(&group, &topic, 3).await, [Some(0), Some(6), Some(6)]);
    assert_eq!(world.offsets(&group, &compacted, 1).await, [Some(7)]);
    let plan = world.record(&status).await.spec.plan.expect("a plan");
    let rows = plan.topics.iter().find(|t| t.name == topic).expect("the topic");
    assert_eq!(rows.why, [TargetReason::ClampedToStart, TargetReason::ClampedToStart, TargetReason::Target]);
    // From 2 to 6 no record is skipped: those were compacted away.
    assert_eq!(plan.totals.as_ref().map(|t| (t.replayed, t.skipped)), Some((6, 0)));
    // A time within the gap finds the first record after it.
    let in_hole = json!({ "timestamp": "2026-01-01T00:00:02Z" });
    world.apply("p", &group, json!({ "id": "r2", "quietPeriod": "0s", "to": in_hole, "topics": [{ "name": compacted }] })).await;
    let status = world.verified("p", "r2").await;
    assert_eq!(world.offsets(&group, &compacted, 1).await, [Some(6)]);
    let plan = world.record(&status).await.spec.plan.expect("a plan");
    assert_eq!(
        (plan.topics[0].found_time.as_slice(), plan.topics[0].why.as_slice()),
        ([FIRST_RECORD_TIME + 6000].as_slice(), [].as_slice())
    );
    world.apply("p", &group, json!({ "id": "r3", "quietPeriod": "0s", "to": { "shiftBy": -4 }, "topics": [{ "name": compacted }] })).await;
    let status = world.verified("p", "r3").await;
    assert_eq!(world.offsets(&group, &compacted, 1).await, [Some(2)], "the target offset may have no record");
    assert_eq!(reset(&status).plan.as_ref().map(|p| (p.replayed, p.lag_after)), Some((4, 8)), "records that are replayed, and the lag");
}

#[tokio::test(flavor = "multi_thread")]
async fn k24_metadata_of_the_commits_is_kept_in_the_record_and_none_of_ours_is_left() {
    let world = World::new("k24").await;
    let topic = world.topic(&[10]).await;
    let group = world.unique("g");
    kafka::commit(&world.bootstrap, &group, &[(&topic, 0, 5, "AgAAAAF2 größe")]).await;
    world.known("p", &group).await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let status = world.verified("p", "r1").await;
    assert_eq!(kafka::committed(&world.bootstrap, &group, &topic, 1).await[&0], (0, String::new()));
    let plan = world.record(&status).await.spec.plan.expect("a plan");
    assert_eq!(plan.topics[0].from_metadata, ["AgAAAAF2 größe"]);
    assert!(plan.warnings.iter().any(|w| w.contains("metadata")), "{:?}", plan.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn k27_share_and_streams_groups_are_refused_and_a_classic_streams_group_needs_topics() {
    let world = World::new("k27").await;
    let topic = world.topic(&[10]).await;
    // A share group, while its member runs.
    let share = world.unique("share");
    let mut tool = std::process::Command::new(world.testbed.kafka_bin().join("kafka-console-share-consumer.sh"));
    tool.args(["--bootstrap-server", &world.bootstrap, "--topic", &topic, "--group", &share])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _share = testbed::Program::start("share consumer", tool);
    // A streams group (KIP-1071).
    let streams = world.unique("streams");
    let _streams = testbed::Program::start("streams application", world.testbed.streams_application(&streams, &topic));
    for (name, group) in [("share", &share), ("streams", &streams)] {
        let known = || world.testbed.kafka_groups();
        testbed::eventually("the group to be there", LIMIT, async || {
            let list = tokio::task::block_in_place(known);
            if list.contains(group.as_str()) { Ok(()) } else { Err(list) }
        })
        .await;
        world.known(name, group).await;
        world.apply(name, group, json!({ "id": "r1", "quietPeriod": "0s", "to": { "position": "Earliest" }, "topics": [{ "name": topic }], "missingGroup": "Create" })).await;
        let status = world.reaches(name, "r1", Stage::Failed, "GroupTypeNotSupported").await;
        let message = says(&status, "Stalled").2;
        assert_has(message, &["Nothing was sent", "delete the StreamPipeline and create it anew"]);
        // That is what is done now, with a group that can be reset.
        let right = world.group(&topic, &[7]).await;
        world.delete(name).await;
        world.known(name, &right).await;
        world.apply(name, &right, ask("r1", "Earliest")).await;
        world.verified(name, "r1").await;
    }
    // Kafka Streams on the classic protocol: its internal topics are never chosen by default.
    let classic = world.unique("app");
    let internal = format!("{classic}-counts-repartition");
    kafka::create_topic(&world.bootstrap, &internal, 1, &[]).await;
    kafka::commit(&world.bootstrap, &classic, &[(&topic, 0, 5, ""), (&internal, 0, 0, "")]).await;
    world.known("classic", &classic).await;
    world.apply("classic", &classic, ask("r1", "Earliest")).await;
    let status = world.reaches("classic", "r1", Stage::Failed, "InvalidTarget").await;
    assert!(says(&status, "Stalled").2.contains(&internal));
    world
        .apply(
            "classic",
            &classic,
            json!({ "id": "r2", "quietPeriod": "0s", "to": { "position": "Earliest" }, "topics": [{ "name": topic }] }),
        )
        .await;
    world.verified("classic", "r2").await;
    assert_eq!(world.offsets(&classic, &topic, 1).await, [Some(0)]);
    assert!(world.all_records().await.iter().all(|r| r.spec.backend.parts()[1] != share && r.spec.backend.parts()[1] != streams));
}

#[tokio::test(flavor = "multi_thread")]
async fn k28_latest_never_jumps_over_an_open_transaction() {
    let world = World::new("k28").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[2]).await;
    let open = OpenTransaction::begin(&world.bootstrap, &topic, 0, 5).await;
    world.known("p", &group).await;
    world.apply("p", &group, ask("r1", "Latest")).await;
    let status = world.verified("p", "r1").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(10)], "offsets, at the last stable offset");
    let plan = world.record(&status).await.spec.plan.expect("a plan");
    assert_eq!(
        (plan.topics[0].log_end.as_slice(), plan.topics[0].high_watermark.as_slice()),
        ([10].as_slice(), [15].as_slice()),
        "both ends"
    );
    assert_eq!(plan.topics[0].why, [TargetReason::TransactionOpen]);
    open.commit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k31_record_times_in_other_units_are_warned_about_and_shown() {
    let world = World::new("k31").await;
    let topic = world.topic(&[0, 0, 0]).await;
    // Time stamps in seconds, in microseconds, and out of order.
    kafka::produce(&world.bootstrap, &topic, 0, 5, |n| FIRST_RECORD_TIME / 1000 + n).await;
    kafka::produce(&world.bootstrap, &topic, 1, 5, |n| FIRST_RECORD_TIME * 1000 + n).await;
    kafka::produce(&world.bootstrap, &topic, 2, 5, |n| {
        FIRST_RECORD_TIME + [9000, 1000, 5000, 2000, 8000][usize::try_from(n).expect("small")]
    })
    .await;
    let group = world.group(&topic, &[5, 5, 5]).await;
    world.known("p", &group).await;
    world.apply("p", &group, json!({ "id": "r1", "quietPeriod": "0s", "to": { "timestamp": "2026-01-01T00:00:04Z" } })).await;
    let status = world.verified("p", "r1").await;
    let plan = world.record(&status).await.spec.plan.expect("a plan");
    assert_eq!(plan.topics[0].found_time, [-1, FIRST_RECORD_TIME * 1000, FIRST_RECORD_TIME + 9000]);
    assert_eq!(world.offsets(&group, &topic, 3).await, [Some(5), Some(0), Some(0)]);
    let warned = |what: &str, partition: i32| plan.warnings.iter().any(|w| w.contains(what) && w.contains(&format!("{topic}-{partition}")));
    assert!(warned("more than a day before", 0) && warned("in the future", 1), "{:?}", plan.warnings);
    assert_has(says(&status, "Ready").2, &["Mind: "]);
}
