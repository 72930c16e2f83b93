//! A05, A11, B2, O33: while the operator keeps workloads at 0, it loses its brokers, its CA or its rights, or others
//! interfere; and two groups that share a Deployment.

use serde_json::{Value, json};
use stream_pipeline_api::{RecordPhase, Stage};
use testbed::pods;

use crate::support::policies::{FREEZE, in_force, refuse};
use crate::support::requests::with;
use crate::support::status::{assert_has, condition, has_reason, is, says};
use crate::support::workloads::{QUICK, WorkloadWorld, pause};
use crate::support::world::LIMIT;

impl WorkloadWorld {
    /// The CA is in a Secret that does not exist, so nothing can be connected to.
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
    let scaled = WorkloadWorld::stopping("ta1", "10s").await;
    let ask = with(pause("r1"), "waitTimeout", json!("10s"));
    scaled.apply_spec("p", scaled.without_ca(), ask).await;
    let status = scaled.world.wait("p", "r1 to end", |s| s.offset_reset.as_ref().is_some_and(|r| r.stage == Stage::Failed)).await;
    assert!(says(&status, "Ready").1.ends_with("TimedOut"), "expected a time-out: {status:?}");
    scaled.counted(&[2]).await;
    assert_eq!(scaled.brought_back("p").await.status.map(|s| s.phase), Some(RecordPhase::Abandoned));
    scaled.pods.hang(false);

    let scaled = WorkloadWorld::stopping("ta2", "24h").await;
    scaled.apply_spec("p", scaled.without_broker(), Value::Null).await;
    scaled.counted(&[2]).await;
    scaled.brought_back("p").await;
    scaled.pods.hang(false);

