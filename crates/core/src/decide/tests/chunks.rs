//! O23, K20: a plan that is sent in chunks is judged as any other.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// A group of this many partitions, committed at 7 and to go to 0.
fn group(partitions: i32) -> Observation {
    let log = LogBounds { start: 0, end: 10, high_watermark: 10, ..LogBounds::default() };
    let topic = Topic { id: "topic-id".to_owned(), partitions: (0..partitions).map(|p| (p, true)).collect() };
    Observation {
        committed: Observed::Read((0..partitions).map(|p| (at(p), Commit { offset: 7, ..Commit::default() })).collect()),
        topics: Observed::Read(BTreeMap::from([("t".to_owned(), Some(topic))])),
        log: Observed::Read((0..partitions).map(|p| (at(p), log)).collect()),
        ..ready()
    }
}

fn decided(seen: &Observation, size: usize) -> Decision {
    let object = pipeline(earliest(), known());
    let timing = Timing { chunk_size: size, ..timing() };
    decide(&Desired::of(&object, crate::facts_of, now().wall).unwrap(), &PriorStatus::of(&object), seen, &timing, now())
}

/// The group of three partitions with chunk `n` announced, in this state and at these offsets.
fn at_chunk(n: i32, state: PlanState, offsets: &[i64]) -> Observation {
    let seen = group(3);
    let Some(Step::WriteAhead { plan, deadline, .. }) = decided(&seen, 1).step else { panic!("a plan is made") };
    let mut object = bare_record(&plan, deadline);
    object.spec.writer.as_mut().unwrap().chunk = n;
    let look = RecordView::new(object, state, RunStateCalls::default());
    Observation { record: Observed::Read(Some(look)), committed: Observed::Read(committed(offsets)), ..seen }
}

