//! The platforms a position can be moved on. A backend reads and writes; it never decides.
//!
//! Two ports, each with an adapter per platform: the position (read, send, read back) and the run state (what the pipeline
//! does, stop, start). What a platform does not have is answered with nothing, so that the stages need not ask which it is.

pub mod endpoints;
pub mod enos;
pub mod kafka;

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::Timestamp;

use crate::api::{BackendIdentity, LagReading, Reason, StartOptions};
use crate::domain::{Activity, Answer, Cause, Committed, Goal, Log, TopicPartition, Topics};

/// One pipeline on its platform, for one pass.
pub enum Platform {
    Kafka(kafka::Kafka),
    Enos(Box<enos::Enos>),
}

impl Platform {
    /// Where the pipeline is, without looking; None where that takes a look. `pinned`: the cluster seen first.
    pub fn identity_of(&self, pinned: Option<&str>) -> Option<BackendIdentity> {
        match self {
            Platform::Kafka(kafka) => pinned.map(|cluster| kafka.identity_of(cluster)),
            Platform::Enos(enos) => enos.identity_of(),
        }
    }

    /// Where the pipeline is.
    ///
    /// # Errors
    /// The platform did not answer in time, or refused; named as a condition names it. The same for every read below.
    pub async fn identity(&self, since: Instant) -> Result<BackendIdentity, Cause> {
        match self {
            Platform::Kafka(kafka) => kafka.identity().await,
            Platform::Enos(enos) => enos.identity(since).await,
        }
    }

    /// What the pipeline does, and all its committed offsets. `since`: what was read before then does not count.
    pub async fn activity(&self, since: Instant) -> (Result<Activity, Cause>, Result<Committed, Cause>) {
        match self {
            Platform::Kafka(kafka) => {
                let (activity, committed) = tokio::join!(kafka.activity(), kafka.committed(None));
                let exists = committed.as_ref().is_ok_and(|c| !c.is_empty());
                // A Dead group with committed offsets is there, and nobody reads.
                let stopped = |a| if exists && matches!(a, Activity::Missing(_)) { kafka::stopped() } else { a };
                (activity.map(stopped), committed)
            }
            Platform::Enos(enos) => (enos.activity(since).await, Ok(Committed::new())),
        }
    }

    /// What the pipeline does.
    ///
    /// # Errors
    /// As [`Platform::identity`].
    pub async fn activity_alone(&self, since: Instant) -> Result<Activity, Cause> {
        match self {
            Platform::Kafka(kafka) => kafka.activity().await,
            Platform::Enos(enos) => enos.activity(since).await,
        }
    }

    /// Committed offsets of these partitions.
    ///
    /// # Errors
    /// As [`Platform::identity`].
    pub async fn committed(&self, partitions: &[TopicPartition]) -> Result<Committed, Cause> {
        match self {
            Platform::Kafka(kafka) => kafka.committed(Some(partitions)).await,
            Platform::Enos(_) => Ok(Committed::new()),
        }
    }

    /// # Errors
    /// As [`Platform::identity`].
    pub async fn topics(&self, names: &[String]) -> Result<Topics, Cause> {
        match self {
            Platform::Kafka(kafka) => kafka.topics(names).await,
            Platform::Enos(_) => Ok(Topics::new()),
        }
    }

    /// # Errors
    /// As [`Platform::identity`].
    pub async fn log(
        &self,
        partitions: &[TopicPartition],
        time: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<BTreeMap<TopicPartition, Log>, Cause> {
        match self {
            Platform::Kafka(kafka) => kafka.log(partitions, time, now).await,
            Platform::Enos(_) => Ok(BTreeMap::new()),
        }
    }

    /// The pipeline's newest position as the platform reports it; None where it does not.
    ///
    /// # Errors
    /// As [`Platform::identity`].
    pub async fn reading(&self) -> Result<Option<LagReading>, Cause> {
        match self {
            Platform::Kafka(_) => Ok(None),
            Platform::Enos(enos) => enos.reading().await,
        }
    }

    /// The one call that moves the position. Nothing leaves after `not_after`.
    pub async fn send(&self, goals: &[(TopicPartition, Goal)], not_after: Instant) -> Answer {
        match self {
            Platform::Kafka(kafka) => kafka.commit(goals).await,
            Platform::Enos(enos) => enos.reset(not_after).await,
        }
    }

    /// Stops the pipeline so that it can be started where it was. Answered before it has stopped.
    pub async fn stop(&self) -> Answer {
        match self {
            Platform::Kafka(_) => no_run_state(),
            Platform::Enos(enos) => enos.pause().await,
        }
    }

    /// Starts the pipeline. Answered before it runs.
    pub async fn start(&self, options: &StartOptions) -> Answer {
        match self {
            Platform::Kafka(_) => no_run_state(),
            Platform::Enos(enos) => enos.start(options).await,
        }
    }
}

fn no_run_state() -> Answer {
    Answer::NotDone(Cause::new(Reason::BackendError, "a consumer group cannot be stopped or started"))
}
