//! States, refusals, pages, lag, and the control API.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use testbed::enos::{Call, NotRunning, Options, Organisation, OtherState, Pipeline, ResetTo};

use crate::client::{ID, ORG, ids, json_of, simulator};

#[tokio::test]
async fn states_follow_the_documented_transitions() {
    let (simulator, caller) = simulator(Options::default(), "PUBLISHED").await;
    assert_eq!(
        caller.operate(ID, "pause", "").await["msg"],
        "Status of the stream processing job cannot be changed from [PUBLISHED] to Paused."
    );
    assert_eq!(caller.operate(ID, "stop", "").await["code"], 61152);
    assert_eq!(caller.start(ID).await, json!({ "code": 0, "msg": "OK", "data": "" }));
    assert_eq!(simulator.status(ID), "RUNNING");
    assert_eq!(caller.start(ID).await["msg"], "Stream processing job with status [RUNNING] cannot be started.");
    assert_eq!(caller.operate(ID, "release", "").await["code"], 61169);
    assert_eq!(caller.operate(ID, "pause", "").await["code"], 0);
    assert_eq!(caller.reset().await, json!({ "code": 0, "msg": "OK" }));
    assert_eq!(caller.operate(ID, "stop", "").await["code"], 0);
    assert_eq!(caller.operate(ID, "pause", "").await["code"], 61152);
    assert_eq!(caller.reset().await["code"], 0);
    assert_eq!(caller.start(ID).await["code"], 0);
    assert_eq!((simulator.resets(ID), simulator.starts(ID).len()), (2, 2));
    assert_eq!(caller.operate("another", "pause", "").await["code"], 61108);
    simulator.set_status(ID, "Run Error");
    assert_eq!(caller.start(ID).await["code"], 61165);
    assert_eq!(caller.list(&[]).await["data"]["pipelines"][0]["status"], "Run Error");
}

#[tokio::test]
async fn a_reset_in_another_state_is_refused_and_counted() {
    let (refusing, caller) = simulator(Options::default(), "RUNNING").await;
    assert_eq!(caller.reset().await["code"], 99000);
    assert_eq!((refusing.resets(ID), refusing.refused_resets(ID)), (0, 1));
    let (applying, caller) = simulator(Options { reset_in_other_state: OtherState::Apply, ..Options::default() }, "RUNNING").await;
    assert_eq!(caller.reset().await["code"], 0);
    assert_eq!((applying.resets(ID), applying.refused_resets(ID)), (1, 0));
}

