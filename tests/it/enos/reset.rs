//! A11, E01, O01, P01: resets of a pipeline that is paused or stopped.

use serde_json::json;
use stream_pipeline_api::{Phase, RecordPhase, Stage};
use testbed::enos::{Call, NotRunning, Options, ResetTo};

use crate::support::enos::{EnosWorld, ID, pipeline};
use crate::support::status::{assert_has, condition, is_over, reset, says};

/// Resets a pipeline in this state once; returns how its position is compared after the next start.
async fn reset_while(test: &str, status: &str, to: ResetTo) -> (EnosWorld, String) {
    let enos = EnosWorld::new(test, Options { lag_when_not_running: NotRunning::Empty, ..Options::default() }).await;
    enos.sim.add(pipeline(1, "cleaning", "RUNNING").reset_to(to));
    // While it runs, the request waits and its position is read.
    enos.known("p").await;
    enos.apply("p", ID, json!({ "id": "r1" })).await;
    enos.world.reaches("p", "r1", Stage::Waiting, "PipelineActive").await;
    assert_eq!((enos.sim.count(Call::Lag), enos.reset_calls()), (1, 0), "calls of Lag, and resets");
    enos.sim.set_status(ID, status);
    let sent = enos.sent("p", "r1").await;
    assert_eq!((says(&sent, "Ready").0, says(&sent, "OffsetsReset").0), ("True", "Unknown"));
    assert_has(says(&sent, "OffsetsReset").2, &[&format!("accepted the reset while the pipeline was {status}")]);
    assert!(condition(&sent, "Reconciling").is_none() && condition(&sent, "Stalled").is_none());
    assert_eq!((enos.reset_calls(), enos.sim.resets(ID)), (1, 1));
    let record = enos.world.only_record().await;
    let call = record.spec.plan.and_then(|p| p.call).expect("the call is the plan");
    assert_eq!(
        (call.operation.as_str(), call.undo),
        ("Reset Pipeline Offset", false),
        "the call of the plan, and that it cannot be undone"
    );
    assert!(call.before.is_some_and(|b| b.offset >= 400_000), "expected the position before the call: {call:?}");
    assert_eq!(record.status.map(|s| s.phase), Some(RecordPhase::Sent));
    enos.sim.set_status(ID, "RUNNING");
    let text = enos.world.wait("p", "the comparison", |s| reset(s).stage != Stage::Sent || says(s, "Ready").1 == "Unproven").await;
    let text = format!("{} {}", says(&text, "Ready").1, says(&text, "Ready").2);
    assert_eq!(enos.reset_calls(), 1, "resets that were called");
    (enos, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn e01_paused_is_reset_once_and_going_back_is_seen_after_the_start() {
    let (enos, text) = reset_while("e01a", "PAUSED", ResetTo::Earliest).await;
    assert!(text.starts_with("ResetVerified") && text.contains("it went back by"), "expected a proof by going back: {text}");
    let record = enos.world.only_record().await.status.expect("closed");
    assert_eq!(record.phase, RecordPhase::Verified);
    assert!(record.reading.is_some_and(|r| r.offset < 400_000), "expected a position before that of then: {record:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn e01_stopped_is_reset_once_and_what_may_have_been_read_on_is_not_called_proof() {
    // Nobody knows at which rate it was started, so it may have read to the end instead of having jumped.
    let (_enos, text) = reset_while("e01b", "STOPPED", ResetTo::Latest).await;
    assert!(text.starts_with("Unproven") && text.contains("lag 0 after"), "expected no proof, and the lag: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a11_paused_with_nothing_asked_is_healthy_and_o01_applied_again_moves_nothing() {
    let enos = EnosWorld::with("a11", "PAUSED").await;
    enos.known("p").await;
    let status = enos.world.wait("p", "the phase", |s| s.phase == Some(Phase::Paused)).await;
    assert_eq!(says(&status, "Ready"), ("True", "NothingRequested", "no reset is requested"));
    assert_eq!(says(&status, "PipelineInactive").0, "True");
    enos.apply("p", ID, json!({ "id": "r1" })).await;
    enos.sent("p", "r1").await;
    let version = enos.world.resource_version("p").await;
    enos.apply("p", ID, json!({ "id": "r1" })).await;
    enos.calls(Call::List, 4).await;
    assert_eq!(enos.world.resource_version("p").await, version, "the object's version, where nothing is written");
    assert_eq!(enos.reset_calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn p01_a_dry_run_shows_what_can_be_known_calls_nothing_and_does_not_use_the_id_up() {
    let enos = EnosWorld::with("p01", "RUNNING").await;
    enos.known("p").await;
    enos.apply("p", ID, json!({ "id": "r1", "dryRun": true, "whenActive": "Pause" })).await;
    let status = enos.world.reaches("p", "r1", Stage::Planned, "PlanReady").await;
    let message = says(&status, "Ready").2;
    assert_has(
        message,
        &["Reset Pipeline Offset would be called", "paused before and started again after", "RUNNING", "with a lag of", "cannot be undone"],
    );
    let call = enos.world.only_record().await.spec.plan.and_then(|p| p.call).expect("the call is shown");
    assert!(
        call.before.is_some_and(|b| b.offset >= 400_000) && !call.undo,
        "expected the position before the call, and that it cannot be undone: {call:?}"
    );
    for call in [Call::Reset, Call::Pause, Call::Start] {
        assert_eq!(enos.sim.count(call), 0, "{call:?}");
    }
    enos.apply("p", ID, json!({ "id": "r1", "dryRun": false, "whenActive": "Pause" })).await;
    enos.world.wait("p", "the reset to be brought back", |s| is_over(s) && reset(s).stage != Stage::Planned).await;
    assert_eq!((enos.reset_calls(), enos.sim.status(ID).as_str()), (1, "RUNNING"));
}
