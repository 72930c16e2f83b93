//! O01 to O14: once per request, whatever is applied again, deleted, edited or restarted.

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use stream_pipeline_api::{Reason, RecordPhase, Stage, StreamPipelineStatus};
use testbed::consumer::Consumer;
use testbed::kafka;
use testbed::trap::Side;

use crate::support::calls::{closes_record, creates_record};
use crate::support::proxied::ProxiedOperator;
use crate::support::requests::{ask, from_now, with};
use crate::support::status::{assert_has, condition, has_reason, reset, says};
use crate::support::world::{FIRST_RECORD_TIME, World};

#[tokio::test(flavor = "multi_thread")]
async fn o01_applied_again_or_restarted_nothing_moves_and_nothing_is_written() {
    let mut world = World::new("o01").await;
    let (topic, group, record) = world.reset_once("p").await;
    world.restart();
    world.looks("p", 2).await;
    world.kill_operator();
    // While no operator is there the group is moved elsewhere.
    world.move_group(&group, &topic, 5).await;
    let (version, writes) = (world.resource_version("p").await, world.writes());
    assert!(!writes.is_empty(), "the audit log shows the writes of the reset");
    for _ in 0..2 {
        world.restart();
        world.looks("p", 2).await;
        world.apply("p", &group, ask("r1", "Earliest")).await;
        world.looks("p", 3).await;
    }
    assert_eq!(world.offset(&group, &topic).await, Some(5));
    assert_eq!(world.resource_version("p").await, version, "a restart and an apply without a change must write nothing");
    // A re-sync that touches the object, as Git tools do.
    let touched = Patch::Merge(json!({ "metadata": { "annotations": { "argocd.argoproj.io/refresh": "hard" } } }));
    world.pipelines().patch("p", &PatchParams::default(), &touched).await.expect("it can be touched");
    world.looks("p", 3).await;
    assert_eq!(world.writes(), writes, "writes, where nothing is written");
    assert_eq!(world.offset(&group, &topic).await, Some(5));
    let records = world.all_records().await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].resource_version(), record.resource_version());
    world.verified("p", "r1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o02_deleted_and_created_again_with_the_same_id_is_already_handled() {
    let world = World::new("o02").await;
    let (topic, group, record) = world.reset_once("p").await;
    let again = [
        ask("r1", "Earliest"),
        with(ask("r1", "Earliest"), "whenCreated", json!("Run")),
        with(ask("r1", "Earliest"), "expiresAt", from_now(3600)),
        with(ask("r1", "Latest"), "whenCreated", json!("Run")),
    ];
    for request in again {
        world.move_group(&group, &topic, 5).await;
        world.delete("p").await;
        world.apply("p", &group, request.clone()).await;
        let status = world.reaches("p", "r1", Stage::Skipped, "AlreadyHandled").await;
        let (ready, _, message) = says(&status, "Ready");
        assert_eq!((ready, says(&status, "OffsetsReset").0), ("True", "False"), "{request}");
        assert_has(message, &[&record.name_any(), "a new id asks again"]);
        assert_eq!(reset(&status).record_ref.as_ref().map(|r| r.name.clone()), Some(record.name_any()));
        world.decides_twice("p").await;
        assert_eq!(world.offset(&group, &topic).await, Some(5), "{request}");
    }
    assert!(world.warned("p", "AlreadyHandled").await.contains(&record.name_any()));
    let records = world.all_records().await;
    assert_eq!((records.len(), records[0].resource_version()), (1, record.resource_version()));
    // A new id on the new object runs.
    world.apply("p", &group, ask("r2", "Earliest")).await;
    world.verified("p", "r2").await;
    assert_eq!(world.offset(&group, &topic).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn o04_a_changed_id_is_a_new_request_and_an_old_one_is_none() {
    let world = World::new("o04").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let first = world.verified("p", "r1").await;
    // The same target under another id: moved again.
    world.move_group(&group, &topic, 5).await;
    world.apply("p", &group, ask("r2", "Earliest")).await;
    let second = world.verified("p", "r2").await;
    assert_eq!(world.offset(&group, &topic).await, Some(0));
    assert_ne!(reset(&first).record_ref, reset(&second).record_ref);
    assert_eq!(world.record(&second).await.spec.plan.expect("a plan").topics[0].from, [5]);
    // A revert in Git: the first id again.
    world.move_group(&group, &topic, 5).await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let back = world.verified("p", "r1").await;
    assert_eq!(reset(&back).record_ref, reset(&first).record_ref, "the record, where the old result is told");
    assert_eq!(reset(&back).completed_at, reset(&first).completed_at);
    world.decides_twice("p").await;
    assert_eq!(world.offset(&group, &topic).await, Some(5));
    assert_eq!(world.all_records().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn o05_an_id_changed_while_an_earlier_request_runs() {
    let world = World::without_operator("o05").await;
    let proxied = ProxiedOperator::start(&world, &[]).await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    // The id changes before the plan is sent: its record is there, and the answer to that write is stopped.
    proxied.traps.arm(Side::After, creates_record);
    world.apply("p", &group, ask("r1", "Earliest")).await;
    proxied.traps.sprung().await;
    let first = world.all_records().await.remove(0);
    assert!(first.spec.plan.is_some(), "the plan must be in the record before it is sent");
    world.apply("p", &group, ask("r2", "Latest")).await;
    proxied.traps.disarm();
    let status = world.verified("p", "r2").await;
    assert_eq!(world.offset(&group, &topic).await, Some(10));
    assert_eq!(
        world.record(&status).await.spec.plan.expect("a plan").topics[0].from,
        [7],
        "the offset that the plan starts from, where the first plan was not sent"
    );
    let first = world.record_named(&first.name_any()).await;
    let said = first.status.as_ref().expect("it is closed");
    assert_eq!((said.phase, said.reason, first.spec.plan), (RecordPhase::Abandoned, Reason::NoLongerRequested, None));
    assert_has(&said.message, &["given up before anything was sent"]);
    // The id changes after the plan was sent, while the close is stopped: the first is read back and closed, then the next one runs.
    proxied.traps.arm(Side::Before, closes_record);
    world.apply("p", &group, ask("r3", "Earliest")).await;
    proxied.traps.sprung().await;
    assert_eq!(world.offset(&group, &topic).await, Some(0), "the offset after the commit");
    let third = world.all_records().await.into_iter().find(|r| r.spec.request.id == "r3").expect("its record");
    world.apply("p", &group, ask("r4", "Latest")).await;
    proxied.traps.disarm();
    let status = world.verified("p", "r4").await;
    assert_eq!(world.offset(&group, &topic).await, Some(10));
    let (third, fourth) = (world.record_named(&third.name_any()).await, world.record(&status).await);
    let said = third.status.expect("it is closed");
    assert_eq!((said.phase, said.reason), (RecordPhase::Verified, Reason::ResetVerified));
    assert!(said.completed_at <= fourth.spec.created_at, "the earlier record must be closed before the next one is made");
    assert_eq!(fourth.spec.plan.expect("a plan").topics[0].from, [0]);
    // The id that was given up does not run any more.
    world.apply("p", &group, ask("r1", "Earliest")).await;
    world.reaches("p", "r1", Stage::Failed, "AbandonedUnrun").await;
    world.decides_twice("p").await;
    assert_eq!(world.offset(&group, &topic).await, Some(10));
    assert_eq!(world.all_records().await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn o06_an_id_that_is_removed_runs_nothing_and_the_last_result_stays() {
    let mut world = World::new("o06").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let done = world.verified("p", "r1").await;
    world.move_group(&group, &topic, 5).await;
    let nothing = |s: &StreamPipelineStatus| condition(s, "Ready").is_some_and(|c| c.status == "True" && c.reason == "NothingRequested");
    world.apply("p", &group, Value::Null).await;
    let status = world.wait("p", "nothing to be requested", nothing).await;
    assert_eq!(status.offset_reset, done.offset_reset, "the last result must stay in the status");
    assert_eq!((says(&status, "OffsetsReset").0, says(&status, "OffsetsReset").1), ("True", "ResetVerified"));
    assert!(condition(&status, "Stalled").is_none() && condition(&status, "Reconciling").is_none());
    assert_eq!(status.acknowledged_id, None);
    world.restart();
    world.looks("p", 3).await;
    // The same id again is not new.
    world.apply("p", &group, ask("r1", "Earliest")).await;
    world.verified("p", "r1").await;
    world.decides_twice("p").await;
    assert_eq!(world.offset(&group, &topic).await, Some(5));
    // Removed while it waits.
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "o06-member");
    member.wait().await;
    world.apply("p", &group, ask("r2", "Earliest")).await;
    world.reaches("p", "r2", Stage::Waiting, "GroupActive").await;
    world.apply("p", &group, Value::Null).await;
    let status = world.wait("p", "nothing to be requested", nothing).await;
    assert!(condition(&status, "Stalled").is_none() && condition(&status, "Reconciling").is_none());
    member.stop().await;
    world.decides_twice("p").await;
    assert_eq!(world.offset(&group, &topic).await, Some(5));
    assert_eq!(world.all_records().await.len(), 1);
    // Nothing waits any more, and the status does not say so.
    let status = world.wait("p", "nothing to be requested", nothing).await;
    assert_ne!(status.offset_reset.as_ref().map(|r| r.stage), Some(Stage::Waiting), "the stage that kubectl shows");
    assert!(condition(&status, "OffsetsReset").is_none_or(|c| !c.message.contains("starts by itself")), "{:?}", status.conditions);
}

#[tokio::test(flavor = "multi_thread")]
async fn o07_a_target_edited_under_an_id_that_is_done_runs_nothing_and_says_so() {
    let mut world = World::new("o07").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    world.verified("p", "r1").await;
    // A note does not count as an edit of the request.
    world.apply("p", &group, with(ask("r1", "Earliest"), "note", json!("ticket 4711"))).await;
    world.decides_twice("p").await;
    world.verified("p", "r1").await;
    world.apply("p", &group, ask("r1", "Latest")).await;
    let edited = async |world: &World| {
        let status = world.reaches("p", "r1", Stage::Verified, "RequestEditedWithoutNewId").await;
        let (ready, _, message) = says(&status, "Ready");
        assert_eq!(ready, "True");
        assert_has(message, &["Choose a new id to run it", "1 of 1 partition read back as planned"]);
        assert_eq!((says(&status, "OffsetsReset").0, says(&status, "OffsetsReset").1), ("True", "ResetVerified"));
        // Whoever waits for success of the edited request goes on waiting.
        let now = world.pipelines().get("p").await.expect("the object is there").metadata.generation;
        assert!(condition(&status, "OffsetsReset").is_some_and(|c| c.observed_generation < now), "{:?}", status.conditions);
        assert_eq!(status.observed_generation, now, "{status:?}");
        assert!(!world.is_green("p"), "kubectl wait must not return yet");
        // kstatus: Failed, because nothing more happens until a person acts.
        assert_eq!((says(&status, "Stalled").0, says(&status, "Stalled").1), ("True", "RequestEditedWithoutNewId"));
        assert!(condition(&status, "Reconciling").is_none());
    };
    edited(&world).await;
    world.restart();
    world.looks("p", 3).await;
    world.decides_twice("p").await;
    edited(&world).await;
    assert_eq!(world.offset(&group, &topic).await, Some(0));
    assert_eq!(world.all_records().await.len(), 1);
    // Edited back, the hint goes.
    world.apply("p", &group, ask("r1", "Earliest")).await;
    world.verified("p", "r1").await;
    assert!(world.is_green("p"));
    world.apply("p", &group, ask("r2", "Latest")).await;
    world.verified("p", "r2").await;
    assert_eq!(world.offset(&group, &topic).await, Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn o14_what_happens_to_a_group_after_its_reset_is_life() {
    let mut world = World::new("o14").await;
    let (topic, group, record) = world.reset_once("p").await;
    world.restart();
    for offset in [4, 9] {
        world.move_group(&group, &topic, offset).await;
        world.looks("p", 3).await;
        world.decides_twice("p").await;
        world.restart();
        world.looks("p", 2).await;
        let status = world.verified("p", "r1").await;
        assert_eq!((says(&status, "Ready").0, says(&status, "OffsetsReset").0), ("True", "True"));
        assert_eq!(world.offset(&group, &topic).await, Some(offset));
    }
    // A consumer and new records do not start it again either.
    kafka::produce(&world.bootstrap, &topic, 0, 5, |n| FIRST_RECORD_TIME + n).await;
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "o14-member");
    member.wait().await;
    world.wait("p", "the member to be seen", |s| has_reason(s, "PipelineInactive", "GroupActive")).await;
    member.stop().await;
    world.wait("p", "the group to be seen at rest", |s| has_reason(s, "PipelineInactive", "GroupInactive")).await;
    world.verified("p", "r1").await;
    assert_eq!(world.offset(&group, &topic).await, Some(9));
    let records = world.all_records().await;
    assert_eq!((records.len(), records[0].resource_version()), (1, record.resource_version()));
}
