//! The plan in a record: one table in columns per topic.

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{PlanTotals, PlatformCall};

/// Most rows a plan may have: one object stays below 1 MiB, so that about 15,000 partitions fit.
pub const MAX_ROWS: usize = 20_000;

/// Most topics of a plan.
pub const MAX_TOPICS: usize = 1000;

/// Targets and snapshot, one table in columns per topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedPlan {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub topics: Vec<TopicPlan>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<PlanTotals>,
    /// The time whose first record was looked up in each partition. Left out where no time was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::stream_pipeline_status::time_schema")]
    pub time: Option<Timestamp>,
    /// Instead of topics and totals, where the platform chooses the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<PlatformCall>,
    /// So many partitions are sent at once, in the order of this table without those left alone; deletions come after all others. Left out where all of them are.
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
