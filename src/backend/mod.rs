//! The platforms a position can be moved on. A backend reads and writes; it never decides.
//!
//! A platform is put together from parts (`ports`): the position, the logs it points into, the run state. `platforms` does it.

pub mod enos;
pub mod http;
pub mod kafka;
mod platforms;
mod ports;
mod workloads;

pub use platforms::Platforms;
pub use ports::{Logs, Position, RunStateChange, RunStates, Unreachable};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use crate::fair::Fair;
use stream_pipeline_api::{BackendIdentity, LagSample, RunStateBefore};
use stream_pipeline_core::{
    Activity, Aim, Backend, Cause, Change, Committed, LogBounds, PlatformFacts, RunState, SendOutcome, TopicPartition, Topics,
};

/// What holds of the platform that a StreamPipeline names.
pub fn facts(backend: &Backend) -> PlatformFacts {
    match backend {
        Backend::Kafka(kafka) => kafka::facts(!kafka.workloads.is_empty()),
        Backend::Enos(enos) => enos::facts(enos.spec.start.is_some()),
    }
}

/// One pipeline on its platform, for one pass.
pub struct Platform {
    position: Arc<dyn Position>,
    /// None: the platform has no logs.
    logs: Option<Arc<dyn Logs>>,
    run_states: Arc<dyn RunStates>,
}

impl Platform {
    /// See [`Position::principal`].
    pub fn principal(&self) -> Option<String> {
        self.position.principal()
    }

    /// # Errors
    /// See [`Position`]. The same for every read below.
    pub async fn identity(&self, since: Instant) -> Result<BackendIdentity, Cause> {
        self.position.identity(since).await
    }

    /// What the pipeline does, and all its committed offsets. An answer from before `since` does not count.
    pub async fn activity(&self, since: Instant) -> (Result<Activity, Cause>, Result<Committed, Cause>) {
        let (activity, committed) = tokio::join!(self.position.activity(since), self.position.committed(None));
        let activity = match &committed {
            Ok(committed) => activity.map(|activity| self.position.with_committed(activity, committed)),
            Err(_) => activity,
        };
        (self.at_rest_only_where_all_is(activity).await, committed)
    }

    /// What the pipeline does.
    ///
    /// # Errors
    /// As [`Platform::identity`].
    pub async fn activity_alone(&self, since: Instant) -> Result<Activity, Cause> {
        self.at_rest_only_where_all_is(self.position.activity(since).await).await
    }

    /// # Errors
    /// As [`Platform::identity`].
    pub async fn committed(&self, partitions: &[TopicPartition]) -> Result<Committed, Cause> {
        self.position.committed(Some(partitions)).await
    }

    /// # Errors
    /// As [`Platform::identity`].
    pub async fn sample(&self) -> Result<Option<LagSample>, Cause> {
        self.position.sample().await
    }

    /// See [`Position::line`].
    pub fn line(&self) -> Option<Arc<Fair>> {
        self.position.line()
    }

    /// See [`Position::send`].
    pub async fn send(&self, changes: &[(TopicPartition, Aim)], not_after: Instant) -> SendOutcome {
        self.position.send(changes, not_after).await
    }

    /// # Errors
    /// As [`Platform::identity`].
    pub async fn topics(&self, names: &[String], to: Change) -> Result<Topics, Cause> {
        match &self.logs {
            Some(logs) => logs.topics(names, to).await,
            None => Ok(Topics::new()),
        }
    }

    /// # Errors
    /// As [`Platform::identity`].
    pub async fn logs(
        &self,
        partitions: &[TopicPartition],
        time: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<BTreeMap<TopicPartition, LogBounds>, Cause> {
        match &self.logs {
            Some(logs) => logs.bounds(partitions, time, now).await,
            None => Ok(BTreeMap::new()),
        }
    }

    /// # Errors
    /// See [`RunStates::before`].
    pub async fn before(&self) -> Result<RunStateBefore, Cause> {
        self.run_states.before().await
    }

    /// # Errors
    /// As [`Platform::identity`].
    pub async fn run_state(&self, before: &RunStateBefore, since: Instant) -> Result<RunState, Cause> {
        self.run_states.state(before, since).await
    }

    /// # Errors
    /// See [`RunStates::stopping`].
    pub async fn stopping<'a>(&'a self, before: &'a RunStateBefore) -> Result<Box<dyn RunStateChange + 'a>, Cause> {
        self.run_states.stopping(before).await
    }

    /// # Errors
    /// See [`RunStates::starting`].
    pub async fn starting<'a>(&'a self, before: &'a RunStateBefore) -> Result<Box<dyn RunStateChange + 'a>, Cause> {
        self.run_states.starting(before).await
    }

    /// A pipeline is inactive only when what runs it is at rest too, which is of no interest where the pipeline cannot be reached.
    async fn at_rest_only_where_all_is(&self, found: Result<Activity, Cause>) -> Result<Activity, Cause> {
        Ok(match (found?, self.run_states.busy().await?) {
            (Activity::Inactive(..) | Activity::Missing(_), Some(busy)) => Activity::Active(busy),
            (found, _) => found,
        })
    }
}
