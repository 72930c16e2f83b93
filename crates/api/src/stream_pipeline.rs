//! `StreamPipeline`: what a person writes. Every rule that needs no look at the world is here, as schema or CEL.

#![allow(clippy::duplicated_attributes, reason = "columns share the words of their attributes")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::core::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StreamPipelineStatus;

mod enos;
mod kafka;
mod references;
mod rules;
mod targets;

pub use enos::{EnosBackend, ExecutionMode, StartOptions};
pub use kafka::{KafkaBackend, Mechanism, Sasl, Tls, WorkloadReference};
pub use references::{CaSource, ConfigMapKeyReference, KeyReference, OffsetsSource, RecordReference, SecretReference};
pub use targets::{PartitionOffset, Position, Target, exactly_one};

/// A pipeline that reads from Kafka, and the request to move its read position.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cel", kube(cel))]
#[kube(
    group = "streampipeline.io",
    version = "v1alpha1",
    kind = "StreamPipeline",
    namespaced,
    status = "StreamPipelineStatus",
    derive = "PartialEq",
    shortname = "sp",
    category = "streaming",
    doc = "StreamPipeline names a pipeline that reads from Kafka. spec.offsetReset asks for a new read position; the operator moves it once, proves it and says so in the status.",
    validation = Rule::new("self.metadata.name.size() <= 63").message("metadata.name: at most 63 characters, so that it fits a label; choose a shorter name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Request", type_ = "string", json_path = ".status.offsetReset.id"),
    printcolumn(name = "Reset", type_ = "string", json_path = ".status.offsetReset.stage"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Group", type_ = "string", json_path = ".spec.kafka.consumerGroup", priority = 1),
    printcolumn(name = "Pipeline", type_ = "string", json_path = ".status.pipelineID", priority = 1),
    printcolumn(name = "Replayed", type_ = "integer", json_path = ".status.offsetReset.plan.replayed", priority = 1),
    printcolumn(name = "Skipped", type_ = "integer", json_path = ".status.offsetReset.plan.skipped", priority = 1),
    printcolumn(name = "Lag", type_ = "integer", json_path = ".status.lag.total", priority = 1),
    printcolumn(name = "Record", type_ = "string", json_path = ".status.offsetReset.recordRef.name", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::null_is_absent)]
#[x_kube(
    validation = Rule::new("has(self.kafka) != has(self.enos)").message("spec: exactly one of kafka and enos is needed; keep the one the pipeline runs on"),
    validation = Rule::new("has(self.kafka) == has(oldSelf.kafka)").message("spec: the kind of backend is immutable: delete the StreamPipeline and create it anew"),
    validation = Rule::new("!has(self.kafka) || !has(self.offsetReset) || has(self.offsetReset.to)").message(format!("spec.offsetReset.to is needed with spec.kafka: {}", targets::exactly_one()).as_str()),
    validation = Rule::new("!has(self.enos) || !has(self.offsetReset) || !has(self.offsetReset.to)").message("spec.offsetReset.to cannot be chosen with spec.enos: the platform decides where the position goes; remove it"),
    validation = Rule::new(rules::kafka_only()).message("spec.offsetReset: topics, quietPeriod, outOfRange, noRecordAtTime, noCommittedOffset, missingGroup and approvedPlan mean nothing with spec.enos, where the platform decides; remove them"),
    validation = Rule::new("!has(self.enos) || has(self.enos.start) || !has(self.offsetReset) || !has(self.offsetReset.whenActive) || self.offsetReset.whenActive != 'Pause'").message("spec.enos.start is needed with whenActive: Pause, so that the operator can start the pipeline again: executionMode, kafkaRate, and resourceConfig where it has one"),
    validation = Rule::new("!has(self.kafka) || has(self.kafka.workloads) || !has(self.offsetReset) || !has(self.offsetReset.whenActive) || self.offsetReset.whenActive != 'Pause'").message("spec.kafka.workloads is needed with whenActive: Pause, so that the operator knows what to stop and to bring back; or use Wait or Fail"),
    validation = Rule::new("!has(self.kafka) || !has(self.offsetReset) || !has(self.offsetReset.to) || !has(self.offsetReset.to.consumerGroup) || self.offsetReset.to.consumerGroup != self.kafka.consumerGroup").message("spec.offsetReset.to.consumerGroup: the group itself is named; name another group, or use position: Current"),
    validation = Rule::new(rules::pause_at_most("waitTimeout", "24h")).message("spec.offsetReset.waitTimeout: at most 24h with whenActive: Pause, which may keep the pipeline stopped for as long; shorten it, or use Wait and stop the pipeline yourself"),
    validation = Rule::new(rules::pause_at_most("quietPeriod", "1h")).message("spec.offsetReset.quietPeriod: at most 1h with whenActive: Pause, which keeps the pipeline stopped meanwhile; shorten it, or use Wait and stop the pipeline yourself")
)]
pub struct StreamPipelineSpec {
    /// The pipeline is a Kafka consumer group; the operator moves its committed offsets. Omitted: it runs on `enos`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaBackend>,
    /// The pipeline is one of the EnOS Stream Processing Service; the operator asks the platform to reset it. Omitted: it runs on `kafka`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enos: Option<Box<EnosBackend>>,
    /// The request to move the read position. Omitted: nothing is asked for, and nothing is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_reset: Option<Box<OffsetReset>>,
}

