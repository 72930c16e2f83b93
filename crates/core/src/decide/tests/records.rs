//! A request whose record is there: sent, judged, closed, given up.

use super::*;

#[test]
fn the_second_look_sends_only_what_is_still_as_planned() {
    let decision = run(earliest(), known(), &with(record(unsent(1)), &[7, 8]));
    assert!(matches!(&decision.step, Some(Step::Send { only, .. }) if only.len() == 2), "{:?}", decision.step);
    let moved = |change: &dyn Fn(&mut Observation)| {
        let mut seen = with(record(unsent(1)), &[7, 8]);
        change(&mut seen);
        run(earliest(), known(), &seen)
    };
    let other =
        BTreeMap::from([("t".to_owned(), Some(Topic { id: "another".to_owned(), partitions: BTreeMap::from([(0, true), (1, true)]) }))]);
    let unloads: Vec<(&str, Decision)> = vec![
        ("the window passed", run(earliest(), known(), &with(record(unsent(6)), &[7, 8]))),
        ("the group moved", moved(&|s| s.committed = Observed::Read(committed(&[7, 9])))),
        ("a commit vanished", moved(&|s| s.committed = Observed::Read(committed(&[7])))),
        ("a member joined", moved(&|s| s.activity = Observed::Read(active()))),
        ("the id changed meanwhile", moved(&|s| s.wanted = Observed::Read(false))),
        ("the API server does not say", moved(&|s| s.wanted = Observed::Unreadable(Cause::new(Reason::APIServerError, "no answer")))),
        ("two in doubt at once", moved(&|s| s.conflicting_records = Observed::Read(vec!["n/x".to_owned()]))),
        ("another cluster", moved(&|s| s.identity = Observed::Read(cluster("d")))),
        (
            "the record is not as written",
            moved(&|s| {
                s.record = Observed::Read(Some(record(PlanState::OursUnsent { loaded_at: now().mono, intact: false, dead: false })))
            }),
        ),
        (
            "given up before",
            moved(&|s| s.record = Observed::Read(Some(record(PlanState::OursUnsent { loaded_at: now().mono, intact: true, dead: true })))),
        ),
    ];
    let anew = moved(&|s| s.topics = Observed::Read(other.clone()));
    assert_eq!(closes_as(&anew), Some((RecordPhase::Abandoned, Reason::TopicRecreated)), "K26");
    let mut skewed = record(unsent(1));
    skewed.object.spec.created_at = "2026-01-01T11:50:00Z".parse().unwrap();
    let skewed = run(earliest(), known(), &with(skewed, &[7, 8]));
    assert_eq!(closes_as(&skewed), Some((RecordPhase::Abandoned, Reason::ClockSkew)), "F22");
    for (sentence, decision) in unloads {
        assert!(matches!(decision.step, Some(Step::DropPlan)), "{sentence}: {:?}", decision.step);
    }
}

#[test]
fn an_answer_is_read_back_and_never_believed() {
    use Reason::{OffsetsMoved, PartlyApplied, ResetVerified};
    let closed = |state: PlanState, offsets: &[i64]| closes_as(&run(earliest(), known(), &with(record(state), offsets)));
    assert_eq!(closed(sent(&[], 1, 1), &[0, 0]), Some((RecordPhase::Verified, ResetVerified)));
    assert_eq!(closed(sent(&[], 1, 1), &[0, 3]), Some((RecordPhase::Held, OffsetsMoved)), "O12");
    let all_refused = run(earliest(), known(), &with(record(sent(&[(0, 25), (1, 25)], 1, 1)), &[7, 8]));
    assert!(matches!(all_refused.step, Some(Step::DropPlan)), "A10: {:?}", all_refused.step);
    let some = run(earliest(), known(), &with(record(sent(&[(1, 29)], 1, 1)), &[0, 8]));
    assert!(matches!(&some.step, Some(Step::Send { only, .. }) if only.iter().eq([&at(1)])), "O13: {:?}", some.step);
    assert_eq!(closed(sent(&[(1, 29)], 1, 3), &[0, 8]), Some((RecordPhase::Held, PartlyApplied)), "twice at most");
    assert_eq!(closed(sent(&[(1, 29)], 6, 1), &[0, 8]), Some((RecordPhase::Held, PartlyApplied)), "inside the window only");
    assert_eq!(closed(sent(&[(1, 29)], 1, 1), &[0, 9]), Some((RecordPhase::Held, PartlyApplied)), "only what stands as before");
}

