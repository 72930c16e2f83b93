//! What is decided, sentence by sentence. No server: the real `decide` on made-up observations.

mod chunks;
mod examples;
pub(crate) mod fixtures;
mod looks;
mod numbers;
mod once;
mod outdated;
mod pausing;
mod records;
mod requests;
pub(crate) mod run_state;
mod stories;
mod taken_away;

use fixtures::*;
use stream_pipeline_api::Stage;

fn stands(decision: &Decision) -> Option<(Stage, Reason)> {
    match &decision.report {
        Report::Request(ending) => Some((ending.stage, ending.cause.reason)),
        Report::Unchanged | Report::Settled { .. } | Report::NotRequested | Report::Outstanding(_) | Report::LeftPaused(_) => None,
    }
}

fn closes_as(decision: &Decision) -> Option<(RecordPhase, Reason)> {
    match &decision.step {
        Some(Step::Close(status)) => Some((status.phase, status.reason)),
        _ => None,
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is asked of whatever log: each target lies in it, the totals add up, and the plan survives its record.
        #[test]
        fn targets_lie_in_the_log(
            logs in prop::collection::vec((0i64..1000, 0i64..1000, prop::option::of(0i64..3000)), 1..20),
            shift in -2500i64..2500,
            kind in 0..3,
        ) {
            let to = match kind { 0 => json!({ "position": "Earliest" }), 1 => json!({ "position": "Latest" }), _ => json!({ "shiftBy": if shift == 0 { 1 } else { shift } }) };
            let mut seen = ready();
            let (mut commits, mut log, mut partitions) = (Committed::new(), BTreeMap::new(), BTreeMap::new());
            for (p, (start, length, commit)) in (0..).zip(&logs) {
                log.insert(at(p), LogBounds { start: *start, end: start + length, high_watermark: start + length, ..LogBounds::default() });
                partitions.insert(p, true);
                if let Some(offset) = commit {
                    commits.insert(at(p), Commit { offset: *offset, ..Commit::default() });
                }
            }
            prop_assume!(!commits.is_empty());
            seen.topics = Observed::Read(BTreeMap::from([("t".to_owned(), Some(Topic { id: "x".to_owned(), partitions }))]));
            seen.committed = Observed::Read(commits);
            seen.log = Observed::Read(log.clone());
            let policy = if kind == 2 { "Skip" } else { "Target" };
            let decision = run(json!({ "id": "r1", "to": to, "outOfRange": "Clamp", "noCommittedOffset": policy }), known(), &seen);
            let Some(Step::WriteAhead { plan, .. }) = decision.step else { panic!("a plan: {decision:?}") };
            prop_assert_eq!(&Plan::of_record(&plan.to_record()), &plan);
            let totals = plan.totals();
            prop_assert_eq!(totals.partitions + totals.left_alone, i64::try_from(logs.len()).unwrap());
            for row in plan.changes() {
                let bounds = log[&row.at];
                prop_assert!((bounds.start..=bounds.end).contains(&row.aim.offset().unwrap()), "{:?} {:?}", row, bounds);
            }
            prop_assert!(totals.replayed >= 0 && totals.skipped >= 0 && totals.lag_after >= 0);
        }

        /// No text a platform or a person gives makes a message too long or breaks it.
        #[test]
        fn words_are_cut_clean(text in any::<String>(), limit in 3usize..200) {
            let cut = crate::words::cut(&text, limit);
            prop_assert!(cut.len() <= limit.max(3) && !cut.contains(crate::words::is_unseen));
        }
    }
}
