//! What the status says, and of which generation: the real `decide` on made-up observations, told by the real report.

mod lag;

use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{StatusInputs, status_of};
use crate::decide::decide;
use crate::decide::tests::fixtures::timing;
use crate::{
    Activity, Cause, Commit, Committed, Desired, Now, Observation, Observed, PlanState, PriorStatus, RecordView, RunState, RunStateCall,
    RunStateCalls, TopicPartition,
};
use stream_pipeline_api::{FINALIZER, OffsetResetRecord, Phase, Reason, Stage, StreamPipeline, StreamPipelineStatus};

fn wall() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn object(generation: i64, reset: Value, status: Option<&StreamPipelineStatus>) -> StreamPipeline {
    let mut object = json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline",
        "metadata": { "name": "p", "namespace": "n", "uid": "u", "generation": generation, "finalizers": [FINALIZER] },
        "spec": { "kafka": {
            "bootstrapServers": ["b:9092"], "consumerGroup": "g", "workloads": [{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "d" }]
        } }
    });
    if !reset.is_null() {
        object["spec"]["offsetReset"] = reset;
    }
    if let Some(status) = status {
        object["status"] = json!(status);
    }
    serde_json::from_value(object).unwrap()
}

fn known() -> StreamPipelineStatus {
    serde_json::from_value(json!({ "observedUID": "u", "observedGeneration": 1 })).unwrap()
}

/// The new status, or the present one if nothing is to be written.
fn told(object: &StreamPipeline, seen: &Observation) -> StreamPipelineStatus {
    let now = Now { mono: Instant::now(), wall: wall() };
    let desired = Desired::of(object, crate::facts_of, now.wall).unwrap();
    let decision = decide(&desired, &PriorStatus::of(object), seen, &timing(), now);
    let mut noted = StatusInputs::default();
    noted.note(seen, &desired.facts, now.wall);
    let status = status_of(object, &desired, &decision.report, &noted, timing().pause_warning, now.wall);
    status.unwrap_or_else(|| object.status.clone().unwrap_or_default())
}

fn says<'a>(status: &'a StreamPipelineStatus, kind: &str) -> (&'a str, &'a str, &'a str, Option<i64>) {
    let c = status.conditions.iter().find(|c| c.type_ == kind).unwrap_or_else(|| panic!("no {kind}: {status:?}"));
    (&c.status, &c.reason, &c.message, c.observed_generation)
}

/// Whether `kubectl wait --for=condition=OffsetsReset=True` succeeds.
fn is_green(object: &StreamPipeline, status: &StreamPipelineStatus) -> bool {
    let found = status.conditions.iter().find(|c| c.type_ == "OffsetsReset");
    found.is_some_and(|c| c.status == "True" && c.observed_generation >= object.metadata.generation)
}

/// Whether kstatus (Flux, Argo CD, helm --wait) calls the object current.
fn is_current(object: &StreamPipeline, status: &StreamPipelineStatus) -> bool {
    let is = |kind: &str, value: &str| status.conditions.iter().any(|c| c.type_ == kind && c.status == value);
    status.observed_generation == object.metadata.generation && !is("Reconciling", "True") && !is("Stalled", "True") && is("Ready", "True")
}

/// An Empty, quiet group at its target, and this record of the request.
fn seen(record: Option<RecordView>) -> Observation {
    let committed: Committed = [(TopicPartition::new("t", 0), Commit::default())].into();
    Observation {
        identity: Observed::Read(serde_json::from_value(json!({ "clusterID": "c", "consumerGroup": "g" })).unwrap()),
        activity: Observed::Read(Activity::Inactive(Phase::Stopped, "Empty".to_owned())),
        committed: Observed::Read(committed),
        record: Observed::Read(record),
        conflicting_records: Observed::Read(vec![]),
        needing_resume: Observed::Read(vec![]),
        wanted: Observed::Read(true),
        ..Observation::default()
    }
}

