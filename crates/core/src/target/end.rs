//! `to.position`: an end of the log.

use super::{Aim, Found, Partition, Row, Target};
use stream_pipeline_api::{NoCommittedOffset, Position, TargetReason};

/// See the module's own comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Earliest,
    /// The last stable offset: it never jumps over an open transaction.
    Latest,
}

pub(super) const ROW: Row = Row {
    read: |to, _| {
        to.position.map(|position| {
            Ok(Target::End(match position {
                Position::Earliest => End::Earliest,
                Position::Latest => End::Latest,
            }))
        })
    },
    no_committed_offset: NoCommittedOffset::Target,
};

impl End {
    pub(super) fn in_partition(self, Partition { log, .. }: &Partition) -> Found {
        match self {
            End::Earliest => Found::new(Aim::commit(log.start, log.start_epoch), TargetReason::Target),
            End::Latest => {
                let open = log.high_watermark > log.end;
                let why = if open { TargetReason::TransactionOpen } else { TargetReason::Target };
                Found::new(Aim::commit(log.end, log.end_epoch), why)
            }
        }
    }
}
