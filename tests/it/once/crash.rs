//! O10 to O22: the operator is killed at each point where that matters, at the very call, by a proxy that stops it.

use kube::api::DeleteParams;
use serde_json::json;
use stream_pipeline_operator::api::{RecordPhase, Stage};
use testbed::consumer::Consumer;
use testbed::kafka;
use testbed::proxy::OFFSET_COMMIT;
use testbed::trap::Side;

use crate::support::proxied::{Wired, records};
use crate::support::world::{reset, says};

const SIGTERM: i32 = 15;

#[tokio::test(flavor = "multi_thread")]
async fn o10_killed_after_the_record_nothing_was_sent_and_nothing_is() {
    let mut wired = Wired::new("o10a").await;
    wired.traps.arm(Side::After, |call| records(call, "POST"));
    wired.ask().await;
    wired.traps.sprung().await;
    wired.crash();
    wired.held().await;
    assert_eq!(wired.commits(), 0);
    // A person decides for a new id: the record is closed, so it runs.
    wired.world.apply("p", &wired.group, json!({ "id": "r2", "quietPeriod": "0s", "to": { "position": "Latest" } })).await;
    wired.world.verified("p", "r2").await;
    assert_eq!(wired.offsets().await, [Some(10), Some(10), Some(10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_killed_between_plan_and_send_is_held_and_retry_sends_the_same_numbers_once() {
    let mut wired = Wired::new("o10b").await;
    wired.traps.arm(Side::Before, |call| call == OFFSET_COMMIT);
    wired.ask().await;
    wired.traps.sprung().await;
    wired.crash();
    let status = wired.held().await;
    assert_eq!(reset(&status).attempts, Some(1));
    wired
        .world
        .apply("p", &wired.group, json!({ "id": "r1", "quietPeriod": "0s", "to": { "position": "Earliest" }, "onUnknownOutcome": "Retry" }))
        .await;
    let status = wired.world.verified("p", "r1").await;
    assert_eq!(reset(&status).attempts, Some(2));
    assert_eq!(wired.offsets().await, [Some(0), Some(0), Some(0)]);
    assert_eq!(wired.commits(), 2, "the one that was stopped, and the retry");
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_killed_after_the_commit_is_verified_by_looking() {
    let mut wired = Wired::new("o10c").await;
    wired.traps.arm(Side::After, |call| call == OFFSET_COMMIT);
    wired.ask().await;
    wired.traps.sprung().await;
    wired.crash();
    wired.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_killed_before_the_close_is_verified_by_looking() {
    let mut wired = Wired::new("o10d").await;
    wired.traps.arm(Side::Before, |call| records(call, "PATCH") && call.ends_with("/status"));
    wired.ask().await;
    wired.traps.sprung().await;
    wired.crash();
    wired.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o12_another_tool_moves_the_group_between_plan_and_send_and_between_send_and_read_back() {
    let mut wired = Wired::new("o12").await;
    wired.restart_with(&["--call-deadline=60s"]);
    let direct = wired.world.bootstrap.clone();
    // The answer to the plan's write is stopped for a moment: the second look must see what happened meanwhile.
    wired.traps.arm(Side::After, |call| records(call, "POST"));
    wired.ask().await;
    wired.traps.sprung().await;
    kafka::commit(&direct, &wired.group, &[(&wired.topic, 1, 3, "")]).await;
    wired.traps.release();
    let status = wired.world.verified("p", "r1").await;
    assert_eq!(
        wired.world.record(&status).await.spec.plan.expect("a plan").topics[0].from,
        [7, 3, 9],
        "planned anew from where it was moved"
    );
    assert_eq!(wired.commits(), 1);
    // After the send: held, and not repeated.
    wired.traps.arm(Side::After, |call| call == OFFSET_COMMIT);
    wired.world.apply("p", &wired.group, json!({ "id": "r2", "quietPeriod": "0s", "to": { "position": "Latest" } })).await;
    wired.traps.sprung().await;
    kafka::commit(&direct, &wired.group, &[(&wired.topic, 1, 4, "")]).await;
    wired.traps.release();
    let status = wired.world.reaches("p", "r2", Stage::Held, "OffsetsMoved").await;
    assert!(
        says(&status, "Ready").2.contains("2 of 3 partitions at their target, 0 as before, 1 elsewhere"),
        "{}",
        says(&status, "Ready").2
    );
    assert_eq!(wired.offsets().await, [Some(10), Some(4), Some(10)]);
    assert_eq!(wired.commits(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_a_member_that_joins_after_the_second_look_is_refused_by_the_broker_and_nothing_is_half_done() {
    let mut wired = Wired::new("a10").await;
    wired.restart_with(&["--call-deadline=60s"]);
    let direct = wired.world.bootstrap.clone();
    wired.traps.arm(Side::Before, |call| call == OFFSET_COMMIT);
    wired.ask().await;
    wired.traps.sprung().await;
    let member = Consumer::classic(&direct, &wired.group, &wired.topic, "late-comer");
    member.wait().await;
    wired.traps.release();
    let status = wired.world.reaches("p", "r1", Stage::Waiting, "GroupActive").await;
    assert!(says(&status, "PipelineInactive").2.contains("late-comer") || says(&status, "Ready").2.contains("25"), "{status:?}");
    assert_eq!(wired.offsets().await, [Some(7), Some(8), Some(9)], "nothing was written");
    assert_eq!(wired.world.all_records().await[0].spec.plan, None, "the plan is unloaded");
    member.stop().await;
    wired.world.verified("p", "r1").await;
    assert_eq!(wired.offsets().await, [Some(0), Some(0), Some(0)]);
    assert_eq!(wired.world.all_records().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_after_the_send_reads_back_and_closes_before_the_end() {
    let mut wired = Wired::new("drain").await;
    wired.restart_with(&["--call-deadline=60s"]);
    wired.traps.arm(Side::After, |call| call == OFFSET_COMMIT);
    wired.ask().await;
    wired.traps.sprung().await;
    let operator = wired.operator.as_mut().expect("an operator");
    operator.signal(SIGTERM);
    wired.traps.release();
    let status = tokio::task::block_in_place(|| operator.terminate());
    assert!(status.success(), "{status}");
    // Nobody runs any more, and the record is closed.
    let records = wired.world.all_records().await;
    assert_eq!(records[0].status.as_ref().map(|s| s.phase), Some(RecordPhase::Verified));
    assert_eq!(wired.commits(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_of_one_reset_are_few_and_counted() {
    let wired = Wired::new("calls").await;
    let before = wired.traps.seen().len();
    wired.ask().await;
    wired.verified().await;
    let calls = wired.traps.seen().split_off(before);
    let (api, broker): (Vec<String>, Vec<String>) = calls.into_iter().partition(|call| call.contains('/'));
    println!("API calls of one reset: {api:#?}");
    println!("broker requests of one reset, by API key: {broker:?}");
    let writes: Vec<_> = api.iter().filter(|c| !c.starts_with("GET") && !c.starts_with("WATCH")).collect();
    assert!(writes.len() <= 4, "record, its close, status, event: {writes:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn o15_a_record_in_doubt_whose_object_is_gone_is_judged_by_who_waits_for_its_group() {
    let mut wired = Wired::new("o15d").await;
    wired.traps.arm(Side::After, |call| records(call, "POST"));
    wired.ask().await;
    wired.traps.sprung().await;
    wired.kill();
    wired.world.pipelines().delete("p", &DeleteParams::default()).await.expect("it can be deleted");
    wired.restart_with(&[]);
    let ask = json!({ "id": "q1", "quietPeriod": "0s", "whenCreated": "Run", "to": { "position": "Latest" } });
    wired.world.apply("q", &wired.group, ask).await;
    wired.world.reaches("q", "q1", Stage::Waiting, "AnotherResetOpen").await;
    wired.world.verified("q", "q1").await;
    assert_eq!(wired.offsets().await, [Some(10), Some(10), Some(10)]);
    assert_eq!(wired.commits(), 1, "nothing was sent for the one that is gone");
    let mut phases: Vec<_> = wired.world.all_records().await.into_iter().map(|r| (r.spec.request.id, r.status.map(|s| s.phase))).collect();
    phases.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(phases, [("q1".to_owned(), Some(RecordPhase::Verified)), ("r1".to_owned(), Some(RecordPhase::Held))]);
}
