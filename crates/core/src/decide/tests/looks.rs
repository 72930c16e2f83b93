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
