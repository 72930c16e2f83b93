//! E10, O08, O36: several pipelines that are paused at once, and two objects for one pipeline.

use std::time::Duration;

use kube::ResourceExt;
use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::enos::{Call, Fault, Kind, ORGANISATION, Options, Pipeline, When};

use crate::support::enos::{EnosWorld, ID, QUICK, credentials, id, pause, pipeline};
use crate::support::status::{assert_has, reset, says};

#[tokio::test(flavor = "multi_thread")]
async fn e10_three_pipelines_of_one_organisation_are_started_one_after_the_other() {
    let options = Options { transition: Duration::from_millis(700), ..Options::default() };
    let enos = EnosWorld::with_flags("e10", options, &QUICK).await;
    let names: Vec<(String, String)> = (1..4).map(|n| (format!("p{n}"), id(n))).collect();
    for (name, id) in &names {
        enos.sim.add(Pipeline::new(ORGANISATION, id, name, "RUNNING").series(400_000, 1_000_000));
        enos.apply(name, id, Value::Null).await;
        enos.world.is_seen(name).await;
    }
    for (name, id) in &names {
        enos.apply(name, id, pause("r1")).await;
    }
    for (name, id) in &names {
        enos.world.verified(name, "r1").await;
        assert_eq!((enos.sim.status(id).as_str(), enos.sim.resets(id)), ("RUNNING", 1));
    }
    let mut starting = None;
    for start in enos.sim.calls().into_iter().filter(|c| c.call == Call::Start) {
        if start.effect {
            starting = start.pipeline;
        } else {
            // Refused only while its own start is under way, never because of another pipeline.
            assert!(matches!(start.code, Some(61121 | 61165)) && start.pipeline == starting, "one at a time: {start:?}");
        }
    }
    assert!(names.iter().all(|(_, id)| enos.sim.starts(id).len() == 1));
    assert_eq!(enos.reset_calls(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn e10_a_start_refused_because_another_one_runs_is_repeated() {
    let enos = EnosWorld::running("e10b", &[]).await;
    enos.sim.fault(Fault::new(Call::Start, When::Before, Kind::Code(61121, None)).times(2));
    enos.apply("p", ID, pause("r1")).await;
    let status = enos.world.reaches("p", "r1", Stage::Sent, "AnotherPipelineStarting").await;
    assert!(
        says(&status, "Ready").2.contains("61121") && reset(&status).paused_by_operator.is_some(),
        "expected code 61121, and that the operator keeps it paused: {status:?}"
    );
    enos.world.verified("p", "r1").await;
    assert_eq!(enos.changes(), [1, 1, 3, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn o36_o08_a_second_object_waits_until_the_first_is_gone_and_has_brought_the_pipeline_back() {
    let enos = EnosWorld::running("o36", &[]).await;
    enos.apply("q", ID, Value::Null).await;
    enos.world.is_seen("q").await;
    enos.held().await;
    let first = enos.world.only_record().await.name_any();
    enos.apply("q", ID, pause("q1")).await;
    let status = enos.world.reaches("q", "q1", Stage::Waiting, "DuplicateGroup").await;
    assert_has(says(&status, "Ready").2, &["/p is older"]);
    enos.calls(Call::List, 4).await;
    assert_eq!((enos.changes(), enos.world.all_records().await.len()), ([1, 1, 0, 0], 1));
    enos.world.ask_to_delete("p").await;
    // Whether the first one was carried out is not known.
    enos.world.reaches("q", "q1", Stage::Sent, "Unproven").await;
    assert_eq!((enos.changes(), enos.sim.status(ID).as_str()), ([2, 2, 2, 0], "RUNNING"));
    let back = enos.world.record_named(&first).await.status.and_then(|s| s.brought_back_at).expect("brought back");
    let second = enos.world.all_records().await.into_iter().find(|r| r.spec.request.id == "q1").expect("its record");
    assert!(second.spec.created_at >= back, "the second record must be made after the first is started again");
}

#[tokio::test(flavor = "multi_thread")]
async fn o36_whoever_has_begun_goes_on_and_an_older_object_that_turns_up_waits() {
    let enos = EnosWorld::with_flags("o36b", Options::default(), &["--call-deadline=60s"]).await;
    enos.sim.add(pipeline(1, "cleaning", "RUNNING"));
    // Known by name only, and its Secret is missing: which pipeline it is cannot be looked up.
    let mut unknown = enos.spec_by_name("cleaning");
    unknown["credentialsSecretRef"]["name"] = json!("later");
    enos.apply_spec("p", unknown.clone(), Value::Null).await;
    enos.world.is_seen("p").await;
    enos.apply("q", ID, Value::Null).await;
    enos.world.is_seen("q").await;
    // The younger object has paused the pipeline, and is about to reset it.
    let reset = enos.sim.hold(Call::Reset, When::Before);
    enos.apply("q", ID, pause("q1")).await;
    reset.reached().await;
    enos.world.secret("later", credentials()).await;
    enos.apply_spec("p", unknown, pause("p1")).await;
    let first = enos.world.only_record().await.name_any();
    let status = enos.world.reaches("p", "p1", Stage::Waiting, "AnotherResetOpen").await;
    assert_has(says(&status, "Ready").2, &[&first]);
    // Until the first is compared the second has not begun, or neither would be proven.
    let pause_of_second = enos.sim.hold(Call::Pause, When::Before);
    reset.release();
    enos.world.verified("q", "q1").await;
    pause_of_second.reached().await;
    pause_of_second.release();
    // The pipeline is at the end already: a second reset to there cannot be proven.
    enos.world.reaches("p", "p1", Stage::Sent, "Unproven").await;
    assert_eq!((enos.reset_calls(), enos.sim.status(ID).as_str()), (2, "RUNNING"));
}
