//! Whole objects as a Git tool sees them: of every stage and every reason, by the operator's own code. `gitops` judges them with the tools'
//! own libraries. `UPDATE=1` writes the file (`make generate` does).

use std::cell::RefCell;

use kube::CustomResourceExt;

use super::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/gitops/objects.json");

/// What leads to it, and the object.
type Case = (String, StreamPipeline);

thread_local! {
    /// The objects of the rows of `docs/messages.md`.
    static KEPT: RefCell<Vec<Case>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn keep(input: &str, object: &StreamPipeline, seen: &Observation, report: &Report) {
    KEPT.with_borrow_mut(|kept| kept.push((input.to_owned(), told(object, seen, report))));
}

/// The object with the status that the operator writes.
fn told(object: &StreamPipeline, seen: &Observation, report: &Report) -> StreamPipeline {
    let desired = Desired::of(object, crate::facts_of, now().wall).unwrap();
    let mut inputs = StatusInputs::default();
    inputs.note(seen, &desired.facts, now().wall);
    let status = status_of(object, &desired, report, &inputs, timing().pause_warning, now().wall);
    StreamPipeline { status: status.or(object.status.clone()), ..object.clone() }
}

/// The object after the operator has looked at it once more.
fn looked_at(object: &StreamPipeline, seen: &Observation) -> StreamPipeline {
    let desired = Desired::of(object, crate::facts_of, now().wall).unwrap();
    let decision = decide(&desired, &PriorStatus::of(object), seen, &timing(), now());
    told(object, seen, &decision.report)
}

/// The object with another request in its manifest, which nobody has looked at yet.
fn edited(object: &StreamPipeline, reset: Value) -> StreamPipeline {
    let mut next = object.clone();
    next.metadata.generation = object.metadata.generation.map(|g| g + 1);
    next.spec.offset_reset = serde_json::from_value(reset).unwrap();
    next
}

fn closed(phase: RecordPhase, reason: Reason) -> Observation {
    let mut look = record(PlanState::Closed);
    let message = "2 of 2 partitions read back as planned".to_owned();
    look.object.status = Some(OffsetResetRecordStatus { message, ..closing(&look, phase, reason, 1) });
    with(look, &[0, 0])
}

/// The request has ended, and its workload is still at 0.
fn owed(phase: RecordPhase, reason: Reason) -> StreamPipeline {
    let workload = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "replicas": 2 });
    let mut object = pipeline(earliest(), known());
    let kafka = object.spec.kafka.as_mut().unwrap();
    kafka.workloads = serde_json::from_value(json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "d" }])).unwrap();
    let mut seen = Observation { run_state: Observed::Read(RunState::Stopped), ..closed(phase, reason) };
    if let Observed::Read(Some(look)) = &mut seen.record {
        let workloads = vec![serde_json::from_value(workload).unwrap()];
        look.object.spec.run_state_before = Some(RunStateBefore { running: true, workloads, ..RunStateBefore::default() });
    }
    looked_at(&object, &seen)
}

/// What no row of `docs/messages.md` has: before the first look, after an edit, without a request, at its end.
fn more() -> Vec<Case> {
    let crd = serde_json::to_value(StreamPipeline::crd()).unwrap();
    let as_created = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["default"].clone();
    assert!(!as_created.is_null(), "the API server gives a new object this status");
    let fresh = pipeline(earliest(), as_created.clone());
    let fresh_enos = StreamPipeline { status: serde_json::from_value(as_created).unwrap(), ..ask_enos(true) };
    let verified = looked_at(&pipeline(earliest(), known()), &closed(RecordPhase::Verified, Reason::ResetVerified));
    let held = looked_at(&pipeline(earliest(), known()), &closed(RecordPhase::Held, Reason::OutcomeUnknown));
    let next = json!({ "id": "r2", "to": { "position": "Latest" } });
    let other_target = json!({ "id": "r1", "to": { "position": "Latest" } });
    let blind = Observation {
        identity: Observed::Unreadable(Cause::new(Reason::SecretNotFound, "Secret kafka is not there")),
        needing_resume: Observed::Read(vec![]),
        ..Observation::default()
    };
    let asked_next = edited(&verified, next.clone());
    let removed = edited(&verified, Value::Null);
    let mut rows = vec![
        ("new, and the operator has not looked at it yet", fresh),
        ("EnOS: new, and the operator has not looked at it yet", fresh_enos),
        ("no `offsetReset`, and the group is Empty", looked_at(&pipeline(Value::Null, known()), &ready())),
        ("a request after one that was verified, not looked at yet", asked_next.clone()),
        ("a request after one that was verified, and the Secret is gone", looked_at(&asked_next, &blind)),
        ("the request removed after it was verified, not looked at yet", removed.clone()),
        ("the request removed after it was verified", looked_at(&removed, &ready())),
        ("a request after one that is held, not looked at yet", edited(&held, next)),
        ("`to` edited after it was verified, the same id, not looked at yet", edited(&verified, other_target)),
        ("verified", verified),
        ("verified, and its workload is still at 0", owed(RecordPhase::Verified, Reason::ResetVerified)),
        ("timed out, and its workload is still at 0", owed(RecordPhase::Abandoned, Reason::WaitTimedOut)),
    ];
    rows.extend(at_its_end());
    rows.into_iter().map(|(input, object)| (input.to_owned(), object)).collect()
}

