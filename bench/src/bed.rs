//! The servers of a run, the operator on them, and the objects that it is asked for.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use stream_pipeline_api::{OffsetResetRecord, StreamPipeline};
use testbed::{Operator, Testbed};

use crate::settings::Settings;
use crate::{counts, http, process, say};

/// How many clients write objects at once.
pub const CLIENTS: usize = 16;
const LIMIT: Duration = Duration::from_secs(300);
/// Longer than between two looks at a pipeline at rest.
const STILL: Duration = Duration::from_secs(5);

/// A control plane and a broker of this run, which end with this process.
pub struct Bed {
    pub settings: Settings,
    pub testbed: &'static Testbed,
    pub client: Client,
    operator: PathBuf,
}

impl Bed {
    pub async fn start(settings: Settings, operator: PathBuf) -> Result<Self> {
        let testbed = tokio::task::spawn_blocking(Testbed::start).await.context("the start does not panic")??;
        // As long as this process: whatever ends it ends the servers.
        let testbed: &'static Testbed = Box::leak(Box::new(testbed));
        Ok(Self { settings, client: testbed.client().await, testbed, operator })
    }

    /// Left as it is until the servers end: the deletion of thousands of objects would be measured with the next row.
    pub fn namespace(&self, name: &str) -> String {
        let namespace = std::mem::ManuallyDrop::new(self.testbed.namespace(name));
        namespace.name().to_owned()
    }

    pub fn pipelines(&self, namespace: &str) -> Api<StreamPipeline> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub fn records(&self, namespace: &str) -> Api<OffsetResetRecord> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Starts an operator with its defaults that watches these namespaces, and waits until it is ready.
    pub async fn operator(&self, namespaces: &[&str], args: &[&str]) -> Result<Running> {
        let begun = Instant::now();
        let operator = Operator::start(self.testbed, &self.operator, &namespaces.join(","), args);
        let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
        let mut running = Running { operator, namespaces, address: String::new(), ready_after: Duration::ZERO };
        loop {
            ensure!(running.operator.is_running(), "the operator has ended:\n{}", running.operator.log());
            ensure!(begun.elapsed() < LIMIT, "the operator was not ready within {LIMIT:?}:\n{}", running.operator.log());
            let log = running.operator.log();
            if let Some(address) = log.lines().find_map(|line| line.split("probes and metrics address=").nth(1)) {
                running.address = address.trim().to_owned();
                if http::get(&running.address, "/readyz").await.is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                    running.ready_after = begun.elapsed();
                    return Ok(running);
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A StreamPipeline of a Kafka group, without a request.
    pub fn kafka_pipeline(&self, name: &str, group: &str) -> Value {
        pipeline(name, json!({ "kafka": { "bootstrapServers": [self.testbed.bootstrap()], "consumerGroup": group } }))
    }

    /// Creates these objects, many at once.
    pub async fn create(&self, namespace: &str, objects: impl IntoIterator<Item = Value>) -> Result<()> {
        let api = self.pipelines(namespace);
        let create = |object: Value| {
            let api = api.clone();
            async move {
                let object: StreamPipeline = serde_json::from_value(object)?;
                api.create(&PostParams::default(), &object).await.map(drop).context("creating a StreamPipeline")
            }
        };
        stream::iter(objects).map(create).buffer_unordered(2 * CLIENTS).try_collect().await
    }
}

pub fn pipeline(name: &str, spec: Value) -> Value {
    json!({ "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": { "name": name }, "spec": spec })
}

/// The request that is written by a merge patch.
pub fn ask(id: &str, target: &Value) -> Patch<Value> {
    Patch::Merge(json!({ "spec": { "offsetReset": { "id": id, "quietPeriod": "0s", "to": target } } }))
}

/// There and back again, so that each reset moves all of the offsets.
pub fn position(n: usize) -> &'static str {
    if n.is_multiple_of(2) { "Earliest" } else { "Latest" }
}

pub async fn patch(api: &Api<StreamPipeline>, name: &str, patch: &Patch<Value>) -> Result<()> {
    api.patch(name, &PatchParams::default(), patch).await.map(drop).with_context(|| format!("asking for a reset of {name}"))
}

/// An operator that is ready.
pub struct Running {
    pub operator: Operator,
    namespaces: Vec<String>,
    address: String,
    pub ready_after: Duration,
}

impl Running {
    pub fn family(&self) -> Vec<u32> {
        process::family(&self.operator)
    }

    /// One of its metrics.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = http::get(&self.address, "/metrics").await.unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse().ok()).unwrap_or_default()
    }

    /// Waits until it has looked at so many objects, and has nothing to tell about them any more.
    pub async fn settled(&self, bed: &Bed, objects: usize) -> Result<()> {
        let begun = Instant::now();
        while self.metric("streampipeline_reconcile_time_seconds_count").await < objects as f64 {
            ensure!(begun.elapsed() < LIMIT, "the operator has not looked at {objects} objects within {LIMIT:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let mut before = counts::api(&bed.client).await?;
        while begun.elapsed() < 2 * LIMIT {
            tokio::time::sleep(STILL).await;
            let after = counts::api(&bed.client).await?;
            let still = counts::sum(&counts::between(&before, &after), &counts::WRITES) == 0.0;
            if still && self.has_told_all(bed).await? {
                return Ok(());
            }
            before = after;
        }
        // What is measured next says so, too.
        say(&format!("the operator still writes to the API server {:.0} s after its start", begun.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Whether each object has a status that the operator wrote.
    async fn has_told_all(&self, bed: &Bed) -> Result<bool> {
        for namespace in &self.namespaces {
            let all = bed.pipelines(namespace).list(&ListParams::default()).await.context("listing the StreamPipelines")?;
            let told = |object: &StreamPipeline| object.status.as_ref().is_some_and(|status| status.observed_uid.is_some());
            if !all.iter().all(told) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Lines of the log that hold this word.
    pub fn told(&self, word: &str) -> usize {
        self.operator.log().lines().filter(|line| line.contains(word)).count()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.operator.terminate();
    }
}
