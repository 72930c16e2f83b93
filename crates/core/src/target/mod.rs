//! The targets: which looks each needs, which policies apply, and which offset it means in a partition.
//!
//! A target is a row here, one in the table of `stream_pipeline_api`'s `targets.rs`, and the function of its file that finds the offset.

mod csv;
#[cfg(test)]
mod drawings;
mod end;
mod group;
mod record;
mod resolve;
mod shift;
mod table;
mod time;

pub use end::End;
pub use group::Group;
pub use record::Recorded;
pub use resolve::{Snapshot, resolve};
pub use shift::Shift;
pub use table::{Table, Written};
pub use time::Time;

use jiff::Timestamp;

use super::{Aim, Cause, Commit, LogBounds, PartitionPlan, TopicPartition, words};
use crate::request::Selection;
use crate::{Observed, Topics};
use stream_pipeline_api::{
    self as api, BackendIdentity, NoCommittedOffset, NoRecordAtTime, OffsetReset, OffsetResetRecord, OutOfRange, Reason, TargetReason,
};

/// What is asked for, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    End(End),
    Time(Time),
    Shift(Shift),
    Table(Table),
    Group(Group),
    Record(Recorded),
    /// Wherever the platform moves the pipeline.
    Platform,
}

/// What holds of one field of `spec.offsetReset.to`.
struct Row {
    /// None: the field is not given.
    read: fn(&api::Target, Timestamp) -> Option<Result<Target, Cause>>,
    /// The default policy for a partition without a committed offset.
    no_committed_offset: fn(&api::Target) -> NoCommittedOffset,
    /// None: the field is not given.
    in_words: fn(&api::Target) -> Option<String>,
}

const ROWS: [Row; 9] =
    [end::ROW, time::TIMESTAMP, time::LOOKBACK, shift::ROW, table::OFFSET, table::OFFSETS, table::OFFSETS_FROM, group::ROW, record::UNDO];

/// What holds a target's numbers, where the request does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    File(api::ConfigMapKeyReference),
    /// The name of an OffsetResetRecord.
    Record(String),
}

/// The policies for partitions in which the target is not simply an offset.
#[derive(Clone, Copy, Debug)]
pub struct Policies {
    pub out_of_range: OutOfRange,
    pub no_record_at_time: NoRecordAtTime,
    pub no_committed_offset: NoCommittedOffset,
}

/// One partition, as far as a target needs it.
struct Partition<'a> {
    at: &'a TopicPartition,
    /// The committed offset that the target starts from, or that a policy asks for.
    committed: Option<&'a Commit>,
    log: &'a LogBounds,
    /// The time whose first record was looked up in the log.
    time: Option<Timestamp>,
}

impl Partition<'_> {
    fn start(&self) -> Result<&Commit, Problem> {
        self.committed.ok_or_else(|| (Reason::NoCommittedOffset, NO_COMMIT.to_owned()))
    }

    /// An offset as far as the log has it for a reader of committed records.
    fn within_log(&self, wanted: i64, out_of_range: OutOfRange) -> Result<(i64, TargetReason), Problem> {
        self.within(self.log.end, wanted, out_of_range)
    }

    /// An offset that a group has held: it may have read records of transactions that are still open.
    fn held_within_log(&self, wanted: i64, out_of_range: OutOfRange) -> Result<(i64, TargetReason), Problem> {
        self.within(self.log.high_watermark.max(self.log.end), wanted, out_of_range)
    }

    fn within(&self, end: i64, wanted: i64, out_of_range: OutOfRange) -> Result<(i64, TargetReason), Problem> {
        let start = self.log.start;
        let offset = wanted.clamp(start, end.max(start));
        let why = match wanted {
            _ if offset == wanted => TargetReason::Target,
            _ if out_of_range == OutOfRange::Fail => {
                return Err((Reason::OutOfRange, format!("would be at {wanted}, its log is {start} to {end}")));
            }
            below if below < start => TargetReason::ClampedToStart,
            _ => TargetReason::ClampedToEnd,
        };
        Ok((offset, why))
    }
}

const NO_COMMIT: &str = "has no committed offset";

