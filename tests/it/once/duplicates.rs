//! O08, O36: two StreamPipelines that name one group.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use kube::api::PostParams;
use serde_json::json;
use stream_pipeline_api::{BACKEND_LABEL, BackendIdentity, OffsetResetRecord, OffsetResetRecordSpec, PipelineRef, RunStateBefore, Stage};
use stream_pipeline_core::names::backend_label;
use testbed::{Operator, eventually, kafka, offsets_topic};

use crate::support::requests::{ask, with};
use crate::support::status::{assert_has, condition, says};
use crate::support::world::{EXE, LIMIT, OwnServers, World, a_second_passes, flags};

/// Two that name a group, `old` known before `young` was made, each without a request.
async fn two(test: &str, records: &[i64], offsets: &[i64]) -> (World, String, String) {
    let world = World::new(test).await;
    let topic = world.topic(records).await;
    let group = world.group(&topic, offsets).await;
    // The names sort the other way round: the age counts, not the name.
    world.known("z-old", &group).await;
    // Ages are whole seconds.
    a_second_passes().await;
    world.known("a-young", &group).await;
    (world, topic, group)
}

#[tokio::test(flavor = "multi_thread")]
async fn o08_the_oldest_acts_and_the_younger_takes_over_when_it_is_gone() {
    let (world, topic, group) = two("o08", &[10], &[7]).await;
    world.apply("a-young", &group, ask("y1", "Earliest")).await;
    let status = world.reaches("a-young", "y1", Stage::Waiting, "DuplicateGroup").await;
    let said = says(&status, "Ready").2;
    assert_has(said, &[&format!("{}/z-old", world.namespace.name()), "Waits until"]);
    assert!(world.all_records().await.is_empty());
    // A dry run of the younger is allowed.
    world.known("b-dry", &group).await;
    let mut dry = ask("d1", "Earliest");
    dry["dryRun"] = json!(true);
    world.apply("b-dry", &group, dry).await;
    world.reaches("b-dry", "d1", Stage::Planned, "PlanReady").await;
    // The oldest runs.
    world.apply("z-old", &group, ask("o1", "Latest")).await;
    world.verified("z-old", "o1").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(10)]);
    world.reaches("a-young", "y1", Stage::Waiting, "DuplicateGroup").await;
    world.ask_to_delete("z-old").await;
    world.verified("a-young", "y1").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
}

/// Exactly one of two that are made at once resets the group, whichever is applied first.
#[tokio::test(flavor = "multi_thread")]
async fn o08_of_two_in_one_apply_that_run_at_once_exactly_one_resets() {
    let world = World::new("o08-apply").await;
    let topic = world.topic(&[10]).await;
    for round in 0..6 {
        let group = world.group(&topic, &[7]).await;
        let names = [format!("a{round}"), format!("b{round}")];
        let asked = |position: &str| with(ask("r1", position), "whenCreated", json!("Run"));
        // Both at once, or one right after the other, in either order.
        match round % 3 {
            0 => drop(futures::join!(world.apply(&names[0], &group, asked("Earliest")), world.apply(&names[1], &group, asked("Latest")))),
            first => {
                for at in [first - 1, 2 - first] {
                    world.apply(&names[at], &group, asked(["Earliest", "Latest"][at])).await;
                }
            }
        }
        let one = eventually("one to be Verified and the other to wait for it", LIMIT, async || {
            let mut stages = Vec::new();
            for name in &names {
                let status = world.pipelines().get(name).await.map_err(|e| e.to_string())?.status.unwrap_or_default();
                let why = condition(&status, "Ready").map(|c| c.reason.clone()).unwrap_or_default();
                stages.push((status.offset_reset.map(|r| r.stage), why));
            }
            let verified = |at: usize| stages[at].0 == Some(Stage::Verified);
            assert!(!(verified(0) && verified(1)), "round {round}: both: {stages:?}");
            let at = (0..2).find(|at| verified(*at) && stages[1 - at] == (Some(Stage::Waiting), "DuplicateGroup".to_owned()));
            at.ok_or_else(|| format!("{stages:?}"))
        })
        .await;
        world.decides_twice(&names[1 - one]).await;
        let records = world.all_records().await;
        let of_round = records.iter().filter(|r| names.contains(&r.spec.pipeline.name)).count();
        assert_eq!(of_round, 1, "round {round}");
        let landed = &offsets_topic::landed(&world.bootstrap, &group).await[&(topic.clone(), 0)];
        assert_eq!(landed.len(), 2, "round {round}: the first commit and one reset: {landed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o08_who_cannot_read_the_group_itself_blocks_nobody() {
    let world = World::new("o08-own").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    let silent = json!({ "kafka": { "bootstrapServers": ["127.0.0.1:1"], "consumerGroup": group } });
    world.apply_spec("a-silent", silent).await.expect("the API server takes it");
    a_second_passes().await;
    world.apply("young", &group, with(ask("y1", "Earliest"), "whenCreated", json!("Run"))).await;
    world.verified("young", "y1").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
    let silent = world.pipelines().get("a-silent").await.expect("it is there").status.expect("it was looked at first");
    assert!(silent.observed_uid.is_some() && silent.cluster_id.is_none(), "expected to be seen, on no known cluster: {silent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn o08_a_younger_one_whose_deadline_passed_does_not_wake_up_when_the_older_goes() {
    let (world, topic, group) = two("o08-late", &[10], &[7]).await;
    let mut late = ask("y1", "Earliest");
    late["waitTimeout"] = json!("2s");
    world.apply("a-young", &group, late).await;
    let status = world.reaches("a-young", "y1", Stage::Failed, "WaitTimedOut").await;
    assert_has(says(&status, "Ready").2, &["z-old is older"]);
    world.ask_to_delete("z-old").await;
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

#[tokio::test(flavor = "multi_thread")]
async fn what_another_namespace_wrote_informs_and_never_blocks() {
    let own = OwnServers::start(Vec::new()).await;
    let world = World::on(own.0, "tenant").await;
    let other = World::on(own.0, "neighbour").await;
    let _operator = Operator::start_everywhere(own.0, Path::new(EXE), &flags(&[]));
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    // An older object of the group, in another namespace.
    other.known("older", &group).await;
    // And an open record there, of an object that is gone.
    let cluster_id = other.wait("older", "the cluster to be pinned", |s| s.cluster_id.is_some()).await.cluster_id.expect("pinned");
    let backend = BackendIdentity::Kafka { cluster_id, consumer_group: group.clone() };
    let spec = OffsetResetRecordSpec {
        target: String::new(),
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
    a_second_passes().await;
    world.known("young", &group).await;
    world.apply("young", &group, ask("y1", "Earliest")).await;
    let status = world.verified("young", "y1").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
    let warnings = world.record(&status).await.spec.plan.expect("a plan").warnings;
    assert!(
        warnings.iter().any(|w| w.contains(&format!("{}/older", other.namespace.name()))),
        "expected the older of the neighbour to be named: {warnings:?}"
    );
    assert!(other.record_named("gone-0123456789abcdef").await.status.is_none(), "the record of another namespace must stay open");
}
