//! A03, A04, A08, A12, A13, E02, E10, O35, O36 on EnOS: a pipeline that runs is left alone, or stopped for its reset and brought back.

use std::time::Duration;

use kube::ResourceExt;
use serde_json::{Value, json};
use stream_pipeline_api::{RecordPhase, Stage};
use testbed::enos::{Call, Fault, Kind, ORGANISATION, Options, Pipeline, ResetTo, When};
use testbed::{eventually, kafka};

use crate::support::enos::{EnosWorld, ID, QUICK, pause, pipeline};
use crate::support::requests::with;
use crate::support::status::{assert_has, reset, says};
use crate::support::world::{LIMIT, World};

#[tokio::test(flavor = "multi_thread")]
async fn e02_a12_running_with_wait_is_named_left_alone_and_reset_when_somebody_pauses_it() {
    let enos = EnosWorld::running("e02w", &[]).await;
    enos.apply("p", ID, json!({ "id": "r1" })).await;
    let status = enos.world.reaches("p", "r1", Stage::Waiting, "PipelineActive").await;
    assert_has(says(&status, "Ready").2, &["RUNNING. Pause or stop it; the reset starts by itself"]);
    assert_eq!(says(&status, "PipelineInactive").0, "False");
    enos.calls(Call::List, 4).await;
    assert_eq!(enos.changes(), [0; 4]);
    enos.sim.set_status(ID, "PAUSED");
    enos.sent("p", "r1").await;
    enos.calls(Call::List, 4).await;
    assert_eq!(enos.changes(), [0, 1, 0, 0], "calls that change the state, where no pause was asked for");
    assert_eq!((enos.sim.status(ID).as_str(), enos.world.finalizers("p").await.len()), ("PAUSED", 0));
    assert!(enos.world.only_record().await.spec.run_state_before.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn e02_a03_running_with_fail_ends_and_nothing_is_called() {
    let enos = EnosWorld::running("e02f", &[]).await;
    enos.apply("p", ID, json!({ "id": "r1", "whenActive": "Fail" })).await;
    let status = enos.world.reaches("p", "r1", Stage::Failed, "PipelineActive").await;
    assert_eq!((says(&status, "Stalled").0, says(&status, "OffsetsReset").0), ("True", "False"));
    enos.sim.set_status(ID, "PAUSED");
    enos.calls(Call::List, 4).await;
    assert_eq!(enos.changes(), [0; 4]);
    assert!(enos.world.all_records().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn e02_a04_paused_reset_once_started_as_declared_and_proven_by_its_numbers() {
    let enos = EnosWorld::running("e02p", &[]).await;
    let held = enos.sim.hold(Call::Pause, When::Before);
    enos.apply("p", ID, pause("r1")).await;
    held.reached().await;
    // Before the pause there are a finalizer, and a record without a plan that says what the pipeline did.
    assert_eq!(enos.world.finalizers("p").await.len(), 1);
    let record = enos.world.only_record().await;
    assert!(record.spec.plan.is_none() && record.spec.writer.is_none() && record.status.is_none());
    let before = record.spec.run_state_before.expect("what it did before");
    assert!(
        before.running && before.reading.is_some_and(|r| r.offset >= 400_000 && r.lag > 500_000),
        "expected a pipeline that ran, with its position: {before:?}"
    );
    assert_eq!(enos.changes(), [1, 0, 0, 0]);
    held.release();
    let status = enos.world.verified("p", "r1").await;
    let message = says(&status, "OffsetsReset").2;
    assert_has(message, &["after the start it skipped at least", "lag 0 after"]);
    assert_eq!(reset(&status).paused_by_operator, None);
    assert_eq!(enos.changes(), [1, 1, 1, 0]);
    assert_eq!(enos.sim.starts(ID), [json!({ "executionMode": 0, "kafkaRate": 1000, "resourceConfig": { "server": "1" } })]);
    let record = enos.world.only_record().await;
    enos.brought_back("p", &record.name_any()).await;
    let status = record.status.expect("closed");
    assert_eq!(status.phase, RecordPhase::Verified);
    assert!(status.reading.is_some_and(|r| r.offset >= 1_000_000), "expected a position at the end: {status:?}");
    // And at rest afterwards.
    let version = enos.world.resource_version("p").await;
    enos.calls(Call::List, 4).await;
    assert_eq!((enos.changes(), enos.world.resource_version("p").await), ([1, 1, 1, 0], version));
}

#[tokio::test(flavor = "multi_thread")]
async fn e02_pausing_that_takes_a_while_is_waited_for_and_told() {
    let options = Options { transition: Duration::from_millis(1500), ..Options::default() };
    let enos = EnosWorld::with_flags("e02t", options, &QUICK).await;
    enos.sim.add(pipeline(1, "cleaning", "RUNNING"));
    enos.known("p").await;
    enos.apply("p", ID, pause("r1")).await;
    let status = enos.world.reaches("p", "r1", Stage::Pausing, "Pausing").await;
    assert!(reset(&status).record_ref.is_some(), "expected a record to be named: {status:?}");
    let status = enos.world.verified("p", "r1").await;
    assert_eq!((enos.reset_calls(), enos.sim.status(ID).as_str()), (1, "RUNNING"), "{status:?}");
    enos.brought_back("p", &enos.world.only_record().await.name_any()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e02_a_real_consumer_stops_for_its_reset_and_reads_again_from_where_it_was_set() {
    let world = World::without_operator("e02k").await;
    let topic = world.topic(&[30, 30]).await;
    let group = world.unique("g");
    let options = Options { bootstrap: Some(world.bootstrap.clone()), ..Options::default() };
    let enos = EnosWorld::with_flags("e02k", options, &QUICK).await;
    enos.sim.add(Pipeline::new(ORGANISATION, ID, "cleaning", "RUNNING").reset_to(ResetTo::Earliest).group(&group, &topic));
    let offsets = async || world.offsets(&group, &topic, 2).await;
    let read = async |what: &str| {
        eventually(what, LIMIT, async || match offsets().await {
            all if all == [Some(30), Some(30)] => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    };
    read("the consumer to read everything").await;
    enos.known("p").await;
    let start = enos.sim.hold(Call::Start, When::Before);
    let mut spec = enos.spec(ID);
    spec["start"]["kafkaRate"] = json!(5);
    enos.apply_spec("p", spec, pause("r1")).await;
    start.reached().await;
    assert_eq!(offsets().await, [Some(0), Some(0)], "offsets while the pipeline is paused");
    // The group is empty, so another client may commit.
    kafka::commit(&world.bootstrap, &group, &[(&topic, 0, 3, "")]).await;
    start.release();
    let status = enos.world.verified("p", "r1").await;
    assert_has(says(&status, "Ready").2, &["after the start it went back by"]);
    enos.brought_back("p", &enos.world.only_record().await.name_any()).await;
    read("the consumer to read everything again").await;
    assert_eq!(enos.changes(), [1, 1, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_resources_are_told_and_the_start_is_repeated_until_they_are_granted() {
    let enos = EnosWorld::running("resources", &[]).await;
    enos.sim.fault(Fault::new(Call::Start, When::Before, Kind::Code(61128, None)).times(1000));
    enos.apply("p", ID, pause("r1")).await;
    let status = enos.world.reaches("p", "r1", Stage::Sent, "ResourcesMissing").await;
    assert!(
        says(&status, "Ready").2.starts_with("61128: ") && reset(&status).paused_by_operator.is_some(),
        "expected code 61128, and that the operator keeps it paused: {status:?}"
    );
    assert_eq!(reset(&status).error.as_ref().and_then(|e| e.code), Some(61128));
    enos.calls(Call::Start, 2).await;
    let begun = std::time::Instant::now();
    enos.calls(Call::Start, 2).await;
    assert!(begun.elapsed() > Duration::from_secs(2), "expected two tries to take longer than 2 s");
    enos.sim.clear_faults();
    enos.world.verified("p", "r1").await;
    enos.brought_back("p", &enos.world.only_record().await.name_any()).await;
    assert_eq!(enos.reset_calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_the_platform_refuses_is_corrected_in_the_spec() {
    let enos = EnosWorld::running("corrected", &[]).await;
    let mut spec = enos.spec(ID);
    // A start on a cluster needs an object here.
    spec["start"] = json!({ "executionMode": "Cluster", "kafkaRate": 1000, "resourceConfig": 3 });
    enos.apply_spec("p", spec.clone(), pause("r1")).await;
    let status = enos.world.reaches("p", "r1", Stage::Sent, "StartConfigurationInvalid").await;
    assert!(says(&status, "Ready").2.starts_with("61100: "), "expected code 61100: {status:?}");
    spec["start"]["resourceConfig"] = json!({ "server": "2" });
    spec["start"]["kafkaRate"] = json!(500);
    enos.apply_spec("p", spec, pause("r1")).await;
    enos.world.verified("p", "r1").await;
    assert_eq!(enos.sim.starts(ID), [json!({ "executionMode": 1, "kafkaRate": 500, "resourceConfig": { "server": "2" } })]);
    assert_eq!(enos.reset_calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a08_a_pause_that_is_refused_until_the_deadline_resets_nothing() {
    let enos = EnosWorld::running("a08", &[]).await;
    enos.sim.fault(Fault::new(Call::Pause, When::Before, Kind::Code(99000, None)).times(1000));
    enos.apply("p", ID, with(pause("r1"), "waitTimeout", json!("10s"))).await;
    let status = enos.world.reaches("p", "r1", Stage::Pausing, "PlatformError").await;
    assert_has(says(&status, "Ready").2, &["99000"]);
    let status = enos.world.reaches("p", "r1", Stage::Failed, "PauseTimedOut").await;
    assert_eq!((says(&status, "Stalled").0, says(&status, "OffsetsReset").0), ("True", "False"));
    let record = enos.world.only_record().await;
    enos.brought_back("p", &record.name_any()).await;
    assert_eq!(record.status.map(|s| s.phase), Some(RecordPhase::Abandoned));
    let [pauses, resets, starts, stops] = enos.changes();
    assert!(pauses >= 2 && (resets, starts, stops) == (0, 0, 0), "{:?}", enos.changes());
    assert_eq!(reset(&status).paused_by_operator, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a08_o35_a_pause_that_lands_after_the_deadline_is_undone() {
    // The late bound is long, so that the wait for a late pause can be seen.
    let enos = EnosWorld::running("a08l", &["--late-bound=10s"]).await;
    enos.sim.fault(Fault::new(Call::Pause, When::Before, Kind::Hang).times(1000));
    // Long enough for the pause to be called on a slow machine: without that nothing is left to land.
    enos.apply("p", ID, with(pause("r1"), "waitTimeout", json!("30s"))).await;
    enos.world.reaches("p", "r1", Stage::Failed, "BringingBack").await;
    let record = enos.world.only_record().await;
    assert_eq!(
        record.status.as_ref().map(|s| (s.phase, s.brought_back_at)),
        Some((RecordPhase::Abandoned, None)),
        "the record must not say that it runs again while a late stop may land"
    );
    enos.sim.clear_faults();
    enos.sim.release_hangs();
    enos.brought_back("p", &record.name_any()).await;
    assert!(!enos.sim.starts(ID).is_empty(), "a pause that landed late must have been undone by a start");
    let status = enos.world.reaches("p", "r1", Stage::Failed, "PauseTimedOut").await;
    assert_eq!((enos.reset_calls(), enos.sim.status(ID).as_str()), (0, "RUNNING"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn o35_the_id_is_removed_while_the_stop_is_under_way_and_it_lands_late() {
    let enos = EnosWorld::running("o35", &["--late-bound=10s"]).await;
    enos.sim.fault(Fault::new(Call::Pause, When::Before, Kind::Hang));
    enos.apply("p", ID, pause("r1")).await;
    eventually("the pause to hang", LIMIT, async || if enos.sim.hanging() == 1 { Ok(()) } else { Err(String::new()) }).await;
    enos.apply("p", ID, Value::Null).await;
    let name = enos.world.only_record().await.name_any();
    enos.world.closed(&name).await;
    assert!(
        enos.world.record_named(&name).await.status.is_some_and(|s| s.brought_back_at.is_none()),
        "the record must not say that it runs again while a late stop may land"
    );
    enos.sim.release_hangs();
    enos.brought_back("p", &name).await;
    assert_eq!((enos.changes(), enos.sim.starts(ID).len()), ([1, 0, 1, 0], 1), "one pause that landed late, and one start that undid it");
    let status = enos.world.nothing_requested("p").await;
    assert_eq!(status.offset_reset, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a13_started_by_somebody_while_held_paused_is_not_paused_twice() {
    let enos = EnosWorld::running("a13", &[]).await;
    let paused = enos.sim.hold(Call::Pause, When::After);
    enos.apply("p", ID, pause("r1")).await;
    paused.reached().await;
    // Its position is asked for before the plan is written.
    let lag = enos.sim.hold(Call::Lag, When::Before);
    paused.release();
    lag.reached().await;
    enos.sim.set_status(ID, "RUNNING");
    lag.release();
    let status = enos.world.reaches("p", "r1", Stage::Waiting, "PauseOverridden").await;
    assert_has(says(&status, "Ready").2, &["not stopped twice"]);
    enos.calls(Call::List, 5).await;
    assert_eq!(enos.changes(), [1, 0, 0, 0]);
    // Once somebody pauses it again it is reset, and started again as it ran before.
    enos.sim.set_status(ID, "PAUSED");
    enos.world.verified("p", "r1").await;
    enos.brought_back("p", &enos.world.only_record().await.name_any()).await;
    assert_eq!(enos.changes(), [1, 1, 1, 0]);
}
