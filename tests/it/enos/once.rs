//! O01, O02, O05, O06, O16, O18, E06, E07 on EnOS: once per request. The faults of every single call are in `matrix`.

use std::time::Duration;

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use stream_pipeline_api::{Reason, RecordPhase, Stage};
use testbed::enos::{Call, Fault, Kind, Options, ResetTo, When};

use crate::support::enos::{EnosWorld, ID, QUICK, pause, pipeline};
use crate::support::requests::{from_now, with};
use crate::support::status::{assert_has, assert_skipped, reset, says};
use crate::support::world::LOG_EVERY_LOOK;

fn ask(id: &str) -> Value {
    json!({ "id": id })
}

#[tokio::test(flavor = "multi_thread")]
async fn o01_applied_again_or_restarted_after_a_pause_nothing_is_called_and_nothing_is_written() {
    let mut enos = EnosWorld::running("o01e", &[LOG_EVERY_LOOK]).await;
    enos.apply("p", ID, pause("r1")).await;
    enos.world.verified("p", "r1").await;
    enos.brought_back("p", &enos.world.only_record().await.name_any()).await;
    enos.restart();
    enos.world.looks("p", 3).await;
    let record = enos.world.only_record().await;
    let (version, writes, changes) = (enos.world.resource_version("p").await, enos.world.writes(), enos.changes());
    assert!(!writes.is_empty(), "the audit log shows the writes of the reset");
    for _ in 0..2 {
        enos.restart();
        enos.apply("p", ID, pause("r1")).await;
        enos.world.looks("p", 3).await;
    }
    assert_eq!((enos.world.resource_version("p").await, enos.world.writes()), (version, writes.clone()));
    let touched = Patch::Merge(json!({ "metadata": { "annotations": { "argocd.argoproj.io/refresh": "hard" } } }));
    enos.world.pipelines().patch("p", &PatchParams::default(), &touched).await.expect("it can be touched");
    enos.world.looks("p", 3).await;
    assert_eq!((enos.world.writes(), enos.changes()), (writes, changes), "writes, and calls that change the state");
    assert_eq!(enos.world.only_record().await.resource_version(), record.resource_version());
}

