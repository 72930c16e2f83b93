//! An API server whose etcd was set back to an earlier state.

use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::support::requests::ask;
use crate::support::status::assert_has;
use crate::support::world::{OwnServers, World};

#[tokio::test(flavor = "multi_thread")]
async fn after_etcd_was_set_back_new_ids_are_taken_and_it_is_told() {
    let own = OwnServers::start(Vec::new()).await;
    let mut world = World::on(own.0, "set-back").await;
    let cluster = &own.0.cluster;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.start_operator();
    world.known("p", &group).await;
    let restart = async |back: bool| {
        let again = move || {
            cluster.kill_api_server();
            cluster.kill_etcd();
            cluster.copy_etcd(back).expect("etcd's data is copied");
            cluster.start_etcd().expect("etcd starts again");
            cluster.start_api_server().expect("the API server starts again");
        };
        tokio::task::spawn_blocking(again).await.expect("no panic");
    };
    restart(false).await;
    // Made after the snapshot, so lost when etcd is set back.
    world.apply("p", &group, ask("r1", "Latest")).await;
    world.verified("p", "r1").await;
    let touched = |n: usize| Patch::Merge(json!({ "metadata": { "annotations": { "test/touched": n.to_string() } } }));
    for n in 0..500 {
        world.pipelines().patch("p", &PatchParams::default(), &touched(n)).await.expect("it can be touched");
    }
    restart(true).await;
    assert!(
        world.pipelines().get("p").await.expect("it is there").spec.offset_reset.is_none(),
        "the request must be gone with the snapshot"
    );
    world.apply("p", &group, ask("r2", "Earliest")).await;
    world.verified("p", "r2").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
    let log = world.operator().log();
    assert_has(log, &["was set back to an earlier state", "may come again"]);
    assert!(world.operator().is_running(), "the operator must still be the same process");
}
