//! The targets: which looks each needs, which policies apply, and which offset it means in a partition.
//!
//! A target is a row here, one in `stream_pipeline_api::TARGETS`, and the function of its file that finds the offset.

mod end;
mod resolve;
mod shift;
mod time;

pub use end::End;
pub use resolve::{Snapshot, resolve};
pub use shift::Shift;
pub use time::Time;

use jiff::Timestamp;

use super::{Aim, Cause, Commit, LogBounds, PartitionPlan};
use stream_pipeline_api::{self as api, NoCommittedOffset, NoRecordAtTime, OutOfRange, Reason, TargetReason};

/// What is asked for, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    End(End),
    Time(Time),
    Shift(Shift),
    /// Wherever the platform moves the pipeline.
    Platform,
}

/// What holds of one field of `spec.offsetReset.to`.
struct Row {
    /// None: the field is not given.
    read: fn(&api::Target, Timestamp) -> Option<Result<Target, Cause>>,
    /// The default policy for a partition without a committed offset.
    no_committed_offset: NoCommittedOffset,
}

const ROWS: [Row; 3] = [end::ROW, time::ROW, shift::ROW];

/// The policies for partitions in which the target is not simply an offset.
#[derive(Clone, Copy, Debug)]
pub struct Policies {
    pub out_of_range: OutOfRange,
    pub no_record_at_time: NoRecordAtTime,
    pub no_committed_offset: NoCommittedOffset,
}

/// One partition, as far as a target needs it.
struct Partition<'a> {
    committed: Option<&'a Commit>,
    log: &'a LogBounds,
}

/// What a target is in one partition.
struct Found {
    aim: Aim,
    why: TargetReason,
    /// Time of the record found, in milliseconds since 1970.
    found_time: Option<i64>,
}

impl Found {
    fn new(aim: Aim, why: TargetReason) -> Self {
        Self { aim, why, found_time: None }
    }
}

/// What is wrong with one partition: the reason, and the text that follows the partition's name.
type Problem = (Reason, String);

impl Target {
    /// # Errors
    /// `InvalidTarget`: not exactly one target is given, or it is impossible now.
    pub fn of(to: &api::Target, now: Timestamp) -> Result<Self, Cause> {
        let mut given = ROWS.iter().filter_map(|row| (row.read)(to, now));
        match (given.next(), given.next()) {
            (Some(target), None) => target,
            _ => Err(Cause::new(Reason::InvalidTarget, format!("spec.offsetReset.to: {}", api::exactly_one()))),
        }
    }

    /// The time whose first record is looked up in each partition.
    pub fn looks_up(&self) -> Option<Timestamp> {
        if let Target::Time(time) = self { Some(time.0) } else { None }
    }

    fn in_partition(&self, partition: &Partition, policies: &Policies) -> Result<Found, Problem> {
        match self {
            Target::End(end) => Ok(end.in_partition(partition)),
            Target::Time(time) => time.in_partition(partition, policies.no_record_at_time),
            Target::Shift(shift) => shift.in_partition(partition, policies.out_of_range),
            Target::Platform => Err((Reason::InvalidTarget, "has no target: the platform decides".to_owned())),
        }
    }

    /// Warnings about these rows, each with the rows it is about.
    fn warnings<'a>(&self, rows: &'a [PartitionPlan], seen: &Snapshot, now: Timestamp) -> Vec<(&'static str, Vec<&'a PartitionPlan>)> {
        match self {
            Target::Time(time) => time.warnings(rows, seen, now),
            Target::End(_) | Target::Shift(_) | Target::Platform => Vec::new(),
        }
    }
}

/// The default policy for partitions without a committed offset.
pub fn default_no_committed_offset(to: Option<&api::Target>) -> NoCommittedOffset {
    // The time does not matter here: it does not change which field is given.
    let row = |to: &api::Target| ROWS.iter().find(|row| (row.read)(to, Timestamp::MAX).is_some());
    to.and_then(row).map_or(NoCommittedOffset::Target, |row| row.no_committed_offset)
}