#[tokio::test]
async fn a_start_needs_its_fields() {
    let (simulator, caller) = simulator(Options::default(), "PAUSED").await;
    for body in [
        "",
        "{}",
        r#"{"executionMode":0}"#,
        r#"{"executionMode":2,"kafkaRate":1}"#,
        r#"{"executionMode":1,"kafkaRate":1,"resourceConfig":2}"#,
    ] {
        assert_eq!(caller.operate(ID, "start", body).await["code"], 61100, "{body}");
    }
    let body = json!({ "executionMode": 1, "kafkaRate": 1000, "resourceConfig": { "server": "1" } });
    assert_eq!(caller.operate(ID, "start", &body.to_string()).await["code"], 0);
    assert_eq!(simulator.starts(ID), [body]);
    let listed = caller.list(&[]).await["data"]["pipelines"][0].clone();
    assert_eq!((&listed["executionMode"], &listed["resourceConfig"]), (&json!(1), &json!(r#"{"server":"1"}"#)));
}

#[tokio::test]
async fn one_start_at_a_time_and_only_with_resources() {
    let options = Options { transition: Duration::from_secs(1), ..Options::default() };
    let (first, caller) = simulator(options, "PAUSED").await;
    first.add(Pipeline::new(ORG, "second", "second", "STOPPED"));
    assert_eq!(caller.start(ID).await["code"], 0);
    assert_eq!(first.status(ID), "PAUSED", "the list is late");
    assert_eq!(caller.start("second").await["code"], 61121);
    assert_eq!(caller.reset().await["code"], 99000, "it is starting");
    testbed::eventually(
        "the start",
        Duration::from_secs(5),
        async || if first.status(ID) == "RUNNING" { Ok(()) } else { Err(first.status(ID)) },
    )
    .await;
    assert_eq!(caller.start("second").await["code"], 0);
    assert_eq!(caller.operate("second", "stop", "").await["code"], 61152);

    let poor = Organisation { resources: false, ..Organisation::new(ORG) };
    let (_poor, caller) = simulator(Options { organisations: vec![poor], ..Options::default() }, "PAUSED").await;
    assert_eq!(caller.start(ID).await["code"], 61128);
}

#[tokio::test]
async fn the_list_comes_in_pages_of_its_side() {
    for count_is_page in [false, true] {
        let (simulator, caller) = simulator(Options { count_is_page, ..Options::default() }, "RUNNING").await;
        (0..11).for_each(|n| simulator.add(Pipeline::new(ORG, &format!("p{n}"), "x", "RUNNING")));
        simulator.add(Pipeline::new(ORG, "design", "x", "PUBLISHED").unreleased());
        simulator.add(Pipeline::new(ORG, "reader", "x", "RUNNING").system());
        simulator.add(Pipeline::new("o2", "foreign", "x", "RUNNING"));
        let (one, two) = (caller.list(&[]).await, caller.list(&[("pageNo", "2")]).await);
        assert_eq!((ids(&one).len(), ids(&two)), (10, vec!["p9", "p10"]));
        let counts = [&one, &two].map(|page| page["data"]["count"].as_i64());
        assert_eq!(counts, if count_is_page { [Some(10), Some(2)] } else { [Some(12), Some(12)] });
        assert!(ids(&caller.list(&[("pageNo", "3")]).await).is_empty());
        assert_eq!(ids(&caller.list(&[("isSystem", "true")]).await), ["reader"]);
        let design = caller.json(Method::GET, "pipelines", &[("orgId", ORG)], "").await.1;
        assert_eq!(ids(&design), ["design"]);
        assert_eq!(caller.list(&[("pageSize", "0")]).await["code"], 61176);
        assert_eq!(caller.list(&[("pageNo", "-1")]).await["code"], 61176);
    }
    let (simulator, caller) = simulator(Options { max_page_size: Some(2), ..Options::default() }, "RUNNING").await;
    (0..3).for_each(|n| simulator.add(Pipeline::new(ORG, &format!("p{n}"), "x", "RUNNING")));
    assert_eq!(ids(&caller.list(&[("pageSize", "100")]).await).len(), 2);
}

#[tokio::test]
async fn details_have_no_status_and_two_sides() {
    let (_simulator, caller) = simulator(Options::default(), "RUNNING").await;
    let details =
        async |released| caller.json(Method::GET, &format!("pipeline/{ID}"), &[("orgId", ORG), ("ifReleased", released)], "").await.1;
    let found = details("true").await;
    assert_eq!((&found["data"]["pipelineName"], &found["data"]["status"]), (&json!("demo"), &Value::Null));
    assert_eq!(details("false").await["msg"], "Stream processing job does not exit.");
}

#[tokio::test]
async fn lag_is_told_of_running_pipelines_in_both_shapes() {
    let (first, caller) = simulator(Options::default(), "PAUSED").await;
    assert_eq!(caller.lag().await["code"], 99000);
    assert_eq!(first.position(ID).await, (400, 600));
    assert_eq!(caller.reset().await["code"], 0);
    assert_eq!(first.position(ID).await, (1000, 0));
    first.produce(ID, 50);
    assert_eq!(caller.start(ID).await["code"], 0);
    testbed::eventually("it to catch up", Duration::from_secs(5), async || {
        let data = caller.lag().await["data"].clone();
        let newest = data["lagAndOffset"].as_array().and_then(|points| points.last().cloned()).unwrap_or_default();
        if newest["lag"] == 0 && newest["offset"] == 1050 { Ok(()) } else { Err(data.to_string()) }
    })
    .await;

    let documented = Options { lag_as_strings: true, data_as_list: true, shuffle_lag: true, ..Options::default() };
    let (_second, caller) = simulator(documented, "RUNNING").await;
    let _ = (caller.lag().await, caller.lag().await);
    let points = caller.lag().await["data"][0]["lagAndOffset"].as_array().expect("points").clone();
    let newest = points.iter().max_by_key(|p| p["ts"].as_u64()).expect("points");
    assert!(points.len() == 4 && newest != &points[0] && newest != &points[3], "{points:?}");
    assert!(newest["lag"].is_string() && newest["offset"].is_string());

    let options = Options { lag_when_not_running: NotRunning::Empty, ..Options::default() };
    let (_third, caller) = simulator(options, "STOPPED").await;
    assert_eq!(caller.lag().await["data"]["lagAndOffset"], json!([]));
}

#[tokio::test]
async fn points_of_lag_may_be_from_before_the_start() {
    let (simulator, caller) = simulator(Options { lag_sample: Duration::from_secs(3600), ..Options::default() }, "PAUSED").await;
    simulator.sample(ID).await;
    let _ = (caller.reset().await, caller.start(ID).await);
    let newest = async || caller.lag().await["data"]["lagAndOffset"].as_array().and_then(|p| p.last().cloned()).unwrap_or_default();
    assert_eq!((newest().await["lag"].clone(), simulator.position(ID).await), (json!(600), (1000, 0)));
    simulator.sample(ID).await;
    assert_eq!(newest().await["lag"], 0);
}

#[tokio::test]
async fn a_reset_goes_to_the_start_where_the_pipeline_says_so() {
    let (simulator, caller) = simulator(Options::default(), "PAUSED").await;
    simulator.remove(ID);
    assert_eq!(caller.reset().await["code"], 61108);
    simulator.add(Pipeline::new(ORG, ID, "demo", "STOPPED").series(400, 1000).reset_to(ResetTo::Earliest));
    assert_eq!(caller.reset().await["code"], 0);
    assert_eq!(simulator.position(ID).await, (0, 1000));
}

#[tokio::test]
async fn business_errors_come_with_the_chosen_http_status() {
    let (_simulator, caller) = simulator(Options { business_errors_http: 400, ..Options::default() }, "PAUSED").await;
    let (status, body) = caller.json(Method::POST, "pipeline/none/offset", &[("orgId", ORG)], "").await;
    assert_eq!((status.as_u16(), &body["code"]), (400, &json!(61108)));
}

#[tokio::test]
async fn a_shell_controls_it() {
    let (simulator, caller) = simulator(Options::default(), "PAUSED").await;
    let send = async |method: Method, path: &str, body: Value| {
        let request =
            caller.http.request(method, format!("{}/simulator/{path}", caller.endpoint)).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        (answer.status().as_u16(), json_of(answer).await)
    };
    let pipeline = json!({ "org": ORG, "id": "shell", "name": "shell", "status": "STOPPED", "backing": { "series": { "offset": 1, "end": 9, "input_per_second": 0.0 } } });
    assert_eq!(send(Method::POST, "pipelines", pipeline.clone()).await.0, 200);
    assert_eq!(send(Method::POST, "pipelines", pipeline).await.0, 400);
    assert_eq!(send(Method::PUT, "pipelines/shell", json!({ "status": "RUN_ERROR" })).await.0, 200);
    assert_eq!(simulator.status("shell"), "RUN_ERROR");
    let shown = json!({ "status": "RUN_ERROR", "resets": 0, "refusedResets": 0, "starts": [], "offset": 1, "lag": 8 });
    assert_eq!(send(Method::GET, "pipelines/shell", json!({})).await, (200, shown));
    assert_eq!(send(Method::GET, "pipelines/none", json!({})).await.0, 404);
    for kind in [json!({ "code": [61168, null] }), json!({ "delay": 1 }), json!("drop"), json!({ "odd-status": "X" })] {
        assert_eq!(send(Method::POST, "faults", json!({ "call": "reset", "when": "before", "kind": kind })).await.0, 200, "{kind}");
    }
    assert_eq!(caller.reset().await["code"], 61168);
    assert_eq!(caller.reset().await["code"], 0, "only delayed");
    assert!(caller.try_reset().await.is_err());
    let calls = send(Method::GET, "calls", json!({})).await.1;
    let last = calls.as_array().and_then(|c| c.last()).expect("calls");
    assert_eq!((&last["call"], &last["status"], &last["effect"]), (&json!("reset"), &Value::Null, &json!(false)));
    assert_eq!(simulator.count(Call::Reset), 3);
}
