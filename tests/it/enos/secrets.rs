//! F05, F15: credentials that are missing, wrong or rotated.

use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::enos::{ACCESS_KEY, Application, Call, ORGANISATION, Options, SECRET_KEY};

use crate::support::enos::{EnosWorld, ID, credentials, id, numbered};
use crate::support::status::{message, reset, says};
use crate::support::world::LIMIT;

/// With a wrong Secret the request waits with this message, and goes on by itself once the Secret is right.
async fn put_right(test: &str, secret: Value, reason: &str, said: &[&str]) {
    let enos = EnosWorld::with(test, "PAUSED").await;
    if !secret.is_null() {
        enos.world.secret("tenant", secret).await;
    }
    enos.run("p", enos.spec_with_secret(ID, "tenant"), Value::Null).await;
    let waits = enos.world.reaches("p", "r1", Stage::Waiting, reason).await;
    for part in said {
        assert!(message(&waits).contains(part), "{part}: {}", message(&waits));
    }
    assert_eq!((says(&waits, "BackendReachable").0, says(&waits, "BackendReachable").1), ("False", reason));
    assert!(reset(&waits).error.as_ref().is_some_and(|e| e.retryable));
    assert!(enos.sim.calls().iter().all(|c| c.call == Call::TokenGet), "expected no call but for a token");
    enos.world.secret("tenant", credentials()).await;
    let sent = enos.sent("p", "r1").await;
    assert_eq!(
        (enos.reset_calls(), enos.sim.resets(ID), says(&sent, "BackendReachable").0),
        (1, 1, "True"),
        "resets that were called and carried out, and BackendReachable, without a restart"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn f05_a_missing_secret_is_named_and_picked_up() {
    put_right("f05a", Value::Null, "SecretNotFound", &["Secret tenant is not in this namespace", "create it"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f05_a_secret_without_a_key_is_named_and_picked_up() {
    let secret = json!({ "accessKey": ACCESS_KEY, "secret": SECRET_KEY });
    put_right("f05b", secret, "SecretNotFound", &["Secret tenant has no key secretKey", "it has accessKey, secret", "add it"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f05_a_wrong_secret_key_is_named_and_picked_up() {
    let secret = json!({ "accessKey": ACCESS_KEY, "secretKey": "wrong" });
    put_right("f05c", secret, "AuthenticationFailed", &["1003: ", "Correct secretKey in the Secret", "clock"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f05_an_unknown_access_key_is_named_and_picked_up() {
    let secret = json!({ "accessKey": "wrong", "secretKey": SECRET_KEY });
    put_right("f05d", secret, "AuthenticationFailed", &["1002: ", "Correct accessKey in the Secret"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f05_a_value_that_ends_with_a_line_break_is_named_and_picked_up() {
    let secret = json!({ "accessKey": ACCESS_KEY, "secretKey": format!("{SECRET_KEY}\n") });
    put_right("f05e", secret, "AuthenticationFailed", &["1003: ", "A value in Secret tenant ends with a line break"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f05_an_empty_value_is_named_and_picked_up() {
    let secret = json!({ "accessKey": ACCESS_KEY, "secretKey": "" });
    put_right("f05f", secret, "AuthenticationFailed", &["Secret tenant cannot be used", "empty"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f05_a_rotated_secret_is_used_without_a_restart_and_a_deleted_one_is_missed() {
    let second = Application::new("second-key", "second-secret", &[ORGANISATION]);
    let applications = vec![Application::new(ACCESS_KEY, SECRET_KEY, &[ORGANISATION]), second];
    let enos = EnosWorld::new("f05g", Options { applications, ..Options::default() }).await;
    enos.sim.add(numbered(1, "PAUSED"));
    enos.run("p", enos.spec(ID), Value::Null).await;
    enos.sent("p", "r1").await;
    let with_second = || enos.sim.calls().iter().filter(|c| c.call == Call::TokenGet && c.body.contains("second-key")).count();
    assert_eq!(with_second(), 0);
    enos.world.secret("app", json!({ "accessKey": "second-key", "secretKey": "second-secret" })).await;
    testbed::eventually("the new key to be used", LIMIT, async || if with_second() > 0 { Ok(()) } else { Err("not yet".to_owned()) }).await;
    enos.apply("p", ID, json!({ "id": "r2" })).await;
    enos.sent("p", "r2").await;
    assert_eq!((enos.sim.resets(ID), with_second()), (2, 1));
    enos.world.delete_secret("app").await;
    let missed = enos.world.wait("p", "the Secret to be missed", |s| says(s, "BackendReachable").1 == "SecretNotFound").await;
    assert_eq!(reset(&missed).stage, Stage::Sent, "the stage, where the last result stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn f15_a_tenant_with_a_wrong_secret_is_not_noticed_by_the_other_on_the_same_gateway() {
    let mut enos = EnosWorld::new("f15", Options::default()).await;
    // The same access key: to the gateway both are one application.
    enos.world.secret("wrong", json!({ "accessKey": ACCESS_KEY, "secretKey": "wrong" })).await;
    for n in 1..=20 {
        enos.sim.add(numbered(n, "PAUSED"));
        enos.run(&format!("wrong{n}"), enos.spec_with_secret(&id(n), "wrong"), Value::Null).await;
    }
    for n in 1..=20 {
        enos.world.reaches(&format!("wrong{n}"), "r1", Stage::Waiting, "AuthenticationFailed").await;
    }
    for n in 21..=25 {
        enos.sim.add(numbered(n, "PAUSED"));
        enos.run(&format!("right{n}"), enos.spec(&id(n)), Value::Null).await;
    }
    for n in 21..=25 {
        let sent = enos.sent(&format!("right{n}"), "r1").await;
        let took = reset(&sent).completed_at.zip(reset(&sent).accepted_at).map(|(end, begin)| end.duration_since(begin));
        assert!(took.is_some_and(|t| t.as_secs() < 10), "expected a reset within 10 s: {took:?}");
        assert_eq!(enos.sim.resets(&id(n)), 1);
    }
    let log = enos.world.operator().log();
    let hindered: Vec<_> = log.lines().filter(|l| l.contains("name=\"right") && l.contains("AuthenticationFailed")).collect();
    assert!(hindered.is_empty(), "expected no refusal of those that are right: {hindered:?}");
    // Twenty pipelines with the same wrong Secret ask as seldom as one.
    let refused = enos.sim.calls().iter().filter(|c| c.call == Call::TokenGet && c.code == Some(1003)).count();
    assert!((1..=8).contains(&refused), "{refused} refused calls");
    for n in 1..=20 {
        assert_eq!(enos.sim.resets(&id(n)), 0);
    }
}
