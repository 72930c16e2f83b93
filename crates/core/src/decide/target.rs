//! From a request and a snapshot to absolute numbers. Pure: the same snapshot gives the same plan.

#![deny(clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::{NoCommittedOffset, NoRecordAtTime, OutOfRange, Reason, Why};
use crate::{Cause, Commit, Committed, Goal, LogBounds, Plan, Request, Row, Target, TopicPartition, Topics, numbers, words};

/// A found record further from the time asked for is warned about: clocks of producers are often wrong by whole units.
const FAR: i64 = 24 * 3600 * 1000;

/// What a plan is made from.
pub struct Snapshot<'a> {
    pub topics: &'a Topics,
    pub committed: &'a Committed,
    pub log: &'a BTreeMap<TopicPartition, LogBounds>,
}

/// # Errors
/// The reason of product.md, section 3, with the partitions it is about; nothing is written then.
pub fn resolve(request: &Request, seen: &Snapshot, now: Timestamp) -> Result<Plan, Cause> {
    let mut rows = Vec::new();
    let mut problems = Problems::default();
    for (at, log) in seen.log.iter().filter(|(at, _)| request.selects(at)) {
        match row(request, at, seen.committed.get(at), log) {
            Ok(row) => rows.push(row),
            Err((reason, text)) => problems.add(reason, at, text),
        }
    }
    problems.first()?;
    let rate_milli = numbers::total(seen.log.iter().filter(|(at, _)| request.selects(at)).map(|(_, log)| log.rate_milli));
    let mut plan = Plan {
        call: None,
        chunk_size: None,
        topic_ids: seen.topics.iter().filter_map(|(name, t)| Some((name.clone(), t.as_ref()?.id.clone()))).collect(),
        average_rate: rate_milli as f64 / 1000.0,
        rows,
        warnings: Vec::new(),
    };
    if plan.moves().next().is_none() {
        let text = "every selected partition is skipped by noCommittedOffset or noRecordAtTime: there is nothing to reset. Nothing was sent. Choose other topics, or another policy, with a new id";
        return Err(Cause::new(Reason::InvalidTarget, text));
    }
    plan.warnings = warnings(request, &plan, seen, now);
    Ok(plan)
}

/// One partition. `Err` holds the reason and what is wrong with this partition.
fn row(request: &Request, at: &TopicPartition, from: Option<&Commit>, log: &LogBounds) -> Result<Row, (Reason, String)> {
    let mut row = Row {
        at: at.clone(),
        from: from.cloned(),
        to: None,
        found_time: None,
        log_start: log.start,
        log_end: log.end,
        high_watermark: log.high_watermark,
        why: Why::Target,
    };
    if from.is_none() {
        match request.no_committed_offset {
            NoCommittedOffset::Target => {}
            NoCommittedOffset::Skip => return Ok(Row { why: Why::NoCommitSkipped, ..row }),
            NoCommittedOffset::Fail => return Err((Reason::NoCommittedOffset, "has no committed offset".to_owned())),
        }
    }
    let end = Goal { offset: log.end, leader_epoch: log.end_epoch };
    let goal = match request.to {
        Target::Earliest => Goal { offset: log.start, leader_epoch: log.start_epoch },
        Target::Latest => {
            if log.high_watermark > log.end {
                row.why = Why::TransactionOpen;
            }
            end
        }
        Target::Timestamp(time) => {
            if let Some(text) = log.contradiction(numbers::millisecond(time)) {
                return Err((Reason::LookupInconsistent, text));
            }
            match (log.found, request.no_record_at_time) {
                (Some(_), _) if log.is_gone() => {
                    row.why = Why::ClampedToStart;
                    Goal { offset: log.start, leader_epoch: log.start_epoch }
                }
                (Some((offset, found, leader_epoch)), _) => {
                    row.found_time = Some(found);
                    if offset > log.end {
                        row.why = Why::TransactionOpen;
                        end
                    } else {
                        Goal { offset, leader_epoch }
                    }
                }
                (None, NoRecordAtTime::Latest) => {
                    row.why = Why::NoRecordLatest;
                    end
                }
                (None, NoRecordAtTime::Skip) => return Ok(Row { why: Why::NoRecordSkipped, ..row }),
                (None, NoRecordAtTime::Fail) => return Err((Reason::NoRecordAtTime, format!("has no record at or after {time}"))),
            }
        }
        Target::Platform => return Err((Reason::InvalidTarget, "has no target: the platform decides".to_owned())),
        Target::ShiftBy(shift) => {
            let Some(from) = from else { return Err((Reason::NoCommittedOffset, "has no committed offset".to_owned())) };
            let wanted = from.offset.saturating_add(shift);
            let offset = wanted.clamp(log.start, log.end.max(log.start));
            if offset != wanted {
                if request.out_of_range == OutOfRange::Fail {
                    return Err((Reason::OutOfRange, format!("would be at {wanted}, its log is {} to {}", log.start, log.end)));
                }
                row.why = if wanted < log.start { Why::ClampedToStart } else { Why::ClampedToEnd };
            }
            Goal { offset, leader_epoch: None }
        }
    };
    Ok(Row { to: Some(goal), ..row })
}

