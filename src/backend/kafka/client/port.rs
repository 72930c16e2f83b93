//! Implements the port of Kafka's admin calls (`admin`) with a client's process.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;

use super::AdminClient;
use crate::backend::kafka::admin::*;

impl Admin for AdminClient {
    fn is_retired(&self) -> bool {
        self.is_retired()
    }

    fn failure(&self) -> Option<Failure> {
        self.failure()
    }

    fn has_answered(&self) -> bool {
        self.has_answered()
    }

    fn retire(&self) {
        self.retire();
    }

    fn last_broker_error(&self) -> Option<BrokerError> {
        self.last_broker_error()
    }

    fn process_ended(&self) -> BoxFuture<'static, ()> {
        Box::pin(self.process_ended())
    }

    fn describe_cluster(&self, deadline: Duration) -> AdminFuture<'_, ClusterDescription> {
        Box::pin(self.describe_cluster(deadline))
    }

    fn describe_topics<'a>(&'a self, topics: &'a [String], deadline: Duration) -> AdminFuture<'a, Vec<TopicDescription>> {
        Box::pin(self.describe_topics(topics, deadline))
    }

    fn identify_group<'a>(&'a self, group: &'a str, deadline: Duration) -> AdminFuture<'a, GroupIdentity> {
        Box::pin(self.identify_group(group, deadline))
    }

    fn list_consumer_group_offsets<'a>(
        &'a self,
        group: &'a str,
        partitions: Option<&'a [TopicPartition]>,
        require_stable: bool,
        deadline: Duration,
    ) -> AdminFuture<'a, BTreeMap<TopicPartition, CommittedOffset>> {
        Box::pin(self.list_consumer_group_offsets(group, partitions, require_stable, deadline))
    }

    fn list_offsets<'a>(
        &'a self,
        wanted: &'a [(TopicPartition, OffsetSpec)],
        isolation: IsolationLevel,
        deadline: Duration,
    ) -> AdminFuture<'a, PerPartition<ListedOffset>> {
        Box::pin(self.list_offsets(wanted, isolation, deadline))
    }

    fn alter_consumer_group_offsets<'a>(
        &'a self,
        group: &'a str,
        offsets: &'a [OffsetCommit],
        deadline: Duration,
    ) -> AdminFuture<'a, PerPartition<()>> {
        Box::pin(self.alter_consumer_group_offsets(group, offsets, deadline))
    }

    fn delete_consumer_group_offsets<'a>(
        &'a self,
        group: &'a str,
        partitions: &'a [TopicPartition],
        deadline: Duration,
    ) -> AdminFuture<'a, PerPartition<()>> {
        Box::pin(self.delete_consumer_group_offsets(group, partitions, deadline))
    }
}
