//! `to.shiftBy`: this many offsets from the committed one.

#![deny(clippy::arithmetic_side_effects)]

use super::{Aim, Found, Partition, Problem, Row, Target};
use stream_pipeline_api::{NoCommittedOffset, OutOfRange, Reason, TargetReason};

/// In offsets; negative: back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift(pub i64);

pub(super) const ROW: Row =
    Row { read: |to, _| to.shift_by.map(|by| Ok(Target::Shift(Shift(by)))), no_committed_offset: NoCommittedOffset::Fail };

impl Shift {
    pub(super) fn in_partition(self, Partition { committed, log }: &Partition, out_of_range: OutOfRange) -> Result<Found, Problem> {
        let Some(from) = committed else { return Err((Reason::NoCommittedOffset, "has no committed offset".to_owned())) };
        let wanted = from.offset.saturating_add(self.0);
        let offset = wanted.clamp(log.start, log.end.max(log.start));
        let why = match wanted {
            _ if offset == wanted => TargetReason::Target,
            _ if out_of_range == OutOfRange::Fail => {
                return Err((Reason::OutOfRange, format!("would be at {wanted}, its log is {} to {}", log.start, log.end)));
            }
            below if below < log.start => TargetReason::ClampedToStart,
            _ => TargetReason::ClampedToEnd,
        };
        Ok(Found::new(Aim::commit(offset, None), why))
    }
}
