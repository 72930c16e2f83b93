//! `spec.offsetReset.to`, of whose fields exactly one is given: the fields, and a table from which follows what admission says of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::KubeSchema;
use kube::core::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::references::{OffsetsSource, RecordReference};
use super::rules;

/// Where to move to.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::null_is_absent)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
#[x_kube(
    validation = Rule::new(any()).message(format!("spec.offsetReset.to: {} is needed, and none of them is there; a field of another name is not known: check its spelling", exactly_one()).as_str()),
    validation = Rule::new(at_most_one()).message(format!("spec.offsetReset.to: {} is needed, and several are there; keep the one that is meant", exactly_one()).as_str())
)]
pub struct Target {
    /// An end of the log, or where the group is: Latest is the last stable offset, so that it never jumps over an open transaction;
    /// Current commits once more what is committed, with its metadata, which renews the time after which Kafka forgets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The first record at or after this time, per partition (RFC 3339, zone required, in the past).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::instant()).message("spec.offsetReset.to.timestamp: a time of the years 1970 to 2999 in RFC 3339 with its zone, such as 2026-11-22T08:00:00Z or 2026-11-22T08:00:00+08:00"))]
    #[schemars(schema_with = "rules::instant_schema")]
    pub timestamp: Option<Timestamp>,
    /// So many offsets after (or, negative, before) the committed offset of each partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self != 0").message("spec.offsetReset.to.shiftBy: 0 moves nothing; give a number above or below 0"))]
    #[schemars(range(min = -1_000_000_000_000_000_i64, max = 1_000_000_000_000_000_i64))]
    pub shift_by: Option<i64>,
    /// The first record that is at most this old, per partition, such as 90s or 2h30m (no days): back from when the record is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::wait_timeout()).message("spec.offsetReset.to.lookback: a duration above 0s and at most 720h, such as 90s, 1h30m or 24h (no days, no sign); for a time longer ago use to.timestamp"))]
    #[schemars(schema_with = "rules::duration_schema")]
    pub lookback: Option<Duration>,
    /// This offset in every selected partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000_000_000_i64))]
    pub offset: Option<i64>,
    /// An offset for each of these partitions, and nothing for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["topic".into(), "partition".into()]))]
    #[schemars(length(min = 1, max = 1000))]
    pub offsets: Option<Vec<PartitionOffset>>,
    /// The same as `offsets` for any number of partitions, from a ConfigMap in the CSV of kafka-consumer-groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offsets_from: Option<OffsetsSource>,
    /// Where this other consumer group of the same cluster is. It is only read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new(rules::RENDERED).message("spec.offsetReset.to.consumerGroup: it still has the marks of a template (such as ${…}, {{ … }} or <% … %>), so it was never rendered; render the manifest"),
        validation = Rule::new(rules::VISIBLE).message("spec.offsetReset.to.consumerGroup: no control, invisible or line-breaking characters; spell it exactly as the consumers do")
    )]
    #[schemars(length(min = 1, max = 255))]
    pub consumer_group: Option<String>,
    /// Back to where the group was before the reset of this record: offsets, leader epochs and metadata; a commit that was not there is
    /// deleted. It can be undone itself, by the record that it makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<RecordReference>,
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

/// An offset of one partition.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionOffset {
    /// Name of the topic.
    #[x_kube(validation = Rule::new(rules::TOPIC).message("spec.offsetReset.to.offsets[].topic: letters, digits, '.', '_' and '-' only, as Kafka has it"))]
    #[schemars(length(max = 249))]
    pub topic: String,
    /// Its number.
    #[schemars(range(min = 0))]
    pub partition: i32,
    /// What is committed for it: the offset of the next record to be read.
    #[schemars(range(min = 0, max = 1_000_000_000_000_000_i64))]
    pub offset: i64,
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

/// An end of the log, or where the group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Position {
    Earliest,
    Latest,
    Current,
}

/// One of the fields.
pub(super) struct TargetField {
    name: &'static str,
    is_given: fn(&Target) -> bool,
    starts_from: Start,
    /// It says itself which partitions are meant.
    names_partitions: bool,
}

