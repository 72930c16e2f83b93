//! Which record belongs to which request, what it is called, and who goes first where several work on the same group or workloads.

use crate::names::{former_record_name, name_after, record_name};
use crate::{Desired, Identity, PlanState, PriorStatus, RecordView, Request};
use stream_pipeline_api::{BackendIdentity, OffsetResetRecord, Stage, StreamPipeline, WorkloadReference};

/// What the record of a request may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    pub name: String,
    /// The name that older versions gave it; taken where the record cache holds a record of that name.
    pub former: Option<String>,
}

/// `identity`: needed only for the former name; None where it is not known yet. `next`: the record's name where the first name is taken by
/// a record that an earlier object left behind.
pub fn names(desired: &Desired, request: &Request, identity: Option<&BackendIdentity>, next: Option<&str>) -> Names {
    match next {
        Some(next) => Names { name: next.to_owned(), former: None },
        None => Names {
            name: record_name(&desired.object, &desired.backend, request),
            former: identity.map(|identity| former_record_name(&desired.object, identity, request)),
        },
    }
}

/// Adopts the record found under the request's name only if it holds the same id: the name alone proves nothing.
///
/// # Errors
/// The name is taken by a record that an earlier object left behind; the request's record has the name in the error.
pub fn adopted(desired: &Desired, found: Option<RecordView>) -> Result<Option<RecordView>, String> {
    let same = |record: &RecordView| desired.asked().is_some_and(|request| record.object.spec.request.id == request.id);
    match found.filter(same) {
        Some(left) if left.is_over() && left.is_left_behind(&desired.object.uid) => Err(name_after(&left.object)),
        found => Ok(found),
    }
}

/// Of a StreamPipeline's records that are not over: the one of the current request, and the first of any other request, or of another
/// object's request of the same id.
pub fn open_records(desired: &Desired, records: Vec<RecordView>) -> (Option<RecordView>, Option<RecordView>) {
    let mut own: Option<RecordView> = None;
    for record in records.into_iter().filter(|record| !record.is_over()) {
        let request = &record.object.spec.request;
        if Some(&request.id) == desired.id.as_ref() && request.is_dry_run() == desired.dry_run {
            let of_this = |record: &RecordView| record.object.spec.pipeline.uid == desired.object.uid;
            match own.take() {
                // Where a record of an earlier object, which had the same id, is back from a backup.
                Some(first) if of_this(&first) != of_this(&record) => {
                    let (own, left) = if of_this(&first) { (first, record) } else { (record, first) };
                    return (Some(own), Some(left));
                }
                _ => own = Some(record),
            }
        } else if !request.is_dry_run() {
            return (own, Some(record));
        }
    }
    (own, None)
}

/// Those of the group's other records that go before this request: not closed, or still to be brought back. A restored record asks for no
/// work, so it goes before nobody. `own`: this request's record, if it exists.
pub fn conflicting(others: Vec<RecordView>, own: Option<&RecordView>) -> Vec<RecordView> {
    let before = |other: &RecordView| !other.is_over() && !other.is_restored() && !goes_after(other, own);
    others.into_iter().filter(before).collect()
}

/// Which of these workloads other records of the namespace keep stopped or are about to stop, in words.
pub fn kept_stopped(others: &[RecordView], workloads: &[WorkloadReference], own: Option<&RecordView>) -> Vec<String> {
    let mut kept = Vec::new();
    for other in others.iter().filter(|other| other.needs_resume() && !other.is_restored() && !goes_after(other, own)) {
        let (name, of) = (other.name(), &other.object.spec.pipeline.name);
        let stops = other.pauses().map(|before| before.workloads.as_slice()).unwrap_or_default();
        let shared = stops.iter().filter(|w| w.replicas > 0).filter(|w| workloads.iter().any(|at| at.is(&w.reference())));
        kept.extend(shared.map(|w| format!("{} {} (record {name} of StreamPipeline {of})", w.kind, w.name)));
    }
    kept
}

/// The other record has no plan yet and was made later. Of records without a plan the oldest goes first, so that no two wait for each
/// other.
fn goes_after(other: &RecordView, own: Option<&RecordView>) -> bool {
    let made = |r: &OffsetResetRecord| (r.metadata.creation_timestamp.as_ref().map(|t| t.0), r.metadata.name.clone());
    matches!(other.state, PlanState::Absent) && own.is_some_and(|own| made(&other.object) > made(&own.object))
}

