//! The run state of a group whose consumers are workloads of the cluster.

use std::time::Instant;

use async_trait::async_trait;

use super::{RunStateChange, RunStates};
use crate::kubernetes::workloads::{Scaling, Workloads};
use stream_pipeline_api::RunStateBefore;
use stream_pipeline_core::{Cause, RunState, SendOutcome};

#[async_trait]
impl RunStates for Workloads {
    async fn busy(&self) -> Result<Option<Cause>, Cause> {
        Workloads::busy(self).await
    }

    async fn before(&self) -> Result<RunStateBefore, Cause> {
        let workloads = self.counts().await?;
        Ok(RunStateBefore { running: workloads.iter().any(|w| w.replicas > 0), workloads, ..RunStateBefore::default() })
    }

    async fn state(&self, before: &RunStateBefore, _: Instant) -> Result<RunState, Cause> {
        Workloads::state(self, &before.workloads).await
    }

    async fn stopping<'a>(&'a self, before: &'a RunStateBefore) -> Result<Box<dyn RunStateChange + 'a>, Cause> {
        Ok(Box::new(Workloads::stopping(self, &before.workloads).await?))
    }

    async fn starting<'a>(&'a self, before: &'a RunStateBefore) -> Result<Box<dyn RunStateChange + 'a>, Cause> {
        Ok(Box::new(Workloads::starting(self, &before.workloads).await?))
    }
}

#[async_trait]
impl RunStateChange for Scaling<'_> {
    async fn carry_out(&self) -> SendOutcome {
        Scaling::carry_out(self).await
    }

    /// The count is 0 once the call is answered. If somebody raises it before the next look, the stop is not repeated.
    fn takes_effect_at_once(&self) -> bool {
        true
    }
}