    let scaled = WorkloadWorld::stopping("ta3", "24h").await;
    scaled.apply_spec("p", scaled.without_ca(), pause("r1")).await;
    scaled.world.delete("p").await;
    assert_eq!(scaled.counts().await, [2], "replicas when the object is gone");
    scaled.pods.hang(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn o33_held_and_without_its_ca_it_is_scaled_back_by_the_id_and_by_deletion_over_a_restart() {
    let mut scaled = WorkloadWorld::held("ta4").await;
    scaled.apply_spec("p", scaled.without_ca(), pause("r1")).await;
    scaled.world.kill_operator();
    scaled.world.start_operator_with(&QUICK);
    scaled.world.wait("p", "the CA to be missed", |s| has_reason(s, "BackendReachable", "SecretNotFound")).await;
    assert_eq!(scaled.counts().await, [0], "replicas while the request is held");
    scaled.apply_spec("p", scaled.without_ca(), Value::Null).await;
    scaled.counted(&[2]).await;
    scaled.brought_back("p").await;

    let scaled = WorkloadWorld::held("ta5").await;
    scaled.apply_spec("p", scaled.without_broker(), pause("r1")).await;
    scaled.world.delete("p").await;
    assert_eq!(scaled.counts().await, [2], "replicas when the object is gone");
}

/// One Deployment whose consumers read for two groups.
#[tokio::test(flavor = "multi_thread")]
async fn two_groups_of_one_deployment_take_turns_and_both_are_reset() {
    let scaled = WorkloadWorld::one("ta6").await;
    let (other_topic, other) = (scaled.world.topic(&[10]).await, scaled.world.unique("g"));
    testbed::kafka::commit(&scaled.world.bootstrap, &other, &[(&other_topic, 0, 7, "")]).await;
    let mut second = scaled.spec();
    second["kafka"]["consumerGroup"] = json!(other);
    scaled.apply_spec("q", second.clone(), Value::Null).await;
    scaled.world.is_seen("q").await;
    // The first stays at 0 for a while.
    scaled.pods.hang(true);
    scaled.apply("p", pause("r1")).await;
    scaled.counted(&[0]).await;
    scaled.apply_spec("q", second, pause("q1")).await;
    let status = scaled.world.reaches("q", "q1", Stage::Waiting, "AnotherResetOpen").await;
    let message = says(&status, "Ready").2;
    assert_has(message, &["Deployment d (record p-", "of StreamPipeline p"]);
    scaled.pods.hang(false);
    scaled.world.verified("p", "r1").await;
    scaled.world.verified("q", "q1").await;
    scaled.at_rest("p").await;
    scaled.at_rest("q").await;
    assert_eq!(scaled.counts().await, [2]);
    assert_eq!(scaled.world.offset(&other, &other_topic).await, Some(0));
    let log = scaled.world.all_records().await;
    assert!(
        log.iter().all(|r| r.status.as_ref().is_some_and(|s| s.phase == RecordPhase::Verified)),
        "expected every record to be verified: {log:?}"
    );
}

/// A05: an autoscaler would scale the Deployment up during the reset.
#[tokio::test(flavor = "multi_thread")]
async fn a05_an_autoscaler_made_during_the_pause_is_told_and_nothing_is_sent_while_it_scales() {
    let scaled = WorkloadWorld::stopping("ta7", "20s").await;
    let hpa = pods::hpa("h", &scaled.workloads[0]);
    let (client, namespace) = (&scaled.world.client, scaled.world.namespace.name());
    pods::apply(client, namespace, "owner", &hpa).await.expect("the manifest is accepted");
    // The autoscaler sets a count, which the operator does not fight.
    scaled.person_scales(&scaled.workloads[0], 1).await;
    let status = scaled.world.reaches("p", "r1", Stage::Waiting, "PauseOverridden").await;
    assert_has(says(&status, "Ready").2, &["HorizontalPodAutoscaler h scales Deployment d"]);
    scaled.world.reaches("p", "r1", Stage::Failed, "PauseTimedOut").await;
    assert_eq!((scaled.offsets().await, scaled.scalings()), (vec![Some(10), Some(10)], 1));
    scaled.pods.hang(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a11_a_workload_at_0_with_nothing_asked_is_healthy() {
    let scaled = WorkloadWorld::one("ta8").await;
    scaled.person_scales(&scaled.workloads[0], 0).await;
    let status = scaled.world.wait("p", "it to be seen stopped", |s| is(s, "PipelineInactive", "True")).await;
    assert_eq!((says(&status, "Ready").0, says(&status, "Ready").1), ("True", "NothingRequested"), "{status:?}");
    for kind in ["Stalled", "Reconciling"] {
        assert!(condition(&status, kind).is_none(), "expected no condition {kind}: {status:?}");
    }
    scaled.world.decides_twice("p").await;
    assert_eq!((scaled.counts().await, scaled.scalings()), (vec![0], 0));
}

/// B2: a stop, a start and the end of a deletion that somebody else's policy refuses are told in its words, not as a right that is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_somebody_elses_policy_is_told_in_its_words_wherever_it_happens() {
    let mut scaled = WorkloadWorld::without_operator("ta9", |group, topic| vec![pods::deployment("d", 2, group, topic)]).await;
    scaled.world.start_operator_with(&[&QUICK[..], &["--max-backoff=10s"]].concat());
    scaled.known("p").await;
    let scale = json!({ "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments/scale"] });
    let policy = refuse(&scaled.world, "down", scale.clone(), "has(object.spec.replicas) && object.spec.replicas > 0");
    in_force(&scaled.world, &["scale", "deployment", "d", "--replicas=0"]).await;
    scaled.apply("p", pause("r1")).await;
    let status = scaled.world.reaches("p", "r1", Stage::Pausing, "AdmissionRefused").await;
    let message = says(&status, "Ready").2;
    assert_has(message, &["an admission policy of the cluster refuses it", FREEZE]);
    assert!(!message.contains("ClusterRole") && !message.contains("`workloads`"), "expected no advice about rights: {message}");
    policy.remove(&scaled.world);
    scaled.world.verified("p", "r1").await;
    scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, [2]);
    scaled.read().await;

    // The policy lets the operator add its finalizer, and not remove it.
    let objects =
        json!({ "apiGroups": ["streampipeline.io"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["streampipelines"] });
    scaled.pods.hang(true);
    scaled.apply("p", pause("r2")).await;
    scaled.counted(&[0]).await;
    let policy = refuse(&scaled.world, "finalizer", objects, "has(object.metadata.finalizers)");
    let unguard = r#"{"metadata":{"finalizers":null}}"#;
    in_force(&scaled.world, &["patch", "streampipeline", "p", "--type=merge", "-p", unguard]).await;
    scaled.world.ask_to_delete("p").await;
    scaled.counted(&[2]).await;
    let status = scaled.world.wait("p", "the refusal to be told", |s| has_reason(s, "Ready", "AdmissionRefused")).await;
    let message = says(&status, "Ready").2;
    assert_has(message, &["taking the finalizer off", FREEZE]);
    assert!(scaled.world.warned("p", "AdmissionRefused").await.contains(FREEZE));
    // It is tried again after growing delays; without them it would be every two seconds at most.
    let refused = || scaled.world.refused_at("/streampipelines/p");
    testbed::eventually("more tries", LIMIT, async || match refused().len() {
        n if n >= 8 => Ok(()),
        n => Err(format!("{n} tries")),
    })
    .await;
    let tries = refused();
    let apart = tries[7].duration_since(tries[6]).as_secs_f64();
    assert!(apart > 4.0, "{apart} s between the seventh and the eighth: {tries:?}");
    policy.remove(&scaled.world);
    scaled.world.is_gone("p").await;
    scaled.pods.hang(false);
}
