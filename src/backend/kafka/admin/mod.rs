//! The calls that are needed for a group's position, as a port, with their arguments and results. `client` implements it with librdkafka;
//! tests use brokers of their own. What each call promises is documented in `client`.

mod error;
mod types;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;

pub use super::codes::KafkaCode;
pub use error::*;
pub use types::*;

pub type AdminFuture<'a, T> = BoxFuture<'a, Result<T, AdminError>>;

/// A disposable connection to one Kafka cluster.
pub trait Admin: Send + Sync {
    /// Takes no new calls: take another client.
    fn is_retired(&self) -> bool;
    /// Why the client was retired, if it never got an answer.
    fn failure(&self) -> Option<Failure>;
    fn has_answered(&self) -> bool;
    fn retire(&self);
    fn last_broker_error(&self) -> Option<BrokerError>;
    /// Resolves when nothing of any call made on it can leave this machine's processes any more: its own process has ended.
    fn process_ended(&self) -> BoxFuture<'static, ()>;
    fn describe_cluster(&self, deadline: Duration) -> AdminFuture<'_, ClusterDescription>;
    fn describe_topics<'a>(&'a self, topics: &'a [String], deadline: Duration) -> AdminFuture<'a, Vec<TopicDescription>>;
    fn identify_group<'a>(&'a self, group: &'a str, deadline: Duration) -> AdminFuture<'a, GroupIdentity>;
    fn list_consumer_group_offsets<'a>(
        &'a self,
        group: &'a str,
        partitions: Option<&'a [TopicPartition]>,
        require_stable: bool,
        deadline: Duration,
    ) -> AdminFuture<'a, BTreeMap<TopicPartition, CommittedOffset>>;
    fn list_offsets<'a>(
        &'a self,
        wanted: &'a [(TopicPartition, OffsetSpec)],
        isolation: IsolationLevel,
        deadline: Duration,
    ) -> AdminFuture<'a, PerPartition<ListedOffset>>;
    fn alter_consumer_group_offsets<'a>(
        &'a self,
        group: &'a str,
        offsets: &'a [OffsetCommit],
        deadline: Duration,
    ) -> AdminFuture<'a, PerPartition<()>>;
    fn delete_consumer_group_offsets<'a>(
        &'a self,
        group: &'a str,
        partitions: &'a [TopicPartition],
        deadline: Duration,
    ) -> AdminFuture<'a, PerPartition<()>>;
}
