//! O30, O32: records that a backup tool restored, and labels of Git tools, which must not be on the operator's records.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use stream_pipeline_api::{
    BACKEND_LABEL, BackendIdentity, OffsetResetRecord, OffsetResetRecordSpec, PIPELINE_LABEL, PipelineRef, PlanTotals, Reason, RecordPhase,
    RecordedPlan, Stage, StreamPipeline, TopicPlan, Writer,
};
use stream_pipeline_core::Desired;
use stream_pipeline_core::names::{backend_label, record_name};

use crate::support::requests::{ask, with};
use crate::support::status::{assert_has, says};
use crate::support::world::World;

async fn restore(world: &World, pipeline: &StreamPipeline, cluster_id: &str, uid: &str, plan: Option<RecordedPlan>) -> String {
    let hour_ago = Timestamp::now().checked_sub(SignedDuration::from_hours(1)).expect("a time");
    let desired = Desired::of(pipeline, stream_pipeline_operator::backend::facts, Timestamp::now()).expect("it has a backend");
    let request = desired.request.expect("it asks").expect("a request");
    let consumer_group = pipeline.spec.kafka.as_ref().expect("a group").consumer_group.clone();
    let backend = BackendIdentity::Kafka { cluster_id: cluster_id.to_owned(), consumer_group };
    let labels = [(PIPELINE_LABEL, desired.object.name.clone()), (BACKEND_LABEL, backend_label(&backend))];
    let name = record_name(&desired.object, &desired.backend, &request);
    let spec = OffsetResetRecordSpec {
        target: String::new(),
        pipeline: PipelineRef { name: desired.object.name, uid: uid.to_owned() },
        request: request.written,
        backend,
        created_at: hour_ago,
        deadline: Timestamp::now().checked_add(SignedDuration::from_hours(23)).expect("a time"),
        run_state_before: None,
        writer: plan.as_ref().map(|_| Writer { incarnation: "another".to_owned(), number: 1, attempt: 1, chunk: 1 }),
        plan,
    };
    let mut record = OffsetResetRecord::new(&name, spec);
    record.metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), value)).into());
    world.records().create(&PostParams::default(), &record).await.expect("the record is put back");
    name
}

