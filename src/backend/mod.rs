//! The platforms a position can be moved on. A backend reads and writes; it never decides.
//!
//! Two ports, each with an adapter per platform: the position (read, send, read back) and the run state (what the pipeline
//! does, stop, start). What a platform does not have is answered with nothing, so that the stages need not ask which it is.

pub mod enos;
pub mod http;
pub mod kafka;

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::Timestamp;

use crate::api::{BackendIdentity, LagSample, Reason, RunStateBefore, StartOptions};
use crate::domain::{Activity, Aim, Backend, Cause, Committed, LogBounds, PlatformFacts, RunState, SendOutcome, TopicPartition, Topics};
use crate::kubernetes::workloads;

/// What holds of the platform that a StreamPipeline names.
pub fn facts(backend: &Backend) -> PlatformFacts {
    match backend {
        Backend::Kafka(kafka) => kafka::facts(!kafka.workloads.is_empty()),
        Backend::Enos(enos) => enos::facts(enos.spec.start.is_some()),
    }
}

/// One pipeline on its platform, for one pass. That there is no client for it (a Secret is gone, an address is not allowed) is
/// a value too: what runs the consumers of a group is read and scaled without one.
pub enum Platform {
    Kafka { kafka: Result<Box<kafka::Kafka>, Cause>, group: String, workloads: Box<workloads::Workloads> },
    Enos { enos: Result<Box<enos::Enos>, Cause>, place: Option<BackendIdentity> },
}

impl Platform {
    /// Whom the platform sees, where a right that is missing would be given to somebody by name.
    pub fn principal(&self) -> Option<String> {
        match self {
            Platform::Kafka { kafka, .. } => kafka.as_ref().ok().and_then(|kafka| kafka.principal()),
            Platform::Enos { .. } => None,
        }
    }

    /// Where the pipeline is, without looking; None where that takes a look. `pinned`: the cluster seen first.
    pub fn identity_of(&self, pinned: Option<&str>) -> Option<BackendIdentity> {
        match self {
            Platform::Kafka { group, .. } => {
                pinned.map(|cluster| BackendIdentity::Kafka { cluster_id: cluster.to_owned(), consumer_group: group.clone() })
            }
            Platform::Enos { enos: Ok(enos), .. } => enos.identity_of(),
            Platform::Enos { enos: Err(_), place } => place.clone(),
        }
    }

    /// Where the pipeline is.
    ///
    /// # Errors
    /// The platform did not answer in time, or refused; named as a condition names it. The same for every read below.
    pub async fn identity(&self, since: Instant) -> Result<BackendIdentity, Cause> {
        match self {
            Platform::Kafka { kafka, .. } => made(kafka)?.identity().await,
            Platform::Enos { enos, .. } => made(enos)?.identity(since).await,
        }
    }

    /// What the pipeline does, and all its committed offsets. `since`: what was read before then does not count.
    pub async fn activity(&self, since: Instant) -> (Result<Activity, Cause>, Result<Committed, Cause>) {
        match self {
            Platform::Kafka { kafka, workloads, .. } => {
                let kafka = match made(kafka) {
                    Ok(kafka) => kafka,
                    Err(cause) => return (Err(cause.clone()), Err(cause)),
                };
                let (activity, committed, busy) = tokio::join!(kafka.activity(), kafka.committed(None), workloads.busy());
                let exists = committed.as_ref().is_ok_and(|c| !c.is_empty());
                (activity.and_then(|found| with_workloads(found, busy, exists)), committed)
            }
            Platform::Enos { enos: Ok(enos), .. } => (enos.activity(since).await, Ok(Committed::new())),
            Platform::Enos { enos: Err(cause), .. } => (Err(cause.clone()), Err(cause.clone())),
        }
    }

    /// What the pipeline does.
    ///
    /// # Errors
    /// As [`Platform::identity`].
    pub async fn activity_alone(&self, since: Instant) -> Result<Activity, Cause> {
        match self {
            Platform::Kafka { kafka, workloads, .. } => {
                let (activity, busy) = tokio::join!(made(kafka)?.activity(), workloads.busy());
                activity.and_then(|found| with_workloads(found, busy, false))
            }
            Platform::Enos { enos, .. } => made(enos)?.activity(since).await,
        }
    }

    /// Committed offsets of these partitions.
    ///
    /// # Errors
    /// As [`Platform::identity`].
    pub async fn committed(&self, partitions: &[TopicPartition]) -> Result<Committed, Cause> {
        match self {
            Platform::Kafka { kafka, .. } => made(kafka)?.committed(Some(partitions)).await,
            Platform::Enos { .. } => Ok(Committed::new()),
        }
    }

    /// # Errors
    /// As [`Platform::identity`].
    pub async fn topics(&self, names: &[String]) -> Result<Topics, Cause> {
        match self {
            Platform::Kafka { kafka, .. } => made(kafka)?.topics(names).await,
            Platform::Enos { .. } => Ok(Topics::new()),
        }
    }

