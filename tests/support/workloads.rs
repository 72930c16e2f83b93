//! A world with workloads (`spec.kafka.workloads`): real controllers, and a real consumer for each pod.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use stream_pipeline_api::{OffsetResetRecord, Phase, Stage, StreamPipelineStatus};
use testbed::pods::{self, Pods};
use testbed::trap::Side;
use testbed::{RELEASE, SYSTEM_NAMESPACE, eventually, kafka};

use crate::support::calls::changes_record;
use crate::support::proxied::ProxiedOperator;
use crate::support::requests::{ask, with};
use crate::support::status::{assert_has, reset, says};
use crate::support::world::{LIMIT, World};

/// Shorter waits for what may still land: 6.5 s.
pub const QUICK: [&str; 3] = ["--send-window=2s", "--call-deadline=2s", "--late-bound=500ms"];

/// A namespace whose pods run, an operator, a topic with ten records in each of two partitions, and the name of a group.
pub struct WorkloadWorld {
    // First, so that the consumers end before their namespace.
    pub pods: Pods,
    pub world: World,
    pub topic: String,
    pub group: String,
    pub workloads: Vec<Value>,
}

impl WorkloadWorld {
    /// These workloads run, their consumers have read everything, and the operator knows the pipeline `p` of them.
    pub async fn new(test: &str, workloads: impl Fn(&str, &str) -> Vec<Value>) -> Self {
        let mut scaled = Self::without_operator(test, workloads).await;
        scaled.world.start_operator_with(&QUICK);
        scaled.known("p").await;
        scaled
    }

    /// With one Deployment of two pods.
    pub async fn one(test: &str) -> Self {
        Self::new(test, |group, topic| vec![pods::deployment("d", 2, group, topic)]).await
    }

    /// As [`WorkloadWorld::one`], with an operator whose calls to the API server go through a proxy.
    pub async fn proxied(test: &str) -> (Self, ProxiedOperator) {
        let scaled = Self::without_operator(test, |group, topic| vec![pods::deployment("d", 2, group, topic)]).await;
        let proxied = ProxiedOperator::start(&scaled.world, &QUICK).await;
        scaled.known("p").await;
        (scaled, proxied)
    }

    /// Its workload is at 0 for a request that is held: the operator was killed when it had written the plan.
    pub async fn held(test: &str) -> Self {
        let (mut scaled, mut proxied) = Self::proxied(test).await;
        proxied.traps.arm(Side::After, changes_record);
        scaled.apply("p", pause("r1")).await;
        proxied.traps.sprung().await;
        proxied.operator.kill();
        scaled.world.start_operator_with(&QUICK);
        let status = scaled.world.reaches("p", "r1", Stage::Held, "OutcomeUnknown").await;
        assert!(reset(&status).paused_by_operator.is_some(), "expected the operator to keep it at 0: {status:?}");
        // Each way out that is told here is tried by a test of `workloads/held.rs`.
        let (_, _, message) = says(&status, "Ready");
        let told = [
            "set onUnknownOutcome: Retry to send the same once more, or choose a new id, or remove spec.offsetReset to leave it",
            &format!("kafka-consumer-groups --bootstrap-server … --describe --group {}", scaled.group),
            "The operator keeps at 0 since ",
            ": Deployment d (it had 2); a new id, or removing spec.offsetReset, starts it again",
        ];
        assert_has(message, &told);
        assert_eq!(status.phase, Some(Phase::Paused), "the phase of {status:?}");
        assert_eq!((scaled.counts().await, scaled.offsets().await), (vec![0], vec![Some(10), Some(10)]), "replicas, and offsets");
        assert_eq!((scaled.scalings(), scaled.world.finalizers("p").await.len()), (1, 1), "how often a count was written, and finalizers");
        scaled
    }

    pub async fn without_operator(test: &str, workloads: impl Fn(&str, &str) -> Vec<Value>) -> Self {
        let world = World::without_operator(test).await;
        let topic = world.topic(&[10, 10]).await;
        let group = world.unique("g");
        let pods = Pods::play(world.client.clone(), world.namespace.name(), &world.bootstrap);
        let workloads = workloads(&group, &topic);
        let scaled = Self { pods, world, topic, group, workloads };
        for workload in &scaled.workloads {
            scaled.owner_applies(workload).await.expect("the manifest is accepted");
        }
        scaled
    }

    /// Applies the manifest as its owner, who forces nothing.
    pub async fn owner_applies(&self, manifest: &Value) -> kube::Result<()> {
        pods::apply(&self.world.client, self.world.namespace.name(), "owner", manifest).await.map(drop)
    }

    /// Applies the pipeline without a request, and waits until the operator has seen it and the consumers have read everything.
    pub async fn known(&self, name: &str) {
        self.apply(name, Value::Null).await;
        self.world.is_seen(name).await;
        self.read().await;
    }

    pub fn spec(&self) -> Value {
        let workloads: Vec<Value> = self.workloads.iter().map(reference).collect();
        json!({ "kafka": { "bootstrapServers": [self.world.bootstrap], "consumerGroup": self.group, "workloads": workloads } })
    }

    pub async fn apply(&self, name: &str, reset: Value) {
        self.apply_spec(name, self.spec(), reset).await;
    }

    pub async fn apply_spec(&self, name: &str, spec: Value, reset: Value) {
        self.world.apply_with(name, spec, reset).await;
    }

