//! E05: the platform answers 61168, after which nobody knows whether the reset was carried out.

use serde_json::{Value, json};
use stream_pipeline_api::{RecordPhase, Stage};
use testbed::enos::{Call, Fault, Kind, Options, When};

use crate::support::enos::{EnosWorld, ID, pipeline};
use crate::support::status::{assert_has, reset, says};
use crate::support::world::LOG_EVERY_LOOK;

/// The reset is answered 61168, before or after it was carried out: it is held, and not repeated unless asked.
async fn average_rate(test: &str, when: When, effects: u64) {
    let mut enos = EnosWorld::with_flags(test, Options::default(), &[LOG_EVERY_LOOK]).await;
    enos.sim.add(pipeline(1, "cleaning", "PAUSED"));
    enos.sim.fault(Fault::new(Call::Reset, when, Kind::Code(61168, None)).times(9));
    enos.run("p", enos.spec(ID), Value::Null).await;
    let held = enos.world.reaches("p", "r1", Stage::Held, "AverageRateUnavailable").await;
    let error = reset(&held).error.as_ref().expect("an error");
    assert_eq!((error.code, error.retryable), (Some(61168), false));
    assert!(error.message.starts_with("61168: "), "{}", error.message);
    assert_has(&error.message, &["Failed to get the Kafka average rate.", "lag", "EnOS console", "onUnknownOutcome: Retry", "new id"]);
    assert_eq!((says(&held, "Ready").0, says(&held, "Stalled").0, says(&held, "OffsetsReset").0), ("False", "True", "Unknown"));
    let status = enos.world.only_record().await.status.expect("closed");
    assert_eq!((status.phase, status.code), (RecordPhase::Held, Some(61168)));
    enos.world.looks("p", 4).await;
    assert_eq!((enos.reset_calls(), enos.sim.resets(ID)), (1, effects), "resets that were called, and carried out");

    // Asked to retry while the pipeline runs, it waits.
    enos.sim.set_status(ID, "RUNNING");
    enos.apply("p", ID, json!({ "id": "r1", "whenCreated": "Run", "onUnknownOutcome": "Retry" })).await;
    let waits = enos.world.wait("p", "the retry to wait", |s| says(s, "Ready").2.contains("Retry waits")).await;
    assert_eq!(reset(&waits).stage, Stage::Held);
    enos.world.wait("p", "why the retry waits", |s| says(s, "Ready").2.contains("RUNNING")).await;
    enos.world.looks("p", 3).await;
    assert_eq!(enos.reset_calls(), 1, "resets, where a retry waits for a pause");

    // Paused again, it is sent once more, and no third time.
    enos.sim.set_status(ID, "PAUSED");
    enos.world.wait("p", "the second attempt to be held", |s| reset(s).stage == Stage::Held && reset(s).attempts == Some(2)).await;
    assert_eq!(enos.reset_calls(), 2);
    enos.world.looks("p", 4).await;
    assert_eq!((enos.reset_calls(), enos.sim.resets(ID)), (2, 2 * effects), "resets that were called, and carried out");
    enos.sim.clear_faults();
    enos.apply("p", ID, json!({ "id": "r2" })).await;
    enos.sent("p", "r2").await;
    assert_eq!((enos.reset_calls(), enos.sim.resets(ID)), (3, 2 * effects + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn e05_61168_instead_of_the_reset_is_held_and_retried_once_where_asked() {
    average_rate("e05a", When::Before, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e05_61168_after_the_reset_is_held_and_retried_once_where_asked() {
    average_rate("e05b", When::After, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e05_a_retry_that_succeeds_is_attempt_2() {
    let enos = EnosWorld::with("e05c", "STOPPED").await;
    enos.sim.fault(Fault::new(Call::Reset, When::Before, Kind::Code(61168, None)));
    enos.run("p", enos.spec(ID), json!({ "onUnknownOutcome": "Retry" })).await;
    let sent = enos.sent("p", "r1").await;
    assert_eq!((reset(&sent).attempts, enos.reset_calls(), enos.sim.resets(ID)), (Some(2), 2, 1));
    assert!(reset(&sent).error.is_none(), "expected no error: {sent:?}");
    let all = enos.sim.calls();
    let at: Vec<_> = all.iter().filter(|c| c.call == Call::Reset).map(|c| c.at).collect();
    let apart = at[1].duration_since(at[0]).expect("in order");
    assert!(apart.as_millis() >= 900, "with a delay for the platform to recover: {apart:?}");
}
