//! Each fault on its side of the effect, and calls that are stopped.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::enos::{Call, Fault, Kind, Options, Pipeline, When};

use crate::client::{ID, ORG, ids, now, simulator};

#[tokio::test]
async fn answers_are_spoiled_on_their_side_of_the_effect() {
    let (simulator, caller) = simulator(Options::default(), "PAUSED").await;
    for (n, when) in [(0, When::Before), (1, When::After)] {
        for kind in [Kind::Drop, Kind::CutBody] {
            let before = simulator.resets(ID);
            simulator.fault(Fault::new(Call::Reset, when, kind.clone()));
            let answer = match caller.try_reset().await {
                Ok(answer) => answer.text().await,
                Err(error) => Err(error),
            };
            assert!(answer.is_err(), "{kind:?}: {answer:?}");
            assert_eq!(simulator.resets(ID) - before, n, "{kind:?} {when:?}");
        }
        for (kind, status, text) in [
            (Kind::Code(61168, None), 200, r#""msg":"Failed to get the Kafka average rate.""#),
            (Kind::Code(12, Some("free".into())), 200, r#""msg":"free""#),
            (Kind::Http(503, "Service unavailable".into()), 503, r#"{"message":"Service unavailable"}"#),
            (Kind::RetryAfter(7), 429, "API rate limit exceeded"),
            (Kind::Html(200), 200, "<html>"),
            (Kind::Html(502), 502, "<html>"),
            (Kind::Redirect("http://127.0.0.1:9/x".into()), 307, ""),
            (Kind::ApimStatus(4011), 200, r#""apim_status":4011"#),
        ] {
            let before = simulator.resets(ID);
            simulator.fault(Fault::new(Call::Reset, when, kind.clone()).pipeline(ID).org(ORG));
            let answer = caller.try_reset().await.unwrap();
            assert_eq!(answer.status(), status, "{kind:?}");
            let header = |name: &str| answer.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
            assert_eq!(header("retry-after").is_some(), matches!(kind, Kind::RetryAfter(_)));
            assert_eq!(header("location").is_some(), matches!(kind, Kind::Redirect(_)));
            let body = answer.text().await.unwrap();
            assert!(body.contains(text), "{kind:?}: {body}");
            assert_eq!(simulator.resets(ID) - before, n, "{kind:?} {when:?}");
        }
    }
    let effects: Vec<_> = simulator.calls().iter().filter(|r| r.call == Call::Reset).map(|r| r.effect).collect();
    assert_eq!((effects.len(), effects.iter().filter(|e| **e).count()), (20, 10));
    assert!(simulator.calls().iter().all(|r| r.call == Call::TokenGet || r.org.as_deref() == Some(ORG)));
    simulator.clear_calls();
    assert!(simulator.calls().is_empty());
}

#[tokio::test]
async fn bodies_can_be_large_or_deep() {
    let (simulator, caller) = simulator(Options::default(), "PAUSED").await;
    simulator.fault(Fault::new(Call::Reset, When::Before, Kind::BigBody));
    assert!(caller.try_reset().await.unwrap().bytes().await.unwrap().len() > 10 << 20);
    simulator.fault(Fault::new(Call::Reset, When::Before, Kind::DeepJson));
    assert!(caller.try_reset().await.unwrap().text().await.unwrap().contains(&"[".repeat(10_000)));
}

#[tokio::test]
async fn a_fault_fits_its_call_and_is_used_up() {
    let (simulator, caller) = simulator(Options::default(), "PAUSED").await;
    simulator.fault(Fault::new(Call::Reset, When::Before, Kind::Code(61168, None)).pipeline("another"));
    simulator.fault(Fault::new(Call::Pause, When::Before, Kind::Code(61168, None)));
    assert_eq!(caller.reset().await["code"], 0);
    simulator.fault(Fault::new(Call::Reset, When::Before, Kind::Code(61168, None)).times(2));
    let codes = [caller.reset().await, caller.reset().await, caller.reset().await].map(|a| a["code"].clone());
    assert_eq!(codes, [61168, 61168, 0]);
    simulator.fault(Fault::new(Call::TokenGet, When::Before, Kind::Code(1005, None)));
    assert_eq!(caller.token_get(now() + 1).await["status"], 1005);
    simulator.fault(Fault::new(Call::Reset, When::Before, Kind::Drop));
    simulator.clear_faults();
    assert_eq!(caller.reset().await["code"], 0);
}

#[tokio::test]
async fn the_list_can_say_odd_things() {
    for data_as_list in [false, true] {
        let (simulator, caller) = simulator(Options { data_as_list, ..Options::default() }, "RUNNING").await;
        simulator.add(Pipeline::new(ORG, "second", "second", "RUNNING"));
        simulator.fault(Fault::new(Call::List, When::After, Kind::OddStatus("MELTING".into())).pipeline("second"));
        let list = caller.list(&[]).await;
        let data = if data_as_list { &list["data"][0] } else { &list["data"] };
        let statuses: Vec<_> = data["pipelines"].as_array().unwrap().iter().map(|p| p["status"].as_str().unwrap()).collect();
        assert_eq!(statuses, ["RUNNING", "MELTING"]);
        assert_eq!(simulator.status("second"), "RUNNING");
    }
}

#[tokio::test]
async fn a_pipeline_moves_over_the_border_of_two_pages() {
    let (simulator, caller) = simulator(Options::default(), "RUNNING").await;
    ["a", "b", "c"].iter().for_each(|id| simulator.add(Pipeline::new(ORG, id, id, "RUNNING")));
    simulator.fault(Fault::new(Call::List, When::After, Kind::ShiftPages));
    let page = async |n: &str| caller.list(&[("pageSize", "2"), ("pageNo", n)]).await;
    let (one, two) = (page("1").await, page("2").await);
    assert_eq!((ids(&one), ids(&two)), (vec![ID, "a"], vec!["c", ID]), "b was on neither");
}

#[tokio::test]
async fn calls_are_stopped_on_either_side_and_go_on() {
    let (simulator, caller) = simulator(Options::default(), "PAUSED").await;
    for (n, when) in [(0, When::Before), (1, When::After)] {
        let before = simulator.resets(ID);
        let held = simulator.hold(Call::Reset, when);
        let test = async {
            held.reached().await;
            assert_eq!(simulator.resets(ID) - before, n, "{when:?}");
            let last = simulator.calls().pop().unwrap();
            assert_eq!((last.effect, last.status), (n == 1, None));
            held.release();
        };
        let (answer, ()) = tokio::join!(caller.reset(), test);
        assert_eq!((answer["code"].as_i64(), simulator.resets(ID) - before), (Some(0), 1));
    }
    // A trap that was dropped stops nothing.
    drop(simulator.hold(Call::Reset, When::Before));
    assert_eq!(caller.reset().await["code"], 0);
}

#[tokio::test]
async fn what_a_client_gave_up_on_still_happens() {
    let (simulator, caller) = simulator(Options::default(), "PAUSED").await;
    let held = simulator.hold_pipeline(Call::Reset, When::Before, ID);
    tokio::select! {
        answer = caller.try_reset() => panic!("{answer:?}"),
        () = held.reached() => {}
    }
    held.release();
    testbed::eventually("the reset", Duration::from_secs(5), async || if simulator.resets(ID) == 1 { Ok(()) } else { Err("none".into()) })
        .await;
}

#[tokio::test]
async fn calls_are_delayed_or_hang() {
    let (simulator, caller) = simulator(Options::default(), "PAUSED").await;
    let begun = Instant::now();
    simulator.fault(Fault::new(Call::Reset, When::After, Kind::Delay(Duration::from_millis(80))));
    assert_eq!(caller.reset().await["code"], 0);
    assert!(begun.elapsed() >= Duration::from_millis(80));
    simulator.fault(Fault::new(Call::Reset, When::Before, Kind::Hang).times(2));
    let release = async {
        testbed::eventually("two to hang", Duration::from_secs(5), async || match simulator.hanging() {
            2 => Ok(()),
            n => Err(n.to_string()),
        })
        .await;
        assert_eq!((simulator.resets(ID), simulator.max_in_flight()), (1, 2));
        simulator.release_hangs();
    };
    let (one, two, ()): (Value, Value, ()) = tokio::join!(caller.reset(), caller.reset(), release);
    assert_eq!((one, two), (json!({ "code": 0, "msg": "OK" }), json!({ "code": 0, "msg": "OK" })));
}
