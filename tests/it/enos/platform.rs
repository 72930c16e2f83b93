//! What the platform says of a pipeline: states, names, pages, shapes of answers (E03, E04, E05, E14, E15, E16), and many at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stream_pipeline_operator::api::{Phase, RecordPhase, Stage};
use testbed::enos::{Call, Fault, Kind, ORGANISATION, Options, Pipeline, When};
use testbed::eventually;
use tokio::task::JoinSet;

use crate::support::enos::{Enos, ID, id};
use crate::support::observing::CHATTY;
use crate::support::world::{LIMIT, condition, reset, says};

fn pipeline(n: usize, name: &str, status: &str) -> Pipeline {
    Pipeline::new(ORGANISATION, &id(n), name, status).series(400_000, 1_000_000)
}

/// Waits that nothing but looks is called.
fn only_looks(enos: &Enos) {
    let calls = enos.sim.calls();
    let other: Vec<_> = calls.iter().filter(|c| !matches!(c.call, Call::TokenGet | Call::List | Call::Details | Call::Lag)).collect();
    assert!(other.is_empty(), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn e03_published_failed_and_unknown_states_are_waited_for_and_nothing_is_called() {
    let enos = Enos::new("e03", Options::default()).await;
    for (n, name, status, reason, phase, advice) in [
        (1, "published", "PUBLISHED", "PipelineNotStartedYet", Phase::NotStarted, "Start and stop it"),
        (2, "failed", "Run Error", "PipelineFailed", Phase::Failed, "in the console, then stop it"),
        (3, "error", "RUN_ERROR", "PipelineFailed", Phase::Failed, "in the console, then stop it"),
        (4, "odd", "MIGRATING", "PipelineStatusUnknown", Phase::Unknown, "\"MIGRATING\""),
        (5, "silent", "", "PipelineStatusUnknown", Phase::Unknown, "no state"),
    ] {
        enos.sim.add(pipeline(n, name, status));
        // Even where it is to be paused: only a running one is.
        enos.run(name, enos.spec(&id(n)), json!({ "whenActive": "Pause" })).await;
        let waits = enos.world.reaches(name, "r1", Stage::Waiting, reason).await;
        assert_eq!(waits.phase, Some(phase), "{status}");
        let (inactive, why, _) = says(&waits, "PipelineInactive");
        assert_eq!((inactive, why), ("False", reason));
        assert_eq!(says(&waits, "BackendReachable").0, "True", "the platform did answer");
        assert_eq!((says(&waits, "Reconciling").0, says(&waits, "OffsetsReset").0), ("True", "False"));
        assert!(says(&waits, "Ready").2.contains(advice), "{waits:?}");
        assert!(says(&waits, "Ready").2.contains("Waits until"), "{waits:?}");
    }
    enos.calls(Call::List, 3).await;
    only_looks(&enos);
    assert!(enos.world.all_records().await.is_empty(), "nothing is on record before something can be done");
    for (n, name) in [(1, "published"), (2, "failed"), (3, "error"), (4, "odd"), (5, "silent")] {
        enos.sim.set_status(&id(n), "PAUSED");
        enos.sent(name, "r1").await;
        assert_eq!(enos.sim.resets(&id(n)), 1, "{name}");
    }
    assert_eq!((enos.reset_calls(), enos.sim.count(Call::Pause), enos.sim.count(Call::Start)), (5, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn d1_what_is_to_be_corrected_in_a_new_object_runs_in_one() {
    let enos = Enos::with("d1e", "PAUSED").await;
    enos.run("p", enos.spec(&id(7)), Value::Null).await;
    let failed = enos.world.reaches("p", "r1", Stage::Failed, "PipelineNotFound").await;
    assert!(says(&failed, "Ready").2.contains("Correct spec.enos in a new object"), "{failed:?}");
    enos.world.delete("p").await;
    enos.run("p", enos.spec(ID), Value::Null).await;
    enos.sent("p", "r1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e04_a_pipeline_missing_from_the_list_is_61108() {
    let enos = Enos::new("e04a", Options::default()).await;
    enos.run("p", enos.spec(ID), Value::Null).await;
    let failed = enos.world.reaches("p", "r1", Stage::Failed, "PipelineNotFound").await;
    assert_eq!(failed.phase, Some(Phase::NotFound));
    let error = reset(&failed).error.as_ref().expect("an error");
    assert_eq!((error.code, error.retryable), (Some(61108), false));
    assert!(error.message.starts_with("61108: ") && error.message.contains(ID), "{}", error.message);
    let (ready, _, message) = says(&failed, "Ready");
    assert!(ready == "False" && message.starts_with("61108: ") && message.contains("in a new object"), "{message}");
    assert_eq!((says(&failed, "Stalled").0, says(&failed, "OffsetsReset").0), ("True", "False"));
    assert_eq!(says(&failed, "BackendReachable").0, "True");
    assert!(enos.world.all_records().await.is_empty() && reset(&failed).record_ref.is_none(), "nothing was sent, nothing is on record");
    only_looks(&enos);
    // Somebody releases it. The id has ended; a new one asks again.
    enos.sim.add(pipeline(1, "cleaning", "PAUSED"));
    enos.world.wait("p", "the phase", |s| s.phase == Some(Phase::Paused)).await;
    assert_eq!(enos.reset_calls(), 0);
    enos.apply("p", ID, json!({ "id": "r2" })).await;
    enos.sent("p", "r2").await;
    assert_eq!(enos.sim.resets(ID), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn e04_a_reset_answered_61108_ends_the_request_and_its_record_is_abandoned() {
    let enos = Enos::with("e04b", "PAUSED").await;
    enos.sim.fault(Fault::new(Call::Reset, When::Before, Kind::Code(61108, None)));
    enos.run("p", enos.spec(ID), Value::Null).await;
    let failed = enos.world.reaches("p", "r1", Stage::Failed, "PipelineNotFound").await;
    let error = reset(&failed).error.as_ref().expect("an error");
    assert_eq!((error.code, error.retryable), (Some(61108), false));
    assert!(error.message.starts_with("61108: Reset Pipeline Offset was refused"), "{}", error.message);
    assert!(error.message.contains("Stream processing job does not exit."), "the platform's own words: {}", error.message);
    let status = enos.record().await.status.expect("closed");
    assert_eq!((status.phase, status.code), (RecordPhase::Abandoned, Some(61108)));
    assert_eq!((enos.reset_calls(), enos.sim.resets(ID)), (1, 0));
    enos.apply("p", ID, json!({ "id": "r2" })).await;
    enos.sent("p", "r2").await;
    assert_eq!((enos.reset_calls(), enos.sim.resets(ID)), (2, 1));
}

/// 61168 from the reset, before or after its effect: held, and never repeated unasked.
async fn average_rate(test: &str, when: When, effects: u64) {
    let mut enos = Enos::with_flags(test, Options::default(), &[CHATTY]).await;
    enos.sim.add(pipeline(1, "cleaning", "PAUSED"));
    enos.sim.fault(Fault::new(Call::Reset, when, Kind::Code(61168, None)).times(9));
    enos.run("p", enos.spec(ID), Value::Null).await;
    let held = enos.world.reaches("p", "r1", Stage::Held, "AverageRateUnavailable").await;
    let error = reset(&held).error.as_ref().expect("an error");
    assert_eq!((error.code, error.retryable), (Some(61168), false));
    assert!(error.message.starts_with("61168: "), "{}", error.message);
    for part in ["Failed to get the Kafka average rate.", "lag", "EnOS console", "onUnknownOutcome: Retry", "new id"] {
        assert!(error.message.contains(part), "{part}: {}", error.message);
    }
    assert_eq!((says(&held, "Ready").0, says(&held, "Stalled").0, says(&held, "OffsetsReset").0), ("False", "True", "Unknown"));
    let status = enos.record().await.status.expect("closed");
    assert_eq!((status.phase, status.code), (RecordPhase::Held, Some(61168)));
    enos.world.looks("p", 4).await;
    assert_eq!((enos.reset_calls(), enos.sim.resets(ID)), (1, effects), "not repeated");

    // Asked to send it once more, while it runs: it waits.
    enos.sim.set_status(ID, "RUNNING");
    enos.apply("p", ID, json!({ "id": "r1", "whenCreated": "Run", "onUnknownOutcome": "Retry" })).await;
    let waits = enos.world.wait("p", "the retry to wait", |s| says(s, "Ready").2.contains("Retry waits")).await;
    assert_eq!(reset(&waits).stage, Stage::Held);
    enos.world.wait("p", "why the retry waits", |s| says(s, "Ready").2.contains("RUNNING")).await;
    enos.world.looks("p", 3).await;
    assert_eq!(enos.reset_calls(), 1, "not while it runs");

    // Paused again: once more, and that is all.
    enos.sim.set_status(ID, "PAUSED");
    enos.world.wait("p", "the second attempt to be held", |s| reset(s).stage == Stage::Held && reset(s).attempts == Some(2)).await;
    assert_eq!(enos.reset_calls(), 2);
    enos.world.looks("p", 4).await;
    assert_eq!((enos.reset_calls(), enos.sim.resets(ID)), (2, 2 * effects), "never a third");
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
    let enos = Enos::with("e05c", "STOPPED").await;
    enos.sim.fault(Fault::new(Call::Reset, When::Before, Kind::Code(61168, None)));
    enos.run("p", enos.spec(ID), json!({ "onUnknownOutcome": "Retry" })).await;
    let sent = enos.sent("p", "r1").await;
    assert_eq!((reset(&sent).attempts, enos.reset_calls(), enos.sim.resets(ID)), (Some(2), 2, 1));
    assert!(reset(&sent).error.is_none(), "{sent:?}");
    let all = enos.sim.calls();
    let at: Vec<_> = all.iter().filter(|c| c.call == Call::Reset).map(|c| c.at).collect();
    let apart = at[1].duration_since(at[0]).expect("in order");
    assert!(apart.as_millis() >= 900, "with a delay for the platform to recover: {apart:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn e14_pages_of_any_size_and_count_are_read_to_the_end() {
    for (test, page, count_is_page) in [("e14a", None, false), ("e14b", Some(7), true), ("e14c", Some(7), false), ("e14d", None, true)] {
        let options = Options { max_page_size: page, count_is_page, ..Options::default() };
        let enos = Enos::new(test, options).await;
        for n in 1..=120 {
            enos.sim.add(pipeline(n, &format!("p{n}"), "PAUSED"));
        }
        // The last one, by its id and by its name.
        enos.run("by-id", enos.spec(&id(120)), Value::Null).await;
        enos.sent("by-id", "r1").await;
        let mut spec = enos.spec(ID);
        spec["pipelineName"] = json!("p119");
        spec.as_object_mut().expect("an object").remove("pipelineID");
        enos.run("by-name", spec, Value::Null).await;
        enos.sent("by-name", "r1").await;
        assert_eq!((enos.sim.resets(&id(120)), enos.sim.resets(&id(119)), enos.reset_calls()), (1, 1, 2), "{test}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e14_a_list_that_changes_while_it_is_read_is_read_again_or_not_believed() {
    let enos = Enos::new("e14s", Options::default()).await;
    for n in 1..=101 {
        enos.sim.add(pipeline(n, &format!("p{n}"), "PAUSED"));
    }
    // The first page of a pass goes to the end of the list: 51 moves into the page that was read.
    enos.sim.fault(Fault::new(Call::List, When::After, Kind::ShiftPages).times(1));
    enos.run("once", enos.spec(&id(51)), Value::Null).await;
    enos.sent("once", "r1").await;
    assert_eq!(enos.sim.resets(&id(51)), 1);
    // It never stands still: what is there is not called missing.
    enos.sim.fault(Fault::new(Call::List, When::After, Kind::ShiftPages).times(1_000_000));
    let mut spec = enos.spec(ID);
    spec["pipelineName"] = json!("not there");
    spec.as_object_mut().expect("an object").remove("pipelineID");
    enos.run("name", spec, Value::Null).await;
    let waits = enos.world.reaches("name", "r1", Stage::Waiting, "PipelineStatusUnknown").await;
    assert!(says(&waits, "Ready").2.contains("changed each time it was read"), "{waits:?}");
    for n in 90..=94 {
        enos.run(&format!("p{n}"), enos.spec(&id(n)), Value::Null).await;
    }
    for n in 90..=94 {
        let name = format!("p{n}");
        let seen = enos.world.wait(&name, "a look", |s| s.offset_reset.is_some()).await;
        assert!(matches!(reset(&seen).stage, Stage::Waiting | Stage::Sending | Stage::Sent), "never called missing: {seen:?}");
    }
    enos.sim.clear_faults();
    for n in 90..=94 {
        enos.sent(&format!("p{n}"), "r1").await;
        assert_eq!(enos.sim.resets(&id(n)), 1);
    }
    let failed = enos.world.reaches("name", "r1", Stage::Failed, "PipelineNotFound").await;
    assert!(says(&failed, "Ready").2.starts_with("61108: no released pipeline of organization"), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn e15_running_right_after_the_reset_is_unknown_and_not_success() {
    let enos = Enos::with("e15", "PAUSED").await;
    let answer = enos.sim.hold(Call::Reset, When::After);
    enos.run("p", enos.spec(ID), Value::Null).await;
    answer.reached().await;
    enos.sim.set_status(ID, "RUNNING");
    answer.release();
    let held = enos.world.reaches("p", "r1", Stage::Held, "OutcomeUnknown").await;
    assert_eq!((says(&held, "OffsetsReset").0, says(&held, "Ready").0), ("Unknown", "False"));
    assert!(
        says(&held, "Ready").2.contains("accepted the reset, but right after it the platform reports the pipeline as RUNNING"),
        "{held:?}"
    );
    assert_eq!((enos.reset_calls(), enos.sim.resets(ID)), (1, 1));
    assert_eq!(enos.record().await.status.map(|s| s.phase), Some(RecordPhase::Held));
}

#[tokio::test(flavor = "multi_thread")]
async fn e16_documented_and_sampled_shapes_are_both_decoded() {
    for (test, lag_as_strings, data_as_list) in [("e16a", true, true), ("e16b", false, false), ("e16c", true, false), ("e16d", false, true)]
    {
        let options = Options { lag_as_strings, data_as_list, shuffle_lag: true, ..Options::default() };
        let enos = Enos::new(test, options).await;
        // The end of its log is far, so it reads on by 1,000 a second at most.
        enos.sim.add(pipeline(1, "cleaning", "RUNNING"));
        enos.run("p", enos.spec(ID), Value::Null).await;
        let waits = enos.world.reaches("p", "r1", Stage::Waiting, "PipelineActive").await;
        assert!(waits.lag.as_ref().is_some_and(|l| (500_000..=600_000).contains(&l.total)), "{test}: {:?}", waits.lag);
        enos.sim.set_status(ID, "PAUSED");
        enos.sent("p", "r1").await;
        let before = enos.record().await.spec.plan.and_then(|p| p.call).and_then(|c| c.before).expect("a reading");
        assert!(before.offset >= 400_000 && before.offset + before.lag == 1_000_000, "{test}: {before:?}");
        // Missing, and so asked for by Get Pipeline Details.
        enos.run("missing", enos.spec(&id(9)), Value::Null).await;
        enos.world.reaches("missing", "r1", Stage::Failed, "PipelineNotFound").await;
    }
}

fn by_name(enos: &Enos, name: &str) -> Value {
    let mut spec = enos.spec(ID);
    spec["pipelineName"] = json!(name);
    spec.as_object_mut().expect("an object").remove("pipelineID");
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn e14_a_pipeline_named_by_its_name_is_pinned_to_the_id_found_first() {
    let enos = Enos::with("e14n", "PAUSED").await;
    enos.apply_spec("p", by_name(&enos, "cleaning"), Value::Null).await;
    let seen = enos.world.wait("p", "the id", |s| s.pipeline_id.is_some()).await;
    assert_eq!(seen.pipeline_id.as_deref(), Some(ID));
    // Renamed, and another takes the name: what was found first counts.
    enos.sim.remove(ID);
    enos.sim.add(pipeline(1, "renamed", "PAUSED"));
    enos.sim.add(pipeline(2, "cleaning", "PAUSED"));
    enos.apply_spec("p", by_name(&enos, "cleaning"), json!({ "id": "r1" })).await;
    let sent = enos.sent("p", "r1").await;
    assert_eq!((sent.pipeline_id.as_deref(), enos.sim.resets(ID), enos.sim.resets(&id(2))), (Some(ID), 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn e14_an_ambiguous_name_is_refused_naming_both_ids() {
    let enos = Enos::with("e14m", "PAUSED").await;
    enos.sim.add(pipeline(2, "cleaning", "PAUSED"));
    enos.run("p", by_name(&enos, "cleaning"), Value::Null).await;
    let failed = enos.world.reaches("p", "r1", Stage::Failed, "PipelineNameAmbiguous").await;
    let message = says(&failed, "Ready").2;
    assert!(message.contains(ID) && message.contains(&id(2)) && message.contains("spec.enos.pipelineID"), "{message}");
    assert!(condition(&failed, "Stalled").is_some() && !reset(&failed).error.as_ref().expect("an error").retryable);
    assert_eq!((reset(&failed).error.as_ref().and_then(|e| e.code), enos.reset_calls()), (None, 0));
    only_looks(&enos);
}

/// `ENOS_PIPELINES=1000` runs it with as many.
#[tokio::test(flavor = "multi_thread")]
async fn e01_many_pipelines_of_one_organization_asked_at_once_are_each_reset_once() {
    let many: usize = std::env::var("ENOS_PIPELINES").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let enos = Enos::with_flags("many", Options::default(), &["--concurrency=64", "--list-interval=5s", "--send-window=10s"]).await;
    for n in 1..=many {
        enos.sim.add(pipeline(n, &format!("p{n}"), "PAUSED"));
    }
    // A platform that takes its time shows how many calls are made at once.
    enos.sim.fault(Fault::new(Call::Lag, When::After, Kind::Delay(Duration::from_millis(600))).times(u32::MAX));
    let begun = Instant::now();
    let (mut all, enos) = (JoinSet::new(), Arc::new(enos));
    for lane in 0..16 {
        let enos = Arc::clone(&enos);
        all.spawn(async move {
            for n in (1..=many).filter(|n| n % 16 == lane) {
                enos.run(&format!("p{n}"), enos.spec(&id(n)), Value::Null).await;
            }
        });
    }
    all.join_all().await;
    let asked = begun.elapsed();
    let api = enos.world.pipelines();
    let limit = LIMIT.max(Duration::from_millis(many as u64 * 400));
    eventually("all to be sent", limit, async || {
        let all = api.list(&kube::api::ListParams::default()).await.map_err(|e| e.to_string())?.items;
        let at =
            |s: Stage| all.iter().filter(|p| p.status.as_ref().and_then(|s| s.offset_reset.as_ref()).is_some_and(|r| r.stage == s)).count();
        if at(Stage::Sent) == many {
            Ok(())
        } else {
            Err(format!("{} sent, {} held, {} failed", at(Stage::Sent), at(Stage::Held), at(Stage::Failed)))
        }
    })
    .await;
    let took = begun.elapsed();
    let calls = enos.sim.calls();
    for n in 1..=many {
        assert_eq!((enos.calls_for(Call::Reset, &id(n)), enos.sim.resets(&id(n))), (1, 1), "{n}");
    }
    let of = |call| calls.iter().filter(|c| c.call == call).count();
    let others = calls.len() - of(Call::List);
    println!(
        "{many} pipelines asked within {asked:?}, reset within {took:?}: {} calls of List ({:.2} a reset), {others} others ({:.2} a reset; {} lag, {} token); {} at once",
        of(Call::List),
        of(Call::List) as f64 / many as f64,
        others as f64 / many as f64,
        of(Call::Lag),
        of(Call::TokenGet),
        enos.sim.max_in_flight()
    );
    assert!(others <= 3 * many, "{others} calls");
    assert!((2..=12).contains(&enos.sim.max_in_flight()), "8 reads and 4 changes at once: {}", enos.sim.max_in_flight());
}