    /// # Errors
    /// As [`Platform::identity`].
    pub async fn log(
        &self,
        partitions: &[TopicPartition],
        time: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<BTreeMap<TopicPartition, LogBounds>, Cause> {
        match self {
            Platform::Kafka { kafka, .. } => made(kafka)?.log(partitions, time, now).await,
            Platform::Enos { .. } => Ok(BTreeMap::new()),
        }
    }

    /// The pipeline's newest position as the platform reports it; None where it does not.
    ///
    /// # Errors
    /// As [`Platform::identity`].
    pub async fn reading(&self) -> Result<Option<LagSample>, Cause> {
        match self {
            Platform::Kafka { .. } => Ok(None),
            Platform::Enos { enos, .. } => made(enos)?.reading().await,
        }
    }

    /// The one call that moves the position. Nothing leaves after `not_after`.
    pub async fn send(&self, changes: &[(TopicPartition, Aim)], not_after: Instant) -> SendOutcome {
        match self {
            Platform::Kafka { kafka: Ok(kafka), .. } => kafka.commit(changes).await,
            Platform::Enos { enos: Ok(enos), .. } => enos.reset(not_after).await,
            Platform::Kafka { kafka: Err(cause), .. } | Platform::Enos { enos: Err(cause), .. } => SendOutcome::NotApplied(cause.clone()),
        }
    }

    /// What is recorded before the pipeline is stopped.
    ///
    /// # Errors
    /// It cannot be read; `AutoscalerActive` where stopping would be worked against.
    pub async fn before(&self) -> Result<RunStateBefore, Cause> {
        match self {
            Platform::Kafka { workloads, .. } => {
                let workloads = workloads.counts().await?;
                Ok(RunStateBefore { running: workloads.iter().any(|w| w.replicas > 0), workloads, ..RunStateBefore::default() })
            }
            Platform::Enos { enos, .. } => {
                let start = made(enos)?.start_options().cloned();
                Ok(RunStateBefore { running: true, start, ..RunStateBefore::default() })
            }
        }
    }

    /// Whether what was stopped runs.
    ///
    /// # Errors
    /// As [`Platform::identity`].
    pub async fn run_state(&self, before: &RunStateBefore, since: Instant) -> Result<RunState, Cause> {
        match self {
            Platform::Kafka { workloads, .. } => workloads.state(&before.workloads).await,
            Platform::Enos { enos, .. } => made(enos)?.run_state(since).await,
        }
    }

    /// What stops the pipeline so that it can be started where it was.
    ///
    /// # Errors
    /// What it is to be decided on cannot be read.
    pub async fn stopping(&self, before: &RunStateBefore) -> Result<Switch<'_>, Cause> {
        Ok(match self {
            Platform::Kafka { workloads, .. } => Switch::Scale(workloads.stopping(&before.workloads).await?),
            Platform::Enos { enos, .. } => Switch::Pause(made(enos)?),
        })
    }

    /// What starts the pipeline as it was.
    ///
    /// # Errors
    /// As [`Platform::stopping`]; `StartConfigurationInvalid`.
    pub async fn starting<'a>(&'a self, before: &'a RunStateBefore) -> Result<Switch<'a>, Cause> {
        Ok(match self {
            Platform::Kafka { workloads, .. } => Switch::Scale(workloads.starting(&before.workloads).await?),
            Platform::Enos { enos, .. } => {
                let enos = made(enos)?;
                // What the spec says now counts, so that a person can correct what the platform refuses.
                let options = enos.start_options().or(before.start.as_ref());
                let unknown =
                    || Cause::new(Reason::StartConfigurationInvalid, "spec.enos.start is not there: how to start it is not known");
                Switch::Start(enos, options.ok_or_else(unknown)?)
            }
        })
    }
}

fn made<T>(client: &Result<Box<T>, Cause>) -> Result<&T, Cause> {
    client.as_deref().map_err(Clone::clone)
}

/// A stop or a start, decided on what was read last.
pub enum Switch<'a> {
    Scale(workloads::Scaling<'a>),
    Pause(&'a enos::Enos),
    Start(&'a enos::Enos, &'a StartOptions),
}

impl Switch<'_> {
    /// Answered before the pipeline has stopped, or runs.
    pub async fn carry_out(&self) -> SendOutcome {
        match self {
            Switch::Scale(scaling) => scaling.carry_out().await,
            Switch::Pause(enos) => enos.pause().await,
            Switch::Start(enos, options) => enos.start(options).await,
        }
    }
}

/// A pipeline is inactive only when what runs its consumers is at rest too. `exists`: the group has committed offsets.
fn with_workloads(found: Activity, busy: Result<Option<Cause>, Cause>, exists: bool) -> Result<Activity, Cause> {
    Ok(match (found, busy?) {
        // A Dead group with committed offsets is there, and nobody reads.
        (Activity::Missing(_), None) if exists => kafka::stopped(),
        (Activity::Inactive(..) | Activity::Missing(_), Some(busy)) => Activity::Active(busy),
        (found, _) => found,
    })
}