/// A request: one value of `id` is carried out at most once.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::null_is_absent)]
#[x_kube(
    validation = Rule::new(format!("!has(self.missingGroup) || self.missingGroup != 'Create' || has(self.topics) || has(self.to) && ({})", targets::given(targets::NAMES_PARTITIONS))).message("spec.offsetReset.missingGroup: Create needs spec.offsetReset.topics, since a group that does not exist has no topics yet"),
    validation = Rule::new(format!("!has(self.to) || !({}) || !has(self.topics)", targets::given(targets::NAMES_PARTITIONS))).message(format!("spec.offsetReset.topics has no meaning with {}, which names the partitions itself; remove it", targets::names(targets::NAMES_PARTITIONS)).as_str()),
    validation = Rule::new(format!("!has(self.to) || !({}) || !has(self.noCommittedOffset)", targets::given(targets::A_RECORD))).message(format!("spec.offsetReset.noCommittedOffset has no meaning with {}, which goes back to where the group was, whatever is committed now; remove it", targets::names(targets::A_RECORD)).as_str()),
    validation = Rule::new(targets::not_from("noCommittedOffset", "Target", targets::A_COMMIT)).message(format!("spec.offsetReset.noCommittedOffset: Target has no meaning with {}, which starts from a committed offset; use Fail or Skip", targets::names(targets::A_COMMIT)).as_str()),
    validation = Rule::new(targets::not_from("missingGroup", "Create", targets::OWN_COMMIT)).message(format!("spec.offsetReset.missingGroup: Create has no meaning with {}, which starts from a committed offset of the group; use another target", targets::names(targets::OWN_COMMIT)).as_str()),
    validation = Rule::new(rules::quiet_fits_wait()).message("spec.offsetReset.quietPeriod (10s when omitted) is longer than waitTimeout (24h when omitted): the wait would always time out; shorten quietPeriod or lengthen waitTimeout")
)]
pub struct OffsetReset {
    /// Names this request. A new value is a new request; the same value never runs twice. Any printable text.
    #[x_kube(
        validation = Rule::new(rules::ID).message("spec.offsetReset.id: printable characters, at least one, without spaces at its ends; choose an id such as replay-2026-11-22"),
        validation = Rule::new(rules::ID_RENDERED).message("spec.offsetReset.id: it still has the marks of a template (such as ${…}, $NAME, {{ … }} or <% … %>), so it was never rendered; render the manifest, or choose an id without them")
    )]
    #[schemars(length(max = 128))]
    pub id: String,
    /// Where to move to: exactly one of the fields inside. Needed with `kafka`, refused with `enos`, where the platform decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Target>,
    /// Which topics. Omitted: every topic the group has committed offsets for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(min = 1, max = 1000))]
    pub topics: Option<Vec<TopicSelection>>,
    /// What to do while the pipeline is active. Pause: stop it, reset it, bring it back; `waitTimeout` is then at most 24h, `quietPeriod` at most 1h. Omitted: Wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_active: Option<WhenActive>,
    /// How long to wait, from acceptance, such as 90s or 1h30m (no days). Omitted: 24h. Then WaitTimedOut. With `whenActive: Pause` at most 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::wait_timeout()).message("spec.offsetReset.waitTimeout: a duration above 0s and at most 720h, such as 90s, 1h30m or 24h (no days, no sign); not to wait at all is whenActive: Fail"))]
    #[schemars(schema_with = "rules::duration_schema")]
    pub wait_timeout: Option<Duration>,
    /// How long the group must have neither members nor moving offsets. Omitted: 10s; 0s switches the check off. With `whenActive: Pause` at most 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::duration()).message("spec.offsetReset.quietPeriod: a duration such as 500ms, 10s or 1h30m, or 0s to switch it off (no days, no sign)"))]
    #[schemars(schema_with = "rules::duration_schema")]
    pub quiet_period: Option<Duration>,
    /// Whether a request that is already there when the object is created runs. Omitted: Skip, so that a restored
    /// or copied manifest moves nothing. Run is for a person with kubectl: it also runs where the object is created again
    /// and its record is not there (another namespace, or one made anew). In Git: expiresAt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_created: Option<WhenCreated>,
    /// Not started by then (RFC 3339, zone required): Expired, never run. In the future it also lets a request run
    /// that is present at creation, as in Git. Omitted: no such limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::instant()).message("spec.offsetReset.expiresAt: a time of the years 1970 to 2999 in RFC 3339 with its zone, such as 2026-11-22T08:00:00Z or 2026-11-22T08:00:00+08:00"))]
    #[schemars(schema_with = "rules::instant_schema")]
    pub expires_at: Option<Timestamp>,
    /// A target outside of the log. Omitted: Fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_range: Option<OutOfRange>,
    /// A partition without a record at or after `to.timestamp`, or as new as `to.lookback` asks. Omitted: Latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_record_at_time: Option<NoRecordAtTime>,
    /// A selected partition without a committed offset. Omitted: Target, or Fail with `to.shiftBy` and `to.position: Current`. With `to.consumerGroup` the other group's offset counts, and omitted is Fail. Means nothing with `to.undo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_committed_offset: Option<NoCommittedOffset>,
    /// A group that does not exist. Omitted: Fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_group: Option<MissingGroup>,
    /// What to do when it cannot be known whether a reset took effect. Omitted: Hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_unknown_outcome: Option<OnUnknownOutcome>,
    /// true: compute and show the plan, change nothing; the id is not used up. Omitted: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    /// Carries out exactly the plan of this dry run: the name of its record, in the same namespace, of the same group, and asked with the same `to`, `topics` and policies, by whichever StreamPipeline. Omitted: the plan is made when the request runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::OBJECT).message("spec.offsetReset.approvedPlan: the name of a dry run's OffsetResetRecord in the same namespace, as kubectl get osr shows it: lower-case letters, digits, '-' and '.'; a template must be rendered before"))]
    #[schemars(length(max = 253))]
    pub approved_plan: Option<String>,
    /// Free text, kept in the record and in events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub note: Option<String>,
    /// Fields this version does not know. Kept, so that the operator can refuse them (`UnknownField`): a pruned
    /// `dryRun` would be a real reset.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

impl OffsetReset {
    /// Left out is the same as false.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run.unwrap_or(false)
    }
}

/// A topic, or some partitions of it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::null_is_absent)]
pub struct TopicSelection {
    /// Name of the topic.
    #[x_kube(validation = Rule::new(rules::TOPIC).message("spec.offsetReset.topics[].name: letters, digits, '.', '_' and '-' only, as Kafka has it; no patterns, list each topic"))]
    #[schemars(length(max = 249))]
    pub name: String,
    /// Its partitions. Omitted: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::partitions_schema")]
    pub partitions: Option<Vec<i32>>,
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenActive {
    #[default]
    Wait,
    Fail,
    Pause,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenCreated {
    #[default]
    Skip,
    Run,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OutOfRange {
    #[default]
    Fail,
    Clamp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NoRecordAtTime {
    #[default]
    Latest,
    Skip,
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NoCommittedOffset {
    Target,
    Skip,
    Fail,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MissingGroup {
    #[default]
    Fail,
    Create,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnUnknownOutcome {
    #[default]
    Hold,
    Retry,
}