/// What a target is in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
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

    /// The time whose first record is looked up in each partition, for a record that is made then.
    pub fn looks_up(&self, made_at: Timestamp) -> Option<Timestamp> {
        if let Target::Time(time) = self { Some(time.before(made_at)) } else { None }
    }

    /// The other group that is read.
    pub fn other_group(&self) -> Option<&str> {
        if let Target::Group(group) = self { Some(&group.0) } else { None }
    }

    /// What is said of a partition that has no committed offset where the target looks for one.
    fn no_commit(&self) -> String {
        self.other_group().map_or_else(|| NO_COMMIT.to_owned(), |group| format!("{NO_COMMIT} in group {}", words::name(group)))
    }

    /// What a person should know of the target as a whole.
    fn caveat(&self, seen: &Snapshot, now: Timestamp) -> Option<String> {
        match self {
            Target::Group(group) => group.caveat(seen, now),
            Target::Record(record) => record.caveat(),
            Target::End(_) | Target::Time(_) | Target::Shift(_) | Target::Table(_) | Target::Platform => None,
        }
    }

    /// What is to be read for its numbers; nothing once it has them.
    pub fn source(&self) -> Option<Source> {
        match self {
            Target::Table(Table::File(file)) => Some(Source::File(file.clone())),
            Target::Record(record) if !record.is_read() => Some(Source::Record(record.name.clone())),
            _ => None,
        }
    }

    /// With the offsets of this CSV, which is for the group at this place.
    pub(crate) fn of_csv(text: &str, place: &BackendIdentity) -> Result<Self, Cause> {
        csv::parse(text, place.parts()[1]).map(|rows| Target::Table(Table::Each(rows)))
    }

    /// With the numbers of this record, for a request that asks for this, of this group.
    pub(crate) fn with_record(
        &self,
        record: Option<&OffsetResetRecord>,
        place: &BackendIdentity,
        asked: &OffsetReset,
    ) -> Observed<Result<Self, Cause>> {
        match self {
            Target::Record(target) => target.read(record, place, asked).map(|read| read.map(Target::Record)),
            _ => Observed::Unread,
        }
    }

    /// Why it cannot be carried out where these partitions do not exist.
    pub fn without(&self, missing: &[(String, Option<TopicPartition>)]) -> Cause {
        let line = |at: &TopicPartition| if let Target::Table(table) = self { table.line(at) } else { None };
        let told = |(name, at): &(String, Option<TopicPartition>)| match at.as_ref().and_then(line) {
            Some(line) => format!("{name} (line {line})"),
            None => name.clone(),
        };
        let missing: Vec<_> = missing.iter().map(told).collect();
        let what = match self {
            Target::Record(record) => return record.gone(&missing),
            Target::Table(table) if table.names().is_some() => "the offsets in spec.offsetReset.to",
            _ => "spec.offsetReset.topics",
        };
        let text = format!("does not exist on this cluster: {}. Nothing was sent; correct {what}, with a new id", words::some_of(&missing));
        Cause::new(Reason::PartitionNotFound, text)
    }

    /// The policies that apply once its numbers are there: a record says by itself what becomes of a partition without a commit.
    pub fn policies(&self, asked: Policies) -> Policies {
        match self {
            Target::Record(_) => Policies { no_committed_offset: NoCommittedOffset::Target, ..asked },
            Target::End(_) | Target::Time(_) | Target::Shift(_) | Target::Table(_) | Target::Group(_) | Target::Platform => asked,
        }
    }

    /// Why its numbers mean nothing in these topics.
    pub fn made_anew(&self, topics: &Topics) -> Option<Cause> {
        if let Target::Record(record) = self { record.made_anew(topics) } else { None }
    }

    /// Whether a commit of the group is deleted, where these partitions have one.
    pub fn deletes(&self, is_committed: impl Fn(&TopicPartition) -> bool) -> bool {
        if let Target::Record(record) = self { record.deletes(is_committed) } else { false }
    }

    /// The partitions that it names itself.
    pub fn names(&self) -> Option<Selection> {
        match self {
            Target::Table(table) => table.names(),
            Target::Record(record) => record.names(),
            Target::End(_) | Target::Time(_) | Target::Shift(_) | Target::Group(_) | Target::Platform => None,
        }
    }

    fn in_partition(&self, partition: &Partition, policies: &Policies) -> Result<Found, Problem> {
        match self {
            Target::End(end) => end.in_partition(partition, policies.out_of_range),
            Target::Time(time) => time.in_partition(partition, policies.no_record_at_time),
            Target::Shift(shift) => shift.in_partition(partition, policies.out_of_range),
            Target::Table(table) => table.in_partition(partition, policies.out_of_range),
            Target::Group(group) => group.in_partition(partition, policies.out_of_range),
            Target::Record(record) => record.in_partition(partition, policies.out_of_range),
            Target::Platform => Err((Reason::InvalidTarget, "has no target: the platform decides".to_owned())),
        }
    }

    /// Warnings about these rows, each with the rows it is about.
    fn warnings<'a>(&self, rows: &'a [PartitionPlan], seen: &Snapshot, now: Timestamp) -> Vec<(&'static str, Vec<&'a PartitionPlan>)> {
        match self {
            Target::Time(time) => time.warnings(rows, seen, now),
            Target::End(_) | Target::Shift(_) | Target::Table(_) | Target::Group(_) | Target::Record(_) | Target::Platform => Vec::new(),
        }
    }
}

/// "Earliest", "2h back", "undo of turbine-91c04e77ab35d2f0".
pub fn in_words(reset: &OffsetReset) -> String {
    let to = reset.to.as_ref().and_then(|to| ROWS.iter().find_map(|row| (row.in_words)(to)));
    let to = to.unwrap_or_else(|| "the platform decides".to_owned());
    match &reset.approved_plan {
        Some(plan) => words::cut(&format!("{to}, as in {plan}"), 512),
        None => words::cut(&to, 512),
    }
}

/// Whether a request names its partitions one by one, so that others which a topic has are not meant.
pub fn names_partitions(reset: &OffsetReset) -> bool {
    reset.to.as_ref().is_some_and(api::Target::names_partitions)
}

/// Whether a request commits what is committed already, so that looking cannot tell whether it was done.
pub fn renews(reset: &OffsetReset) -> bool {
    reset.to.as_ref().is_some_and(|to| to.position == Some(api::Position::Current))
}

/// The default policy for partitions without a committed offset.
pub fn default_no_committed_offset(to: Option<&api::Target>) -> NoCommittedOffset {
    // Which of the fields is given does not depend on the time.
    let default = |to: &api::Target| {
        let row = ROWS.iter().find(|row| (row.read)(to, Timestamp::MAX).is_some());
        row.map(|row| (row.no_committed_offset)(to))
    };
    to.and_then(default).unwrap_or(NoCommittedOffset::Target)
}
