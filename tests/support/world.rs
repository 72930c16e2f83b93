//! What a test needs: a namespace of its own, an operator that watches it, topics and groups, and waits for conditions.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use stream_pipeline_operator::api::{OffsetResetRecord, OffsetResetStatus, Stage, StreamPipeline, StreamPipelineStatus};
use testbed::{Namespace, Operator, Testbed, eventually, kafka};

/// The operator under test.
pub const EXE: &str = env!("CARGO_BIN_EXE_stream-pipeline-operator");
/// Long enough for a busy machine; a test that needs it fails.
pub const LIMIT: Duration = Duration::from_secs(90);
/// Short waits, the protocol's proportions kept.
pub const FAST: [&str; 8] = [
    "--send-window=5s",
    "--call-deadline=3s",
    "--late-bound=1s",
    "--recheck-waiting=300ms",
    "--recheck-idle=1s",
    "--max-backoff=2s",
    "--concurrency=4",
    "--log-filter=info,kube_runtime::controller=warn",
];

/// Servers of a test's own, which end with it.
pub struct Own(pub &'static Testbed);

impl Own {
    /// With a broker that has a listener behind each of these addresses.
    pub async fn start(addresses: Vec<String>) -> Self {
        let begin = move || Testbed::start_behind(&addresses).expect("servers start");
        Self(Box::leak(Box::new(tokio::task::spawn_blocking(begin).await.expect("no panic"))))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// One test's part of the world.
pub struct World {
    pub testbed: &'static Testbed,
    pub namespace: Namespace<'static>,
    pub client: Client,
    pub bootstrap: String,
    /// What the objects name instead, where the operator is to go another way than the test.
    pub named: Option<Vec<String>>,
    test: String,
    operator: Option<Operator>,
}

impl World {
    /// A namespace with an operator that watches it.
    pub async fn new(test: &str) -> Self {
        let mut world = Self::without_operator(test).await;
        world.start_operator();
        world
    }

    pub async fn without_operator(test: &str) -> Self {
        Self::on(testbed::start().await, test).await
    }

    /// On servers of its own.
    pub async fn on(testbed: &'static Testbed, test: &str) -> Self {
        let namespace = testbed.namespace(test);
        let (client, bootstrap) = (testbed.client().await, testbed.bootstrap());
        Self { client, bootstrap, named: None, test: test.to_owned(), testbed, namespace, operator: None }
    }

    pub fn start_operator(&mut self) {
        self.start_operator_with(&[]);
    }

    /// Later flags win over those of [`FAST`].
    pub fn start_operator_with(&mut self, extra: &[&str]) {
        self.operator = Some(Operator::start(self.testbed, Path::new(EXE), self.namespace.name(), &flags(extra)));
    }

    pub fn operator(&mut self) -> &mut Operator {
        self.operator.as_mut().expect("the test has started an operator")
    }

    /// SIGKILL.
    pub fn kill_operator(&mut self) {
        self.operator = None;
    }

    pub fn pipelines(&self) -> Api<StreamPipeline> {
        Api::namespaced(self.client.clone(), self.namespace.name())
    }

    /// StreamPipelines as the API server has them, decoded or not.
    pub fn untyped(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), self.namespace.name(), &ApiResource::erase::<StreamPipeline>(&()))
    }

    pub fn records(&self) -> Api<OffsetResetRecord> {
        Api::namespaced(self.client.clone(), self.namespace.name())
    }

    /// A name that no other test uses.
    pub fn unique(&self, what: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        format!("{}-{what}-{}", self.test.replace('_', "-"), COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// A topic with so many records, a second apart, in each partition; the first is stamped `FIRST`.
    pub async fn topic(&self, records: &[i64]) -> String {
        let topic = self.unique("t");
        kafka::create_topic(&self.bootstrap, &topic, i32::try_from(records.len()).expect("few partitions"), &[]).await;
        for (partition, count) in (0..).zip(records) {
            kafka::produce(&self.bootstrap, &topic, partition, *count, |n| FIRST + n * 1000).await;
        }
        topic
    }

    /// A group that has committed these offsets, one per partition.
    pub async fn group(&self, topic: &str, offsets: &[i64]) -> String {
        let group = self.unique("g");
        let commits: Vec<_> = (0..).zip(offsets).map(|(partition, offset)| (topic, partition, *offset, "")).collect();
        kafka::commit(&self.bootstrap, &group, &commits).await;
        group
    }

    pub async fn offsets(&self, group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
        kafka::offsets(&self.bootstrap, group, topic, partitions).await
    }

    /// Applies a StreamPipeline, as `kubectl apply` does.
    pub async fn apply(&self, name: &str, group: &str, reset: Value) -> StreamPipeline {
        self.try_apply(name, group, reset).await.expect("the API server takes it")
    }

    pub async fn try_apply(&self, name: &str, group: &str, reset: Value) -> kube::Result<StreamPipeline> {
        let mut spec = json!({ "kafka": { "bootstrapServers": self.servers(), "consumerGroup": group } });
        if !reset.is_null() {
            spec["offsetReset"] = reset;
        }
        self.apply_spec(name, spec).await
    }

    pub async fn apply_spec(&self, name: &str, spec: Value) -> kube::Result<StreamPipeline> {
        let object =
            json!({ "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": { "name": name }, "spec": spec });
        self.pipelines().patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await
    }

    /// Created without a request and seen by the operator: what is asked from now on is new.
    pub async fn known(&self, name: &str, group: &str) {
        self.apply(name, group, Value::Null).await;
        self.wait(name, "the operator to see the object", |s| s.observed_uid.is_some()).await;
    }

    /// Waits for a state of the status.
    pub async fn wait(&self, name: &str, what: &str, done: impl Fn(&StreamPipelineStatus) -> bool) -> StreamPipelineStatus {
        let api = self.pipelines();
        eventually(&format!("{what} ({name})"), LIMIT, async || {
            let status = api.get(name).await.map_err(|e| e.to_string())?.status.unwrap_or_default();
            if done(&status) { Ok(status) } else { Err(serde_json::to_string(&status).unwrap_or_default()) }
        })
        .await
    }

    /// Waits until a request stands at this stage for this reason.
    pub async fn reaches(&self, name: &str, id: &str, stage: Stage, reason: &str) -> StreamPipelineStatus {
        self.wait(name, &format!("request {id} to be {stage:?}/{reason}"), |s| {
            let at = s.offset_reset.as_ref().is_some_and(|r| r.id == id && r.stage == stage);
            at && condition(s, "Ready").is_some_and(|c| c.reason == reason)
        })
        .await
    }

    pub async fn verified(&self, name: &str, id: &str) -> StreamPipelineStatus {
        self.reaches(name, id, Stage::Verified, "ResetVerified").await
    }

    /// The record the status points to.
    pub async fn record(&self, status: &StreamPipelineStatus) -> OffsetResetRecord {
        let name = &reset(status).record_ref.as_ref().expect("the status names a record").name;
        self.records().get(name).await.expect("the record is there")
    }

    pub async fn all_records(&self) -> Vec<OffsetResetRecord> {
        self.records().list(&kube::api::ListParams::default()).await.expect("records can be listed").items
    }

    /// Where the objects say that the brokers are.
    fn servers(&self) -> &[String] {
        self.named.as_deref().unwrap_or(std::slice::from_ref(&self.bootstrap))
    }

    /// Waits until the operator has decided anew, twice, since now: then what it did not do it does not do.
    pub async fn passes(&self, name: &str) {
        let (touch, servers) = (self.unique("touch"), self.servers());
        let port = servers[0].rsplit(':').next().expect("an address has a port");
        let another = servers.iter().cloned().chain([format!("localhost:{port}")]).collect::<Vec<_>>();
        for servers in [another.as_slice(), servers] {
            let patch =
                json!({ "metadata": { "annotations": { "test/touch": touch } }, "spec": { "kafka": { "bootstrapServers": servers } } });
            let touched =
                self.pipelines().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("the object can be edited");
            // Also where the status as a whole stays told of an earlier one.
            self.wait(name, "the operator to look at an edit", |s| {
                s.conditions.iter().any(|c| c.observed_generation == touched.metadata.generation)
            })
            .await;
        }
    }
}

/// [`FAST`], and these instead of the same ones there.
pub fn flags<'a>(extra: &[&'a str]) -> Vec<&'a str> {
    instead(&FAST, extra)
}