/// Kept stopped, deleted, or not to be read.
fn at_its_end() -> Vec<(&'static str, StreamPipeline)> {
    let mut kept = record(PlanState::Closed);
    kept.object.spec.backend = pipeline_on_enos();
    kept.object.spec.created_at = "2025-12-31T20:00:00Z".parse().unwrap();
    kept.object.spec.run_state_before = Some(RunStateBefore { running: true, ..RunStateBefore::default() });
    let message = "it is not known whether the position moved. Look at the pipeline; then set onUnknownOutcome: Retry, or choose a new id";
    let status = closing(&kept, RecordPhase::Held, Reason::OutcomeUnknown, 1);
    kept.object.status = Some(OffsetResetRecordStatus { message: message.to_owned(), ..status });
    let paused = Activity::Inactive(Phase::Paused, "PAUSED".to_owned());
    let down = Observed::Read(RunState::Stopped);
    let held = looked_at(&ask_enos(true), &seen_on_enos(down.clone(), Observed::Read(paused.clone()), Some(kept.clone())));
    let mut deleted = held.clone();
    deleted.metadata.deletion_timestamp = Some(Time(now().wall));
    let superseded = SupersededRecord { record: kept, committed: Observed::Unread, activity: Observed::Read(paused), run_state: down };
    let seen =
        Observation { superseded: Some(superseded), needing_resume: Observed::Read(vec!["p-1".to_owned()]), ..Observation::default() };
    let deleted = looked_at(&deleted, &seen);
    let mut unread = pipeline(earliest(), known());
    let condition = |kind: &str, status: &str| {
        json!({
            "type": kind, "status": status, "reason": Reason::InvalidObject, "message": crate::unreadable::unreadable("missing field `id`"),
            "observedGeneration": 2, "lastTransitionTime": now().wall,
        })
    };
    // As `unreadable` writes it, which does so in one call to the API server.
    let status = json!({ "observedGeneration": 2, "conditions": [condition("Ready", "False"), condition("Stalled", "True")] });
    unread.status = serde_json::from_value(status).unwrap();
    vec![
        ("EnOS: held, and kept paused for 16 h", held),
        ("EnOS: deleted while it is kept paused", deleted),
        ("an object that does not decode", unread),
    ]
}

/// What a tool looks at; of objects that do not differ in it, one is enough.
fn seen_by_tools(object: &StreamPipeline) -> String {
    let status = object.status.as_ref();
    let conditions: Vec<_> = status
        .iter()
        .flat_map(|s| &s.conditions)
        .map(|c| (&c.type_, &c.status, &c.reason, c.observed_generation == object.metadata.generation))
        .collect();
    let reset = status.and_then(|s| s.offset_reset.as_ref());
    let platform = object.spec.enos.is_some();
    format!("{:?}", (conditions, reset.map(|r| (r.stage, r.attempts)), status.map(|s| s.observed_generation), &object.metadata, platform))
}

fn cases() -> Vec<Case> {
    KEPT.take();
    let _ = all();
    let mut cases = more();
    cases.extend(KEPT.take());
    let mut seen = std::collections::BTreeSet::new();
    cases.retain(|(_, object)| seen.insert(seen_by_tools(object)));
    cases
}

#[test]
fn every_stage_and_reason_is_in_the_sample_for_git_tools() {
    let cases = cases();
    let told: Vec<_> = cases.iter().flat_map(|(_, o)| o.status.iter().flat_map(|s| &s.conditions)).map(|c| c.reason.as_str()).collect();
    let missing: Vec<_> = Reason::iter().filter(|reason| !told.contains(&reason.as_str())).collect();
    // These stand in events and records only.
    assert_eq!(missing, [Reason::LeftPaused, Reason::NoLongerRequested]);
    let written: Vec<_> = cases.iter().map(|(input, object)| json!({ "case": input, "object": object })).collect();
    let text = serde_json::to_string_pretty(&written).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(FILE, &text).expect("it can be written");
    }
    assert!(std::fs::read_to_string(FILE).unwrap_or_default() == text, "gitops/objects.json is out of date (`make generate`)");
}
