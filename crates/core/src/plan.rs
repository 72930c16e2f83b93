//! The plan: the absolute target of every partition with the snapshot it was made from, and how the world compares to it.

#![deny(clippy::arithmetic_side_effects)]

use std::collections::{BTreeMap, BTreeSet};

use super::{Commit, Committed, TopicPartition, numbers};
use crate::api::{PlanTotals, PlatformCall, RecordedPlan, TopicPlan, Why};

/// Targets and snapshot. Rows are ordered by topic and partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Where the platform chooses the target: what is called. Then there are no rows.
    pub call: Option<PlatformCall>,
    pub rows: Vec<Row>,
    pub topic_ids: BTreeMap<String, String>,
    /// So many rows are sent at once; None: all of them.
    pub chunk_size: Option<usize>,
    pub average_rate: f64,
    pub warnings: Vec<String>,
}

/// One partition of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub at: TopicPartition,
    /// Committed before.
    pub from: Option<Commit>,
    /// None: left alone.
    pub to: Option<Goal>,
    pub found_time: Option<i64>,
    pub log_start: i64,
    pub log_end: i64,
    pub high_watermark: i64,
    pub why: Why,
}

/// Where a partition is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    pub offset: i64,
    pub leader_epoch: Option<i32>,
}

/// Where the partitions of a plan stand now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub at_target: BTreeSet<TopicPartition>,
    pub as_before: BTreeSet<TopicPartition>,
    pub elsewhere: BTreeSet<TopicPartition>,
}

impl Row {
    /// A target equal to the snapshot counts as reached, whatever epoch the snapshot had.
    fn reached(&self, goal: Goal, now: Option<&Commit>) -> bool {
        let same_epoch = |c: &Commit| goal.leader_epoch.is_none() || c.leader_epoch == goal.leader_epoch || self.unchanged(now);
        now.is_some_and(|c| c.offset == goal.offset && same_epoch(c))
    }

    fn unchanged(&self, now: Option<&Commit>) -> bool {
        now == self.from.as_ref()
    }

    /// Where it comes from, among the records there are: those before the log are gone, and those after it are not there yet.
    fn comes_from(&self) -> Option<i64> {
        let end = self.high_watermark.max(self.log_end).max(self.log_start);
        self.from.as_ref().map(|commit| commit.offset.max(self.log_start).min(end))
    }
}

impl Plan {
    /// The rows that are sent.
    pub fn moves(&self) -> impl Iterator<Item = (&Row, Goal)> {
        self.rows.iter().filter_map(|row| row.to.map(|goal| (row, goal)))
    }

    /// So many partitions are sent at once, where that are not all.
    #[must_use]
    pub fn in_chunks(self, size: usize) -> Self {
        let size = size.max(1);
        Self { chunk_size: (self.moves().count() > size).then_some(size), ..self }
    }

    /// How many chunks it is sent in.
    pub fn chunks(&self) -> usize {
        self.chunk_size.map_or(1, |size| self.moves().count().div_ceil(size))
    }

    /// How many rows come before this chunk.
    pub fn rows_before(&self, chunk: usize) -> usize {
        self.chunk_size.map_or(if chunk > 1 { usize::MAX } else { 0 }, |size| size.saturating_mul(chunk.saturating_sub(1)))
    }

    /// The rows of one chunk, counted from 1.
    pub fn chunk(&self, chunk: usize) -> impl Iterator<Item = &TopicPartition> {
        let size = self.chunk_size.unwrap_or(usize::MAX);
        self.moves().skip(self.rows_before(chunk)).take(size).map(|(row, _)| &row.at)
    }

    /// The first partition that does not stand as it must when these chunks are still to be sent, from `chunk` on: earlier ones at
    /// their target, the others as in the snapshot. `again`: of those, some may have been sent before.
    pub fn misplaced(&self, committed: &Committed, chunk: usize, again: bool) -> Option<&TopicPartition> {
        let sent = self.rows_before(chunk);
        let misplaced = |(n, (row, goal)): &(usize, (&Row, Goal))| {
            let now = committed.get(&row.at);
            let reached = row.reached(*goal, now);
            if *n < sent { !reached } else { !(row.unchanged(now) || again && reached) }
        };
        self.moves().enumerate().find(misplaced).map(|(_, (row, _))| &row.at)
    }

    pub fn partitions(&self) -> Vec<TopicPartition> {
        self.rows.iter().map(|row| row.at.clone()).collect()
    }

    /// Compares what is committed now with target and snapshot. A target equal to the snapshot counts as reached.
    pub fn standing(&self, committed: &Committed) -> Standing {
        let mut standing = Standing::default();
        for (row, goal) in self.moves() {
            let now = committed.get(&row.at);
            let side = if row.reached(goal, now) {
                &mut standing.at_target
            } else if row.unchanged(now) {
                &mut standing.as_before
            } else {
                &mut standing.elsewhere
            };
            side.insert(row.at.clone());
        }
        standing
    }

