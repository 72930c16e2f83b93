//! An EnOS pipeline as the parts of a platform.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::Enos;
use crate::backend::{Position, RunStateChange, RunStates};
use crate::fair::Fair;
use stream_pipeline_api::{BackendIdentity, LagSample, Reason, RunStateBefore, StartOptions};
use stream_pipeline_core::{Activity, Aim, Cause, Committed, RunState, SendOutcome, TopicPartition};

#[async_trait]
impl Position for Enos {
    async fn identity(&self, since: Instant) -> Result<BackendIdentity, Cause> {
        Enos::identity(self, since).await
    }

    async fn activity(&self, since: Instant) -> Result<Activity, Cause> {
        Enos::activity(self, since).await
    }

    /// The platform does not show committed offsets.
    async fn committed(&self, _: Option<&[TopicPartition]>) -> Result<Committed, Cause> {
        Ok(Committed::new())
    }

    async fn sample(&self) -> Result<Option<LagSample>, Cause> {
        self.reading().await
    }

    fn line(&self) -> Option<Arc<Fair>> {
        Some(Enos::line(self))
    }

    /// The platform chooses the target, so the rows are ignored.
    async fn send(&self, _: &[(TopicPartition, Aim)], not_after: Instant) -> SendOutcome {
        self.reset(not_after).await
    }
}

#[async_trait]
impl RunStates for Enos {
    async fn before(&self) -> Result<RunStateBefore, Cause> {
        Ok(RunStateBefore { running: true, start: self.start_options().cloned(), ..RunStateBefore::default() })
    }

    async fn state(&self, _: &RunStateBefore, since: Instant) -> Result<RunState, Cause> {
        self.run_state(since).await
    }

    async fn stopping<'a>(&'a self, _: &'a RunStateBefore) -> Result<Box<dyn RunStateChange + 'a>, Cause> {
        Ok(Box::new(Pause(self)))
    }

    async fn starting<'a>(&'a self, before: &'a RunStateBefore) -> Result<Box<dyn RunStateChange + 'a>, Cause> {
        // The spec wins over the record, so that a person can correct start options that the platform refuses.
        let options = self.start_options().or(before.start.as_ref());
        let unknown = || Cause::new(Reason::StartConfigurationInvalid, "spec.enos.start is not there: how to start it is not known");
        Ok(Box::new(Start(self, options.ok_or_else(unknown)?)))
    }
}

struct Pause<'a>(&'a Enos);

#[async_trait]
impl RunStateChange for Pause<'_> {
    async fn carry_out(&self) -> SendOutcome {
        self.0.pause().await
    }
}

struct Start<'a>(&'a Enos, &'a StartOptions);

#[async_trait]
impl RunStateChange for Start<'_> {
    async fn carry_out(&self) -> SendOutcome {
        self.0.start(self.1).await
    }
}
