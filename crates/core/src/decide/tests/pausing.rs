//! What is decided about a pipeline that the operator stopped, sentence by sentence.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::fixtures::timing;
use crate::decide::decide;
use crate::{
    Activity, Cause, Decision, Desired, Now, Observation, Observed, PlanState, PriorStatus, RecordView, Report, RunState, RunStateCalls,
    Step,
};
use stream_pipeline_api::{BackendIdentity, FINALIZER, LagSample, OffsetResetRecord, Reason, RecordPhase, Stage, StreamPipeline};

/// This many seconds after the record was made.
fn at(seconds: i64) -> Timestamp {
    "2026-01-01T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn object(status: Value, metadata: &Value) -> StreamPipeline {
    let mut object = json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline",
        "metadata": { "name": "p", "namespace": "n", "uid": "u", "generation": 2, "finalizers": [FINALIZER] },
        "spec": {
            "enos": {
                "endpoint": "https://e", "orgID": "o", "pipelineID": "i", "credentialsSecretRef": { "name": "app" },
                "start": { "executionMode": "Standalone", "kafkaRate": 1000 }
            },
            "offsetReset": { "id": "r1", "whenActive": "Pause" }
        }
    });
    for (name, value) in metadata.as_object().into_iter().flatten() {
        object["metadata"][name] = value.clone();
    }
    if !status.is_null() {
        object["status"] = status;
    }
    serde_json::from_value(object).unwrap()
}

fn told(stage: &str) -> Value {
    json!({
        "observedUID": "u", "observedGeneration": 2, "acknowledgedID": "r1",
        "offsetReset": { "id": "r1", "stage": stage, "acceptedAt": at(0).to_string() }
    })
}

/// The record of r1, stopped at 0 s, when its pipeline read at offset 400,000 with a lag of 600,000.
fn record(state: PlanState) -> RecordView {
    let mut object: OffsetResetRecord = serde_json::from_value(json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "OffsetResetRecord", "metadata": { "name": "p-1", "namespace": "n" },
        "spec": {
            "pipeline": { "name": "p", "uid": "u" }, "request": { "id": "r1", "whenActive": "Pause" },
            "backend": { "orgID": "o", "pipelineID": "i" }, "createdAt": at(0).to_string(), "deadline": at(86_400).to_string(),
            "runStateBefore": {
                "running": true, "start": { "executionMode": "Standalone", "kafkaRate": 1000 },
                "reading": { "offset": 400_000, "lag": 600_000, "at": at(0).to_string() }
            }
        }
    }))
    .unwrap();
    let created = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0));
    object.metadata = ObjectMeta { creation_timestamp: Some(created), ..object.metadata };
    RecordView::new(object, state, RunStateCalls::default())
}

fn running() -> Activity {
    Activity::Active(Cause::new(Reason::PipelineActive, "RUNNING"))
}

fn seen(record: Option<RecordView>) -> Observation {
    Observation {
        identity: Observed::Read(BackendIdentity::Enos { org_id: "o".to_owned(), pipeline_id: "i".to_owned() }),
        activity: Observed::Read(running()),
        run_state: Observed::Read(RunState::Running),
        committed: Observed::Read(Default::default()),
        record: Observed::Read(record),
        conflicting_records: Observed::Read(vec![]),
        wanted: Observed::Read(true),
        ..Observation::default()
    }
}

fn run(object: &StreamPipeline, seen: &Observation, seconds: i64) -> Decision {
    let now = Now { mono: Instant::now(), wall: at(seconds) };
    decide(&Desired::of(object, crate::facts_of, now.wall).unwrap(), &PriorStatus::of(object), seen, &timing(), now)
}

fn stands(decision: &Decision) -> Option<(Stage, Reason)> {
    match &decision.report {
        Report::Request(ending) => Some((ending.stage, ending.cause.reason)),
        _ => None,
    }
}

#[test]
fn e02_a_request_that_is_told_as_pausing_goes_on_and_is_missed_without_its_record() {
    let object = object(told("Pausing"), &Value::Null);
    let decision = run(&object, &seen(Some(record(PlanState::Absent))), 10);
    assert!(matches!(decision.step, Some(Step::Stop)), "{decision:?}");
    assert_eq!(stands(&decision), Some((Stage::Pausing, Reason::Pausing)));
    let decision = run(&object, &seen(None), 10);
    assert_eq!((stands(&decision), decision.step.is_none()), (Some((Stage::Held, Reason::RecordMissing)), true));
}