/// The Secret is gone: nothing can be looked at.
fn blind() -> Observation {
    Observation {
        identity: Observed::Unreadable(Cause::new(Reason::SecretNotFound, "Secret kafka is not there")),
        needing_resume: Observed::Read(vec![]),
        ..Observation::default()
    }
}

fn ask(id: &str, position: &str) -> Value {
    json!({ "id": id, "to": { "position": position } })
}

/// A closed record of this request; `paused`: the operator had stopped a Deployment of 2 for it.
fn record(request: &Value, phase: &str, reason: &str, paused: bool) -> RecordView {
    let at = wall().to_string();
    let mut object = json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "OffsetResetRecord",
        "metadata": { "name": "p-1", "namespace": "n", "creationTimestamp": at },
        "spec": {
            "pipeline": { "name": "p", "uid": "u" }, "request": request, "backend": { "clusterID": "c", "consumerGroup": "g" },
            "createdAt": at, "deadline": "2026-01-02T12:00:00Z",
            "writer": { "incarnation": "i", "number": 1, "attempt": 1, "chunk": 1 }, "plan": { "topics": [] }
        },
        "status": { "phase": phase, "attempt": 1, "reason": reason, "message": "1 of 1 partition read back as planned", "completedAt": at }
    });
    if paused {
        let workload = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "replicas": 2 });
        object["spec"]["runStateBefore"] = json!({ "running": true, "workloads": [workload] });
    }
    let object: OffsetResetRecord = serde_json::from_value(object).unwrap();
    RecordView::new(object, PlanState::Closed, RunStateCalls::default())
}

/// The status of a first request that was verified in this generation.
fn verified(generation: i64) -> StreamPipelineStatus {
    let asked = ask("a", "Earliest");
    let status = told(&object(generation, asked.clone(), Some(&known())), &seen(Some(record(&asked, "Verified", "ResetVerified", false))));
    assert!(is_green(&object(generation, asked, None), &status), "{status:?}");
    status
}

#[test]
fn a2_success_is_not_told_of_a_generation_that_nobody_looked_at() {
    let before = verified(2);
    for (what, seen) in [
        ("its Secret is gone", blind()),
        ("the operator ends", Observation { draining: true, ..seen(None) }),
        ("its record cannot be read", Observation { record: Observed::Unreadable(Cause::new(Reason::APIServerError, "no")), ..seen(None) }),
    ] {
        // Another id, and the same id with another target.
        for asked in [ask("b", "Latest"), ask("a", "Latest")] {
            let edited = object(3, asked, Some(&before));
            let status = told(&edited, &seen);
            assert!(!is_green(&edited, &status) && !is_current(&edited, &status), "{what}: {status:?}");
        }
        // A verified, B failed, back to A.
        let mut failed = before.clone();
        failed.ended_ids = vec!["b".to_owned()];
        let back = object(4, ask("b", "Latest"), Some(&failed));
        let status = told(&back, &seen);
        assert!(!is_green(&back, &status) && !is_current(&back, &status), "{what}: {status:?}");
        assert_eq!((status.observed_generation, says(&status, "OffsetsReset").3), (Some(2), Some(2)), "{what}");
    }
    // Nothing was changed: the status stays as it is.
    let same = object(2, ask("a", "Earliest"), Some(&before));
    let status = told(&same, &blind());
    assert!(is_green(&same, &status) && is_current(&same, &status), "{status:?}");
}

