//! Where to move to: what each target needs to be looked at, which policies it takes, and what it is in a partition.
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
    /// Wherever the platform moves it.
    Platform,
}

/// What holds of one field of `spec.offsetReset.to`.
struct Row {
    /// None: the field is not given.
    read: fn(&api::Target, Timestamp) -> Option<Result<Target, Cause>>,
    /// A partition without a committed offset, where nothing is said of it.
    no_committed_offset: NoCommittedOffset,
}

const ROWS: [Row; 3] = [end::ROW, time::ROW, shift::ROW];

/// What is said of the partitions for which the target is not simply an offset.
#[derive(Clone, Copy, Debug)]
pub struct Policies {
    pub out_of_range: OutOfRange,
    pub no_record_at_time: NoRecordAtTime,
    pub no_committed_offset: NoCommittedOffset,
}

/// One partition, as a target sees it.
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

/// What is wrong with one partition: the reason, and words that follow its name.
type Problem = (Reason, String);

impl Target {
    /// # Errors
    /// `InvalidTarget`: not exactly one is given, or it cannot mean anything now.
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

    /// What is worth a second look in these rows: what is said, and of which.
    fn warnings<'a>(&self, rows: &'a [PartitionPlan], seen: &Snapshot, now: Timestamp) -> Vec<(&'static str, Vec<&'a PartitionPlan>)> {
        match self {
            Target::Time(time) => time.warnings(rows, seen, now),
            Target::End(_) | Target::Shift(_) | Target::Platform => Vec::new(),
        }
    }
}

/// What is done with a partition without a committed offset, where a request says nothing of it.
pub fn default_no_committed_offset(to: Option<&api::Target>) -> NoCommittedOffset {
    // Which of the fields is given does not depend on the time.
    let row = |to: &api::Target| ROWS.iter().find(|row| (row.read)(to, Timestamp::MAX).is_some());
    to.and_then(row).map_or(NoCommittedOffset::Target, |row| row.no_committed_offset)
}
