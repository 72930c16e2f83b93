//! O23: a plan that is sent in three chunks, with a fault between them and during one.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use stream_pipeline_operator::api::{OffsetResetRecord, RecordPhase, Stage, StreamPipelineStatus};
use testbed::consumer::Consumer;
use testbed::proxy::OFFSET_COMMIT;
use testbed::trap::Side;

use crate::support::proxied::{Wired, records};
use crate::support::world::says;

/// One partition a chunk.
async fn wired(test: &str) -> Wired {
    let mut wired = Wired::new(test).await;
    wired.restart_with(&["--chunk-size=1"]);
    wired
}

/// The record's chunk, and how it was closed.
fn stands(record: &OffsetResetRecord) -> (Option<i32>, Option<RecordPhase>) {
    (record.spec.writer.as_ref().map(|w| w.chunk), record.status.as_ref().map(|s| s.phase))
}

fn announces(call: &str) -> bool {
    records(call, "PATCH") && !call.ends_with("/status")
}

async fn held(wired: &Wired, reason: &str, words: &[&str]) -> StreamPipelineStatus {
    let status = wired.world.reaches("p", "r1", Stage::Held, reason).await;
    let message = says(&status, "Ready").2;
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn o23_three_chunks_are_three_commits_under_one_record() {
    let wired = wired("o23a").await;
    wired.ask().await;
    let status = wired.world.verified("p", "r1").await;
    assert_eq!(wired.offsets().await, [Some(0), Some(0), Some(0)]);
    assert_eq!(wired.commits(), 3);
    let record = wired.world.record(&status).await;
    assert_eq!(stands(&record), (Some(3), Some(RecordPhase::Verified)));
    assert_eq!(record.spec.plan.and_then(|p| p.chunk_size), Some(1));
    assert_eq!(wired.world.all_records().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn o23_killed_between_chunks_is_held_and_retry_sends_what_is_left() {
    let mut wired = wired("o23b").await;
    wired.traps.arm(Side::Before, announces);
    wired.ask().await;
    wired.traps.sprung().await;
    assert_eq!(wired.offsets().await, [Some(0), Some(8), Some(9)]);
    // The next process has another chunk size: what is recorded counts.
    wired.crash();
    let status = held(&wired, "OutcomeUnknown", &["chunk 1 of 3", "1 of 3 partitions at their target, 2 as before, 0 elsewhere"]).await;
    assert_eq!(stands(&wired.world.record(&status).await), (Some(1), Some(RecordPhase::Held)));
    assert_eq!(wired.commits(), 1, "nothing more is sent");
    let retry = json!({ "id": "r1", "quietPeriod": "0s", "to": { "position": "Earliest" }, "onUnknownOutcome": "Retry" });
    wired.world.apply("p", &wired.group, retry).await;
    let status = wired.world.verified("p", "r1").await;
    assert_eq!(wired.offsets().await, [Some(0), Some(0), Some(0)]);
    assert_eq!(wired.commits(), 3, "the first chunk stands, so it is not sent again");
    assert_eq!(stands(&wired.world.record(&status).await), (Some(3), Some(RecordPhase::Verified)));
}

/// Kills the operator when the commit of chunk `n` was done and before it is answered.
async fn killed_in_chunk(wired: &mut Wired, n: usize) {
    let count = AtomicUsize::new(0);
    wired.traps.arm(Side::After, move |call| call == OFFSET_COMMIT && count.fetch_add(1, Ordering::Relaxed) + 1 >= n);
    wired.ask().await;
    wired.traps.sprung().await;
    wired.crash();
}

#[tokio::test(flavor = "multi_thread")]
async fn o23_killed_in_the_second_chunk_only_that_one_is_in_doubt_and_nothing_more_is_sent() {
    let mut wired = wired("o23c").await;
    killed_in_chunk(&mut wired, 2).await;
    let status = held(&wired, "OutcomeUnknown", &["chunk 2 of 3", "2 of 3 partitions at their target, 1 as before, 0 elsewhere"]).await;
    assert_eq!(stands(&wired.world.record(&status).await), (Some(2), Some(RecordPhase::Held)));
    assert_eq!(wired.offsets().await, [Some(0), Some(0), Some(9)]);
    assert_eq!(wired.commits(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn o23_killed_in_the_last_chunk_is_verified_by_looking() {
    let mut wired = wired("o23d").await;
    killed_in_chunk(&mut wired, 3).await;
    let status = wired.world.verified("p", "r1").await;
    assert_eq!(stands(&wired.world.record(&status).await), (Some(3), Some(RecordPhase::Verified)));
    assert_eq!(wired.commits(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn o23_a_member_that_joins_between_chunks_ends_it_partly_applied_and_nothing_is_unloaded() {
    let mut wired = Wired::new("o23e").await;
    wired.restart_with(&["--chunk-size=1", "--call-deadline=60s"]);
    wired.traps.arm(Side::Before, announces);
    wired.ask().await;
    wired.traps.sprung().await;
    let member = Consumer::classic(&wired.world.bootstrap, &wired.group, &wired.topic, "between");
    member.wait().await;
    wired.traps.release();
    let status = held(&wired, "PartlyApplied", &["chunk 2 of 3 was not sent", "1 of 3 partitions at their target"]).await;
    let record = wired.world.record(&status).await;
    assert_eq!(stands(&record), (Some(2), Some(RecordPhase::Held)));
    assert!(record.spec.plan.is_some(), "the plan stays");
    assert_eq!(wired.commits(), 1);
    member.stop().await;
    wired.world.passes("p").await;
    assert_eq!(wired.commits(), 1, "also when the member has gone");
}
