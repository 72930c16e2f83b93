//! Where a scenario runs: a namespace of its own, an operator that watches it, topics and groups, and what people do there.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace as NamespaceObject, Secret};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::{Client, Resource};
use serde_json::{Value, json};
use stream_pipeline_api::{OffsetResetRecord, StreamPipeline};
use testbed::{Namespace, Operator, Testbed, eventually, kafka};

use crate::support::brokers;
use crate::support::requests::ask;

/// The operator under test.
pub const EXE: &str = env!("CARGO_BIN_EXE_stream-pipeline-operator");
/// Long enough for a busy machine; a test that needs it fails.
pub const LIMIT: Duration = Duration::from_secs(90);
/// Time stamp of the first record of a test topic: 2026-01-01T00:00:00Z.
pub const FIRST_RECORD_TIME: i64 = 1_767_225_600_000;
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
/// Neither call nor window ends while a test stops a call, however slow the machine is.
pub const PATIENT: [&str; 2] = ["--call-deadline=60s", "--send-window=60s"];
/// One line of the log for each look, also where nothing is new.
pub const LOG_EVERY_LOOK: &str = "--log-filter=info,stream_pipeline_operator=debug";

/// [`FAST`], and these instead of the same ones there.
pub fn flags<'a>(extra: &[&'a str]) -> Vec<&'a str> {
    instead(&FAST, extra)
}

/// The first flags, and the second instead of the same ones there: the operator takes none twice.
pub fn instead<'a>(flags: &[&'a str], extra: &[&'a str]) -> Vec<&'a str> {
    let known = |flag: &&&str| !extra.iter().any(|e| e.split('=').next() == flag.split('=').next());
    flags.iter().filter(known).copied().chain(extra.iter().copied()).collect()
}

/// Servers of a test's own, which end with it.
pub struct OwnServers(pub &'static Testbed);

impl OwnServers {
    /// With a broker that has a listener behind each of these addresses.
    pub async fn start(addresses: Vec<String>) -> Self {
        Self(Box::leak(Box::new(brokers::start(move || Testbed::start_behind(&addresses)).await)))
    }
}

impl Drop for OwnServers {
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

    /// Kills the operator and starts another, which logs each look.
    pub fn restart(&mut self) {
        self.kill_operator();
        self.start_operator_with(&[LOG_EVERY_LOOK]);
    }

    /// The objects of a type in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), self.namespace.name())
    }

    pub fn pipelines(&self) -> Api<StreamPipeline> {
        self.api()
    }

    pub fn records(&self) -> Api<OffsetResetRecord> {
        self.api()
    }

    /// StreamPipelines as the API server has them, decoded or not.
    pub fn untyped(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), self.namespace.name(), &ApiResource::erase::<StreamPipeline>(&()))
    }

    /// A name that no other test uses.
    pub fn unique(&self, what: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        format!("{}-{what}-{}", self.test.replace('_', "-"), COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// A topic with so many records, a second apart, in each partition; the first is stamped [`FIRST_RECORD_TIME`].
    pub async fn topic(&self, records: &[i64]) -> String {
        let topic = self.unique("t");
        kafka::create_topic(&self.bootstrap, &topic, i32::try_from(records.len()).expect("few partitions"), &[]).await;
        for (partition, count) in (0..).zip(records) {
            kafka::produce(&self.bootstrap, &topic, partition, *count, |n| FIRST_RECORD_TIME + n * 1000).await;
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

    /// Moves the group on partition 0, as somebody else may.
    pub async fn move_group(&self, group: &str, topic: &str, offset: i64) {
        kafka::commit(&self.bootstrap, group, &[(topic, 0, offset, "")]).await;
    }

    /// Creates or replaces a Secret.
    pub async fn secret(&self, name: &str, values: Value) {
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": values });
        let api: Api<Secret> = self.api();
        api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(secret)).await.expect("the Secret is taken");
    }

    pub async fn delete_secret(&self, name: &str) {
        self.api::<Secret>().delete(name, &DeleteParams::default()).await.expect("the Secret can be deleted");
    }

    /// Creates or replaces a ConfigMap.
    pub async fn config_map(&self, name: &str, texts: Value) {
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": texts });
        let api: Api<ConfigMap> = self.api();
        api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(map)).await.expect("the ConfigMap is taken");
    }

    /// Applies a StreamPipeline, as `kubectl apply` does.
    pub async fn apply(&self, name: &str, group: &str, reset: Value) -> StreamPipeline {
        let spec = json!({ "kafka": { "bootstrapServers": self.servers(), "consumerGroup": group } });
        self.apply_with(name, spec, reset).await
    }

    /// The same with any other spec, to which the request is added; null is none.
    pub async fn apply_with(&self, name: &str, mut spec: Value, reset: Value) -> StreamPipeline {
        if !reset.is_null() {
            spec["offsetReset"] = reset;
        }
        self.apply_spec(name, spec).await.unwrap_or_else(|e| panic!("the API server must take {name}: {e}"))
    }

    pub async fn apply_spec(&self, name: &str, spec: Value) -> kube::Result<StreamPipeline> {
        let object =
            json!({ "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": { "name": name }, "spec": spec });
        self.pipelines().patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await
    }

    /// Created without a request and seen by the operator: what is asked from now on is new.
    pub async fn known(&self, name: &str, group: &str) {
        self.apply(name, group, Value::Null).await;
        self.is_seen(name).await;
    }

    /// A topic of ten records, a group that has committed 7 of them, and a pipeline of that group as [`Self::known`] leaves it.
    pub async fn known_at_7_of_10(&self, name: &str) -> (String, String) {
        let topic = self.topic(&[10]).await;
        let group = self.group(&topic, &[7]).await;
        self.known(name, &group).await;
        (topic, group)
    }

    /// The same, reset to Earliest by its request `r1`; with its record.
    pub async fn reset_once(&self, name: &str) -> (String, String, OffsetResetRecord) {
        let (topic, group) = self.known_at_7_of_10(name).await;
        self.apply(name, &group, ask("r1", "Earliest")).await;
        let status = self.verified(name, "r1").await;
        let record = self.record(&status).await;
        (topic, group, record)
    }

    /// Asks for the object's deletion, which its finalizer may hold up.
    pub async fn ask_to_delete(&self, name: &str) {
        self.pipelines().delete(name, &DeleteParams::default()).await.expect("the object can be deleted");
    }

    /// Deletes the object, and waits until it is gone.
    pub async fn delete(&self, name: &str) {
        self.ask_to_delete(name).await;
        self.is_gone(name).await;
    }

    /// Deletes the namespace, and waits until it is gone.
    pub async fn delete_namespace(&self) {
        let (all, name): (Api<NamespaceObject>, _) = (Api::all(self.client.clone()), self.namespace.name());
        all.delete(name, &DeleteParams::default()).await.expect("the namespace can be deleted");
        eventually("the namespace to be gone", LIMIT, async || match all.get_opt(name).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }

    /// Where the objects say that the brokers are.
    pub fn servers(&self) -> &[String] {
        self.named.as_deref().unwrap_or(std::slice::from_ref(&self.bootstrap))
    }
}

/// Kubernetes knows the age of an object to the second: what is created from now on is younger than what is there.
pub async fn a_second_passes() {
    tokio::time::sleep(Duration::from_millis(1100)).await;
}
