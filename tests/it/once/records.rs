//! O20, O21, O34: records that people edit or delete, a consumer that reads again to where it was, an installation that the operator does
//! not see.

use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use stream_pipeline_api::{RecordPhase, Stage};
use testbed::consumer::Consumer;
use testbed::trap::Side;
use testbed::{eventually, kafka, offsets_topic};

use crate::support::calls::{closes_record, creates_record, is_commit};
use crate::support::proxied::ProxiedWorld;
use crate::support::requests::{ask, with};
use crate::support::status::{assert_has, says};
use crate::support::world::{LIMIT, PATIENT, World};

#[tokio::test(flavor = "multi_thread")]
async fn o20_a_record_that_a_person_edits_is_refused() {
    let world = World::new("o20").await;
    let (_, _, record) = world.reset_once("p").await;
    let mut topics = serde_json::to_value(&record.spec.plan.as_ref().expect("a plan").topics).expect("rows");
    topics[0]["to"] = json!([3]);
    let immutable = "immutable but for plan and writer";
    let edits = [
        (json!({ "request": { "id": "r2" } }), immutable),
        (json!({ "request": { "to": { "position": "Latest" } } }), immutable),
        (json!({ "pipeline": { "uid": "565c0114-0000-4372-86d1-000000000000" } }), immutable),
        (json!({ "backend": { "consumerGroup": "another" } }), immutable),
        (json!({ "createdAt": "2026-01-01T00:00:00Z" }), immutable),
        (json!({ "deadline": "2099-01-01T00:00:00Z" }), immutable),
        (json!({ "runStateBefore": { "running": true } }), immutable),
        (json!({ "plan": { "topics": topics } }), "never changed"),
    ];
    for (edit, says) in edits {
        let patch = Patch::Merge(json!({ "spec": edit }));
        let answer = world.records().patch(&record.name_any(), &PatchParams::default(), &patch).await;
        let refusal = answer.expect_err("it is refused").to_string();
        assert!(refusal.contains(says), "{edit}: {refusal}");
    }
    let kept = world.records().get(&record.name_any()).await.expect("it is there");
    assert_eq!(kept, record);
    // Who may ask for resets may only read records.
    let may = |verb: &str, what: &str| {
        let role = format!("{}.{}.edit", testbed::SYSTEM_NAMESPACE, testbed::RELEASE);
        let role: Value =
            serde_json::from_slice(&world.testbed.kubectl(&["get", "clusterrole", &role, "-o", "json"]).stdout).expect("a role");
        let has = |list: &Value, word: &str| list.as_array().is_some_and(|all| all.iter().any(|w| w == word));
        role["rules"].as_array().is_some_and(|all| all.iter().any(|r| has(&r["resources"], what) && has(&r["verbs"], verb)))
    };
    assert!(may("update", "streampipelines") && !may("update", "offsetresetrecords") && !may("update", "offsetresetrecords/status"));
}

