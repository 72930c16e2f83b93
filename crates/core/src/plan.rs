//! The plan: what is done to every partition, the snapshot it was made from, and how committed offsets compare with both.

#![deny(clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Commit, Committed, ReadBack, TopicPartition, numbers};
use stream_pipeline_api::{PlanTotals, PlatformCall, TargetReason};

/// Targets and snapshot. Rows are ordered by topic and partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The call that is made, on a platform that chooses the target itself. Then there are no rows.
    pub call: Option<PlatformCall>,
    pub rows: Vec<PartitionPlan>,
    /// The time whose first record was looked up in each partition.
    pub time: Option<Timestamp>,
    /// Kafka's ids of the topics, by name.
    pub topic_ids: BTreeMap<String, String>,
    /// How many rows are sent at once; None: all of them.
    pub chunk_size: Option<usize>,
    /// Records per second that are produced to the plan's partitions.
    pub average_rate: f64,
    /// How long the pipeline will read until it has caught up, in words.
    pub catch_up: Option<String>,
    pub warnings: Vec<String>,
}

/// One partition of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionPlan {
    pub at: TopicPartition,
    /// What was committed before.
    pub from: Option<Commit>,
    pub aim: Aim,
    /// Time of the record found, in milliseconds since 1970.
    pub found_time: Option<i64>,
    pub log_start: i64,
    pub log_end: i64,
    pub high_watermark: i64,
    pub why: TargetReason,
}

/// What is done to a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Aim {
    /// Nothing: the committed offset, or its absence, stays.
    #[default]
    Keep,
    Commit(OffsetAndMetadata),
    /// What is committed is deleted, so that the consumer goes where its `auto.offset.reset` says.
    Delete,
}

/// What is committed for a partition (OffsetCommit of the Kafka protocol).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    pub offset: i64,
    pub leader_epoch: Option<i32>,
    pub metadata: String,
}

impl Aim {
    /// Commits this offset, without metadata.
    pub fn commit(offset: i64, leader_epoch: Option<i32>) -> Self {
        Aim::Commit(OffsetAndMetadata { offset, leader_epoch, metadata: String::new() })
    }

    pub fn is_keep(&self) -> bool {
        matches!(self, Aim::Keep)
    }

    /// The offset that is committed.
    pub fn offset(&self) -> Option<i64> {
        match self {
            Aim::Commit(to) => Some(to.offset),
            Aim::Keep | Aim::Delete => None,
        }
    }
}

impl PartitionPlan {
    /// Whether `now` is what the plan wanted. A target equal to the snapshot counts as reached, whatever leader epoch the snapshot had;
    /// metadata is compared only where the plan has some, or changes nothing else.
    fn is_reached(&self, now: Option<&Commit>) -> bool {
        match &self.aim {
            Aim::Keep => self.is_unchanged(now),
            Aim::Delete => now.is_none(),
            Aim::Commit(to) => {
                let same_epoch = |c: &Commit| to.leader_epoch.is_none() || c.leader_epoch == to.leader_epoch || self.is_unchanged(now);
                let differs_in_it = self.from.as_ref().is_some_and(|from| from.offset == to.offset && from.metadata != to.metadata);
                let same_metadata = |c: &Commit| to.metadata.is_empty() && !differs_in_it || c.metadata == to.metadata;
                now.is_some_and(|c| c.offset == to.offset && same_epoch(c) && same_metadata(c))
            }
        }
    }

    /// Whether `now` is what was committed when the plan was made.
    pub(crate) fn is_unchanged(&self, now: Option<&Commit>) -> bool {
        now == self.from.as_ref()
    }

    /// The old position, moved into the log where it was outside: records before the log are gone, and those after it do not exist yet.
    fn comes_from(&self) -> Option<i64> {
        let end = self.high_watermark.max(self.log_end).max(self.log_start);
        self.from.as_ref().map(|commit| commit.offset.max(self.log_start).min(end))
    }
}

