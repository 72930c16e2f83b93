//! A status never tells the success of an earlier request, or of an earlier generation, as that of the present one.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use stream_pipeline_api::{RecordPhase, Stage, StreamPipelineStatus};
use testbed::eventually;
use testbed::trap::Side;

use crate::support::calls::creates_record;
use crate::support::proxied::ProxiedOperator;
use crate::support::requests::{ask, with};
use crate::support::status::{assert_has, condition, has_reason, is_over, reset, says};
use crate::support::world::{LIMIT, World};

impl World {
    /// Whether kstatus, which Git tools use, takes the object for done: observed in this generation, ready, neither reconciling nor
    /// stalled.
    async fn is_current(&self, name: &str) -> bool {
        let object = self.pipelines().get(name).await.expect("the object is there");
        let status = object.status.unwrap_or_default();
        let speaks = |kind: &str| condition(&status, kind).is_some_and(|c| c.status == "True");
        // Without a generation or a condition kstatus has nothing to go by, and takes the object for done.
        let of_it = status.observed_generation.is_none_or(|seen| Some(seen) == object.metadata.generation);
        of_it && !speaks("Reconciling") && !speaks("Stalled") && condition(&status, "Ready").is_none_or(|c| c.status == "True")
    }

    async fn patch(&self, name: &str, spec: Value) -> kube::Result<()> {
        self.pipelines().patch(name, &PatchParams::default(), &Patch::Merge(json!({ "spec": spec }))).await.map(drop)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d3_a_new_object_is_not_done_before_anybody_has_looked_at_it() {
    let mut world = World::without_operator("d3").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.apply("p", &group, Value::Null).await;
    let status = world.pipelines().get("p").await.expect("it is decoded").status;
    assert_eq!(status, Some(StreamPipelineStatus { observed_generation: Some(-1), ..StreamPipelineStatus::default() }));
    assert!(!world.is_current("p").await);
    // As kubectl creates it, and as a Git tool that applies it again.
    world.apply("p", &group, Value::Null).await;
    world.apply("asks", &group, with(ask("r1", "Earliest"), "whenCreated", json!("Run"))).await;
    assert!(!world.is_current("p").await && !world.is_current("asks").await);
    world.start_operator();
    world.verified("asks", "r1").await;
    eventually("the first look", LIMIT, async || if world.is_current("p").await { Ok(()) } else { Err("not yet".to_owned()) }).await;
    assert!(world.is_current("asks").await && world.is_green("asks"));
    // The status that the API server sets at creation is not the operator's: a request that came with the object is skipped.
    let group = world.group(&topic, &[7]).await;
    world.apply("skipped", &group, ask("r1", "Earliest")).await;
    world.reaches("skipped", "r1", Stage::Skipped, "SkippedAtCreation").await;
    assert_eq!(world.offset(&group, &topic).await, Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_success_of_an_earlier_request_is_not_told_of_one_that_nobody_looked_at() {
    let mut world = World::new("a2").await;
    let (_, group) = world.known_at_7_of_10("p").await;
    world.apply("p", &group, ask("a", "Earliest")).await;
    world.verified("p", "a").await;
    world.apply("p", &group, json!({ "id": "b", "quietPeriod": "0s", "to": { "shiftBy": 1000 } })).await;
    world.reaches("p", "b", Stage::Failed, "OutOfRange").await;
    world.apply("p", &group, ask("a", "Earliest")).await;
    world.verified("p", "a").await;
    assert!(world.is_green("p") && world.is_current("p").await);
    // The broker cannot be reached any more, and there is a new request: nobody can look what becomes of it.
    let unreachable = json!({ "tls": { "ca": { "secretKeyRef": { "name": "gone" } } } });
    world
        .patch("p", json!({ "kafka": unreachable, "offsetReset": { "id": "b", "to": { "position": null, "shiftBy": 1000 } } }))
        .await
        .expect("taken");
    let blind = |s: &StreamPipelineStatus| has_reason(s, "BackendReachable", "SecretNotFound");
    world.wait("p", "the Secret to be missed", blind).await;
    for _ in 0..3 {
        assert!(!world.is_green("p"), "{:?}", world.pipelines().get("p").await.map(|p| p.status));
    }
    // The same after a restart.
    world.restart();
    world.looks("p", 2).await;
    assert!(!world.is_green("p"));
    // Reachable again, the request gets its own result.
    world.patch("p", json!({ "kafka": { "tls": null } })).await.expect("taken");
    world.reaches("p", "b", Stage::Skipped, "AlreadyHandled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a5_a_dry_run_under_an_id_that_was_used_has_its_own_result_and_the_reset_keeps_its_own() {
    let world = World::new("a5").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let done = world.verified("p", "r1").await;
    world.move_group(&group, &topic, 5).await;
    world.apply("p", &group, with(ask("r1", "Earliest"), "dryRun", json!(true))).await;
    let status = world.reaches("p", "r1", Stage::Planned, "PlanReady").await;
    let (_, _, message) = says(&status, "Ready");
    assert_has(message, &["at most 5 records would be replayed", "together with a new id"]);
    assert!(
        reset(&status).dry_run && reset(&status).record_ref != reset(&done).record_ref,
        "expected a dry run with a record of its own: {status:?}"
    );
    assert!(!world.is_green("p"), "a dry run must not be told as a success");
    // As the message says: with a new id and without dryRun it runs; under the used id its old result is told.
    world.apply("p", &group, with(ask("r1", "Earliest"), "dryRun", json!(false))).await;
    let again = world.verified("p", "r1").await;
    assert_eq!(reset(&again).record_ref, reset(&done).record_ref);
    world.decides_twice("p").await;
    assert_eq!(world.offset(&group, &topic).await, Some(5), "the offset, where nothing runs again");
    world.apply("p", &group, with(ask("r2", "Earliest"), "dryRun", json!(false))).await;
    world.verified("p", "r2").await;
    assert_eq!(world.offset(&group, &topic).await, Some(0));
    // A dry run that cannot succeed uses up no id either.
    let far = json!({ "id": "r3", "quietPeriod": "0s", "to": { "shiftBy": 1000 } });
    world.apply("p", &group, with(far.clone(), "dryRun", json!(true))).await;
    world.reaches("p", "r3", Stage::Failed, "OutOfRange").await;
    world.apply("p", &group, with(far, "outOfRange", json!("Clamp"))).await;
    world.verified("p", "r3").await;
    assert_eq!(world.offset(&group, &topic).await, Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn b12_what_was_given_up_along_with_its_object_binds_no_later_one() {
    let world = World::without_operator("b12").await;
    let proxied = ProxiedOperator::start(&world, &["--call-deadline=20s"]).await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    for round in 1..=2 {
        world.known("p", &group).await;
        // The object is deleted between the write of the plan and the second look.
        proxied.traps.arm(Side::After, creates_record);
        world.apply("p", &group, ask("r1", "Earliest")).await;
        proxied.traps.sprung().await;
        world.delete("p").await;
        proxied.traps.release();
        eventually("the plan to be dropped", LIMIT, async || match world.all_records().await {
            all if all.len() == round && all.iter().all(|r| r.spec.plan.is_none()) => Ok(()),
            all => Err(format!("{all:?}")),
        })
        .await;
        assert_eq!(world.offset(&group, &topic).await, Some(7), "the offset, where nothing was sent");
    }
    // The same manifest, created again, is a request like any other: skipped, unless whenCreated is Run.
    world.apply("p", &group, ask("r1", "Earliest")).await;
    world.reaches("p", "r1", Stage::Skipped, "SkippedAtCreation").await;
    world.delete("p").await;
    world.apply("p", &group, with(ask("r1", "Earliest"), "whenCreated", json!("Run"))).await;
    let status = world.verified("p", "r1").await;
    assert_eq!(world.offset(&group, &topic).await, Some(0));
    let records = world.all_records().await;
    assert_eq!(records.iter().filter(|r| r.status.as_ref().is_some_and(|s| s.phase == RecordPhase::Abandoned)).count(), 2, "{records:?}");
    // Once it was carried out, no later object runs it again.
    world.move_group(&group, &topic, 5).await;
    world.delete("p").await;
    world.apply("p", &group, with(ask("r1", "Earliest"), "whenCreated", json!("Run"))).await;
    let later = world.reaches("p", "r1", Stage::Skipped, "AlreadyHandled").await;
    assert_eq!(reset(&later).record_ref, reset(&status).record_ref);
    world.decides_twice("p").await;
    assert_eq!(world.offset(&group, &topic).await, Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn d7_what_git_applies_over_an_edit_by_hand_is_what_git_says() {
    let world = World::without_operator("d7").await;
    let spec = |reset: Value, ca: &str| {
        let mut spec = json!({ "kafka": { "bootstrapServers": [world.bootstrap], "consumerGroup": "g" }, "offsetReset": reset });
        spec["kafka"]["tls"] = json!({ "ca": { ca: { "name": "ca" } } });
        json!({ "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": { "name": "p" }, "spec": spec })
    };
    let git = |manifest: Value| {
        let api = world.untyped();
        async move { api.patch("p", &PatchParams::apply("git").force(), &Patch::Apply(manifest)).await }
    };
    git(spec(ask("r1", "Earliest"), "secretKeyRef")).await.expect("the first time");
    // `kubectl edit` sets another target, another source of the CA, and an unknown field.
    let by_hand = PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
    let edit = json!({ "spec": {
        "kafka": { "tls": { "ca": { "secretKeyRef": null, "configMapKeyRef": { "name": "mine" } } } },
        "offsetReset": { "to": { "position": null, "shiftBy": -5, "unheardOf": 1 } }
    } });
    let edited = world.untyped().patch("p", &by_hand, &Patch::Merge(edit)).await.expect("an edit by hand");
    assert_eq!(
        edited.data["spec"]["offsetReset"]["to"],
        json!({ "shiftBy": -5, "unheardOf": 1 }),
        "the target, where unknown fields are kept"
    );
    // Git applies its manifest again: there is one target, and it is Git's.
    let merged = git(spec(ask("r2", "Latest"), "secretKeyRef")).await.expect("Git's manifest has one target");
    assert_eq!(merged.data["spec"]["offsetReset"]["to"], json!({ "position": "Latest" }));
    assert_eq!(merged.data["spec"]["kafka"]["tls"]["ca"], json!({ "secretKeyRef": { "name": "ca" } }));
    // Without force it is a conflict over the target as a whole.
    let git = PatchParams::apply("another");
    let refused = world.untyped().patch("p", &git, &Patch::Apply(spec(ask("r3", "Earliest"), "secretKeyRef"))).await;
    let refused = refused.expect_err("two managers").to_string();
    assert!(
        refused.contains(".spec.offsetReset.to") && !refused.contains(".spec.offsetReset.to.position"),
        "expected a conflict over the target as a whole: {refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_whose_next_edit_is_of_the_way_and_not_of_the_target_stays_green() {
    let world = World::new("edits").await;
    let (_, group) = world.known_at_7_of_10("p").await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    world.verified("p", "r1").await;
    for (field, value) in
        [("waitTimeout", json!("10m")), ("whenActive", json!("Fail")), ("dryRun", json!(false)), ("outOfRange", json!("Fail"))]
    {
        world.apply("p", &group, with(ask("r1", "Earliest"), field, value)).await;
        world.wait("p", "the edit to be observed", is_over).await;
        eventually("it to be green", LIMIT, async || {
            if world.is_green("p") && world.is_current("p").await { Ok(()) } else { Err(field.to_owned()) }
        })
        .await;
        world.verified("p", "r1").await;
    }
    assert_eq!(world.all_records().await.len(), 1);
}
