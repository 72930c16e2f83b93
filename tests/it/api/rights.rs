//! What the operator's account may do, and what people may.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use stream_pipeline_api::{FINALIZER, OffsetResetRecord, StreamPipeline};
use testbed::eventually;

use super::manifests::untyped;
use crate::support::accounts::operator_client;
use crate::support::manifests::table;
use crate::support::world::LIMIT;

#[tokio::test]
async fn f08_the_operator_may_write_neither_requests_nor_other_things() {
    let testbed = testbed::start().await;
    let namespace = testbed.namespace("f08-rights");
    let row = table().remove(0);
    untyped(testbed.client().await, namespace.name())
        .create(&PostParams::default(), &serde_json::from_value(row.manifest("p")).expect("an object"))
        .await
        .expect("an admin creates a StreamPipeline");
    let client = operator_client(testbed).await;
    let pipelines: Api<StreamPipeline> = Api::namespaced(client.clone(), namespace.name());
    let records: Api<OffsetResetRecord> = Api::namespaced(client.clone(), namespace.name());
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace.name());
    let config_maps: Api<ConfigMap> = Api::namespaced(client, namespace.name());
    let params = PatchParams::default();
    let forbidden = |what: &str, answer: Option<kube::Error>| {
        let answer = answer.map(|e| e.to_string()).unwrap_or_default();
        assert!(answer.contains("is forbidden") && answer.contains("system:serviceaccount:stream-pipeline-system:"), "{what}: {answer}");
    };
    pipelines.get("p").await.expect("the operator reads");
    let patch = Patch::Merge(json!({ "status": { "observedUID": "0815" } }));
    pipelines.patch_status("p", &params, &patch).await.expect("the operator writes the status");
    let patch = Patch::Merge(json!({ "spec": { "offsetReset": { "id": "another" } } }));
    let own = "may change the finalizer streampipeline.io/bring-back of a StreamPipeline, and nothing else";
    let spared = [patch, Patch::Merge(json!({ "metadata": { "finalizers": ["example.com/other"] } }))];
    for patch in spared {
        let answer = pipelines.patch("p", &params, &patch).await.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(answer.contains(own), "{patch:?}: {answer}");
    }
    for finalizers in [json!([FINALIZER]), json!(null)] {
        // With the labels and annotations that other policies of the cluster may add to every update.
        let stamped = json!({ "stamped": finalizers.to_string().len().to_string() });
        let patch = Patch::Merge(json!({ "metadata": { "finalizers": finalizers, "labels": stamped, "annotations": stamped } }));
        pipelines.patch("p", &params, &patch).await.expect("its own finalizer the operator may put there and take away");
    }
    let other = serde_json::from_value(row.manifest("other")).expect("a StreamPipeline");
    forbidden("create", pipelines.create(&PostParams::default(), &other).await.err());
    forbidden("delete", pipelines.delete("p", &DeleteParams::default()).await.err());
    forbidden("delete a record", records.delete("r", &DeleteParams::default()).await.err());
    forbidden("delete all records", records.delete_collection(&DeleteParams::default(), &ListParams::default()).await.err());
    assert!(secrets.get_opt("s").await.expect("the operator may look a Secret up").is_none());
    forbidden("write a Secret", secrets.create(&PostParams::default(), &Secret::default()).await.err());
    forbidden("list Secrets", secrets.list(&ListParams::default()).await.err());
    forbidden("list ConfigMaps", config_maps.list(&ListParams::default()).await.err());
}

