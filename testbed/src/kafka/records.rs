//! Records written, one by one, all the time, and in a transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::{LIMIT, Reach, blocking};

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
