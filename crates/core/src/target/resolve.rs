//! From a request and a snapshot to offsets. Pure: the same snapshot gives the same plan.

#![deny(clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Found, Partition, Problem};
use crate::{
    Aim, Cause, Committed, Consumed, LogBounds, OtherGroup, PartitionPlan, Plan, Request, TopicPartition, Topics, cost, numbers, words,
};
use stream_pipeline_api::{NoCommittedOffset, Reason, TargetReason};

/// What a plan is made from.
pub struct Snapshot<'a> {
    pub topics: &'a Topics,
    pub committed: &'a Committed,
    pub log: &'a BTreeMap<TopicPartition, LogBounds>,
    /// The time whose first record was looked up in each log.
    pub time: Option<Timestamp>,
    /// The group whose position is copied.
    pub other: Option<&'a OtherGroup>,
    /// How fast the group was seen to read, where it was seen.
    pub consumed: Option<Consumed>,
}

/// # Errors
/// The first problem of a partition, with all partitions that have it; nothing is written then.
pub fn resolve(request: &Request, seen: &Snapshot, now: Timestamp) -> Result<Plan, Cause> {
    let mut rows = Vec::new();
    let mut problems = Problems::default();
    for (at, log) in seen.log.iter().filter(|(at, _)| request.selects(at)) {
        match row(request, at, log, seen) {
            Ok(row) => rows.push(row),
            Err(problem) => problems.add(at, problem),
        }
    }
    problems.first()?;
    if rows.iter().all(|row| row.aim.is_keep()) {
        let text = "nothing is to be moved: every selected partition is skipped by noCommittedOffset or noRecordAtTime, or has no committed offset to delete. Nothing was sent. Choose other topics, or another policy, with a new id";
        return Err(Cause::new(Reason::InvalidTarget, text));
    }
    let rate_milli = numbers::total(seen.log.iter().filter(|(at, _)| request.selects(at)).map(|(_, log)| log.rate_milli));
    let plan = Plan {
        call: None,
        chunk_size: None,
        time: seen.time,
        topic_ids: seen.topics.iter().filter_map(|(name, t)| Some((name.clone(), t.as_ref()?.id.clone()))).collect(),
        average_rate: rate_milli as f64 / 1000.0,
        catch_up: None,
        warnings: warnings(request, &rows, seen, now),
        rows,
    };
    // What was seen is of all that the group reads.
    let moved = plan.rows.iter().filter(|row| row.from.is_some() && !row.aim.is_keep()).count();
    let consumed = seen.consumed.filter(|seen| seen.partitions <= moved).map(|seen| seen.rate);
    let catch_up = cost::catch_up(&plan, consumed);
    Ok(Plan { catch_up: Some(catch_up), ..plan })
}

fn row(request: &Request, at: &TopicPartition, log: &LogBounds, seen: &Snapshot) -> Result<PartitionPlan, Problem> {
    let from = seen.committed.get(at);
    let committed = seen.other.map_or(from, |other| other.committed.get(at));
    let found = match (committed, request.policies.no_committed_offset) {
        (None, NoCommittedOffset::Skip) => Found::new(Aim::Keep, TargetReason::NoCommitSkipped),
        (None, NoCommittedOffset::Fail) => return Err((Reason::NoCommittedOffset, request.to.no_commit())),
        (None, NoCommittedOffset::Target) | (Some(_), _) => {
            request.to.in_partition(&Partition { at, committed, log, time: seen.time }, &request.policies)?
        }
    };
    Ok(PartitionPlan {
        at: at.clone(),
        from: from.cloned(),
        aim: found.aim,
        found_time: found.found_time,
        log_start: log.start,
        log_end: log.end,
        high_watermark: log.high_watermark,
        why: found.why,
    })
}

/// What is wrong, by reason; only the first reason is reported, with all its partitions.
#[derive(Default)]
struct Problems(Vec<(Reason, String)>);

impl Problems {
    fn add(&mut self, at: &TopicPartition, (reason, text): Problem) {
        self.0.push((reason, format!("{at} {text}")));
    }

    fn first(&self) -> Result<(), Cause> {
        let Some(reason) = self.0.first().map(|p| p.0) else { return Ok(()) };
        let of_reason: Vec<_> = self.0.iter().filter(|p| p.0 == reason).map(|p| p.1.as_str()).collect();
        Err(Cause::new(reason, format!("{}. Nothing was sent. {}", words::some_of(&of_reason), remedy(reason))))
    }
}

fn remedy(reason: Reason) -> &'static str {
    match reason {
        Reason::OutOfRange => "Set outOfRange: Clamp to stop at the ends of the log, or another target, with a new id",
        Reason::NoCommittedOffset => {
            "Set noCommittedOffset: Skip (or Target, where `to` does not start from a committed offset), or choose topics that have one, with a new id"
        }
        Reason::PlanChanged => "Let a new dry run show what would be done now, and name its record, with a new id",
        Reason::NoRecordAtTime => "Set noRecordAtTime: Latest or Skip, or an earlier time, with a new id",
        _ => {
            "It was asked several times. Look at the topic's time stamps and at tiered storage; choose a position or shiftBy, with a new id"
        }
    }
}

fn warnings(request: &Request, rows: &[PartitionPlan], seen: &Snapshot, now: Timestamp) -> Vec<String> {
    let of = |pick: &dyn Fn(&PartitionPlan) -> bool| rows.iter().filter(|row| pick(row)).collect();
    let metadata = |row: &PartitionPlan| row.from.as_ref().map_or("", |c| &c.metadata).to_owned();
    let dropped = |row: &PartitionPlan| match &row.aim {
        Aim::Keep => false,
        Aim::Commit(to) => !metadata(row).is_empty() && metadata(row) != to.metadata,
        Aim::Delete => !metadata(row).is_empty(),
    };
    let open =
        ("an open transaction holds the end back; the target is the last stable offset", of(&|r| r.why == TargetReason::TransactionOpen));
    let mut all = vec![open];
    all.extend(request.to.warnings(rows, seen, now));
    all.push((
        "the commit is deleted, since there was none before: there the consumer begins where its auto.offset.reset says",
        of(&|row| row.aim == Aim::Delete),
    ));
    all.push(("committed metadata is kept in this record and dropped from the group", of(&dropped)));
    let said = all.into_iter().filter(|(_, rows)| !rows.is_empty());
    let names = |rows: Vec<&PartitionPlan>| words::some_of(&rows.iter().map(|r| r.at.to_string()).collect::<Vec<_>>());
    let of_rows = said.map(|(what, rows)| words::cut(&format!("{what}: {}", names(rows)), 500));
    request.to.caveat(seen, now).map(|text| words::cut(&text, 500)).into_iter().chain(of_rows).collect()
}
