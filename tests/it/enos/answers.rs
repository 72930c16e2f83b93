//! E06, E07, E13: answers that do not come, come late or say nothing, and gateways that cannot be reached.

use std::time::Duration;

use serde_json::{Value, json};
use stream_pipeline_api::{RecordPhase, Stage};
use testbed::KeptPort;
use testbed::enos::{Call, Fault, Kind, Options, Simulator, When};

use crate::support::enos::{EnosWorld, ID, SOON, id, pipeline};
use crate::support::sockets::Relay;
use crate::support::status::{assert_has, is_over, message, reset, says};

/// The answer to a reset fails in every way, before the reset is carried out or after it.
async fn answer_lost(test: &str, when: When) {
    let enos = EnosWorld::with_flags(test, Options::default(), &SOON).await;
    let elsewhere = Simulator::start(Options::default()).await;
    // The fault, and what the message says of it.
    let faults = [
        ("drop", Kind::Drop, "was not answered"),
        ("hang", Kind::Hang, "no complete answer within 2s"),
        ("slow", Kind::Delay(Duration::from_secs(4)), "no complete answer within 2s"),
        ("cut", Kind::CutBody, "was not answered"),
        ("html", Kind::Html(200), "something that is not JSON"),
        ("html-502", Kind::Html(502), "(HTTP 502)"),
        ("big", Kind::BigBody, "an answer larger than any of the platform's"),
        ("deep", Kind::DeepJson, ""),
        ("redirect", Kind::Redirect(elsewhere.endpoint()), "a redirect, which is never followed"),
        ("http-500", Kind::Http(500, "An unexpected error occurred".to_owned()), "An unexpected error occurred"),
        ("http-502", Kind::Http(502, "Bad Gateway".to_owned()), "Bad Gateway"),
        ("http-503", Kind::Http(503, "Service unavailable".to_owned()), "Service unavailable"),
        ("http-408", Kind::Http(408, "Request Timeout".to_owned()), "Request Timeout"),
        ("code-12345", Kind::Code(12345, Some("Something new.".to_owned())), "12345: "),
        ("code-99000", Kind::Code(99000, None), "99000: "),
        ("apim-4013", Kind::ApimStatus(4013), "another shape than documented"),
    ];
    let effects = u64::from(when == When::After);
    for (n, (name, kind, _)) in faults.iter().enumerate() {
        enos.sim.add(pipeline(n, name, "PAUSED"));
        enos.sim.fault(Fault::new(Call::Reset, when, kind.clone()).pipeline(&id(n)));
        enos.run(name, enos.spec(&id(n)), Value::Null).await;
    }
    for (n, (name, _, said)) in faults.iter().enumerate() {
        if *name == "deep" {
            // A whole answer with `code` 0, whose `data` makes no sense; it is not looked into.
            let sent = enos.world.wait(name, "an end", is_over).await;
            assert!(matches!(reset(&sent).stage, Stage::Sent | Stage::Held), "expected the request to be sent or held: {sent:?}");
            assert_eq!(enos.calls_for(Call::Reset, &id(n)), 1);
            continue;
        }
        let held = enos.world.reaches(name, "r1", Stage::Held, "OutcomeUnknown").await;
        assert_eq!(
            (says(&held, "Ready").0, says(&held, "OffsetsReset").0, says(&held, "Stalled").0),
            ("False", "Unknown", "True"),
            "{name}"
        );
        let error = reset(&held).error.as_ref().expect("an error");
        assert!(!error.retryable && error.message.contains(said), "{name}: {}", error.message);
        for part in [
            "Reset Pipeline Offset",
            "It is not known whether",
            "Nothing more is sent",
            "EnOS console",
            "onUnknownOutcome: Retry",
            "new id",
        ] {
            assert!(error.message.contains(part), "{name}, {part}: {}", error.message);
        }
        assert!(!error.message.contains("tried again") && !error.message.contains(".."), "{name}: {}", error.message);
        assert_eq!(enos.world.record(&held).await.status.map(|s| s.phase), Some(RecordPhase::Held), "{name}");
        assert_eq!(enos.calls_for(Call::Reset, &id(n)), 1, "{name}: sent once");
    }
    enos.sim.release_hangs();
    // A new id runs; without a request nothing runs, and no error is left.
    for (n, (name, ..)) in faults.iter().enumerate() {
        let request = if n % 2 == 0 { json!({ "id": "r2" }) } else { Value::Null };
        enos.apply_spec(name, enos.spec(&id(n)), request).await;
    }
    for (n, (name, ..)) in faults.iter().enumerate() {
        // A reset that hung or was slow is carried out after all, after the operator has given up.
        let first = if matches!(*name, "hang" | "slow") { 1 } else { effects };
        if n % 2 == 0 {
            enos.sent(name, "r2").await;
            assert_eq!((enos.calls_for(Call::Reset, &id(n)), enos.sim.resets(&id(n))), (2, first + 1), "{name}");
        } else {
            let at_rest = enos.world.wait(name, "no request", |s| says(s, "Ready").1 == "NothingRequested").await;
            assert_eq!((says(&at_rest, "Ready").0, enos.calls_for(Call::Reset, &id(n))), ("True", 1), "{name}");
        }
    }
    assert!(elsewhere.calls().is_empty(), "no redirect is followed: {:?}", elsewhere.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn e06_a_reset_received_and_not_carried_out_is_held_without_an_answer() {
    answer_lost("e06b", When::Before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e06_a_reset_carried_out_is_held_without_an_answer() {
    answer_lost("e06a", When::After).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e07_a_gateway_that_is_down_is_waited_for_and_the_reset_is_sent_once() {
    let kept = KeptPort::new().expect("a port");
    let port = kept.address.rsplit(':').next().and_then(|p| p.parse().ok());
    let mut enos = EnosWorld::new("e07a", Options { port, ..Options::default() }).await;
    enos.sim.add(pipeline(1, "cleaning", "PAUSED"));
    enos.known("p").await;
    let spec = enos.spec(ID);
    std::mem::replace(&mut enos.sim, Simulator::start(Options::default()).await).end().await;
    enos.apply_spec("p", spec.clone(), json!({ "id": "r1" })).await;
    let waits = enos.world.reaches("p", "r1", Stage::Waiting, "EndpointUnreachable").await;
    let (reachable, why, _) = says(&waits, "BackendReachable");
    assert_eq!((reachable, why), ("False", "EndpointUnreachable"));
    assert!(reset(&waits).error.as_ref().is_some_and(|e| e.retryable), "expected an error that heals by itself: {waits:?}");
    assert_has(message(&waits), &["no connection to http://127.0.0.1:", "Check spec.enos.endpoint"]);
    enos.sim = Simulator::start(Options { port, ..Options::default() }).await;
    enos.sim.add(pipeline(1, "cleaning", "PAUSED"));
    let sent = enos.sent("p", "r1").await;
    assert_eq!((enos.reset_calls(), enos.sim.resets(ID), says(&sent, "BackendReachable").0), (1, 1, "True"));
}

#[tokio::test(flavor = "multi_thread")]
async fn e07_a_reset_whose_connection_is_refused_is_planned_anew_and_sent_once() {
    let enos = EnosWorld::with("e07b", "PAUSED").await;
    let mut relay = Relay::start(enos.sim.endpoint().trim_start_matches("http://")).await;
    enos.apply_spec("p", enos.spec_at(ID, &relay.url()), Value::Null).await;
    enos.world.wait("p", "the operator to see it", |s| s.observed_uid.is_some() && s.phase.is_some()).await;
    // Reads use the open connection; a change opens a new one.
    relay.shut().await;
    enos.apply_spec("p", enos.spec_at(ID, &relay.url()), json!({ "id": "r1" })).await;
    let waits = enos.world.reaches("p", "r1", Stage::Waiting, "EndpointUnreachable").await;
    assert_has(message(&waits), &["no connection to"]);
    assert_eq!(enos.reset_calls(), 0, "resets that reached the platform");
    relay.open().await;
    let sent = enos.sent("p", "r1").await;
    assert_eq!((enos.reset_calls(), enos.sim.resets(ID), reset(&sent).attempts), (1, 1, Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn e13_answers_of_a_gateway_that_is_none_are_named_and_waited_out() {
    let enos = EnosWorld::with_flags("e13a", Options::default(), &SOON).await;
    let elsewhere = Simulator::start(Options::default()).await;
    for (n, (kind, reason, said)) in [
        (Kind::RetryAfter(1), "RateLimited", ""),
        (Kind::Http(429, "API rate limit exceeded".to_owned()), "RateLimited", ""),
        (Kind::Http(503, "Service unavailable".to_owned()), "PlatformError", "503: List Pipelines was answered: Service unavailable"),
        (Kind::Http(404, "no Route matched with those values".to_owned()), "UnexpectedAnswer", "spec.enos.endpoint is the API gateway"),
        (Kind::Html(200), "UnexpectedAnswer", "something that is not JSON (HTTP 200)"),
        (Kind::Html(502), "PlatformError", "(HTTP 502)"),
        (Kind::BigBody, "UnexpectedAnswer", "larger than any of the platform's"),
        // JSON of an unknown shape, which must not be taken for an empty list.
        (Kind::DeepJson, "UnexpectedAnswer", "the list holds no objects"),
        (Kind::CutBody, "EndpointUnreachable", "was not answered"),
        (Kind::Redirect(elsewhere.endpoint()), "UnexpectedAnswer", "a redirect, which is never followed (HTTP 307)"),
        (Kind::Redirect("http://169.254.169.254/latest".to_owned()), "UnexpectedAnswer", "a redirect, which is never followed"),
    ]
    .into_iter()
    .enumerate()
    {
        let sim = Simulator::start(Options::default()).await;
        sim.add(pipeline(n, "cleaning", "PAUSED"));
        sim.fault(Fault::new(Call::List, When::Before, kind.clone()).times(u32::MAX));
        let name = format!("p{n}");
        enos.run(&name, enos.spec_at(&id(n), &sim.endpoint()), Value::Null).await;
        let waits = enos.world.reaches(&name, "r1", Stage::Waiting, reason).await;
        assert_eq!(says(&waits, "BackendReachable").0, "False", "{kind:?}");
        assert!(message(&waits).contains(said), "{kind:?}: {}", message(&waits));
        sim.clear_faults();
        enos.sent(&name, "r1").await;
        assert_eq!((sim.count(Call::Reset), sim.resets(&id(n))), (1, 1), "{kind:?}");
    }
    assert!(elsewhere.calls().is_empty(), "nothing is sent elsewhere: {:?}", elsewhere.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn e13_a_gateway_that_asks_for_a_pause_gets_one() {
    let enos = EnosWorld::with("e13p", "PAUSED").await;
    enos.sim.fault(Fault::new(Call::Reset, When::Before, Kind::RetryAfter(2)));
    enos.run("p", enos.spec(ID), Value::Null).await;
    enos.sent("p", "r1").await;
    let calls = enos.sim.calls();
    let at = calls.iter().position(|c| c.call == Call::Reset).expect("a reset");
    let pause = calls[at + 1].at.duration_since(calls[at].at).expect("in order");
    assert!(pause >= Duration::from_millis(1900), "nothing is called for 2 s: {pause:?}");
    assert_eq!((enos.reset_calls(), enos.sim.resets(ID)), (2, 1), "429 says that nothing was done");
}
