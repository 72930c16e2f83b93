//! A05, D1: workloads that cannot be scaled: nothing is changed, and the request goes on by itself once that is put right.

use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::pods;

use crate::support::commands::{helm, succeeded, word_after};
use crate::support::requests::with;
use crate::support::status::{assert_has, says};
use crate::support::workloads::{QUICK, WorkloadWorld, pause};

async fn autoscaled(test: &str, scaler: impl Fn(&Value) -> Value, named: &str) {
    pods::install_crds(&testbed::start().await.client().await).await;
    let scaled = WorkloadWorld::one(test).await;
    let (client, namespace) = (&scaled.world.client, scaled.world.namespace.name());
    let manifest = scaler(&scaled.workloads[0]);
    pods::apply(client, namespace, "owner", &manifest).await.expect("the manifest is accepted");
    scaled.apply("p", pause("r1")).await;
    let status = scaled.world.reaches("p", "r1", Stage::Waiting, "AutoscalerActive").await;
    assert_has(says(&status, "Ready").2, &[named]);
    scaled.world.decides_twice("p").await;
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
    let scaled = WorkloadWorld::one("a05p").await;
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
    let mut scaled = WorkloadWorld::without_operator("rights", |group, topic| vec![pods::worker("w", 1, group, topic)]).await;
    scaled.world.start_operator_with(&QUICK);
    scaled.known("p").await;
    scaled.apply("p", pause("r1")).await;
    let status = scaled.world.reaches("p", "r1", Stage::Waiting, "PermissionMissing").await;
    let message = says(&status, "Ready").2;
    assert_has(message, &["apiGroups: ['example.com']", "workers/scale", "`workloads`"]);
    scaled.grant_workers().await;
    scaled.world.verified("p", "r1").await;
    scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, [1]);
}

/// D1: the value of the message is put into the chart's values as it is written.
#[tokio::test(flavor = "multi_thread")]
async fn d1_the_value_of_the_chart_that_a_message_names_gives_the_right() {
    pods::install_crds(&testbed::start().await.client().await).await;
    let mut scaled = WorkloadWorld::without_operator("d1w", |group, topic| vec![pods::worker("w", 1, group, topic)]).await;
    scaled.world.start_operator_with(&QUICK);
    scaled.known("p").await;
    scaled.apply("p", pause("r1")).await;
    let status = scaled.world.reaches("p", "r1", Stage::Waiting, "PermissionMissing").await;
    let message = says(&status, "Ready").2;
    let told = message.split_once("{ apiGroups").and_then(|(_, rest)| rest.split_once('}')).unwrap_or_else(|| panic!("{message}")).0;
    let dir = testbed::Scratch::new("values").expect("a directory");
    let values = dir.path().join("values.yaml");
    std::fs::write(&values, format!("workloads:\n  - {{ apiGroups{told}}}\n")).expect("it is written");
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/stream-pipeline-operator");
    let args = ["template", "r", chart, "--show-only", "templates/rbac.yaml", "-f", values.to_str().expect("a path")];
    let rendered = succeeded(&helm(scaled.world.testbed, &args));
    // What it adds to the ClusterRole, in this namespace only.
    let role = rendered.split("\n---").find(|part| part.contains("kind: ClusterRole\n")).expect("a ClusterRole");
    let role: Value = serde_saphyr::from_str(role).expect("YAML");
    let added = |rule: &&Value| rule["apiGroups"] == json!(["example.com"]);
    let rules: Vec<&Value> = role["rules"].as_array().expect("rules").iter().filter(added).collect();
    assert_eq!(rules.len(), 2, "{rendered}");
    scaled.grant(&json!(rules)).await;
    scaled.world.verified("p", "r1").await;
    scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, [1]);
}

/// D1: the message names the annotation that pauses KEDA's scaler.
#[tokio::test(flavor = "multi_thread")]
async fn d1_a_scaler_is_paused_by_the_annotation_that_the_message_names() {
    pods::install_crds(&testbed::start().await.client().await).await;
    let scaled = WorkloadWorld::one("d1k").await;
    let (client, namespace) = (&scaled.world.client, scaled.world.namespace.name());
    pods::apply(client, namespace, "owner", &pods::scaled_object("k", &scaled.workloads[0])).await.expect("the manifest is accepted");
    scaled.apply("p", pause("r1")).await;
    let status = scaled.world.reaches("p", "r1", Stage::Waiting, "AutoscalerActive").await;
    let message = says(&status, "Ready").2;
    let annotation = message.split_once("(annotation ").and_then(|(_, rest)| rest.split_once(')')).unwrap_or_else(|| panic!("{message}")).0;
    let (key, value) = annotation.split_once(": ").expect("a value");
    let what = word_after(message, "");
    succeeded(&scaled.world.testbed.kubectl(&[
        "annotate",
        what,
        word_after(message, "ScaledObject "),
        &format!("{key}={}", value.trim_matches('"')),
        "-n",
        namespace,
    ]));
    scaled.world.verified("p", "r1").await;
    scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, [2]);
}

/// D1: the object is deleted while the operator has no right to scale back.
#[tokio::test(flavor = "multi_thread")]
async fn d1_what_is_left_stopped_is_scaled_by_hand_as_the_message_says() {
    pods::install_crds(&testbed::start().await.client().await).await;
    let mut scaled = WorkloadWorld::without_operator("d1l", |group, topic| vec![pods::worker("w", 1, group, topic)]).await;
    scaled.grant_workers().await;
    let flags = [&QUICK[..], &["--finalizer-deadline=5s"]].concat();
    scaled.world.start_operator_with(&flags);
    scaled.known("p").await;
    scaled.pods.hang(true);
    scaled.apply("p", pause("r1")).await;
    scaled.counted(&[0]).await;
    scaled.take_workers().await;
    scaled.world.delete("p").await;
    let message = scaled.world.warned("p", "LeftPaused").await;
    let told =
        message.split_once("scale it by hand: ").and_then(|(_, rest)| rest.split_once(" (")).unwrap_or_else(|| panic!("{message}")).0;
    let [kind, name, "to", count] = told.split(' ').collect::<Vec<_>>()[..] else { panic!("{told}") };
    let args = ["scale", &format!("{kind}/{name}"), &format!("--replicas={count}"), "-n", scaled.world.namespace.name()];
    succeeded(&scaled.world.testbed.kubectl(&args));
    assert_eq!(scaled.counts().await, [1]);
    scaled.pods.hang(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_that_is_not_there_is_told_and_corrected_in_the_spec() {
    let scaled = WorkloadWorld::one("notfound").await;
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
        assert_has(says(&status, "Ready").2, &["or correct spec.kafka.workloads"]);
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
    let mut scaled = WorkloadWorld::without_operator("revoked", |group, topic| vec![pods::worker("w", 1, group, topic)]).await;
    scaled.grant_workers().await;
    scaled.world.start_operator_with(&QUICK);
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
    assert!(
        ready == "False" && message.contains("to be started again") && message.contains("waitTimeout (4 s) passed"),
        "expected not ready, what is still to be done, and how the request ended: {status:?}"
    );
    // The end of the request stays in the status.
    let (reset, reason, _) = says(&status, "OffsetsReset");
    assert!(reset == "False" && reason.ends_with("TimedOut"), "expected the end of the request to stay told: {status:?}");
    assert_eq!(scaled.counts().await, [0]);
    scaled.give_workers().await;
    scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, [1]);
    scaled.pods.hang(false);
}
