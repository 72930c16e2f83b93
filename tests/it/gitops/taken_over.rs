//! G03, G04, G06, G07: the object replaced as a whole, and a hand beside Git.

use kube::ResourceExt;
use serde_json::{Value, json};
use stream_pipeline_api::{FINALIZER, Stage};
use testbed::eventually;

use super::{drift, kubectl, manifest, sync};
use crate::support::commands::succeeded;
use crate::support::requests::with;
use crate::support::status::reset;
use crate::support::workloads::{WorkloadWorld, pause};
use crate::support::world::LIMIT;

/// A person's patch, or that of a button.
fn by_hand(scaled: &WorkloadWorld, patch: &Value) {
    let (namespace, patch) = (scaled.world.namespace.name(), patch.to_string());
    succeeded(&scaled.world.testbed.kubectl(&["patch", "sp", "p", "-n", namespace, "--type=merge", "-p", &patch]));
}

#[tokio::test(flavor = "multi_thread")]
async fn g03_replaced_while_it_is_kept_at_0_nothing_is_sent_and_taking_the_request_out_brings_it_back() {
    let scaled = WorkloadWorld::held("g03").await;
    let world = &scaled.world;
    succeeded(&kubectl(world, &["replace"], &[manifest("p", scaled.spec(), pause("r1"))]));
    world.decides_twice("p").await;
    world.reaches("p", "r1", Stage::Held, "OutcomeUnknown").await;
    assert_eq!((scaled.counts().await, scaled.offsets().await), (vec![0], vec![Some(10), Some(10)]), "replicas, and offsets");
    succeeded(&kubectl(world, &["replace"], &[manifest("p", scaled.spec(), Value::Null)]));
    scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, [2]);
    scaled.read().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g07_replaced_without_its_finalizer_it_gets_it_again_and_what_was_stopped_runs_before_it_goes() {
    let scaled = WorkloadWorld::held("g07").await;
    let world = &scaled.world;
    succeeded(&kubectl(world, &["replace"], &[manifest("p", scaled.spec(), pause("r1"))]));
    eventually("the finalizer to be there again", LIMIT, async || {
        let object = world.pipelines().get("p").await.map_err(|e| e.to_string())?;
        object.finalizers().iter().any(|f| f == FINALIZER).then_some(()).ok_or_else(|| format!("{:?}", object.metadata.finalizers))
    })
    .await;
    world.reaches("p", "r1", Stage::Held, "OutcomeUnknown").await;
    world.delete("p").await;
    assert_eq!((scaled.counts().await, scaled.offsets().await), (vec![2], vec![Some(10), Some(10)]), "replicas, and offsets");
}

#[tokio::test(flavor = "multi_thread")]
async fn g04_replaced_by_force_while_it_is_held_it_is_brought_back_and_runs_no_second_time() {
    let scaled = WorkloadWorld::held("g04").await;
    let world = &scaled.world;
    let folder = [manifest("p", scaled.spec(), with(pause("r1"), "whenCreated", json!("Run")))];
    let before = world.pipelines().get("p").await.expect("it is there").metadata.uid;
    succeeded(&kubectl(world, &["replace", "--force"], &folder));
    assert_ne!(world.pipelines().get("p").await.expect("it is there").metadata.uid, before, "made anew");
    world.reaches("p", "r1", Stage::Skipped, "AlreadyHandled").await;
    scaled.counted(&[2]).await;
    world.decides_twice("p").await;
    scaled.read().await;
    assert_eq!((scaled.counts().await, world.all_records().await.len()), (vec![2], 1), "replicas, and records");
}

#[tokio::test(flavor = "multi_thread")]
async fn g06_a_hand_that_lets_it_retry_is_not_taken_back_by_git() {
    let scaled = WorkloadWorld::held("g06a").await;
    let world = &scaled.world;
    let folder = [manifest("p", scaled.spec(), pause("r1"))];
    sync(world, &folder);
    by_hand(&scaled, &json!({ "spec": { "offsetReset": { "onUnknownOutcome": "Retry" } } }));
    assert_eq!(drift(world, &folder), "", "a field that Git does not say");
    sync(world, &folder);
    let status = world.verified("p", "r1").await;
    assert_eq!(reset(&status).attempts, Some(2), "sent once more");
    scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn g06_a_request_that_a_hand_took_away_and_git_brings_back_sends_and_stops_nothing() {
    let scaled = WorkloadWorld::held("g06b").await;
    let world = &scaled.world;
    let folder = [manifest("p", scaled.spec(), pause("r1"))];
    sync(world, &folder);
    by_hand(&scaled, &json!({ "spec": { "offsetReset": null } }));
    world.nothing_requested("p").await;
    scaled.brought_back("p").await;
    scaled.read().await;
    assert!(drift(world, &folder).contains("+  offsetReset:"), "Git still says it");
    sync(world, &folder);
    world.reaches("p", "r1", Stage::Held, "OutcomeUnknown").await;
    for _ in 0..2 {
        world.decides_twice("p").await;
        assert_eq!((scaled.counts().await, scaled.offsets().await), (vec![2], vec![Some(10), Some(10)]), "replicas, and offsets");
    }
    assert_eq!(world.all_records().await.len(), 1, "records");
}
