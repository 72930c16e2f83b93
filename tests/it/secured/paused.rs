//! O33, B3: what reaches the brokers is taken away while the operator keeps a Deployment at 0.

use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};
use stream_pipeline_operator::api::{OffsetResetRecord, Stage};
use testbed::pods::{self, Pods};
use testbed::secured::{Acl, Operation, Resource};
use testbed::{eventually, kafka};

use super::{Locked, login};
use crate::watching::{ask, with};
use crate::world::{LIMIT, World, condition, says};

/// At 0 for the request `r1`, whose pods do not stop, so that it stays there.
struct Paused {
    pods: Pods,
    locked: Locked,
    workload: Value,
    group: String,
    user: String,
}

impl Paused {
    async fn new(test: &str, wait: &str) -> Self {
        let mut locked = Locked::without_operator(test).await;
        let user = format!("{test}-user");
        locked.block(|s| s.set_scram_password(&user, "one"));
        locked.secret("own", json!({ "username": user, "password": "one" })).await;
        let acls = [Resource::Topic, Resource::Group].map(|kind| Acl::allow(&user, Operation::Read, kind, &format!("{test}-")).prefixed());
        locked.block(|s| s.grant(&acls));
        let topic = locked.world.topic(&[10, 10]).await;
        let group = locked.world.unique("g");
        let pods = Pods::play(locked.world.client.clone(), locked.world.namespace.name(), &locked.world.bootstrap);
        let workload = pods::deployment("d", 2, &group, &topic);
        let (client, namespace) = (locked.world.client.clone(), locked.world.namespace.name().to_owned());
        pods::apply(&client, &namespace, "owner", &workload).await.expect("the manifest is accepted");
        locked.start(&["--send-window=2s", "--call-deadline=2s", "--late-bound=500ms", "--finalizer-deadline=60s"]);
        let mut paused = Self { pods, locked, workload, group, user };
        paused.apply(Value::Null).await;
        paused.world().wait("p", "the operator to see the object", |s| s.observed_uid.is_some()).await;
        eventually("the members", LIMIT, async || match kafka::members(&paused.world().bootstrap, &paused.group).await {
            Ok((_, members)) if members.len() == 2 => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        paused.pods.hang(true);
        paused.apply(with(with(ask("r1", "Earliest"), "whenActive", json!("Pause")), "waitTimeout", json!(wait))).await;
        paused.counts(0).await;
        paused
    }

    fn world(&self) -> &World {
        &self.locked.world
    }

    async fn apply(&mut self, reset: Value) {
        let reference = json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "d" }]);
        let mut spec = json!({ "kafka": {
            "bootstrapServers": [self.locked.secured.sasl_plaintext()], "consumerGroup": self.group, "workloads": reference,
            "sasl": login("SCRAM-SHA-512", "own")
        } });
        if !reset.is_null() {
            spec["offsetReset"] = reset;
        }
        self.world().apply_spec("p", spec).await.expect("the API server takes it");
    }

    async fn counts(&self, expected: i64) {
        let (client, namespace) = (&self.world().client, self.world().namespace.name());
        eventually(&format!("a count of {expected}"), LIMIT, async || {
            let found = pods::get(client, namespace, &self.workload).await.map_err(|e| e.to_string())?;
            let count = found.data["spec"]["replicas"].as_i64();
            if count == Some(expected) { Ok(()) } else { Err(format!("{count:?}")) }
        })
        .await;
    }

    async fn secret_is_deleted(&self) {
        let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(self.world().client.clone(), self.world().namespace.name());
        secrets.delete("own", &DeleteParams::default()).await.expect("it can be deleted");
        let told = |s: &stream_pipeline_operator::api::StreamPipelineStatus| {
            condition(s, "BackendReachable").is_some_and(|c| c.reason == "SecretNotFound")
        };
        self.world().wait("p", "the missing Secret to be told", told).await;
    }

    async fn record(&self) -> OffsetResetRecord {
        self.world().all_records().await.remove(0)
    }

    /// Scaled back, which the record says; nothing was reset.
    async fn is_back(&self) {
        self.counts(2).await;
        let record = self.record().await.metadata.name.expect("a name");
        self.world().brought_back(&record).await;
        self.pods.hang(false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o33_paused_and_its_secret_deleted_it_is_scaled_back_at_its_deadline() {
    let paused = Paused::new("sp1", "15s").await;
    paused.secret_is_deleted().await;
    let status = paused.world().reaches("p", "r1", Stage::Failed, "WaitTimedOut").await;
    assert!(says(&status, "Ready").2.contains("Secret own is not in this namespace"), "{status:?}");
    paused.is_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o33_paused_and_its_secret_deleted_it_is_scaled_back_when_the_id_is_removed() {
    let mut paused = Paused::new("sp2", "24h").await;
    paused.secret_is_deleted().await;
    paused.apply(Value::Null).await;
    paused.is_back().await;
    paused.world().wait("p", "nothing to be asked", |s| condition(s, "Ready").is_some_and(|c| c.reason == "NothingRequested")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o33_paused_and_its_secret_deleted_it_is_scaled_back_when_the_object_is_deleted() {
    let paused = Paused::new("sp3", "24h").await;
    paused.secret_is_deleted().await;
    paused.world().delete("p").await;
    paused.is_back().await;
}

/// The broker lets nobody in with what the Secret still holds.
#[tokio::test(flavor = "multi_thread")]
async fn paused_and_its_password_rotated_it_is_scaled_back_at_its_deadline() {
    let mut paused = Paused::new("sp4", "25s").await;
    paused.locked.world.kill_operator();
    let user = paused.user.clone();
    paused.locked.block(|s| s.set_scram_password(&user, "two"));
    paused.locked.start(&["--send-window=2s", "--call-deadline=2s", "--late-bound=500ms"]);
    let refused = |s: &stream_pipeline_operator::api::StreamPipelineStatus| {
        condition(s, "BackendReachable").is_some_and(|c| c.reason == "AuthenticationFailed")
    };
    paused.world().wait("p", "the password to be refused", refused).await;
    let status = paused.world().reaches("p", "r1", Stage::Failed, "WaitTimedOut").await;
    assert!(says(&status, "Ready").2.contains("AuthenticationFailed"), "{status:?}");
    paused.is_back().await;
}
