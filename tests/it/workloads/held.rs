//! O15, O19, O33, O35 and A09 with workloads: held or deleted while the operator keeps them at 0, and every way out of it.

use kube::ResourceExt;
use serde_json::{Value, json};
use stream_pipeline_api::{RecordPhase, Stage};
use testbed::trap::Side;

use crate::support::calls::creates_record;
use crate::support::requests::with;
use crate::support::status::reset;
use crate::support::workloads::{QUICK, WorkloadWorld, pause};

/// Fails where the count changes while the operator decides a few more times.
async fn stays(scaled: &WorkloadWorld, count: i64) {
    for _ in 0..2 {
        scaled.world.decides_twice("p").await;
        assert_eq!(scaled.counts().await, [count]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o19_held_stays_at_0_over_a_restart_and_is_scaled_back_when_the_id_is_removed() {
    let mut scaled = WorkloadWorld::held("w19a").await;
    scaled.world.kill_operator();
    scaled.world.start_operator_with(&QUICK);
    stays(&scaled, 0).await;
    scaled.kubectl_patch(r#"{"spec":{"offsetReset":null}}"#);
    scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, [2]);
    scaled.world.nothing_requested("p").await;
    scaled.read().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o19_retry_sends_the_same_plan_once_and_scales_back() {
    let scaled = WorkloadWorld::held("w19b").await;
    scaled.kubectl_patch(r#"{"spec":{"offsetReset":{"onUnknownOutcome":"Retry"}}}"#);
    let status = scaled.world.verified("p", "r1").await;
    assert_eq!(reset(&status).attempts, Some(2));
    scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, [2]);
    scaled.read().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o19_a_new_id_has_the_old_one_scaled_back_first_and_finds_its_count() {
    let scaled = WorkloadWorld::held("w19c").await;
    // Removing the id alone is not possible, and no message says so.
    let (patched, said) = scaled.try_kubectl_patch(r#"{"spec":{"offsetReset":{"id":null}}}"#);
    assert!(!patched && said.contains("Required value"), "expected the patch to be refused: {said}");
    scaled.kubectl_patch(r#"{"spec":{"offsetReset":{"id":"r2"}}}"#);
    scaled.world.verified("p", "r2").await;
    scaled.at_rest("p").await;
    assert_eq!(scaled.counts().await, [2]);
    let records = scaled.world.all_records().await;
    let counts = |id: &str| records.iter().find(|r| r.spec.request.id == id).and_then(|r| r.spec.run_state_before.clone());
    assert_eq!(counts("r2").map(|b| b.workloads[0].replicas), Some(2), "replicas that the second record remembers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a09_a_count_that_a_person_sets_while_it_is_held_is_left_as_it_is() {
    let scaled = WorkloadWorld::held("w09").await;
    scaled.person_scales(&scaled.workloads[0], 3).await;
    let status = scaled.at_rest_but_held().await;
    assert_eq!(status.offset_reset.map(|r| (r.stage, r.paused_by_operator)), Some((Stage::Held, None)));
    stays(&scaled, 3).await;
    scaled.apply("p", Value::Null).await;
    scaled.at_rest("p").await;
    stays(&scaled, 3).await;
    assert_eq!(scaled.scalings(), 1, "how often the operator wrote a count");
}

#[tokio::test(flavor = "multi_thread")]
async fn o15_deleted_while_its_pods_stop_is_gone_only_when_it_is_scaled_back() {
    let mut scaled = WorkloadWorld::one("w15a").await;
    scaled.pods.hang(true);
    scaled.apply("p", pause("r1")).await;
    scaled.counted(&[0]).await;
    // Also if the operator that scaled it has died.
    scaled.world.kill_operator();
    scaled.world.ask_to_delete("p").await;
    assert!(scaled.world.pipelines().get_opt("p").await.expect("an answer").is_some(), "the object must be kept by its finalizer");
    scaled.world.start_operator_with(&QUICK);
    scaled.world.is_gone("p").await;
    assert_eq!(scaled.counts().await, [2], "replicas when the object is gone");
    let status = scaled.world.only_record().await.status.expect("closed");
    assert!(
        status.phase == RecordPhase::Abandoned && status.brought_back_at.is_some(),
        "expected a record that was given up, and brought back: {status:?}"
    );
    scaled.pods.hang(false);
    assert_eq!(scaled.offsets().await, [Some(10), Some(10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn o15_deleted_while_held_is_gone_only_when_it_is_scaled_back() {
    let mut scaled = WorkloadWorld::held("w15b").await;
    scaled.world.ask_to_delete("p").await;
    scaled.world.is_gone("p").await;
    assert_eq!(scaled.counts().await, [2]);
    assert!(scaled.world.only_record().await.status.is_some_and(|s| s.phase == RecordPhase::Held && s.brought_back_at.is_some()));
    // The object is gone with its status; the log says what was done for it.
    let log = scaled.world.operator().log();
    let told = |line: &str| line.contains(" INFO ") && line.contains("deleted=true") && line.contains("step=\"Resume\"");
    assert!(log.lines().any(told), "expected a line that tells of it: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn o33_a_namespace_that_is_deleted_while_it_is_held_goes() {
    let scaled = WorkloadWorld::held("w33").await;
    scaled.world.delete_namespace().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o35_a_stop_that_lands_after_the_id_was_removed_is_undone() {
    let (scaled, proxied) = WorkloadWorld::proxied("w35").await;
    proxied.traps.arm(Side::Before, |call| call.starts_with("PATCH") && call.ends_with("/scale"));
    scaled.apply("p", pause("r1")).await;
    proxied.traps.sprung().await;
    scaled.apply("p", Value::Null).await;
    let record = scaled.world.only_record().await.name_any();
    let (phase, _) = scaled.world.closed(&record).await;
    assert_eq!(phase, RecordPhase::Abandoned);
    assert!(
        scaled.world.record_named(&record).await.status.is_some_and(|s| s.brought_back_at.is_none()),
        "the record must not say that it runs again while a late stop may land"
    );
    proxied.traps.release();
    scaled.brought_back("p").await;
    assert_eq!(scaled.counts().await, [2], "replicas after the late write has landed");
    scaled.read().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a09_a_count_that_a_person_sets_between_the_record_and_the_stop_is_not_lost() {
    let (scaled, proxied) = WorkloadWorld::proxied("w09r").await;
    proxied.traps.arm(Side::After, creates_record);
    scaled.apply("p", with(pause("r1"), "waitTimeout", json!("8s"))).await;
    proxied.traps.sprung().await;
    scaled.person_scales(&scaled.workloads[0], 3).await;
    proxied.traps.release();
    let status = scaled.world.reaches("p", "r1", Stage::Waiting, "PauseOverridden").await;
    assert!(format!("{status:?}").contains("Deployment d now has 3 (it had 2)"), "expected the count of now and of then: {status:?}");
    scaled.world.reaches("p", "r1", Stage::Failed, "PauseTimedOut").await;
    scaled.brought_back("p").await;
    assert_eq!((scaled.counts().await, scaled.scalings()), (vec![3], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn o36_a_second_object_waits_until_the_first_is_scaled_back() {
    let scaled = WorkloadWorld::held("w36").await;
    let first = scaled.world.only_record().await.name_any();
    scaled.apply("q", Value::Null).await;
    scaled.world.is_seen("q").await;
    scaled.apply("q", pause("q1")).await;
    scaled.world.reaches("q", "q1", Stage::Waiting, "DuplicateGroup").await;
    assert_eq!((scaled.counts().await, scaled.scalings()), (vec![0], 1));
    scaled.world.ask_to_delete("p").await;
    scaled.world.verified("q", "q1").await;
    scaled.world.is_gone("p").await;
    scaled.at_rest("q").await;
    let first = scaled.world.record_named(&first).await.status.and_then(|s| s.brought_back_at).expect("brought back");
    let second = scaled.world.record(&scaled.world.verified("q", "q1").await).await;
    assert!(second.spec.created_at >= first, "the second record must be made after the first is scaled back");
    assert_eq!(scaled.counts().await, [2]);
}

impl WorkloadWorld {
    fn try_kubectl_patch(&self, patch: &str) -> (bool, String) {
        let output = self.world.testbed.kubectl(&["patch", "sp", "p", "-n", self.world.namespace.name(), "--type=merge", "-p", patch]);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn kubectl_patch(&self, patch: &str) {
        let (patched, said) = self.try_kubectl_patch(patch);
        assert!(patched, "{patch}: {said}");
    }

    /// Held, and not called paused any more.
    async fn at_rest_but_held(&self) -> stream_pipeline_api::StreamPipelineStatus {
        self.world.wait("p", "the pause to be over", |s| s.offset_reset.as_ref().is_some_and(|r| r.paused_by_operator.is_none())).await
    }
}
