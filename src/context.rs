//! What every pass needs, in one struct.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::core::PartialObjectMeta;
use kube::runtime::events::Recorder;
use kube::runtime::reflector::Store;
use kube::{Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::api::{OffsetResetRecord, PIPELINE_LABEL};
use crate::backend::Platform;
use crate::backend::enos::Gateways;
use crate::backend::kafka::Kafka;
use crate::backend::kafka::clients::Clients;
use crate::domain::{Backend, Cause, Desired, Identity, Now, Timing};
use crate::ledger::Ledger;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::secrets::Secrets;

/// Keys of the Secret of an EnOS application.
const CREDENTIALS: [&str; 2] = ["accessKey", "secretKey"];

/// See the module.
pub struct Context {
    pub client: Client,
    pub ledger: Ledger,
    /// Metadata of all records in scope; one is read only when it is needed.
    pub records: Store<PartialObjectMeta<OffsetResetRecord>>,
    pub memory: Memory,
    pub kafka: Arc<Clients>,
    pub enos: Arc<Gateways>,
    pub secrets: Secrets,
    pub timing: Timing,
    pub recorder: Recorder,
    pub metrics: Arc<Metrics>,
    /// Cancelled when the process was asked to end.
    pub shutdown: CancellationToken,
}

impl Context {
    pub fn now(&self) -> Now {
        Now { mono: Instant::now(), wall: Timestamp::now() }
    }

    /// The pipeline's platform.
    ///
    /// # Errors
    /// Its client could not be made, or its credentials could not be read.
    pub async fn platform(&self, desired: &Desired) -> Result<Platform, Cause> {
        let (namespace, now) = (&desired.object.namespace, Instant::now());
        match &desired.backend {
            Backend::Kafka(kafka) => Kafka::connect(&self.kafka, namespace, kafka, self.timing.call_deadline, now).map(Platform::Kafka),
            Backend::Enos(enos) => {
                let [access, secret] = self.secrets.secret(namespace, &enos.spec.credentials_secret_ref.name, CREDENTIALS).await?;
                let ca = match &enos.spec.ca {
                    Some(source) => Some(self.secrets.ca(namespace, source).await?),
                    None => None,
                };
                self.enos.connect(namespace, enos, (&access, &secret), ca, now).map(|enos| Platform::Enos(Box::new(enos)))
            }
        }
    }

    /// Names of this pipeline's records that are not known to be over.
    pub fn open_records(&self, object: &Identity) -> Vec<String> {
        let of_pipeline = |meta: &PartialObjectMeta<OffsetResetRecord>| {
            meta.namespace().as_deref() == Some(&object.namespace)
                && meta.labels().get(PIPELINE_LABEL) == Some(&object.name)
                && !self.memory.known_closed(&meta.uid().unwrap_or_default(), &meta.resource_version().unwrap_or_default())
        };
        self.records.state_filter(|meta| of_pipeline(meta)).iter().map(|meta| meta.name_any()).collect()
    }

    /// A delay that parts those who would collide again and again: `base` to twice that, by object and time.
    pub fn jitter(&self, base: Duration) -> Duration {
        base + base.mul_f64(f64::from(Timestamp::now().subsec_nanosecond().rem_euclid(1_000)) / 1_000.0)
    }
}
