//! Messages outside of a request's status: in other conditions, events and records.

use super::*;
use crate::backend::enos::{RunStatus, state};

/// Where the message is met, what leads to it, its reason and its text.
pub(super) struct Elsewhere(pub(super) &'static str, pub(super) &'static str, pub(super) Reason, pub(super) String);

pub(super) fn elsewhere() -> Vec<Elsewhere> {
    let mut rows = Vec::new();
    let desired = |object: &StreamPipeline| Desired::of(object, crate::facts_of, now().wall).unwrap();
    let condition = |object: &StreamPipeline, seen: &Observation, kind: &str| {
        let mut told = StatusInputs::default();
        told.note(seen, &desired(object).facts, now().wall);
        let decision = decide(&desired(object), &PriorStatus::of(object), seen, &timing(), now());
        let status = status_of(object, &desired(object), &decision.report, &told, timing().pause_warning, now().wall);
        let found = status.into_iter().flat_map(|s| s.conditions).find(|c| c.type_ == kind).unwrap_or_else(|| panic!("{decision:?}"));
        (Reason::iter().find(|reason| reason.as_str() == found.reason).unwrap(), found.message)
    };
    let mut add = |input, at, (reason, message)| rows.push(Elsewhere(input, at, reason, message));
    let group = pipeline(Value::Null, known());
    add("the group is Empty", "condition `PipelineInactive=True`", condition(&group, &ready(), "PipelineInactive"));
    add("the brokers answer", "condition `BackendReachable=True`", condition(&group, &ready(), "BackendReachable"));
    let place = BackendIdentity::Enos { org_id: "o1".to_owned(), pipeline_id: "id".to_owned() };
    let paused = Observation {
        identity: Observed::Read(place.clone()),
        activity: Observed::Read(state(&RunStatus::Paused)),
        committed: Observed::Read(Committed::new()),
        record: Observed::Read(None),
        ..Observation::default()
    };
    let mut idle = ask_enos(true);
    idle.spec.offset_reset = None;
    add("EnOS: the pipeline is paused", "condition `PipelineInactive=True`", condition(&idle, &paused, "PipelineInactive"));
    // Kept stopped since the day before.
    let mut held = crate::fixtures::record(PlanState::Closed);
    held.object.spec.backend = place;
    held.object.spec.created_at = "2025-12-31T20:00:00Z".parse().unwrap();
    held.object.spec.run_state_before = Some(RunStateBefore { running: true, ..RunStateBefore::default() });
    held.object.status = Some(OffsetResetRecordStatus { attempt: 1, ..closing(&held, RecordPhase::Held, Reason::OutcomeUnknown, 1) });
    let seen = Observation { record: Observed::Read(Some(held.clone())), run_state: Observed::Read(RunState::Stopped), ..paused.clone() };
    add("EnOS: held for 16 h", "condition `PauseLimitNear=True`", condition(&ask_enos(true), &seen, "PauseLimitNear"));
    let mut deleted = pipeline(Value::Null, known());
    deleted.metadata.finalizers = Some(vec![stream_pipeline_api::FINALIZER.to_owned()]);
    deleted.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time("2026-01-01T11:00:00Z".parse().unwrap()));
    let mut stopped = crate::fixtures::record(PlanState::Closed);
    let worker = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "worker", "replicas": 2 });
    let workloads = vec![serde_json::from_value(worker).unwrap()];
    stopped.object.spec.run_state_before = Some(RunStateBefore { running: true, workloads, ..RunStateBefore::default() });
    stopped.object.status = Some(closing(&stopped, RecordPhase::Held, Reason::OutcomeUnknown, 1));
    let refused =
        crate::kubernetes::workloads::messages().into_iter().find(|(_, cause)| cause.reason == Reason::PermissionMissing).unwrap().1;
    let seen = Observation {
        superseded: Some(SupersededRecord {
            record: stopped,
            committed: Observed::Unread,
            activity: Observed::Unread,
            run_state: Observed::Unreadable(refused),
        }),
        needing_resume: Observed::Read(vec!["p-1".to_owned()]),
        ..Observation::default()
    };
    let decision = decide(&desired(&deleted), &PriorStatus::of(&deleted), &seen, &timing(), now());
    let Report::LeftPaused(left) = decision.report else { panic!("{decision:?}") };
    add("deleted, and its workload could not be scaled back in time", "a Warning event", (left.reason, left.message));
    let withdrawn = Observation {
        superseded: Some(SupersededRecord {
            record: crate::fixtures::record(PlanState::Absent),
            committed: Observed::Unread,
            activity: Observed::Unread,
            run_state: Observed::Unread,
        }),
        ..Observation::default()
    };
    let decision = decide(&desired(&group), &PriorStatus::of(&group), &withdrawn, &timing(), now());
    let Some(Step::Close(status)) = decision.step else { panic!("{decision:?}") };
    add("the request is withdrawn before anything is sent", "the record's status", (status.reason, status.message));
    let error = "missing field `bootstrapServers`";
    add("an object that does not decode", "condition `Ready=False`", (Reason::InvalidObject, crate::unreadable::unreadable(error)));
    rows
}
