//! Look-ups by time and counts of records, on logs that are being written to or were cut.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use stream_pipeline_api::{PlanTotals, Stage, TargetReason};
use testbed::kafka::{self, Producing};

use crate::support::requests::ask;
use crate::support::status::{reset, says};
use crate::support::world::{FIRST_RECORD_TIME, LIMIT, World};

/// So many partitions are written to at once.
const PARTITIONS: i32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_time_just_now_is_found_on_a_topic_that_is_written_to() {
    let world = World::new("live").await;
    let topic = world.unique("t");
    kafka::create_topic(&world.bootstrap, &topic, PARTITIONS, &[]).await;
    let group = world.unique("g");
    let commits: Vec<_> = (0..PARTITIONS).map(|partition| (topic.as_str(), partition, 0, "")).collect();
    kafka::commit(&world.bootstrap, &group, &commits).await;
    let producing = Producing::start(&world.bootstrap, &topic, PARTITIONS);
    world.known("p", &group).await;
    let mut plans = Vec::new();
    for n in 0..20 {
        let (id, dry_run) = (format!("r{n}"), n != 19);
        let time = Timestamp::from_millisecond(Timestamp::now().as_millisecond()).expect("a time");
        let ask = json!({ "id": id, "quietPeriod": "0s", "to": { "timestamp": time.to_string() }, "dryRun": dry_run });
        world.apply("p", &group, ask).await;
        let status =
            world.wait("p", "the end of the request", |s| s.offset_reset.as_ref().is_some_and(|r| r.id == id && r.stage.is_final())).await;
        let expected = if dry_run { Stage::Planned } else { Stage::Verified };
        assert_eq!(reset(&status).stage, expected, "{}", says(&status, "Ready").2);
        let plan = world.record(&status).await.spec.plan.expect("a plan");
        assert!(
            plan.warnings.is_empty() && !plan.topics[0].why.contains(&TargetReason::TransactionOpen),
            "no transaction: {:?}",
            plan.warnings
        );
        plans.push((time, plan));
    }
    // Once each partition has a record after the last of these times, all of them can be looked up.
    let last = plans.last().expect("plans").0.as_millisecond();
    testbed::eventually("a record in each partition", LIMIT, async || {
        let found = kafka::offsets_at(&world.bootstrap, &topic, PARTITIONS, last).await;
        if found.iter().all(Option::is_some) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    drop(producing);
    for (time, plan) in plans {
        let found = kafka::offsets_at(&world.bootstrap, &topic, PARTITIONS, time.as_millisecond()).await;
        let rows = &plan.topics[0];
        for (p, found) in found.into_iter().enumerate() {
            let (planned, end, found) = (rows.to[p], rows.log_end[p], found.expect("each partition has a record after it"));
            // A record that its producer had stamped before, and that came after the look: the plan lets it be read too.
            let late = planned == end && rows.why.get(p) == Some(&TargetReason::NoRecordLatest) && planned < found;
            assert!(
                planned == found || late,
                "{time}: partition {p}, planned {planned} in a log to {end}, and the first record is {found}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_below_the_millisecond_is_at_or_after_it() {
    let world = World::new("below").await;
    let topic = world.unique("t");
    kafka::create_topic(&world.bootstrap, &topic, 1, &[]).await;
    kafka::produce(&world.bootstrap, &topic, 0, 4, |n| FIRST_RECORD_TIME + n).await;
    let group = world.group(&topic, &[4]).await;
    world.known("p", &group).await;
    for (id, time, expected) in [("a", "00.0005Z", 1), ("b", "00.001Z", 1), ("c", "00.001000001Z", 2), ("d", "00.003000001Z", 4)] {
        let to = json!({ "timestamp": format!("2026-01-01T00:00:{time}") });
        world.apply("p", &group, json!({ "id": id, "quietPeriod": "0s", "to": to })).await;
        world.verified("p", id).await;
        assert_eq!(world.offsets(&group, &topic, 1).await, [Some(expected)], "{time}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newest_record_that_was_deleted_proves_nothing() {
    let world = World::new("gone").await;
    // One partition loses all its records, the other the ones with the newest time stamps, which came first in it.
    let topic = world.topic(&[10, 0]).await;
    kafka::produce(&world.bootstrap, &topic, 1, 5, |n| {
        FIRST_RECORD_TIME + [9000, 9500, 1000, 2000, 3000][usize::try_from(n).expect("small")]
    })
    .await;
    kafka::delete_records(&world.bootstrap, &[(&topic, 0, 10), (&topic, 1, 2)]).await;
    let group = world.group(&topic, &[10, 5]).await;
    world.known("p", &group).await;
    world.apply("p", &group, json!({ "id": "r1", "quietPeriod": "0s", "to": { "timestamp": "2026-01-01T00:00:05Z" } })).await;
    let status = world.verified("p", "r1").await;
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(10), Some(5)]);
    assert_eq!(world.record(&status).await.spec.plan.expect("a plan").topics[0].why, [TargetReason::NoRecordLatest; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_beyond_the_log_are_not_counted_and_huge_ones_end_nothing() {
    let mut world = World::new("huge").await;
    let topic = world.topic(&[10, 10, 10]).await;
    let (beyond, huge) = (world.group(&topic, &[1000]).await, world.group(&topic, &[i64::MAX; 3]).await);
    world.known("beyond", &beyond).await;
    world.known("huge", &huge).await;
    let process = world.operator().pid();
    let only = json!([{ "name": topic, "partitions": [0] }]);
    for (id, position, replayed, lag) in [("latest", "Latest", 0, 0), ("earliest", "Earliest", 10, 10)] {
        world.apply("beyond", &beyond, json!({ "id": id, "dryRun": true, "to": { "position": position }, "topics": only })).await;
        let status = world.reaches("beyond", id, Stage::Planned, "PlanReady").await;
        let totals = reset(&status).plan.clone().unwrap_or_default();
        let expected = PlanTotals {
            partitions: 1,
            replayed,
            lag_after: lag,
            average_rate: totals.average_rate,
            catch_up: totals.catch_up.clone(),
            ..PlanTotals::default()
        };
        assert_eq!(totals, expected, "{position}");
        // From beyond the end there is no record to read.
        assert_eq!(status.lag.map(|lag| lag.total), Some(0));
    }
    world.apply("huge", &huge, ask("r1", "Earliest")).await;
    let status = world.verified("huge", "r1").await;
    assert_eq!(world.offsets(&huge, &topic, 3).await, [Some(0); 3]);
    assert_eq!(reset(&status).plan.as_ref().map(|p| (p.replayed, p.skipped)), Some((30, 0)));
    assert_eq!(world.operator().pid(), process, "the operator must still be the same process");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lag_is_that_of_the_time_beside_it_or_is_not_shown() {
    let world = World::new("lag").await;
    let topic = world.topic(&[10, 10]).await;
    let group = world.group(&topic, &[3, 4]).await;
    world.known("p", &group).await;
    let begun = Timestamp::now() - SignedDuration::from_secs(1);
    world.apply("p", &group, json!({ "id": "look", "dryRun": true, "to": { "position": "Latest" } })).await;
    let lag = world.reaches("p", "look", Stage::Planned, "PlanReady").await.lag.expect("a lag");
    assert_eq!(lag.total, 13);
    assert!(lag.at > begun && lag.at <= Timestamp::now(), "expected a time between the request and now: {lag:?}");
    for (n, id) in ["r1", "r2", "r3"].into_iter().enumerate() {
        let position = ["Latest", "Earliest", "Latest"][n];
        world.apply("p", &group, ask(id, position)).await;
        let status = world.verified("p", id).await;
        assert_eq!(status.lag, None, "{position}: it is from before the reset");
    }
}
