//! G01, G02, G05: what changes in the repository, and what only the operator has written.

use serde_json::{Value, json};
use stream_pipeline_api::Stage;

use super::{TRACKED, drift, kubectl, manifest, sync};
use crate::support::commands::succeeded;
use crate::support::requests::{ask, with};
use crate::support::status::is;
use crate::support::workloads::{WorkloadWorld, pause};
use crate::support::world::World;

fn spec(world: &World, group: &str) -> Value {
    json!({ "kafka": { "bootstrapServers": world.servers(), "consumerGroup": group } })
}

#[tokio::test(flavor = "multi_thread")]
async fn g01_a_request_added_changed_reverted_and_removed_in_git_runs_once_for_each_new_id() {
    let world = World::new("g01").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    let folder = |reset: Value| [manifest("p", spec(&world, &group), reset)];
    sync(&world, &folder(Value::Null));
    world.is_seen("p").await;
    for (id, position, offset) in [("r1", "Earliest", 0), ("r2", "Latest", 10)] {
        sync(&world, &folder(ask(id, position)));
        world.verified("p", id).await;
        assert_eq!(world.offset(&group, &topic).await, Some(offset), "{id}");
        world.move_group(&group, &topic, 5).await;
    }
    // Reverted, removed, the removal reverted.
    sync(&world, &folder(ask("r1", "Earliest")));
    world.verified("p", "r1").await;
    world.decides_twice("p").await;
    sync(&world, &folder(Value::Null));
    let none = world.nothing_requested("p").await;
    assert!(is(&none, "Ready", "True"), "{none:?}");
    sync(&world, &folder(ask("r2", "Latest")));
    world.verified("p", "r2").await;
    world.decides_twice("p").await;
    // Another target under an id that has run.
    sync(&world, &folder(ask("r2", "Earliest")));
    world.reaches("p", "r2", Stage::Verified, "RequestEditedWithoutNewId").await;
    world.decides_twice("p").await;
    assert_eq!(world.offset(&group, &topic).await, Some(5));
    assert_eq!(world.all_records().await.len(), 2, "records");
}

#[tokio::test(flavor = "multi_thread")]
async fn g02_what_the_operator_writes_is_no_drift() {
    let scaled = WorkloadWorld::held("g02").await;
    let world = &scaled.world;
    let folder = [manifest("p", scaled.spec(), pause("r1"))];
    sync(world, &folder);
    world.reaches("p", "r1", Stage::Held, "OutcomeUnknown").await;
    assert_eq!(world.finalizers("p").await.len(), 1, "the finalizer, which is not in Git");
    assert_eq!(drift(world, &folder), "", "held, with a finalizer");
    // With another id it is: the comparison does look at the request.
    let next = [manifest("p", scaled.spec(), pause("r2"))];
    let differs = drift(world, &next);
    let changed = |line: &&str| line.starts_with(['+', '-']) && !line.starts_with("+++") && !line.starts_with("---");
    let changed: Vec<_> = differs.lines().filter(changed).collect();
    assert_eq!(changed, ["-  generation: 2", "+  generation: 3", "-    id: r1", "+    id: r2"]);
    sync(world, &next);
    world.verified("p", "r2").await;
    scaled.at_rest("p").await;
    assert_eq!(drift(world, &next), "", "verified, and let go");
}

#[tokio::test(flavor = "multi_thread")]
async fn g05_pruned_it_is_brought_back_first_its_records_stay_and_its_id_is_used_up() {
    let scaled = WorkloadWorld::held("g05").await;
    let world = &scaled.world;
    let other = manifest("q", spec(world, &world.unique("q")), Value::Null);
    // `--prune` goes by what kubectl's own apply has put there; records are on the list of kinds as well.
    let allowed = ["StreamPipeline", "OffsetResetRecord"].map(|kind| format!("--prune-allowlist=streampipeline.io/v1alpha1/{kind}"));
    let pruning = ["apply", "--prune", "-l", TRACKED, &allowed[0], &allowed[1]];
    let asked = manifest("p", scaled.spec(), with(pause("r1"), "whenCreated", json!("Run")));
    succeeded(&kubectl(world, &pruning, &[asked.clone(), other.clone()]));
    world.reaches("p", "r1", Stage::Held, "OutcomeUnknown").await;
    let told = succeeded(&kubectl(world, &pruning, std::slice::from_ref(&other)));
    assert!(told.contains("streampipeline.streampipeline.io/p pruned") && !told.contains("offsetresetrecord"), "{told}");
    world.is_gone("p").await;
    assert_eq!(scaled.counts().await, [2], "replicas when the object is gone");
    assert_eq!(world.all_records().await.len(), 1, "records");
    scaled.read().await;
    // The removal is reverted.
    succeeded(&kubectl(world, &pruning, &[asked, other]));
    world.reaches("p", "r1", Stage::Skipped, "AlreadyHandled").await;
    world.decides_twice("p").await;
    assert_eq!((scaled.counts().await, scaled.offsets().await), (vec![2], vec![Some(10), Some(10)]), "replicas, and offsets");
    assert_eq!(world.all_records().await.len(), 1, "records");
}