#[test]
fn f18_a_commit_refused_on_8000_partitions_is_told_briefly() {
    let at = |partition| TopicPartition::new(&"t".repeat(20), partition);
    let log = LogBounds { start: 0, end: 10, high_watermark: 10, ..LogBounds::default() };
    let all = |offset: i64| -> Committed { (0..8000).map(|p| (at(p), Commit { offset, ..Commit::default() })).collect() };
    let topic = Topic { id: "topic-id".to_owned(), partitions: (0..8000).map(|p| (p, true)).collect() };
    let mut seen = ready();
    seen.topics = Observed::Read(BTreeMap::from([("t".repeat(20), Some(topic))]));
    seen.log = Observed::Read((0..8000).map(|p| (at(p), log)).collect());
    seen.committed = Observed::Read(all(7));
    let Some(Step::WriteAhead { plan, deadline, .. }) = run(earliest(), known(), &seen).step else { panic!("a plan is made") };
    let answer = SendOutcome::Answered { refused: (1..8000).map(|p| (at(p), 29)).collect() };
    let state = PlanState::OursSent { loaded_at: now().mono - Duration::from_secs(1), tries: 3, answer };
    seen.record = Observed::Read(Some(RecordView::new(bare_record(&plan, deadline), state, RunStateCalls::default())));
    let mut standing = all(7);
    standing.insert(at(0), Commit::default());
    seen.committed = Observed::Read(standing);
    let decision = run(earliest(), known(), &seen);
    let Some(Step::Close(status)) = &decision.step else { panic!("it is closed: {:?}", decision.step) };
    assert_eq!((status.phase, status.reason), (RecordPhase::Held, Reason::PartlyApplied));
    assert!(status.failures.len() == 100 && status.message.len() <= 1024, "{} failures, {:?}", status.failures.len(), status.message);
    assert_eq!(status.verification.as_ref().map(|v| (v.at_target, v.as_before, v.elsewhere)), Some((1, 7999, 0)));
    let Report::Request(told) = &decision.report else { panic!("the request is told of: {:?}", decision.report) };
    let said = &told.cause.message;
    assert!(said.len() < 8 * 1024 && said.contains("refused 7,999 partitions") && said.contains(" and 7987 more"), "{said}");
}

#[test]
fn a_plan_in_doubt_is_judged_by_looking_after_the_wait() {
    let doubt = timing().doubt();
    let aged = |age: Duration| record(PlanState::InDoubt { since: now().mono.checked_sub(age).unwrap() });
    let early = run(earliest(), known(), &with(aged(doubt - Duration::from_secs(1)), &[0, 0]));
    assert!(early.step.is_none() && early.recheck == Duration::from_secs(1), "{early:?}");
    let judged = |offsets: &[i64]| closes_as(&run(earliest(), known(), &with(aged(doubt), offsets)));
    assert_eq!(judged(&[0, 0]), Some((RecordPhase::Verified, Reason::ResetVerified)));
    assert_eq!(judged(&[7, 8]), Some((RecordPhase::Held, Reason::OutcomeUnknown)));
    assert_eq!(judged(&[0, 8]), Some((RecordPhase::Held, Reason::OutcomeUnknown)));
    assert_eq!(judged(&[0, 9]), Some((RecordPhase::Held, Reason::OffsetsMoved)));
}

#[test]
fn o19_retry_sends_what_is_left_once_and_is_never_unloaded() {
    let retry = json!({ "id": "r1", "to": { "position": "Earliest" }, "onUnknownOutcome": "Retry" });
    let held = |reason: Reason, attempt: i32| {
        let mut look = record(PlanState::Closed);
        look.object.spec.writer.as_mut().unwrap().attempt = attempt;
        look.object.status = Some(closing(&look, RecordPhase::Held, reason, attempt));
        look
    };
    let rearms = |look: RecordView, offsets: &[i64]| matches!(run(retry.clone(), known(), &with(look, offsets)).step, Some(Step::Retry));
    assert!(rearms(held(Reason::OutcomeUnknown, 1), &[0, 8]));
    assert!(!rearms(held(Reason::OutcomeUnknown, 1), &[0, 9]), "only from target or snapshot");
    assert!(!rearms(held(Reason::OutcomeUnknown, 2), &[0, 8]), "once");
    assert!(!rearms(held(Reason::OffsetsMoved, 1), &[0, 8]), "never for what is known to have moved");
    let mut second = record(unsent(1));
    second.object.spec.writer.as_mut().unwrap().attempt = 2;
    let decision = run(retry.clone(), known(), &with(second.clone(), &[0, 8]));
    assert!(matches!(&decision.step, Some(Step::Send { only, .. }) if only.iter().eq([&at(1)])), "{:?}", decision.step);
    assert_eq!(closes_as(&run(retry.clone(), known(), &with(second, &[0, 9]))), Some((RecordPhase::Held, Reason::OutcomeUnknown)));
}

