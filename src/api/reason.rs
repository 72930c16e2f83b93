//! One table of stages and reasons. The same word is the condition's reason, the event's reason and the metric label.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{EnumIter, EnumString, IntoStaticStr};

/// Where a request stands (column RESET).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
pub enum Stage {
    /// Accepted; something has to change first, and the reset then starts by itself.
    Waiting,
    /// The plan is recorded; it is being sent, read back or judged.
    Sending,
    /// A dry run: the plan is recorded, nothing was sent.
    Planned,
    /// Sent, read back and as planned.
    Verified,
    /// Not run, on purpose; the id is used up.
    Skipped,
    /// Not run: nothing was sent. A new id asks again.
    Failed,
    /// Something was or may have been sent and is not proven; a person decides.
    Held,
}

impl Stage {
    /// Whether nothing more happens under this id by itself.
    pub fn is_final(self) -> bool {
        !matches!(self, Stage::Waiting | Stage::Sending)
    }
}

/// Why a request stands where it stands.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, IntoStaticStr, EnumIter, EnumString,
)]
pub enum Reason {
    NothingRequested,
    // Waiting: heals by itself
    GroupInactive,
    Reachable,
    GroupActive,
    OffsetsMoving,
    QuietPeriod,
    TransactionOpen,
    AnotherResetOpen,
    BrokerUnreachable,
    PermissionMissing,
    BackendError,
    APIServerError,
    InvalidObject,
    ClusterChanged,
    CRDOutdated,
    AverageRateUnavailable,
    ShuttingDown,
    // on the way
    PlanRecorded,
    Sent,
    // ends
    PlanReady,
    ResetVerified,
    SkippedAtCreation,
    AlreadyHandled,
    RequestEditedWithoutNewId,
    InvalidTarget,
    OutOfRange,
    NoCommittedOffset,
    NoRecordAtTime,
    PartitionNotFound,
    PipelineNotFound,
    TopicRecreated,
    GroupTypeNotSupported,
    LookupInconsistent,
    PlanTooLarge,
    UnknownField,
    WaitTimedOut,
    Expired,
    Restored,
    NoLongerRequested,
    AbandonedUnrun,
    OutcomeUnknown,
    OffsetsMoved,
    PartlyApplied,
    RecordMissing,
}

impl Reason {
    /// The word as it stands in conditions, events and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The EnOS code this reason is documented under, on every backend (product.md, section 3: 61108 and 61168).
    pub fn code(self) -> Option<i32> {
        match self {
            Reason::PipelineNotFound => Some(61108),
            Reason::AverageRateUnavailable => Some(61168),
            _ => None,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
