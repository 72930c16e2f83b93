//! `OffsetResetRecord`: what the operator writes, one per request. Write-ahead log, ledger, audit trail and undo.

// Each printer column repeats the attribute's words.
#![allow(clippy::duplicated_attributes)]

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::stream_pipeline_status::time_schema;
use super::{OffsetReset, PlanTotals, Reason, StartOptions, WorkloadReference};

/// Most rows a plan may have: one object stays below 1 MiB, so that about 15,000 partitions fit.
pub const MAX_ROWS: usize = 20_000;

/// The record of one request. Written by the operator only; people read it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "streampipeline.io",
    version = "v1alpha1",
    kind = "OffsetResetRecord",
    namespaced,
    cel,
    status = "OffsetResetRecordStatus",
    derive = "PartialEq",
    shortname = "osr",
    category = "streaming",
    doc = "OffsetResetRecord is the record of one reset request: the plan, written before anything is sent, and what became of it. Written by the operator only.",
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.phase) || !has(self.spec.plan) || has(oldSelf.spec.plan)").message("spec.plan of a closed record may be dropped, never put there"),
    printcolumn(name = "Pipeline", type_ = "string", json_path = ".spec.pipeline.name"),
    printcolumn(name = "Request", type_ = "string", json_path = ".spec.request.id"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Partitions", type_ = "integer", json_path = ".spec.plan.totals.partitions"),
    printcolumn(name = "Replayed", type_ = "integer", json_path = ".spec.plan.totals.replayed"),
    printcolumn(name = "Skipped", type_ = "integer", json_path = ".spec.plan.totals.skipped"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.pipeline == oldSelf.pipeline && self.request == oldSelf.request && self.backend == oldSelf.backend && self.createdAt == oldSelf.createdAt && self.deadline == oldSelf.deadline && has(self.runStateBefore) == has(oldSelf.runStateBefore) && (!has(self.runStateBefore) || self.runStateBefore == oldSelf.runStateBefore)").message("spec of an OffsetResetRecord is immutable but for plan and writer"),
    validation = Rule::new("!has(self.plan) || !has(oldSelf.plan) || self.plan == oldSelf.plan").message("spec.plan may be put there and dropped, never changed")
)]
pub struct OffsetResetRecordSpec {
    /// The StreamPipeline this was asked by.
    pub pipeline: PipelineRef,
    /// The request as it was when the record was made.
    pub request: OffsetReset,
    /// Where the reset is carried out: clusterID and consumerGroup, or orgID and pipelineID.
    #[schemars(schema_with = "backend_schema")]
    pub backend: BackendIdentity,
    /// When the operator made this record, by the clock it goes by (the API server's, where its own is off). Far from metadata.creationTimestamp: a restored record.
    #[schemars(schema_with = "time_schema")]
    pub created_at: Timestamp,
    /// Nothing is sent after this time.
    #[schemars(schema_with = "time_schema")]
    pub deadline: Timestamp,
    /// With `whenActive: Pause`: what the pipeline did before. Written before anything is paused, so that it is brought back also after a crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_state_before: Option<RunStateBefore>,
    /// Who put the plan there. Only that process may send it. Changes with `plan` and with a retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<Writer>,
    /// The absolute targets with the snapshot they were made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<RecordedPlan>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PipelineRef {
    pub name: String,
    pub uid: String,
}

/// Where a reset is carried out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum BackendIdentity {
    Kafka {
        /// The Kafka cluster's id.
        #[serde(rename = "clusterID")]
        cluster_id: String,
        consumer_group: String,
    },
    Enos {
        #[serde(rename = "orgID")]
        org_id: String,
        #[serde(rename = "pipelineID")]
        pipeline_id: String,
    },
}

impl BackendIdentity {
    /// What names and labels are made of.
    pub fn parts(&self) -> [&str; 2] {
        match self {
            BackendIdentity::Kafka { cluster_id, consumer_group } => [cluster_id, consumer_group],
            BackendIdentity::Enos { org_id, pipeline_id } => [org_id, pipeline_id],
        }
    }
}

/// What the pipeline did when the request began, and how to bring it back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunStateBefore {
    /// true: it ran, so the operator stops it and brings it back. false: it is not touched.
    pub running: bool,
    /// How it is started again on EnOS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartOptions>,
    /// What runs its consumers, with the counts to come back to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub workloads: Vec<ScaledWorkload>,
    /// Where it read before it was stopped, as far as the platform says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<LagSample>,
}

/// A workload and its count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaledWorkload {
    #[schemars(length(max = 253))]
    pub api_version: String,
    #[schemars(length(max = 63))]
    pub kind: String,
    #[schemars(length(max = 253))]
    pub name: String,
    pub replicas: i32,
}

impl ScaledWorkload {
    pub fn reference(&self) -> WorkloadReference {
        WorkloadReference { api_version: self.api_version.clone(), kind: self.kind.clone(), name: self.name.clone() }
    }
}

/// What EnOS says of a pipeline's position: one offset and one lag over all partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LagSample {
    pub offset: i64,
    pub lag: i64,
    /// When the platform took it, by its own clock.
    #[schemars(schema_with = "time_schema")]
    pub at: Timestamp,
}

/// A reset whose target the platform chooses: the call is the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlatformCall {
    /// What is called.
    pub operation: String,
    /// The platform's own word for the state the pipeline was in.
    pub state: String,
    /// Whether the reset can be undone. On EnOS it cannot: the platform has no call that sets a given position.
    pub undo: bool,
    /// The last known position before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<LagSample>,
    /// true: `before` was read while the pipeline was paused or stopped, so that anything newer is from after its next start.
    #[serde(default)]
    pub before_was_read_while_inactive: bool,
}

