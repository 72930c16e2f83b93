//! B2: what somebody else's admission does to the operator's writes, on a real API server: labels that are stamped at each update, and a
//! quota that is used up.

use k8s_openapi::api::core::v1::ResourceQuota;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};
use stream_pipeline_operator::api::Stage;
use testbed::eventually;

use crate::support::observing::ask;
use crate::support::workloads::{Scaled, pause};
use crate::support::world::{LIMIT, World, says};

/// Stamps a label that is another one at each update of this namespace's objects of ours, their statuses included.
fn stamps(world: &World) -> String {
    let name = format!("{}-stamps", world.namespace.name());
    let selector = json!({ "matchLabels": { "kubernetes.io/metadata.name": world.namespace.name() } });
    let resources = ["streampipelines", "streampipelines/status", "offsetresetrecords", "offsetresetrecords/status"];
    let version = "(has(object.metadata.resourceVersion) ? 'v' + object.metadata.resourceVersion : 'new')";
    let stamp = format!(
        "has(object.metadata.labels) ? [JSONPatch{{op: 'add', path: '/metadata/labels/stamped', value: {version}}}] \
         : [JSONPatch{{op: 'add', path: '/metadata/labels', value: {{'stamped': {version}}}}}]"
    );
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": { "name": name },
        "spec": {
            "failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "matchConstraints": { "namespaceSelector": selector, "resourceRules": [
                { "apiGroups": ["streampipeline.io"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": resources }
            ] },
            "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": stamp } }]
        }
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding", "metadata": { "name": name },
        "spec": { "policyName": name }
    });
    apply(world, &name, &[policy, binding]);
    name
}

fn apply(world: &World, name: &str, items: &[Value]) {
    let dir = testbed::Scratch::new("manifests").expect("a directory");
    let file = dir.path().join(format!("{name}.json"));
    std::fs::write(&file, json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()).expect("a file");
    crate::messages::advice::done(&world.testbed.kubectl(&["apply", "-f", file.to_str().expect("a path")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn b2_labels_that_somebody_stamps_at_each_update_hinder_nothing() {
    let scaled = Scaled::one("b2s").await;
    let name = stamps(&scaled.world);
    let label = async || {
        let object = scaled.world.pipelines().get("p").await.map_err(|e| e.to_string())?;
        object.metadata.labels.and_then(|labels| labels.get("stamped").cloned()).ok_or_else(|| "no label".to_owned())
    };
    // It counts a moment after it is there.
    eventually("the policy to count", LIMIT, async || {
        let edit = ["annotate", "sp", "p", "--overwrite", "-n", scaled.world.namespace.name(), &format!("at={}", scaled.world.unique("a"))];
        scaled.world.testbed.kubectl(&edit);
        label().await
    })
    .await;
    scaled.apply("p", pause("r1")).await;
    scaled.world.verified("p", "r1").await;
    let record = scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, [2]);
    assert!(record.metadata.labels.is_some_and(|labels| labels.contains_key("stamped") && labels.len() == 3), "ours and theirs");
    // Also on its way out, with its finalizer.
    scaled.read().await;
    scaled.pods.hang(true);
    scaled.apply("p", pause("r2")).await;
    scaled.counted(&[0]).await;
    scaled.world.delete("p").await;
    assert_eq!(scaled.counts().await, [2]);
    scaled.pods.hang(false);
    for kind in ["mutatingadmissionpolicybinding", "mutatingadmissionpolicy"] {
        crate::messages::advice::done(&scaled.world.testbed.kubectl(&["delete", kind, &name]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b2_a_quota_that_is_used_up_is_told_as_one_and_heals() {
    let world = World::new("b2q").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    let quotas: Api<ResourceQuota> = Api::namespaced(world.client.clone(), world.namespace.name());
    let hard = "count/offsetresetrecords.streampipeline.io";
    let quota = json!({ "metadata": { "name": "q" }, "spec": { "hard": { hard: "0" } } });
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).expect("a quota")).await.expect("it is taken");
    // It counts a moment after it is there.
    eventually("the quota to be used up", LIMIT, async || {
        let found = quotas.get("q").await.map_err(|e| e.to_string())?;
        let counted = found.status.and_then(|s| s.hard).is_some_and(|hard_now| hard_now.contains_key(hard));
        if counted { Ok(()) } else { Err("not counted yet".to_owned()) }
    })
    .await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let status = world.reaches("p", "r1", Stage::Waiting, "AdmissionRefused").await;
    let message = says(&status, "Ready").2;
    for part in ["a quota of the namespace refuses it", "exceeded quota: q", "Raise it or make room", "creating the record"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains("ClusterRole"), "{message}");
    assert_eq!(world.at(&group, &topic).await, Some(7), "nothing was sent");
    quotas.delete("q", &DeleteParams::default()).await.expect("it can be deleted");
    world.verified("p", "r1").await;
    assert_eq!(world.at(&group, &topic).await, Some(0));
}
