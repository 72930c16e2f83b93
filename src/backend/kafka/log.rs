//! What the brokers say of logs: their bounds, the first record at or after a time, the input rate.
//!
//! Logs grow and are cut while they are asked about, and each question is answered at another moment. So the order of the questions decides
//! what two answers prove together; in the other order they would prove nothing:
//!
//! | asked first | asked then | what follows |
//! | --- | --- | --- |
//! | high watermark | last stable offset | if it is below the high watermark from before, a transaction holds it back |
//! | last stable offset | record at the time | if there is none, all that lies before that offset is older |
//! | newest record | record at the time | if there is none although the newest is not older, the look-up missed it |
//! | record at the time | last stable offset | if it is not above the record found, a transaction holds it back |
//! | record at the time | high watermark | if it is not above the record found, there is no such record |
//! | newest record, record at the time | log start | what lies before the log start is gone |

#![deny(clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::admin::{IsolationLevel, KafkaCode, ListedOffset, OffsetSpec};
use super::{Kafka, failure};
use stream_pipeline_core::{Cause, LogBounds, TopicPartition, numbers};

const RATE_WINDOW_MS: i64 = LogBounds::RATE_WINDOW.as_secs() * 1000;

/// How often in all a look-up is made that cannot be true: what it names may have been deleted or compacted at that moment.
const LOOKS: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

type Listed = BTreeMap<TopicPartition, ListedOffset>;

impl Kafka {
    /// Start, end and input rate of each log; with `time` also the first record at or after it, and the newest record.
    ///
    /// # Errors
    /// As [`Kafka::identity`]; `AverageRateUnavailable` (61168) where a partition's log cannot be read.
    pub async fn log(
        &self,
        partitions: &[TopicPartition],
        time: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<BTreeMap<TopicPartition, LogBounds>, Cause> {
        let (time, now) = (time.map(numbers::millisecond), now.as_millisecond());
        let mut logs = self.look(partitions, time, now).await?;
        for _ in 1..LOOKS {
            let doubtful = |log: &LogBounds| time.is_some_and(|time| log.is_gone() || log.contradiction(time).is_some());
            let again: Vec<_> = logs.iter().filter(|(_, log)| doubtful(log)).map(|(at, _)| at.clone()).collect();
            if again.is_empty() {
                break;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
            logs.extend(self.look(&again, time, now).await?);
        }
        Ok(logs)
    }

    /// One look at each of these logs, in the order of the table above.
    async fn look(&self, partitions: &[TopicPartition], time: Option<i64>, now: i64) -> Result<BTreeMap<TopicPartition, LogBounds>, Cause> {
        use IsolationLevel::{ReadCommitted, ReadUncommitted};
        let by_time = async |spec: OffsetSpec| match time {
            Some(_) => self.list(partitions, spec, ReadUncommitted).await,
            None => Ok(Listed::new()),
        };
        let window = OffsetSpec::Timestamp(now.saturating_sub(RATE_WINDOW_MS).max(0));
        let (high, recent, newest) = tokio::try_join!(
            self.list(partitions, OffsetSpec::Latest, ReadUncommitted),
            self.list(partitions, window, ReadUncommitted),
            by_time(OffsetSpec::MaxTimestamp),
        )?;
        let end = self.list(partitions, OffsetSpec::Latest, ReadCommitted).await?;
        let found = by_time(OffsetSpec::Timestamp(time.unwrap_or_default())).await?;
        let beyond = |at: &&TopicPartition| matches!((found.get(at), end.get(at)), (Some(found), Some(end)) if found.offset >= end.offset);
        let beyond: Vec<_> = partitions.iter().filter(beyond).cloned().collect();
        let (high_after, end_after) = tokio::try_join!(
            self.list(&beyond, OffsetSpec::Latest, ReadUncommitted),
            self.list(&beyond, OffsetSpec::Latest, ReadCommitted),
        )?;
        let start = self.list(partitions, OffsetSpec::Earliest, ReadUncommitted).await?;
        let mut logs = BTreeMap::new();
        for at in partitions {
            let bound = |listed: Option<&ListedOffset>| {
                let bound = listed.filter(|bound| bound.offset >= 0).map(|bound| (bound.offset, bound.leader_epoch));
                bound.ok_or_else(|| failure::of_log(at, KafkaCode::UNKNOWN, &self.who))
            };
            let there = |listed: Option<&ListedOffset>| listed.filter(|found| found.offset >= 0).cloned();
            let found = there(found.get(at));
            let (start, start_epoch) = bound(start.get(at))?;
            let (end, end_epoch) = bound(end_after.get(at).or(end.get(at)))?;
            // The start was read last, and no end lies before it.
            let (end, end_epoch) = if end < start { (start, start_epoch) } else { (end, end_epoch) };
            // This high watermark was read together with the last stable offset: it counts only if the record found lies beyond that.
            let held = found.as_ref().is_some_and(|found| found.offset >= end);
            let after = high_after.get(at).filter(|_| held).map_or(end, |high| high.offset);
            let mut log = LogBounds {
                start,
                end,
                high_watermark: bound(high.get(at))?.0.max(end).max(after),
                found: found.map(|f| (f.offset, f.timestamp, f.leader_epoch)),
                // After deletions brokers may still name a newest record that is gone.
                newest: there(newest.get(at)).filter(|newest| newest.offset >= start).map(|newest| newest.timestamp),
                rate_milli: 0,
                start_epoch,
                end_epoch,
            };
            if let Some(first) = there(recent.get(at)) {
                log.rate_milli = rate_milli(&first, &log, now);
            }
            logs.insert(at.clone(), log);
        }
        Ok(logs)
    }

    async fn list(&self, partitions: &[TopicPartition], spec: OffsetSpec, isolation: IsolationLevel) -> Result<Listed, Cause> {
        if partitions.is_empty() {
            return Ok(Listed::new());
        }
        let wanted: Vec<_> = partitions.iter().map(|at| (at.clone(), spec)).collect();
        let topics = partitions.iter().map(|at| at.topic.as_str());
        let listed = self.client.list_offsets(&wanted, isolation, self.deadline).await.map_err(|e| self.cause_about(&e, topics))?;
        listed
            .into_iter()
            .map(|(at, found)| found.map(|found| (at.clone(), found)).map_err(|code| failure::of_log(&at, code, &self.who)))
            .collect()
    }
}

/// Thousandths of a record per second since `first`, the first record of the window.
fn rate_milli(first: &ListedOffset, log: &LogBounds, now: i64) -> i64 {
    let records = numbers::distance(first.offset.max(log.start), log.high_watermark);
    let whole = first.offset > log.start;
    let since = if whole { RATE_WINDOW_MS } else { now.saturating_sub(first.timestamp).clamp(1_000, RATE_WINDOW_MS) };
    records.saturating_mul(1_000_000).checked_div(since).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)] // The tests choose their own numbers.
mod tests;
