//! What is looked at next.

use super::*;
use crate::decide::{Found, Look, looks, note};

/// What is looked at after all that was found, in one line.
fn next(desired: &Desired, prior: &PriorStatus, seen: &Observation) -> Vec<Look> {
    looks(desired, prior, seen, &timing(), now())
}

/// A pipeline that is gone says nothing of its record: an end told beside an open one would leave it open for ever.
#[test]
fn the_record_is_looked_for_also_where_the_pipeline_cannot_be_found() {
    for cause in [Cause::new(Reason::PipelineNotFound, "gone"), Cause::new(Reason::BrokerUnreachable, "no answer")] {
        let object = pipeline(earliest(), Value::Null);
        let (desired, prior) = (Desired::of(&object, crate::facts_of, now().wall).unwrap(), PriorStatus::of(&object));
        let mut seen = Observation::default();
        note(&mut seen, &desired, &Look::OpenRecords, Found::OpenRecords(Vec::new(), None));
        let identity = next(&desired, &prior, &seen);
        assert!(matches!(identity.as_slice(), [Look::Identity { known: None }]), "{identity:?}");
        note(&mut seen, &desired, &identity[0], Found::Identity(Err(cause)));
        let record = next(&desired, &prior, &seen);
        let [Look::Record(names)] = record.as_slice() else { panic!("{record:?}") };
        let open = super::fixtures::record(sent(&[], 1, 1));
        note(&mut seen, &desired, &record[0], Found::Record { name: names.name.clone(), record: Ok(Some(open)) });
        let decision = decide(&desired, &prior, &seen, &timing(), now());
        assert_eq!(stands(&decision).map(|(stage, _)| stage), Some(Stage::Sending), "{decision:?}");
    }
}

/// What would be stopped is counted only once it is known that nobody else keeps it stopped, or a count of 0 would be taken for the usual
/// one. The live list of the namespace, which costs most, comes last.
#[test]
fn who_goes_first_is_looked_at_before_what_would_be_stopped_is_counted() {
    let mut object = pipeline(json!({ "id": "r1", "to": { "position": "Earliest" }, "whenActive": "Pause" }), known());
    object.spec.kafka.as_mut().unwrap().workloads =
        serde_json::from_value(json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "d" }])).unwrap();
    object.metadata.creation_timestamp = Some(Time(now().wall - jiff::SignedDuration::from_secs(5)));
    let (desired, prior) = (Desired::of(&object, crate::facts_of, now().wall).unwrap(), PriorStatus::of(&object));
    let kinds = |mut seen: Observation| {
        let mut all = Vec::new();
        while let Some(kinds) = Some(next(&desired, &prior, &seen)).filter(|looks| !looks.is_empty()) {
            let kinds: Vec<_> = kinds.iter().map(crate::decide::LookKind::from).collect();
            seen.looked.extend(&kinds);
            all.push(kinds);
        }
        all
    };
    use crate::decide::LookKind::*;
    let running = Observation { activity: Observed::Read(active()), ..ready() };
    let found = kinds(running.clone());
    let expected = [[GroupRecords], [Elsewhere], [NamespaceRecords], [RunStateBefore], [OlderPipelineLive]].map(Vec::from);
    assert!(found.ends_with(&expected), "{found:?}");
    let held = Observed::Read(vec!["Deployment d, by record p-1".to_owned()]);
    let found = kinds(Observation { shared_workloads: held, ..running });
    assert!(!found.contains(&vec![OlderPipelineLive]), "it waits in any case: {found:?}");
}

/// K07: a pause may take hours; what is looked for is what was asked for when the record was made.
#[test]
fn k07_a_lookback_goes_back_from_the_record_where_there_is_one() {
    let object = pipeline(json!({ "id": "r1", "to": { "lookback": "2h" } }), known());
    let (desired, prior) = (Desired::of(&object, crate::facts_of, now().wall).unwrap(), PriorStatus::of(&object));
    let time_with = |own: Option<RecordView>| {
        let mut seen = Observation { record: Observed::Read(own), log: Observed::Unread, ..ready() };
        for _ in 0..10 {
            let all = next(&desired, &prior, &seen);
            if let Some(Look::Logs { time, .. }) = all.iter().find(|look| matches!(look, Look::Logs { .. })) {
                return *time;
            }
            seen.looked.extend(all.iter().map(crate::decide::LookKind::from));
        }
        panic!("the logs are not looked at")
    };
    let hours = |n: i64| jiff::SignedDuration::from_hours(n);
    assert_eq!(time_with(None), Some(now().wall - hours(2)));
    let mut own = super::fixtures::record(PlanState::Absent);
    own.object.spec.created_at = now().wall - hours(5);
    assert_eq!(time_with(Some(own)), Some(now().wall - hours(7)));
}
