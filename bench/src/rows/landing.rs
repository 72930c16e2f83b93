//! From the write of a plan to the landing of its commit: the time in which a crash leaves the outcome unknown. By the API server's audit
//! log and the time stamps that the coordinator gives.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::Value;

use crate::bed::Bed;
use crate::report::Row;
use crate::stats::Spread;

pub const NAME: &str = "plan to landing";

/// Of all resets of this group in this namespace but the first few. `alone`: how long a commit takes without an operator, by run.
pub async fn rows(bed: &Bed, namespace: &str, group: &str, topic: &str, skip: usize, alone: &[Vec<f64>]) -> Result<Vec<Row>> {
    let written = written(&std::fs::read_to_string(bed.testbed.cluster.audit_log()).context("reading the audit log")?, namespace);
    let mut landed = landed(&bed.testbed.bootstrap(), group, topic).await?;
    // The one that made the group.
    landed.remove(0);
    ensure!(written.len() == landed.len(), "{} plans were written, and {} commits landed", written.len(), landed.len());
    let widths: Vec<_> = written.iter().zip(&landed).skip(skip).map(|(plan, commit)| commit - plan).collect();
    let each = widths.len().div_ceil(alone.len().max(1)).max(1);
    let rounds: Vec<_> = widths.chunks(each).map(<[f64]>::to_vec).collect();
    let commit = Spread::share_of_rounds(alone, 0.5);
    let note = "from the API server's answer to the plan to the broker's time stamp, which is in whole milliseconds";
    Ok(vec![
        Row::new(format!("{NAME}: p50"), "ms", Spread::share_of_rounds(&rounds, 0.5))
            .beside("a commit alone", commit)
            .at_most(15.0)
            .note(note),
        Row::new(format!("{NAME}: p95"), "ms", Spread::share_of_rounds(&rounds, 0.95)).beside("a commit alone, p50", commit),
    ])
}

/// When the records of a namespace were created, in milliseconds of the epoch.
fn written(audit: &str, namespace: &str) -> Vec<f64> {
    let of = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        let at = &line["objectRef"];
        let created = line["verb"] == "create" && at["resource"] == "offsetresetrecords" && at["namespace"] == namespace;
        let time = line["stageTimestamp"].as_str().filter(|_| created)?.parse::<Timestamp>().ok()?;
        Some(time.as_microsecond() as f64 / 1000.0)
    };
    audit.lines().filter_map(of).collect()
}

/// When each commit of a group for partition 0 of a topic was taken, the same.
async fn landed(bootstrap: &str, group: &str, topic: &str) -> Result<Vec<f64>> {
    const NAME: &str = "__consumer_offsets";
    const LIMIT: Duration = Duration::from_secs(30);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "bench-landed").set("enable.partition.eof", "true");
    // A key of an offset: version, group, topic, partition.
    let (group, topic) = (group.to_owned(), topic.to_owned());
    let text = |text: &str| [&i16::try_from(text.len()).unwrap_or_default().to_be_bytes()[..], text.as_bytes()].concat();
    let key = [text(&group), text(&topic), 0i32.to_be_bytes().to_vec()].concat();
    let work = move || -> Result<Vec<f64>> {
        let consumer: BaseConsumer = config.create()?;
        let metadata = consumer.fetch_metadata(Some(NAME), LIMIT)?;
        let mut list = TopicPartitionList::new();
        let mut open = 0;
        for partition in metadata.topics().iter().flat_map(|t| t.partitions()) {
            list.add_partition_offset(NAME, partition.id(), Offset::Beginning)?;
            open += 1;
        }
        consumer.assign(&list)?;
        let (mut times, begun) = (Vec::new(), Instant::now());
        while open > 0 {
            ensure!(begun.elapsed() < LIMIT, "{NAME} was not read to its end within {LIMIT:?}");
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(record)) if record.key().and_then(|bytes| bytes.get(2..)) == Some(&key) => {
                    times.extend(record.timestamp().to_millis().map(|time| time as f64));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
                _ => {}
            }
        }
        Ok(times)
    };
    tokio::task::spawn_blocking(work).await.context("reading the offsets topic")?
}
