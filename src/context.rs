//! What every pass needs, in one struct.

use std::sync::Arc;
use std::time::Duration;

use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::events::Recorder;
use kube::runtime::reflector::Store;
use kube::{Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::api::{BackendIdentity, Mechanism, OffsetResetRecord, PIPELINE_LABEL, Reason, Sasl, StreamPipeline};
use crate::backend::enos::Gateways;
use crate::backend::kafka::Kafka;
use crate::backend::kafka::clients::Clients;
use crate::backend::kafka::oauth::TokenSource;
use crate::backend::kafka::security::{Certificates, Login, Security};
use crate::backend::workload::{Kinds, Workloads};
use crate::backend::{Platform, http};
use crate::clock::Clock;
use crate::definitions::Definitions;
use crate::domain::{Backend, Cause, Decision, Desired, Identity, KafkaGroup, Now, Observation, Progress, Timing};
use crate::ledger::Ledger;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::secrets::{Secrets, text};

/// Keys of the Secret of an EnOS application.
const CREDENTIALS: [&str; 2] = ["accessKey", "secretKey"];

/// What to do next, from what is known: [`crate::decide::decide`].
pub type Decide = Box<dyn Fn(&Desired, &Progress, &Observation, &Timing, Now) -> Decision + Send + Sync>;

/// See the module.
pub struct Context {
    pub client: Client,
    pub ledger: Ledger,
    /// Metadata of all records in scope; one is read only when it is needed.
    pub records: Store<PartialObjectMeta<OffsetResetRecord>>,
    pub pipelines: Store<DeserializeGuard<StreamPipeline>>,
    pub memory: Arc<Memory>,
    pub kafka: Arc<Clients>,
    pub enos: Arc<Gateways>,
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

    /// The pipeline's platform.
    ///
    /// # Errors
    /// Its client could not be made, or its credentials could not be read.
    pub async fn platform(&self, desired: &Desired) -> Result<Platform, Cause> {
        let (namespace, now) = (&desired.object.namespace, self.now().mono);
        match &desired.backend {
            Backend::Kafka(kafka) => {
                let security = self.security(namespace, kafka).await?;
                let workloads = Box::new(Workloads {
                    client: self.client.clone(),
                    namespace: namespace.clone(),
                    references: kafka.workloads.clone(),
                    kinds: Arc::clone(&self.kinds),
                    deadline: self.timing.call_deadline,
                });
                let kafka = Kafka::connect(&self.kafka, namespace, kafka, &security, self.timing.call_deadline, now)?;
                Ok(Platform::Kafka { kafka: Box::new(kafka), workloads })
            }
            Backend::Enos(enos) => {
                let [access, secret] = self.secrets.secret(namespace, &enos.spec.credentials_secret_ref.name, CREDENTIALS).await?;
                let ca = match &enos.spec.ca {
                    Some(source) => Some(self.secrets.ca(namespace, "spec.enos.ca", source).await?.into_bytes()),
                    None => None,
                };
                self.enos.connect(namespace, enos, (&access, &secret), ca, now).map(|enos| Platform::Enos(Box::new(enos)))
            }
        }
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
                policy: Arc::clone(self.enos.policy()),
                allow_plain_http: self.enos.allows_plain_http(),
                // A call that waits for a token ends after it, so that the reason is known then.
                deadline: self.timing.call_deadline * 3 / 4,
            }));
        }
        let [username, password] = self.secrets.secret(namespace, name, ["username", "password"]).await?;
        Ok(Login::Password { mechanism, username: text(name, "username", username)?, password: text(name, "password", password)?.into() })
    }

    /// The oldest StreamPipeline in scope that is known to live where this one does, if that is not this one.
    pub fn elder(&self, object: &Identity, identity: &BackendIdentity) -> Option<String> {
        let state = self.pipelines.state();
        let age = |p: &StreamPipeline| (p.creation_timestamp(), p.namespace(), p.name_any());
        let readable = || state.iter().filter_map(|guard| guard.0.as_ref().ok());
        let own = age(readable().find(|p| p.metadata.uid.as_ref() == Some(&object.uid))?);
        let (_, namespace, name) =
            readable().filter(|p| Backend::is_known_at(p, identity)).map(age).min().filter(|oldest| *oldest < own)?;
        Some(format!("{}/{name}", namespace.unwrap_or_default()))
    }

    /// Names of this pipeline's records that are not known to be over.
    pub fn open_records(&self, object: &Identity) -> Vec<String> {
        let of_pipeline = |meta: &PartialObjectMeta<OffsetResetRecord>| {
            meta.namespace().as_deref() == Some(&object.namespace)
                && meta.labels().get(PIPELINE_LABEL) == Some(&object.name)
                && !self.memory.known_closed(&meta.uid().unwrap_or_default(), &meta.resource_version().unwrap_or_default())
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
