//! A request without a record: refused, waiting, planned.

use super::*;

#[test]
fn what_a_request_without_a_record_comes_to() {
    use Reason::*;
    use Stage::{Failed, Skipped, Waiting};
    let unreachable = || Observed::Unreadable(Cause::new(BrokerUnreachable, "no answer"));
    let unread_record = || Observed::Unreadable(Cause::new(APIServerError, "no answer"));
    let ask = |extra: Value| {
        let mut reset = earliest();
        for (key, value) in extra.as_object().unwrap() {
            reset[key] = value.clone();
        }
        reset
    };
    let set = |change: &dyn Fn(&mut Observation)| {
        let mut seen = ready();
        change(&mut seen);
        seen
    };
    let pending = BTreeMap::from([(at(0), Commit { pending: true, ..Commit::default() })]);
    let waiting = json!({ "observedUID": "u", "acknowledgedID": "r1", "offsetReset": { "id": "r1", "stage": "Waiting", "acceptedAt": "2025-12-30T00:00:00Z" } });
    let in_line = |s: &mut Observation| s.in_line = Some(Cause::new(RateLimited, "others go first"));
    let waits_with = |name: &str| {
        let last = json!({ "id": "r1", "stage": "Waiting", "acceptedAt": "2026-01-01T00:00:00Z", "recordRef": { "name": name } });
        json!({ "observedUID": "u", "acknowledgedID": "r1", "offsetReset": last })
    };
    let looked_for = |name: &str| set(&|s| (s.record, s.record_name) = (Observed::Read(None), Some(name.to_owned())));
    type Row = (&'static str, Value, Value, Observation, Option<(Stage, Reason)>);
    let table: Vec<Row> = vec![
        ("O28 there when first seen: skipped, loudly", earliest(), Value::Null, ready(), Some((Skipped, SkippedAtCreation))),
        (
            "O25 a status of another uid counts as none",
            earliest(),
            json!({ "observedUID": "other" }),
            ready(),
            Some((Skipped, SkippedAtCreation)),
        ),
        ("O18 run at creation by whenCreated", ask(json!({ "whenCreated": "Run" })), Value::Null, ready(), Some((Waiting, PlanRecorded))),
        (
            "O18 run at creation by expiresAt",
            ask(json!({ "expiresAt": "2026-01-02T00:00:00Z" })),
            Value::Null,
            ready(),
            Some((Waiting, PlanRecorded)),
        ),
        (
            "O16 expiresAt that has passed does not run it",
            ask(json!({ "expiresAt": "2026-01-01T00:00:00Z" })),
            Value::Null,
            ready(),
            Some((Skipped, SkippedAtCreation)),
        ),
        (
            "P04 expired before it could start",
            ask(json!({ "expiresAt": "2026-01-01T00:00:00Z" })),
            known(),
            ready(),
            Some((Failed, Expired)),
        ),
        (
            "K06 a time in the future",
            json!({ "id": "r1", "to": { "timestamp": "2027-01-01T00:00:00Z" } }),
            known(),
            ready(),
            Some((Failed, InvalidTarget)),
        ),
        ("F09 an unknown field", ask(json!({ "dryrun": true })), known(), ready(), Some((Failed, UnknownField))),
        ("F01 brokers that do not answer", earliest(), known(), set(&|s| s.identity = unreachable()), Some((Waiting, BrokerUnreachable))),
        (
            "F13 another cluster than before",
            earliest(),
            json!({ "observedUID": "u", "clusterID": "d" }),
            ready(),
            Some((Waiting, ClusterChanged)),
        ),
        (
            "K18 no such group",
            earliest(),
            known(),
            set(&|s| {
                let missing = Activity::Missing(Cause::new(PipelineNotFound, "no such group"));
                (s.activity, s.committed) = (Observed::Read(missing), Observed::Read(Committed::new()));
            }),
            Some((Failed, PipelineNotFound)),
        ),
        (
            "K27 a share group",
            earliest(),
            known(),
            set(&|s| s.activity = Observed::Read(Activity::Unsupported(Cause::new(GroupTypeNotSupported, "a share group")))),
            Some((Failed, GroupTypeNotSupported)),
        ),
        ("A01 members", earliest(), known(), set(&|s| s.activity = Observed::Read(active())), Some((Waiting, GroupActive))),
        (
            "A03 members, and Fail",
            ask(json!({ "whenActive": "Fail" })),
            known(),
            set(&|s| s.activity = Observed::Read(active())),
            Some((Failed, GroupActive)),
        ),
        (
            "A15 not quiet for long enough",
            earliest(),
            known(),
            set(&|s| s.quiet.since = Some(Duration::from_secs(9))),
            Some((Waiting, QuietPeriod)),
        ),
        (
            "A06 moving without members",
            earliest(),
            known(),
            set(&|s| s.quiet = Quiet { since: Some(Duration::ZERO), moved: Some(Duration::ZERO) }),
            Some((Waiting, OffsetsMoving)),
        ),
        (
            "A07 an open transaction",
            earliest(),
            known(),
            set(&|s| s.committed = Observed::Read(pending.clone())),
            Some((Waiting, TransactionOpen)),
        ),
        (
            "O36 another reset of the group is open",
            earliest(),
            known(),
            set(&|s| s.conflicting_records = Observed::Read(vec!["n/other".to_owned()])),
            Some((Waiting, AnotherResetOpen)),
        ),
        (
            "O08 an older StreamPipeline names the group",
            earliest(),
            known(),
            set(&|s| s.older_pipeline = Some(OlderPipeline::Acts("n/other".to_owned()))),
            Some((Waiting, DuplicateGroup)),
        ),
        (
            "K10 a topic that does not exist",
            earliest(),
            known(),
            set(&|s| s.topics = Observed::Read(BTreeMap::from([("t".to_owned(), None)]))),
            Some((Failed, PartitionNotFound)),
        ),
        ("E13 others of its application go first", earliest(), known(), set(&in_line), Some((Waiting, RateLimited))),
        ("A14 the deadline, while others go first", earliest(), waiting.clone(), set(&in_line), Some((Failed, WaitTimedOut))),
        ("A14 the deadline", earliest(), waiting, set(&|s| s.activity = Observed::Read(active())), Some((Failed, WaitTimedOut))),
        ("nothing new is started on the way out", earliest(), known(), set(&|s| s.draining = true), None),
        (
            "O20 sent by its status, and the record gone",
            earliest(),
            json!({ "observedUID": "u", "acknowledgedID": "r1", "offsetReset": { "id": "r1", "stage": "Sending" } }),
            ready(),
            Some((Stage::Held, RecordMissing)),
        ),
        (
            "O20 waiting by its status, which names its record, and the record gone: it may have been sent since",
            earliest(),
            waits_with("p-1"),
            looked_for("p-1"),
            Some((Stage::Held, RecordMissing)),
        ),
        (
            "O27 it names one that an earlier object left behind",
            earliest(),
            waits_with("p-1"),
            looked_for("p-2"),
            Some((Waiting, PlanRecorded)),
        ),
        (
            "O20 the named record cannot be read, so it is not known to be gone",
            earliest(),
            waits_with("p-1"),
            set(&|s| (s.record, s.record_name) = (unread_record(), Some("p-1".to_owned()))),
            Some((Waiting, APIServerError)),
        ),
        (
            "O24 an id that ended before another one, and its record pruned",
            earliest(),
            json!({ "observedUID": "u", "acknowledgedID": "r2", "endedIDs": ["r1"], "offsetReset": { "id": "r2", "stage": "Verified" } }),
            ready(),
            Some((Skipped, AlreadyHandled)),
        ),
        (
            "O24 the same, as a dry run whose id is then to run",
            earliest(),
            json!({ "observedUID": "u", "acknowledgedID": "r1", "endedIDs": ["r1"], "offsetReset": { "id": "r1", "stage": "Planned" } }),
            ready(),
            Some((Skipped, AlreadyHandled)),
        ),
        (
            "O24 its record is not read: not gone",
            earliest(),
            json!({ "observedUID": "u", "acknowledgedID": "r2", "endedIDs": ["r1"], "offsetReset": { "id": "r2", "stage": "Verified" } }),
            set(&|s| s.record = unread_record()),
            None,
        ),
        (
            "O25 ended ids of another uid count as none",
            earliest(),
            json!({ "observedUID": "other", "endedIDs": ["r1"] }),
            ready(),
            Some((Skipped, SkippedAtCreation)),
        ),
        (
            "O01 verified before: kept",
            earliest(),
            json!({ "observedUID": "u", "acknowledgedID": "r1", "offsetReset": { "id": "r1", "stage": "Verified" } }),
            ready(),
            None,
        ),
        ("O06 nothing asked", Value::Null, known(), ready(), None),
    ];
    for (sentence, reset, status, seen, expected) in table {
        let decision = run(reset, status, &seen);
        assert_eq!(stands(&decision), expected, "{sentence}: {decision:?}");
        let plans = matches!(decision.step, Some(Step::WriteAhead { .. }));
        assert_eq!(plans, expected == Some((Waiting, PlanRecorded)), "{sentence}: {:?}", decision.step);
    }
}

#[test]
fn k21_a_log_that_cannot_be_read_is_61168_and_waits() {
    let mut seen = ready();
    seen.log = Observed::Unreadable(Cause::new(Reason::AverageRateUnavailable, "no leader for t-1"));
    let decision = run(earliest(), known(), &seen);
    assert_eq!(stands(&decision), Some((Stage::Waiting, Reason::AverageRateUnavailable)));
    assert_eq!(Reason::AverageRateUnavailable.code(), Some(61168));
}

#[test]
fn k30_a_look_up_that_contradicts_the_newest_record_is_not_believed() {
    let mut seen = ready();
    let log = LogBounds { start: 0, end: 10, high_watermark: 10, newest: Some(now().wall.as_millisecond()), ..LogBounds::default() };
    seen.log = Observed::Read(BTreeMap::from([(at(0), log), (at(1), log)]));
    let decision = run(json!({ "id": "r1", "to": { "timestamp": "2026-01-01T00:00:00Z" } }), known(), &seen);
    assert_eq!(stands(&decision), Some((Stage::Failed, Reason::LookupInconsistent)));
    assert!(decision.step.is_none());
}

#[test]
fn a_transaction_that_holds_offsets_is_told_with_its_partitions_and_the_way_out() {
    let mut seen = ready();
    let pending = |n: i32| (0..n).map(|p| (at(p), Commit { pending: true, ..Commit::default() })).collect::<Committed>();
    for (n, held) in [(2, "the offset of t-0, t-1;"), (500, "t-11 and 488 more;")] {
        seen.committed = Observed::Read(pending(n));
        let Report::Request(ending) = run(earliest(), known(), &seen).report else { panic!("it waits") };
        let message = ending.cause.message;
        assert!(message.contains(held) && message.contains("transaction.timeout.ms. One that is left over"), "{message}");
        assert!(message.len() < 1024, "{message}");
    }
}

#[test]
fn k06_a_time_in_the_future_is_told_with_the_time_it_is() {
    for (time, local) in [("2026-01-01T20:00:00Z", true), ("2026-01-02T02:00:01Z", false), ("2999-01-01T00:00:00Z", false)] {
        let decision = run(json!({ "id": "r1", "to": { "timestamp": time } }), known(), &Observation::default());
        let Report::Request(ending) = decision.report else { panic!("it ends") };
        let message = ending.cause.message;
        assert!(message.contains(&format!("{time} is in the future, now is 2026-01-01T12:00:00Z")), "{message}");
        assert_eq!(message.contains("such as +08:00, not with Z"), local, "{message}");
    }
}

/// C2: written under older rules. It is neither stopped for that long, nor reset after a shorter quiet period than was asked for.
#[test]
fn c2_a_pause_that_could_last_for_weeks_is_given_up_and_what_is_stopped_runs_again() {
    let pause = |field: &str, value: &str| {
        let mut reset = earliest();
        reset["whenActive"] = json!("Pause");
        reset[field] = json!(value);
        reset
    };
    for (field, value) in [("waitTimeout", "720h"), ("quietPeriod", "2h")] {
        let says = |decision: &Decision, stage: Stage| {
            let Report::Request(ending) = &decision.report else { panic!("{decision:?}") };
            assert_eq!((ending.stage, ending.cause.reason.as_str()), (stage, "PauseTooLong"), "{field}");
            let text = &ending.cause.message;
            for part in [field, "with whenActive: Pause", "nothing was sent", "Shorten it, with a new id"] {
                assert!(text.contains(part), "{part}: {text}");
            }
        };
        // Nothing was stopped yet, and it could even be reset at once.
        for activity in [active(), Activity::Inactive(Phase::Stopped, "Empty".to_owned())] {
            let decision = run(pause(field, value), known(), &Observation { activity: Observed::Read(activity), ..ready() });
            assert!(decision.step.is_none(), "{field}: {decision:?}");
            says(&decision, Stage::Failed);
        }
        // An older version of the operator has stopped it already.
        let mut look = record(PlanState::Absent);
        look.object.spec.request = serde_json::from_value(pause(field, value)).unwrap();
        look.object.spec.run_state_before = Some(stream_pipeline_api::RunStateBefore { running: true, ..Default::default() });
        let decision = run(pause(field, value), known(), &with(look, &[7, 8]));
        assert_eq!(closes_as(&decision).map(|(phase, _)| phase), Some(RecordPhase::Abandoned), "{field}: {decision:?}");
        // The end is reported once its record is closed.
        says(&decision, Stage::Waiting);
        // A recorded plan is judged like any other, and a request that has ended stays ended.
        let mut planned = record(sent(&[], 1, 1));
        planned.object.spec.request = serde_json::from_value(pause(field, value)).unwrap();
        let verified = run(pause(field, value), known(), &with(planned, &[0, 0]));
        assert_eq!(closes_as(&verified), Some((RecordPhase::Verified, Reason::ResetVerified)), "{field}");
    }
    let long = run(
        {
            let mut wait = earliest();
            wait["waitTimeout"] = json!("720h");
            wait["quietPeriod"] = json!("48h");
            wait
        },
        known(),
        &Observation { quiet: Quiet { since: Some(Duration::from_secs(200_000)), moved: None }, ..ready() },
    );
    assert!(matches!(long.step, Some(Step::WriteAhead { .. })), "nothing is stopped for it: {long:?}");
}
