//! A consumer group as the parts of a platform.

use std::collections::BTreeMap;
use std::time::Instant;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Kafka, stopped};
use crate::backend::{Logs, Position};
use stream_pipeline_api::BackendIdentity;
use stream_pipeline_core::{Activity, Aim, Cause, Change, Committed, LogBounds, SendOutcome, TopicPartition, Topics};

#[async_trait]
impl Position for Kafka {
    fn principal(&self) -> Option<String> {
        Kafka::principal(self)
    }

    async fn identity(&self, _: Instant) -> Result<BackendIdentity, Cause> {
        Kafka::identity(self).await
    }

    async fn activity(&self, _: Instant) -> Result<Activity, Cause> {
        Kafka::activity(self).await
    }

    /// A Dead group with committed offsets exists, but has no readers.
    fn with_committed(&self, activity: Activity, committed: &Committed) -> Activity {
        if matches!(activity, Activity::Missing(_)) && !committed.is_empty() { stopped() } else { activity }
    }

    async fn committed(&self, partitions: Option<&[TopicPartition]>) -> Result<Committed, Cause> {
        Kafka::committed(self, partitions).await
    }

    /// A request that was sent cannot be cancelled; for the first one the window was checked before.
    async fn send(&self, changes: &[(TopicPartition, Aim)], not_after: Instant) -> SendOutcome {
        Kafka::send(self, changes, not_after).await
    }
}

#[async_trait]
impl Logs for Kafka {
    async fn topics(&self, names: &[String], to: Change) -> Result<Topics, Cause> {
        Kafka::topics(self, names, to).await
    }

    async fn bounds(
        &self,
        partitions: &[TopicPartition],
        time: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<BTreeMap<TopicPartition, LogBounds>, Cause> {
        self.log(partitions, time, now).await
    }
}
