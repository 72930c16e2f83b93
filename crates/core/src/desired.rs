//! What is asked, resolved once: defaults filled in, exactly one target, nothing unknown. The raw spec is not read again.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Cause, PriorStatus, TopicPartition, words};
use crate::api::{
    self, BackendIdentity, EnosBackend, FINALIZER, MissingGroup, NoCommittedOffset, NoRecordAtTime, OffsetReset, OnUnknownOutcome,
    OutOfRange, Reason, Sasl, StreamPipeline, Tls, WhenActive, WhenCreated, WorkloadReference,
};

/// No clock on earth is further ahead of UTC.
const FARTHEST_ZONE: SignedDuration = SignedDuration::from_hours(14);

/// The object that asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// Where the pipeline lives, and how to reach it.
#[derive(Clone, Debug, PartialEq)]
pub enum Backend {
    Kafka(Box<KafkaGroup>),
    Enos(Box<EnosPipeline>),
}

/// A consumer group on a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct KafkaGroup {
    pub bootstrap: Vec<String>,
    pub group: String,
    pub tls: Option<Tls>,
    pub sasl: Option<Sasl>,
    /// What runs the consumers; empty where only the group counts.
    pub workloads: Vec<WorkloadReference>,
}

/// A pipeline of an EnOS organization. `id`: named by the spec, or pinned by the status.
#[derive(Clone, Debug, PartialEq)]
pub struct EnosPipeline {
    pub spec: EnosBackend,
    pub id: Option<String>,
}

/// What a platform can do. The stages read this, never the platform's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// When a new position can be read back.
    pub read_back: ReadBack,
    /// The operator can stop the pipeline and bring it back.
    pub run_state: bool,
    /// A consumer may be active without being seen, so rest is watched for.
    pub quiet: bool,
    /// The platform keeps the data of a paused pipeline no longer.
    pub pause_limit: Option<Duration>,
    /// Where a person looks when the operator cannot know, as a sentence; `{}` stands for the group.
    pub look: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBack {
    WhileInactive,
    /// Only once the pipeline runs again.
    AfterStart,
}

impl Backend {
    pub fn capabilities(&self) -> Capabilities {
        match self {
            Backend::Kafka(kafka) => Capabilities {
                read_back: ReadBack::WhileInactive,
                run_state: !kafka.workloads.is_empty(),
                quiet: true,
                pause_limit: None,
                look: "Look at the group (kafka-consumer-groups --bootstrap-server … --describe --group {})",
            },
            Backend::Enos(enos) => Capabilities {
                read_back: ReadBack::AfterStart,
                run_state: enos.spec.start.is_some(),
                quiet: false,
                // EnOS manual, "Monitoring jobs".
                pause_limit: Some(Duration::from_secs(24 * 3600)),
                look: "Look at the pipeline and its lag in the EnOS console",
            },
        }
    }

    /// The backend of a record, reached the way this one is; None where it is of another kind.
    pub fn of_record(&self, identity: &BackendIdentity) -> Option<Self> {
        match (self, identity) {
            (Backend::Kafka(kafka), BackendIdentity::Kafka { consumer_group, .. }) => {
                Some(Backend::Kafka(Box::new(KafkaGroup { group: consumer_group.clone(), ..(**kafka).clone() })))
            }
            (Backend::Enos(enos), BackendIdentity::Enos { org_id, pipeline_id }) => {
                let spec = EnosBackend { org_id: org_id.clone(), ..enos.spec.clone() };
                Some(Backend::Enos(Box::new(EnosPipeline { spec, id: Some(pipeline_id.clone()) })))
            }
            _ => None,
        }
    }

    /// What the operator scales to stop the pipeline.
    pub fn workloads(&self) -> &[WorkloadReference] {
        match self {
            Backend::Kafka(kafka) => &kafka.workloads,
            Backend::Enos(_) => &[],
        }
    }

    /// Most records a second that it reads once the operator has started it, where the spec says.
    pub fn read_rate(&self) -> Option<i64> {
        match self {
            Backend::Kafka(_) => None,
            Backend::Enos(enos) => enos.spec.start.as_ref().map(|start| start.kafka_rate),
        }
    }

    /// The pipeline in words.
    pub fn named(&self) -> String {
        match self {
            Backend::Kafka(kafka) => format!("group {}", super::words::name(&kafka.group)),
            Backend::Enos(enos) => {
                let name = enos.id.as_ref().or(enos.spec.pipeline_name.as_ref()).map_or("", String::as_str);
                format!("pipeline {name} of organization {}", enos.spec.org_id)
            }
        }
    }

