//! What every pass needs, in one struct.

use std::sync::Arc;
use std::time::Duration;

use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::events::Recorder;
use kube::runtime::reflector::Store;
use kube::{Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::api::{BackendIdentity, Mechanism, OffsetResetRecord, PIPELINE_LABEL, Reason, Sasl, StreamPipeline, WorkloadReference};
use crate::backend::enos::{Enos, EnosPlatform};
use crate::backend::kafka::Kafka;
use crate::backend::kafka::oauth::TokenSource;
use crate::backend::kafka::pool::ClientPool;
use crate::backend::kafka::security::{Certificates, Login, Security};
use crate::backend::{Platform, http};
use crate::clock::Clock;
use crate::domain::{
    Backend, Cause, Decision, Desired, EnosPipeline, Identity, KafkaGroup, Now, Observation, OlderPipeline, PriorStatus, Timing, elsewhere,
};
use crate::kubernetes::crds::Definitions;
use crate::kubernetes::secrets::{Secrets, text};
use crate::kubernetes::workloads::{Kinds, Workloads};
use crate::metrics::Metrics;
use crate::process_state::ProcessState;
use crate::record_store::RecordStore;

/// Keys of the Secret of an EnOS application.
const CREDENTIALS: [&str; 2] = ["accessKey", "secretKey"];

/// What to do next, from what is known: [`crate::decide::decide`].
pub type Decide = Box<dyn Fn(&Desired, &PriorStatus, &Observation, &Timing, Now) -> Decision + Send + Sync>;

/// See the module.
pub struct Context {
    pub client: Client,
    pub record_store: RecordStore,
    /// Metadata of all records in scope; one is read only when it is needed.
    pub records: Store<PartialObjectMeta<OffsetResetRecord>>,
    pub pipelines: Store<DeserializeGuard<StreamPipeline>>,
    pub process_state: Arc<ProcessState>,
    pub kafka: Arc<ClientPool>,
    pub enos: Arc<EnosPlatform>,
    pub http: http::HttpPolicy,
    pub secrets: Secrets,
    pub kinds: Kinds,
    pub definitions: Definitions,
    pub timing: Timing,
    pub clock: Clock,
    pub decide: Decide,
    pub recorder: Recorder,
    pub metrics: Arc<Metrics>,
    /// Cancelled when the process was asked to end.
    pub shutdown: CancellationToken,
}

impl Context {
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// The pipeline's platform, also where its client cannot be made: that shows in what is read.
    pub async fn platform(&self, desired: &Desired) -> Platform {
        let namespace = &desired.object.namespace;
        match &desired.backend {
            Backend::Kafka(kafka) => Platform::Kafka {
                kafka: self.brokers(namespace, kafka).await.map(Box::new),
                group: kafka.group.clone(),
                workloads: self.workloads(namespace, kafka.workloads.clone()),
            },
            Backend::Enos(enos) => Platform::Enos {
                enos: self.gateway(namespace, enos).await.map(Box::new),
                place: enos.id.clone().map(|pipeline_id| BackendIdentity::Enos { org_id: enos.spec.org_id.clone(), pipeline_id }),
            },
        }
    }

    /// Where a record says that it was carried out, reached the way the spec says.
    pub async fn platform_of(&self, desired: &Desired, place: &BackendIdentity) -> Platform {
        if let Some(backend) = desired.backend.of_record(place) {
            return self.platform(&Desired { backend, ..desired.clone() }).await;
        }
        let other = Cause::new(Reason::ClusterChanged, "the record is of another kind of backend; it cannot be looked at");
        match place {
            // What was scaled is in the record.
            BackendIdentity::Kafka { consumer_group, .. } => Platform::Kafka {
                kafka: Err(other),
                group: consumer_group.clone(),
                workloads: self.workloads(&desired.object.namespace, Vec::new()),
            },
            BackendIdentity::Enos { .. } => Platform::Enos { enos: Err(other), place: Some(place.clone()) },
        }
    }

    fn workloads(&self, namespace: &str, references: Vec<WorkloadReference>) -> Box<Workloads> {
        Box::new(Workloads {
            client: self.client.clone(),
            namespace: namespace.to_owned(),
            references,
            kinds: Arc::clone(&self.kinds),
            deadline: self.timing.call_deadline,
        })
    }

    async fn brokers(&self, namespace: &str, kafka: &KafkaGroup) -> Result<Kafka, Cause> {
        let now = self.now().mono;
        let security = self.security(namespace, kafka).await?;
        Kafka::connect(&self.kafka, namespace, kafka, &security, self.timing.call_deadline, now)
    }

    async fn gateway(&self, namespace: &str, enos: &EnosPipeline) -> Result<Enos, Cause> {
        let now = self.now().mono;
        let [access, secret] = self.secrets.secret(namespace, &enos.spec.credentials_secret_ref.name, CREDENTIALS).await?;
        let ca = match &enos.spec.ca {
            Some(source) => Some(self.secrets.ca(namespace, "spec.enos.ca", source).await?.into_bytes()),
            None => None,
        };
        self.enos.connect(namespace, enos, (&access, &secret), ca, now)
    }

    /// What the brokers are reached with, read from the Secrets that the spec names.
    async fn security(&self, namespace: &str, kafka: &KafkaGroup) -> Result<Security, Cause> {
        let tls = match &kafka.tls {
            None => None,
            Some(tls) => {
                let ca = match &tls.ca {
                    Some(source) => Some(self.secrets.ca(namespace, "spec.kafka.tls.ca", source).await?),
                    None if http::has_system_cas() => None,
                    None => return Err(no_system_cas()),
                };
                let client = match &tls.client_certificate_secret_ref {
                    Some(at) => {
                        let field = "spec.kafka.tls.clientCertificateSecretRef";
                        let [certificate, key] = self.secrets.certificate(namespace, field, &at.name).await?;
                        Some((certificate, key.into()))
                    }
                    None => None,
                };
                Some(Certificates { ca, client })
            }
        };
        let sasl = match &kafka.sasl {
            None => None,
            // Before the Secret is read.
            Some(sasl) if tls.is_none() && shows_secrets(sasl) && !self.kafka.allows_plain_sasl() => return Err(plain_sasl(sasl)),
            Some(sasl) => Some(self.login(namespace, sasl).await?),
        };
        Ok(Security { tls, sasl })
    }

    async fn login(&self, namespace: &str, sasl: &Sasl) -> Result<Login, Cause> {
        let name = &sasl.credentials_secret_ref.name;
        let mechanism = sasl.mechanism.parse().map_err(|_| {
            Cause::new(
                Reason::InvalidObject,
                "spec.kafka.sasl.mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER are supported",
            )
        })?;
        if let (Mechanism::OAuthBearer, Some(endpoint), Some(client_id)) = (mechanism, &sasl.token_endpoint, &sasl.client_id) {
            let [secret] = self.secrets.secret(namespace, name, ["clientSecret"]).await?;
            let ca_pem = match &sasl.ca {
                Some(source) => Some(self.secrets.ca(namespace, "spec.kafka.sasl.ca", source).await?.into_bytes()),
                None => None,
            };
            return Ok(Login::OAuth(TokenSource {
                endpoint: endpoint.clone(),
                client_id: client_id.clone(),
                client_secret: text(name, "clientSecret", secret)?.into(),
                scope: sasl.scope.clone(),
                ca_pem,
                policy: self.http.clone(),
                // A call that waits for a token ends after it, so that the reason is known then.
                deadline: self.timing.call_deadline * 3 / 4,
            }));
        }
        let [username, password] = self.secrets.secret(namespace, name, ["username", "password"]).await?;
        Ok(Login::Password { mechanism, username: text(name, "username", username)?, password: text(name, "password", password)?.into() })
    }

    /// The StreamPipeline that comes before this one where it lives, as far as the copies tell.
    pub fn older_pipeline(&self, object: &Identity, identity: &BackendIdentity) -> Option<OlderPipeline> {
        let state = self.pipelines.state();
        OlderPipeline::among(state.iter().filter_map(|guard| guard.0.as_ref().ok()), object, identity)
    }

    /// StreamPipelines of other namespaces that live where this one does.
    pub fn elsewhere(&self, object: &Identity, identity: &BackendIdentity) -> Vec<String> {
        let state = self.pipelines.state();
        elsewhere(state.iter().filter_map(|guard| guard.0.as_ref().ok()), object, identity)
    }

    /// Names of this pipeline's records that are not known to be over.
    pub fn open_records(&self, object: &Identity) -> Vec<String> {
        let of_pipeline = |meta: &PartialObjectMeta<OffsetResetRecord>| {
            meta.namespace().as_deref() == Some(&object.namespace)
                && meta.labels().get(PIPELINE_LABEL) == Some(&object.name)
                && !self.process_state.known_closed(&meta.uid().unwrap_or_default(), &meta.resource_version().unwrap_or_default())
        };
        let mut names: Vec<String> = self.records.state_filter(|meta| of_pipeline(meta)).iter().map(|meta| meta.name_any()).collect();
        // The store's order is another one in each process.
        names.sort();
        names
    }

    /// A delay that parts those who would collide again and again: `base` to twice that, by object and time.
    pub fn jitter(&self, base: Duration) -> Duration {
        base + base.mul_f64(f64::from(self.clock.wall().subsec_nanosecond().rem_euclid(1_000)) / 1_000.0)
    }
}

/// Whether a log-in sends what it must not show: SCRAM proves that it knows the password, and sends none.
fn shows_secrets(sasl: &Sasl) -> bool {
    !matches!(sasl.mechanism.parse(), Ok(Mechanism::ScramSha256 | Mechanism::ScramSha512))
}

fn plain_sasl(sasl: &Sasl) -> Cause {
    let mechanism = &sasl.mechanism;
    let what = if mechanism == "OAUTHBEARER" { "the token" } else { "the password" };
    let text = format!(
        "spec.kafka.sasl: {mechanism} without spec.kafka.tls would show {what} to everybody on the way; not a byte was sent. Use a TLS listener and \
         spec.kafka.tls, or SCRAM. (The operator can be started with --allow-plain-sasl.)"
    );
    Cause::new(Reason::EndpointNotAllowed, text)
}

fn no_system_cas() -> Cause {
    let text = "spec.kafka.tls names no CA, and the system that the operator runs on has none: no certificate could be verified. Name the CA in spec.kafka.tls.ca";
    Cause::new(Reason::TlsFailed, text)
}
