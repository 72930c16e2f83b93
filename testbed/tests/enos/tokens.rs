//! Tokens, signatures, permissions, certificates.

use std::time::Duration;

use reqwest::{Certificate as Pem, Method};
use serde_json::json;
use testbed::enos::{
    ACCESS_KEY, Application, Call, Certificate, ExpiredToken, Options, Organisation, Pipeline, SECRET_KEY, Simulator, encryption,
};

use crate::client::{Caller, ID, ORG, http, json_of, now, simulator};

#[tokio::test]
async fn one_token_lives_per_access_key() {
    let (simulator, caller) = simulator(Options::default(), "PAUSED").await;
    let at = now() + 1;
    let again = caller.token_get(at).await;
    assert_eq!(again["data"]["accessToken"], caller.token);
    assert!(again["data"]["expire"].as_u64().is_some_and(|rest| (7190..=7200).contains(&rest)), "{again}");
    assert_eq!(caller.token_get(at).await["status"], 1001);
    simulator.expire_tokens();
    let answer = caller.try_reset().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(json_of(answer).await, json!({ "message": "Invalid authentication credentials" }));
    let fresh = caller.token_get(now() + 2).await;
    assert_ne!(fresh["data"]["accessToken"], caller.token);
    assert_eq!(simulator.resets(ID), 0);
}

#[tokio::test]
async fn token_requests_are_refused_with_the_documented_codes() {
    let (_simulator, caller) = simulator(Options::default(), "PAUSED").await;
    let at = now() + 10;
    let with = |key: &str, secret: &str, at: i64| json!({ "appKey": key, "encryption": encryption(key, &at.to_string(), secret), "timestamp": at });
    for (body, code) in [
        (json!({ "appKey": ACCESS_KEY, "timestamp": at }), 1202),
        (json!({ "appKey": ACCESS_KEY, "encryption": "x", "timestamp": "yesterday" }), 1004),
        (with("nobody", SECRET_KEY, at), 1002),
        (with(ACCESS_KEY, "wrong", at), 1003),
        (with(ACCESS_KEY, SECRET_KEY, at - 16 * 60 * 1000), 1003),
        (
            json!({ "appKey": ACCESS_KEY, "encryption": encryption(ACCESS_KEY, &at.to_string(), SECRET_KEY), "timestamp": at.to_string() }),
            0,
        ),
    ] {
        assert_eq!(caller.token("get", body.clone()).await["status"], code, "{body}");
    }
}

#[tokio::test]
async fn a_refresh_gives_a_new_token_and_may_end_the_old() {
    for kills in [false, true] {
        let (_simulator, mut caller) = simulator(Options { refresh_kills_old: kills, ..Options::default() }, "PAUSED").await;
        let at = now() + 1;
        let refresh = |token: &str, at: i64| {
            let encryption = encryption(ACCESS_KEY, &at.to_string(), SECRET_KEY);
            json!({ "appKey": ACCESS_KEY, "encryption": encryption, "timestamp": at, "accessToken": token })
        };
        assert_eq!(caller.token("refresh", refresh("unknown", at)).await["status"], 1204);
        let fresh = caller.token("refresh", refresh(&caller.token, at + 1)).await;
        assert_eq!(caller.try_reset().await.unwrap().status(), if kills { 401 } else { 200 });
        caller.token = fresh["data"]["accessToken"].as_str().unwrap().to_owned();
        assert_eq!(caller.reset().await["code"], 0);
    }
}