/// What is wrong, by reason; the first reason found is reported with all its partitions.
#[derive(Default)]
struct Problems(Vec<(Reason, String)>);

impl Problems {
    fn add(&mut self, reason: Reason, at: &TopicPartition, text: String) {
        self.0.push((reason, format!("{at} {text}")));
    }

    fn first(&self) -> Result<(), Cause> {
        let Some(reason) = self.0.first().map(|p| p.0) else { return Ok(()) };
        let of_reason: Vec<_> = self.0.iter().filter(|p| p.0 == reason).map(|p| p.1.as_str()).collect();
        let remedy = match reason {
            Reason::OutOfRange => "Set outOfRange: Clamp to stop at the ends of the log, or another target, with a new id",
            Reason::NoCommittedOffset => {
                "Set noCommittedOffset: Skip (or Target, where `to` is not shiftBy), or choose topics that have one, with a new id"
            }
            Reason::NoRecordAtTime => "Set noRecordAtTime: Latest or Skip, or an earlier time, with a new id",
            _ => {
                "It was asked several times. Look at the topic's time stamps and at tiered storage; choose a position or shiftBy, with a new id"
            }
        };
        Err(Cause::new(reason, format!("{}. Nothing was sent. {remedy}", words::some_of(&of_reason))))
    }
}

fn warnings(request: &Request, plan: &Plan, seen: &Snapshot, now: Timestamp) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |what: &str, rows: Vec<&Row>| {
        if !rows.is_empty() {
            let names: Vec<_> = rows.iter().map(|r| r.at.to_string()).collect();
            warnings.push(words::cut(&format!("{what}: {}", words::some_of(&names)), 500));
        }
    };
    let open = plan.rows.iter().filter(|r| r.why == Why::TransactionOpen).collect();
    warn("an open transaction holds the end back; the target is the last stable offset", open);
    if let Target::Timestamp(time) = request.to {
        let time = numbers::millisecond(time);
        let found = |pick: &dyn Fn(i64) -> bool| plan.rows.iter().filter(|r| r.found_time.is_some_and(pick)).collect();
        warn(
            "the record found is stamped in the future (are its times in another unit than milliseconds?)",
            found(&|f| f > now.as_millisecond()),
        );
        warn(
            "the record found is more than a day after the time asked for",
            found(&|f| f <= now.as_millisecond() && numbers::distance(time, f) > FAR),
        );
        let stale = |r: &&Row| {
            r.why == Why::NoRecordLatest && seen.log.get(&r.at).and_then(|l| l.newest).is_some_and(|n| numbers::distance(n, time) > FAR)
        };
        warn(
            "the newest record is stamped more than a day before the time asked for (are its times in another unit than milliseconds?)",
            plan.rows.iter().filter(stale).collect(),
        );
    }
    let with_metadata = |r: &&Row| r.to.is_some() && r.from.as_ref().is_some_and(|c| !c.metadata.is_empty());
    warn("committed metadata is kept in this record and dropped from the group", plan.rows.iter().filter(with_metadata).collect());
    warnings
}
