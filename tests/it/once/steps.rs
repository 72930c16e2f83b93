//! O20, O24: a plan that is exchanged in two steps, and an id that fifty others came after.

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use stream_pipeline_api::{RecordPhase, Stage};
use testbed::trap::Side;

use crate::support::calls::is_commit;
use crate::support::proxied::ProxiedWorld;
use crate::support::requests::{ask, with};
use crate::support::status::{assert_has, says};
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn o20_a_plan_exchanged_in_two_steps_is_refused_and_never_sent() {
    let mut proxied = ProxiedWorld::new("o20x").await;
    proxied.ask_and_stop(Side::Before, is_commit).await;
    proxied.crash();
    let status = proxied.held().await;
    let record = proxied.world.record(&status).await;
    let mut topics = serde_json::to_value(&record.spec.plan.as_ref().expect("a plan").topics).expect("rows");
    topics[0]["to"] = json!([9_000_000_000_i64, 9_000_000_000_i64, 9_000_000_000_i64]);
    let edit = async |plan: serde_json::Value| {
        let patch = Patch::Merge(json!({ "spec": { "plan": plan } }));
        proxied.world.records().patch(&record.name_any(), &PatchParams::default(), &patch).await
    };
    edit(json!(null)).await.expect("it may be dropped");
    let refusal = edit(json!({ "topics": topics })).await.expect_err("nothing is put in its place").to_string();
    assert_has(refusal, &["of a closed record may be dropped, never put there"]);
    let refusal = edit(json!(record.spec.plan)).await.expect_err("not the same either").to_string();
    assert_has(refusal, &["of a closed record may be dropped, never put there"]);
    let retry = with(ask("r1", "Earliest"), "onUnknownOutcome", json!("Retry"));
    proxied.world.apply("p", &proxied.group, retry).await;
    let told = proxied.world.wait("p", "the plan to be missed", |s| {
        s.offset_reset.as_ref().is_some_and(|r| r.error.as_ref().is_some_and(|e| e.message.contains("not the one it was closed with")))
    });
    let status = told.await;
    assert_eq!((says(&status, "Stalled").0, proxied.offsets().await), ("True", vec![Some(7), Some(8), Some(9)]));
    assert!(proxied.landed().await.is_empty(), "commits, where nothing was sent");
    let record = proxied.world.record(&status).await;
    assert_eq!(
        (record.status.map(|s| (s.phase, s.attempt)), record.spec.writer.map(|w| w.attempt)),
        (Some((RecordPhase::Held, 1)), Some(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn o24_of_fifty_ended_ids_none_runs_and_one_before_them_is_known_by_its_record() {
    let world = World::new("o24-50").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    for id in ["oldest", "before"] {
        world.apply("p", &group, ask(id, "Earliest")).await;
        world.verified("p", id).await;
    }
    // As if 49 other requests had ended in between.
    let mut ended = vec!["oldest".to_owned()];
    ended.extend((1..50).map(|n| format!("x{n}")));
    let patch = Patch::Merge(json!({ "status": { "endedIDs": ended } }));
    world.untyped().patch_status("p", &PatchParams::default(), &patch).await.expect("the status takes fifty");
    world.apply("p", &group, ask("last", "Latest")).await;
    let status = world.verified("p", "last").await;
    ended.remove(0);
    ended.push("before".to_owned());
    assert_eq!(status.ended_ids, ended, "the newest fifty ids that have ended");
    world.move_group(&group, &topic, 5).await;
    for (id, stage, reason) in [("oldest", Stage::Verified, "ResetVerified"), ("x25", Stage::Skipped, "AlreadyHandled")] {
        world.apply("p", &group, ask(id, "Earliest")).await;
        world.reaches("p", id, stage, reason).await;
        world.decides_twice("p").await;
        assert_eq!(world.offset(&group, &topic).await, Some(5), "{id}");
    }
    assert_eq!(world.all_records().await.len(), 3);
}