    /// Whether a pipeline's spec may name this place, as far as that can be told without looking.
    pub fn may_be_at(pipeline: &StreamPipeline, place: &BackendIdentity) -> bool {
        match (&pipeline.spec.kafka, &pipeline.spec.enos, place) {
            (Some(kafka), _, BackendIdentity::Kafka { consumer_group, .. }) => kafka.consumer_group == *consumer_group,
            (_, Some(enos), BackendIdentity::Enos { org_id, pipeline_id }) => {
                enos.org_id == *org_id && enos.pipeline_id.as_ref().is_none_or(|id| id == pipeline_id)
            }
            _ => false,
        }
    }

    /// Whether a pipeline's spec names this place and its status says that it was read from there: who only names what
    /// is another's stands in nobody's way.
    pub fn is_known_at(pipeline: &StreamPipeline, place: &BackendIdentity) -> bool {
        let pinned = || PriorStatus::of(pipeline);
        match (&pipeline.spec.kafka, &pipeline.spec.enos, place) {
            (Some(kafka), _, BackendIdentity::Kafka { cluster_id, consumer_group }) => {
                kafka.consumer_group == *consumer_group && pinned().pinned_cluster.as_ref() == Some(cluster_id)
            }
            (_, Some(enos), BackendIdentity::Enos { org_id, pipeline_id }) => {
                enos.org_id == *org_id && pinned().pinned_pipeline.as_ref() == Some(pipeline_id)
            }
            _ => false,
        }
    }

    fn of(pipeline: &StreamPipeline) -> Option<Self> {
        if let Some(kafka) = &pipeline.spec.kafka {
            return Some(Backend::Kafka(Box::new(KafkaGroup {
                bootstrap: kafka.bootstrap_servers.clone(),
                group: kafka.consumer_group.clone(),
                tls: kafka.tls.clone(),
                sasl: kafka.sasl.clone(),
                workloads: kafka.workloads.clone().unwrap_or_default(),
            })));
        }
        let spec = pipeline.spec.enos.clone()?;
        let id = spec.pipeline_id.clone().or_else(|| PriorStatus::of(pipeline).pinned_pipeline);
        Some(Backend::Enos(Box::new(EnosPipeline { spec, id })))
    }
}

/// A StreamPipeline as the stages see it.
#[derive(Clone, Debug)]
pub struct Desired {
    pub object: Identity,
    /// When the API server made it.
    pub created: Option<Timestamp>,
    pub generation: i64,
    pub backend: Backend,
    /// The id of the request, if there is one, also where the request itself cannot be taken.
    pub id: Option<String>,
    /// The request, or why it is refused.
    pub request: Option<Result<Request, Cause>>,
    /// Whether it is a dry run, also where the request itself cannot be taken.
    pub dry_run: bool,
    /// The object is being deleted: nothing is wanted any more, what was paused is brought back.
    pub deleted: Option<Timestamp>,
    /// Whether our finalizer is on the object.
    pub has_finalizer: bool,
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
    /// Wherever the platform moves it.
    Platform,
}

impl Desired {
    /// # Errors
    /// Neither backend is given; admission refuses that.
    pub fn of(pipeline: &StreamPipeline, now: Timestamp) -> Result<Self, Cause> {
        let backend =
            Backend::of(pipeline).ok_or_else(|| Cause::new(Reason::InvalidObject, "spec: exactly one of kafka and enos is needed"))?;
        let deleted = pipeline.metadata.deletion_timestamp.as_ref().map(|t| t.0);
        let reset = pipeline.spec.offset_reset.as_ref().filter(|_| deleted.is_none());
        Ok(Self {
            object: Identity {
                namespace: pipeline.metadata.namespace.clone().unwrap_or_default(),
                name: pipeline.metadata.name.clone().unwrap_or_default(),
                uid: pipeline.metadata.uid.clone().unwrap_or_default(),
            },
            created: pipeline.metadata.creation_timestamp.as_ref().map(|t| t.0),
            generation: pipeline.metadata.generation.unwrap_or_default(),
            id: reset.map(|r| r.id.clone()),
            dry_run: reset.is_some_and(OffsetReset::is_dry_run),
            request: reset.map(|r| Request::of(r, matches!(backend, Backend::Enos(_)), now)),
            backend,
            deleted,
            has_finalizer: pipeline.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER),
        })
    }

    /// The request, where there is one that can be taken.
    pub fn asked(&self) -> Option<&Request> {
        self.request.as_ref().and_then(|r| r.as_ref().ok())
    }
}

