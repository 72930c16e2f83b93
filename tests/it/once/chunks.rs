//! O23: a plan that is sent in three chunks, with a fault between them and during one.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use stream_pipeline_api::{OffsetResetRecord, RecordPhase, Stage, StreamPipelineStatus};
use testbed::consumer::Consumer;
use testbed::trap::Side;

use crate::support::calls::{changes_record, is_commit};
use crate::support::proxied::ProxiedWorld;
use crate::support::status::says;

/// An operator that sends one partition in each chunk.
async fn one_partition_a_chunk(test: &str) -> ProxiedWorld {
    let mut proxied = ProxiedWorld::new(test).await;
    proxied.restart_with(&["--chunk-size=1"]);
    proxied
}

/// The record's chunk, and how it was closed.
fn stands(record: &OffsetResetRecord) -> (Option<i32>, Option<RecordPhase>) {
    (record.spec.writer.as_ref().map(|w| w.chunk), record.status.as_ref().map(|s| s.phase))
}

async fn held(proxied: &ProxiedWorld, reason: &str, words: &[&str]) -> StreamPipelineStatus {
    let status = proxied.world.reaches("p", "r1", Stage::Held, reason).await;
    let message = says(&status, "Ready").2;
    assert!(words.iter().all(|word| message.contains(word)), "expected each of {words:?}: {message}");
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn o23_three_chunks_are_three_commits_under_one_record() {
    let proxied = one_partition_a_chunk("o23a").await;
    proxied.ask().await;
    let status = proxied.world.verified("p", "r1").await;
    assert_eq!(proxied.offsets().await, [Some(0), Some(0), Some(0)]);
    assert_eq!(proxied.commits(), 3);
    let record = proxied.world.record(&status).await;
    assert_eq!(stands(&record), (Some(3), Some(RecordPhase::Verified)));
    assert_eq!(record.spec.plan.and_then(|p| p.chunk_size), Some(1));
    assert_eq!(proxied.world.all_records().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn o23_killed_between_chunks_is_held_and_retry_sends_what_is_left() {
    let mut proxied = one_partition_a_chunk("o23b").await;
    proxied.ask_and_stop(Side::Before, changes_record).await;
    assert_eq!(proxied.offsets().await, [Some(0), Some(8), Some(9)]);
    // The next process has another chunk size: the one in the record counts.
    proxied.crash();
    let status = held(&proxied, "OutcomeUnknown", &["chunk 1 of 3", "1 of 3 partitions at their target, 2 as before, 0 elsewhere"]).await;
    assert_eq!(stands(&proxied.world.record(&status).await), (Some(1), Some(RecordPhase::Held)));
    assert_eq!(proxied.commits(), 1, "commits that were sent");
    let retry = json!({ "id": "r1", "quietPeriod": "0s", "to": { "position": "Earliest" }, "onUnknownOutcome": "Retry" });
    proxied.world.apply("p", &proxied.group, retry).await;
    let status = proxied.world.verified("p", "r1").await;
    assert_eq!(proxied.offsets().await, [Some(0), Some(0), Some(0)]);
    assert_eq!(proxied.commits(), 3, "commits, where the first chunk is not sent again");
    assert_eq!(stands(&proxied.world.record(&status).await), (Some(3), Some(RecordPhase::Verified)));
}

/// Kills the operator when the commit of chunk `n` was done and before it is answered.
async fn killed_in_chunk(proxied: &mut ProxiedWorld, n: usize) {
    let count = AtomicUsize::new(0);
    proxied.ask_and_stop(Side::After, move |call| is_commit(call) && count.fetch_add(1, Ordering::Relaxed) + 1 >= n).await;
    proxied.crash();
}

#[tokio::test(flavor = "multi_thread")]
async fn o23_killed_in_the_second_chunk_only_that_one_is_in_doubt_and_nothing_more_is_sent() {
    let mut proxied = one_partition_a_chunk("o23c").await;
    killed_in_chunk(&mut proxied, 2).await;
    let status = held(&proxied, "OutcomeUnknown", &["chunk 2 of 3", "2 of 3 partitions at their target, 1 as before, 0 elsewhere"]).await;
    assert_eq!(stands(&proxied.world.record(&status).await), (Some(2), Some(RecordPhase::Held)));
    assert_eq!(proxied.offsets().await, [Some(0), Some(0), Some(9)]);
    assert_eq!(proxied.commits(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn o23_killed_in_the_last_chunk_is_verified_by_looking() {
    let mut proxied = one_partition_a_chunk("o23d").await;
    killed_in_chunk(&mut proxied, 3).await;
    let status = proxied.world.verified("p", "r1").await;
    assert_eq!(stands(&proxied.world.record(&status).await), (Some(3), Some(RecordPhase::Verified)));
    assert_eq!(proxied.commits(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn o23_a_member_that_joins_between_chunks_ends_it_partly_applied_and_nothing_is_unloaded() {
    let mut proxied = ProxiedWorld::new("o23e").await;
    proxied.restart_with(&["--chunk-size=1", "--call-deadline=60s"]);
    proxied.ask_and_stop(Side::Before, changes_record).await;
    let member = Consumer::classic(&proxied.world.bootstrap, &proxied.group, &proxied.topic, "between");
    member.wait().await;
    proxied.traps.release();
    let status = held(&proxied, "PartlyApplied", &["chunk 2 of 3 was not sent", "1 of 3 partitions at their target"]).await;
    let record = proxied.world.record(&status).await;
    assert_eq!(stands(&record), (Some(2), Some(RecordPhase::Held)));
    assert!(record.spec.plan.is_some(), "expected the plan to stay in the record");
    assert_eq!(proxied.commits(), 1);
    member.stop().await;
    proxied.world.decides_twice("p").await;
    assert_eq!(proxied.commits(), 1, "commits after the member has left");
}