/// The first flags, and the second instead of the same ones there: the operator takes none twice.
pub fn instead<'a>(flags: &[&'a str], extra: &[&'a str]) -> Vec<&'a str> {
    let known = |flag: &&&str| !extra.iter().any(|e| e.split('=').next() == flag.split('=').next());
    flags.iter().filter(known).copied().chain(extra.iter().copied()).collect()
}

/// Time stamp of the first record of a test topic: 2026-01-01T00:00:00Z.
pub const FIRST: i64 = 1_767_225_600_000;

pub fn condition<'a>(status: &'a StreamPipelineStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|c| c.type_ == kind)
}

/// The request has ended, and nothing is left to do for it.
pub fn is_over(status: &StreamPipelineStatus) -> bool {
    status.offset_reset.as_ref().is_some_and(|r| r.stage.is_final()) && condition(status, "Reconciling").is_none()
}

/// Status, reason and message of a condition that must be there.
pub fn says<'a>(status: &'a StreamPipelineStatus, kind: &str) -> (&'a str, &'a str, &'a str) {
    let c = condition(status, kind).unwrap_or_else(|| panic!("no condition {kind} in {status:?}"));
    (&c.status, &c.reason, &c.message)
}

pub fn reset(status: &StreamPipelineStatus) -> &OffsetResetStatus {
    status.offset_reset.as_ref().expect("the status speaks of a request")
}
