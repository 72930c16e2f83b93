//! The parts that a platform is put together from. Each reads or writes, and decides nothing. What a platform does not have is left out or
//! answered with nothing, so that nobody needs to know which platform it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::fair::Fair;
use stream_pipeline_api::{BackendIdentity, LagSample, RunStateBefore};
use stream_pipeline_core::{Activity, Aim, Cause, Change, Committed, LogBounds, RunState, SendOutcome, TopicPartition, Topics};

/// Where a pipeline reads: seen, moved, read back.
///
/// # Errors
/// Every read fails if the platform did not answer in time, or refused; the cause has the condition's reason.
#[async_trait]
pub trait Position: Send + Sync {
    /// The user that the platform takes the operator for, where missing rights are granted to a user by name.
    fn principal(&self) -> Option<String> {
        None
    }

    /// Where the pipeline is. An answer from before `since` does not count; the same below.
    async fn identity(&self, since: Instant) -> Result<BackendIdentity, Cause>;

    /// What the pipeline does, as the platform says.
    async fn activity(&self, since: Instant) -> Result<Activity, Cause>;

    /// The activity, corrected for a pipeline that has committed this.
    fn with_committed(&self, activity: Activity, _: &Committed) -> Activity {
        activity
    }

    /// Committed offsets of these partitions; None: all of them. Nothing where the platform shows none.
    async fn committed(&self, partitions: Option<&[TopicPartition]>) -> Result<Committed, Cause>;

    /// The newest position as the platform reports it; None where it does not.
    async fn sample(&self) -> Result<Option<LagSample>, Cause> {
        Ok(None)
    }

    /// Where a request waits before its plan is made, if the platform takes only so many calls a second.
    fn line(&self) -> Option<Arc<Fair>> {
        None
    }

    /// The one call that moves the position: commits, and then deletions of commits. Nothing is sent after `not_after`.
    async fn send(&self, changes: &[(TopicPartition, Aim)], not_after: Instant) -> SendOutcome;
}

/// The logs that a position points into.
///
/// # Errors
/// As [`Position`].
#[async_trait]
pub trait Logs: Send + Sync {
    /// `to`: fails where the brokers say that this would be refused.
    async fn topics(&self, names: &[String], to: Change) -> Result<Topics, Cause>;

    /// How far the logs go, and the first record at or after `time`.
    async fn bounds(
        &self,
        partitions: &[TopicPartition],
        time: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<BTreeMap<TopicPartition, LogBounds>, Cause>;
}

/// Stops a pipeline, and starts it as it was.
///
/// # Errors
/// As [`Position`].
#[async_trait]
pub trait RunStates: Send + Sync {
    /// Why the pipeline's workloads are not at rest, where the platform itself cannot tell; None: they are at rest.
    async fn busy(&self) -> Result<Option<Cause>, Cause> {
        Ok(None)
    }

    /// What is recorded before a stop. `AutoscalerActive`: an autoscaler would work against the stop.
    async fn before(&self) -> Result<RunStateBefore, Cause>;

    /// Whether what was stopped runs.
    async fn state(&self, before: &RunStateBefore, since: Instant) -> Result<RunState, Cause>;

    /// Prepares a stop after which the pipeline can be started where it was; decided on what is read now.
    async fn stopping<'a>(&'a self, before: &'a RunStateBefore) -> Result<Box<dyn RunStateChange + 'a>, Cause>;

    /// Prepares a start of the pipeline as it was. May fail with `StartConfigurationInvalid`.
    async fn starting<'a>(&'a self, before: &'a RunStateBefore) -> Result<Box<dyn RunStateChange + 'a>, Cause>;
}

/// A prepared stop or start.
#[async_trait]
pub trait RunStateChange: Send + Sync {
    /// Returns before the pipeline has stopped, or runs.
    async fn carry_out(&self) -> SendOutcome;

    /// Whether a stop has taken effect as soon as it is accepted.
    fn takes_effect_at_once(&self) -> bool {
        false
    }
}

/// Stands in for a part whose client cannot be made (a Secret is gone, an address is not allowed): every read returns the cause.
pub struct Unreachable(pub Cause);

#[async_trait]
impl Position for Unreachable {
    async fn identity(&self, _: Instant) -> Result<BackendIdentity, Cause> {
        Err(self.0.clone())
    }

    async fn activity(&self, _: Instant) -> Result<Activity, Cause> {
        Err(self.0.clone())
    }

    async fn committed(&self, _: Option<&[TopicPartition]>) -> Result<Committed, Cause> {
        Err(self.0.clone())
    }

    async fn sample(&self) -> Result<Option<LagSample>, Cause> {
        Err(self.0.clone())
    }

    async fn send(&self, _: &[(TopicPartition, Aim)], _: Instant) -> SendOutcome {
        SendOutcome::NotApplied(self.0.clone())
    }
}

#[async_trait]
impl Logs for Unreachable {
    async fn topics(&self, _: &[String], _: Change) -> Result<Topics, Cause> {
        Err(self.0.clone())
    }

    async fn bounds(&self, _: &[TopicPartition], _: Option<Timestamp>, _: Timestamp) -> Result<BTreeMap<TopicPartition, LogBounds>, Cause> {
        Err(self.0.clone())
    }
}

#[async_trait]
impl RunStates for Unreachable {
    async fn before(&self) -> Result<RunStateBefore, Cause> {
        Err(self.0.clone())
    }

    async fn state(&self, _: &RunStateBefore, _: Instant) -> Result<RunState, Cause> {
        Err(self.0.clone())
    }

    async fn stopping<'a>(&'a self, _: &'a RunStateBefore) -> Result<Box<dyn RunStateChange + 'a>, Cause> {
        Err(self.0.clone())
    }

    async fn starting<'a>(&'a self, _: &'a RunStateBefore) -> Result<Box<dyn RunStateChange + 'a>, Cause> {
        Err(self.0.clone())
    }
}
