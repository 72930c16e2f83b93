//! What a pipeline is doing, and whether what the operator stopped runs.

use std::time::Duration;

use super::Cause;
use stream_pipeline_api::Phase;

/// What the pipeline is doing, as far as a reset is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It may be reset now: the platform's own word for its state.
    Inactive(Phase, String),
    /// It reads. It becomes inactive when somebody stops it.
    Active(Cause),
    /// There is no such pipeline.
    Missing(Cause),
    /// Neither active nor to be reset; that may change.
    NotResettable(Phase, Cause),
    /// It can never be reset here.
    Unsupported(Cause),
}

impl Activity {
    pub fn is_inactive(&self) -> bool {
        matches!(self, Activity::Inactive(..) | Activity::Missing(_))
    }

    pub fn is_active(&self) -> bool {
        matches!(self, Activity::Active(_))
    }

    pub fn phase(&self) -> Phase {
        match self {
            Activity::Inactive(phase, _) | Activity::NotResettable(phase, _) => *phase,
            Activity::Active(_) => Phase::Running,
            Activity::Missing(_) => Phase::NotFound,
            Activity::Unsupported(_) => Phase::Unknown,
        }
    }

    /// Why it is not inactive.
    pub fn blocker(&self) -> Option<&Cause> {
        match self {
            Activity::Inactive(..) | Activity::Missing(_) => None,
            Activity::Active(cause) | Activity::NotResettable(_, cause) | Activity::Unsupported(cause) => Some(cause),
        }
    }
}

/// Whether what the operator stopped runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunState {
    Running,
    /// Stopped, and to be started by whoever stopped it.
    Stopped,
    /// Several, and some of them down.
    PartlyStopped,
    /// Somebody else changed it: theirs counts, in words.
    ChangedExternally(String),
    /// Neither: waited out.
    Unknown(Cause),
}

/// What the looks so far say about rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quiet {
    /// So long every look found the same committed offsets and no member.
    pub since: Option<Duration>,
    /// So long ago offsets were seen to move without a member.
    pub moved: Option<Duration>,
}

impl Quiet {
    /// Promise 2: neither members nor movement for so long; zero switches the check off.
    pub fn is_enough(&self, period: Duration) -> bool {
        period.is_zero() || self.since.is_some_and(|quiet| quiet >= period)
    }
}