impl Request {
    /// # Errors
    /// `UnknownField` where a field is not known to this version, `InvalidTarget` where the target cannot mean anything.
    fn of(reset: &OffsetReset, platform_chooses: bool, now: Timestamp) -> Result<Self, Cause> {
        if let Some(field) = unknown_field(reset) {
            return Err(Cause::new(
                Reason::UnknownField,
                format!("spec.offsetReset.{field} is not a field of this version; nothing was sent. Correct or remove it, with a new id"),
            ));
        }
        let invalid = |message: &str| Cause::new(Reason::InvalidTarget, message.to_owned());
        let to = match &reset.to {
            None if platform_chooses => Target::Platform,
            Some(_) if platform_chooses => return Err(invalid("spec.offsetReset.to cannot be chosen: the platform decides; remove it")),
            None => return Err(invalid("spec.offsetReset.to is needed: exactly one of position, timestamp, shiftBy")),
            Some(api::Target { position: Some(api::Position::Earliest), timestamp: None, shift_by: None, .. }) => Target::Earliest,
            Some(api::Target { position: Some(api::Position::Latest), timestamp: None, shift_by: None, .. }) => Target::Latest,
            Some(api::Target { position: None, timestamp: Some(t), shift_by: None, .. }) if *t > now => {
                let local = if t.duration_since(now) <= FARTHEST_ZONE {
                    ". A local time is written with its own offset, such as +08:00, not with Z"
                } else {
                    ""
                };
                return Err(invalid(&format!(
                    "spec.offsetReset.to.timestamp {t} is in the future, now is {}; nothing was sent. Give a time that has passed, with a new id{local}",
                    words::second(now)
                )));
            }
            Some(api::Target { position: None, timestamp: Some(t), shift_by: None, .. }) => Target::Timestamp(*t),
            Some(api::Target { position: None, timestamp: None, shift_by: Some(n), .. }) => Target::ShiftBy(*n),
            Some(_) => return Err(invalid("spec.offsetReset.to: exactly one of position, timestamp, shiftBy")),
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
            no_committed_offset: without_commit(reset.no_committed_offset, shift),
            missing_group: reset.missing_group.unwrap_or_default(),
            on_unknown_outcome: reset.on_unknown_outcome.unwrap_or_default(),
            dry_run: reset.is_dry_run(),
            written: reset.clone(),
        })
    }

    /// What would keep the pipeline stopped for longer than may be. Refused at admission, but for objects that were there before.
    pub fn pauses_too_long(&self) -> Option<Cause> {
        if self.when_active != WhenActive::Pause {
            return None;
        }
        let hour = Duration::from_secs(3600);
        let of = |field: &str, value: Duration, hours: u32| {
            let text = || {
                format!(
                    "spec.offsetReset.{field} is {} s, and at most {hours}h with whenActive: Pause, which keeps the pipeline stopped meanwhile; \
                     nothing was sent. Shorten it, with a new id",
                    value.as_secs()
                )
            };
            (value > hour * hours).then(|| Cause::new(Reason::PauseTooLong, text()))
        };
        of("waitTimeout", self.wait_timeout, 24).or_else(|| of("quietPeriod", self.quiet_period, 1))
    }

    /// Whether the record of this id was made to reset the same.
    pub fn same_as(&self, recorded: &OffsetReset) -> bool {
        self.what() == what(recorded)
    }

    /// What would be reset.
    pub fn what(&self) -> OffsetReset {
        what(&self.written)
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

/// What would be reset, spelt out: of two requests that mean the same it is the same. When and how it is done, and what may be
/// said of it afterwards, do not count.
fn what(reset: &OffsetReset) -> OffsetReset {
    let shift = reset.to.as_ref().is_some_and(|to| to.shift_by.is_some());
    let mut topics = reset.topics.clone();
    for topic in topics.iter_mut().flatten() {
        topic.partitions.iter_mut().for_each(|partitions| partitions.sort_unstable());
    }
    topics.iter_mut().for_each(|topics| topics.sort_by(|a, b| a.name.cmp(&b.name)));
    OffsetReset {
        id: reset.id.clone(),
        to: reset.to.clone(),
        topics,
        out_of_range: Some(reset.out_of_range.unwrap_or_default()),
        no_record_at_time: Some(reset.no_record_at_time.unwrap_or_default()),
        no_committed_offset: Some(without_commit(reset.no_committed_offset, shift)),
        missing_group: Some(reset.missing_group.unwrap_or_default()),
        when_active: None,
        wait_timeout: None,
        quiet_period: None,
        when_created: None,
        expires_at: None,
        on_unknown_outcome: None,
        dry_run: None,
        note: None,
        unknown: reset.unknown.clone(),
    }
}

/// A shift starts from a committed offset.
fn without_commit(said: Option<NoCommittedOffset>, shift: bool) -> NoCommittedOffset {
    said.unwrap_or(if shift { NoCommittedOffset::Fail } else { NoCommittedOffset::Target })
}

fn unknown_field(reset: &OffsetReset) -> Option<String> {
    let topics = reset.topics.iter().flatten();
    (reset.unknown.keys().next().cloned())
        .or_else(|| reset.to.iter().flat_map(|to| to.unknown.keys()).next().map(|k| format!("to.{k}")))
        .or_else(|| topics.flat_map(|t| t.unknown.keys().map(move |k| format!("topics[{}].{k}", t.name))).next())
}
