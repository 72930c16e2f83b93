//! A04, A08, A09, A12, A13, A17, A18, A19: scaled to 0 for a reset, and back.

use std::time::Duration;

use serde_json::{Value, json};
use stream_pipeline_api::{Phase, RecordPhase, Stage, StreamPipelineStatus};
use testbed::pods::{self, annotated};
use testbed::trap::Side;
use testbed::{Testbed, eventually, kafka};

use crate::support::calls::closes_record;
use crate::support::proxied::ProxiedOperator;
use crate::support::requests::with;
use crate::support::status::{assert_has, reset, says};
use crate::support::workloads::{QUICK, WorkloadWorld, pause, wait};
use crate::support::world::LIMIT;

/// Workloads are scaled down, reset, and scaled up to their counts.
async fn a04(scaled: &WorkloadWorld, expected: &[i64]) {
    assert_eq!(scaled.counts().await, expected);
    let running: Vec<i64> = expected.iter().copied().filter(|n| *n > 0).collect();
    scaled.apply("p", pause("r1")).await;
    let status = scaled.world.verified("p", "r1").await;
    let record = scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, expected, "replicas after the reset");
    let before = record.spec.run_state_before.expect("what it was before");
    assert!(before.running);
    assert_eq!(before.workloads.iter().map(|w| i64::from(w.replicas)).collect::<Vec<_>>(), expected);
    assert_eq!(record.spec.plan.expect("a plan").topics[0].from, [10, 10]);
    let closed = record.status.expect("closed");
    assert_eq!(closed.phase, RecordPhase::Verified, "{closed:?}");
    assert_eq!((reset(&status).stage, scaled.at_rest("p").await.offset_reset.and_then(|r| r.paused_by_operator)), (Stage::Verified, None));
    // It was verified at 0: what is read now is read again.
    scaled.read().await;
    // The finalizer is written first, then the record with the counts, and only then a count.
    let writes = scaled.world.writes();
    let first = |what: &str| writes.iter().position(|w| w.contains(what)).unwrap_or_else(|| panic!("no {what}: {writes:#?}"));
    assert!(first("/streampipelines/p?") < first("/offsetresetrecords"), "{writes:#?}");
    assert!(first("/offsetresetrecords") < first("/scale?"), "{writes:#?}");
    assert!(writes.iter().filter(|w| w.contains("/scale?")).all(|w| w.ends_with(" 200")), "{writes:#?}");
    // Each workload is scaled down once and up once.
    assert_eq!(scaled.scalings(), 2 * running.len(), "{writes:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a04_a_deployment_is_scaled_down_reset_and_scaled_back() {
    let scaled = WorkloadWorld::one("a04").await;
    a04(&scaled, &[2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a04_several_workloads_of_one_group_are_each_scaled_back_to_their_own_count() {
    let scaled = WorkloadWorld::new("a04s", |group, topic| {
        let idle = pods::deployment("idle", 0, group, topic);
        vec![pods::deployment("d", 2, group, topic), pods::stateful_set("s", 1, group, topic), idle]
    })
    .await;
    a04(&scaled, &[2, 1, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a04_a_custom_resource_with_a_scale_subresource_is_scaled_with_the_rights_of_the_charts_value() {
    let testbed: &Testbed = testbed::start().await;
    pods::install_crds(&testbed.client().await).await;
    let mut scaled = WorkloadWorld::without_operator("a04c", |group, topic| vec![pods::worker("w", 2, group, topic)]).await;
    scaled.grant_workers().await;
    scaled.world.start_operator_with(&QUICK);
    scaled.known("p").await;
    a04(&scaled, &[2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a08_pods_that_never_stop_end_it_by_its_deadline_and_are_scaled_back() {
    let scaled = WorkloadWorld::one("a08").await;
    scaled.pods.hang(true);
    scaled.apply("p", with(pause("r1"), "waitTimeout", json!("8s"))).await;
    let status = scaled.world.reaches("p", "r1", Stage::Pausing, "Pausing").await;
    assert!(reset(&status).record_ref.is_some(), "expected a record to be named: {status:?}");
    scaled.counted(&[0]).await;
    let kept = |s: &StreamPipelineStatus| s.phase == Some(Phase::Paused) || reset(s).paused_by_operator.is_some();
    let status = scaled.world.wait("p", "what is kept at 0 to be told", kept).await;
    assert_has(says(&status, "Ready").2, &["Deployment d (it had 2)"]);
    let status = scaled.world.reaches("p", "r1", Stage::Failed, "PauseTimedOut").await;
    assert_eq!((says(&status, "Stalled").0, says(&status, "OffsetsReset").0), ("True", "False"));
    let record = scaled.brought_back("p").await;
    assert_eq!(record.status.map(|s| s.phase), Some(RecordPhase::Abandoned));
    assert!(record.spec.plan.is_none(), "expected no plan");
    assert_eq!((scaled.counts().await, scaled.offsets().await), (vec![2], vec![Some(10), Some(10)]));
    scaled.pods.hang(false);
    scaled.read().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b7_what_is_left_out_and_its_default_are_the_same_also_while_it_is_being_paused() {
    let scaled = WorkloadWorld::one("b7").await;
    scaled.pods.hang(true);
    scaled.apply("p", pause("r1")).await;
    scaled.counted(&[0]).await;
    let record = scaled.world.only_record().await;
    for request in [with(pause("r1"), "dryRun", json!(false)), pause("r1"), with(pause("r1"), "outOfRange", json!("Fail"))] {
        scaled.apply("p", request).await;
        scaled.world.decides_twice("p").await;
        assert_eq!(scaled.counts().await, [0], "replicas, while the same request goes on");
    }
    scaled.pods.hang(false);
    let status = scaled.world.verified("p", "r1").await;
    assert_eq!(scaled.world.only_record().await.metadata.uid, record.metadata.uid, "{status:?}");
    scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, [2]);
}

/// Pods stop slowly, and meanwhile somebody sets another count.
#[tokio::test(flavor = "multi_thread")]
async fn a09_a_count_that_a_person_sets_while_it_is_held_at_0_wins_and_is_told() {
    let slow = |group: &str, topic: &str| vec![annotated(pods::deployment("d", 1, group, topic), "stop-delay-ms", "4000")];
    let scaled = WorkloadWorld::new("a09", slow).await;
    scaled.apply("p", with(pause("r1"), "waitTimeout", json!("12s"))).await;
    scaled.counted(&[0]).await;
    scaled.world.wait("p", "it to be stopped", |s| format!("{:?}", s.conditions).contains("it is stopped; waited for")).await;
    scaled.person_scales(&scaled.workloads[0], 3).await;
    let status = scaled.world.reaches("p", "r1", Stage::Waiting, "PauseOverridden").await;
    assert_has(says(&status, "Ready").2, &["not stopped twice"]);
    let status = scaled.world.reaches("p", "r1", Stage::Failed, "PauseTimedOut").await;
    assert_has(says(&status, "Ready").2, &["Deployment d now has 3 (it had 1)"]);
    scaled.brought_back("p").await;
    assert_eq!((scaled.counts().await, scaled.scalings()), (vec![3], 1), "replicas, and how often the operator wrote a count");
    assert_eq!(scaled.offsets().await, [Some(10), Some(10)], "offsets, where nothing was reset");
}

#[tokio::test(flavor = "multi_thread")]
async fn a12_nothing_that_does_not_say_pause_scales() {
    let scaled = WorkloadWorld::one("a12").await;
    scaled.apply("p", wait("r1")).await;
    let status = scaled.world.reaches("p", "r1", Stage::Waiting, "GroupActive").await;
    assert_eq!(says(&status, "PipelineInactive").0, "False");
    scaled.world.decides_twice("p").await;
    assert_eq!((scaled.counts().await, scaled.scalings(), scaled.world.finalizers("p").await.len()), (vec![2], 0, 0));
    // Somebody else scales it to 0: it is reset, and left at 0.
    scaled.person_scales(&scaled.workloads[0], 0).await;
    scaled.world.verified("p", "r1").await;
    assert!(scaled.world.only_record().await.spec.run_state_before.is_none());
    scaled.world.decides_twice("p").await;
    assert_eq!((scaled.counts().await, scaled.scalings()), (vec![0], 0));
    assert_eq!(scaled.offsets().await, [Some(0), Some(0)]);
    // With whenActive: Fail the request ends at once instead of waiting.
    scaled.person_scales(&scaled.workloads[0], 1).await;
    scaled.read().await;
    scaled.apply("p", with(wait("r2"), "whenActive", json!("Fail"))).await;
    scaled.world.reaches("p", "r2", Stage::Failed, "GroupActive").await;
    assert_eq!((scaled.counts().await, scaled.scalings()), (vec![1], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a13_a_tool_that_sets_the_count_again_and_again_is_not_fought() {
    let slow = |group: &str, topic: &str| vec![annotated(pods::deployment("d", 2, group, topic), "stop-delay-ms", "1500")];
    let scaled = WorkloadWorld::new("a13", slow).await;
    scaled.apply("p", with(pause("r1"), "waitTimeout", json!("12s"))).await;
    scaled.counted(&[0]).await;
    let heals = async {
        loop {
            scaled.heal(&scaled.workloads[0], 2).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let ends = async {
        let status = scaled.world.reaches("p", "r1", Stage::Waiting, "PauseOverridden").await;
        let message = says(&status, "Ready").2.to_owned();
        assert_has(message, &["not stopped twice", "spec.replicas"]);
        scaled.world.reaches("p", "r1", Stage::Failed, "PauseTimedOut").await;
        scaled.brought_back("p").await;
    };
    tokio::select! {
        () = heals => {}
        () = ends => {}
    }
    assert_eq!((scaled.counts().await, scaled.scalings()), (vec![2], 1), "replicas, and how often the count was written");
    assert_eq!(scaled.offsets().await, [Some(10), Some(10)]);
}

/// Pods are wanted, and none ever becomes a member: the group is empty.
#[tokio::test(flavor = "multi_thread")]
async fn a17_pods_that_crash_are_not_inactive_and_are_named_and_pause_stops_them() {
    let crash = |group: &str, topic: &str| vec![annotated(pods::deployment("d", 1, group, topic), "crash-loop", "true")];
    let mut scaled = WorkloadWorld::without_operator("a17", crash).await;
    let (topic, group) = (scaled.topic.clone(), scaled.group.clone());
    testbed::kafka::commit(&scaled.world.bootstrap, &group, &[(&topic, 0, 7, ""), (&topic, 1, 7, "")]).await;
    scaled.world.start_operator_with(&QUICK);
    scaled.apply("p", Value::Null).await;
    scaled.world.is_seen("p").await;
    scaled.apply("p", wait("r1")).await;
    let told = scaled.world.wait("p", "the crash loop to be named", |s| {
        let ready = s.conditions.iter().find(|c| c.type_ == "Ready");
        ready.is_some_and(|c| {
            c.reason == "GroupActive" && c.message.contains("Deployment d (1 replicas, none ready: it starts, or crash-loops)")
        })
    });
    told.await;
    assert_eq!((scaled.offsets().await, scaled.scalings()), (vec![Some(7), Some(7)], 0));
    scaled.apply("p", pause("r2")).await;
    scaled.world.verified("p", "r2").await;
    scaled.at_rest("p").await;
    assert_eq!((scaled.counts().await, scaled.offsets().await), (vec![1], vec![Some(0), Some(0)]));
}

/// A static member whose process is gone stays a member until its session times out.
#[tokio::test(flavor = "multi_thread")]
async fn a18_a_static_member_is_waited_for_after_its_pod_has_gone() {
    let fixed = |group: &str, topic: &str| vec![annotated(pods::deployment("d", 1, group, topic), "instance-id", "static")];
    let scaled = WorkloadWorld::new("a18", fixed).await;
    scaled.apply("p", pause("r1")).await;
    scaled.counted(&[0]).await;
    eventually("the pod to end", LIMIT, async || match scaled.pods.running() {
        none if none.is_empty() => Ok(()),
        some => Err(format!("{some:?}")),
    })
    .await;
    assert_eq!(scaled.offsets().await, [Some(10), Some(10)], "offsets before the static member has left");
    scaled.world.verified("p", "r1").await;
    scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a19_the_next_server_side_apply_of_its_owner_meets_no_conflict() {
    let scaled =
        WorkloadWorld::new("a19", |group, topic| vec![pods::deployment("d", 2, group, topic), pods::stateful_set("s", 1, group, topic)])
            .await;
    scaled.apply("p", pause("r1")).await;
    scaled.world.verified("p", "r1").await;
    scaled.brought_back("p").await;
    for workload in &scaled.workloads {
        let found = pods::get(&scaled.world.client, scaled.world.namespace.name(), workload).await.expect("it is there");
        let managers: Vec<_> = found.metadata.managed_fields.iter().flatten().filter_map(|m| m.manager.clone()).collect();
        assert!(!managers.iter().any(|m| m.contains("stream-pipeline")), "expected the operator not to manage the count: {managers:?}");
        assert!(managers.contains(&"owner".to_owned()), "expected its owner to manage the count: {managers:?}");
        let mut changed = workload.clone();
        changed["spec"]["replicas"] = json!(3);
        scaled.owner_applies(&changed).await.expect("no conflict");
        eventually("its count", LIMIT, async || if scaled.count(workload).await == 3 { Ok(()) } else { Err(String::new()) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k32_a_log_start_that_overtakes_the_target_is_told_before_the_consumers_are_started_on_it() {
    let scaled = WorkloadWorld::without_operator("k32", |group, topic| vec![pods::deployment("d", 1, group, topic)]).await;
    let proxied = ProxiedOperator::start(&scaled.world, &QUICK).await;
    scaled.known("p").await;
    // The record is closed, and what follows is stopped until records at the target are deleted.
    proxied.traps.arm(Side::After, closes_record);
    scaled.apply("p", pause("r1")).await;
    proxied.traps.sprung().await;
    kafka::delete_records(&scaled.world.bootstrap, &[(&scaled.topic, 1, 5)]).await;
    proxied.traps.release();
    let record = scaled.brought_back("p").await;
    let closed = record.status.expect("closed");
    assert_eq!((closed.phase, closed.reason.as_str()), (RecordPhase::Verified, "BelowLogStart"), "{closed:?}");
    let overtaken = format!("{}-1 (0 < 5)", scaled.topic);
    assert_has(&closed.message, &[&overtaken, "2 of 2 partitions read back as planned"]);
    let status = scaled.world.reaches("p", "r1", Stage::Verified, "BelowLogStart").await;
    assert_eq!((says(&status, "OffsetsReset").0, says(&status, "Ready").0), ("True", "True"));
    assert_eq!((scaled.counts().await, scaled.scalings()), (vec![1], 2), "replicas, and how often the count was written");
    // The status tells it before the consumers are started.
    let writes = scaled.world.writes();
    let last = |what: &str| writes.iter().rposition(|w| w.contains(what)).unwrap_or_else(|| panic!("no {what}: {writes:#?}"));
    let told = writes[..last("/scale?")].iter().rposition(|w| w.contains("/streampipelines/p/status"));
    let closed = writes.iter().position(|w| w.contains("/offsetresetrecords/") && w.contains("/status"));
    assert!(told > closed, "{writes:#?}");
}
