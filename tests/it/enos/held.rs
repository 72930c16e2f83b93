//! E05, E12, O19 on EnOS: a held request whose pipeline the operator keeps paused, and every way out of it.

use kube::ResourceExt;
use serde_json::{Value, json};
use stream_pipeline_api::{RecordPhase, Stage};
use testbed::enos::{Call, Fault, Kind, When};

use crate::support::enos::{EnosWorld, ID, pause};
use crate::support::requests::with;
use crate::support::status::{assert_has, condition, has_reason, reset, says};

#[tokio::test(flavor = "multi_thread")]
async fn o19_held_stays_paused_over_a_restart_and_is_brought_back_when_the_id_is_removed() {
    let mut enos = EnosWorld::running("o19a", &[]).await;
    let status = enos.held().await;
    assert!(reset(&status).paused_by_operator.is_some());
    assert_has(says(&status, "Ready").2, &["61168: ", "onUnknownOutcome: Retry"]);
    enos.restart();
    enos.calls(Call::List, 5).await;
    assert_eq!((enos.sim.status(ID).as_str(), enos.changes()), ("PAUSED", [1, 1, 0, 0]));
    let name = enos.world.only_record().await.name_any();
    enos.apply("p", ID, Value::Null).await;
    enos.brought_back("p", &name).await;
    let status = enos.world.nothing_requested("p").await;
    assert_eq!(reset(&status).stage, Stage::Held, "the last result must stay in the status");
    assert_eq!(reset(&status).paused_by_operator, None, "when the operator paused it");
    assert_eq!(enos.changes(), [1, 1, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn o19_a_new_id_has_the_old_one_brought_back_first() {
    let enos = EnosWorld::running("o19b", &[]).await;
    enos.held().await;
    let old = enos.world.only_record().await.name_any();
    enos.apply("p", ID, pause("r2")).await;
    // Whether the first one was carried out is not known, so what moved the position is not either.
    let status = enos.world.reaches("p", "r2", Stage::Sent, "Unproven").await;
    assert_has(says(&status, "Ready").2, &[&format!("the reset of record {old} may have moved it")]);
    assert_eq!(enos.changes(), [2, 2, 2, 0], "{status:?}");
    let calls: Vec<Call> =
        enos.sim.calls().iter().map(|c| c.call).filter(|c| matches!(c, Call::Pause | Call::Reset | Call::Start)).collect();
    assert_eq!(calls, [Call::Pause, Call::Reset, Call::Start, Call::Pause, Call::Reset, Call::Start]);
    enos.brought_back("p", &old).await;
    assert_eq!(enos.world.record_named(&old).await.status.map(|s| s.phase), Some(RecordPhase::Held));
}

#[tokio::test(flavor = "multi_thread")]
async fn e05_o19_retry_sends_once_more_from_the_same_record_and_brings_it_back() {
    let enos = EnosWorld::running("o19c", &[]).await;
    enos.held().await;
    let name = enos.world.only_record().await.name_any();
    enos.apply("p", ID, with(pause("r1"), "onUnknownOutcome", json!("Retry"))).await;
    let status = enos.world.verified("p", "r1").await;
    assert_eq!(reset(&status).attempts, Some(2));
    let record = enos.world.only_record().await;
    assert_eq!((record.name_any(), record.spec.writer.map(|w| w.attempt)), (name.clone(), Some(2)));
    enos.brought_back("p", &name).await;
    assert_eq!(enos.changes(), [1, 2, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn e06_o19_a_retry_that_is_not_answered_either_is_held_and_not_sent_a_third_time() {
    let enos = EnosWorld::running("o19d", &[]).await;
    enos.sim.fault(Fault::new(Call::Reset, When::After, Kind::Drop).times(2));
    enos.apply("p", ID, with(pause("r1"), "onUnknownOutcome", json!("Retry"))).await;
    let status = enos.world.wait("p", "the second attempt to be held", |s| {
        s.offset_reset.as_ref().is_some_and(|r| r.stage == Stage::Held && r.attempts == Some(2))
    });
    let status = status.await;
    assert_eq!(says(&status, "Ready").1, "OutcomeUnknown");
    assert!(!says(&status, "Ready").2.contains("Retry"), "expected no advice to retry once more: {status:?}");
    enos.calls(Call::List, 5).await;
    assert_eq!((enos.sim.status(ID).as_str(), enos.changes()), ("PAUSED", [1, 2, 0, 0]));
    let name = enos.world.only_record().await.name_any();
    enos.apply("p", ID, Value::Null).await;
    enos.brought_back("p", &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e06_an_answer_that_is_lost_is_waited_out_and_held() {
    let enos = EnosWorld::running("e06", &[]).await;
    enos.sim.fault(Fault::new(Call::Reset, When::After, Kind::Drop));
    enos.apply("p", ID, pause("r1")).await;
    let status = enos.world.reaches("p", "r1", Stage::Held, "OutcomeUnknown").await;
    assert_has(says(&status, "Ready").2, &["not known whether the reset was carried out"]);
    enos.calls(Call::List, 5).await;
    assert_eq!((enos.sim.status(ID).as_str(), enos.changes()), ("PAUSED", [1, 1, 0, 0]));
    assert_eq!(enos.world.finalizers("p").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn e12_paused_for_long_is_warned_about_until_it_is_brought_back() {
    let enos = EnosWorld::running("e12", &["--pause-warning=2s"]).await;
    enos.held().await;
    let status = enos.world.wait("p", "the warning", |s| condition(s, "PauseLimitNear").is_some()).await;
    let (on, reason, message) = says(&status, "PauseLimitNear");
    assert_eq!((on, reason), ("True", "PauseLimitNear"));
    assert_has(message, &["of the 24 h the platform documents about 24 h are left"]);
    assert!(enos.world.warned("p", "PauseLimitNear").await.contains("24 h"));
    let version = enos.world.resource_version("p").await;
    enos.calls(Call::List, 5).await;
    assert_eq!(enos.world.resource_version("p").await, version, "the object's version after the warning");
    let name = enos.world.only_record().await.name_any();
    enos.apply("p", ID, Value::Null).await;
    enos.brought_back("p", &name).await;
    enos.world
        .wait("p", "the warning to go", |s| condition(s, "PauseLimitNear").is_none() && has_reason(s, "Ready", "NothingRequested"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_by_somebody_while_the_operator_held_it_paused_stays_stopped() {
    let enos = EnosWorld::running("theirs", &[]).await;
    enos.held().await;
    enos.sim.set_status(ID, "STOPPED");
    let name = enos.world.only_record().await.name_any();
    enos.apply("p", ID, Value::Null).await;
    enos.world.brought_back(&name).await;
    enos.world.nothing_requested("p").await;
    enos.calls(Call::List, 3).await;
    assert_eq!((enos.sim.status(ID).as_str(), enos.changes()), ("STOPPED", [1, 1, 0, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn started_by_somebody_while_held_is_not_called_paused_any_more() {
    let enos = EnosWorld::running("started", &[]).await;
    enos.held().await;
    enos.sim.set_status(ID, "RUNNING");
    let status =
        enos.world.wait("p", "the pause to be over", |s| s.offset_reset.as_ref().is_some_and(|r| r.paused_by_operator.is_none())).await;
    assert_eq!(reset(&status).stage, Stage::Held);
    assert_eq!(enos.changes(), [1, 1, 0, 0]);
}