/// Whether the StreamPipeline, read live, still asks for what `record` was made for: the same object, not deleted, the same id, and not
/// ended by its status (a watch that lags may still show it as waiting).
pub fn is_wanted(live: Option<&StreamPipeline>, object: &Identity, record: &RecordView) -> bool {
    let (id, again) = (&record.object.spec.request.id, record.attempt() > 1);
    let Some(live) = live else { return false };
    let same = live.metadata.uid.as_deref() == Some(&object.uid) && live.metadata.deletion_timestamp.is_none();
    let asked = live.spec.offset_reset.as_ref().is_some_and(|r| r.id == *id && !r.is_dry_run());
    let over = |stage| match stage {
        Stage::Waiting | Stage::Pausing | Stage::Sending | Stage::Planned => false,
        // A retry is sent again after it was held.
        Stage::Held => !again,
        Stage::Verified | Stage::Sent | Stage::Skipped | Stage::Failed | Stage::OfAnotherVersion => true,
    };
    same && asked && !PriorStatus::of(live).of_request(id, false).is_some_and(|told| over(told.stage))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decide::tests::fixtures::{earliest, known, now, pipeline, record};
    use stream_pipeline_api::Writer;

    #[test]
    fn what_a_status_tells_the_end_of_is_not_sent() {
        let object = Identity { namespace: "n".to_owned(), name: "p".to_owned(), uid: "u".to_owned() };
        let live = |stage: &str, told_of: &str, observed: &str| {
            json!({
                "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline",
                "metadata": { "name": "p", "namespace": "n", "uid": "u" },
                "spec": {
                    "kafka": { "bootstrapServers": ["b:9092"], "consumerGroup": "g" },
                    "offsetReset": { "id": "r1", "to": { "position": "Earliest" } }
                },
                "status": { "observedUID": observed, "offsetReset": { "id": told_of, "stage": stage } }
            })
        };
        let wants = |live: serde_json::Value, again: bool| {
            let mut record = record(PlanState::Absent);
            record.object.spec.writer =
                Some(Writer { incarnation: String::new(), number: 1, attempt: if again { 2 } else { 1 }, chunk: 1 });
            is_wanted(Some(&serde_json::from_value(live).unwrap()), &object, &record)
        };
        let wanted = |stage: &str, told_of: &str, observed: &str, again: bool| wants(live(stage, told_of, observed), again);
        for stage in ["Waiting", "Pausing", "Sending", "Planned"] {
            assert!(wanted(stage, "r1", "u", false), "{stage}");
        }
        for stage in ["Verified", "Sent", "Skipped", "Failed", "Held"] {
            assert!(!wanted(stage, "r1", "u", false), "{stage}");
            assert!(wanted(stage, "r0", "u", false), "{stage} of another id");
            assert!(wanted(stage, "r1", "another", false), "{stage} of another object");
        }
        assert!(wanted("Held", "r1", "u", true) && !wanted("Verified", "r1", "u", true));
        for again in [false, true] {
            for (field, value) in [("id", json!("r2")), ("dryRun", json!(true))] {
                let mut edited = live("Waiting", "r1", "u");
                edited["spec"]["offsetReset"][field] = value;
                assert!(!wants(edited, again), "what it asks for by now has another {field}");
            }
        }
    }

    /// Whatever their order: a restored one would stay open for as long as the object's own is held.
    #[test]
    fn of_two_open_records_of_one_id_the_other_objects_is_dealt_with_first() {
        let desired = Desired::of(&pipeline(earliest(), known()), crate::facts_of, now().wall).unwrap();
        let of = |uid: &str| {
            let mut open = record(PlanState::Absent);
            open.object.spec.pipeline.uid = uid.to_owned();
            open
        };
        for records in [[of("u"), of("before")], [of("before"), of("u")]] {
            let (own, left) = open_records(&desired, records.to_vec());
            let uid = |record: Option<RecordView>| record.map(|record| record.object.spec.pipeline.uid);
            assert_eq!((uid(own).as_deref(), uid(left).as_deref()), (Some("u"), Some("before")));
        }
        let (own, left) = open_records(&desired, vec![of("before")]);
        assert!(own.is_some() && left.is_none(), "alone it is adopted");
    }
}
