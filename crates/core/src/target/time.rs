//! `to.timestamp` and `to.lookback`: the first record at or after a time.

#![deny(clippy::arithmetic_side_effects)]

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Aim, Found, Partition, PartitionPlan, Problem, Row, Snapshot, Target};
use crate::{Cause, numbers, words};
use stream_pipeline_api::{NoCommittedOffset, NoRecordAtTime, Reason, TargetReason};

/// A found record that is further from the time asked for gets a warning: producers' clocks are often off by a whole unit.
const FAR: i64 = 24 * 3600 * 1000;

/// No time zone is further ahead of UTC.
const FARTHEST_ZONE: SignedDuration = SignedDuration::from_hours(14);

/// See the module's own comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    At(Timestamp),
    /// So long before the record is made.
    Back(Duration),
}

pub(super) const TIMESTAMP: Row = Row {
    read: |to, now| to.timestamp.map(|time| not_in_the_future(time, now).map(|()| Target::Time(Time::At(time)))),
    no_committed_offset: |_| NoCommittedOffset::Target,
    in_words: |to| to.timestamp.map(|time| time.to_string()),
};

pub(super) const LOOKBACK: Row = Row {
    read: |to, _| to.lookback.map(|back| Ok(Target::Time(Time::Back(back.into())))),
    no_committed_offset: |_| NoCommittedOffset::Target,
    in_words: |to| to.lookback.map(|back| format!("{back} back")),
};

fn not_in_the_future(time: Timestamp, now: Timestamp) -> Result<(), Cause> {
    if time <= now {
        return Ok(());
    }
    let local = if time.duration_since(now) <= FARTHEST_ZONE {
        ". A local time is written with its own offset, such as +08:00, not with Z"
    } else {
        ""
    };
    let text = format!(
        "spec.offsetReset.to.timestamp {time} is in the future, now is {}; nothing was sent. Give a time that has passed, with a new id{local}",
        words::second(now)
    );
    Err(Cause::new(Reason::InvalidTarget, text))
}

impl Time {
    /// For a record that is made then.
    pub(super) fn before(self, made_at: Timestamp) -> Timestamp {
        match self {
            Time::At(time) => time,
            Time::Back(back) => made_at.saturating_sub(back).unwrap_or(Timestamp::UNIX_EPOCH).max(Timestamp::UNIX_EPOCH),
        }
    }

    /// Given the time that was looked up.
    fn looked_up(self, seen: Option<Timestamp>) -> Option<Timestamp> {
        match self {
            Time::At(time) => Some(time),
            Time::Back(_) => seen,
        }
    }

    pub(super) fn in_partition(self, Partition { log, time, .. }: &Partition, no_record: NoRecordAtTime) -> Result<Found, Problem> {
        let Some(time) = self.looked_up(*time) else { return Err((Reason::LookupInconsistent, "was not looked up by time".to_owned())) };
        if let Some(text) = log.contradiction(numbers::millisecond(time)) {
            return Err((Reason::LookupInconsistent, text));
        }
        let end = || Aim::commit(log.end, log.end_epoch);
        match (log.found, no_record) {
            (Some(_), _) if log.is_gone() => Ok(Found::new(Aim::commit(log.start, log.start_epoch), TargetReason::ClampedToStart)),
            (Some((offset, time, leader_epoch)), _) => {
                let found = if offset > log.end {
                    Found::new(end(), TargetReason::TransactionOpen)
                } else {
                    Found::new(Aim::commit(offset, leader_epoch), TargetReason::Target)
                };
                Ok(Found { found_time: Some(time), ..found })
            }
            (None, NoRecordAtTime::Latest) => Ok(Found::new(end(), TargetReason::NoRecordLatest)),
            (None, NoRecordAtTime::Skip) => Ok(Found::new(Aim::Keep, TargetReason::NoRecordSkipped)),
            (None, NoRecordAtTime::Fail) => Err((Reason::NoRecordAtTime, format!("has no record at or after {time}"))),
        }
    }

    pub(super) fn warnings<'a>(
        self,
        rows: &'a [PartitionPlan],
        seen: &Snapshot,
        now: Timestamp,
    ) -> Vec<(&'static str, Vec<&'a PartitionPlan>)> {
        let Some(time) = self.looked_up(seen.time).map(numbers::millisecond) else { return Vec::new() };
        let now = now.as_millisecond();
        let found = |pick: &dyn Fn(i64) -> bool| rows.iter().filter(|r| r.found_time.is_some_and(pick)).collect();
        let newest = |r: &PartitionPlan| seen.log.get(&r.at).and_then(|l| l.newest);
        let stale =
            |r: &&PartitionPlan| r.why == TargetReason::NoRecordLatest && newest(r).is_some_and(|n| numbers::distance(n, time) > FAR);
        vec![
            ("the record found is stamped in the future (are its times in another unit than milliseconds?)", found(&|f| f > now)),
            ("the record found is more than a day after the time asked for", found(&|f| f <= now && numbers::distance(time, f) > FAR)),
            (
                "the newest record is stamped more than a day before the time asked for (are its times in another unit than milliseconds?)",
                rows.iter().filter(stale).collect(),
            ),
        ]
    }
}
