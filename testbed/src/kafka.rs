//! Topics, records and commits for tests, through the ordinary client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

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

/// Writes `count` records whose n-th is stamped `timestamp_ms(n)`.
pub async fn produce(
    at: &(impl Reach + ?Sized),
    topic: &str,
    partition: i32,
    count: i64,
    timestamp_ms: impl Fn(i64) -> i64 + Send + 'static,
) {
    let (mut config, topic) = (at.config(), topic.to_owned());
    blocking(move || {
        let producer: BaseProducer = config.set("linger.ms", "5").create().expect("a producer is made");
        for n in 0..count {
            let record = BaseRecord::<str, str>::to(&topic).partition(partition).payload("x").timestamp(timestamp_ms(n));
            producer.send(record).map_err(|(e, _)| e).expect("the record is queued");
            if n % 1000 == 999 {
                producer.flush(LIMIT).expect("the records are written");
            }
        }
        producer.flush(LIMIT).expect("the records are written");
    })
    .await;
}

/// Writes one record for each key and time stamp, each in a batch of its own.
pub async fn produce_keyed(at: &(impl Reach + ?Sized), topic: &str, partition: i32, records: &[(&str, i64)]) {
    let (config, topic) = (at.config(), topic.to_owned());
    let records: Vec<_> = records.iter().map(|(key, time)| ((*key).to_owned(), *time)).collect();
    blocking(move || {
        let producer: BaseProducer = config.create().expect("a producer is made");
        for (key, time) in records {
            let record = BaseRecord::to(&topic).partition(partition).key(&key).payload("x").timestamp(time);
            producer.send(record).map_err(|(e, _)| e).expect("the record is queued");
            producer.flush(LIMIT).expect("the record is written");
        }
    })
    .await;
}

/// Writes a record a second to each of these partitions, stamped with its time, until it is dropped.
pub struct Producing {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Producing {
    pub fn start(at: &(impl Reach + ?Sized), topic: &str, partitions: i32) -> Self {
        let (mut config, topic, end) = (at.config(), topic.to_owned(), Arc::<AtomicBool>::default());
        let ended = Arc::clone(&end);
        let thread = std::thread::spawn(move || {
            let producer: BaseProducer = config.set("linger.ms", "0").create().expect("a producer is made");
            let pause = Duration::from_secs(1) / partitions.unsigned_abs().max(1);
            for partition in (0..partitions).cycle() {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let record = BaseRecord::<str, str>::to(&topic).partition(partition).payload("x");
                producer.send(record).map_err(|(e, _)| e).expect("the record is queued");
                producer.poll(pause);
            }
            producer.flush(LIMIT).expect("the records are written");
        });
        Self { end, thread: Some(thread) }
    }
}

impl Drop for Producing {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of it is printed; the test sees what is missing.
            let _ = thread.join();
        }
    }
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

/// A transaction that has written `count` records and is still open. Ends with [`OpenTransaction::commit`], or is
/// aborted by the broker.
pub struct OpenTransaction(BaseProducer);

impl OpenTransaction {
    pub async fn begin(at: &(impl Reach + ?Sized), topic: &str, partition: i32, count: i64) -> Self {
        let (mut config, topic) = (at.config(), topic.to_owned());
        blocking(move || {
            let producer: BaseProducer =
                config.set("transactional.id", format!("tx-{topic}-{partition}")).create().expect("a producer is made");
            producer.init_transactions(LIMIT).expect("transactions work");
            producer.begin_transaction().expect("a transaction begins");
            for _ in 0..count {
                producer
                    .send(BaseRecord::<str, str>::to(&topic).partition(partition).payload("x"))
                    .map_err(|(e, _)| e)
                    .expect("the record is queued");
            }
            producer.flush(LIMIT).expect("the records are written");
            Self(producer)
        })
        .await
    }

    /// One that holds offsets of a group, and has written nothing.
    pub async fn holding(at: &(impl Reach + ?Sized), group: &str, offsets: &[(&str, i32, i64)]) -> Self {
        let mut list = TopicPartitionList::new();
        for (topic, partition, offset) in offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).expect("a valid offset");
        }
        let (config, group) = (at.config(), group.to_owned());
        blocking(move || {
            let producer: BaseProducer =
                config.clone().set("transactional.id", format!("tx-{group}")).create().expect("a producer is made");
            let consumer: BaseConsumer = config.clone().set("group.id", &group).create().expect("a consumer is made");
            producer.init_transactions(LIMIT).expect("transactions work");
            producer.begin_transaction().expect("a transaction begins");
            let group = consumer.group_metadata().expect("it has a group");
            producer.send_offsets_to_transaction(&list, &group, LIMIT).expect("the offsets are sent");
            Self(producer)
        })
        .await
    }

    pub async fn commit(self) {
        blocking(move || self.0.commit_transaction(LIMIT).expect("the transaction commits")).await;
    }

    pub async fn abort(self) {
        blocking(move || self.0.abort_transaction(LIMIT).expect("the transaction is aborted")).await;
    }
}

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

/// Log start and end.
pub async fn watermarks(at: &(impl Reach + ?Sized), topic: &str, partition: i32) -> (i64, i64) {
    let (config, topic) = (at.config(), topic.to_owned());
    blocking(move || {
        let consumer: BaseConsumer = config.create().expect("a client is made");
        consumer.fetch_watermarks(&topic, partition, LIMIT).expect("watermarks can be read")
    })
    .await
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

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
