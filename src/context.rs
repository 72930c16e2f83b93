//! What every pass needs, in one struct.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;

use crate::backend::{Platform, Platforms};
use crate::clock::Clock;
use crate::kubernetes::crds::Definitions;
use crate::pipelines::Pipelines;
use crate::process_state::ProcessState;
use crate::record_store::RecordStore;
use crate::records::{Records, Told};
use crate::report::Events;
use crate::running::Running;
use stream_pipeline_api::{BackendIdentity, ConfigMapKeyReference};
use stream_pipeline_core::{Cause, Decision, Desired, Identity, Now, Observation, OlderPipeline, PriorStatus, Timing, elsewhere};

/// What to do next, from what is known: [`stream_pipeline_core::decide::decide`].
pub type Decide = Box<dyn Fn(&Desired, &PriorStatus, &Observation, &Timing, Now) -> Decision + Send + Sync>;

/// See the module's own comment.
pub struct Context {
    pub client: Client,
    pub record_store: RecordStore,
    /// Metadata of all records in scope; a record itself is read only when it is needed.
    pub records: Records,
    pub pipelines: Pipelines,
    pub process_state: Arc<ProcessState>,
    pub platforms: Platforms,
    pub definitions: Definitions,
    pub timing: Timing,
    pub clock: Clock,
    pub decide: Decide,
    pub events: Events,
    pub running: Running,
}

impl Context {
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// The pipeline's platform.
    pub async fn platform(&self, desired: &Desired) -> Platform {
        self.platforms.of(&desired.object.namespace, &desired.backend, self.now().mono).await
    }

    /// The platform of a record.
    pub async fn platform_of(&self, desired: &Desired, place: &BackendIdentity) -> Platform {
        self.platforms.at(&desired.object.namespace, &desired.backend, place, self.now().mono).await
    }

    /// The text of a key of a ConfigMap, as it is now.
    ///
    /// # Errors
    /// As [`crate::kubernetes::secrets::Secrets::secret`].
    pub async fn offsets_file(&self, namespace: &str, file: &ConfigMapKeyReference) -> Result<String, Cause> {
        self.platforms.secrets.text_now(namespace, &file.name, &file.key).await
    }

    /// Another group of the same brokers, to be read only.
    pub async fn platform_beside(&self, desired: &Desired, place: &BackendIdentity) -> Platform {
        self.platforms.beside(&desired.object.namespace, &desired.backend, place, self.now().mono).await
    }

    /// The StreamPipeline that goes before this one on the same group or pipeline, as far as the watch cache shows.
    pub fn older_pipeline(&self, object: &Identity, identity: &BackendIdentity) -> Option<OlderPipeline> {
        let near = self.pipelines.near(object, identity);
        OlderPipeline::among(near.iter().filter_map(|object| object.0.as_ref().ok()), object, identity)
    }

    /// StreamPipelines of other namespaces on the same group or pipeline.
    pub fn elsewhere(&self, object: &Identity, identity: &BackendIdentity) -> Vec<String> {
        let near = self.pipelines.near(object, identity);
        elsewhere(near.iter().filter_map(|object| object.0.as_ref().ok()), object, identity)
    }

    /// Names of this pipeline's records that are not known to be over.
    pub fn open_records(&self, object: &Identity) -> Vec<String> {
        self.not_over(self.records.of_pipeline(object))
    }

    /// Names of this group's records in the namespace, but for dry runs and the one named `but`, that are not known to be over.
    pub fn open_records_of_group(&self, namespace: &str, backend: &BackendIdentity, but: &str) -> Vec<String> {
        let mut names = self.not_over(self.records.of_group(namespace, backend));
        names.retain(|name| name != but);
        names
    }

    fn not_over(&self, mut records: Vec<Told>) -> Vec<String> {
        records.retain(|told| !self.process_state.known_closed(&told.version));
        records.into_iter().map(|told| told.name).collect()
    }

    /// A delay from `base` to twice that, by the clock's last digits: it parts processes that would collide again and again.
    pub fn jitter(&self, base: Duration) -> Duration {
        base + base.mul_f64(f64::from(self.clock.wall().subsec_nanosecond().rem_euclid(1_000)) / 1_000.0)
    }
}