#[tokio::test(flavor = "multi_thread")]
async fn o20_a_record_deleted_after_it_was_sent_is_missed_and_nothing_is_sent_again() {
    let mut proxied = ProxiedWorld::new("o20s").await;
    // The close is never answered, so that the status says that it was sent.
    proxied.ask_and_stop(Side::Before, closes_record).await;
    proxied
        .world
        .wait("p", "the status to say that it was sent", |s| s.offset_reset.as_ref().is_some_and(|r| r.stage == Stage::Sending))
        .await;
    assert_eq!(proxied.landed().await, [[0, 0, 0]]);
    proxied.kill();
    let record = proxied.world.all_records().await.remove(0);
    assert!(record.status.is_none(), "the record must be open");
    proxied.world.records().delete(&record.name_any(), &DeleteParams::default()).await.expect("it can be deleted");
    kafka::commit(&proxied.world.bootstrap, &proxied.group, &[(&proxied.topic, 0, 5, "")]).await;
    proxied.restart_with(&[]);
    let status = proxied.world.reaches("p", "r1", Stage::Held, "RecordMissing").await;
    assert_eq!((says(&status, "Stalled").0, says(&status, "OffsetsReset").0), ("True", "Unknown"));
    assert_has(says(&status, "Ready").2, &["it is not planned again"]);
    // Neither an edit nor onUnknownOutcome: Retry runs it again.
    let retry = with(ask("r1", "Earliest"), "onUnknownOutcome", json!("Retry"));
    proxied.world.apply("p", &proxied.group, retry).await;
    proxied.world.decides_twice("p").await;
    proxied.world.reaches("p", "r1", Stage::Held, "RecordMissing").await;
    assert_eq!(proxied.offsets().await, [Some(5), Some(0), Some(0)]);
    assert!(proxied.world.all_records().await.is_empty());
    assert_eq!(proxied.commits(), 1);
    proxied.ask_for("r2", "Latest").await;
    proxied.world.verified("p", "r2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o20_a_record_deleted_under_the_process_that_sent_it_or_after_its_close_brings_no_second_reset() {
    let proxied = ProxiedWorld::new("o20d").await;
    // While its close is under way.
    proxied.ask_and_stop(Side::Before, closes_record).await;
    let record = proxied.world.all_records().await.remove(0);
    proxied
        .world
        .wait("p", "the status to say that it was sent", |s| s.offset_reset.as_ref().is_some_and(|r| r.stage == Stage::Sending))
        .await;
    proxied.world.records().delete(&record.name_any(), &DeleteParams::default()).await.expect("it can be deleted");
    proxied.traps.release();
    proxied.world.reaches("p", "r1", Stage::Held, "RecordMissing").await;
    proxied.world.decides_twice("p").await;
    assert_eq!(proxied.commits(), 1);
    // After its close.
    proxied.ask_for("r2", "Latest").await;
    let status = proxied.world.verified("p", "r2").await;
    let record = proxied.world.record(&status).await;
    proxied.world.records().delete(&record.name_any(), &DeleteParams::default()).await.expect("it can be deleted");
    kafka::commit(&proxied.world.bootstrap, &proxied.group, &[(&proxied.topic, 0, 5, "")]).await;
    for position in ["Latest", "Earliest", "Latest"] {
        proxied.ask_for("r2", position).await;
        proxied.world.decides_twice("p").await;
        proxied.world.verified("p", "r2").await;
    }
    assert_eq!(proxied.offsets().await, [Some(5), Some(10), Some(10)]);
    assert_eq!(proxied.commits(), 2);
    assert!(proxied.world.all_records().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn o21_a_consumer_that_replays_to_the_very_snapshot_is_not_rewound_again() {
    let mut proxied = ProxiedWorld::new("o21").await;
    // A quiet topic. Both times the same consumer reads it to its end, so that its commits are the same to the leader epoch.
    let end = [Some(10), Some(10), Some(10)];
    let (direct, group, topic) = (proxied.world.bootstrap.clone(), proxied.group.clone(), proxied.topic.clone());
    let at = async || kafka::offsets(&direct, &group, &topic, 3).await;
    let reads_to_the_end = async || {
        let consumer = Consumer::committing(&direct, &group, &topic, "o21-reads", "earliest", 1000);
        eventually("the consumer to read to the end", LIMIT, async || match at().await {
            now if now == end => Ok(()),
            now => Err(format!("{now:?}")),
        })
        .await;
        consumer.stop().await;
    };
    reads_to_the_end().await;
    proxied.ask_and_stop(Side::After, is_commit).await;
    proxied.kill();
    assert_eq!(at().await, [Some(0), Some(0), Some(0)], "offsets after the commit");
    reads_to_the_end().await;
    proxied.restart_with(&[]);
    let status = proxied.world.reaches("p", "r1", Stage::Held, "OutcomeUnknown").await;
    assert_has(says(&status, "Ready").2, &["0 of 3 partitions at their target, 3 as before, 0 elsewhere"]);
    proxied.world.decides_twice("p").await;
    proxied.restart_with(&[]);
    proxied.world.decides_twice("p").await;
    let rewinds = async || {
        let landed = offsets_topic::landed(&direct, &group).await;
        landed.values().map(|offsets| offsets.iter().filter(|offset| **offset == 0).count()).max()
    };
    assert_eq!(
        (proxied.commits(), rewinds().await, at().await),
        (1, Some(1), end.to_vec()),
        "commits, rewinds and offsets, where one rewind was made"
    );
    // Only onUnknownOutcome: Retry sends it again.
    let retry = with(ask("r1", "Earliest"), "onUnknownOutcome", json!("Retry"));
    proxied.world.apply("p", &proxied.group, retry).await;
    proxied.world.verified("p", "r1").await;
    assert_eq!((proxied.commits(), rewinds().await), (2, Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn o34_what_an_installation_that_is_not_seen_does_to_the_group_is_seen_as_another_tool() {
    let mut proxied = ProxiedWorld::new("o34").await;
    proxied.restart_with(&PATIENT);
    // With a namespace and an operator of its own, which see nothing of the first one's records, nor it of theirs.
    let mut other = World::without_operator("o34b").await;
    other.bootstrap = proxied.world.bootstrap.clone();
    other.start_operator();
    other.known("p", &proxied.group).await;
    let resets = async |id: &str, to: Value| {
        other.apply("p", &proxied.group, json!({ "id": id, "quietPeriod": "0s", "to": to })).await;
        other.verified("p", id).await
    };
    // Between the first one's plan and its send.
    proxied.ask_and_stop(Side::After, creates_record).await;
    resets("b1", json!({ "position": "Latest" })).await;
    assert_eq!(proxied.offsets().await, [Some(10), Some(10), Some(10)]);
    let sent = proxied.commits();
    assert_eq!(sent, 0);
    proxied.traps.release();
    let status = proxied.world.verified("p", "r1").await;
    let record = proxied.world.record(&status).await;
    let plan = record.spec.plan.expect("a plan");
    assert_eq!(
        (plan.topics[0].from.as_slice(), record.spec.writer.map(|w| w.number)),
        (&[10, 10, 10][..], Some(2)),
        "the offsets that the plan starts from, and its number"
    );
    assert_eq!(proxied.landed().await, [[10, 10, 10], [0, 0, 0]]);
    // Between its send and its look at what came of it.
    proxied.traps.arm(Side::After, is_commit);
    proxied.ask_for("r2", "Latest").await;
    proxied.traps.sprung().await;
    resets("b2", json!({ "shiftBy": -4 })).await;
    proxied.traps.release();
    let status = proxied.world.reaches("p", "r2", Stage::Held, "OffsetsMoved").await;
    assert_has(says(&status, "Ready").2, &["0 of 3 partitions at their target, 0 as before, 3 elsewhere"]);
    proxied.world.decides_twice("p").await;
    assert_eq!(
        proxied.landed().await,
        [[10, 10, 10], [0, 0, 0], [10, 10, 10], [6, 6, 6]],
        "commits that landed, the last by the other installation"
    );
    assert_eq!(proxied.world.record(&status).await.status.map(|s| s.phase), Some(RecordPhase::Held));
    assert_eq!((proxied.world.all_records().await.len(), other.all_records().await.len()), (2, 2));
}
