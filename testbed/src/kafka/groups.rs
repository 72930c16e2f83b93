//! What groups have committed and who is in them.

use std::collections::BTreeMap;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::{LIMIT, Reach, blocking, client};

/// Commits offsets with metadata, as a consumer that uses assign() does.
pub async fn commit(at: &(impl Reach + ?Sized), group: &str, offsets: &[(&str, i32, i64, &str)]) {
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset, metadata) in offsets {
        let mut element = list.add_partition(topic, *partition);
        element.set_offset(Offset::Offset(*offset)).expect("a valid offset");
        element.set_metadata(*metadata);
    }
    let consumer: BaseConsumer =
        at.config().set("group.id", group).set("enable.auto.commit", "false").create().expect("a consumer is made");
    blocking(move || consumer.commit(&list, CommitMode::Sync).expect("the offsets are committed")).await;
}

/// Committed offset and metadata per partition; a partition without a commit is not in it.
pub async fn committed(at: &(impl Reach + ?Sized), group: &str, topic: &str, partitions: i32) -> BTreeMap<i32, (i64, String)> {
    let consumer: BaseConsumer = at.config().set("group.id", group).create().expect("a consumer is made");
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition(topic, partition);
    }
    let found = blocking(move || consumer.committed_offsets(list, LIMIT).expect("committed offsets can be read")).await;
    let of = |e: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match e.offset() {
        Offset::Offset(offset) => Some((e.partition(), (offset, e.metadata().to_owned()))),
        _ => None,
    };
    found.elements().into_iter().filter_map(of).collect()
}

/// Only the numbers of [`committed`].
pub async fn offsets(at: &(impl Reach + ?Sized), group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
    let found = committed(at, group, topic, partitions).await;
    (0..partitions).map(|p| found.get(&p).map(|(offset, _)| *offset)).collect()
}

/// State of a classic group, as the broker writes it, and the client ids of its members, sorted.
pub async fn members(bootstrap: &str, group: &str) -> Result<(String, Vec<String>), String> {
    let (config, group) = (client(bootstrap), group.to_owned());
    blocking(move || {
        let consumer: BaseConsumer = config.create()?;
        let list = consumer.client().fetch_group_list(Some(&group), LIMIT)?;
        let found = list.groups().first().map(|g| {
            let mut names: Vec<_> = g.members().iter().map(|m| m.client_id().to_owned()).collect();
            names.sort();
            (g.state().to_owned(), names)
        });
        Ok(found.unwrap_or_default())
    })
    .await
    .map_err(|e: rdkafka::error::KafkaError| e.to_string())
}

/// Where a group stands in a partition, and what the partition holds.
pub struct Position {
    pub partition: i32,
    pub committed: Option<i64>,
    pub start: i64,
    pub end: i64,
}

/// Of every partition of the topic.
pub async fn positions(at: &(impl Reach + ?Sized), group: &str, topic: &str) -> Result<Vec<Position>, String> {
    let (config, topic) = (at.config().set("group.id", group).clone(), topic.to_owned());
    blocking(move || {
        let consumer: BaseConsumer = config.create()?;
        let metadata = consumer.fetch_metadata(Some(&topic), LIMIT)?;
        let mut list = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(|t| t.partitions()) {
            list.add_partition(&topic, partition.id());
        }
        let committed = consumer.committed_offsets(list, LIMIT)?;
        let of = |e: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            let (start, end) = consumer.fetch_watermarks(&topic, e.partition(), LIMIT)?;
            let committed = if let Offset::Offset(offset) = e.offset() { Some(offset) } else { None };
            Ok(Position { partition: e.partition(), committed, start, end })
        };
        committed.elements().into_iter().map(of).collect::<Result<_, rdkafka::error::KafkaError>>()
    })
    .await
    .map_err(|e| e.to_string())
}

/// Commits the end or the start of every partition of the topic; the broker refuses while the group has members.
pub async fn move_offsets(at: &(impl Reach + ?Sized), group: &str, topic: &str, to_end: bool) -> Result<(), String> {
    let mut list = TopicPartitionList::new();
    for position in positions(at, group, topic).await? {
        let offset = if to_end { position.end } else { position.start };
        list.add_partition_offset(topic, position.partition, Offset::Offset(offset)).map_err(|e| e.to_string())?;
    }
    let config = at.config().set("group.id", group).set("enable.auto.commit", "false").clone();
    blocking(move || config.create::<BaseConsumer>().and_then(|consumer| consumer.commit(&list, CommitMode::Sync)))
        .await
        .map_err(|e| e.to_string())
}
