//! A05, and what cannot be read: nothing is scaled, and it goes on by itself once that is put right.

use serde_json::{Value, json};
use stream_pipeline_operator::api::Stage;
use testbed::pods;

use super::{Scaled, pause};
use crate::watching::with;
use crate::world::says;

async fn autoscaled(test: &str, scaler: impl Fn(&Value) -> Value, named: &str) {
    pods::install_crds(&testbed::start().await.client().await).await;
    let scaled = Scaled::one(test).await;
    let (client, namespace) = (&scaled.world.client, scaled.world.namespace.name());
    let manifest = scaler(&scaled.workloads[0]);
    pods::apply(client, namespace, "owner", &manifest).await.expect("the manifest is accepted");
    scaled.apply("p", pause("r1")).await;
    let status = scaled.world.reaches("p", "r1", Stage::Waiting, "AutoscalerActive").await;
    assert!(says(&status, "Ready").2.contains(named), "{status:?}");
    scaled.world.passes("p").await;
    assert_eq!((scaled.counts().await, scaled.scalings(), scaled.world.all_records().await.len()), (vec![2], 0, 0));
    pods::delete(client, namespace, &manifest).await.expect("it can be deleted");
    scaled.world.verified("p", "r1").await;
    scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a05_a_horizontal_pod_autoscaler_is_named_and_nothing_is_scaled() {
    autoscaled("a05h", |workload| pods::hpa("h", workload), "HorizontalPodAutoscaler h scales Deployment d").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a05_a_scaled_object_is_named_and_nothing_is_scaled() {
    autoscaled("a05k", |workload| pods::scaled_object("k", workload), "ScaledObject k scales Deployment d").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a05_a_scaled_object_that_is_paused_is_not_in_the_way() {
    pods::install_crds(&testbed::start().await.client().await).await;
    let scaled = Scaled::one("a05p").await;
    let (client, namespace) = (&scaled.world.client, scaled.world.namespace.name());
    let mut manifest = pods::scaled_object("k", &scaled.workloads[0]);
    manifest["metadata"]["annotations"] = json!({ "autoscaling.keda.sh/paused": "true" });
    pods::apply(client, namespace, "owner", &manifest).await.expect("the manifest is accepted");
    scaled.apply("p", pause("r1")).await;
    scaled.world.verified("p", "r1").await;
    scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_without_rights_is_told_with_the_rule_to_add() {
    pods::install_crds(&testbed::start().await.client().await).await;
    let mut scaled = Scaled::without_operator("rights", |group, topic| vec![pods::worker("w", 1, group, topic)]).await;
    scaled.world.start_operator_with(&super::QUICK);
    scaled.known("p").await;
    scaled.apply("p", pause("r1")).await;
    let status = scaled.world.reaches("p", "r1", Stage::Waiting, "PermissionMissing").await;
    let message = says(&status, "Ready").2;
    assert!(
        message.contains("apiGroups [example.com]") && message.contains("workers/scale") && message.contains("`workloads`"),
        "{message}"
    );
    scaled.grant_workers().await;
    scaled.world.verified("p", "r1").await;
    scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_that_is_not_there_is_told_and_corrected_in_the_spec() {
    let scaled = Scaled::one("notfound").await;
    for (kind, version, name, expected) in [
        ("Deployment", "apps/v1", "other", "reading the scale of Deployment other"),
        ("Deploiment", "apps/v1", "d", "Deploiment"),
        ("Deployment", "nowhere.example.com/v1", "d", "nowhere.example.com/v1"),
    ] {
        let mut spec = scaled.spec();
        spec["kafka"]["workloads"] = json!([{ "apiVersion": version, "kind": kind, "name": name }]);
        scaled.apply_spec("p", spec, pause("r1")).await;
        let status = scaled
            .world
            .wait("p", expected, |s| {
                let ready = s.conditions.iter().find(|c| c.type_ == "Ready");
                ready.is_some_and(|c| c.reason == "WorkloadNotFound" && c.message.contains(expected))
            })
            .await;
        assert!(says(&status, "Ready").2.contains("correct spec.kafka.workloads"), "{status:?}");
    }
    assert_eq!((scaled.scalings(), scaled.world.all_records().await.len()), (0, 0));
    scaled.apply("p", pause("r1")).await;
    scaled.world.verified("p", "r1").await;
    scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, [2]);
}

/// The right is taken away while the operator keeps a workload at 0: that is told, and it is scaled back once it has it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_lost_while_it_is_at_0_is_told_and_heals() {
    pods::install_crds(&testbed::start().await.client().await).await;
    let mut scaled = Scaled::without_operator("revoked", |group, topic| vec![pods::worker("w", 1, group, topic)]).await;
    scaled.grant_workers().await;
    scaled.world.start_operator_with(&super::QUICK);
    scaled.known("p").await;
    scaled.pods.hang(true);
    scaled.apply("p", with(pause("r1"), "waitTimeout", json!("4s"))).await;
    scaled.counted(&[0]).await;
    scaled.take_workers().await;
    let status = scaled
        .world
        .wait("p", "the missing right to be told", |s| {
            let told = s.conditions.iter().find(|c| c.type_ == "Ready").is_some_and(|c| c.reason == "PermissionMissing");
            told && s.offset_reset.as_ref().is_some_and(|r| r.stage == Stage::Failed)
        })
        .await;
    let (ready, _, message) = says(&status, "Ready");
    assert!(ready == "False" && message.contains("to be started again") && message.contains("waitTimeout (4 s) passed"), "{status:?}");
    // What it came to stays told.
    let (reset, reason, _) = says(&status, "OffsetsReset");
    assert!(reset == "False" && reason.ends_with("TimedOut"), "{status:?}");
    assert_eq!(scaled.counts().await, [0]);
    scaled.give_workers().await;
    scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, [1]);
    scaled.pods.hang(false);
}