/// A plan for partition 0, from 7 to 0.
fn plan(topic: &str) -> RecordedPlan {
    let rows = TopicPlan {
        name: topic.to_owned(),
        topic_id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        partition: vec![0],
        from: vec![7],
        to: vec![0],
        log_start: vec![0],
        log_end: vec![10],
        ..TopicPlan::default()
    };
    RecordedPlan {
        time: None,
        topics: vec![rows],
        totals: Some(PlanTotals { partitions: 1, replayed: 7, lag_after: 10, ..PlanTotals::default() }),
        call: None,
        chunk_size: None,
        warnings: vec![],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o30_a_record_restored_without_its_status_is_closed_and_nothing_is_sent() {
    let mut world = World::new("o30").await;
    let (topic, group) = world.known_at_7_of_10("own").await;
    // A closed record, whose status is lost when it is restored.
    world.apply("own", &group, ask("r1", "Earliest")).await;
    let status = world.verified("own", "r1").await;
    let cluster_id = status.cluster_id.clone().expect("the cluster's id");
    let real = world.record(&status).await;
    world.kill_operator();
    let own = world.pipelines().get("own").await.expect("it is there");
    world.records().delete(&real.name_any(), &DeleteParams::default()).await.expect("it can be deleted");
    let restored = restore(&world, &own, &cluster_id, &own.uid().expect("a uid"), real.spec.plan.clone()).await;
    assert_eq!(restored, real.name_any(), "the name of the restored record");
    world.move_group(&group, &topic, 7).await;
    // Objects and records restored together, with and without a plan: the objects have other uids than the records say.
    let mut put_back = vec![("own", group, restored)];
    for (name, plan, request) in [
        ("planned", Some(plan(&topic)), ask("r1", "Earliest")),
        ("bare", None, ask("r1", "Earliest")),
        ("planned-run", Some(plan(&topic)), with(ask("r1", "Earliest"), "whenCreated", json!("Run"))),
        ("bare-run", None, with(ask("r1", "Earliest"), "whenCreated", json!("Run"))),
    ] {
        let group = world.group(&topic, &[7]).await;
        let pipeline = world.apply(name, &group, request).await;
        let record = restore(&world, &pipeline, &cluster_id, "565c0114-0000-4372-86d1-000000000000", plan).await;
        put_back.push((name, group, record));
    }
    world.restart();
    for (name, group, record) in &put_back {
        assert_eq!(world.closed(record).await, (RecordPhase::Abandoned, Reason::Restored), "{name}");
        if *name != "own" {
            let status = world.reaches(name, "r1", Stage::Skipped, "AlreadyHandled").await;
            let (ready, _, message) = says(&status, "Ready");
            assert_eq!(ready, "True");
            assert_has(message, &[record]);
        }
        world.decides_twice(name).await;
        assert_eq!(world.offset(group, &topic).await, Some(7), "{name}: nothing is sent");
    }
    assert_eq!(world.all_records().await.len(), put_back.len());
    // A restored record of another id is closed too, and does not block a new request.
    world.kill_operator();
    let (name, group, _) = &put_back[1];
    let other = world.apply(name, group, ask("r0", "Earliest")).await;
    let record = restore(&world, &other, &cluster_id, &other.uid().expect("a uid"), Some(plan(&topic))).await;
    world.apply(name, group, ask("r2", "Latest")).await;
    world.restart();
    world.verified(name, "r2").await;
    assert_eq!(world.closed(&record).await, (RecordPhase::Abandoned, Reason::Restored));
    assert_eq!(world.offset(group, &topic).await, Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn o30_a_restored_record_whose_pipeline_is_not_there_hinders_nobody() {
    let world = World::new("o30gone").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    let cluster_id = world.pipelines().get("p").await.expect("it is there").status.and_then(|s| s.cluster_id).expect("the cluster's id");
    let mut gone = world.apply("p", &group, ask("r0", "Earliest")).await;
    world.verified("p", "r0").await;
    gone.metadata.name = Some("gone".to_owned());
    restore(&world, &gone, &cluster_id, "565c0114-0000-4372-86d1-000000000000", Some(plan(&topic))).await;
    world.apply("p", &group, ask("r1", "Latest")).await;
    world.verified("p", "r1").await;
    assert_eq!(world.offset(&group, &topic).await, Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn o32_nothing_of_the_parents_metadata_is_on_the_record() {
    let world = World::new("o32").await;
    let (_, group) = world.known_at_7_of_10("p").await;
    let tracked = json!({ "metadata": {
        "labels": { "app.kubernetes.io/instance": "wind", "argocd.argoproj.io/instance": "wind", "kustomize.toolkit.fluxcd.io/name": "wind",
            "kustomize.toolkit.fluxcd.io/namespace": "flux-system", "helm.toolkit.fluxcd.io/name": "wind" },
        "annotations": { "argocd.argoproj.io/tracking-id": "wind:streampipeline.io/StreamPipeline:wind/p", "argocd.argoproj.io/sync-options": "Prune=true",
            "kubectl.kubernetes.io/last-applied-configuration": "{}", "meta.helm.sh/release-name": "wind" },
        "finalizers": []
    } });
    world.pipelines().patch("p", &PatchParams::default(), &Patch::Merge(tracked)).await.expect("it can be labelled");
    world.apply("p", &group, with(ask("r1", "Earliest"), "dryRun", json!(true))).await;
    let dry = world.record(&world.reaches("p", "r1", Stage::Planned, "PlanReady").await).await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let real = world.record(&world.verified("p", "r1").await).await;
    let ours = |record: &OffsetResetRecord| {
        assert!(record.annotations().is_empty() && record.finalizers().is_empty(), "{:?}", record.metadata);
        assert!(record.owner_references().is_empty(), "expected no owner, since a record outlives its object");
        record.labels().clone()
    };
    assert_eq!(ours(&dry), BTreeMap::from([(PIPELINE_LABEL.to_owned(), "p".to_owned())]));
    let backend = (BACKEND_LABEL.to_owned(), backend_label(&real.spec.backend));
    assert_eq!(ours(&real), BTreeMap::from([(PIPELINE_LABEL.to_owned(), "p".to_owned()), backend]));
    // The record outlives the object.
    world.delete("p").await;
    assert_eq!(world.record_named(&real.name_any()).await.resource_version(), real.resource_version());
}