    /// The first partition to be left alone that is not as in the snapshot.
    pub fn not_left_alone(&self, committed: &Committed) -> Option<&TopicPartition> {
        self.rows.iter().find(|row| row.to.is_none() && !row.unchanged(committed.get(&row.at))).map(|row| &row.at)
    }

    /// Of records that exist.
    pub fn totals(&self) -> PlanTotals {
        let clamped = |row: &&Row| row.to.is_some() && matches!(row.why, Why::ClampedToStart | Why::ClampedToEnd);
        let moves = || self.moves().filter_map(|(row, goal)| row.comes_from().map(|from| (from, goal.offset)));
        PlanTotals {
            partitions: numbers::count(self.moves().count()),
            left_alone: numbers::count(self.rows.iter().filter(|row| row.to.is_none()).count()),
            replayed: numbers::total(moves().map(|(from, to)| numbers::distance(to, from))),
            skipped: numbers::total(moves().map(|(from, to)| numbers::distance(from, to))),
            clamped: numbers::count(self.rows.iter().filter(clamped).count()),
            lag_after: numbers::total(self.moves().map(|(row, goal)| numbers::distance(goal.offset, row.log_end))),
            average_rate: self.average_rate,
        }
    }

    /// One table in columns per topic; a column that says nothing is left out.
    pub fn to_record(&self) -> RecordedPlan {
        let mut topics: Vec<TopicPlan> = Vec::new();
        for row in &self.rows {
            if topics.last().is_none_or(|t| t.name != row.at.topic) {
                let topic_id = self.topic_ids.get(&row.at.topic).cloned().unwrap_or_default();
                topics.push(TopicPlan { name: row.at.topic.clone(), topic_id, ..TopicPlan::default() });
            }
            let Some(topic) = topics.last_mut() else { continue };
            topic.partition.push(row.at.partition);
            topic.from.push(row.from.as_ref().map_or(-1, |c| c.offset));
            topic.from_leader_epoch.push(row.from.as_ref().and_then(|c| c.leader_epoch).unwrap_or(-1));
            topic.from_metadata.push(row.from.as_ref().map(|c| c.metadata.clone()).unwrap_or_default());
            topic.to.push(row.to.map_or(-1, |g| g.offset));
            topic.to_leader_epoch.push(row.to.and_then(|g| g.leader_epoch).unwrap_or(-1));
            topic.found_time.push(row.found_time.unwrap_or(-1));
            topic.log_start.push(row.log_start);
            topic.log_end.push(row.log_end);
            topic.high_watermark.push(row.high_watermark);
            topic.why.push(row.why);
        }
        for t in &mut topics {
            clear_if(&mut t.from_leader_epoch, |&e| e == -1);
            clear_if(&mut t.from_metadata, String::is_empty);
            clear_if(&mut t.to_leader_epoch, |&e| e == -1);
            clear_if(&mut t.found_time, |&f| f == -1);
            clear_if(&mut t.why, |&w| w == Why::Target);
            if t.high_watermark == t.log_end {
                t.high_watermark.clear();
            }
        }
        let totals = self.call.is_none().then(|| self.totals());
        let chunk_size = self.chunk_size.map(|size| i32::try_from(size).unwrap_or(i32::MAX));
        RecordedPlan { topics, totals, call: self.call.clone(), chunk_size, warnings: self.warnings.clone() }
    }

    /// The inverse of [`Plan::to_record`]. A column that is missing or short reads as "nothing".
    pub fn of_record(recorded: &RecordedPlan) -> Self {
        let known = |n: Option<&i64>| n.copied().filter(|&n| n >= 0);
        let epoch = |n: Option<&i32>| n.copied().filter(|&n| n >= 0);
        let average_rate = recorded.totals.as_ref().map_or(0.0, |t| t.average_rate);
        let chunk_size = recorded.chunk_size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
        let mut plan =
            Plan { call: recorded.call.clone(), chunk_size, average_rate, warnings: recorded.warnings.clone(), ..Plan::default() };
        for t in &recorded.topics {
            plan.topic_ids.insert(t.name.clone(), t.topic_id.clone());
            for (i, &partition) in t.partition.iter().enumerate() {
                let log_end = t.log_end.get(i).copied().unwrap_or_default();
                plan.rows.push(Row {
                    at: TopicPartition::new(&t.name, partition),
                    from: known(t.from.get(i)).map(|offset| Commit {
                        offset,
                        leader_epoch: epoch(t.from_leader_epoch.get(i)),
                        metadata: t.from_metadata.get(i).cloned().unwrap_or_default(),
                        pending: false,
                    }),
                    to: known(t.to.get(i)).map(|offset| Goal { offset, leader_epoch: epoch(t.to_leader_epoch.get(i)) }),
                    found_time: known(t.found_time.get(i)),
                    log_start: t.log_start.get(i).copied().unwrap_or_default(),
                    log_end,
                    high_watermark: t.high_watermark.get(i).copied().unwrap_or(log_end),
                    why: t.why.get(i).copied().unwrap_or_default(),
                });
            }
        }
        plan
    }
}

fn clear_if<T>(column: &mut Vec<T>, nothing: impl Fn(&T) -> bool) {
    if column.iter().all(nothing) {
        column.clear();
    }
}
