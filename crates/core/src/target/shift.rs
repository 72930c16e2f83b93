//! `to.shiftBy`: this many offsets from the committed one.

#![deny(clippy::arithmetic_side_effects)]

use super::{Aim, Found, Partition, Problem, Row, Target};
use crate::words;
use stream_pipeline_api::{NoCommittedOffset, OutOfRange};

/// In offsets; negative: back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift(pub i64);

pub(super) const ROW: Row = Row {
    read: |to, _| to.shift_by.map(|by| Ok(Target::Shift(Shift(by)))),
    no_committed_offset: |_| NoCommittedOffset::Fail,
    in_words: |to| to.shift_by.map(|by| format!("{}{}", if by > 0 { "+" } else { "" }, words::number(by))),
};

impl Shift {
    pub(super) fn in_partition(self, partition: &Partition, out_of_range: OutOfRange) -> Result<Found, Problem> {
        let from = partition.start()?;
        let (offset, why) = partition.within_log(from.offset.saturating_add(self.0), out_of_range)?;
        Ok(Found::new(Aim::commit(offset, None), why))
    }
}