#[tokio::test]
async fn f08_people_with_the_edit_role_write_requests_and_only_read_records() {
    let testbed = testbed::start().await;
    let namespace = testbed.namespace("f08-people");
    let made = testbed.kubectl(&["create", "rolebinding", "alice", "--clusterrole=edit", "--user=alice", "-n", namespace.name()]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let may = |verb: &str, what: &str| {
        let output = testbed.kubectl(&["auth", "can-i", verb, what, "--as=alice", "-n", namespace.name()]);
        String::from_utf8_lossy(&output.stdout).trim() == "yes"
    };
    // The controller manager aggregates the chart's rights into the cluster's own roles, a moment later.
    eventually("alice to be allowed to create StreamPipelines", LIMIT, async || {
        if may("create", "streampipelines.streampipeline.io") { Ok(()) } else { Err("no".to_owned()) }
    })
    .await;
    assert!(may("patch", "streampipelines.streampipeline.io") && may("delete", "streampipelines.streampipeline.io"));
    assert!(may("list", "offsetresetrecords.streampipeline.io"));
    for verb in ["create", "patch", "update", "delete"] {
        assert!(!may(verb, "offsetresetrecords.streampipeline.io"), "{verb} a record");
    }
    let status =
        ["auth", "can-i", "patch", "streampipelines.streampipeline.io", "--subresource=status", "--as=alice", "-n", namespace.name()];
    assert!(!testbed.kubectl(&status).status.success(), "alice must not patch a status");
}

fn record(name: &str) -> Value {
    json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "OffsetResetRecord", "metadata": { "name": name },
        "spec": {
            "pipeline": { "name": "p", "uid": "u" }, "request": { "id": "r1" },
            "backend": { "clusterID": "c", "consumerGroup": "g" },
            "createdAt": "2026-01-01T00:00:00Z", "deadline": "2026-01-02T00:00:00Z",
        },
    })
}

/// Kubernetes deletes an object whose owner is gone. So an account that may set owners could delete what it may not.
#[tokio::test]
async fn c3_the_operators_account_can_have_nothing_deleted_by_owners() {
    let testbed = testbed::start().await;
    let namespace = testbed.namespace("c3");
    let spec = json!({ "kafka": { "bootstrapServers": ["kafka.example.com:9092"], "consumerGroup": "g" } });
    let pipeline =
        json!({ "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": { "name": "p" }, "spec": spec });
    let admin: Api<StreamPipeline> = Api::namespaced(testbed.client().await, namespace.name());
    admin.create(&PostParams::default(), &serde_json::from_value(pipeline).expect("an object")).await.expect("an admin creates it");
    let client = operator_client(testbed).await;
    let pipelines: Api<StreamPipeline> = Api::namespaced(client.clone(), namespace.name());
    let records: Api<OffsetResetRecord> = Api::namespaced(client, namespace.name());
    let gone = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "00000000-0000-0000-0000-000000000000" }]);
    let owned = json!({ "metadata": { "ownerReferences": gone } });
    let refused = |what: &str, answer: Option<kube::Error>, said: &str| {
        let answer = answer.map(|e| e.to_string()).unwrap_or_default();
        assert!(answer.contains(said), "{what}: {answer}");
    };
    let params = PatchParams::default();
    let own = "and nothing else";
    // A policy is in force a moment after it was made.
    eventually("the policy to be in force", LIMIT, async || {
        match pipelines.patch("p", &PatchParams { dry_run: true, ..params.clone() }, &Patch::Merge(&owned)).await {
            Err(e) if e.to_string().contains(own) => Ok(()),
            answer => Err(format!("{:?}", answer.err())),
        }
    })
    .await;
    refused("owners of a StreamPipeline", pipelines.patch("p", &params, &Patch::Merge(&owned)).await.err(), own);
    let generated = Patch::Merge(json!({ "metadata": { "generateName": "other-" } }));
    refused("the name it was made from", pipelines.patch("p", &params, &generated).await.err(), own);
    let records_own = "neither owners nor finalizers";
    let made = |name: &str, metadata: &Value| -> OffsetResetRecord {
        let mut object = record(name);
        for (field, value) in metadata.as_object().expect("an object") {
            object["metadata"][field] = value.clone();
        }
        serde_json::from_value(object).expect("a record")
    };
    let post = PostParams::default();
    for metadata in [json!({ "ownerReferences": gone }), json!({ "finalizers": ["example.com/kept"] })] {
        refused("a record with it", records.create(&post, &made("r1", &metadata)).await.err(), records_own);
    }
    records.create(&post, &made("r2", &json!({}))).await.expect("a record is created");
    refused("owners of a record", records.patch("r2", &params, &Patch::Merge(&owned)).await.err(), records_own);
    let labelled = Patch::Merge(json!({ "metadata": { "labels": { "a": "b" } } }));
    records.patch("r2", &params, &labelled).await.expect("its labels are the operator's");
}
