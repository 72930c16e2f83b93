//! Topics, records and commits for tests, through the ordinary client.

mod groups;
mod records;

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

pub use groups::*;
pub use records::*;

pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// How a broker is reached: the address of a plain listener, or the settings of a client.
pub trait Reach {
    fn config(&self) -> ClientConfig;
}

impl Reach for str {
    fn config(&self) -> ClientConfig {
        client(self)
    }
}

impl Reach for String {
    fn config(&self) -> ClientConfig {
        client(self)
    }
}

impl Reach for ClientConfig {
    fn config(&self) -> ClientConfig {
        self.clone()
    }
}

impl<T: Reach + ?Sized> Reach for &T {
    fn config(&self) -> ClientConfig {
        (*self).config()
    }
}

pub(crate) fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("allow.auto.create.topics", "false").set("reconnect.backoff.ms", "20");
    config.set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg);
    config
}

/// Whether the broker of this cluster answers, groups included.
pub(crate) fn ready(bootstrap: &str, cluster: &str) -> bool {
    let Ok(consumer) = client(bootstrap).set("group.id", "testbed-ready").create::<BaseConsumer>() else { return false };
    if consumer.client().fetch_cluster_id(Duration::from_secs(5)).is_none_or(|id| id != cluster) {
        return false;
    }
    let mut list = TopicPartitionList::new();
    list.add_partition("testbed-ready", 0);
    // The first question about a group makes the broker create its offsets topic.
    consumer.committed_offsets(list, Duration::from_secs(10)).is_ok()
}

fn admin(at: &(impl Reach + ?Sized)) -> AdminClient<DefaultClientContext> {
    at.config().create().expect("an admin client is made")
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(LIMIT))
}

/// Creates a topic in as many copies as the broker's default says, waits until every partition has a leader.
pub async fn create_topic(at: &(impl Reach + ?Sized), name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
    for (key, value) in settings {
        topic = topic.set(key, value);
    }
    create(at, topic, partitions).await;
}

/// Creates a topic of one copy, each partition of it on the broker of this id.
pub async fn create_topic_on(at: &(impl Reach + ?Sized), name: &str, brokers: &[i32]) {
    let copies: Vec<&[i32]> = brokers.iter().map(std::slice::from_ref).collect();
    let partitions = i32::try_from(brokers.len()).expect("few partitions");
    let topic = NewTopic::new(name, partitions, TopicReplication::Variable(&copies)).set("min.insync.replicas", "1");
    create(at, topic, partitions).await;
}

async fn create(at: &(impl Reach + ?Sized), topic: NewTopic<'_>, partitions: i32) {
    let name = topic.name;
    let results = admin(at).create_topics(&[topic], &options()).await.expect("topics can be created");
    results[0].as_ref().expect("the topic is created");
    let (config, name) = (at.config(), name.to_owned());
    crate::eventually("leaders of a new topic", 3 * LIMIT, async || match led(&config, &name).await? {
        n if n == usize::try_from(partitions).unwrap_or_default() => Ok(()),
        n => Err(format!("{n} partitions have a leader")),
    })
    .await;
}

/// How many partitions of a topic have a leader.
pub async fn led(at: &(impl Reach + ?Sized), topic: &str) -> Result<usize, String> {
    let (config, topic) = (at.config(), topic.to_owned());
    blocking(move || {
        let consumer: BaseConsumer = config.create().expect("a client is made");
        let metadata = consumer.fetch_metadata(Some(&topic), Duration::from_secs(5)).map_err(|e| e.to_string())?;
        Ok(metadata.topics()[0].partitions().iter().filter(|p| p.leader() >= 0).count())
    })
    .await
}

/// A group without members.
pub async fn delete_group(at: &(impl Reach + ?Sized), name: &str) {
    let results = admin(at).delete_groups(&[name], &options()).await.expect("groups can be deleted");
    results[0].as_ref().expect("the group is deleted");
}

pub async fn delete_topic(at: &(impl Reach + ?Sized), name: &str) {
    let results = admin(at).delete_topics(&[name], &options()).await.expect("topics can be deleted");
    results[0].as_ref().expect("the topic is deleted");
}

pub async fn create_partitions(at: &(impl Reach + ?Sized), name: &str, total: usize) {
    let results = admin(at).create_partitions(&[NewPartitions::new(name, total)], &options()).await.expect("partitions can be added");
    results[0].as_ref().expect("the partitions are added");
}

/// Moves the log start.
pub async fn delete_records(at: &(impl Reach + ?Sized), before: &[(&str, i32, i64)]) {
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset) in before {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).expect("a valid offset");
    }
    admin(at).delete_records(&list, &options()).await.expect("records can be deleted");
}

/// The first record at or after a time, in each of these partitions.
pub async fn offsets_at(at: &(impl Reach + ?Sized), topic: &str, partitions: i32, time_ms: i64) -> Vec<Option<i64>> {
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Offset(time_ms)).expect("a valid time");
    }
    let config = at.config().set("group.id", "testbed-times").clone();
    let found = blocking(move || {
        let consumer: BaseConsumer = config.create().expect("a consumer is made");
        consumer.offsets_for_times(list, LIMIT).expect("offsets can be looked up")
    })
    .await;
    let of = |e: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match e.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    };
    found.elements().into_iter().map(of).collect()
}

/// Log start and end.
pub async fn watermarks(at: &(impl Reach + ?Sized), topic: &str, partition: i32) -> (i64, i64) {
    let (config, topic) = (at.config(), topic.to_owned());
    blocking(move || {
        let consumer: BaseConsumer = config.create().expect("a client is made");
        consumer.fetch_watermarks(&topic, partition, LIMIT).expect("watermarks can be read")
    })
    .await
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
