//! What a pipeline is doing, and whether what the operator stopped runs.

use std::time::Duration;

use super::Cause;
use stream_pipeline_api::Phase;

/// What the pipeline is doing, as far as a reset is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It may be reset now. The text is the platform's name for its state.
    Inactive(Phase, String),
    /// It reads. It can be reset once somebody stops it.
    Active(Cause),
    /// There is no such pipeline.
    Missing(Cause),
    /// Neither active nor in a state that can be reset now; that may change.
    NotResettable(Phase, Cause),
    /// It is of a kind that can never be reset here.
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

    /// Why the pipeline is not inactive.
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
    /// Some of its workloads run and some are down.
    PartlyStopped,
    /// Somebody else changed it, and their change stands; the text says what it is.
    ChangedExternally(String),
    /// Neither running nor stopped, for example between the two: wait and look again.
    Unknown(Cause),
}

/// What the looks so far say about whether the group is quiet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quiet {
    /// For how long every look has found the same committed offsets and no member.
    pub since: Option<Duration>,
    /// How long ago offsets were last seen to move without a member.
    pub moved: Option<Duration>,
}

impl Quiet {
    /// Promise 2: neither members nor movement for at least `period`; zero switches the check off.
    pub fn is_enough(&self, period: Duration) -> bool {
        period.is_zero() || self.since.is_some_and(|quiet| quiet >= period)
    }
}