#[tokio::test(flavor = "multi_thread")]
async fn o02_deleted_and_created_again_with_the_same_id_is_already_handled() {
    let enos = EnosWorld::with("o02e", "PAUSED").await;
    enos.known("p").await;
    enos.apply("p", ID, ask("r1")).await;
    enos.sent("p", "r1").await;
    let record = enos.world.only_record().await;
    for request in [ask("r1"), with(ask("r1"), "whenCreated", json!("Run")), with(ask("r1"), "expiresAt", from_now(3600))] {
        enos.world.delete("p").await;
        enos.apply("p", ID, request.clone()).await;
        let status = enos.world.reaches("p", "r1", Stage::Skipped, "AlreadyHandled").await;
        assert_has(says(&status, "Ready").2, &[&record.name_any()]);
        enos.calls(Call::List, 3).await;
        assert_eq!(
            (enos.changes(), enos.world.only_record().await.resource_version()),
            ([0, 1, 0, 0], record.resource_version()),
            "{request}"
        );
    }
    // A new id on the new object runs.
    enos.apply("p", ID, ask("r2")).await;
    enos.sent("p", "r2").await;
    assert_eq!(enos.reset_calls(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn o05_an_id_changed_before_the_plan_is_dropped_and_brought_back_before_the_next_one_runs() {
    let enos = EnosWorld::running("o05e", &[]).await;
    let paused = enos.sim.hold(Call::Pause, When::After);
    enos.apply("p", ID, pause("r1")).await;
    paused.reached().await;
    let first = enos.world.only_record().await.name_any();
    enos.apply("p", ID, pause("r2")).await;
    paused.release();
    enos.world.verified("p", "r2").await;
    let said = enos.world.record_named(&first).await.status.expect("closed");
    assert_eq!((said.phase, said.reason), (RecordPhase::Abandoned, Reason::NoLongerRequested));
    assert!(said.brought_back_at.is_some());
    assert_eq!((enos.changes(), enos.sim.status(ID).as_str()), ([2, 1, 2, 0], "RUNNING"), "calls that change the state, and the state");
}

#[tokio::test(flavor = "multi_thread")]
async fn o05_an_id_changed_after_the_send_is_closed_first() {
    let enos = EnosWorld::running("o05f", &[]).await;
    let sent = enos.sim.hold(Call::Reset, When::After);
    enos.apply("p", ID, pause("r1")).await;
    sent.reached().await;
    let first = enos.world.only_record().await.name_any();
    enos.apply("p", ID, pause("r2")).await;
    sent.release();
    // After the first reset there is no backlog, so a second jump to the end cannot be proven.
    enos.world.reaches("p", "r2", Stage::Sent, "Unproven").await;
    enos.brought_back("p", &first).await;
    let said = enos.world.record_named(&first).await.status.expect("closed");
    assert!(
        matches!(said.phase, RecordPhase::Sent | RecordPhase::Verified) && said.brought_back_at.is_some(),
        "expected the first request to be closed as sent, and brought back: {said:?}"
    );
    assert_eq!((enos.changes(), enos.sim.status(ID).as_str()), ([2, 2, 2, 0], "RUNNING"));
}

#[tokio::test(flavor = "multi_thread")]
async fn o06_without_its_id_nothing_runs_and_the_last_result_stays_readable() {
    let enos = EnosWorld::with("o06e", "PAUSED").await;
    enos.known("p").await;
    enos.apply("p", ID, ask("r1")).await;
    enos.sent("p", "r1").await;
    enos.apply("p", ID, Value::Null).await;
    let status = enos.world.nothing_requested("p").await;
    assert_eq!((says(&status, "Ready").0, reset(&status).id.as_str(), reset(&status).stage), ("True", "r1", Stage::Sent));
    // A request that is removed while it waits leaves nothing behind.
    enos.sim.set_status(ID, "RUNNING");
    enos.apply("p", ID, ask("r2")).await;
    enos.world.reaches("p", "r2", Stage::Waiting, "PipelineActive").await;
    enos.apply("p", ID, Value::Null).await;
    let status = enos.world.nothing_requested("p").await;
    assert_eq!(status.offset_reset, None);
    enos.sim.set_status(ID, "PAUSED");
    enos.calls(Call::List, 4).await;
    assert_eq!(enos.changes(), [0, 1, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn o16_present_at_creation_is_skipped_also_with_a_pause() {
    let enos = EnosWorld::with("o16e", "RUNNING").await;
    enos.apply("p", ID, pause("r1")).await;
    let status = enos.world.reaches("p", "r1", Stage::Skipped, "SkippedAtCreation").await;
    assert_skipped(&status);
    enos.world.warned("p", "SkippedAtCreation").await;
    enos.sim.set_status(ID, "PAUSED");
    enos.calls(Call::List, 4).await;
    assert_eq!((enos.changes(), enos.world.all_records().await.len(), enos.world.finalizers("p").await.len()), ([0; 4], 0, 0));
    enos.apply("p", ID, ask("r2")).await;
    enos.sent("p", "r2").await;
    assert_eq!(enos.reset_calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn o18_created_with_when_created_run_or_an_expiry_to_come_runs_once() {
    for (test, field, value) in [("o18r", "whenCreated", json!("Run")), ("o18x", "expiresAt", from_now(3600))] {
        let enos = EnosWorld::with(test, "PAUSED").await;
        enos.apply("p", ID, with(ask("r1"), field, value.clone())).await;
        enos.sent("p", "r1").await;
        enos.apply("p", ID, with(ask("r1"), field, value)).await;
        enos.calls(Call::List, 3).await;
        assert_eq!(enos.changes(), [0, 1, 0, 0]);
    }
    let enos = EnosWorld::with("o18p", "PAUSED").await;
    enos.apply("p", ID, with(ask("r1"), "expiresAt", from_now(-60))).await;
    enos.world.reaches("p", "r1", Stage::Skipped, "SkippedAtCreation").await;
    assert_eq!(enos.changes(), [0; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn e07_what_certainly_did_not_reach_the_platform_is_planned_again_and_sent_once() {
    let enos = EnosWorld::with("e07", "PAUSED").await;
    enos.known("p").await;
    // Refused for the wrong state: nothing was done.
    enos.sim.fault(Fault::new(Call::Reset, When::Before, Kind::Code(61152, None)));
    enos.apply("p", ID, ask("r1")).await;
    let status = enos.sent("p", "r1").await;
    assert_eq!((enos.reset_calls(), enos.sim.resets(ID)), (2, 1), "{status:?}");
    assert_eq!(enos.world.all_records().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn e01_a_reset_that_was_accepted_and_not_carried_out_is_held_and_not_called_success() {
    let enos = EnosWorld::running("yes", &[]).await;
    enos.sim.fault(Fault::new(Call::Reset, When::Before, Kind::Code(0, Some("OK".to_owned()))));
    enos.apply("p", ID, pause("r1")).await;
    let status = enos.world.reaches("p", "r1", Stage::Held, "NotTakenUp").await;
    assert_has(says(&status, "OffsetsReset").2, &["it went on from where it was"]);
    enos.brought_back("p", &enos.world.only_record().await.name_any()).await;
    assert_eq!((enos.changes(), enos.sim.resets(ID)), ([1, 1, 1, 0], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn e01_of_two_resets_between_two_samples_the_second_is_not_proven_by_what_the_first_moved() {
    let enos = EnosWorld::with_flags("e01s", Options { lag_sample: Duration::from_secs(3600), ..Options::default() }, &QUICK).await;
    enos.sim.add(pipeline(1, "cleaning", "RUNNING").reset_to(ResetTo::Earliest));
    enos.sim.sample(ID).await;
    enos.known("p").await;
    enos.apply("p", ID, pause("r1")).await;
    enos.sent("p", "r1").await;
    let first = enos.world.only_record().await.name_any();
    enos.world.brought_back(&first).await;
    enos.sim.fault(Fault::new(Call::Reset, When::Before, Kind::Code(0, Some("OK".to_owned()))));
    enos.apply("p", ID, pause("r2")).await;
    let second = reset(&enos.sent("p", "r2").await).record_ref.clone().expect("a record").name;
    enos.world.brought_back(&second).await;
    // Only the first one was carried out, and the platform shows it only now.
    enos.sim.sample(ID).await;
    let status = enos.world.reaches("p", "r2", Stage::Sent, "Unproven").await;
    assert_has(says(&status, "OffsetsReset").2, &[&format!("the reset of record {first} may have moved it between these readings")]);
    assert_eq!((enos.reset_calls(), enos.sim.resets(ID)), (2, 1));
}
