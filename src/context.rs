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
use crate::backend::kafka::Kafka;
use crate::backend::kafka::clients::Clients;
use crate::domain::{Cause, Desired, Identity, Now, Timing};
use crate::ledger::Ledger;
use crate::memory::Memory;
use crate::metrics::Metrics;

/// See the module.
pub struct Context {
    pub client: Client,
    pub ledger: Ledger,
    /// Metadata of all records in scope; one is read only when it is needed.
    pub records: Store<PartialObjectMeta<OffsetResetRecord>>,
    pub memory: Memory,
    pub kafka: Arc<Clients>,
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

    /// The backend of this pipeline.
    ///
    /// # Errors
    /// Its client could not be made.
    pub fn backend(&self, desired: &Desired) -> Result<Kafka, Cause> {
        Kafka::connect(&self.kafka, &desired.object.namespace, &desired.backend, self.timing.call_deadline, Instant::now())
    }

    /// Names of this pipeline's records that are not known to be closed.
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