#[test]
fn o07_success_is_told_of_the_generation_it_was_seen_in_where_something_else_is_asked_for_since() {
    let made = record(&ask("a", "Earliest"), "Verified", "ResetVerified", false);
    let edited = object(3, ask("a", "Latest"), Some(&verified(2)));
    let status = told(&edited, &seen(Some(made.clone())));
    assert!(!is_green(&edited, &status) && !is_current(&edited, &status), "{status:?}");
    let (ready, reason, message, generation) = says(&status, "Ready");
    assert_eq!((ready, reason, generation), ("True", "RequestEditedWithoutNewId", Some(3)));
    // Failed to kstatus: a person must act.
    assert_eq!(says(&status, "Stalled").1, "RequestEditedWithoutNewId");
    assert_eq!((status.observed_generation, says(&status, "OffsetsReset").3), (Some(3), Some(2)));
    assert!(message.contains("Choose a new id to run it") && message.contains("read back as planned"), "{message}");
    // Written once, and the same if written again, also where no status is left.
    let again = object(3, ask("a", "Latest"), Some(&status));
    assert_eq!(told(&again, &seen(Some(made.clone()))), status);
    let lost = object(3, ask("a", "Latest"), Some(&known()));
    assert!(!is_green(&lost, &told(&lost, &seen(Some(made.clone())))), "the status was lost");
    // A later edit of it, and an edit that is refused.
    for asked in [json!({ "id": "a", "to": { "shiftBy": -1 } }), json!({ "id": "a", "to": { "timestamp": "2027-01-01T00:00:00Z" } })] {
        let later = object(4, asked.clone(), Some(&status));
        for seen in [seen(Some(made.clone())), seen(None)] {
            let status = told(&later, &seen);
            assert!(!is_green(&later, &status), "{asked}: {status:?}");
        }
    }
    // Back to the original request.
    let back = object(5, ask("a", "Earliest"), Some(&status));
    let status = told(&back, &seen(Some(made)));
    assert!(is_green(&back, &status) && is_current(&back, &status), "{status:?}");
}

#[test]
fn o07_what_may_be_said_afterwards_is_just_observed() {
    let asked = ask("a", "Earliest");
    let made = record(&asked, "Verified", "ResetVerified", false);
    for (field, value) in [
        ("note", json!("ticket 4711")),
        ("waitTimeout", json!("5m")),
        ("quietPeriod", json!("1s")),
        ("onUnknownOutcome", json!("Retry")),
        ("whenActive", json!("Fail")),
        ("whenCreated", json!("Run")),
        ("expiresAt", json!("2026-01-01T00:00:00Z")),
        // The same defaults, spelt out.
        ("dryRun", json!(false)),
        ("outOfRange", json!("Fail")),
        ("noRecordAtTime", json!("Latest")),
        ("noCommittedOffset", json!("Target")),
        ("missingGroup", json!("Fail")),
    ] {
        let mut again = asked.clone();
        again[field] = value;
        let edited = object(3, again, Some(&verified(2)));
        let status = told(&edited, &seen(Some(made.clone())));
        assert!(is_green(&edited, &status) && is_current(&edited, &status), "{field}: {status:?}");
        assert_eq!(says(&status, "Ready").1, "ResetVerified", "{field}");
    }
}

#[test]
fn a5_a_dry_run_under_an_id_that_was_used_has_a_result_of_its_own() {
    let mut dry = ask("a", "Earliest");
    dry["dryRun"] = json!(true);
    let mut made = record(&dry, "Planned", "PlanReady", false);
    made.object.spec.plan = serde_json::from_value(json!({ "topics": [], "totals": {
        "partitions": 3, "replayed": 27, "skipped": 0, "lagAfter": 60, "averageRate": 0.0
    } }))
    .unwrap();
    let asked = object(3, dry, Some(&verified(2)));
    let status = told(&asked, &seen(Some(made)));
    assert!(!is_green(&asked, &status), "{status:?}");
    let reset = status.offset_reset.clone().unwrap();
    assert_eq!((reset.stage, reset.dry_run, reset.id.as_str()), (Stage::Planned, true, "a"));
    assert_eq!(status.ended_ids, ["a"], "a reset under this id stays done");
    let (_, reason, message, _) = says(&status, "Ready");
    assert_eq!(reason, "PlanReady");
    assert!(message.contains("at most 27 records would be replayed") && message.contains("with a new id"), "{message}");
    // The same reset is asked for again: its result is shown, and nothing runs.
    let back = object(4, ask("a", "Earliest"), Some(&status));
    let result = told(&back, &seen(Some(record(&ask("a", "Earliest"), "Verified", "ResetVerified", false))));
    assert!(is_green(&back, &result), "{result:?}");
    let gone = told(&back, &seen(None));
    assert_eq!(says(&gone, "Ready").1, "AlreadyHandled", "{gone:?}");
}