#[tokio::test]
async fn a_call_must_be_signed_now() {
    let (simulator, mut caller) = simulator(Options::default(), "PAUSED").await;
    let path = format!("pipeline/{ID}/offset");
    let late = caller.send_at(Method::POST, &path, &[("orgId", ORG)], "", now() - 16 * 60 * 1000).await.unwrap();
    assert_eq!(late.status(), 401);
    let url = format!("{}/streaming/v2.0/streaming/{path}?orgId={ORG}", caller.endpoint);
    let unsigned = caller.http.post(&url).header("apim-accesstoken", &caller.token);
    assert_eq!(unsigned.send().await.unwrap().status(), 401);
    let wrong = caller.http.post(&url).header("apim-accesstoken", &caller.token).header("apim-timestamp", now().to_string());
    assert_eq!(wrong.header("apim-signature", "0".repeat(64)).send().await.unwrap().status(), 401);
    // Escaped on the way, signed unescaped.
    assert_eq!(caller.send(Method::POST, &path, &[("orgId", ORG), ("x", "a%20b")], "").await.unwrap().status(), 401);
    assert_eq!(caller.send(Method::POST, &path, &[("orgId", ORG), ("x", "a b")], "").await.unwrap().status(), 200);
    caller.token = "unknown".to_owned();
    assert_eq!(caller.try_reset().await.unwrap().status(), 401);
    assert_eq!((simulator.resets(ID), simulator.count(Call::Reset)), (1, 6));
    let last = simulator.calls().pop().unwrap();
    assert_eq!((last.token.as_deref(), last.status, last.effect), (Some("unknown"), Some(401), false));
    assert!(last.until.is_some_and(|until| until >= last.at));
}

#[tokio::test]
async fn an_expired_token_can_be_refused_in_three_ways() {
    for (how, field, value) in [
        (ExpiredToken::Http401, "message", json!("Invalid authentication credentials")),
        (ExpiredToken::Code1203, "code", json!(1203)),
        (ExpiredToken::ApimStatus(4011), "apim_status", json!(4011)),
    ] {
        let options = Options { expired_token: how, token_life: Duration::from_millis(1), ..Options::default() };
        let (_simulator, caller) = simulator(options, "PAUSED").await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(caller.reset().await[field], value);
    }
}

#[tokio::test]
async fn the_vendors_sdk_header_is_taken_where_it_is_allowed() {
    for accept in [false, true] {
        let (simulator, caller) = simulator(Options { accept_sdk_header: accept, ..Options::default() }, "PAUSED").await;
        let url = format!("{}/streaming/v2.0/streaming/pipeline/{ID}/offset?orgId={ORG}", caller.endpoint);
        let answer = caller.http.post(url).header("apim-accesstoken", "A".repeat(344)).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), simulator.resets(ID)), if accept { (200, 1) } else { (401, 0) });
    }
}

#[tokio::test]
async fn an_application_sees_its_organisations_only() {
    let options = Options {
        organisations: vec![Organisation::new(ORG), Organisation::new("o2"), Organisation::new("o3")],
        applications: vec![Application::new(ACCESS_KEY, SECRET_KEY, &[ORG, "o2"])],
        ..Options::default()
    };
    let (simulator, caller) = simulator(options, "PAUSED").await;
    simulator.add(Pipeline::new("o3", "third", "third", "PAUSED"));
    let path = format!("pipeline/{ID}/offset");
    let reset = async |org: &str| caller.json(Method::POST, &path, &[("orgId", org)], "").await.1;
    assert_eq!(reset("o3").await["code"], 99403);
    assert_eq!(reset("o4").await["msg"], "Denied resource: orgId o4");
    assert_eq!(reset("o2").await["msg"], "Stream processing job does not exit.");
    assert_eq!(reset(ORG).await["code"], 0);
}

#[tokio::test]
async fn only_the_good_certificate_verifies() {
    for certificate in [Certificate::Good, Certificate::WrongHost, Certificate::Expired, Certificate::UnknownCa] {
        let simulator = Simulator::start(Options { tls: true, certificate, ..Options::default() }).await;
        let pem = Pem::from_pem(simulator.ca_pem().as_bytes()).unwrap();
        let http = http().tls_certs_only([pem]).build().unwrap();
        let answer = http.get(format!("{}/simulator/calls", simulator.endpoint())).send().await;
        assert_eq!(answer.is_ok(), certificate == Certificate::Good, "{certificate:?}: {answer:?}");
    }
}

#[tokio::test]
async fn it_ends_and_comes_back_on_its_port() {
    let (first, caller) = simulator(Options::default(), "PAUSED").await;
    let port = first.endpoint().rsplit(':').next().unwrap().parse().unwrap();
    first.end().await;
    assert!(caller.try_reset().await.is_err());
    let second = Simulator::start_in_thread(Options { port: Some(port), ..Options::default() }).unwrap();
    assert_eq!(caller.try_reset().await.unwrap().status(), 401);
    drop(second);
    assert!(Caller { endpoint: caller.endpoint.clone(), ..caller }.try_reset().await.is_err());
}
