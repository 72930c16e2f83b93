//! `OffsetResetRecord`: what the operator writes, one per request. Write-ahead log, ledger, audit trail and undo.

// Each printer column repeats the attribute's words.
#![allow(clippy::duplicated_attributes)]

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::stream_pipeline_status::time_schema;
use super::{OffsetReset, OffsetResetRecordStatus, RecordedPlan, StartOptions, WorkloadReference};

/// The record of one request. Written by the operator only; people read it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cel", kube(cel))]
#[kube(
    group = "streampipeline.io",
    version = "v1alpha1",
    kind = "OffsetResetRecord",
    namespaced,
    status = "OffsetResetRecordStatus",
    derive = "PartialEq",
    shortname = "osr",
    category = "streaming",
    selectable = ".status.phase",
    selectable = ".status.over",
    doc = "OffsetResetRecord is the record of one reset request: the plan, written before anything is sent, and what became of it. Written by the operator only.",
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.phase) || !has(self.spec.plan) || has(oldSelf.spec.plan)").message("spec.plan of a closed record may be dropped, never put there"),
    printcolumn(name = "Pipeline", type_ = "string", json_path = ".spec.pipeline.name"),
    printcolumn(name = "Request", type_ = "string", json_path = ".spec.request.id"),
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.target"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Partitions", type_ = "integer", json_path = ".status.totals.partitions"),
    printcolumn(name = "Replayed", type_ = "integer", json_path = ".status.totals.replayed"),
    printcolumn(name = "Skipped", type_ = "integer", json_path = ".status.totals.skipped"),
    printcolumn(name = "Undo", type_ = "string", json_path = ".status.undo"),
    printcolumn(name = "Stopped", type_ = "boolean", json_path = ".spec.runStateBefore.running", priority = 1, description = "Whether the pipeline ran, and was to be stopped for the reset"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.pipeline == oldSelf.pipeline && self.request == oldSelf.request && has(self.target) == has(oldSelf.target) && (!has(self.target) || self.target == oldSelf.target) && self.backend == oldSelf.backend && self.createdAt == oldSelf.createdAt && self.deadline == oldSelf.deadline && has(self.runStateBefore) == has(oldSelf.runStateBefore) && (!has(self.runStateBefore) || self.runStateBefore == oldSelf.runStateBefore)").message("spec of an OffsetResetRecord is immutable but for plan and writer"),
    validation = Rule::new("!has(self.plan) || !has(oldSelf.plan) || self.plan == oldSelf.plan").message("spec.plan may be put there and dropped, never changed")
)]
pub struct OffsetResetRecordSpec {
    /// The StreamPipeline this was asked by.
    pub pipeline: PipelineRef,
    /// The request as it was when the record was made.
    pub request: OffsetReset,
    /// `request.to` in words, such as "Earliest", "-1,000" or "undo of turbine-91c04e77ab35d2f0".
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub target: String,
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// Another group of the same cluster. None: there are no groups.
    pub fn beside(&self, other: &str) -> Option<Self> {
        match self {
            BackendIdentity::Kafka { cluster_id, .. } => {
                Some(BackendIdentity::Kafka { cluster_id: cluster_id.clone(), consumer_group: other.to_owned() })
            }
            BackendIdentity::Enos { .. } => None,
        }
    }

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
