//! One table of reasons. The same word is the condition's reason, the event's reason and the metric label.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use strum::{EnumIter, EnumString, IntoStaticStr};

/// Why a request stands where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, IntoStaticStr, EnumIter, EnumString)]
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
    DuplicateGroup,
    BrokerUnreachable,
    PermissionMissing,
    AdmissionRefused,
    BackendError,
    APIServerError,
    InvalidObject,
    ClusterChanged,
    CRDOutdated,
    AverageRateUnavailable,
    PipelineInactive,
    PipelineActive,
    PipelineNotStartedYet,
    PipelineFailed,
    PipelineStatusUnknown,
    PauseOverridden,
    AutoscalerActive,
    WorkloadNotFound,
    SecretNotFound,
    EndpointNotAllowed,
    EndpointUnreachable,
    TlsFailed,
    AuthenticationFailed,
    RateLimited,
    RequestRejected,
    UnexpectedAnswer,
    PlatformError,
    StatusNotAllowed,
    AnotherPipelineStarting,
    ResourcesMissing,
    StartConfigurationInvalid,
    // on the way
    Pausing,
    PlanRecorded,
    Sent,
    BringingBack,
    PauseLimitNear,
    LeftPaused,
    // ends
    NoReadBackWhilePaused,
    Unproven,
    NotTakenUp,
    PauseTimedOut,
    PauseTooLong,
    PipelineNameAmbiguous,
    PlanReady,
    ResetVerified,
    BelowLogStart,
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
    PlanChanged,
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
    // Read where it stands, never written
    #[serde(other)]
    OfAnotherVersion,
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
            Reachable => "The brokers, or the platform, answer.",
            GroupActive => {
                "The group has members. Stop them; the reset starts by itself. With `whenActive: Fail` it ended; choose a new id."
            }
            OffsetsMoving => {
                "Offsets move without a member: a consumer that uses assign(), or another tool. Stop it; the reset starts by itself."
            }
            QuietPeriod => "The group is Empty; it is watched for `quietPeriod` that it stays so. Nothing to do.",
            TransactionOpen => "A producer's open transaction holds offsets of the group. It is waited for; end it if it hangs.",
            AnotherResetOpen => {
                "Another record of the namespace, of the same group or of a workload that both would stop, is not closed yet. It is dealt with first."
            }
            DuplicateGroup => {
                "An older StreamPipeline of the namespace names the same group or pipeline, and has read it or was not looked at yet. The oldest acts; this one does once the older is gone, if `waitTimeout` has not passed. Ask there, or delete the one that is not meant."
            }
            BrokerUnreachable => "No broker answers. Check the address, the network and what the brokers advertise.",
            PermissionMissing => "A right on the Kafka cluster, or on the API server, is missing; the message names it.",
            AdmissionRefused => {
                "Somebody else's admission (a policy, a webhook, a quota, or a namespace that is being deleted) refuses what the operator writes; the message says which, in its words. Ask whoever runs it; it is tried again."
            }
            BackendError => {
                "The broker answered with an error that has no name here; the code is in `error.backendCode`. It is tried again."
            }
            APIServerError => "The Kubernetes API server did not answer or refused. It is tried again.",
            InvalidObject => "The object cannot be read by this version of the operator. Correct it; others are served meanwhile.",
            ClusterChanged => {
                "`bootstrapServers` lead to another cluster than before. Correct them, or delete and create the object to accept it."
            }
            CRDOutdated => {
                "The installed CRDs are older than the operator: the API server drops fields that they do not know. Nothing is sent or stopped until they are upgraded; what was stopped is started again all the same."
            }
            AverageRateUnavailable => {
                "Kafka: a partition's log cannot be read (no leader), so there is no average input rate; nothing was written, it is tried again. EnOS: the reset was called and answered with 61168, which does not say whether it moved: held."
            }
            PipelineInactive => "The platform reports the pipeline as paused or stopped.",
            PipelineActive => {
                "The pipeline runs. Pause or stop it, and the reset starts by itself; or `whenActive: Pause`. With `whenActive: Fail` it ended; choose a new id."
            }
            PipelineNotStartedYet => {
                "Released, never started: the platform resets only paused or stopped pipelines. Start and stop it, or remove `spec.offsetReset`."
            }
            PipelineFailed => "The platform reports that the pipeline failed. Look into it in the console, then stop it.",
            PipelineStatusUnknown => {
                "The platform reports a state that is not documented, or lists disagree. Nothing is called; it is looked at again."
            }
            PauseOverridden => {
                "Somebody started the pipeline again while the operator held it paused. It is not paused twice: stop it, or remove `spec.offsetReset`."
            }
            AutoscalerActive => {
                "An autoscaler scales a workload that is to be stopped; it would work against the pause. Remove or pause it."
            }
            WorkloadNotFound => "A workload, or its kind, does not exist in the namespace. Correct `spec.kafka.workloads`.",
            SecretNotFound => "A Secret or ConfigMap is missing, lacks a key, or may not be read. Correct it; it is read again when used.",
            EndpointNotAllowed => {
                "The operator may not connect there: the message says why. See `--allowed-endpoints`, `--allow-plain-http` and `--allow-plain-sasl`; the API server is never connected to. Not a byte was sent."
            }
            EndpointUnreachable => "The gateway does not answer. Check the address, DNS and the network.",
            TlsFailed => {
                "The certificate of the gateway or of a broker does not verify, or what is named as CA, certificate or key is none. Check host name and dates, and the field that the message names."
            }
            AuthenticationFailed => {
                "The gateway or the brokers refuse the credentials. Check the values in the Secret, and the operator's clock."
            }
            RateLimited => {
                "The gateway, or a quota of the brokers, limits the rate of calls, or the operator has as many Kafka clients as it may. It slows down and goes on."
            }
            RequestRejected => "The platform refuses a parameter. Check orgID and pipelineID; report it if they are right.",
            UnexpectedAnswer => {
                "Something else than the platform answers, or not as documented. Check `spec.enos.endpoint`, for Kafka what answers at `spec.kafka.bootstrapServers`."
            }
            PlatformError => "The platform reports an internal error. It is tried again; if it stays, ask EnOS support.",
            StatusNotAllowed => "The platform refuses the call in the pipeline's present state. The state is read again.",
            AnotherPipelineStarting => "The platform starts one pipeline of an organization at a time. It is tried again.",
            ResourcesMissing => {
                "The organization has no processing resource for this start. Request it in the console; it is tried again, slowly."
            }
            StartConfigurationInvalid => "The platform refuses `spec.enos.start`. Correct it; it is tried again.",
            Pausing => "The pipeline is being paused, as `whenActive: Pause` asks; the reset follows.",
            BringingBack => "The operator starts the pipeline that it had paused.",
            PauseLimitNear => {
                "The operator has kept the pipeline paused for long, and EnOS keeps a paused pipeline's data for 24 hours. Decide what is to happen."
            }
            LeftPaused => {
                "The object was deleted and its pipeline could not be started again in time (`--finalizer-deadline`). Start it on the platform if it is paused."
            }
            NoReadBackWhilePaused => {
                "The platform accepted the reset and shows the position only of running pipelines. Start it; the readings are then compared."
            }
            Unproven => {
                "The platform accepted the reset and the pipeline runs again; its readings neither prove nor disprove that the position moved. Look at it in the console; a new id asks again."
            }
            NotTakenUp => {
                "The platform accepted the reset, and the pipeline went on from where it was. Look at it in the console; a new id asks again."
            }
            PauseTimedOut => "The pipeline did not stop before the deadline. Nothing was reset, and it is left running or started again.",
            PauseTooLong => {
                "With `whenActive: Pause` a `waitTimeout` above 24h or a `quietPeriod` above 1h, which an earlier version allowed. Nothing was sent, and what was stopped for it is started again. Shorten it, with a new id."
            }
            PipelineNameAmbiguous => "Several pipelines of the organization have this name. Name one by `pipelineID`, in a new object.",
            PlanRecorded => "The plan is in the record and is sent next.",
            Sent => "The plan was sent, or may have been; the group is looked at next.",
            PlanReady => "A dry run: the plan is in the record, nothing was sent. `dryRun: false` under the same id runs it.",
            ResetVerified => "Every partition was read back as planned.",
            BelowLogStart => {
                "Read back as planned; then retention overtook a target before the pipeline was started again. There its consumer goes where its `auto.offset.reset` says. Nothing is written again by itself; a new id asks again."
            }
            SkippedAtCreation => {
                "The request was there when the object was first seen, so it was not run. A new id runs; or create with `whenCreated: Run` or a future `expiresAt`."
            }
            AlreadyHandled => {
                "A record of this id exists from an earlier object, of this cluster or another. It does not run again; a new id does."
            }
            RequestEditedWithoutNewId => {
                "What would be reset was edited after the request ended. Nothing runs under the same id; a new id does. `OffsetsReset` stays at the generation it is true for, so that `kubectl wait` waits; `Stalled` says that a person has to act, so that Git tools fail at once."
            }
            InvalidTarget => "The target cannot mean anything; the message says why. Correct it, with a new id.",
            OutOfRange => "A target lies outside of the log. `outOfRange: Clamp`, or another target, with a new id.",
            NoCommittedOffset => "A selected partition has no committed offset. Choose a policy or other topics, with a new id.",
            NoRecordAtTime => "A partition has no record at or after the time. Choose a policy or another time, with a new id.",
            PartitionNotFound => "A topic or partition does not exist. Correct `topics`, with a new id.",
            PipelineNotFound => {
                "The consumer group, or the EnOS pipeline, does not exist. Correct its name; for a group also `missingGroup: Create` with `topics` and a new id."
            }
            TopicRecreated => {
                "A topic was deleted and made anew since the plan, or since the record that is to be undone. Nothing was sent; a new id asks again."
            }
            PlanChanged => {
                "What the approved plan shows cannot be carried out as it stands, or it is of another request; the message says why. Nothing was sent; name the record of a new dry run, with a new id."
            }
            ClockSkew => {
                "The operator's clock is off the API server's, whose time counts; correct the clock of its node. Only where a record was stamped more than a minute wrong all the same, nothing was sent and the request ended; then a new id."
            }
            GroupTypeNotSupported => "A share or streams group, or one of another protocol (Kafka Connect). It cannot be reset here.",
            LookupInconsistent => {
                "The look-up by time contradicts the log or its newest record, each time it was asked (tiered storage does so). Choose a position or shiftBy, with a new id."
            }
            PlanTooLarge => "The plan does not fit in one record. Select fewer topics or partitions, with a new id.",
            UnknownField => "A field inside `offsetReset` is not known, often a typing error. Correct it, with a new id.",
            WaitTimedOut => {
                "`waitTimeout` passed before the reset could start. The message says what it waited for last; a new id asks again."
            }
            Expired => "`expiresAt` passed before the reset could start. A new id asks again.",
            Restored => "The record came from a backup. Nothing is done from it.",
            NoLongerRequested => "The request was withdrawn or replaced before anything was sent.",
            AbandonedUnrun => "This id was given up before anything was sent. A new id asks again.",
            OutcomeUnknown => {
                "It cannot be known whether the reset took effect. Look at the group; then `onUnknownOutcome: Retry`, a new id, or remove `spec.offsetReset`. What was stopped stays stopped until then."
            }
            OffsetsMoved => {
                "Something else moved the group after the plan was written. Look at the group; then a new id, or remove `spec.offsetReset`. What was stopped stays stopped until then."
            }
            PartlyApplied => "The broker refused some partitions for good. The record names them; then a new id.",
            OfAnotherVersion => {
                "Another version of the operator wrote a word that this one does not know. What stands beside it is in that version's words."
            }
            RecordMissing => {
                "The status says that the request was under way, and its record is gone. It never runs again; a new id asks anew."
            }
        }
    }

    /// Whether a request ends with it: nothing the operator waits for would make it go away.
    pub fn is_terminal(self) -> bool {
        matches!(self, Reason::TopicRecreated | Reason::ClockSkew | Reason::PipelineNotFound | Reason::PipelineNameAmbiguous)
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

/// A word, not an enumeration: a CRD older than the operator must never keep a record from being closed.
impl JsonSchema for Reason {
    fn schema_name() -> Cow<'static, str> {
        "Reason".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "maxLength": 64 })
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
