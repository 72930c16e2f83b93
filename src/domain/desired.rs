//! What is asked, resolved once: defaults filled in, exactly one target, nothing unknown. The raw spec is not read again.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use super::{Cause, TopicPartition};
use crate::api::{
    self, MissingGroup, NoCommittedOffset, NoRecordAtTime, OffsetReset, OnUnknownOutcome, OutOfRange, Reason, StreamPipeline, WhenActive,
    WhenCreated,
};

/// The object that asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// Where the pipeline lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backend {
    pub bootstrap: Vec<String>,
    pub group: String,
}

/// A StreamPipeline as the stages see it.
#[derive(Clone, Debug)]
pub struct Desired {
    pub object: Identity,
    pub generation: i64,
    pub backend: Backend,
    /// The id of the request, if there is one, also where the request itself cannot be taken.
    pub id: Option<String>,
    /// The request, or why it is refused.
    pub request: Option<Result<Request, Cause>>,
}

/// A request with its defaults resolved.
#[derive(Clone, Debug)]
pub struct Request {
    pub id: String,
    pub to: Target,
    /// None: every topic the group has commits for.
    pub topics: Option<Selection>,
    pub when_active: WhenActive,
    pub wait_timeout: Duration,
    pub quiet_period: Duration,
    pub when_created: WhenCreated,
    pub expires_at: Option<Timestamp>,
    pub out_of_range: OutOfRange,
    pub no_record_at_time: NoRecordAtTime,
    pub no_committed_offset: NoCommittedOffset,
    pub missing_group: MissingGroup,
    pub on_unknown_outcome: OnUnknownOutcome,
    pub dry_run: bool,
    /// As it was written, for the record.
    pub written: OffsetReset,
}

/// Topics by name; None: all partitions of the topic.
pub type Selection = BTreeMap<String, Option<Vec<i32>>>;

/// Where to move to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Earliest,
    Latest,
    /// The first record at or after this time.
    Timestamp(Timestamp),
    ShiftBy(i64),
}

impl Desired {
    pub fn of(pipeline: &StreamPipeline, now: Timestamp) -> Self {
        let reset = pipeline.spec.offset_reset.as_ref();
        Self {
            object: Identity {
                namespace: pipeline.namespace().unwrap_or_default(),
                name: pipeline.name_any(),
                uid: pipeline.uid().unwrap_or_default(),
            },
            generation: pipeline.metadata.generation.unwrap_or_default(),
            backend: Backend {
                bootstrap: pipeline.spec.kafka.bootstrap_servers.clone(),
                group: pipeline.spec.kafka.consumer_group.clone(),
            },
            id: reset.map(|r| r.id.clone()),
            request: reset.map(|r| Request::of(r, now)),
        }
    }
}

impl Request {
    /// # Errors
    /// `UnknownField` where a field is not known to this version, `InvalidTarget` where the target cannot mean anything.
    fn of(reset: &OffsetReset, now: Timestamp) -> Result<Self, Cause> {
        if let Some(field) = unknown_field(reset) {
            return Err(Cause::new(
                Reason::UnknownField,
                format!(
                    "spec.offsetReset.{field} is not a field of this version; nothing was sent. Correct or remove it and choose a new id"
                ),
            ));
        }
        let invalid = |message: &str| Cause::new(Reason::InvalidTarget, message.to_owned());
        let to = match &reset.to {
            api::Target { position: Some(api::Position::Earliest), timestamp: None, shift_by: None, .. } => Target::Earliest,
            api::Target { position: Some(api::Position::Latest), timestamp: None, shift_by: None, .. } => Target::Latest,
            api::Target { position: None, timestamp: Some(t), shift_by: None, .. } if *t > now => {
                return Err(invalid(&format!(
                    "spec.offsetReset.to.timestamp {t} is in the future: give a time that has passed, with a new id"
                )));
            }
            api::Target { position: None, timestamp: Some(t), shift_by: None, .. } => Target::Timestamp(*t),
            api::Target { position: None, timestamp: None, shift_by: Some(n), .. } => Target::ShiftBy(*n),
            _ => return Err(invalid("spec.offsetReset.to: exactly one of position, timestamp, shiftBy")),
        };
        let shift = matches!(to, Target::ShiftBy(_));
        Ok(Self {
            id: reset.id.clone(),
            to,
            topics: reset.topics.as_ref().map(|ts| ts.iter().map(|t| (t.name.clone(), t.partitions.clone())).collect()),
            when_active: reset.when_active.unwrap_or_default(),
            wait_timeout: reset.wait_timeout.map_or(Duration::from_secs(24 * 3600), Duration::from),
            quiet_period: reset.quiet_period.map_or(Duration::from_secs(10), Duration::from),
            when_created: reset.when_created.unwrap_or(WhenCreated::Skip),
            expires_at: reset.expires_at,
            out_of_range: reset.out_of_range.unwrap_or_default(),
            no_record_at_time: reset.no_record_at_time.unwrap_or_default(),
            no_committed_offset: reset.no_committed_offset.unwrap_or(if shift {
                NoCommittedOffset::Fail
            } else {
                NoCommittedOffset::Target
            }),
            missing_group: reset.missing_group.unwrap_or_default(),
            on_unknown_outcome: reset.on_unknown_outcome.unwrap_or_default(),
            dry_run: reset.dry_run.unwrap_or(false),
            written: reset.clone(),
        })
    }

    /// Whether the record of this id was made for the same request. What may be changed under an id afterwards does not count.
    pub fn same_as(&self, recorded: &OffsetReset) -> bool {
        let bare =
            |r: &OffsetReset| OffsetReset { on_unknown_outcome: None, note: None, when_created: None, expires_at: None, ..r.clone() };
        bare(&self.written) == bare(recorded)
    }

    /// The selected partitions among those that exist.
    pub fn selects(&self, at: &TopicPartition) -> bool {
        match self.topics.as_ref().map(|t| t.get(&at.topic)) {
            None => true,
            Some(None) => false,
            Some(Some(partitions)) => partitions.as_ref().is_none_or(|p| p.contains(&at.partition)),
        }
    }
}

fn unknown_field(reset: &OffsetReset) -> Option<String> {
    let topics = reset.topics.iter().flatten();
    (reset.unknown.keys().next().cloned())
        .or_else(|| reset.to.unknown.keys().next().map(|k| format!("to.{k}")))
        .or_else(|| topics.flat_map(|t| t.unknown.keys().map(move |k| format!("topics[{}].{k}", t.name))).next())
}
