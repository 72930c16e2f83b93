//! E01, E14, E16: the list of an organization's pipelines: its pages, the shapes of its answers, names, and many pipelines at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::enos::{Call, Fault, Kind, Options, When};
use testbed::eventually;
use tokio::task::JoinSet;

use crate::support::enos::{EnosWorld, ID, id, pipeline};
use crate::support::status::{assert_has, condition, reset, says};
use crate::support::world::LIMIT;

#[tokio::test(flavor = "multi_thread")]
async fn e14_pages_of_any_size_and_count_are_read_to_the_end() {
    for (test, page, count_is_page) in [("e14a", None, false), ("e14b", Some(7), true), ("e14c", Some(7), false), ("e14d", None, true)] {
        let options = Options { max_page_size: page, count_is_page, ..Options::default() };
        let enos = EnosWorld::new(test, options).await;
        for n in 1..=120 {
            enos.sim.add(pipeline(n, &format!("p{n}"), "PAUSED"));
        }
        // The last one, by its id and by its name.
        enos.run("by-id", enos.spec(&id(120)), Value::Null).await;
        enos.sent("by-id", "r1").await;
        enos.run("by-name", enos.spec_by_name("p119"), Value::Null).await;
        enos.sent("by-name", "r1").await;
        assert_eq!((enos.sim.resets(&id(120)), enos.sim.resets(&id(119)), enos.reset_calls()), (1, 1, 2), "{test}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e14_a_list_that_changes_while_it_is_read_is_read_again_or_not_believed() {
    let enos = EnosWorld::new("e14s", Options::default()).await;
    for n in 1..=101 {
        enos.sim.add(pipeline(n, &format!("p{n}"), "PAUSED"));
    }
    // The list changes while it is read: pipeline 51 moves into the page that was already read.
    enos.sim.fault(Fault::new(Call::List, When::After, Kind::ShiftPages).times(1));
    enos.run("once", enos.spec(&id(51)), Value::Null).await;
    enos.sent("once", "r1").await;
    assert_eq!(enos.sim.resets(&id(51)), 1);
    // The list changes at each reading: a pipeline that exists must not be called missing.
    enos.sim.fault(Fault::new(Call::List, When::After, Kind::ShiftPages).times(1_000_000));
    enos.run("name", enos.spec_by_name("not there"), Value::Null).await;
    let waits = enos.world.reaches("name", "r1", Stage::Waiting, "PipelineStatusUnknown").await;
    assert_has(says(&waits, "Ready").2, &["changed each time it was read"]);
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
    assert!(
        says(&failed, "Ready").2.starts_with("61108: no released pipeline of organization"),
        "expected the message to begin with the code and what is not there: {failed:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn e16_documented_and_sampled_shapes_are_both_decoded() {
    for (test, lag_as_strings, data_as_list) in [("e16a", true, true), ("e16b", false, false), ("e16c", true, false), ("e16d", false, true)]
    {
        let options = Options { lag_as_strings, data_as_list, shuffle_lag: true, ..Options::default() };
        let enos = EnosWorld::new(test, options).await;
        // It reads at most 1,000 records a second.
        enos.sim.add(pipeline(1, "cleaning", "RUNNING"));
        enos.run("p", enos.spec(ID), Value::Null).await;
        let waits = enos.world.reaches("p", "r1", Stage::Waiting, "PipelineActive").await;
        assert!(waits.lag.as_ref().is_some_and(|l| (500_000..=600_000).contains(&l.total)), "{test}: {:?}", waits.lag);
        enos.sim.set_status(ID, "PAUSED");
        enos.sent("p", "r1").await;
        let before = enos.world.only_record().await.spec.plan.and_then(|p| p.call).and_then(|c| c.before).expect("a reading");
        assert!(before.offset >= 400_000 && before.offset + before.lag == 1_000_000, "{test}: {before:?}");
        // A pipeline that is not in the list is asked for by Get Pipeline Details.
        enos.run("missing", enos.spec(&id(9)), Value::Null).await;
        enos.world.reaches("missing", "r1", Stage::Failed, "PipelineNotFound").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e14_a_pipeline_named_by_its_name_is_pinned_to_the_id_found_first() {
    let enos = EnosWorld::with("e14n", "PAUSED").await;
    enos.apply_spec("p", enos.spec_by_name("cleaning"), Value::Null).await;
    let seen = enos.world.wait("p", "the id", |s| s.pipeline_id.is_some()).await;
    assert_eq!(seen.pipeline_id.as_deref(), Some(ID));
    // The pipeline is renamed, and another gets its name: the id that was found first counts.
    enos.sim.remove(ID);
    enos.sim.add(pipeline(1, "renamed", "PAUSED"));
    enos.sim.add(pipeline(2, "cleaning", "PAUSED"));
    enos.apply_spec("p", enos.spec_by_name("cleaning"), json!({ "id": "r1" })).await;
    let sent = enos.sent("p", "r1").await;
    assert_eq!((sent.pipeline_id.as_deref(), enos.sim.resets(ID), enos.sim.resets(&id(2))), (Some(ID), 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn e14_an_ambiguous_name_is_refused_naming_both_ids() {
    let enos = EnosWorld::with("e14m", "PAUSED").await;
    enos.sim.add(pipeline(2, "cleaning", "PAUSED"));
    enos.run("p", enos.spec_by_name("cleaning"), Value::Null).await;
    let failed = enos.world.reaches("p", "r1", Stage::Failed, "PipelineNameAmbiguous").await;
    let message = says(&failed, "Ready").2;
    assert_has(message, &[ID, &id(2), "spec.enos.pipelineID"]);
    assert!(condition(&failed, "Stalled").is_some() && !reset(&failed).error.as_ref().expect("an error").retryable);
    assert_eq!((reset(&failed).error.as_ref().and_then(|e| e.code), enos.reset_calls()), (None, 0));
    enos.assert_only_looks();
}

/// `ENOS_PIPELINES=1000` runs it with as many.
#[tokio::test(flavor = "multi_thread")]
async fn e01_many_pipelines_of_one_organization_asked_at_once_are_each_reset_once() {
    let many: usize = std::env::var("ENOS_PIPELINES").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let enos = EnosWorld::with_flags("many", Options::default(), &["--concurrency=64", "--list-interval=5s", "--send-window=10s"]).await;
    for n in 1..=many {
        enos.sim.add(pipeline(n, &format!("p{n}"), "PAUSED"));
    }
    // Slow answers show how many calls are made at once.
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
