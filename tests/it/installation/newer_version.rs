//! F09: what a newer version of the operator left behind: a reason that this one does not know, a value that it cannot read.

use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::json;
use stream_pipeline_api::{FINALIZER, OffsetResetRecord, Stage};

use crate::support::requests::{ask, with};
use crate::support::status::{assert_has, says};
use crate::support::world::{World, a_second_passes};

#[tokio::test(flavor = "multi_thread")]
async fn f09_a_record_closed_for_a_reason_of_the_next_version_blocks_nobody_and_keeps_its_id_used_up() {
    let mut world = World::new("f09r").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let record = world.record(&world.verified("p", "r1").await).await;
    world.kill_operator();
    let records: Api<DynamicObject> =
        Api::namespaced_with(world.client.clone(), world.namespace.name(), &ApiResource::erase::<OffsetResetRecord>(&()));
    let params = PatchParams::default();
    let of_next = json!({ "status": { "reason": "ResetProven", "message": "proven by a mirror" } });
    records.patch_status(&record.name_any(), &params, &Patch::Merge(of_next)).await.expect("the API server takes it");
    let told = json!({ "status": { "offsetReset": { "error": { "reason": "LinkDown", "message": "m", "retryable": true } } } });
    world.untyped().patch_status("p", &params, &Patch::Merge(told)).await.expect("the API server takes it");
    world.start_operator();
    // The record blocks neither this object nor another one of the group.
    a_second_passes().await;
    world.apply("p", &group, ask("r2", "Latest")).await;
    world.verified("p", "r2").await;
    assert_eq!(world.offset(&group, &topic).await, Some(10));
    world.delete("p").await;
    world.known("q", &group).await;
    world.apply("q", &group, ask("q1", "Earliest")).await;
    world.verified("q", "q1").await;
    world.delete("q").await;
    world.move_group(&group, &topic, 5).await;
    world.apply("p", &group, with(ask("r1", "Earliest"), "whenCreated", json!("Run"))).await;
    let status = world.reaches("p", "r1", Stage::Skipped, "AlreadyHandled").await;
    assert_has(says(&status, "Ready").2, &[&record.name_any()]);
    assert_eq!(world.offset(&group, &topic).await, Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn f09_a_deleted_object_whose_status_cannot_be_read_goes() {
    let mut world = World::new("f09d").await;
    world.known_at_7_of_10("p").await;
    world.kill_operator();
    let params = PatchParams::default();
    let odd = json!({ "status": { "offsetReset": { "id": "r0", "stage": "Waiting", "acceptedAt": "2026-01-01T00:00:00+99:99" } } });
    world.untyped().patch_status("p", &params, &Patch::Merge(odd)).await.expect("the API server takes it");
    let held = json!({ "metadata": { "finalizers": [FINALIZER] } });
    world.untyped().patch("p", &params, &Patch::Merge(held)).await.expect("it can be held");
    world.untyped().delete("p", &kube::api::DeleteParams::default()).await.expect("it can be deleted");
    world.start_operator();
    world.is_gone("p").await;
}
