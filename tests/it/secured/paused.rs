//! O33, B3: what reaches the brokers is taken away while the operator keeps a Deployment at 0.

use std::path::Path;

use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};
use stream_pipeline_operator::api::{OffsetResetRecord, Stage};
use testbed::pods::{self, Pods};
use testbed::proxy::ApiProxy;
use testbed::secured::{Acl, Operation, Resource};
use testbed::trap::Side;
use testbed::{Operator, eventually, kafka};

use crate::support::observing::{ask, with};
use crate::support::secured::{Locked, login};
use crate::support::world::{EXE, LIMIT, World, condition, says};

/// At 0 for the request `r1`, whose pods do not stop, so that it stays there.
struct Paused {
    pods: Pods,
    locked: Locked,
    workload: Value,
    group: String,
    topic: String,
    user: String,
}

impl Paused {
    async fn new(test: &str, wait: &str) -> Self {
        let paused =
            Self::with(test, Some(wait), &["--send-window=2s", "--call-deadline=2s", "--late-bound=500ms", "--finalizer-deadline=60s"])
                .await;
        paused.counts(0).await;
        paused
    }

    /// `wait`: for so long; None: it only waits for its members, which nobody stops.
    async fn with(test: &str, wait: Option<&str>, flags: &[&str]) -> Self {
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
        locked.start(flags);
        let mut paused = Self { pods, locked, workload, group, topic, user };
        paused.apply(Value::Null).await;
        paused.world().wait("p", "the operator to see the object", |s| s.observed_uid.is_some()).await;
        eventually("the members", LIMIT, async || match kafka::members(&paused.world().bootstrap, &paused.group).await {
            Ok((_, members)) if members.len() == 2 => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        paused.pods.hang(true);
        let asked = ask("r1", "Earliest");
        let asked = match wait {
            Some(wait) => with(with(asked, "whenActive", json!("Pause")), "waitTimeout", json!(wait)),
            None => asked,
        };
        paused.apply(asked).await;
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

    async fn secret_goes(&self) {
        let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(self.world().client.clone(), self.world().namespace.name());
        secrets.delete("own", &DeleteParams::default()).await.expect("it can be deleted");
    }

    async fn secret_is_deleted(&self) {
        self.secret_goes().await;
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

/// O33: what the namespace held goes with it, in each phase, also without the Secret; and what was left of it is in nobody's way.
async fn namespace_goes(locked: Locked, group: &str, topic: &str, test: &str) {
    let all: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(locked.world.client.clone());
    let name = locked.world.namespace.name().to_owned();
    all.delete(&name, &DeleteParams::default()).await.expect("it can be deleted");
    // Long before the deadline of the finalizer.
    eventually("the namespace to be gone", LIMIT, async || match all.get_opt(&name).await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    drop(locked);
    let other = Locked::new(test, &[]).await;
    let way = crate::support::secured::Way::new("p", other.secured.ssl(), crate::support::secured::tls(), Value::Null);
    other.apply("p", &way, group, crate::support::secured::run("r1")).await;
    other.world.verified("p", "r1").await;
    assert_eq!(other.offsets(group, topic).await, [Some(0), Some(0)]);
}

impl Locked {
    async fn offsets(&self, group: &str, topic: &str) -> Vec<Option<i64>> {
        self.world.offsets(group, topic, 2).await
    }
}

const LONG: [&str; 4] = ["--send-window=2s", "--call-deadline=2s", "--late-bound=500ms", "--finalizer-deadline=1h"];

#[tokio::test(flavor = "multi_thread")]
async fn o33_a_namespace_that_is_deleted_while_a_request_waits_and_its_secret_is_gone_goes() {
    let paused = Paused::with("sp5", None, &LONG).await;
    paused.world().reaches("p", "r1", Stage::Waiting, "GroupActive").await;
    paused.secret_is_deleted().await;
    let Paused { locked, group, topic, pods, .. } = paused;
    namespace_goes_with_pods(locked, pods, &group, &topic, "sp5b").await;
}

async fn namespace_goes_with_pods(locked: Locked, pods: Pods, group: &str, topic: &str, test: &str) {
    // Its consumers end as their pods go.
    pods.hang(false);
    namespace_goes(locked, group, topic, test).await;
    drop(pods);
}

#[tokio::test(flavor = "multi_thread")]
async fn o33_a_namespace_that_is_deleted_while_its_pods_stop_and_its_secret_is_gone_goes() {
    let paused = Paused::with("sp6", Some("24h"), &LONG).await;
    paused.counts(0).await;
    paused.secret_is_deleted().await;
    let Paused { locked, group, topic, pods, .. } = paused;
    namespace_goes_with_pods(locked, pods, &group, &topic, "sp6b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o33_a_namespace_that_is_deleted_while_it_is_paused_and_its_secret_is_gone_goes() {
    let mut paused = Paused::with("sp7", Some("24h"), &LONG).await;
    paused.counts(0).await;
    paused.apply(with(with(ask("r1", "Earliest"), "whenActive", json!("Pause")), "quietPeriod", json!("1h"))).await;
    paused.pods.hang(false);
    paused.world().reaches("p", "r1", Stage::Waiting, "QuietPeriod").await;
    paused.secret_is_deleted().await;
    let Paused { locked, group, topic, pods, .. } = paused;
    namespace_goes_with_pods(locked, pods, &group, &topic, "sp7b").await;
}

/// Killed once the plan is written: in doubt, and held after that.
#[tokio::test(flavor = "multi_thread")]
async fn o33_a_namespace_that_is_deleted_while_a_plan_is_in_doubt_or_held_and_its_secret_is_gone_goes() {
    for (test, held) in [("sp8", false), ("sp9", true)] {
        let mut paused = Paused::with(test, Some("24h"), &LONG).await;
        paused.counts(0).await;
        paused.locked.world.kill_operator();
        let api = ApiProxy::start(&paused.world().testbed.cluster.operator_kubeconfig()).await.expect("a proxy starts");
        api.traps.arm(Side::After, |call| call.starts_with("PATCH") && call.contains("/offsetresetrecords/") && !call.ends_with("/status"));
        let flags = crate::support::world::flags(&[&crate::support::secured::LOCAL[..], &LONG[..]].concat());
        let mut first = Operator::start_with(&api.kubeconfig(), Path::new(EXE), paused.world().namespace.name(), &flags);
        paused.pods.hang(false);
        api.traps.sprung().await;
        first.kill();
        if held {
            paused.locked.start(&LONG);
            paused.world().reaches("p", "r1", Stage::Held, "OutcomeUnknown").await;
            paused.secret_is_deleted().await;
        } else {
            paused.secret_goes().await;
            paused.locked.start(&LONG);
            paused
                .world()
                .wait("p", "the missing Secret to be told", |s| s.offset_reset.as_ref().is_some_and(|r| r.stage == Stage::Sending))
                .await;
        }
        paused.counts(0).await;
        let Paused { locked, group, topic, pods, .. } = paused;
        namespace_goes_with_pods(locked, pods, &group, &topic, &format!("{test}b")).await;
    }
}