impl Plan {
    /// The rows for which something is sent, in the order in which it is: commits before deletions, so that a group that loses its last
    /// commit loses it last.
    pub fn changes(&self) -> impl Iterator<Item = &PartitionPlan> {
        let commits = self.rows.iter().filter(|row| matches!(row.aim, Aim::Commit(_)));
        commits.chain(self.rows.iter().filter(|row| row.aim == Aim::Delete))
    }

    /// Splits the plan into chunks of this many partitions, if it has more.
    #[must_use]
    pub fn in_chunks(self, size: usize) -> Self {
        let size = size.max(1);
        Self { chunk_size: (self.changes().count() > size).then_some(size), ..self }
    }

    /// How many chunks it is sent in.
    pub fn chunks(&self) -> usize {
        self.chunk_size.map_or(1, |size| self.changes().count().div_ceil(size))
    }

    /// How many rows come before this chunk.
    pub fn rows_before(&self, chunk: usize) -> usize {
        self.chunk_size.map_or(if chunk > 1 { usize::MAX } else { 0 }, |size| size.saturating_mul(chunk.saturating_sub(1)))
    }

    /// The rows of one chunk, counted from 1.
    pub fn chunk(&self, chunk: usize) -> impl Iterator<Item = &TopicPartition> {
        let size = self.chunk_size.unwrap_or(usize::MAX);
        self.changes().skip(self.rows_before(chunk)).take(size).map(|row| &row.at)
    }

    /// The first partition that is not where it must be before chunk `chunk` is sent: earlier chunks at their target, all others as in the
    /// snapshot. `again`: those others may already have been sent.
    pub fn misplaced(&self, committed: &Committed, chunk: usize, again: bool) -> Option<&TopicPartition> {
        let sent = self.rows_before(chunk);
        let misplaced = |(n, row): &(usize, &PartitionPlan)| {
            let now = committed.get(&row.at);
            let reached = row.is_reached(now);
            if *n < sent { !reached } else { !(row.is_unchanged(now) || again && reached) }
        };
        self.changes().enumerate().find(misplaced).map(|(_, row)| &row.at)
    }

    pub fn partitions(&self) -> Vec<TopicPartition> {
        self.rows.iter().map(|row| row.at.clone()).collect()
    }

    /// Compares what is committed now with target and snapshot. A target equal to the snapshot counts as reached.
    pub fn read_back(&self, committed: &Committed) -> ReadBack {
        let mut found = ReadBack::default();
        for row in self.changes() {
            let now = committed.get(&row.at);
            let side = if row.is_reached(now) {
                &mut found.at_target
            } else if row.is_unchanged(now) {
                &mut found.as_before
            } else {
                &mut found.elsewhere
            };
            side.insert(row.at.clone());
        }
        found
    }

    /// The first partition that the plan leaves alone and that is no longer as in the snapshot.
    pub fn not_left_alone(&self, committed: &Committed) -> Option<&TopicPartition> {
        self.rows.iter().find(|row| row.aim.is_keep() && !row.is_unchanged(committed.get(&row.at))).map(|row| &row.at)
    }

    /// Totals of records that exist. A deleted commit counts only as a partition: nobody knows where its consumer will start.
    pub fn totals(&self) -> PlanTotals {
        let clamped = |row: &&PartitionPlan| matches!(row.why, TargetReason::ClampedToStart | TargetReason::ClampedToEnd);
        let offsets = || self.changes().filter_map(|row| row.aim.offset().map(|to| (row, to)));
        let moves = || offsets().filter_map(|(row, to)| row.comes_from().map(|from| (from, to)));
        PlanTotals {
            partitions: numbers::count(self.changes().count()),
            left_alone: numbers::count(self.rows.iter().filter(|row| row.aim.is_keep()).count()),
            replayed: numbers::total(moves().map(|(from, to)| numbers::distance(to, from))),
            skipped: numbers::total(moves().map(|(from, to)| numbers::distance(from, to))),
            clamped: numbers::count(self.changes().filter(clamped).count()),
            lag_after: numbers::total(offsets().map(|(row, to)| numbers::distance(to, row.log_end))),
            average_rate: self.average_rate,
            catch_up: self.catch_up.clone(),
        }
    }
}