    /// Members of the group, by the names of their pods.
    pub async fn members(&self) -> Vec<String> {
        kafka::members(&self.world.bootstrap, &self.group).await.map(|(_, members)| members).unwrap_or_default()
    }

    pub async fn offsets(&self) -> Vec<Option<i64>> {
        self.world.offsets(&self.group, &self.topic, 2).await
    }

    /// Waits until both partitions are at this offset.
    pub async fn is_at(&self, what: &str, offset: i64) {
        eventually(what, LIMIT, async || match self.offsets().await {
            all if all == [Some(offset); 2] => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }

    /// Waits until the consumers have read everything, and all of them are members.
    pub async fn read(&self) {
        let count = self.counts().await.iter().sum::<i64>();
        self.is_at("everything to be read", 10).await;
        eventually("the members", LIMIT, async || match self.members().await {
            members if i64::try_from(members.len()) == Ok(count) => Ok(()),
            members => Err(format!("{members:?} of {count}")),
        })
        .await;
    }

    /// `spec.replicas` of this workload.
    pub async fn count(&self, workload: &Value) -> i64 {
        let found = pods::get(&self.world.client, self.world.namespace.name(), workload).await.expect("the workload is there");
        found.data["spec"]["replicas"].as_i64().expect("a count")
    }

    /// `spec.replicas` of each.
    pub async fn counts(&self) -> Vec<i64> {
        let mut counts = Vec::new();
        for workload in &self.workloads {
            counts.push(self.count(workload).await);
        }
        counts
    }

    /// Waits for these counts.
    pub async fn counted(&self, counts: &[i64]) {
        eventually(&format!("counts of {counts:?}"), LIMIT, async || match self.counts().await {
            seen if seen == counts => Ok(()),
            seen => Err(format!("{seen:?}")),
        })
        .await;
    }

    pub async fn person_scales(&self, workload: &Value, count: u32) {
        pods::scale(&self.world.client, self.world.namespace.name(), workload, count).await.expect("it can be scaled");
    }

    /// How often the operator has written a count, by the audit log.
    pub fn scalings(&self) -> usize {
        self.world.writes().iter().filter(|w| w.starts_with("\"patch\"") && w.contains("/scale?")).count()
    }

    /// Waits until the one record says that what was stopped runs again, and nothing is left to do for it.
    pub async fn brought_back(&self, name: &str) -> OffsetResetRecord {
        let record = self.world.brought_back(&self.world.only_record().await.name_any()).await;
        self.at_rest(name).await;
        record
    }

    /// Waits until no finalizer holds the object, and its status calls nothing paused.
    pub async fn at_rest(&self, name: &str) -> StreamPipelineStatus {
        self.world.is_let_go(name).await;
        self.world.wait(name, "the pause to be over", |s| s.offset_reset.as_ref().is_none_or(|r| r.paused_by_operator.is_none())).await
    }

    /// What the chart's value `workloads` adds for [`pods::worker`], for this namespace only.
    pub async fn grant_workers(&self) {
        let rule = |resource: &str, verbs: &[&str]| json!({ "apiGroups": ["example.com"], "resources": [resource], "verbs": verbs });
        let rules = [rule("workers", &["get"]), rule("workers/scale", &["get", "patch"])];
        self.grant(&json!(rules)).await;
    }

    /// These rules, for this namespace only.
    pub async fn grant(&self, rules: &Value) {
        let role = json!({ "metadata": { "name": "workers" }, "rules": rules });
        self.world
            .api::<Role>()
            .create(&PostParams::default(), &serde_json::from_value(role).expect("a Role"))
            .await
            .expect("the Role is taken");
        self.give_workers().await;
    }

    /// Binds the Role of [`WorkloadWorld::grant`] to the operator.
    pub async fn give_workers(&self) {
        let binding = json!({
            "metadata": { "name": "workers" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "workers" },
            "subjects": [{ "kind": "ServiceAccount", "name": RELEASE, "namespace": SYSTEM_NAMESPACE }]
        });
        let binding = serde_json::from_value(binding).expect("a RoleBinding");
        self.bindings().create(&PostParams::default(), &binding).await.expect("the RoleBinding is taken");
    }

    /// Takes the rights of that Role from the operator.
    pub async fn take_workers(&self) {
        self.bindings().delete("workers", &DeleteParams::default()).await.expect("it can be deleted");
    }

    fn bindings(&self) -> Api<RoleBinding> {
        self.world.api()
    }

    /// Another field manager sets this count, by force: as a Git tool does that heals.
    pub async fn heal(&self, workload: &Value, count: i64) {
        let mut manifest = workload.clone();
        manifest["spec"]["replicas"] = json!(count);
        let api: Api<Deployment> = self.world.api();
        let name = manifest["metadata"]["name"].as_str().expect("a name").to_owned();
        api.patch(&name, &PatchParams::apply("git").force(), &Patch::Apply(manifest)).await.expect("it is taken");
    }
}

/// How `spec.kafka.workloads` names a workload.
pub fn reference(workload: &Value) -> Value {
    json!({ "apiVersion": workload["apiVersion"], "kind": workload["kind"], "name": workload["metadata"]["name"] })
}

/// A request to read everything again that may stop the consumers.
pub fn pause(id: &str) -> Value {
    with(ask(id, "Earliest"), "whenActive", json!("Pause"))
}

/// One that waits until somebody else stops them.
pub fn wait(id: &str) -> Value {
    ask(id, "Earliest")
}
