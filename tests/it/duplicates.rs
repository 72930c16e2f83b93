//! O08, O36: two StreamPipelines that name one group.

use kube::api::DeleteParams;
use serde_json::json;
use stream_pipeline_operator::api::Stage;
use testbed::kafka;

use crate::watching::ask;
use crate::world::{World, says};

/// Two that name a group, `old` known before `young` was made, each without a request.
async fn two(test: &str, records: &[i64], offsets: &[i64]) -> (World, String, String) {
    let world = World::new(test).await;
    let topic = world.topic(records).await;
    let group = world.group(&topic, offsets).await;
    // By name the other way round: it is the age that counts.
    world.known("z-old", &group).await;
    // Ages are whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    world.known("a-young", &group).await;
    (world, topic, group)
}

#[tokio::test(flavor = "multi_thread")]
async fn o08_the_oldest_acts_and_the_younger_takes_over_when_it_is_gone() {
    let (world, topic, group) = two("o08", &[10], &[7]).await;
    world.apply("a-young", &group, ask("y1", "Earliest")).await;
    let status = world.reaches("a-young", "y1", Stage::Waiting, "DuplicateGroup").await;
    let said = says(&status, "Ready").2;
    assert!(said.contains(&format!("{}/z-old", world.namespace.name())) && said.contains("Waits until"), "{said}");
    assert!(world.all_records().await.is_empty());
    // What it would do may be looked at.
    world.known("b-dry", &group).await;
    let mut dry = ask("d1", "Earliest");
    dry["dryRun"] = json!(true);
    world.apply("b-dry", &group, dry).await;
    world.reaches("b-dry", "d1", Stage::Planned, "PlanReady").await;
    // The oldest is not in the way of itself.
    world.apply("z-old", &group, ask("o1", "Latest")).await;
    world.verified("z-old", "o1").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(10)]);
    world.reaches("a-young", "y1", Stage::Waiting, "DuplicateGroup").await;
    world.pipelines().delete("z-old", &DeleteParams::default()).await.expect("it is deleted");
    world.verified("a-young", "y1").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn o08_a_younger_one_whose_deadline_passed_does_not_wake_up_when_the_older_goes() {
    let (world, topic, group) = two("o08-late", &[10], &[7]).await;
    let mut late = ask("y1", "Earliest");
    late["waitTimeout"] = json!("2s");
    world.apply("a-young", &group, late).await;
    let status = world.reaches("a-young", "y1", Stage::Failed, "WaitTimedOut").await;
    assert!(says(&status, "Ready").2.contains("z-old is older"), "{status:?}");
    world.pipelines().delete("z-old", &DeleteParams::default()).await.expect("it is deleted");
    // A later request of it runs, the one that ended does not.
    world.apply("a-young", &group, ask("y2", "Latest")).await;
    world.verified("a-young", "y2").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(10)]);
    let ids: Vec<_> = world.all_records().await.into_iter().map(|r| r.spec.request.id).collect();
    assert_eq!(ids, ["y2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn o08_another_group_on_the_same_cluster_is_nobodys_duplicate() {
    let (world, topic, group) = two("o08-other", &[10], &[7]).await;
    let other = world.unique("g");
    kafka::commit(&world.bootstrap, &other, &[(&topic, 0, 5, "")]).await;
    world.known("c-youngest", &other).await;
    world.apply("c-youngest", &other, ask("c1", "Earliest")).await;
    world.verified("c-youngest", "c1").await;
    assert_eq!((world.offsets(&group, &topic, 1).await, world.offsets(&other, &topic, 1).await), (vec![Some(7)], vec![Some(0)]));
}
