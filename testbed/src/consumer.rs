//! Real consumers, in threads that end with their handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::Reach;

/// A consumer that runs until it is stopped or dropped; it leaves its group cleanly.
pub struct Consumer {
    stop: Arc<AtomicBool>,
    /// Member: partitions assigned. assign(): commits made.
    progress: Arc<AtomicI64>,
    thread: Option<JoinHandle<()>>,
}

/// How a member joins its group.
pub struct Member<'a> {
    pub group: &'a str,
    pub topic: &'a str,
    pub client_id: &'a str,
    /// With the group protocol of KIP-848, else the classic one.
    pub kip848: bool,
    /// Makes it a static member, which stays in the group for its session after its end.
    pub instance_id: Option<&'a str>,
}

impl Consumer {
    /// Subscribes with the classic group protocol.
    pub fn classic(at: &(impl Reach + ?Sized), group: &str, topic: &str, client_id: &str) -> Self {
        let mut config = at.config();
        config.set("session.timeout.ms", "6000");
        Self::subscribed(config, group, topic, client_id)
    }

    /// Subscribes with the group protocol of KIP-848.
    pub fn kip848(at: &(impl Reach + ?Sized), group: &str, topic: &str, client_id: &str) -> Self {
        let mut config = at.config();
        config.set("group.protocol", "consumer");
        Self::subscribed(config, group, topic, client_id)
    }

    /// Reads at most so many records a second, and commits what it has read; without a commit it begins at `from`,
    /// `latest` or `earliest`.
    pub fn committing(at: &(impl Reach + ?Sized), group: &str, topic: &str, client_id: &str, from: &str, per_second: u32) -> Self {
        let mut config = at.config();
        config.set("session.timeout.ms", "6000").set("group.id", group).set("client.id", client_id).set("auto.offset.reset", from);
        config.set("enable.auto.commit", "true").set("auto.commit.interval.ms", "100");
        let topic = topic.to_owned();
        Self::run(config, move |consumer, stop, progress| {
            consumer.subscribe(&[&topic]).expect("a subscription");
            let (mut second, mut read) = (Instant::now(), 0);
            while !stop.load(Ordering::Acquire) {
                if second.elapsed() > Duration::from_secs(1) {
                    (second, read) = (Instant::now(), 0);
                }
                if read >= per_second {
                    std::thread::park_timeout(Duration::from_millis(10));
                    continue;
                }
                read += u32::from(consumer.poll(Duration::from_millis(50)).is_some_and(|r| r.is_ok()));
                let assigned = consumer.assignment().map_or(0, |a| a.count());
                progress.store(i64::try_from(assigned).unwrap_or_default(), Ordering::Release);
            }
            consumer.unsubscribe();
        })
    }

    /// Subscribes as the consumer of a pod does: reads all there is, and commits what it has read.
    pub fn member(at: &(impl Reach + ?Sized), member: &Member<'_>) -> Self {
        let mut config = at.config();
        config.set("group.id", member.group).set("client.id", member.client_id).set("auto.offset.reset", "earliest");
        config.set("enable.auto.commit", "true").set("auto.commit.interval.ms", "100");
        // The newer protocol leaves the session to the broker, and refuses the setting.
        if member.kip848 {
            config.set("group.protocol", "consumer");
        } else {
            config.set("session.timeout.ms", "6000");
        }
        if let Some(id) = member.instance_id {
            config.set("group.instance.id", id);
        }
        let (topic, dynamic) = (member.topic.to_owned(), member.instance_id.is_none());
        Self::run(config, move |consumer, stop, progress| {
            consumer.subscribe(&[&topic]).expect("a subscription");
            while !stop.load(Ordering::Acquire) {
                let _ = consumer.poll(Duration::from_millis(50));
                let assigned = consumer.assignment().map_or(0, |a| a.count());
                progress.store(i64::try_from(assigned).unwrap_or_default(), Ordering::Release);
            }
            // It would take a static member out of the group, too, which other clients do not: it is to stay for its session.
            if dynamic {
                consumer.unsubscribe();
            }
        })
    }

    fn subscribed(mut config: ClientConfig, group: &str, topic: &str, client_id: &str) -> Self {
        config.set("group.id", group).set("client.id", client_id).set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
        let topic = topic.to_owned();
        Self::run(config, move |consumer, stop, progress| {
            consumer.subscribe(&[&topic]).expect("a subscription");
            while !stop.load(Ordering::Acquire) {
                let _ = consumer.poll(Duration::from_millis(50));
                let assigned = consumer.assignment().map_or(0, |a| a.count());
                progress.store(i64::try_from(assigned).unwrap_or_default(), Ordering::Release);
            }
            consumer.unsubscribe();
        })
    }

    /// Reads one partition by assign() and commits an offset that advances by one: never a member.
    pub fn assigned(at: &(impl Reach + ?Sized), group: &str, topic: &str, partition: i32, every: Duration) -> Self {
        let mut config = at.config();
        config.set("group.id", group).set("enable.auto.commit", "false");
        let topic = topic.to_owned();
        Self::run(config, move |consumer, stop, progress| {
            let mut next = Instant::now();
            while !stop.load(Ordering::Acquire) {
                if Instant::now() < next {
                    std::thread::park_timeout(Duration::from_millis(20));
                    continue;
                }
                next += every;
                let offset = progress.load(Ordering::Acquire) + 1;
                let mut list = TopicPartitionList::new();
                list.add_partition_offset(&topic, partition, Offset::Offset(offset)).expect("a valid offset");
                if consumer.commit(&list, CommitMode::Sync).is_ok() {
                    progress.store(offset, Ordering::Release);
                }
            }
        })
    }

    fn run(config: ClientConfig, body: impl FnOnce(&BaseConsumer, &AtomicBool, &AtomicI64) + Send + 'static) -> Self {
        let (stop, progress) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let (stopped, reached) = (Arc::clone(&stop), Arc::clone(&progress));
        let thread = std::thread::spawn(move || {
            let consumer: BaseConsumer = config.create().expect("a consumer is made");
            body(&consumer, &stopped, &reached);
        });
        Self { stop, progress, thread: Some(thread) }
    }

    /// Waits until it has partitions, or has committed.
    pub async fn wait(&self) -> &Self {
        crate::eventually("a consumer to be assigned partitions, or to commit", Duration::from_secs(40), async || {
            match self.progress.load(Ordering::Acquire) {
                0 => Err("nothing yet".to_owned()),
                _ => Ok(()),
            }
        })
        .await;
        self
    }

    /// Begins to end; [`Consumer::ended`] says when it has.
    pub fn leave(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether it has left its group, or never got into it.
    pub fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Leaves the group and ends.
    pub async fn stop(mut self) {
        self.leave();
        if let Some(thread) = self.thread.take() {
            crate::kafka::blocking(move || thread.join().expect("the consumer does not panic")).await;
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.leave();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
