//! The status of a `StreamPipeline`: output only. It may prevent an action or start a clock; it never causes one.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::{Reason, Stage};

/// What the operator saw and did.
// A new object has a status of no generation: without one, Git tools take it for done before anybody has looked at it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = { "observedGeneration": -1 }))]
pub struct StreamPipelineStatus {
    /// The generation of the spec this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What the pipeline was doing when last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Ready always; Reconciling, Stalled, PipelineInactive, OffsetsReset, BackendReachable where they apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The request last dealt with. Stays readable after the request is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_reset: Option<Box<OffsetResetStatus>>,
    /// Lag of the selected partitions at the time beside it. Written only along with something else, and left out where a reset has moved
    /// the position since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<Lag>,
    /// uid of the object this status was written for; another one means a restored or copied status.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "observedUID")]
    pub observed_uid: Option<String>,
    /// The id of the request that was there when this status was written.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "acknowledgedID")]
    pub acknowledged_id: Option<String>,
    /// Ids of earlier requests that have ended, the newest last; at most 50. None of them runs again, also when its record is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "endedIDs")]
    #[schemars(length(max = 50))]
    pub ended_ids: Vec<String>,
    /// The Kafka cluster id seen first, once the group could be read there; another one is `ClusterChanged`.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "clusterID")]
    pub cluster_id: Option<String>,
    /// The EnOS pipeline's id, once the platform has shown the pipeline; kept from then on, also where the spec names it by name.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "pipelineID")]
    pub pipeline_id: Option<String>,
}

/// Most of [`StreamPipelineStatus::ended_ids`].
const ENDED_IDS: usize = 50;

impl StreamPipelineStatus {
    /// Speaks of the request last dealt with no more; where its id is used up, that is kept.
    pub fn leave_last(&mut self) {
        let Some(last) = self.offset_reset.take().filter(|last| last.stage.uses_up_its_id() && !last.is_dry_run()) else { return };
        self.ended_ids.retain(|id| *id != last.id);
        self.ended_ids.push(last.id);
        let surplus = self.ended_ids.len().saturating_sub(ENDED_IDS);
        self.ended_ids.drain(..surplus);
    }
}

/// What the pipeline is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
pub enum Phase {
    /// The group has members, or its offsets move; RUNNING on EnOS.
    Running,
    /// PAUSED on EnOS; with workloads: the operator keeps them at 0.
    Paused,
    /// The group is Empty; STOPPED on EnOS.
    Stopped,
    /// Released and not started yet: PUBLISHED on EnOS.
    NotStarted,
    /// The platform says that it failed: Run Error on EnOS.
    Failed,
    /// There is no such group and it has no committed offsets; no such pipeline on EnOS.
    NotFound,
    /// It could not be read.
    #[serde(other)]
    Unknown,
}

/// A request and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OffsetResetStatus {
    pub id: String,
    pub stage: Stage,
    /// true: a dry run, which moves nothing and does not use up its id. Absent: a reset.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// When the operator took the request on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub accepted_at: Option<Timestamp>,
    /// Nothing is sent after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub deadline: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanTotals>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_ref: Option<RecordRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub completed_at: Option<Timestamp>,
    /// Since when the operator keeps the pipeline paused. Absent: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub paused_by_operator: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ResetError>,
}

impl OffsetResetStatus {
    pub fn is_dry_run(&self) -> bool {
        // One that an earlier version wrote says so by its stage alone.
        self.dry_run || self.stage == Stage::Planned
    }
}

/// What a plan costs. Offset distances: an upper bound of the records they stand for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanTotals {
    /// Partitions that get a new position.
    pub partitions: i64,
    /// Selected partitions that are left as they are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_alone: i64,
    /// Offsets that will be read again.
    pub replayed: i64,
    /// Offsets that will never be read.
    pub skipped: i64,
    /// Partitions whose target was moved to an end of the log.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clamped: i64,
    /// Offsets between the targets and the log ends.
    pub lag_after: i64,
    /// Records per second over the last ten minutes (or since the oldest record kept), all selected partitions together.
    pub average_rate: f64,
    /// How long the pipeline will read until it has caught up, in words: from `lagAfter`, `averageRate` and the rate at which it was seen
    /// reading before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub catch_up: Option<String>,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// Name of an OffsetResetRecord in the same namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordRef {
    pub name: String,
}

/// Why a request did not succeed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResetError {
    /// The code as EnOS documents it (docs/codes.md). On the kafka backend: 61108 (the group does not exist), 61168 (the average rate could not be had).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    pub reason: Reason,
    /// The broker's own code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_code: Option<i32>,
    pub message: String,
    /// Whether the operator goes on by itself.
    pub retryable: bool,
}

/// Lag of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lag {
    pub total: i64,
    /// When it was read; on EnOS when the platform took it.
    #[schemars(schema_with = "time_schema")]
    pub at: Timestamp,
}

pub(super) fn time_schema(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "string", "format": "date-time" })
}
