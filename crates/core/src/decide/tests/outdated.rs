//! O29: the installed definitions are older than the operator.

use serde_json::json;

use super::*;
use crate::Outdated;

fn outdated(seen: Observation, asked: bool) -> Observation {
    let cause = Cause::new(Reason::CRDOutdated, "the installed CRD is older: helm upgrade brings it.");
    Observation { outdated: Some(Outdated { cause, asked }), ..seen }
}

#[test]
fn o29_with_older_definitions_no_step_is_taken_in_any_state_of_a_record() {
    let held = || {
        let mut look = record(PlanState::Closed);
        look.object.status = Some(closing(&look, RecordPhase::Held, Reason::OutcomeUnknown, 0));
        look
    };
    let states = [
        with(record(PlanState::Absent), &[7, 8]),
        with(record(unsent(1)), &[7, 8]),
        with(record(sent(&[], 1, 1)), &[0, 0]),
        with(record(sent(&[(0, 29), (1, 29)], 1, 1)), &[7, 8]),
        with(record(PlanState::InDoubt { since: *BEGINNING }), &[7, 8]),
        with(held(), &[7, 8]),
    ];
    let retry = json!({ "id": "r1", "to": { "position": "Earliest" }, "onUnknownOutcome": "Retry" });
    for seen in states {
        assert!(run(retry.clone(), known(), &seen).step.is_some(), "{seen:?}");
        for asked in [false, true] {
            let decision = run(retry.clone(), known(), &outdated(seen.clone(), asked));
            assert!(decision.step.is_none() && decision.recheck >= timing().recheck_waiting, "{decision:?}");
            let Some((stage, reason)) = stands(&decision) else { panic!("{decision:?}") };
            assert!(reason == Reason::CRDOutdated || stage == Stage::Held, "{decision:?}");
        }
    }
}

#[test]
fn o29_what_may_have_lost_something_ends_and_what_was_taken_on_before_waits() {
    let waiting = json!({ "observedUID": "u", "acknowledgedID": "r1", "offsetReset": { "id": "r1", "stage": "Waiting" } });
    for (what, status, asked, expected) in [
        ("new, its definition older", known(), true, Stage::Failed),
        ("new, another definition older", known(), false, Stage::Waiting),
        ("taken on before", waiting, true, Stage::Waiting),
    ] {
        let decision = run(earliest(), status, &outdated(ready(), asked));
        assert_eq!((stands(&decision), decision.step.is_none()), (Some((expected, Reason::CRDOutdated)), true), "{what}");
        let Report::Request(ending) = decision.report else { panic!("{what}") };
        assert!(ending.cause.message.contains("helm upgrade brings it"), "{}", ending.cause.message);
        assert_eq!(ending.cause.message.contains("with a new id"), expected == Stage::Failed, "{}", ending.cause.message);
    }
    // A request that ended this way does not run after the upgrade.
    let failed = json!({ "observedUID": "u", "acknowledgedID": "r1", "offsetReset": { "id": "r1", "stage": "Failed" } });
    assert!(run(earliest(), failed, &ready()).step.is_none());
    // A request that was there at creation is skipped as always, and without a request nothing is reported.
    assert_eq!(stands(&run(earliest(), Value::Null, &outdated(ready(), true))), Some((Stage::Skipped, Reason::SkippedAtCreation)));
    assert!(matches!(run(Value::Null, known(), &outdated(ready(), true)).report, Report::NotRequested));
}
