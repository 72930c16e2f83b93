//! O16 to O28, P01, P04: requests that come with a new object, that change while they wait, that expire; dry runs.

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde_json::{Value, json};
use stream_pipeline_api::{Reason, RecordPhase, Stage, StreamPipelineStatus};
use testbed::consumer::Consumer;
use testbed::kafka;

use crate::support::requests::{ask, from_now, with};
use crate::support::status::{assert_has, assert_skipped, condition, has_reason, is, reset, says};
use crate::support::world::{FIRST_RECORD_TIME, World};

#[tokio::test(flavor = "multi_thread")]
async fn o16_a_manifest_applied_to_a_namespace_made_anew_is_skipped_loudly() {
    let world = World::new("o16").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    world.verified("p", "r1").await;
    world.move_group(&group, &topic, 5).await;
    // The namespace goes with all its records, and comes again.
    let name = world.namespace.name();
    for args in [["delete", "namespace", name], ["create", "namespace", name]] {
        let output = world.testbed.kubectl(&args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(world.all_records().await.is_empty(), "the records must be gone with the namespace");
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let status = world.reaches("p", "r1", Stage::Skipped, "SkippedAtCreation").await;
    assert_skipped(&status);
    assert!(world.warned("p", "SkippedAtCreation").await.contains("a restored or copied manifest moves nothing"));
    // The id stays skipped, however the request is edited.
    world.apply("p", &group, with(ask("r1", "Latest"), "whenCreated", json!("Run"))).await;
    world.decides_twice("p").await;
    world.apply("p", &group, with(ask("r1", "Latest"), "expiresAt", from_now(3600))).await;
    world.decides_twice("p").await;
    assert_skipped(&world.reaches("p", "r1", Stage::Skipped, "SkippedAtCreation").await);
    // An expiresAt that has passed lets nothing run.
    world.apply("late", &group, with(ask("r1", "Earliest"), "expiresAt", from_now(-1))).await;
    assert_skipped(&world.reaches("late", "r1", Stage::Skipped, "SkippedAtCreation").await);
    world.delete("late").await;
    assert_eq!(world.offset(&group, &topic).await, Some(5));
    assert!(world.all_records().await.is_empty());
    world.apply("p", &group, ask("r2", "Earliest")).await;
    world.verified("p", "r2").await;
    assert_eq!(world.offset(&group, &topic).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn o18_created_with_when_created_run_or_before_it_expires_runs_once() {
    let mut world = World::new("o18").await;
    let topic = world.topic(&[10]).await;
    let requests = [
        ("run", with(ask("r1", "Earliest"), "whenCreated", json!("Run"))),
        ("soon", with(ask("r1", "Earliest"), "expiresAt", from_now(3600))),
    ];
    let mut groups = BTreeMap::new();
    for (name, request) in &requests {
        let group = world.group(&topic, &[7]).await;
        world.apply(name, &group, request.clone()).await;
        world.verified(name, "r1").await;
        assert_eq!(world.offset(&group, &topic).await, Some(0), "{name}");
        world.move_group(&group, &topic, 5).await;
        groups.insert(*name, group);
    }
    world.restart();
    for (name, request) in &requests {
        let group = &groups[name];
        world.looks(name, 2).await;
        world.apply(name, group, request.clone()).await;
        world.decides_twice(name).await;
        world.verified(name, "r1").await;
        assert_eq!(world.offset(group, &topic).await, Some(5), "{name}: once");
    }
    assert_eq!(world.all_records().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn o27_a_target_edited_while_it_waits_is_taken_and_the_clock_goes_on() {
    let world = World::new("o27").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "o27-member");
    member.wait().await;
    world.apply("p", &group, with(ask("r1", "Earliest"), "waitTimeout", json!("10m"))).await;
    let before = world.reaches("p", "r1", Stage::Waiting, "GroupActive").await;
    let edited = world.apply("p", &group, with(ask("r1", "Latest"), "waitTimeout", json!("10m"))).await;
    let after = world.wait("p", "the edit to be seen", |s| s.observed_generation == edited.metadata.generation).await;
    let clock = |s: &StreamPipelineStatus| (reset(s).stage, reset(s).accepted_at, reset(s).deadline);
    assert!(reset(&before).accepted_at.is_some() && reset(&before).deadline.is_some());
    assert_eq!(clock(&after), clock(&before));
    assert!(world.all_records().await.is_empty());
    member.stop().await;
    let done = world.verified("p", "r1").await;
    assert_eq!(world.offset(&group, &topic).await, Some(10), "the offset, by the edited target");
    assert_eq!((reset(&done).accepted_at, reset(&done).deadline), (reset(&before).accepted_at, reset(&before).deadline));
    let record = world.record(&done).await;
    assert_eq!(Some(record.spec.deadline), reset(&before).deadline);
    assert!(has_reason(&done, "Ready", "ResetVerified"), "expected no hint at an edit");
    assert_eq!(world.all_records().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn o28_a_request_that_nobody_saw_being_made_is_present_at_creation() {
    let mut world = World::without_operator("o28").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    // One is created with a request; to the other it is added before the operator looked at it.
    world.apply("with", &group, ask("r1", "Earliest")).await;
    world.apply("added", &group, Value::Null).await;
    world.apply("added", &group, ask("r1", "Earliest")).await;
    world.restart();
    for name in ["with", "added"] {
        assert_skipped(&world.reaches(name, "r1", Stage::Skipped, "SkippedAtCreation").await);
        assert!(!world.warned(name, "SkippedAtCreation").await.is_empty());
    }
    world.restart();
    world.looks("with", 2).await;
    world.looks("added", 2).await;
    assert_eq!(world.offset(&group, &topic).await, Some(7));
    assert!(world.all_records().await.is_empty());
    // An object that was seen without the request: the request is new, also if no operator ran when it was made.
    let group = world.group(&topic, &[7]).await;
    world.known("seen", &group).await;
    world.kill_operator();
    world.apply("seen", &group, ask("r1", "Earliest")).await;
    world.start_operator();
    world.verified("seen", "r1").await;
    assert_eq!(world.offset(&group, &topic).await, Some(0));
}

/// One dry run makes one record, and leaves its id for the reset.
#[tokio::test(flavor = "multi_thread")]
async fn p01_a_dry_run_is_one_record_and_the_same_id_runs_afterwards() {
    let mut world = World::new("p01").await;
    let topic = world.topic(&[10, 20, 30]).await;
    let group = world.group(&topic, &[7, 20, 0]).await;
    world.known("p", &group).await;
    let dry = with(ask("r1", "Earliest"), "dryRun", json!(true));
    world.apply("p", &group, dry.clone()).await;
    let status = world.reaches("p", "r1", Stage::Planned, "PlanReady").await;
    let (ready, _, message) = says(&status, "Ready");
    assert_eq!((ready, says(&status, "OffsetsReset").0), ("True", "False"));
    assert_has(
        message,
        &[
            "3 partitions would move, at most 27 records would be replayed, 0 skipped; lag after 60, average input 0.0 records/s",
            "Nothing was sent",
        ],
    );
    assert_has(message, &["Set dryRun: false"]);
    assert!(condition(&status, "Stalled").is_none() && condition(&status, "Reconciling").is_none());
    let totals = reset(&status).plan.clone().expect("totals");
    assert_eq!((totals.partitions, totals.replayed, totals.skipped, totals.lag_after), (3, 27, 0, 60));
    let record = world.record(&status).await;
    let shown = record.spec.plan.clone().expect("the plan");
    assert_eq!(
        (shown.topics[0].partition.as_slice(), shown.topics[0].from.as_slice(), shown.topics[0].to.as_slice()),
        ([0, 1, 2].as_slice(), [7, 20, 0].as_slice(), [0, 0, 0].as_slice())
    );
    assert_eq!(shown.topics[0].log_end, [10, 20, 30]);
    assert_eq!(shown.totals, Some(totals));
    assert_eq!(world.closed(&record.name_any()).await, (RecordPhase::Planned, Reason::PlanReady));
    let record = world.record(&status).await;
    // However often the operator looks or starts, there is one record, and nothing more is written.
    world.restart();
    world.looks("p", 3).await;
    let writes = world.writes();
    world.apply("p", &group, dry.clone()).await;
    world.looks("p", 3).await;
    world.restart();
    world.looks("p", 3).await;
    assert_eq!(world.writes(), writes, "writes while nothing changes");
    // The plan stays as it was made, also where its numbers would be others now.
    kafka::produce(&world.bootstrap, &topic, 0, 5, |n| FIRST_RECORD_TIME + n).await;
    world.decides_twice("p").await;
    world.reaches("p", "r1", Stage::Planned, "PlanReady").await;
    let records = world.all_records().await;
    assert_eq!((records.len(), records[0].resource_version()), (1, record.resource_version()));
    assert_eq!(world.offsets(&group, &topic, 3).await, [Some(7), Some(20), Some(0)], "offsets after a dry run");
    // Another spec under the same id is another plan.
    world.apply("p", &group, with(ask("r1", "Latest"), "dryRun", json!(true))).await;
    let other =
        world.wait("p", "the other plan", |s| s.offset_reset.as_ref().and_then(|r| r.plan.as_ref()).is_some_and(|p| p.skipped == 38)).await;
    assert_eq!((reset(&other).stage, reset(&other).record_ref == reset(&status).record_ref), (Stage::Planned, false));
    assert_eq!(world.all_records().await.len(), 2);
    // The same id runs afterwards.
    world.apply("p", &group, with(ask("r1", "Earliest"), "dryRun", json!(false))).await;
    let done = world.verified("p", "r1").await;
    assert_eq!(world.offsets(&group, &topic, 3).await, [Some(0), Some(0), Some(0)]);
    assert_ne!(reset(&done).record_ref, reset(&status).record_ref, "the records of dry run and reset");
    let records = world.all_records().await;
    assert_eq!((records.len(), records.iter().filter(|r| r.spec.request.dry_run != Some(true)).count()), (3, 1));
    // From now on the id is used.
    world.move_group(&group, &topic, 5).await;
    world.apply("p", &group, dry).await;
    world.decides_twice("p").await;
    world.apply("p", &group, with(ask("r1", "Earliest"), "dryRun", json!(false))).await;
    world.decides_twice("p").await;
    world.verified("p", "r1").await;
    assert_eq!(world.offset(&group, &topic).await, Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn p04_a_request_that_did_not_start_before_it_expired_never_runs() {
    let world = World::new("p04").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    let expired = async |id: &str| {
        let status = world.reaches("p", id, Stage::Failed, "Expired").await;
        let (stalled, _, message) = says(&status, "Stalled");
        assert_eq!((stalled, says(&status, "Ready").0, says(&status, "OffsetsReset").0), ("True", "False", "False"));
        assert_has(message, &["expiresAt passed before the reset could start; nothing was sent"]);
    };
    // expiresAt passes while the request waits.
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "p04-member");
    member.wait().await;
    world.apply("p", &group, with(ask("r1", "Earliest"), "expiresAt", from_now(3))).await;
    expired("r1").await;
    member.stop().await;
    world.wait("p", "the group to be seen at rest", |s| is(s, "PipelineInactive", "True")).await;
    world.decides_twice("p").await;
    expired("r1").await;
    // A later expiresAt does not bring it back.
    world.apply("p", &group, with(ask("r1", "Earliest"), "expiresAt", from_now(3600))).await;
    world.decides_twice("p").await;
    expired("r1").await;
    // expiresAt has passed when the request is made.
    world.apply("p", &group, with(ask("r2", "Earliest"), "expiresAt", from_now(-60))).await;
    expired("r2").await;
    world.decides_twice("p").await;
    assert_eq!(world.offset(&group, &topic).await, Some(7));
    assert!(world.all_records().await.is_empty());
    world.apply("p", &group, with(ask("r3", "Earliest"), "expiresAt", from_now(3600))).await;
    world.verified("p", "r3").await;
    assert_eq!(world.offset(&group, &topic).await, Some(0));
}
