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
    ClockSkew,
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

    /// What it means and what a person does. The source of `docs/reasons.md`.
    pub fn help(self) -> &'static str {
        use Reason::*;
        match self {
            NothingRequested => "No reset is asked for.",
            GroupInactive => "The group has no members and its offsets do not move.",
            Reachable => "The brokers answer.",
            GroupActive => {
                "The group has members. Stop them; the reset starts by itself. With `whenActive: Fail` it ended; choose a new id."
            }
            OffsetsMoving => {
                "Offsets move without a member: a consumer that uses assign(), or another tool. Stop it; the reset starts by itself."
            }
            QuietPeriod => "The group is Empty; it is watched for `quietPeriod` that it stays so. Nothing to do.",
            TransactionOpen => "A producer's open transaction holds offsets of the group. It is waited for; end it if it hangs.",
            AnotherResetOpen => "Another record of the same group is not closed yet. It is dealt with first.",
            BrokerUnreachable => "No broker answers. Check the address, the network and what the brokers advertise.",
            PermissionMissing => "A right on the Kafka cluster, or on the API server, is missing; the message names it.",
            BackendError => {
                "The broker answered with an error that has no name here; the code is in `error.backendCode`. It is tried again."
            }
            APIServerError => "The Kubernetes API server did not answer or refused. It is tried again.",
            InvalidObject => "The object cannot be read by this version of the operator. Correct it; others are served meanwhile.",
            ClusterChanged => {
                "`bootstrapServers` lead to another cluster than before. Correct them, or delete and create the object to accept it."
            }
            CRDOutdated => "The API server did not keep what was written: the installed CRDs are older than the operator. Upgrade them.",
            AverageRateUnavailable => {
                "A partition's log cannot be read (no leader), so there is no average input rate. Nothing was written; it is tried again."
            }
            PlanRecorded => "The plan is in the record and is sent next.",
            Sent => "The plan was sent, or may have been; the group is looked at next.",
            PlanReady => "A dry run: the plan is in the record, nothing was sent. `dryRun: false` under the same id runs it.",
            ResetVerified => "Every partition was read back as planned.",
            SkippedAtCreation => {
                "The request was there when the object was first seen, so it was not run. A new id runs; or create with `whenCreated: Run` or a future `expiresAt`."
            }
            AlreadyHandled => "A record of this id exists from an earlier object. It does not run again; a new id does.",
            RequestEditedWithoutNewId => "The request was edited after it ended. Nothing runs under the same id; a new id does.",
            InvalidTarget => "The target cannot mean anything; the message says why. Correct it, with a new id.",
            OutOfRange => "A target lies outside of the log. `outOfRange: Clamp`, or another target, with a new id.",
            NoCommittedOffset => "A selected partition has no committed offset. Choose a policy or other topics, with a new id.",
            NoRecordAtTime => "A partition has no record at or after the time. Choose a policy or another time, with a new id.",
            PartitionNotFound => "A topic or partition does not exist. Correct `topics`, with a new id.",
            PipelineNotFound => {
                "The consumer group does not exist. Correct its name, or `missingGroup: Create` with `topics` and a new id."
            }
            TopicRecreated => "A topic was deleted and made anew since the plan. Nothing was sent; a new id asks again.",
            ClockSkew => {
                "The operator's clock is more than a minute off the API server's. Nothing was sent; correct the clock, then a new id."
            }
            GroupTypeNotSupported => "A share or streams group, or one of another protocol (Kafka Connect). It cannot be reset here.",
            LookupInconsistent => {
                "The look-up by time contradicts the newest record (tiered storage does so). Choose a position or shiftBy, with a new id."
            }
            PlanTooLarge => "The plan does not fit in one commit and one record. Select fewer topics or partitions, with a new id.",
            UnknownField => "A field inside `offsetReset` is not known, often a typing error. Correct it, with a new id.",
            WaitTimedOut => {
                "`waitTimeout` passed before the reset could start. The message says what it waited for last; a new id asks again."
            }
            Expired => "`expiresAt` passed before the reset could start. A new id asks again.",
            Restored => "The record came from a backup. Nothing is done from it.",
            NoLongerRequested => "The request was withdrawn or replaced before anything was sent.",
            AbandonedUnrun => "This id was given up before anything was sent. A new id asks again.",
            OutcomeUnknown => {
                "It cannot be known whether the reset took effect. Look at the group; then `onUnknownOutcome: Retry`, a new id, or no id."
            }
            OffsetsMoved => "Something else moved the group after the plan was written. Look at the group; then a new id, or no id.",
            PartlyApplied => "The broker refused some partitions for good. The record names them; then a new id.",
            RecordMissing => "The status says that the request was sent, and its record is gone. It never runs again; a new id asks anew.",
        }
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
