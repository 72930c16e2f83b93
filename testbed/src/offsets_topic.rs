//! What the coordinators of groups have written: the one place that tells how often a commit landed, whoever sent it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::kafka::{LIMIT, Reach};

const NAME: &str = "__consumer_offsets";

/// Offsets by topic and partition, oldest first.
pub type Landed = BTreeMap<(String, i32), Vec<i64>>;

/// Every commit of a group that ever landed: from the log that its coordinator keeps.
pub async fn landed(at: &(impl Reach + ?Sized), group: &str) -> Landed {
    landed_by_group(at).await.remove(group).unwrap_or_default()
}

/// As [`landed`], of every group.
pub async fn landed_by_group(at: &(impl Reach + ?Sized)) -> BTreeMap<String, Landed> {
    let offsets = |all: Vec<Written>| all.into_iter().map(|commit| commit.offset).collect();
    let of_group = |all: Commits| all.into_iter().map(|(at, commits)| (at, offsets(commits))).collect();
    commits_by_group(at).await.into_iter().map(|(group, all)| (group, of_group(all))).collect()
}

/// A commit as its coordinator wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub offset: i64,
    pub leader_epoch: Option<i32>,
}

/// Commits by topic and partition, oldest first.
pub type Commits = BTreeMap<(String, i32), Vec<Written>>;

/// As [`landed`], with the leader epochs.
pub async fn commits(at: &(impl Reach + ?Sized), group: &str) -> Commits {
    commits_by_group(at).await.remove(group).unwrap_or_default()
}

async fn commits_by_group(at: &(impl Reach + ?Sized)) -> BTreeMap<String, Commits> {
    let mut config = at.config();
    config.set("group.id", "testbed-landed").set("enable.partition.eof", "true").set("auto.offset.reset", "earliest");
    crate::kafka::blocking(move || {
        let consumer: BaseConsumer = config.create().expect("a consumer is made");
        let metadata = consumer.fetch_metadata(Some(NAME), LIMIT).expect("its metadata can be read");
        let (mut list, mut open) = (TopicPartitionList::new(), BTreeSet::new());
        for partition in metadata.topics().iter().flat_map(|t| t.partitions()) {
            list.add_partition_offset(NAME, partition.id(), Offset::Beginning).expect("a valid offset");
            open.insert(partition.id());
        }
        consumer.assign(&list).expect("partitions can be assigned");
        let mut found: BTreeMap<String, Commits> = BTreeMap::new();
        let begun = Instant::now();
        while !open.is_empty() {
            assert!(begun.elapsed() < LIMIT, "partitions {open:?} of {NAME} were not read to their end");
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(record)) => {
                    if let Some((group, topic, partition, commit)) = commit_of(record.key(), record.payload()) {
                        found.entry(group).or_default().entry((topic, partition)).or_default().push(commit);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                }
                // A broker that is down is waited for.
                Some(Err(_)) | None => {}
            }
        }
        found
    })
    .await
}

/// A record of the offsets topic that is a commit: group, topic, partition, what was committed.
fn commit_of(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<(String, String, i32, Written)> {
    fn take<'a>(from: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
        let (head, rest) = from.split_at_checked(count)?;
        *from = rest;
        Some(head)
    }
    fn short(from: &mut &[u8]) -> Option<i16> {
        Some(i16::from_be_bytes(*take(from, 2)?.first_chunk()?))
    }
    fn text(from: &mut &[u8]) -> Option<String> {
        let length = usize::try_from(short(from)?).ok()?;
        String::from_utf8(take(from, length)?.to_vec()).ok()
    }
    let (mut key, mut value) = (key?, value?);
    // Keys of version 2 and up are of groups, not of offsets.
    if short(&mut key)? > 1 {
        return None;
    }
    let (group, topic) = (text(&mut key)?, text(&mut key)?);
    let partition = i32::from_be_bytes(*take(&mut key, 4)?.first_chunk()?);
    let version = short(&mut value)?;
    let offset = i64::from_be_bytes(*take(&mut value, 8)?.first_chunk()?);
    // Values have an epoch since version 3; -1 stands for none.
    let leader_epoch = if version < 3 { None } else { Some(i32::from_be_bytes(*take(&mut value, 4)?.first_chunk()?)) };
    Some((group, topic, partition, Written { offset, leader_epoch: leader_epoch.filter(|epoch| *epoch >= 0) }))
}

/// Id of the node that leads the group: it keeps the group's partition of the offsets topic.
pub async fn coordinator(at: &(impl Reach + ?Sized), group: &str) -> Result<i32, String> {
    // As Java hashes a string.
    let hash = group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let config = at.config();
    crate::kafka::blocking(move || {
        let consumer: BaseConsumer = config.create().map_err(|e| e.to_string())?;
        let metadata = consumer.fetch_metadata(Some(NAME), LIMIT).map_err(|e| e.to_string())?;
        let partitions = metadata.topics()[0].partitions();
        let count = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        let of = hash.checked_abs().unwrap_or(0).checked_rem(count).ok_or("no offsets topic")?;
        partitions.iter().find(|p| p.id() == of && p.leader() >= 0).map(|p| p.leader()).ok_or_else(|| "no leader".to_owned())
    })
    .await
}
