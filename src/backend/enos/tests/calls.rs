//! What is sent, signed and understood; tokens that are refused; pauses that the gateway asks for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::stub::*;
use crate::backend::enos::failure::Effect;
use crate::backend::enos::pool::ClientPool;
use crate::backend::enos::{Credentials, FailureKind, Settings, StartBody, sign};
use crate::backend::http::HttpPolicy;

#[tokio::test]
async fn calls_are_sent_as_documented_and_signed_as_sent() {
    let stub = Stub::start(|_, _| ok());
    let client = stub.client();
    let body = StartBody { execution_mode: 0, kafka_rate: 1000, resource_config: Some(json!({"server": "1"})) };
    client.reset(ORG, ID, soon()).await.unwrap();
    client.pause(ORG, ID, soon()).await.unwrap();
    client.start(ORG, ID, &body, soon()).await.unwrap();
    assert_eq!(client.offset_lag(ORG, ID).await, Ok(None));
    let calls = stub.calls();
    let base = format!("/streaming/v2.0/streaming/pipeline/{ID}");
    let shown: Vec<_> = calls.iter().map(|a| format!("{} {}", a.method, a.target)).collect();
    assert_eq!(
        shown,
        [
            format!("POST {base}/offset?orgId={ORG}"),
            format!("POST {base}?action=pause&orgId={ORG}"),
            format!("POST {base}?action=start&orgId={ORG}"),
            format!("GET {base}/offset-lag?orgId={ORG}"),
        ]
    );
    assert_eq!(calls[2].body, r#"{"executionMode":0,"kafkaRate":1000,"resourceConfig":{"server":"1"}}"#);
    assert!(calls[..2].iter().all(|a| a.body.is_empty() && a.header("content-length") == Some("0")));
    let mut times = Vec::new();
    for (call, action) in calls.iter().zip([None, Some("pause"), Some("start"), None]) {
        let query: Vec<_> = [("orgId", ORG)].into_iter().chain(action.map(|a| ("action", a))).collect();
        let time: i64 = call.header("apim-timestamp").unwrap().parse().unwrap();
        let token = call.header("apim-accesstoken").unwrap();
        assert_eq!(call.header("apim-signature").unwrap(), sign::signature(token, &query, call.body.as_bytes(), time, SECRET));
        assert_eq!(call.header("content-type"), Some("application/json;charset=UTF-8"));
        times.push(time);
    }
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    let asked = stub.asked();
    assert_eq!(asked[0].target, "/apim-token-service/v2.0/token/get", "not even a bare question mark");
    let token: serde_json::Value = serde_json::from_str(&asked[0].body).unwrap();
    let time = token["timestamp"].as_i64().unwrap();
    assert_eq!(token, json!({"appKey": KEY, "timestamp": time, "encryption": sign::encryption(KEY, time, SECRET)}));
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    for refusal in [
        (|| Do::Say(401, r#"{"message":"Invalid authentication credentials"}"#.into())) as fn() -> Do,
        || say(r#"{"code":1203,"msg":"expired"}"#),
        || say(r#"{"apim_status":4011,"apim_refreshtoken":"x"}"#),
    ] {
        let stub = Stub::start(move |n, _| if n == 0 { refusal() } else { ok() });
        stub.client().reset(ORG, ID, soon()).await.unwrap();
        let tokens: Vec<_> = stub.calls().iter().map(|a| a.header("apim-accesstoken").unwrap().to_owned()).collect();
        assert_eq!(tokens, [format!("{TOKEN}-1"), format!("{TOKEN}-2")]);
    }
}

#[tokio::test]
async fn what_may_have_been_carried_out_is_never_repeated() {
    for doubtful in [
        (|| Do::Say(401, r#"{"code":0}"#.into())) as fn() -> Do,
        || say(r#"{"code":4711,"apim_status":4011}"#),
        || Do::Say(500, r#"{"apim_status":4011}"#.into()),
        || Do::Raw(b"HTTP/1.1 401 X\r\nContent-Length: 50\r\n\r\n{".to_vec()),
    ] {
        let stub = Stub::start(move |_, _| doubtful());
        let failure = stub.client().reset(ORG, ID, soon()).await.unwrap_err();
        assert_eq!((failure.effect, stub.calls().len()), (Effect::Unknown, 1), "{failure}");
    }
}

#[tokio::test]
async fn credentials_that_stay_refused_are_asked_for_a_while_from_memory() {
    let stub = Stub::start(|_, _| Do::Raw(http(401, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "{\"message\":\"no\"}")));
    let client = stub.client();
    let failure = client.reset(ORG, ID, soon()).await.unwrap_err();
    assert_eq!((failure.kind, failure.effect, stub.calls().len()), (FailureKind::Unauthorized, Effect::Refused, 2));
    assert!(failure.clock_gap.unwrap() < -900_000_000);
    let again = client.reset(ORG, ID, soon()).await.unwrap_err();
    assert_eq!((again.kind, again.effect, stub.calls().len()), (FailureKind::Unauthorized, Effect::NotSent, 2));
    assert!(again.retry_after.is_some_and(|left| left <= Duration::from_secs(1)));
}

#[tokio::test]
async fn a_wrong_secret_is_one_token_call_for_all_and_nobody_elses_matter() {
    let stub = Stub::bare(|asked| {
        if asked.is_token() && asked.body.contains("other-key") {
            return say(r#"{"status":0,"data":{"accessToken":"t","expire":"7200"}}"#);
        }
        std::thread::sleep(Duration::from_millis(50));
        if asked.is_token() { say(r#"{"status":1003,"msg":"encryption not valid"}"#) } else { ok() }
    });
    let clients = ClientPool::default();
    let now = Instant::now();
    let wrong = clients.get("one", stub.settings(), now).unwrap();
    let right = Settings { credentials: Credentials::new("other-key", SECRET), ..stub.settings() };
    let right = clients.get("two", right, now).unwrap();
    let attempts: Vec<_> = (0..50).map(|_| wrong.clone()).map(|c| tokio::spawn(async move { c.details(ORG, ID, true).await })).collect();
    right.reset(ORG, ID, soon()).await.unwrap();
    assert!(now.elapsed() < Duration::from_secs(1));
    for attempt in attempts {
        let failure = attempt.await.unwrap().unwrap_err();
        assert_eq!((failure.kind, failure.effect, failure.code), (FailureKind::Unauthorized, Effect::NotSent, Some(1003)));
    }
    assert_eq!(stub.asked().iter().filter(|a| a.body.contains(KEY)).count(), 1);
}

#[tokio::test]
async fn a_repeated_encryption_is_asked_with_a_new_time() {
    let calls = AtomicUsize::new(0);
    let stub = Stub::bare(move |asked| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => say(r#"{"status":1001}"#),
        _ if asked.is_token() => say(r#"{"status":0,"data":[{"accessToken":"t","expire":7200}]}"#),
        _ => ok(),
    });
    stub.client().reset(ORG, ID, soon()).await.unwrap();
    let bodies: Vec<_> = stub.asked().into_iter().filter(Asked::is_token).map(|a| a.body).collect();
    assert_eq!(bodies.len(), 2);
    assert_ne!(bodies[0], bodies[1]);
}

#[tokio::test]
async fn a_429_is_waited_for_and_told() {
    let stub = Stub::start(|n, _| if n == 0 { Do::Raw(http(429, "Retry-After: 30\r\n", "{}")) } else { ok() });
    let client = stub.client();
    let failure = client.reset(ORG, ID, soon()).await.unwrap_err();
    assert_eq!((failure.kind, failure.effect), (FailureKind::RateLimited, Effect::Refused));
    assert_eq!(failure.retry_after, Some(Duration::from_secs(30)));
    let begun = Instant::now();
    let failure = client.reset(ORG, ID, soon()).await.unwrap_err();
    assert_eq!((failure.kind, failure.effect, stub.calls().len()), (FailureKind::RateLimited, Effect::NotSent, 1));
    assert!(failure.retry_after.is_some_and(|left| left > Duration::from_secs(25)) && begun.elapsed() < Duration::from_secs(1));

    let stub = Stub::start(|n, _| if n == 0 { Do::Raw(http(429, "Retry-After: 1\r\n", "{}")) } else { ok() });
    let client = stub.client();
    client.reset(ORG, ID, soon()).await.unwrap_err();
    client.reset(ORG, ID, soon()).await.unwrap();
    let calls = stub.calls();
    assert!(calls[1].at - calls[0].at > Duration::from_millis(900));
}

#[tokio::test]
async fn ids_that_cannot_be_one_go_nowhere() {
    let stub = Stub::start(|_, _| ok());
    let client = stub.client();
    for id in ["", ".", "..", "null", "a b", "a\n", &"x".repeat(257)] {
        let failure = client.reset(ORG, id, soon()).await.unwrap_err();
        assert_eq!((failure.kind, failure.effect), (FailureKind::BadArgument, Effect::NotSent), "{id:?}");
        assert!(client.reset(id, ID, soon()).await.is_err() && client.pipelines(id, Instant::now()).await.is_err());
    }
    assert_eq!(stub.connections(), 0);
    client.reset("o1&action=stop", "a/../b?c#d%2e", soon()).await.unwrap();
    assert_eq!(stub.calls()[0].target, "/streaming/v2.0/streaming/pipeline/a%2F..%2Fb%3Fc%23d%252e/offset?orgId=o1%26action%3Dstop");
}

#[tokio::test]
async fn clients_are_shared_and_closed_when_idle() {
    let stub = Stub::start(|_, _| ok());
    let (clients, now) = (ClientPool::default(), Instant::now());
    for (namespace, secret, count) in [("a", "1", 1), ("a", "1", 1), ("b", "1", 2), ("b", "2", 3)] {
        let credentials = Credentials::new(KEY, secret);
        clients.get(namespace, Settings { credentials, ..stub.settings() }, now).unwrap();
        assert_eq!(clients.count(), count);
    }
    let other_ca = Settings { ca_pem: Some(rcgen_pem()), ..stub.settings() };
    clients.get("b", other_ca, now + Duration::from_secs(200)).unwrap();
    assert_eq!(clients.count(), 4);
    clients.sweep(now + Duration::from_secs(299));
    assert_eq!(clients.count(), 4);
    clients.sweep(now + Duration::from_secs(300));
    assert_eq!(clients.count(), 1);
    assert!(
        clients
            .get(
                "a",
                Settings { policy: HttpPolicy { endpoints: Arc::default(), allow_plain_http: true }, ..settings("http://127.0.0.1") },
                now
            )
            .is_err()
    );
    assert_eq!(clients.count(), 1);
}

fn rcgen_pem() -> Vec<u8> {
    rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap().cert.pem().into_bytes()
}
