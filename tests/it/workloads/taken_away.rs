//! B3, B8, O33: what the operator needs for its brokers, or its own rights, is taken away in each phase of a pause; and two groups that
//! share a Deployment.

use serde_json::{Value, json};
use stream_pipeline_operator::api::{RecordPhase, Stage};
use testbed::pods;

use super::held::held;
use super::{QUICK, Scaled, pause};
use crate::watching::with;
use crate::world::{condition, says};

impl Scaled {
    /// Its CA is in a Secret that is not there: nothing can be connected to.
    fn without_ca(&self) -> Value {
        let mut spec = self.spec();
        spec["kafka"]["tls"] = json!({ "ca": { "secretKeyRef": { "name": "gone" } } });
        spec
    }

    /// Nobody listens there.
    fn without_broker(&self) -> Value {
        let mut spec = self.spec();
        spec["kafka"]["bootstrapServers"] = json!(["127.0.0.1:1"]);
        spec
    }

    async fn stopping(test: &str, wait: &str) -> Self {
        let scaled = Self::one(test).await;
        scaled.pods.hang(true);
        scaled.apply("p", with(pause("r1"), "waitTimeout", json!(wait))).await;
        scaled.counted(&[0]).await;
        scaled
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o33_without_brokers_or_ca_a_pause_ends_by_its_deadline_and_by_the_id_and_by_deletion() {
    let scaled = Scaled::stopping("ta1", "10s").await;
    let ask = with(pause("r1"), "waitTimeout", json!("10s"));
    scaled.apply_spec("p", scaled.without_ca(), ask).await;
    let status = scaled.world.wait("p", "r1 to end", |s| s.offset_reset.as_ref().is_some_and(|r| r.stage == Stage::Failed)).await;
    assert!(says(&status, "Ready").1.ends_with("TimedOut"), "{status:?}");
    scaled.counted(&[2]).await;
    assert_eq!(scaled.brought_back("p").await.status.map(|s| s.phase), Some(RecordPhase::Abandoned));
    scaled.pods.hang(false);

    let scaled = Scaled::stopping("ta2", "24h").await;
    scaled.apply_spec("p", scaled.without_broker(), Value::Null).await;
    scaled.counted(&[2]).await;
    scaled.brought_back("p").await;
    scaled.pods.hang(false);

    let scaled = Scaled::stopping("ta3", "24h").await;
    scaled.apply_spec("p", scaled.without_ca(), pause("r1")).await;
    scaled.world.delete("p").await;
    assert_eq!(scaled.counts().await, [2], "before it went");
    scaled.pods.hang(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn o33_held_and_without_its_ca_it_is_scaled_back_by_the_id_and_by_deletion_over_a_restart() {
    let mut scaled = held("ta4").await;
    scaled.apply_spec("p", scaled.without_ca(), pause("r1")).await;
    scaled.world.kill_operator();
    scaled.world.start_operator_with(&QUICK);
    scaled.world.wait("p", "the CA to be missed", |s| condition(s, "BackendReachable").is_some_and(|c| c.reason == "SecretNotFound")).await;
    assert_eq!(scaled.counts().await, [0], "held");
    scaled.apply_spec("p", scaled.without_ca(), Value::Null).await;
    scaled.counted(&[2]).await;
    scaled.brought_back("p").await;

    let scaled = held("ta5").await;
    scaled.apply_spec("p", scaled.without_broker(), pause("r1")).await;
    scaled.world.delete("p").await;
    assert_eq!(scaled.counts().await, [2], "before it went");
}

/// B8: one Deployment whose consumers read for two groups.
#[tokio::test(flavor = "multi_thread")]
async fn two_groups_of_one_deployment_take_turns_and_both_are_reset() {
    let scaled = Scaled::one("ta6").await;
    let (other_topic, other) = (scaled.world.topic(&[10]).await, scaled.world.unique("g"));
    testbed::kafka::commit(&scaled.world.bootstrap, &other, &[(&other_topic, 0, 7, "")]).await;
    let mut second = scaled.spec();
    second["kafka"]["consumerGroup"] = json!(other);
    scaled.apply_spec("q", second.clone(), Value::Null).await;
    scaled.world.wait("q", "the operator to see the object", |s| s.observed_uid.is_some()).await;
    // The first stays at 0 for a while.
    scaled.pods.hang(true);
    scaled.apply("p", pause("r1")).await;
    scaled.counted(&[0]).await;
    scaled.apply_spec("q", second, pause("q1")).await;
    let status = scaled.world.reaches("q", "q1", Stage::Waiting, "AnotherResetOpen").await;
    let message = says(&status, "Ready").2;
    assert!(message.contains("Deployment d (record p-") && message.contains("of StreamPipeline p"), "{message}");
    scaled.pods.hang(false);
    scaled.world.verified("p", "r1").await;
    scaled.world.verified("q", "q1").await;
    scaled.at_rest("p").await;
    scaled.at_rest("q").await;
    assert_eq!(scaled.counts().await, [2]);
    assert_eq!(scaled.world.at(&other, &other_topic).await, Some(0));
    let log = scaled.world.all_records().await;
    assert!(log.iter().all(|r| r.status.as_ref().is_some_and(|s| s.phase == RecordPhase::Verified)), "{log:?}");
}

/// A05: it would scale the Deployment up under the reset.
#[tokio::test(flavor = "multi_thread")]
async fn a05_an_autoscaler_made_during_the_pause_is_told_and_nothing_is_sent_while_it_scales() {
    let scaled = Scaled::stopping("ta7", "20s").await;
    let hpa = pods::hpa("h", &scaled.workloads[0]);
    let (client, namespace) = (&scaled.world.client, scaled.world.namespace.name());
    pods::apply(client, namespace, "owner", &hpa).await.expect("the manifest is accepted");
    // What it does once it is there: it sets a count, and no fight is begun.
    scaled.person_scales(&scaled.workloads[0], 1).await;
    let status = scaled.world.reaches("p", "r1", Stage::Waiting, "PauseOverridden").await;
    assert!(says(&status, "Ready").2.contains("HorizontalPodAutoscaler h scales Deployment d"), "{status:?}");
    scaled.world.reaches("p", "r1", Stage::Failed, "PauseTimedOut").await;
    assert_eq!((scaled.offsets().await, scaled.scalings()), (vec![Some(10), Some(10)], 1));
    scaled.pods.hang(false);
}
