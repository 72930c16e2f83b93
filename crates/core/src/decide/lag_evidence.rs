//! What two readings, before a reset and after the next start, prove where the platform cannot be read back in between.
//!
//! The platform does not say where a reset goes: to the newest records, or to where the pipeline's `auto.offset.reset` points. So only a
//! difference that cannot be explained without a reset proves one.

#![deny(clippy::arithmetic_side_effects)]

use crate::{RecordView, numbers::distance, words::number};
use stream_pipeline_api::{LagSample, OffsetResetRecord, RecordPhase};

#[derive(Debug, PartialEq)]
pub enum Comparison {
    /// The position moved; the text has the numbers.
    Moved(String),
    /// The pipeline went on from where it was: the reset had no effect.
    NotTakenUp(String),
    /// The readings fit both a reset and none.
    Unproven(String),
}

/// The newest reading, if it was certainly taken after the start that followed the record's reset. With no earlier reading to compare with,
/// any will do.
pub fn after_start(record: &RecordView, newest: Option<LagSample>) -> Option<LagSample> {
    let (_, when_first_seen_running) = record.calls.running?;
    let call = record.plan()?.call.as_ref()?;
    let baseline =
        call.before.and_then(|before| if call.before_was_read_while_inactive { Some(before.at) } else { when_first_seen_running });
    newest.filter(|newest| baseline.is_none_or(|baseline| newest.at > baseline))
}

/// Whether the reset of another record may be why the position is not where it was read `before`: it was sent, and that reading is not
/// certainly from after its effect. That holds for resets before the one that is judged, and for later ones.
pub fn may_explain(other: &OffsetResetRecord, before: LagSample) -> bool {
    let call = other.spec.plan.as_ref().and_then(|plan| plan.call.as_ref());
    let (sent, reading) = match &other.status {
        None => (other.spec.plan.is_some(), None),
        Some(status) => (!matches!(status.phase, RecordPhase::Abandoned | RecordPhase::Planned), status.reading),
    };
    // As in `after_start`: without a reading before, any was taken.
    let after_its_start = reading.filter(|_| call.is_some_and(|call| call.before.is_some()));
    sent && after_its_start.is_none_or(|reading| before.at < reading.at)
}

/// `other`: a record whose reset may explain a difference, see [`may_explain`]. `natural`: the most records the pipeline could have read by
/// itself between the two readings; None: not known.
pub fn compare(before: Option<LagSample>, other: Option<&str>, after: LagSample, natural: Option<i64>) -> Comparison {
    let now = format!("offset {}, lag {}", number(after.offset), number(after.lag));
    let Some(before) = before else {
        return Comparison::Unproven(format!("it now reads at {now}; there is no earlier reading to compare with"));
    };
    let numbers = format!("offset {} and lag {} before, {now} after", number(before.offset), number(before.lag));
    if let Some(other) = other {
        return Comparison::Unproven(format!("{numbers}: the reset of record {other} may have moved it between these readings"));
    }
    let end_before = before.offset.saturating_add(before.lag);
    if after.offset < before.offset {
        return Comparison::Moved(format!("it went back by {} ({numbers})", number(distance(after.offset, before.offset))));
    }
    if after.offset < end_before {
        return Comparison::NotTakenUp(format!("it went on from where it was ({numbers})"));
    }
    match natural {
        Some(natural) if before.lag > natural => {
            let least = distance(natural, before.lag);
            Comparison::Moved(format!("it skipped at least {} ({numbers})", number(least)))
        }
        _ => Comparison::Unproven(format!("{numbers}: it may have moved, or have read on by itself")),
    }
}

#[cfg(test)]
mod tests {
    use stream_pipeline_api::{OffsetResetRecordStatus, Reason};

    use super::*;
    use crate::decide::tests::run_state::closed;

    fn reading(offset: i64, lag: i64) -> LagSample {
        LagSample { offset, lag, at: jiff::Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn only_what_cannot_be_explained_otherwise_proves_a_reset() {
        let word = |before: Option<(i64, i64)>, after: (i64, i64), natural| match compare(
            before.map(|(o, l)| reading(o, l)),
            None,
            reading(after.0, after.1),
            natural,
        ) {
            Comparison::Moved(_) => "moved",
            Comparison::NotTakenUp(_) => "not",
            Comparison::Unproven(_) => "unproven",
        };
        for (sentence, before, after, natural, expected) in [
            ("back to the oldest", Some((1000, 50)), (10, 1100), None, "moved"),
            ("to the newest, more than it could have read", Some((1000, 500_000)), (501_500, 0), Some(10_000), "moved"),
            ("to the newest, or read by itself", Some((1000, 500)), (1600, 0), Some(10_000), "unproven"),
            ("to the newest, rate not known", Some((1000, 500_000)), (501_500, 0), None, "unproven"),
            ("on from where it was", Some((1000, 500_000)), (1200, 500_100), Some(10_000), "not"),
            ("no backlog: nothing could move", Some((1000, 0)), (1000, 0), Some(10_000), "unproven"),
            ("no reading before", None, (1000, 0), Some(10_000), "unproven"),
        ] {
            assert_eq!(word(before, after, natural), expected, "{sentence}");
        }
    }

    /// A record whose reset was closed so, with this reading after its start.
    fn other(phase: Option<RecordPhase>, after: Option<i64>, compared: bool) -> OffsetResetRecord {
        let mut other = closed(RecordPhase::Sent, Reason::NoReadBackWhilePaused).object;
        let call = other.spec.plan.as_mut().unwrap().call.as_mut().unwrap();
        call.before = compared.then(|| at(reading(1, 1), 0));
        other.status = other.status.filter(|_| phase.is_some()).map(|status| OffsetResetRecordStatus {
            phase: phase.unwrap(),
            reading: after.map(|second| at(reading(1, 1), second)),
            ..status
        });
        other
    }

    fn at(reading: LagSample, second: i64) -> LagSample {
        LagSample { at: jiff::Timestamp::from_second(second).unwrap(), ..reading }
    }

    #[test]
    fn only_a_reset_that_was_sent_and_not_seen_to_have_its_effect_before_may_explain_a_difference() {
        let may = |other: &OffsetResetRecord| may_explain(other, at(reading(1, 1), 100));
        for (phase, explains) in [
            (None, true),
            (Some(RecordPhase::Sent), true),
            (Some(RecordPhase::Held), true),
            (Some(RecordPhase::OfAnotherVersion), true),
            (Some(RecordPhase::Abandoned), false),
            (Some(RecordPhase::Planned), false),
        ] {
            assert_eq!(may(&other(phase, None, true)), explains, "{phase:?}");
        }
        for phase in [RecordPhase::Verified, RecordPhase::Held, RecordPhase::Sent] {
            let after = |second, compared| may(&other(Some(phase), Some(second), compared));
            assert!(!after(99, true) && !after(100, true), "{phase:?}: seen by the reading before");
            assert!(after(101, true), "{phase:?}: later than the reading before");
            assert!(after(99, false), "{phase:?}: that reading may be from before its start");
        }
        let mut unsent = other(None, None, true);
        unsent.spec.plan = None;
        assert!(!may(&unsent), "no plan is recorded");
        let mut pruned = other(Some(RecordPhase::Verified), Some(99), true);
        pruned.spec.plan = None;
        assert!(may(&pruned), "what it was compared with is not known any more");
    }
}