#[test]
fn a_stop_waits_for_the_finalizer_and_for_whoever_comes_before() {
    let bare = object(told("Pausing"), &json!({ "finalizers": [] }));
    assert!(matches!(run(&bare, &seen(Some(record(PlanState::Absent))), 10).step, Some(Step::AddFinalizer)));
    let mut rival = seen(Some(record(PlanState::Absent)));
    rival.conflicting_records = Observed::Read(vec!["n/q-1".to_owned()]);
    let decision = run(&object(told("Pausing"), &Value::Null), &rival, 10);
    assert_eq!((stands(&decision), decision.step.is_none()), (Some((Stage::Waiting, Reason::AnotherResetOpen)), true));
}

#[test]
fn o33_a_deleted_object_is_let_go_at_its_deadline_and_not_before() {
    let deleted = object(told("Held"), &json!({ "deletionTimestamp": at(100).to_string() }));
    let unreachable = |needing_resume: &[&str]| Observation {
        identity: Observed::Unreadable(Cause::new(Reason::SecretNotFound, "Secret app is not there")),
        needing_resume: Observed::Read(needing_resume.iter().map(|name| (*name).to_owned()).collect()),
        ..Observation::default()
    };
    let decision = run(&deleted, &unreachable(&["p-1"]), 699);
    assert!(
        decision.step.is_none() && matches!(&decision.report, Report::Outstanding(c) if c.message.contains("Secret app")),
        "{decision:?}"
    );
    let decision = run(&deleted, &unreachable(&["p-1"]), 700);
    let Report::LeftPaused(cause) = &decision.report else { panic!("{decision:?}") };
    assert!(matches!(decision.step, Some(Step::RemoveFinalizer)));
    assert!(
        cause.message.contains("pipeline i of organization o") && cause.message.contains("Secret app") && cause.message.contains("p-1")
    );
    let decision = run(&deleted, &unreachable(&[]), 101);
    assert!(
        matches!((&decision.step, &decision.report), (Some(Step::RemoveFinalizer), Report::Unchanged)),
        "nothing is owed: {decision:?}"
    );
}

#[test]
fn e01_what_it_could_have_read_by_itself_is_no_proof_also_after_a_restart() {
    // It skipped all of its lag of 600,000: at 1,000 a second it cannot have read that in less than nine minutes.
    for (seconds, rate, expected) in [
        (60, 1000, (RecordPhase::Verified, Reason::ResetVerified)),
        (900, 1000, (RecordPhase::Sent, Reason::Unproven)),
        // The rate was corrected after the record was made.
        (60, 100_000, (RecordPhase::Sent, Reason::Unproven)),
    ] {
        let mut look = record(PlanState::Closed);
        let before = look.object.spec.run_state_before.as_ref().and_then(|b| b.reading);
        look.object.spec.plan = serde_json::from_value(json!({ "call": {
            "operation": "Reset Pipeline Offset", "state": "PAUSED", "undo": false, "before": before, "beforeWasReadWhileInactive": false
        } }))
        .unwrap();
        look.object.status = serde_json::from_value(json!({
            "phase": "Sent", "attempt": 0, "reason": "NoReadBackWhilePaused", "message": "", "completedAt": at(5).to_string(),
            "broughtBackAt": at(9).to_string()
        }))
        .unwrap();
        // This process has seen it running for one second only.
        look.calls.running = Some((Now { mono: Instant::now(), wall: at(seconds - 1) }, Some(at(seconds - 1))));
        let mut seen = seen(Some(look));
        seen.reading = Some(LagSample { offset: 1_000_000, lag: 0, at: at(seconds) });
        seen.other_reset = Observed::Read(None);
        let mut object = object(told("Sent"), &Value::Null);
        object.spec.enos.as_mut().unwrap().start.as_mut().unwrap().kafka_rate = rate;
        let Some(Step::Close(status)) = run(&object, &seen, seconds).step else { panic!("{seconds} s at {rate}") };
        assert_eq!((status.phase, status.reason), expected, "{seconds} s at {rate}");
    }
}
