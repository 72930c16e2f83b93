//! On servers of their own: an API server whose etcd was set back, and namespaces that share an operator and a group.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use stream_pipeline_operator::api::{
    BACKEND_LABEL, BackendIdentity, OffsetResetRecord, OffsetResetRecordSpec, PipelineRef, RunStateBefore,
};
use stream_pipeline_operator::ledger::backend_label;
use testbed::Operator;

use crate::support::observing::ask;
use crate::support::world::{EXE, Own, World, flags};

#[tokio::test(flavor = "multi_thread")]
async fn after_etcd_was_set_back_new_ids_are_taken_and_it_is_told() {
    let own = Own::start(Vec::new()).await;
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
    // What the snapshot does not know.
    world.apply("p", &group, ask("r1", "Latest")).await;
    world.verified("p", "r1").await;
    let touched = |n: usize| Patch::Merge(json!({ "metadata": { "annotations": { "test/touched": n.to_string() } } }));
    for n in 0..500 {
        world.pipelines().patch("p", &PatchParams::default(), &touched(n)).await.expect("it can be touched");
    }
    restart(true).await;
    assert!(world.pipelines().get("p").await.expect("it is there").spec.offset_reset.is_none(), "it was set back");
    world.apply("p", &group, ask("r2", "Earliest")).await;
    world.verified("p", "r2").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
    let log = world.operator().log();
    assert!(log.contains("was set back to an earlier state") && log.contains("may come again"), "{log}");
    assert!(world.operator().is_running(), "the same process");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_namespace_wrote_informs_and_never_blocks() {
    let own = Own::start(Vec::new()).await;
    let world = World::on(own.0, "tenant").await;
    let other = World::on(own.0, "neighbour").await;
    let _operator = Operator::start_everywhere(own.0, Path::new(EXE), &flags(&[]));
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    // An older one that has read the group; it comes from a neighbour.
    other.known("older", &group).await;
    // And an open record of what was stopped for it, whose object is gone for good.
    let cluster_id = other.wait("older", "the cluster to be pinned", |s| s.cluster_id.is_some()).await.cluster_id.expect("pinned");
    let backend = BackendIdentity::Kafka { cluster_id, consumer_group: group.clone() };
    let spec = OffsetResetRecordSpec {
        pipeline: PipelineRef { name: "gone".to_owned(), uid: "565c0114-0000-4372-86d1-000000000000".to_owned() },
        request: serde_json::from_value(ask("g1", "Latest")).expect("a request"),
        created_at: Timestamp::now(),
        deadline: Timestamp::now().checked_add(SignedDuration::from_hours(1)).expect("a time"),
        run_state_before: Some(RunStateBefore { running: true, ..RunStateBefore::default() }),
        writer: None,
        plan: None,
        backend: backend.clone(),
    };
    let mut orphan = OffsetResetRecord::new("gone-0123456789abcdef", spec);
    orphan.metadata.labels = Some([(BACKEND_LABEL.to_owned(), backend_label(&backend))].into());
    other.records().create(&PostParams::default(), &orphan).await.expect("it is put there");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    world.known("young", &group).await;
    world.apply("young", &group, ask("y1", "Earliest")).await;
    let status = world.verified("young", "y1").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
    let warnings = world.record(&status).await.spec.plan.expect("a plan").warnings;
    assert!(warnings.iter().any(|w| w.contains(&format!("{}/older", other.namespace.name()))), "{warnings:?}");
    assert!(other.record_named("gone-0123456789abcdef").await.status.is_none(), "left to its own namespace");
}
