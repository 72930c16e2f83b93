//! The parts a platform is put together from. Each reads or writes, and decides nothing. What a platform does not have is left out, or
//! answered with nothing, so that nobody need ask which platform it is.

use std::collections::BTreeMap;
use std::time::Instant;

use async_trait::async_trait;
use jiff::Timestamp;

use stream_pipeline_api::{BackendIdentity, LagSample, RunStateBefore};
use stream_pipeline_core::{Activity, Aim, Cause, Committed, LogBounds, RunState, SendOutcome, TopicPartition, Topics};

/// Where a pipeline reads: seen, moved, read back.
///
/// # Errors
/// Of every read: the platform did not answer in time, or refused; named as a condition names it.
#[async_trait]
pub trait Position: Send + Sync {
    /// Whom the platform sees, where a right that is missing would be given to somebody by name.
    fn principal(&self) -> Option<String> {
        None
    }

    /// Where the pipeline is. `since`: what was read before then does not count; the same below.
    async fn identity(&self, since: Instant) -> Result<BackendIdentity, Cause>;

    /// What the pipeline does, as the platform says.
    async fn activity(&self, since: Instant) -> Result<Activity, Cause>;

    /// What that means for a pipeline that has committed this.
    fn with_committed(&self, activity: Activity, _: &Committed) -> Activity {
        activity
    }

    /// Committed offsets of these partitions; None: all of them. Nothing where the platform shows none.
    async fn committed(&self, partitions: Option<&[TopicPartition]>) -> Result<Committed, Cause>;

    /// The newest position as the platform reports it; None where it does not.
    async fn sample(&self) -> Result<Option<LagSample>, Cause> {
        Ok(None)
    }

    /// The one call that moves the position. Nothing leaves after `not_after`.
    async fn send(&self, changes: &[(TopicPartition, Aim)], not_after: Instant) -> SendOutcome;
}

/// The logs that a position points into.
///
/// # Errors
/// As [`Position`].
#[async_trait]
pub trait Logs: Send + Sync {
    async fn topics(&self, names: &[String]) -> Result<Topics, Cause>;

    /// How far the logs go, and the first record at or after `time`.
    async fn bounds(
        &self,
        partitions: &[TopicPartition],
        time: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<BTreeMap<TopicPartition, LogBounds>, Cause>;
}

/// What stops a pipeline and starts it as it was.
///
/// # Errors
/// As [`Position`].
#[async_trait]
pub trait RunStates: Send + Sync {
    /// Why what runs the pipeline is not at rest, where that is not what the platform says; None: it is.
    async fn busy(&self) -> Result<Option<Cause>, Cause> {
        Ok(None)
    }

    /// What is recorded before the pipeline is stopped. `AutoscalerActive` where stopping would be worked against.
    async fn before(&self) -> Result<RunStateBefore, Cause>;

    /// Whether what was stopped runs.
    async fn state(&self, before: &RunStateBefore, since: Instant) -> Result<RunState, Cause>;

    /// What stops the pipeline so that it can be started where it was; decided on what is read now.
    async fn stopping<'a>(&'a self, before: &'a RunStateBefore) -> Result<Box<dyn RunStateChange + 'a>, Cause>;

    /// What starts the pipeline as it was. `StartConfigurationInvalid`.
    async fn starting<'a>(&'a self, before: &'a RunStateBefore) -> Result<Box<dyn RunStateChange + 'a>, Cause>;
}

/// A stop or a start, decided on what was read last.
#[async_trait]
pub trait RunStateChange: Send + Sync {
    /// Answered before the pipeline has stopped, or runs.
    async fn carry_out(&self) -> SendOutcome;

    /// A stop has taken effect once it is answered with yes.
    fn takes_effect_at_once(&self) -> bool {
        false
    }
}

/// In place of a part whose client cannot be made (a Secret is gone, an address is not allowed): that shows in what is read.
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
    async fn topics(&self, _: &[String]) -> Result<Topics, Cause> {
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