fn sends(decision: &Decision) -> Vec<i32> {
    match &decision.step {
        Some(Step::Send { only, .. }) => only.iter().map(|at| at.partition).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn o23_only_the_announced_chunk_is_sent_and_the_next_is_announced_when_it_is_read_back() {
    assert_eq!(sends(&decided(&at_chunk(1, unsent(1), &[7, 7, 7]), 5000)), [0], "the recorded size counts, not the flag");
    assert_eq!(sends(&decided(&at_chunk(2, unsent(1), &[0, 7, 7]), 1)), [1]);
    assert_eq!(sends(&decided(&at_chunk(3, unsent(1), &[0, 0, 7]), 1)), [2]);
    let next = |n: i32, offsets: &[i64]| match decided(&at_chunk(n, sent(&[], 1, 1), offsets), 1).step {
        Some(Step::StartChunk { chunk }) => Some(chunk),
        _ => None,
    };
    assert_eq!((next(1, &[0, 7, 7]), next(2, &[0, 0, 7])), (Some(2), Some(3)));
    let closed = |n: i32, state: PlanState, offsets: &[i64]| closes_as(&decided(&at_chunk(n, state, offsets), 1));
    assert_eq!(closed(3, sent(&[], 1, 1), &[0, 0, 0]), Some((RecordPhase::Verified, Reason::ResetVerified)));
    for (n, offsets) in [(1, [0, 7, 6]), (1, [0, 7, 0]), (2, [3, 0, 7]), (3, [0, 7, 0])] {
        let moved = closed(n, sent(&[], 1, 1), &offsets);
        assert_eq!(moved, Some((RecordPhase::Held, Reason::OffsetsMoved)), "chunk {n}, then {offsets:?}");
    }
}

#[test]
fn o23_a_later_chunk_is_never_unloaded() {
    let partly = Some((RecordPhase::Held, Reason::PartlyApplied));
    let mut member = at_chunk(2, unsent(1), &[0, 7, 7]);
    member.activity = Observed::Read(active());
    let decision = decided(&member, 1);
    assert_eq!(closes_as(&decision), partly, "a member joined");
    let Some(Step::Close(status)) = decision.step else { panic!("closed") };
    assert_eq!(status.verification.map(|v| (v.at_target, v.as_before, v.elsewhere)), Some((1, 2, 0)));
    assert!(status.message.contains("chunk 2 of 3 was not sent"), "{}", status.message);
    let mut unwanted = at_chunk(2, unsent(1), &[0, 7, 7]);
    unwanted.wanted = Observed::Read(false);
    let mut anew = at_chunk(2, unsent(1), &[0, 7, 7]);
    anew.topics = Observed::Read(BTreeMap::from([("t".to_owned(), None)]));
    let gone = |n| PlanState::OursSent {
        loaded_at: now().mono,
        tries: n,
        answer: SendOutcome::NotApplied(Cause::new(Reason::InvalidTarget, "refused before anything was done")),
    };
    for (sentence, seen) in [
        ("the id changed", unwanted),
        ("the topic was made anew", anew),
        ("an earlier chunk moved", at_chunk(2, unsent(1), &[1, 7, 7])),
        ("a later chunk moved", at_chunk(2, unsent(1), &[0, 7, 8])),
        ("the window passed", at_chunk(2, unsent(6), &[0, 7, 7])),
        ("given up", at_chunk(2, PlanState::OursUnsent { loaded_at: now().mono, intact: true, dead: true }, &[0, 7, 7])),
        ("refused as a whole, too often", at_chunk(2, sent(&[(1, 25)], 1, 3), &[0, 7, 7])),
        ("not done", at_chunk(2, gone(1), &[0, 7, 7])),
    ] {
        assert_eq!(closes_as(&decided(&seen, 1)), partly, "{sentence}");
    }
    assert_eq!(sends(&decided(&at_chunk(2, sent(&[(1, 25)], 1, 1), &[0, 7, 7]), 1)), [1], "sent again within its window");
}

#[test]
fn o23_the_retry_sends_what_is_left_of_each_chunk() {
    let second = |n: i32, offsets: &[i64]| {
        let mut seen = at_chunk(n, unsent(1), offsets);
        if let Observed::Read(Some(look)) = &mut seen.record {
            look.object.spec.writer.as_mut().unwrap().attempt = 2;
        }
        decided(&seen, 1)
    };
    let first = second(1, &[0, 7, 7]);
    assert!(matches!(&first.step, Some(Step::Send { only, .. }) if only.is_empty()), "{first:?}");
    assert_eq!(sends(&second(2, &[0, 7, 0])), [1]);
    assert_eq!(closes_as(&second(2, &[7, 7, 7])), Some((RecordPhase::Held, Reason::PartlyApplied)), "an earlier chunk went back");
}

#[test]
fn k20_fifteen_thousand_partitions_are_three_chunks_in_one_object_below_a_mebibyte() {
    let Some(Step::WriteAhead { plan, deadline, .. }) = decided(&group(15_000), 5000).step else { panic!("a plan is made") };
    assert_eq!((plan.chunks(), plan.chunk(3).count()), (3, 5000));
    let object = serde_json::to_vec(&bare_record(&plan, deadline)).unwrap();
    assert!(object.len() < 1 << 20, "{} bytes", object.len());
}

proptest! {
    /// Step by step on a group whose offsets may move, which may get a member, and whose operator may crash, at any moment: nothing is sent
    /// twice, no plan is dropped after something was sent, and `Verified` means that every target was reached.
    #[test]
    fn o23_whatever_happens_between_chunks(partitions in 1i32..9, size in 1usize..9, fault in 0usize..24, kind in 0..3, which in 0i32..9) {
        let mut seen = group(partitions);
        let (mut sent_to, mut closed) = (BTreeSet::new(), None);
        for step in 0..30 {
            if step == fault {
                match (kind, &mut seen.record) {
                    (0, _) => {
                        if let Observed::Read(now) = &mut seen.committed {
                            now.insert(at(which % partitions), Commit { offset: 5, ..Commit::default() });
                        }
                    }
                    (1, _) => seen.activity = Observed::Read(active()),
                    (_, Observed::Read(Some(look))) => look.state = PlanState::InDoubt { since: now().mono - timing().doubt() },
                    _ => {}
                }
            }
            let decision = decided(&seen, size);
            match decision.step {
                Some(Step::WriteAhead { plan, deadline, .. }) => {
                    let look = RecordView::new(bare_record(&plan, deadline), unsent(1), RunStateCalls::default());
                    seen.record = Observed::Read(Some(look));
                }
                Some(Step::Send { plan, only }) => {
                    prop_assert!(only.len() <= size);
                    let Observed::Read(now) = &mut seen.committed else { panic!("read") };
                    for row in plan.changes().filter(|row| only.contains(&row.at)) {
                        prop_assert!(sent_to.insert(row.at.clone()), "{} is sent twice", row.at);
                        now.insert(row.at.clone(), Commit { offset: row.aim.offset().expect("a target"), ..Commit::default() });
                    }
                    let Observed::Read(Some(look)) = &mut seen.record else { panic!("a record") };
                    look.state = sent(&[], 1, 1);
                }
                Some(Step::StartChunk { chunk }) => {
                    let Observed::Read(Some(look)) = &mut seen.record else { panic!("a record") };
                    look.object.spec.writer.as_mut().unwrap().chunk = i32::try_from(chunk).unwrap();
                    look.state = unsent(1);
                }
                Some(Step::DropPlan) => {
                    prop_assert!(sent_to.is_empty(), "unloaded after something was sent");
                    return Ok(());
                }
                Some(Step::Close(status)) => {
                    closed = Some(status.phase);
                    break;
                }
                // A member before the plan: the request waits for it to leave.
                None if sent_to.is_empty() => return Ok(()),
                other => panic!("{other:?}"),
            }
        }
        let at_target = seen.committed.get().unwrap().values().all(|c| c.offset == 0);
        prop_assert!(closed.is_some(), "it ends");
        prop_assert!(closed != Some(RecordPhase::Verified) || at_target && sent_to.len() == usize::try_from(partitions).unwrap());
    }
}
