//! What became of a record.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stream_pipeline_status::time_schema;
use super::{LagSample, PlanTotals, Reason};

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OffsetResetRecordStatus {
    pub phase: RecordPhase,
    /// Nothing is left to be done: it is closed, and what was stopped for it runs again. Left out of some that are over too, such as a held one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over: bool,
    /// The attempt this phase closes.
    pub attempt: i32,
    pub reason: Reason,
    pub message: String,
    /// The platform's code, where it answered with one (docs/codes.md).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    #[schemars(schema_with = "time_schema")]
    pub completed_at: Timestamp,
    /// What was seen when it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// What it cost, also once the table is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<PlanTotals>,
    /// Whether it can be undone: `spec.offsetReset.to.undo`. Left out where nothing was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
    /// Where the pipeline read after the next start, where the platform says so only then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<LagSample>,
    /// When the pipeline that the operator had stopped was seen running again, or was left to whoever changed it meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub brought_back_at: Option<Timestamp>,
    /// Stands for what was announced: the plan's table, topic ids and call. Nothing else is ever sent from this record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub plan_digest: Option<String>,
    /// Partitions the broker refused, the first hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub failures: Vec<PartitionFailure>,
}

impl OffsetResetRecordStatus {
    /// Closed in this phase, with nothing else to say.
    pub fn new(phase: RecordPhase, reason: Reason, completed_at: Timestamp) -> Self {
        Self {
            phase,
            over: false,
            attempt: 0,
            reason,
            message: String::new(),
            code: None,
            completed_at,
            verification: None,
            totals: None,
            undo: None,
            reading: None,
            brought_back_at: None,
            plan_digest: None,
            failures: Vec::new(),
        }
    }
}

/// Phases of a closed record. A record without a status and with a plan is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
pub enum RecordPhase {
    /// A dry run: nothing is ever sent from it.
    Planned,
    Verified,
    /// Accepted by a platform that cannot be read back before the pipeline's next start.
    Sent,
    Held,
    Abandoned,
    /// A word that this version does not know: closed, and left as it is.
    #[serde(other)]
    #[schemars(skip)]
    OfAnotherVersion,
}

impl RecordPhase {
    /// Nothing is ever sent from it again: one that is held may be retried, one that was sent may still be proven.
    pub fn is_end(self) -> bool {
        matches!(self, RecordPhase::Planned | RecordPhase::Verified | RecordPhase::Abandoned)
    }
}

/// Whether a reset can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Undo {
    /// The record has the offsets from before.
    Possible,
    /// The platform has no call for it, or the table was dropped.
    Impossible,
    /// A word that this version does not know. It only informs.
    #[serde(other)]
    #[schemars(skip)]
    OfAnotherVersion,
}

/// How many partitions stood where at the last look.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    pub at_target: i64,
    pub as_before: i64,
    pub elsewhere: i64,
}

/// A partition the broker refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartitionFailure {
    pub topic: String,
    pub partition: i32,
    /// Kafka's error code.
    pub code: i32,
}