#[test]
fn a_record_nobody_asks_for_is_never_sent() {
    let superseded = |state: PlanState| Observation {
        superseded: Some(SupersededRecord {
            record: record(state),
            committed: Observed::Read(committed(&[7, 8])),
            activity: Observed::Unread,
            run_state: Observed::Unread,
        }),
        ..ready()
    };
    let asked = json!({ "id": "r2", "to": { "position": "Latest" } });
    for (state, unload) in [(unsent(1), true), (PlanState::Absent, false)] {
        let decision = run(asked.clone(), known(), &superseded(state));
        let expected = if unload {
            matches!(decision.step, Some(Step::DropPlan))
        } else {
            closes_as(&decision) == Some((RecordPhase::Abandoned, Reason::NoLongerRequested))
        };
        assert!(expected, "O05: {:?}", decision.step);
        assert_eq!(stands(&decision), Some((Stage::Waiting, Reason::AnotherResetOpen)));
    }
    // First seen together with an earlier record: waiting for that record must not turn a skipped request into an accepted one.
    let decision = run(asked, Value::Null, &superseded(unsent(1)));
    assert_eq!(stands(&decision), None);
}

#[test]
fn a_record_without_a_plan_is_given_up_where_the_status_says_that_it_ended() {
    for stage in ["Verified", "Held", "Failed", "Skipped"] {
        let told = json!({ "observedUID": "u", "acknowledgedID": "r1", "offsetReset": { "id": "r1", "stage": stage } });
        let seen = Observation { record: Observed::Read(Some(record(PlanState::Absent))), ..ready() };
        let decision = run(earliest(), told, &seen);
        assert_eq!(closes_as(&decision), Some((RecordPhase::Abandoned, Reason::NoLongerRequested)), "{stage}");
    }
}

#[test]
fn b12_what_was_given_up_along_with_an_earlier_object_tells_nothing_of_a_later_one() {
    let mut left = record(PlanState::Absent);
    (left.object.spec.pipeline.uid, left.object.spec.plan) = ("older".to_owned(), None);
    let seen = |look: &RecordView| run(earliest(), known(), &Observation { record: Observed::Read(Some(look.clone())), ..ready() });
    let open = seen(&left);
    assert_eq!((closes_as(&open), stands(&open)), (Some((RecordPhase::Abandoned, Reason::NoLongerRequested)), None), "{open:?}");
    left.state = PlanState::Closed;
    left.object.status = Some(closing(&left, RecordPhase::Abandoned, Reason::NoLongerRequested, 1));
    let closed = seen(&left);
    assert_eq!(stands(&closed), None, "{closed:?}");
    // A record that was given up for another reason uses up the id.
    left.object.status = Some(closing(&left, RecordPhase::Abandoned, Reason::TopicRecreated, 1));
    assert_eq!(stands(&seen(&left)), Some((Stage::Failed, Reason::AbandonedUnrun)));
}

#[test]
fn o02_o30_records_of_other_objects_and_restored_ones_are_only_closed() {
    let mut other = record(PlanState::InDoubt { since: now().mono - timing().doubt() });
    other.object.spec.pipeline.uid = "older".to_owned();
    assert_eq!(closes_as(&run(earliest(), Value::Null, &with(other.clone(), &[7, 8]))), Some((RecordPhase::Held, Reason::OutcomeUnknown)));
    other.object.spec.created_at = "2026-01-01T11:00:00Z".parse().unwrap();
    assert_eq!(closes_as(&run(earliest(), Value::Null, &with(other, &[7, 8]))), Some((RecordPhase::Abandoned, Reason::Restored)));
}
