//! Numbers that brokers, platforms and people give may be any number: nothing overflows, and totals are of records that exist.

use proptest::prelude::*;

use super::*;
use crate::decide::lag_evidence::compare;
use stream_pipeline_api::LagSample;

/// Any number, the extremes more often than others.
fn any_number() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), Just(i64::MAX), Just(i64::MIN), Just(-1), Just(0), 0i64..1000]
}

proptest! {
    /// Three commits at the largest offset, a log whose bounds are absurd: a plan or an end, and never a panic.
    #[test]
    fn no_number_of_a_broker_overflows(
        logs in prop::collection::vec((any_number(), any_number(), any_number(), any_number(), any_number(), any_number(), any_number()), 1..5),
        kind in 0..8,
        shift in any_number(),
    ) {
        let to = match kind {
            0 => json!({ "position": "Earliest" }),
            1 => json!({ "position": "Latest" }),
            2 => json!({ "timestamp": "2026-01-01T00:00:00Z" }),
            3 => json!({ "position": "Current" }),
            4 => json!({ "lookback": "2h" }),
            5 => json!({ "offset": shift }),
            6 => json!({ "offsets": [{ "topic": "t", "partition": 0, "offset": shift }] }),
            _ => json!({ "shiftBy": shift }),
        };
        let mut seen = ready();
        let (mut commits, mut log, mut partitions) = (Committed::new(), BTreeMap::new(), BTreeMap::new());
        for (p, (start, end, high_watermark, commit, found, time, newest)) in (0..).zip(&logs) {
            let found = (*found >= 0).then_some((*found, *time, None));
            let (start, end, high_watermark, newest) = (*start, *end, *high_watermark, Some(*newest));
            log.insert(at(p), LogBounds { start, end, high_watermark, found, newest, rate_milli: i64::MAX, ..LogBounds::default() });
            partitions.insert(p, true);
            commits.insert(at(p), Commit { offset: *commit, ..Commit::default() });
        }
        crate::lag(&log, &commits);
        seen.topics = Observed::Read(BTreeMap::from([("t".to_owned(), Some(Topic { id: "x".to_owned(), partitions }))]));
        (seen.committed, seen.log) = (Observed::Read(commits), Observed::Read(log));
        let decision = run(json!({ "id": "r1", "to": to, "outOfRange": "Clamp" }), known(), &seen);
        if let Some(Step::WriteAhead { plan, .. }) = decision.step {
            let totals = plan.totals();
            prop_assert!(totals.replayed >= 0 && totals.skipped >= 0 && totals.lag_after >= 0);
        }
    }

    #[test]
    fn no_number_of_a_platform_overflows(numbers in (any_number(), any_number(), any_number(), any_number()), natural in prop::option::of(any_number())) {
        let reading = |offset, lag| LagSample { offset, lag, at: Timestamp::UNIX_EPOCH };
        compare(Some(reading(numbers.0, numbers.1)), None, reading(numbers.2, numbers.3), natural);
    }
}

/// The totals of a plan for one partition committed at `commit`, in a log from `start` to `end` with the high watermark `high`.
fn totals(commit: i64, (start, end, high): (i64, i64, i64), to: Value) -> (i64, i64, i64) {
    let mut seen = ready();
    let log = LogBounds { start, end, high_watermark: high, ..LogBounds::default() };
    let topic = Topic { id: "topic-id".to_owned(), partitions: BTreeMap::from([(0, true)]) };
    seen.topics = Observed::Read(BTreeMap::from([("t".to_owned(), Some(topic))]));
    seen.committed = Observed::Read(committed(&[commit]));
    seen.log = Observed::Read(BTreeMap::from([(at(0), log)]));
    let Some(Step::WriteAhead { plan, .. }) = run(json!({ "id": "r1", "to": to }), known(), &seen).step else { panic!("a plan") };
    let totals = plan.totals();
    (totals.replayed, totals.skipped, totals.lag_after)
}

#[test]
fn totals_are_of_records_that_exist() {
    let (earliest, latest) = (|| json!({ "position": "Earliest" }), || json!({ "position": "Latest" }));
    for (sentence, commit, log, to, expected) in [
        ("within the log", 7, (0, 10, 10), earliest(), (7, 0, 10)),
        ("a commit beyond the end: there is nothing to replay at the end", 1000, (0, 10, 10), latest(), (0, 0, 0)),
        ("and the whole log from its start", 1000, (0, 10, 10), earliest(), (10, 0, 10)),
        ("a commit before the start: what is gone is not skipped", 2, (5, 10, 10), latest(), (0, 5, 0)),
        ("nor replayed", 2, (5, 10, 10), earliest(), (0, 0, 5)),
        ("what an open transaction has written is there, and read again", 15, (0, 10, 15), latest(), (5, 0, 0)),
        ("three times the largest offset", i64::MAX, (0, 10, 10), earliest(), (10, 0, 10)),
        ("an empty log", 1000, (5, 5, 5), earliest(), (0, 0, 0)),
    ] {
        assert_eq!(totals(commit, log, to), expected, "{sentence}");
    }
}

#[test]
fn three_commits_at_the_largest_offset_are_planned_like_others() {
    let mut seen = ready();
    seen.committed = Observed::Read(committed(&[i64::MAX, i64::MAX]));
    let Some(Step::WriteAhead { plan, .. }) = run(earliest(), known(), &seen).step else { panic!("a plan") };
    assert_eq!(plan.totals().replayed, 20);
    let log = LogBounds { start: 0, end: i64::MAX, high_watermark: i64::MAX, ..LogBounds::default() };
    seen.log = Observed::Read(BTreeMap::from([(at(0), log), (at(1), log)]));
    let Some(Step::WriteAhead { plan, .. }) = run(earliest(), known(), &seen).step else { panic!("a plan") };
    assert_eq!((plan.totals().replayed, plan.totals().lag_after), (i64::MAX, i64::MAX));
}
