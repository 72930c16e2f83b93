//! O10, O15: the operator is killed while a proxy stops one of its calls.

use std::time::{Duration, Instant};

use serde_json::json;
use stream_pipeline_api::{RecordPhase, Stage};
use testbed::eventually;
use testbed::trap::Side;

use crate::support::calls::{closes_record, creates_record, is_commit};
use crate::support::proxied::ProxiedWorld;
use crate::support::requests::ask;
use crate::support::status::reset;
use crate::support::world::LIMIT;

#[tokio::test(flavor = "multi_thread")]
async fn o10_killed_after_the_record_nothing_was_sent_and_nothing_is() {
    let mut proxied = ProxiedWorld::new("o10a").await;
    proxied.ask_and_stop(Side::After, creates_record).await;
    proxied.crash();
    proxied.held().await;
    assert_eq!(proxied.commits(), 0);
    // The record is closed, so a new id runs.
    proxied.world.apply("p", &proxied.group, ask("r2", "Latest")).await;
    proxied.world.verified("p", "r2").await;
    assert_eq!(proxied.offsets().await, [Some(10), Some(10), Some(10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_killed_between_plan_and_send_is_held_and_retry_sends_the_same_numbers_once() {
    let mut proxied = ProxiedWorld::new("o10b").await;
    proxied.ask_and_stop(Side::Before, is_commit).await;
    proxied.crash();
    let status = proxied.held().await;
    assert_eq!(reset(&status).attempts, Some(1));
    proxied
        .world
        .apply(
            "p",
            &proxied.group,
            json!({ "id": "r1", "quietPeriod": "0s", "to": { "position": "Earliest" }, "onUnknownOutcome": "Retry" }),
        )
        .await;
    let status = proxied.world.verified("p", "r1").await;
    assert_eq!(reset(&status).attempts, Some(2));
    assert_eq!(proxied.offsets().await, [Some(0), Some(0), Some(0)]);
    assert_eq!(proxied.commits(), 2, "commits: the stopped one and the retry");
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_killed_after_the_commit_is_verified_by_looking() {
    let mut proxied = ProxiedWorld::new("o10c").await;
    proxied.ask_and_stop(Side::After, is_commit).await;
    proxied.crash();
    proxied.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_killed_before_the_close_is_verified_by_looking() {
    let mut proxied = ProxiedWorld::new("o10d").await;
    proxied.ask_and_stop(Side::Before, closes_record).await;
    proxied.crash();
    proxied.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_of_one_reset_are_few_and_counted() {
    let proxied = ProxiedWorld::new("calls").await;
    let made = Instant::now();
    // An object made a moment ago waits for an older one that may still come, which is told by a status of its own.
    let settled = || if made.elapsed() > Duration::from_secs(3) { Ok(()) } else { Err("it is new".to_owned()) };
    eventually("the object to be older than two seconds", LIMIT, async || settled()).await;
    let before = proxied.traps.seen().len();
    proxied.ask().await;
    proxied.verified().await;
    let calls = proxied.traps.seen().split_off(before);
    let (api, broker): (Vec<String>, Vec<String>) = calls.into_iter().partition(|call| call.contains('/'));
    println!("API calls of one reset: {api:#?}");
    println!("broker requests of one reset, by API key: {broker:?}");
    let writes: Vec<_> = api.iter().filter(|c| !c.starts_with("GET") && !c.starts_with("WATCH")).collect();
    assert!(writes.len() <= 4, "record, its close, status, event: {writes:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn o15_a_record_in_doubt_whose_object_is_gone_is_judged_by_who_waits_for_its_group() {
    let mut proxied = ProxiedWorld::new("o15d").await;
    proxied.ask_and_stop(Side::After, creates_record).await;
    proxied.kill();
    proxied.world.ask_to_delete("p").await;
    proxied.restart_with(&[]);
    let ask = json!({ "id": "q1", "quietPeriod": "0s", "whenCreated": "Run", "to": { "position": "Latest" } });
    proxied.world.apply("q", &proxied.group, ask).await;
    proxied.world.reaches("q", "q1", Stage::Waiting, "AnotherResetOpen").await;
    proxied.world.verified("q", "q1").await;
    assert_eq!(proxied.offsets().await, [Some(10), Some(10), Some(10)]);
    assert_eq!(proxied.commits(), 1, "commits, where nothing was sent for the deleted object");
    let mut phases: Vec<_> =
        proxied.world.all_records().await.into_iter().map(|r| (r.spec.request.id, r.status.map(|s| s.phase))).collect();
    phases.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(phases, [("q1".to_owned(), Some(RecordPhase::Verified)), ("r1".to_owned(), Some(RecordPhase::Held))]);
}
