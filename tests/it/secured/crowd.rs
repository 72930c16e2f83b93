//! Many that are wrong beside one that is right; and nothing of what is secret is shown (F06).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use serde_json::json;
use stream_pipeline_operator::api::Stage;
use testbed::http_get;
use testbed::secured::{ALICE, ALICE_PASSWORD, CLIENT_SECRET};
use tokio::net::{TcpListener, TcpStream};

use crate::support::observing::{base64, percent};
use crate::support::secured::{Locked, Way, login, oauth, run, tls, with_certificate};
use crate::support::world::LIMIT;

/// Counts the connections to a listener. A client that is refused knows no other address than this one.
async fn counted(to: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let to = to.clone();
            tokio::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(to).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    (address, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn f15_fifty_with_a_wrong_password_do_not_hinder_one_and_log_in_seldom() {
    let mut locked = Locked::new("sf15", &["--concurrency=16", "--max-backoff=30s"]).await;
    locked.let_in();
    locked.secret("wrong", json!({ "username": ALICE, "password": "wrong" })).await;
    let (at, seen) = counted(locked.secured.sasl_plaintext()).await;
    let topic = locked.world.topic(&[10]).await;
    let wrong = Way::new("wrong", at, serde_json::Value::Null, login("SCRAM-SHA-512", "wrong"));
    for n in 0..50 {
        locked.apply(&format!("wrong{n}"), &wrong, &locked.world.unique("g"), run("r1")).await;
    }
    let group = locked.world.group(&topic, &[7]).await;
    let right = Way::new("right", locked.secured.sasl_plaintext(), serde_json::Value::Null, login("SCRAM-SHA-512", "login"));
    locked.apply("right", &right, &group, run("r1")).await;
    locked.world.verified("right", "r1").await;
    for n in 0..50 {
        locked.world.reaches(&format!("wrong{n}"), "r1", Stage::Waiting, "AuthenticationFailed").await;
    }
    let tries = seen.load(Ordering::Relaxed);
    assert!((1..=12).contains(&tries), "{tries} log-ins of fifty that are one account");
    let status = std::fs::read_to_string(format!("/proc/{}/status", locked.world.operator().pid())).expect("it runs");
    let threads: usize =
        status.lines().find_map(|l| l.strip_prefix("Threads:")).and_then(|n| n.trim().parse().ok()).expect("a number of threads");
    // What is told again is not written again: each write would wake the operator, which would try again.
    let writes = locked.world.writes().iter().filter(|w| w.contains("/status")).count();
    println!("{tries} log-ins, {threads} threads, {writes} writes of a status");
    assert!(writes < 200, "{writes} writes of a status");
    assert!(threads < 60, "{threads} threads");
}

#[tokio::test(flavor = "multi_thread")]
async fn f06_no_password_key_or_token_is_shown_anywhere() {
    let mut locked = Locked::new("sf06", &["--log-filter=trace", "--concurrency=16"]).await;
    locked.let_in();
    let (wrong, wrong_secret) = ("Wr0ng/p+ss&<0815>", "Wr0ng/cl1ent+s&cret");
    locked.secret("wrong", json!({ "username": ALICE, "password": wrong })).await;
    locked.secret("wrong-client", json!({ "clientSecret": wrong_secret })).await;
    let (certificate, key) = locked.secured.client_certificate(ALICE).expect("a certificate");
    locked.secret("key", json!({ "tls.crt": certificate, "tls.key": key })).await;
    let other = locked.secured.client_certificate(ALICE).expect("a certificate").1;
    locked.secret("mixed", json!({ "tls.crt": certificate, "tls.key": other })).await;
    let s = locked.secured;
    let mut good = locked.ways();
    good.push(Way::new("key", s.mtls(), with_certificate("key"), serde_json::Value::Null));
    let bad = [
        ("AuthenticationFailed", Way::new("bad-scram", s.scram(), tls(), login("SCRAM-SHA-512", "wrong"))),
        ("AuthenticationFailed", Way::new("bad-plain", s.scram(), tls(), login("PLAIN", "wrong"))),
        ("AuthenticationFailed", Way::new("bad-oauth", s.oauth(), tls(), oauth(&s.tokens().url(), "wrong-client"))),
        ("TlsFailed", Way::new("bad-key", s.mtls(), with_certificate("mixed"), serde_json::Value::Null)),
    ];
    let topic = locked.world.topic(&[10]).await;
    for way in good.iter().chain(bad.iter().map(|(_, way)| way)) {
        let group = locked.world.group(&topic, &[7]).await;
        locked.apply(&way.name, way, &group, run("r1")).await;
    }
    for way in &good {
        locked.world.verified(&way.name, "r1").await;
    }
    for (reason, way) in &bad {
        locked.world.reaches(&way.name, "r1", Stage::Waiting, reason).await;
    }
    let log = locked.world.operator().log();
    let address =
        log.lines().find_map(|l| l.split("probes and metrics address=").nth(1)).expect("the address of /metrics").trim().to_owned();
    let metrics = tokio::time::timeout(LIMIT, http_get(&address, "/metrics")).await.expect("an answer");
    let (all, world) = (ListParams::default(), &locked.world);
    let events: Api<Event> = Api::namespaced(world.client.clone(), world.namespace.name());
    let places = [
        ("log", log),
        ("metrics", metrics),
        ("pipelines", json!(world.pipelines().list(&all).await.expect("pipelines can be listed").items).to_string()),
        ("records", json!(world.all_records().await).to_string()),
        ("events", json!(events.list(&all).await.expect("events can be listed").items).to_string()),
    ];
    assert!(places[0].1.contains("TRACE"), "everything is logged");
    // Tokens begin with this, `{"` in base64; nothing else in JSON Web form is about.
    let mut needles: Vec<String> = [ALICE_PASSWORD, CLIENT_SECRET, wrong, wrong_secret].map(str::to_owned).to_vec();
    needles.extend(key.lines().chain(other.lines()).filter(|l| !l.starts_with("-----") && l.len() > 16).map(str::to_owned));
    let token = s.tokens().issue("x", std::time::Duration::from_secs(60)).expect("a token").token;
    needles.push(token.split('.').next().expect("a header").to_owned());
    let mut shown = Vec::new();
    for (place, text) in &places {
        for needle in &needles {
            let quoted = json!(needle).to_string();
            let debug = format!("{needle:?}");
            for form in [
                needle.clone(),
                base64(needle.as_bytes()),
                percent(needle),
                quoted.trim_matches('"').to_owned(),
                debug.trim_matches('"').to_owned(),
            ] {
                if let Some(line) = text.lines().find(|l| l.contains(&form)) {
                    shown.push(format!("{place}: {form}: {}", &line.chars().take(400).collect::<String>()));
                }
            }
        }
    }
    shown.dedup();
    assert!(shown.is_empty(), "{} times: {:#?}", shown.len(), &shown[..shown.len().min(6)]);
}