#[test]
fn a04_what_is_proven_stays_told_while_what_is_owed_cannot_be_done() {
    let asked = json!({ "id": "a", "to": { "position": "Earliest" }, "whenActive": "Pause" });
    for (phase, reason, stage, reset) in [
        ("Verified", "ResetVerified", Stage::Verified, "True"),
        ("Sent", "Unproven", Stage::Sent, "Unknown"),
        ("Abandoned", "WaitTimedOut", Stage::Failed, "False"),
    ] {
        let mut made = record(&asked, phase, reason, true);
        let failure = Some(Cause::new(Reason::PermissionMissing, "admission webhook says no"));
        made.calls.start = Some(RunStateCall { last: Instant::now(), tries: 1, under_way: false, failure });
        let object = object(2, asked.clone(), Some(&known()));
        let down = Observation { run_state: Observed::Read(RunState::Stopped), ..seen(Some(made.clone())) };
        let status = told(&object, &down);
        let told_of = status.offset_reset.clone().unwrap();
        assert_eq!((told_of.stage, told_of.paused_by_operator), (stage, Some(wall())), "{phase}");
        assert_eq!((says(&status, "OffsetsReset").0, says(&status, "OffsetsReset").1), (reset, reason), "{phase}");
        let (ready, why, message, _) = says(&status, "Ready");
        assert_eq!((ready, why, says(&status, "Reconciling").0), ("False", "PermissionMissing", "True"), "{phase}");
        assert!(message.contains("admission webhook says no") && message.contains("at 0") && message.contains("Deployment d (it had 2)"));
        assert!(message.contains("The reset: 1 of 1 partition read back"), "{message}");
        assert!(!status.conditions.iter().any(|c| c.type_ == "Stalled") && !is_current(&object, &status), "{status:?}");
        assert_eq!(status.phase, Some(Phase::Paused));
        // The pipeline runs, and a process that started in between still waits for calls that may land.
        made.calls = RunStateCalls { first_seen: Some(Instant::now()), ..RunStateCalls::default() };
        let up = Activity::Active(Cause::new(Reason::GroupActive, "2 members"));
        let up = Observation { run_state: Observed::Read(RunState::Running), activity: Observed::Read(up), ..seen(Some(made)) };
        let status = told(&object, &up);
        let told_of = status.offset_reset.clone().unwrap();
        assert_eq!((told_of.stage, told_of.paused_by_operator, status.phase), (stage, None, Some(Phase::Running)), "{phase}");
    }
}

#[test]
fn d2_what_the_operator_keeps_stopped_is_said_wherever_one_looks() {
    let asked = json!({ "id": "a", "to": { "position": "Earliest" }, "whenActive": "Pause", "quietPeriod": "10s" });
    let mut waiting = record(&asked, "Held", "OutcomeUnknown", true);
    (waiting.state, waiting.object.status, waiting.object.spec.plan, waiting.object.spec.writer) = (PlanState::Absent, None, None, None);
    let object = object(2, asked.clone(), Some(&known()));
    for (activity, reason) in [
        (Activity::Inactive(Phase::Stopped, "Empty".to_owned()), "QuietPeriod"),
        (Activity::Missing(Cause::new(Reason::PipelineNotFound, "no group g")), "PipelineNotFound"),
    ] {
        let seen =
            Observation { run_state: Observed::Read(RunState::Stopped), activity: Observed::Read(activity), ..seen(Some(waiting.clone())) };
        let status = told(&object, &seen);
        let (_, why, message, _) = says(&status, "Ready");
        assert_eq!((why, status.phase), (reason, Some(Phase::Paused)));
        assert!(message.ends_with("The operator keeps at 0 since 2026-01-01T12:00:00Z: Deployment d (it had 2)"), "{message}");
    }
    // Held: the message also says what starts the pipeline again.
    let seen = Observation { run_state: Observed::Read(RunState::Stopped), ..seen(Some(record(&asked, "Held", "OutcomeUnknown", true))) };
    let status = told(&object, &seen);
    let (_, _, message, _) = says(&status, "Ready");
    assert!(message.ends_with("Deployment d (it had 2); a new id, or removing spec.offsetReset, starts it again"), "{message}");
    assert_eq!(status.phase, Some(Phase::Paused));
    assert!(!says(&status, "OffsetsReset").2.contains("keeps"), "that is of the reset");
}

