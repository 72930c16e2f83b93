//! `to.consumerGroup`: where another group is.

use jiff::Timestamp;

use super::{Aim, Found, Partition, Problem, Row, Snapshot, Target};
use crate::words;
use stream_pipeline_api::{NoCommittedOffset, OutOfRange};

/// Its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group(pub String);

pub(super) const ROW: Row = Row {
    read: |to, _| to.consumer_group.clone().map(|name| Ok(Target::Group(Group(name)))),
    no_committed_offset: |_| NoCommittedOffset::Fail,
    in_words: |to| to.consumer_group.as_ref().map(|name| format!("where group {} is", words::name(name))),
};

impl Group {
    /// The other group's metadata belongs to its own application.
    pub(super) fn in_partition(&self, partition: &Partition, out_of_range: OutOfRange) -> Result<Found, Problem> {
        let theirs = partition.start()?;
        let (offset, why) = partition.held_within_log(theirs.offset, out_of_range)?;
        Ok(Found::new(Aim::commit(offset, theirs.leader_epoch.filter(|_| offset == theirs.offset)), why))
    }

    /// A group that is active may have moved on by the time somebody reads the plan.
    pub(super) fn caveat(&self, seen: &Snapshot, now: Timestamp) -> Option<String> {
        let active = seen.other.and_then(|other| other.active.as_deref())?;
        Some(format!("the position of group {} as of {}, which is active: {active}", words::name(&self.0), words::second(now)))
    }
}
