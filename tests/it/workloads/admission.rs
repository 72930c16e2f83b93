//! B2: what somebody else's admission does to the operator's writes, on a real API server: labels that are stamped at each update, and a
//! quota that is used up.

use k8s_openapi::api::core::v1::ResourceQuota;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;
use stream_pipeline_api::Stage;
use testbed::eventually;

use crate::support::policies::stamp;
use crate::support::requests::ask;
use crate::support::status::{assert_has, says};
use crate::support::workloads::{WorkloadWorld, pause};
use crate::support::world::{LIMIT, World};

#[tokio::test(flavor = "multi_thread")]
async fn b2_labels_that_somebody_stamps_at_each_update_hinder_nothing() {
    let scaled = WorkloadWorld::one("b2s").await;
    let policy = stamp(&scaled.world);
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
    assert!(
        record.metadata.labels.is_some_and(|labels| labels.contains_key("stamped") && labels.len() == 3),
        "expected the two labels of the operator and the stamped one"
    );
    // Also on its way out, with its finalizer.
    scaled.read().await;
    scaled.pods.hang(true);
    scaled.apply("p", pause("r2")).await;
    scaled.counted(&[0]).await;
    scaled.world.delete("p").await;
    assert_eq!(scaled.counts().await, [2]);
    scaled.pods.hang(false);
    policy.remove(&scaled.world);
}

#[tokio::test(flavor = "multi_thread")]
async fn b2_a_quota_that_is_used_up_is_told_as_one_and_heals() {
    let world = World::new("b2q").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
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
    assert_has(message, &["a quota of the namespace refuses it", "exceeded quota: q", "Raise it or make room", "creating the record"]);
    assert!(!message.contains("ClusterRole"), "expected no advice about rights: {message}");
    assert_eq!(world.offset(&group, &topic).await, Some(7), "the offset, where nothing was sent");
    quotas.delete("q", &DeleteParams::default()).await.expect("it can be deleted");
    world.verified("p", "r1").await;
    assert_eq!(world.offset(&group, &topic).await, Some(0));
}