/// The process that wrote a plan ahead.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Writer {
    /// Random, drawn at process start.
    pub incarnation: String,
    /// Counts the plans of that process.
    pub number: i64,
    /// 1; 2 for the one retry that `onUnknownOutcome: Retry` allows.
    pub attempt: i32,
    /// Which chunk of the plan may be sent, counted from 1; those before were read back as planned.
    // Always written: a merge that leaves it out would keep the one before.
    #[serde(default = "first_chunk")]
    pub chunk: i32,
}

fn first_chunk() -> i32 {
    1
}

/// Targets and snapshot, one table in columns per topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedPlan {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub topics: Vec<TopicPlan>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<PlanTotals>,
    /// Instead of topics and totals, where the platform chooses the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<PlatformCall>,
    /// So many partitions are sent at once, in the order of this table without those left alone. Left out where all of them are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_size: Option<i32>,
    /// What a person should know before and after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 512)))]
    pub warnings: Vec<String>,
}

impl RecordedPlan {
    /// What is sent from it, in 64 hex digits.
    pub fn digest(&self) -> String {
        let sent = serde_json::to_vec(&(&self.topics, &self.call, &self.chunk_size)).unwrap_or_default();
        hex::encode(Sha256::digest(sent))
    }
}

/// The rows of one topic, in columns of the same length; a column that says nothing is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicPlan {
    pub name: String,
    /// Kafka's topic id (base64): another one means the topic was made anew.
    #[serde(rename = "topicID")]
    pub topic_id: String,
    #[schemars(schema_with = "column32")]
    pub partition: Vec<i32>,
    /// Committed offset before; -1: none.
    #[schemars(schema_with = "column")]
    pub from: Vec<i64>,
    /// Leader epoch committed before; -1: none. Left out when all are -1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "column32")]
    pub from_leader_epoch: Vec<i32>,
    /// Metadata committed before. Left out when all are empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "text_column")]
    pub from_metadata: Vec<String>,
    /// What is done to the partition. Left out when all are Commit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "action_column")]
    pub action: Vec<Action>,
    /// Target offset; -1 where nothing is committed (`action`).
    #[schemars(schema_with = "column")]
    pub to: Vec<i64>,
    /// Leader epoch of the target, where the look-up gave one; -1: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "column32")]
    pub to_leader_epoch: Vec<i32>,
    /// Metadata of the target. Left out when all are empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "text_column")]
    pub to_metadata: Vec<String>,
    /// Time of the record found (ms since 1970); -1: none. Left out unless looked up by time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "column")]
    pub found_time: Vec<i64>,
    /// Log start offset.
    #[schemars(schema_with = "column")]
    pub log_start: Vec<i64>,
    /// Last stable offset: the end of what a committed reader sees.
    #[schemars(schema_with = "column")]
    pub log_end: Vec<i64>,
    /// High watermark. Left out when it is the last stable offset everywhere (no transaction open).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "column")]
    pub high_watermark: Vec<i64>,
    /// Why the target is what it is. Left out when all are Target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "why_column")]
    pub why: Vec<TargetReason>,
}

/// What a reset does to a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// Commits the target.
    #[default]
    Commit,
    /// Leaves it alone: what is committed, or that nothing is, stays.
    Keep,
    /// Deletes what is committed.
    Delete,
}

/// Why a partition's target is what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
pub enum TargetReason {
    /// As asked.
    #[default]
    Target,
    /// The target lay before the log.
    ClampedToStart,
    /// The target lay after the log.
    ClampedToEnd,
    /// No record at or after the time: the end of the log.
    NoRecordLatest,
    /// No record at or after the time: left alone.
    NoRecordSkipped,
    /// No committed offset: left alone.
    NoCommitSkipped,
    /// An open transaction holds the end back: the last stable offset.
    TransactionOpen,
    /// A word that this version does not know. It only informs.
    #[serde(other)]
    #[schemars(skip)]
    OfAnotherVersion,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OffsetResetRecordStatus {
    pub phase: RecordPhase,
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
            attempt: 0,
            reason,
            message: String::new(),
            code: None,
            completed_at,
            verification: None,
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

fn backend_schema(_: &mut SchemaGenerator) -> Schema {
    let text = |about: &str| serde_json::json!({ "type": "string", "maxLength": 255, "description": about });
    schemars::json_schema!({
        "type": "object",
        "description": "Where the reset is carried out: clusterID and consumerGroup, or orgID and pipelineID.",
        "properties": {
            "clusterID": text("The Kafka cluster's id."),
            "consumerGroup": text("The consumer group."),
            "orgID": text("The EnOS organization."),
            "pipelineID": text("The id of the EnOS pipeline."),
        }
    })
}

fn table(items: serde_json::Value) -> Schema {
    schemars::json_schema!({ "type": "array", "maxItems": MAX_ROWS, "items": items })
}

fn column(_: &mut SchemaGenerator) -> Schema {
    table(serde_json::json!({ "type": "integer", "format": "int64" }))
}

fn column32(_: &mut SchemaGenerator) -> Schema {
    table(serde_json::json!({ "type": "integer", "format": "int32" }))
}

fn text_column(_: &mut SchemaGenerator) -> Schema {
    table(serde_json::json!({ "type": "string", "maxLength": 32768 }))
}

fn action_column(_: &mut SchemaGenerator) -> Schema {
    table(serde_json::json!({ "type": "string", "enum": [Action::Commit, Action::Keep, Action::Delete] }))
}

fn why_column(_: &mut SchemaGenerator) -> Schema {
    use TargetReason::*;
    let words = [Target, ClampedToStart, ClampedToEnd, NoRecordLatest, NoRecordSkipped, NoCommitSkipped, TransactionOpen];
    table(serde_json::json!({ "type": "string", "enum": words }))
}
