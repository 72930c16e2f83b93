//! Messages about numbers that are read elsewhere: a ConfigMap, a record that is undone, a plan that is approved.

use super::*;
use stream_pipeline_core::decide::{Found, Look, note};

fn asking(to: Value) -> Value {
    json!({ "id": "r1", "to": to })
}

/// The record of a reset to Earliest, from 7 and nothing.
fn earlier(change: impl Fn(&mut OffsetResetRecord)) -> OffsetResetRecord {
    let mut look = record(PlanState::Closed);
    look.object.status = Some(closing(&look, RecordPhase::Verified, Reason::ResetVerified, 1));
    change(&mut look.object);
    look.object
}

fn dry_run(record: &mut OffsetResetRecord) {
    record.spec.request.dry_run = Some(true);
}

/// Everything is ready, and this was found where the target says.
fn found(reset: Value, found: Found, change: impl Fn(&mut Observation)) -> (StreamPipeline, Observation) {
    let object = pipeline(reset, known());
    let desired = Desired::of(&object, crate::facts_of, now().wall).unwrap();
    let (mut seen, source) = (ready(), desired.asked().unwrap().to.source().unwrap());
    note(&mut seen, &desired, &Look::Numbers(source), found);
    change(&mut seen);
    (object, seen)
}

pub(super) fn numbers() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |input: &str, reset: Value, what: Found, change: &dyn Fn(&mut Observation)| {
        let (object, seen) = found(reset, what, change);
        rows.push(row(input, &object, &seen));
    };
    let as_is = |_: &mut Observation| {};
    let from = asking(json!({ "offsetsFrom": { "configMapKeyRef": { "name": "night", "key": "offsets.csv" } } }));
    add("`offsetsFrom`, and a broken line", from, Found::File(Ok("t,0,5\nt,1\n".to_owned())), &as_is);

    let there = |record: OffsetResetRecord| Found::NamedRecord(Ok(Some(record)));
    let as_it_was = |_: &mut OffsetResetRecord| {};
    let anew = |s: &mut Observation| {
        let partitions = BTreeMap::from([(0, true), (1, true)]);
        s.topics = Observed::Read(BTreeMap::from([("t".to_owned(), Some(Topic { id: "another".to_owned(), partitions }))]));
    };
    let one_less = |s: &mut Observation| {
        let partitions = BTreeMap::from([(0, true)]);
        s.topics = Observed::Read(BTreeMap::from([("t".to_owned(), Some(Topic { id: "topic-id".to_owned(), partitions }))]));
    };
    let start_at_8 = |s: &mut Observation| {
        let log = LogBounds { start: 8, end: 10, high_watermark: 10, ..LogBounds::default() };
        s.log = Observed::Read(BTreeMap::from([(at(0), log), (at(1), log)]));
    };
    let undo = || asking(json!({ "undo": { "name": "p-1" } }));
    add("`undo`, and everything is ready", undo(), there(earlier(as_it_was)), &as_is);
    add("`undo`, and no such record", undo(), Found::NamedRecord(Ok(None)), &as_is);
    add("`undo` of a record of another group", undo(), there(earlier(|r| r.spec.backend = cluster("d"))), &as_is);
    add("`undo` of a record of EnOS", undo(), there(earlier(|r| r.spec.backend = pipeline_on_enos())), &as_is);
    add("`undo` of a dry run", undo(), there(earlier(dry_run)), &as_is);
    let given_up = earlier(|r| r.status.as_mut().unwrap().phase = RecordPhase::Abandoned);
    add("`undo` of a record that was given up", undo(), there(given_up), &as_is);
    add("`undo` of a record that is still open", undo(), there(earlier(|r| r.status = None)), &as_is);
    add("`undo` of a record whose table was removed", undo(), there(earlier(|r| r.spec.plan = None)), &as_is);
    add("`undo`, and the topic was made anew since", undo(), there(earlier(as_it_was)), &anew);
    add("`undo`, and a partition is gone", undo(), there(earlier(as_it_was)), &one_less);
    add("`undo` to an offset that is below the log now", undo(), there(earlier(as_it_was)), &start_at_8);

    let approved = || json!({ "id": "r2", "to": { "position": "Earliest" }, "approvedPlan": "p-1" });
    add("`approvedPlan`, and everything is ready", approved(), there(earlier(dry_run)), &as_is);
    add("`approvedPlan`, and no such record", approved(), Found::NamedRecord(Ok(None)), &as_is);
    add("`approvedPlan` names the record of a reset", approved(), there(earlier(as_it_was)), &as_is);
    let other = earlier(|r| {
        dry_run(r);
        r.spec.request.out_of_range = Some(stream_pipeline_api::OutOfRange::Clamp);
    });
    add("`approvedPlan` of a dry run with another policy", approved(), there(other), &as_is);
    add("`approvedPlan`, and the topic was made anew since", approved(), there(earlier(dry_run)), &anew);
    add("`approvedPlan`, and a partition is gone", approved(), there(earlier(dry_run)), &one_less);
    add("`approvedPlan`, and a number is below the log now", approved(), there(earlier(dry_run)), &start_at_8);
    rows
}
