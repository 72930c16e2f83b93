//! Where a group has committed, and the logs it reads, in Kafka's terms.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{TopicPartition, numbers, words};

/// Committed offsets of a group, by partition; a partition without a commit is not in it.
pub type Committed = BTreeMap<TopicPartition, Commit>;

/// One committed offset. `pending`: an open transaction holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    pub offset: i64,
    pub leader_epoch: Option<i32>,
    pub metadata: String,
    pub pending: bool,
}

/// Another group, whose position is copied.
#[derive(Clone, Debug, PartialEq)]
pub struct OtherGroup {
    pub committed: Committed,
    /// Why it may move on, in words.
    pub active: Option<String>,
}

/// How fast a group was seen to read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Consumed {
    /// Records per second, in all partitions together.
    pub rate: f64,
    pub partitions: usize,
}

/// Topics by name; None: does not exist.
pub type Topics = BTreeMap<String, Option<Topic>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Kafka's topic id.
    pub id: String,
    /// Whether each partition has a leader.
    pub partitions: BTreeMap<i32, bool>,
}

/// One partition's log as one look showed it; `backend::kafka::log` says in which order its values were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogBounds {
    /// Read after all other values: what lies before it is gone.
    pub start: i64,
    /// Last stable offset. If no record is found, everything before this offset is older than the time asked for.
    pub end: i64,
    /// Above `end` only where an open transaction holds the end back.
    pub high_watermark: i64,
    /// The first record at or after the time asked for: offset, time, leader epoch. At or after `end` only where an open transaction
    /// holds the end back.
    pub found: Option<(i64, i64, Option<i32>)>,
    /// Time of the newest record just before that look-up, where it was asked for and the record still exists.
    pub newest: Option<i64>,
    /// Records per second over [`Self::RATE_WINDOW`], times 1,000.
    pub rate_milli: i64,
    pub start_epoch: Option<i32>,
    pub end_epoch: Option<i32>,
}

impl LogBounds {
    /// The average input rate is taken over so long, or since the oldest record kept, where that is younger.
    pub const RATE_WINDOW: SignedDuration = SignedDuration::from_mins(10);

    /// Why the look-up of the first record at or after `time` cannot be true, in words.
    pub fn contradiction(&self, time: i64) -> Option<String> {
        let at = words::time_of;
        match (self.found, self.newest) {
            // Tiered storage has been seen to answer "none" although there is a record: the newest record's time shows it.
            (None, Some(newest)) if newest >= time => {
                Some(format!("has no record since {} by the look-up, yet its newest record is of {}", at(time), at(newest)))
            }
            (Some((offset, found, _)), _) if found < time => {
                Some(format!("by the look-up has its first record since {} at offset {offset}, yet that one is of {}", at(time), at(found)))
            }
            (Some((offset, ..)), _) if offset >= self.high_watermark.max(self.start) => {
                let end = self.high_watermark;
                Some(format!("by the look-up has its first record since {} at offset {offset}, yet its log ends at {end}", at(time)))
            }
            _ => None,
        }
    }

    /// The record found lies before the log start: it was deleted since, or the look-up answered late.
    pub fn is_gone(&self) -> bool {
        self.found.is_some_and(|(offset, ..)| offset < self.start)
    }
}

/// How many offsets the group is behind in these logs, where it has committed any.
pub fn lag(log: &BTreeMap<TopicPartition, LogBounds>, committed: &Committed) -> i64 {
    let behind = |(at, log): (&TopicPartition, &LogBounds)| committed.get(at).map(|c| numbers::distance(c.offset.max(log.start), log.end));
    numbers::total(log.iter().filter_map(behind))
}

/// What is about to be done to a group's commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    Commit,
    /// Some are deleted, too, which takes a right of its own.
    CommitAndDelete,
}

impl Change {
    pub fn of(deletes: bool) -> Self {
        if deletes { Self::CommitAndDelete } else { Self::Commit }
    }
}
