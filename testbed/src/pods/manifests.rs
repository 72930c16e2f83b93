//! Workloads that the player runs, what scales them, and the calls to work with them.

use std::time::Duration;

use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::recipe::PREFIX;

/// The CRDs of [`scaled_object`] and [`worker`], which the cluster does not have of itself.
const CRDS: [&str; 2] = [include_str!("scaledobjects.json"), include_str!("workers.json")];

fn workload(kind: &str, name: &str, replicas: u32, group: &str, topic: &str) -> Value {
    let template = json!({
        "metadata": { "labels": { "app": name }, "annotations": annotations(group, topic) },
        "spec": { "containers": [{ "name": "consumer", "image": "example.com/consumer:1" }] },
    });
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": name },
        "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": name } }, "template": template },
    })
}

fn annotations(group: &str, topic: &str) -> Value {
    json!({ format!("{PREFIX}group"): group, format!("{PREFIX}topic"): topic })
}

/// Of consumers that join the group.
pub fn deployment(name: &str, replicas: u32, group: &str, topic: &str) -> Value {
    workload("Deployment", name, replicas, group, topic)
}

pub fn stateful_set(name: &str, replicas: u32, group: &str, topic: &str) -> Value {
    let mut manifest = workload("StatefulSet", name, replicas, group, topic);
    manifest["spec"]["serviceName"] = json!(name);
    manifest
}

/// Without pods: the player starts `<name>-0`, `<name>-1`, … by its scale. Needs [`install_crds`].
pub fn worker(name: &str, replicas: u32, group: &str, topic: &str) -> Value {
    json!({
        "apiVersion": "example.com/v1", "kind": "Worker",
        "metadata": { "name": name, "annotations": annotations(group, topic) }, "spec": { "replicas": replicas },
    })
}

/// The same workload with one more of the player's annotations, `crash-loop` for `testbed/crash-loop`.
pub fn annotated(mut manifest: Value, key: &str, value: &str) -> Value {
    let at = if manifest["spec"]["template"].is_object() { "/spec/template/metadata/annotations" } else { "/metadata/annotations" };
    if let Some(Value::Object(annotations)) = manifest.pointer_mut(at) {
        annotations.insert(format!("{PREFIX}{key}"), json!(value));
    }
    manifest
}

fn reference(target: &Value) -> Value {
    json!({ "apiVersion": target["apiVersion"], "kind": target["kind"], "name": target["metadata"]["name"] })
}

/// A HorizontalPodAutoscaler of the workload with this manifest. Without metrics it changes nothing between its bounds.
pub fn hpa(name: &str, target: &Value) -> Value {
    let cpu = json!({ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 80 } } });
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": name },
        "spec": { "scaleTargetRef": reference(target), "minReplicas": 1, "maxReplicas": 4, "metrics": [cpu] },
    })
}

/// KEDA's, of the workload with this manifest. Needs [`install_crds`]; nobody acts on it.
pub fn scaled_object(name: &str, target: &Value) -> Value {
    let trigger = json!({ "type": "kafka", "metadata": { "bootstrapServers": "kafka:9092", "consumerGroup": "g", "lagThreshold": "50" } });
    json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": { "name": name },
        "spec": { "scaleTargetRef": reference(target), "minReplicaCount": 0, "maxReplicaCount": 4, "triggers": [trigger] },
    })
}

/// Until the cluster serves them.
///
/// # Panics
/// When it does not.
pub async fn install_crds(client: &Client) {
    for text in CRDS {
        let manifest: Value = serde_json::from_str(text).expect("the manifest is JSON");
        let (resource, name) = of(&manifest);
        let crds: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        crds.patch(name, &PatchParams::apply("testbed"), &Patch::Apply(&manifest)).await.expect("the CRD is accepted");
        crate::eventually("a CRD to be established", Duration::from_secs(20), async || {
            let crd = crds.get(name).await.map_err(|e| e.to_string())?;
            let holds = |c: &Value| c["type"] == "Established" && c["status"] == "True";
            let conditions = &crd.data["status"]["conditions"];
            if conditions.as_array().is_some_and(|all| all.iter().any(holds)) { Ok(()) } else { Err(conditions.to_string()) }
        })
        .await;
    }
}

/// As the owner of the manifest: what another manager has changed is a conflict.
pub async fn apply(client: &Client, namespace: &str, owner: &str, manifest: &Value) -> kube::Result<DynamicObject> {
    let (api, name) = api(client, namespace, manifest);
    api.patch(name, &PatchParams::apply(owner), &Patch::Apply(manifest)).await
}

/// The object of the manifest as it is now.
pub async fn get(client: &Client, namespace: &str, manifest: &Value) -> kube::Result<DynamicObject> {
    let (api, name) = api(client, namespace, manifest);
    api.get(name).await
}

/// Through the scale subresource, as `kubectl scale` does.
pub async fn scale(client: &Client, namespace: &str, manifest: &Value, replicas: u32) -> kube::Result<()> {
    let (api, name) = api(client, namespace, manifest);
    let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
    api.patch_scale(name, &PatchParams::default(), &patch).await.map(|_| ())
}

pub async fn delete(client: &Client, namespace: &str, manifest: &Value) -> kube::Result<()> {
    let (api, name) = api(client, namespace, manifest);
    api.delete(name, &DeleteParams::background()).await.map(|_| ())
}

fn api<'a>(client: &Client, namespace: &str, manifest: &'a Value) -> (Api<DynamicObject>, &'a str) {
    let (resource, name) = of(manifest);
    (Api::namespaced_with(client.clone(), namespace, &resource), name)
}

fn of(manifest: &Value) -> (ApiResource, &str) {
    let text = |value: &'_ Value| value.as_str().unwrap_or_default().to_owned();
    let version = text(&manifest["apiVersion"]);
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &text(&manifest["kind"])));
    (resource, manifest["metadata"]["name"].as_str().unwrap_or_default())
}

pub(super) fn worker_resource() -> ApiResource {
    of(&worker("", 0, "", "")).0
}
