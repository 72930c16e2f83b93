//! Puts each platform together from its parts, with the credentials from the Secrets that the spec names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;

use super::enos::{Enos, EnosPlatform};
use super::http::HttpPolicy;
use super::kafka::{Kafka, pool::ClientPool};
use super::{Logs, Platform, Position, RunStates, Unreachable};
use crate::kubernetes::secrets::Secrets;
use crate::kubernetes::workloads::{Kinds, Workloads};
use stream_pipeline_api::{BackendIdentity, Reason, WorkloadReference};
use stream_pipeline_core::{Backend, Cause, EnosPipeline, KafkaGroup};

/// Keys of the Secret of an EnOS application.
const CREDENTIALS: [&str; 2] = ["accessKey", "secretKey"];

/// What every platform is reached through, shared by all passes.
pub struct Platforms {
    pub client: Client,
    pub secrets: Secrets,
    pub kinds: Kinds,
    pub kafka: Arc<ClientPool>,
    pub enos: Arc<EnosPlatform>,
    pub http: HttpPolicy,
    /// The deadline of one call.
    pub deadline: Duration,
}

impl Platforms {
    /// A pipeline's platform. If its client cannot be made, every read returns the reason.
    pub async fn of(&self, namespace: &str, backend: &Backend, now: Instant) -> Platform {
        match backend {
            Backend::Kafka(kafka) => {
                let run_states = self.workloads(namespace, kafka.workloads.clone());
                match self.brokers(namespace, kafka, now).await {
                    Ok(kafka) => parts(Arc::new(kafka), run_states),
                    Err(cause) => parts(Arc::new(Unreachable(cause)), run_states),
                }
            }
            Backend::Enos(enos) => match self.gateway(namespace, enos, now).await.map(Arc::new) {
                Ok(enos) => Platform { position: Arc::clone(&enos) as Arc<dyn Position>, logs: None, run_states: enos },
                Err(cause) => unreachable(cause),
            },
        }
    }

    /// The platform of a record, reached with the settings of this pipeline's spec.
    pub async fn at(&self, namespace: &str, backend: &Backend, place: &BackendIdentity, now: Instant) -> Platform {
        if let Some(backend) = backend.of_record(place) {
            return self.of(namespace, &backend, now).await;
        }
        let other = Cause::new(Reason::ClusterChanged, "the record is of another kind of backend; it cannot be looked at");
        match place {
            // The workloads to bring back are named in the record, so none are given here.
            BackendIdentity::Kafka { .. } => parts(Arc::new(Unreachable(other)), self.workloads(namespace, Vec::new())),
            BackendIdentity::Enos { .. } => unreachable(other),
        }
    }

    /// Another group that is only read; what runs this one says nothing of it.
    pub async fn beside(&self, namespace: &str, backend: &Backend, place: &BackendIdentity, now: Instant) -> Platform {
        match backend.of_record(place) {
            Some(Backend::Kafka(group)) => {
                let group = KafkaGroup { workloads: Vec::new(), ..*group };
                self.of(namespace, &Backend::Kafka(Box::new(group)), now).await
            }
            Some(Backend::Enos(_)) | None => self.at(namespace, backend, place, now).await,
        }
    }

    fn workloads(&self, namespace: &str, references: Vec<WorkloadReference>) -> Arc<dyn RunStates> {
        Arc::new(Workloads {
            client: self.client.clone(),
            namespace: namespace.to_owned(),
            references,
            kinds: Arc::clone(&self.kinds),
            deadline: self.deadline,
        })
    }

    async fn brokers(&self, namespace: &str, kafka: &KafkaGroup, now: Instant) -> Result<Kafka, Cause> {
        let security = self.security(namespace, kafka).await?;
        Kafka::connect(&self.kafka, namespace, kafka, &security, self.deadline, now)
    }

    async fn gateway(&self, namespace: &str, enos: &EnosPipeline, now: Instant) -> Result<Enos, Cause> {
        let [access, secret] = self.secrets.secret(namespace, &enos.spec.credentials_secret_ref.name, CREDENTIALS).await?;
        let ca = match &enos.spec.ca {
            Some(source) => Some(self.secrets.ca(namespace, "spec.enos.ca", source).await?.into_bytes()),
            None => None,
        };
        self.enos.connect(namespace, enos, (&access, &secret), ca, now)
    }
}

/// A group on brokers, whose consumers run elsewhere.
fn parts<P: Position + Logs + 'static>(group: Arc<P>, run_states: Arc<dyn RunStates>) -> Platform {
    Platform { position: Arc::clone(&group) as Arc<dyn Position>, logs: Some(group), run_states }
}

fn unreachable(cause: Cause) -> Platform {
    let all = Arc::new(Unreachable(cause));
    Platform { position: Arc::clone(&all) as Arc<dyn Position>, logs: Some(Arc::clone(&all) as Arc<dyn Logs>), run_states: all }
}
