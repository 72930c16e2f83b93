//! O33: the operator loses its way to the brokers while it keeps a Deployment at 0.

use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::pods::{self, Pods};
use testbed::trap::Side;
use testbed::{eventually, kafka};

use crate::support::calls::changes_record;
use crate::support::proxied::ProxiedOperator;
use crate::support::requests::{ask, with};
use crate::support::secured::{LOCAL, SecuredWorld, Way, login, run, tls};
use crate::support::status::{assert_has, has_reason, says};
use crate::support::world::{LIMIT, World};

/// A Deployment that request `r1` has scaled to 0. Its pods do not stop, so it stays there.
struct Paused {
    pods: Pods,
    locked: SecuredWorld,
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

    /// With `wait` as the time-out of a pause; without it the request only waits for the members, which nobody stops.
    async fn with(test: &str, wait: Option<&str>, flags: &[&str]) -> Self {
        let mut locked = SecuredWorld::without_operator(test).await;
        let user = format!("{test}-user");
        locked.user(&user, "one", "own").await;
        locked.let_user_in(&user, &format!("{test}-"));
        let topic = locked.world.topic(&[10, 10]).await;
        let group = locked.world.unique("g");
        let pods = Pods::play(locked.world.client.clone(), locked.world.namespace.name(), &locked.world.bootstrap);
        let workload = pods::deployment("d", 2, &group, &topic);
        let (client, namespace) = (locked.world.client.clone(), locked.world.namespace.name().to_owned());
        pods::apply(&client, &namespace, "owner", &workload).await.expect("the manifest is accepted");
        locked.start(flags);
        let paused = Self { pods, locked, workload, group, topic, user };
        paused.apply(Value::Null).await;
        paused.world().is_seen("p").await;
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

    async fn apply(&self, reset: Value) {
        let reference = json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "d" }]);
        let spec = json!({ "kafka": {
            "bootstrapServers": [self.locked.secured.sasl_plaintext()], "consumerGroup": self.group, "workloads": reference,
            "sasl": login("SCRAM-SHA-512", "own")
        } });
        self.world().apply_with("p", spec, reset).await;
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
        self.world().delete_secret("own").await;
        let told = |s: &stream_pipeline_api::StreamPipelineStatus| has_reason(s, "BackendReachable", "SecretNotFound");
        self.world().wait("p", "the missing Secret to be told", told).await;
    }

    /// Waits until the workload is scaled back and the record says so.
    async fn is_back(&self) {
        self.counts(2).await;
        let record = self.world().only_record().await.metadata.name.expect("a name");
        self.world().brought_back(&record).await;
        self.pods.hang(false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o33_paused_and_its_secret_deleted_it_is_scaled_back_at_its_deadline() {
    let paused = Paused::new("sp1", "15s").await;
    paused.secret_is_deleted().await;
    let status = paused.world().reaches("p", "r1", Stage::Failed, "WaitTimedOut").await;
    assert_has(says(&status, "Ready").2, &["Secret own is not in this namespace"]);
    paused.is_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o33_paused_and_its_secret_deleted_it_is_scaled_back_when_the_id_is_removed() {
    let paused = Paused::new("sp2", "24h").await;
    paused.secret_is_deleted().await;
    paused.apply(Value::Null).await;
    paused.is_back().await;
    paused.world().nothing_requested("p").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o33_paused_and_its_secret_deleted_it_is_scaled_back_when_the_object_is_deleted() {
    let paused = Paused::new("sp3", "24h").await;
    paused.secret_is_deleted().await;
    paused.world().delete("p").await;
    paused.is_back().await;
}

/// The broker refuses the old password, which is still in the Secret.
#[tokio::test(flavor = "multi_thread")]
async fn paused_and_its_password_rotated_it_is_scaled_back_at_its_deadline() {
    let mut paused = Paused::new("sp4", "25s").await;
    paused.locked.world.kill_operator();
    let user = paused.user.clone();
    paused.locked.block(|s| s.set_scram_password(&user, "two"));
    paused.locked.start(&["--send-window=2s", "--call-deadline=2s", "--late-bound=500ms"]);
    let refused = |s: &stream_pipeline_api::StreamPipelineStatus| has_reason(s, "BackendReachable", "AuthenticationFailed");
    paused.world().wait("p", "the password to be refused", refused).await;
    let status = paused.world().reaches("p", "r1", Stage::Failed, "WaitTimedOut").await;
    assert_has(says(&status, "Ready").2, &["AuthenticationFailed"]);
    paused.is_back().await;
}

/// O33: the namespace can be deleted in each phase, also without the Secret; and nothing of it blocks another namespace.
async fn namespace_goes(locked: SecuredWorld, group: &str, topic: &str, test: &str) {
    // Long before the deadline of the finalizer.
    locked.world.delete_namespace().await;
    drop(locked);
    let other = SecuredWorld::new(test, &[]).await;
    let way = Way::new("p", other.secured.ssl(), tls(), Value::Null);
    other.apply("p", &way, group, run("r1")).await;
    other.world.verified("p", "r1").await;
    assert_eq!(other.world.offsets(group, topic, 2).await, [Some(0), Some(0)]);
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

async fn namespace_goes_with_pods(locked: SecuredWorld, pods: Pods, group: &str, topic: &str, test: &str) {
    // The consumers end with their pods.
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
    let paused = Paused::with("sp7", Some("24h"), &LONG).await;
    paused.counts(0).await;
    paused.apply(with(with(ask("r1", "Earliest"), "whenActive", json!("Pause")), "quietPeriod", json!("1h"))).await;
    paused.pods.hang(false);
    paused.world().reaches("p", "r1", Stage::Waiting, "QuietPeriod").await;
    paused.secret_is_deleted().await;
    let Paused { locked, group, topic, pods, .. } = paused;
    namespace_goes_with_pods(locked, pods, &group, &topic, "sp7b").await;
}

/// The operator is killed once the plan is written: the outcome is unknown, and then held.
#[tokio::test(flavor = "multi_thread")]
async fn o33_a_namespace_that_is_deleted_while_a_plan_is_in_doubt_or_held_and_its_secret_is_gone_goes() {
    for (test, held) in [("sp8", false), ("sp9", true)] {
        let mut paused = Paused::with(test, Some("24h"), &LONG).await;
        paused.counts(0).await;
        paused.locked.world.kill_operator();
        let mut first = ProxiedOperator::start(paused.world(), &[&LOCAL[..], &LONG[..]].concat()).await;
        first.traps.arm(Side::After, changes_record);
        paused.pods.hang(false);
        first.traps.sprung().await;
        first.operator.kill();
        if held {
            paused.locked.start(&LONG);
            paused.world().reaches("p", "r1", Stage::Held, "OutcomeUnknown").await;
            paused.secret_is_deleted().await;
        } else {
            paused.world().delete_secret("own").await;
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