#[test]
fn d5_of_a_deployment_that_is_kept_at_0_no_platforms_limit_is_told() {
    let asked = json!({ "id": "a", "to": { "position": "Earliest" }, "whenActive": "Pause" });
    let mut held = record(&asked, "Held", "OutcomeUnknown", true);
    held.object.spec.created_at = "2025-12-31T13:00:00Z".parse().unwrap();
    let seen = Observation { run_state: Observed::Read(RunState::Stopped), ..seen(Some(held)) };
    let status = told(&object(2, asked, Some(&known())), &seen);
    let since = status.offset_reset.as_ref().and_then(|r| r.paused_by_operator);
    assert!(since.is_some_and(|since| wall().duration_since(since).unsigned_abs() > timing().pause_warning), "{status:?}");
    assert!(!status.conditions.iter().any(|c| c.type_ == "PauseLimitNear"), "that is of EnOS: {status:?}");
}

#[test]
fn d2_a_wait_that_timed_out_names_one_next_step_and_a_code_of_another_platform_is_explained() {
    let asked = json!({ "id": "a", "to": { "position": "Earliest" }, "waitTimeout": "1m", "quietPeriod": "1s" });
    let waiting = json!({
        "observedUID": "u", "acknowledgedID": "a",
        "offsetReset": { "id": "a", "stage": "Waiting", "acceptedAt": "2026-01-01T11:00:00Z" }
    });
    let waiting: StreamPipelineStatus = serde_json::from_value(waiting).unwrap();
    let members = Activity::Active(Cause::new(Reason::GroupActive, "2 members: a, b"));
    let active = Observation { activity: Observed::Read(members), ..seen(None) };
    let status = told(&object(2, asked.clone(), Some(&waiting)), &active);
    let (_, reason, message, _) = says(&status, "Stalled");
    assert_eq!(reason, "WaitTimedOut");
    assert!(message.contains("GroupActive: 2 members: a, b. A new id asks again"), "{message}");
    assert!(!message.contains("by itself") && !message.contains("Stop"), "{message}");
    let missing = Activity::Missing(Cause::new(Reason::PipelineNotFound, "the consumer group g does not exist"));
    let missing = Observation { activity: Observed::Read(missing), ..seen(None) };
    let status = told(&object(2, asked, Some(&known())), &missing);
    let (_, _, message, _) = says(&status, "Stalled");
    assert!(message.starts_with("61108: the consumer group g does not exist"), "{message}");
    assert!(message.ends_with("(61108 is the code that EnOS has for this)"), "{message}");
}

#[test]
fn d8_ready_beside_brokers_that_cannot_be_reached_says_so() {
    let status = told(&object(2, Value::Null, Some(&known())), &blind());
    let (ready, reason, message, _) = says(&status, "Ready");
    assert_eq!((ready, reason), ("True", "NothingRequested"));
    assert!(message.contains("it could not run now. Secret kafka is not there"), "{message}");
}

#[test]
fn d3_a_status_of_nobody_counts_as_none() {
    let mut fresh = object(1, ask("a", "Earliest"), None);
    fresh.status = serde_json::from_value(json!({ "observedGeneration": -1 })).unwrap();
    assert!(!is_current(&fresh, fresh.status.as_ref().unwrap()));
    assert!(!PriorStatus::of(&fresh).seen_before);
    let status = told(&fresh, &seen(None));
    assert_eq!(says(&status, "Ready").1, "SkippedAtCreation");
    assert!(is_current(&fresh, &status), "{status:?}");
}
