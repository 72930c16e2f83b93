//! Which group or pipeline a StreamPipeline names, on which platform. The one place that tells the platforms apart; what holds of
//! each comes from the platform itself ([`super::PlatformFacts`]).

use super::PriorStatus;
use stream_pipeline_api::{BackendIdentity, EnosBackend, Sasl, StreamPipeline, Tls, WorkloadReference};

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

impl Backend {
    /// The backend that a record names, reached with this one's settings; None where the record is of another platform.
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

    /// Where the pipeline is, as far as that is known without a look: by the cluster seen first, or by its id.
    pub fn known_identity(&self, prior: &PriorStatus) -> Option<BackendIdentity> {
        match self {
            Backend::Kafka(kafka) => {
                prior.pinned_cluster.clone().map(|cluster_id| BackendIdentity::Kafka { cluster_id, consumer_group: kafka.group.clone() })
            }
            Backend::Enos(enos) => {
                enos.id.clone().map(|pipeline_id| BackendIdentity::Enos { org_id: enos.spec.org_id.clone(), pipeline_id })
            }
        }
    }

    /// What the operator scales to stop the pipeline.
    pub fn workloads(&self) -> &[WorkloadReference] {
        match self {
            Backend::Kafka(kafka) => &kafka.workloads,
            Backend::Enos(_) => &[],
        }
    }

    /// The most records a second that the pipeline reads once the operator has started it, where the spec says.
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

    /// What a pipeline's spec shares with that of each other one that may be at the same place, and with that place; others may share it too.
    pub fn key(pipeline: &StreamPipeline) -> Option<&str> {
        let spec = &pipeline.spec;
        spec.kafka.as_ref().map(|kafka| kafka.consumer_group.as_str()).or_else(|| spec.enos.as_ref().map(|enos| enos.org_id.as_str()))
    }

    /// The same of a place.
    pub fn key_of(place: &BackendIdentity) -> &str {
        match place {
            BackendIdentity::Kafka { consumer_group, .. } => consumer_group,
            BackendIdentity::Enos { org_id, .. } => org_id,
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

    /// Whether a pipeline's spec names this place and its status says that it was read from there: a StreamPipeline that never
    /// reached what it names does not block others.
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

    pub(crate) fn of(pipeline: &StreamPipeline) -> Option<Self> {
        if let Some(kafka) = &pipeline.spec.kafka {
            return Some(Backend::Kafka(Box::new(KafkaGroup {
                bootstrap: kafka.bootstrap_servers.clone(),
                group: kafka.consumer_group.clone(),
                tls: kafka.tls.as_deref().cloned(),
                sasl: kafka.sasl.as_deref().cloned(),
                workloads: kafka.workloads.clone().unwrap_or_default(),
            })));
        }
        let spec = pipeline.spec.enos.as_deref().cloned()?;
        let id = spec.pipeline_id.clone().or_else(|| PriorStatus::of(pipeline).pinned_pipeline);
        Some(Backend::Enos(Box::new(EnosPipeline { spec, id })))
    }
}
