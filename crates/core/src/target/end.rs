//! `to.position`: an end of the log, or where the group is.

use super::{Aim, Found, Partition, Problem, Row, Target};
use crate::OffsetAndMetadata;
use stream_pipeline_api::{NoCommittedOffset, OutOfRange, Position, TargetReason};

/// See the module's own comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Earliest,
    /// The last stable offset: it never jumps over an open transaction.
    Latest,
    /// What is committed, once more.
    Current,
}

pub(super) const ROW: Row = Row {
    read: |to, _| {
        to.position.map(|position| {
            Ok(Target::End(match position {
                Position::Earliest => End::Earliest,
                Position::Latest => End::Latest,
                Position::Current => End::Current,
            }))
        })
    },
    no_committed_offset: |to| match to.position {
        Some(Position::Current) => NoCommittedOffset::Fail,
        Some(Position::Earliest | Position::Latest) | None => NoCommittedOffset::Target,
    },
    in_words: |to| {
        to.position.map(|position| match position {
            Position::Earliest => "Earliest".to_owned(),
            Position::Latest => "Latest".to_owned(),
            Position::Current => "Current".to_owned(),
        })
    },
};

impl End {
    pub(super) fn in_partition(self, partition: &Partition, out_of_range: OutOfRange) -> Result<Found, Problem> {
        let log = partition.log;
        Ok(match self {
            End::Earliest => Found::new(Aim::commit(log.start, log.start_epoch), TargetReason::Target),
            End::Latest => {
                let open = log.high_watermark > log.end;
                let why = if open { TargetReason::TransactionOpen } else { TargetReason::Target };
                Found::new(Aim::commit(log.end, log.end_epoch), why)
            }
            End::Current => {
                let from = partition.start()?;
                match partition.held_within_log(from.offset, out_of_range)? {
                    (offset, why) if offset == from.offset => {
                        let (leader_epoch, metadata) = (from.leader_epoch, from.metadata.clone());
                        Found::new(Aim::Commit(OffsetAndMetadata { offset, leader_epoch, metadata }), why)
                    }
                    (offset, why) => Found::new(Aim::commit(offset, None), why),
                }
            }
        })
    }
}