/// What a target starts from: policies for what lacks it mean nothing with the others.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    Anywhere,
    /// A committed offset of the group.
    Own,
    /// The same, with this value of the field.
    OwnWith(&'static str),
    /// A committed offset of another group.
    Other,
    /// What a record holds, whatever is committed now.
    Record,
}

/// Some of the targets.
pub(super) type Which = fn(&TargetField) -> bool;

/// Which start from a committed offset of the group.
pub(super) const OWN_COMMIT: Which = |field| matches!(field.starts_from, Start::Own | Start::OwnWith(_));
/// Which start from a committed offset.
pub(super) const A_COMMIT: Which = |field| !matches!(field.starts_from, Start::Anywhere | Start::Record);
/// Which start from what a record holds.
pub(super) const A_RECORD: Which = |field| field.starts_from == Start::Record;
pub(super) const NAMES_PARTITIONS: Which = |field| field.names_partitions;

/// A target has one row here and one in `stream-pipeline-core`, `target`.
const TARGETS: [TargetField; 9] = [
    TargetField { name: "position", is_given: |to| to.position.is_some(), starts_from: Start::OwnWith("Current"), names_partitions: false },
    TargetField { name: "timestamp", is_given: |to| to.timestamp.is_some(), starts_from: Start::Anywhere, names_partitions: false },
    TargetField { name: "lookback", is_given: |to| to.lookback.is_some(), starts_from: Start::Anywhere, names_partitions: false },
    TargetField { name: "shiftBy", is_given: |to| to.shift_by.is_some(), starts_from: Start::Own, names_partitions: false },
    TargetField { name: "offset", is_given: |to| to.offset.is_some(), starts_from: Start::Anywhere, names_partitions: false },
    TargetField { name: "offsets", is_given: |to| to.offsets.is_some(), starts_from: Start::Anywhere, names_partitions: true },
    TargetField { name: "offsetsFrom", is_given: |to| to.offsets_from.is_some(), starts_from: Start::Anywhere, names_partitions: true },
    TargetField { name: "consumerGroup", is_given: |to| to.consumer_group.is_some(), starts_from: Start::Other, names_partitions: false },
    TargetField { name: "undo", is_given: |to| to.undo.is_some(), starts_from: Start::Record, names_partitions: true },
];

/// "exactly one of position, timestamp, shiftBy".
pub fn exactly_one() -> String {
    format!("exactly one of {}", TARGETS.map(|field| field.name).join(", "))
}

/// CEL: whether one of them is there.
pub(super) fn any() -> String {
    TARGETS.map(|field| format!("has(self.{})", field.name)).join(" || ")
}

/// CEL: whether several are not.
pub(super) fn at_most_one() -> String {
    format!("{} <= 1", TARGETS.map(|field| format!("(has(self.{}) ? 1 : 0)", field.name)).join(" + "))
}

/// CEL: whether one of these is there.
pub(super) fn given(which: Which) -> String {
    let given = |field: &TargetField| match field.starts_from {
        Start::OwnWith(value) => format!("has(self.to.{0}) && self.to.{0} == '{value}'", field.name),
        _ => format!("has(self.to.{})", field.name),
    };
    TARGETS.iter().filter(|field| which(field)).map(given).collect::<Vec<_>>().join(" || ")
}

/// CEL: a policy does not have this value where the target is one of `which`.
pub(super) fn not_from(policy: &str, value: &str, which: Which) -> String {
    format!("!has(self.to) || !({}) || !has(self.{policy}) || self.{policy} != '{value}'", given(which))
}

/// "to.position: Current or to.shiftBy".
pub(super) fn names(which: Which) -> String {
    let name = |field: &TargetField| match field.starts_from {
        Start::OwnWith(value) => format!("to.{}: {value}", field.name),
        _ => format!("to.{}", field.name),
    };
    TARGETS.iter().filter(|field| which(field)).map(name).collect::<Vec<_>>().join(" or ")
}

impl Target {
    /// Whether it says itself which partitions are meant, so that others which their topics have are not.
    pub fn names_partitions(&self) -> bool {
        TARGETS.iter().any(|field| field.names_partitions && (field.is_given)(self))
    }
}
