//! O03, O17, O24, O25, O31: a backup, a clone, a revert in Git, a forged status or a forced replacement runs nothing a second time.

use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use stream_pipeline_api::{Reason, RecordPhase, Stage, StreamPipeline};
use testbed::consumer::Consumer;
use testbed::trap::Side;

use crate::support::calls::creates_record;
use crate::support::proxied::ProxiedWorld;
use crate::support::requests::{ask, from_now, with};
use crate::support::status::{assert_has, assert_skipped, reset, says};
use crate::support::world::{PATIENT, World};

/// As a backup tool keeps it, without its status.
fn backup(mut object: StreamPipeline) -> StreamPipeline {
    object.status = None;
    let kept = &object.metadata;
    object.metadata = kube::api::ObjectMeta { name: kept.name.clone(), labels: kept.labels.clone(), ..Default::default() };
    object
}

async fn put_back(world: &World, object: &StreamPipeline) -> StreamPipeline {
    world.pipelines().create(&PostParams::default(), object).await.expect("the object is put back")
}

/// Writes a status as only the operator's account and an administrator may.
async fn forge(world: &World, name: &str, status: Value) {
    let params = PatchParams::default();
    world.pipelines().patch_status(name, &params, &Patch::Merge(json!({ "status": status }))).await.expect("the status is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn o03_an_object_restored_without_its_status_is_not_run_again() {
    let mut world = World::new("o03").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    let request = with(ask("r1", "Earliest"), "whenCreated", json!("Run"));
    world.apply("p", &group, request).await;
    let status = world.verified("p", "r1").await;
    let record = world.record(&status).await;
    let kept = backup(world.pipelines().get("p").await.expect("it is there"));
    world.move_group(&group, &topic, 5).await;
    // Deleted and put back while the operator runs, and while it does not.
    for away in [false, true] {
        if away {
            world.kill_operator();
        }
        world.delete("p").await;
        let restored = put_back(&world, &kept).await;
        assert_eq!(restored.status.as_ref().and_then(|s| s.observed_uid.as_ref()), None);
        if away {
            world.start_operator();
        }
        let status = world.reaches("p", "r1", Stage::Skipped, "AlreadyHandled").await;
        assert_has(says(&status, "Ready").2, &[&record.name_any()]);
        assert_eq!(status.observed_uid, restored.uid());
        world.decides_twice("p").await;
        assert_eq!(world.offset(&group, &topic).await, Some(5), "away: {away}");
    }
    let all = world.all_records().await;
    assert_eq!((all.len(), all[0].resource_version()), (1, record.resource_version()));
}

#[tokio::test(flavor = "multi_thread")]
async fn o03_the_status_of_an_object_is_lost_and_its_record_tells_the_result() {
    let mut world = World::new("o03s").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let done = world.verified("p", "r1").await;
    world.kill_operator();
    world.move_group(&group, &topic, 5).await;
    let mut object = world.pipelines().get("p").await.expect("it is there");
    object.status = None;
    let bare = world.pipelines().replace_status("p", &PostParams::default(), &object).await.expect("the status is taken away");
    assert!(bare.status.is_none_or(|s| s.observed_uid.is_none()), "the status must be empty");
    world.start_operator();
    let told = world.verified("p", "r1").await;
    assert_eq!((&reset(&told).record_ref, reset(&told).completed_at), (&reset(&done).record_ref, reset(&done).completed_at));
    world.decides_twice("p").await;
    assert_eq!(world.offset(&group, &topic).await, Some(5));
    assert_eq!(world.all_records().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn o03_an_object_restored_in_the_middle_of_its_reset_leaves_the_plan_unsent() {
    let mut proxied = ProxiedWorld::new("o03m").await;
    proxied.ask_and_stop(Side::After, creates_record).await;
    proxied.kill();
    let kept = backup(proxied.world.pipelines().get("p").await.expect("it is there"));
    proxied.world.delete("p").await;
    put_back(&proxied.world, &kept).await;
    proxied.restart_with(&[]);
    let status = proxied.world.reaches("p", "r1", Stage::Skipped, "AlreadyHandled").await;
    assert_has(says(&status, "Ready").2, &["(Held)"]);
    proxied.world.decides_twice("p").await;
    assert_eq!(proxied.commits(), 0, "commits, where nothing was sent");
    let all = proxied.world.all_records().await;
    assert_eq!(
        all.iter().map(|r| r.status.as_ref().map(|s| (s.phase, s.reason))).collect::<Vec<_>>(),
        [Some((RecordPhase::Held, Reason::OutcomeUnknown))]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn o17_an_object_cloned_to_another_name_or_namespace_with_its_request_is_skipped() {
    let world = World::new("o17").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    world.verified("p", "r1").await;
    let source = world.pipelines().get("p").await.expect("it is there");
    world.move_group(&group, &topic, 5).await;
    // The original is deleted, so that it is not why the clone does not run.
    world.delete("p").await;
    let mut clone = backup(source.clone());
    clone.metadata.name = Some("clone".to_owned());
    let elsewhere = World::new("o17e").await;
    for (at, object) in [(&world, &clone), (&elsewhere, &backup(source.clone()))] {
        let name = object.name_any();
        put_back(at, object).await;
        // With the status of the original, as some tools bring it along.
        let status = serde_json::to_value(&source.status).expect("a status");
        forge(at, &name, status).await;
        assert_skipped(&at.reaches(&name, "r1", Stage::Skipped, "SkippedAtCreation").await);
        assert!(at.warned(&name, "SkippedAtCreation").await.contains("a restored or copied manifest moves nothing"));
        at.decides_twice(&name).await;
        assert_skipped(&at.reaches(&name, "r1", Stage::Skipped, "SkippedAtCreation").await);
        assert_eq!(world.offset(&group, &topic).await, Some(5), "{name}");
        at.delete(&name).await;
    }
    assert_eq!(world.all_records().await.len(), 1, "records, where only the original has one");
    assert!(elsewhere.all_records().await.is_empty());
    // A new id on the clone runs.
    put_back(&elsewhere, &backup(source)).await;
    elsewhere.reaches("p", "r1", Stage::Skipped, "SkippedAtCreation").await;
    elsewhere.apply("p", &group, ask("r2", "Earliest")).await;
    elsewhere.verified("p", "r2").await;
    assert_eq!(world.offset(&group, &topic).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn o24_a_revert_to_an_earlier_id_whose_record_is_gone_runs_nothing() {
    let mut world = World::new("o24").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    // A skipped request without a record, one whose plan is dropped from the record, one whose record is deleted, and the last one.
    world.apply("p", &group, ask("skipped", "Earliest")).await;
    assert_skipped(&world.reaches("p", "skipped", Stage::Skipped, "SkippedAtCreation").await);
    for (id, position) in [("pruned", "Earliest"), ("gone", "Latest"), ("last", "Earliest")] {
        world.apply("p", &group, ask(id, position)).await;
        world.verified("p", id).await;
    }
    world.move_group(&group, &topic, 5).await;
    world.kill_operator();
    let all = world.all_records().await;
    let named = |id: &str| all.iter().find(|r| r.spec.request.id == id).expect("its record").name_any();
    let table = Patch::Merge(json!({ "spec": { "plan": null, "writer": null } }));
    world.records().patch(&named("pruned"), &PatchParams::default(), &table).await.expect("the table can be dropped");
    for id in ["gone", "last"] {
        world.records().delete(&named(id), &DeleteParams::default()).await.expect("it can be deleted");
    }
    world.start_operator();
    let position = |id: &str| if id == "gone" { "Latest" } else { "Earliest" };
    let ends = [
        ("gone", Stage::Skipped, "AlreadyHandled"),
        ("pruned", Stage::Verified, "ResetVerified"),
        ("skipped", Stage::Skipped, "AlreadyHandled"),
        ("last", Stage::Skipped, "AlreadyHandled"),
        ("gone", Stage::Skipped, "AlreadyHandled"),
    ];
    for (id, stage, reason) in ends {
        world.apply("p", &group, ask(id, position(id))).await;
        let status = world.reaches("p", id, stage, reason).await;
        assert_eq!(says(&status, "Ready").0, "True");
        assert!(
            reason != "AlreadyHandled" || says(&status, "Ready").2.contains("A new id asks again"),
            "expected advice to use a new id: {status:?}"
        );
        world.decides_twice("p").await;
        assert_eq!(world.offset(&group, &topic).await, Some(5), "{id}");
    }
    assert_eq!(world.all_records().await.len(), 1, "records");
    world.apply("p", &group, ask("new", "Earliest")).await;
    let status = world.verified("p", "new").await;
    assert_eq!(world.offset(&group, &topic).await, Some(0));
    assert_eq!(status.ended_ids, ["pruned", "skipped", "last", "gone"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn o25_a_restored_or_forged_status_is_never_acted_upon() {
    let mut world = World::new("o25").await;
    let topic = world.topic(&[10]).await;
    // The record of another pipeline, whose plan must not be sent.
    let other = world.group(&topic, &[7]).await;
    world.known("other", &other).await;
    world.apply("other", &other, ask("r1", "Earliest")).await;
    let others = world.record(&world.verified("other", "r1").await).await.name_any();
    let plan = json!({ "partitions": 99, "replayed": 4711, "skipped": 0, "lagAfter": 1, "averageRate": 1.0 });
    let forged = |stage: &str, more: Value| {
        let mut last = json!({ "id": "r1", "stage": stage, "acceptedAt": "2026-01-01T00:00:00Z", "deadline": "2026-01-02T00:00:00Z", "plan": plan,
            "recordRef": { "name": others }, "attempts": 1, "pausedByOperator": "2026-01-01T00:00:00Z" });
        for (key, value) in more.as_object().into_iter().flatten() {
            last[key] = value.clone();
        }
        last
    };
    let retry = with(ask("r1", "Latest"), "onUnknownOutcome", json!("Retry"));
    let late = with(ask("r1", "Latest"), "waitTimeout", json!("1m"));
    // Name, forged stage, request, whether the status has the object's own uid, and the end.
    let cases = [
        ("sending", "Sending", ask("r1", "Latest"), true, (Stage::Held, "RecordMissing")),
        ("pausing", "Pausing", ask("r1", "Latest"), true, (Stage::Held, "RecordMissing")),
        ("held", "Held", retry, true, (Stage::Held, "Forged")),
        ("verified", "Verified", ask("r1", "Latest"), true, (Stage::Verified, "Forged")),
        ("waiting", "Waiting", late, true, (Stage::Failed, "WaitTimedOut")),
        ("restored", "Sending", ask("r1", "Latest"), false, (Stage::Skipped, "SkippedAtCreation")),
        ("waited", "Waiting", ask("r1", "Latest"), false, (Stage::Skipped, "SkippedAtCreation")),
    ];
    world.kill_operator();
    let mut groups = Vec::new();
    for (name, stage, request, own, _) in &cases {
        let group = world.group(&topic, &[7]).await;
        let object = world.apply(name, &group, request.clone()).await;
        let uid = if *own { object.uid().expect("a uid") } else { "565c0114-0000-4372-86d1-000000000000".to_owned() };
        let ready = json!({ "type": "Ready", "status": "False", "reason": "Forged", "message": "made up", "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let status = json!({ "observedUID": uid, "acknowledgedID": "r1", "observedGeneration": 1, "offsetReset": forged(stage, Value::Null), "conditions": [ready] });
        forge(&world, name, status).await;
        groups.push(group);
    }
    world.start_operator();
    for ((name, _, _, _, (stage, reason)), group) in cases.iter().zip(&groups) {
        if *reason != "Forged" {
            world.reaches(name, "r1", *stage, reason).await;
        }
        world.decides_twice(name).await;
        let status = world.wait(name, "its stage", |s| s.offset_reset.as_ref().is_some_and(|r| r.stage == *stage)).await;
        if *reason != "Forged" {
            assert_ne!(reset(&status).record_ref.as_ref().map(|r| r.name.clone()), Some(others.clone()), "{name}");
        }
        assert_eq!(world.offset(group, &topic).await, Some(7), "{name}: nothing is sent");
    }
    assert_eq!(world.all_records().await.len(), 1, "records, where only the other pipeline has one");
    // The next request makes its own plan and record; nothing of the forged status is used.
    world.apply("sending", &groups[0], ask("r2", "Latest")).await;
    let status = world.verified("sending", "r2").await;
    assert_eq!(reset(&status).plan.as_ref().map(|p| (p.partitions, p.replayed, p.skipped)), Some((1, 0, 3)));
    assert_ne!(world.record(&status).await.name_any(), others);
    assert_eq!(world.offset(&groups[0], &topic).await, Some(10));
    assert_eq!(world.offset(&other, &topic).await, Some(0), "the offset of the other pipeline");
}

#[tokio::test(flavor = "multi_thread")]
async fn o31_replaced_by_force_while_it_waits_it_runs_once() {
    let world = World::new("o31").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "o31-member");
    member.wait().await;
    let run = with(ask("r1", "Earliest"), "whenCreated", json!("Run"));
    for _ in 0..2 {
        world.apply("p", &group, run.clone()).await;
        world.reaches("p", "r1", Stage::Waiting, "GroupActive").await;
        assert!(world.all_records().await.is_empty(), "expected no record of a request that did not run");
        world.delete("p").await;
    }
    world.apply("p", &group, run.clone()).await;
    world.reaches("p", "r1", Stage::Waiting, "GroupActive").await;
    member.stop().await;
    world.verified("p", "r1").await;
    assert_eq!(world.offset(&group, &topic).await, Some(0));
    world.move_group(&group, &topic, 5).await;
    // Replaced once more after it ran: it does not run again.
    world.delete("p").await;
    world.apply("p", &group, run).await;
    world.reaches("p", "r1", Stage::Skipped, "AlreadyHandled").await;
    world.decides_twice("p").await;
    assert_eq!(world.offset(&group, &topic).await, Some(5));
    assert_eq!(world.all_records().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn o31_replaced_by_force_between_its_record_and_its_send_it_runs_once() {
    let mut proxied = ProxiedWorld::new("o31r").await;
    proxied.restart_with(&PATIENT);
    let run = with(ask("r1", "Earliest"), "whenCreated", json!("Run"));
    proxied.world.delete("p").await;
    proxied.traps.arm(Side::After, creates_record);
    proxied.world.apply("p", &proxied.group, with(run.clone(), "expiresAt", from_now(3600))).await;
    proxied.traps.sprung().await;
    proxied.world.delete("p").await;
    proxied.world.apply("p", &proxied.group, run).await;
    proxied.traps.release();
    // The record says that nothing was sent for the deleted object, so the request runs.
    let status = proxied.world.verified("p", "r1").await;
    proxied.world.decides_twice("p").await;
    assert_eq!((proxied.commits(), proxied.landed().await), (1, vec![vec![0, 0, 0]]));
    let own = proxied.world.record(&status).await;
    let given_up = proxied.world.all_records().await.into_iter().filter(|r| r.name_any() != own.name_any());
    let ends: Vec<_> = given_up.map(|r| r.status.map(|s| (s.phase, s.reason))).collect();
    assert_eq!(ends, [Some((RecordPhase::Abandoned, Reason::NoLongerRequested))]);
}
