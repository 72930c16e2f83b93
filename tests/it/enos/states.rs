//! E03, E04, E15: the states of a pipeline in which a reset cannot be called, and one that it is in right after it.

use serde_json::{Value, json};
use stream_pipeline_api::{Phase, RecordPhase, Stage};
use testbed::enos::{Call, Fault, Kind, Options, When};

use crate::support::enos::{EnosWorld, ID, id, pipeline};
use crate::support::status::{assert_has, reset, says};

#[tokio::test(flavor = "multi_thread")]
async fn e03_published_failed_and_unknown_states_are_waited_for_and_nothing_is_called() {
    let enos = EnosWorld::new("e03", Options::default()).await;
    for (n, name, status, reason, phase, advice) in [
        (1, "published", "PUBLISHED", "PipelineNotStartedYet", Phase::NotStarted, "Start and stop it"),
        (2, "failed", "Run Error", "PipelineFailed", Phase::Failed, "in the console, then stop it"),
        (3, "error", "RUN_ERROR", "PipelineFailed", Phase::Failed, "in the console, then stop it"),
        (4, "odd", "MIGRATING", "PipelineStatusUnknown", Phase::Unknown, "\"MIGRATING\""),
        (5, "silent", "", "PipelineStatusUnknown", Phase::Unknown, "no state"),
    ] {
        enos.sim.add(pipeline(n, name, status));
        // Asked to pause it: only a running pipeline is paused.
        enos.run(name, enos.spec(&id(n)), json!({ "whenActive": "Pause" })).await;
        let waits = enos.world.reaches(name, "r1", Stage::Waiting, reason).await;
        assert_eq!(waits.phase, Some(phase), "{status}");
        let (inactive, why, _) = says(&waits, "PipelineInactive");
        assert_eq!((inactive, why), ("False", reason));
        assert_eq!(says(&waits, "BackendReachable").0, "True", "BackendReachable, where the platform answered");
        assert_eq!((says(&waits, "Reconciling").0, says(&waits, "OffsetsReset").0), ("True", "False"));
        assert_has(says(&waits, "Ready").2, &[advice]);
        assert_has(says(&waits, "Ready").2, &["Waits until"]);
    }
    enos.calls(Call::List, 3).await;
    enos.assert_only_looks();
    assert!(enos.world.all_records().await.is_empty(), "expected no record before the reset can be called");
    for (n, name) in [(1, "published"), (2, "failed"), (3, "error"), (4, "odd"), (5, "silent")] {
        enos.sim.set_status(&id(n), "PAUSED");
        enos.sent(name, "r1").await;
        assert_eq!(enos.sim.resets(&id(n)), 1, "{name}");
    }
    assert_eq!((enos.reset_calls(), enos.sim.count(Call::Pause), enos.sim.count(Call::Start)), (5, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn d1_what_is_to_be_corrected_in_a_new_object_runs_in_one() {
    let enos = EnosWorld::with("d1e", "PAUSED").await;
    enos.run("p", enos.spec(&id(7)), Value::Null).await;
    let failed = enos.world.reaches("p", "r1", Stage::Failed, "PipelineNotFound").await;
    assert_has(says(&failed, "Ready").2, &["Correct spec.enos in a new object"]);
    enos.world.delete("p").await;
    enos.run("p", enos.spec(ID), Value::Null).await;
    enos.sent("p", "r1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e04_a_pipeline_missing_from_the_list_is_61108() {
    let enos = EnosWorld::new("e04a", Options::default()).await;
    enos.run("p", enos.spec(ID), Value::Null).await;
    let failed = enos.world.reaches("p", "r1", Stage::Failed, "PipelineNotFound").await;
    assert_eq!(failed.phase, Some(Phase::NotFound));
    let error = reset(&failed).error.as_ref().expect("an error");
    assert_eq!((error.code, error.retryable), (Some(61108), false));
    assert!(error.message.starts_with("61108: ") && error.message.contains(ID), "{}", error.message);
    let (ready, _, message) = says(&failed, "Ready");
    assert!(
        ready == "False" && message.starts_with("61108: ") && message.contains("in a new object"),
        "expected not ready, the code, and where to correct it: {message}"
    );
    assert_eq!((says(&failed, "Stalled").0, says(&failed, "OffsetsReset").0), ("True", "False"));
    assert_eq!(says(&failed, "BackendReachable").0, "True");
    assert!(enos.world.all_records().await.is_empty() && reset(&failed).record_ref.is_none(), "expected no record where nothing was sent");
    enos.assert_only_looks();
    // Somebody releases the pipeline. The request has ended, so a new id is needed.
    enos.sim.add(pipeline(1, "cleaning", "PAUSED"));
    enos.world.wait("p", "the phase", |s| s.phase == Some(Phase::Paused)).await;
    assert_eq!(enos.reset_calls(), 0);
    enos.apply("p", ID, json!({ "id": "r2" })).await;
    enos.sent("p", "r2").await;
    assert_eq!(enos.sim.resets(ID), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn e04_a_reset_answered_61108_ends_the_request_and_its_record_is_abandoned() {
    let enos = EnosWorld::with("e04b", "PAUSED").await;
    enos.sim.fault(Fault::new(Call::Reset, When::Before, Kind::Code(61108, None)));
    enos.run("p", enos.spec(ID), Value::Null).await;
    let failed = enos.world.reaches("p", "r1", Stage::Failed, "PipelineNotFound").await;
    let error = reset(&failed).error.as_ref().expect("an error");
    assert_eq!((error.code, error.retryable), (Some(61108), false));
    assert!(error.message.starts_with("61108: Reset Pipeline Offset was refused"), "{}", error.message);
    assert!(error.message.contains("Stream processing job does not exit."), "the platform's own words: {}", error.message);
    let status = enos.world.only_record().await.status.expect("closed");
    assert_eq!((status.phase, status.code), (RecordPhase::Abandoned, Some(61108)));
    assert_eq!((enos.reset_calls(), enos.sim.resets(ID)), (1, 0));
    enos.apply("p", ID, json!({ "id": "r2" })).await;
    enos.sent("p", "r2").await;
    assert_eq!((enos.reset_calls(), enos.sim.resets(ID)), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn e15_running_right_after_the_reset_is_unknown_and_not_success() {
    let enos = EnosWorld::with("e15", "PAUSED").await;
    let answer = enos.sim.hold(Call::Reset, When::After);
    enos.run("p", enos.spec(ID), Value::Null).await;
    answer.reached().await;
    enos.sim.set_status(ID, "RUNNING");
    answer.release();
    let held = enos.world.reaches("p", "r1", Stage::Held, "OutcomeUnknown").await;
    assert_eq!((says(&held, "OffsetsReset").0, says(&held, "Ready").0), ("Unknown", "False"));
    assert_has(says(&held, "Ready").2, &["accepted the reset, but right after it the platform reports the pipeline as RUNNING"]);
    assert_eq!((enos.reset_calls(), enos.sim.resets(ID)), (1, 1));
    assert_eq!(enos.world.only_record().await.status.map(|s| s.phase), Some(RecordPhase::Held));
}
