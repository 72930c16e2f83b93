//! F06, F15: many with a wrong password beside one with the right one; and no secret is shown.

use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::secured::{ALICE, ALICE_PASSWORD, CLIENT_SECRET};

use crate::support::leaks::{places, shown};
use crate::support::process;
use crate::support::secured::{SecuredWorld, Way, login, oauth, run, tls, with_certificate};
use crate::support::sockets::Relay;

#[tokio::test(flavor = "multi_thread")]
async fn f15_fifty_with_a_wrong_password_do_not_hinder_one_and_log_in_seldom() {
    let mut locked = SecuredWorld::new("sf15", &["--concurrency=16", "--max-backoff=30s"]).await;
    locked.let_in();
    locked.world.secret("wrong", json!({ "username": ALICE, "password": "wrong" })).await;
    // A client that is refused learns no other address of the broker than this one.
    let relay = Relay::start(&locked.secured.sasl_plaintext()).await;
    let topic = locked.world.topic(&[10]).await;
    let wrong = Way::new("wrong", relay.address.clone(), Value::Null, login("SCRAM-SHA-512", "wrong"));
    for n in 0..50 {
        locked.apply(&format!("wrong{n}"), &wrong, &locked.world.unique("g"), run("r1")).await;
    }
    let group = locked.world.group(&topic, &[7]).await;
    let right = Way::new("right", locked.secured.sasl_plaintext(), Value::Null, login("SCRAM-SHA-512", "login"));
    locked.apply("right", &right, &group, run("r1")).await;
    locked.world.verified("right", "r1").await;
    for n in 0..50 {
        locked.world.reaches(&format!("wrong{n}"), "r1", Stage::Waiting, "AuthenticationFailed").await;
    }
    let tries = relay.came();
    assert!((1..=12).contains(&tries), "{tries} log-ins of fifty that are one account");
    let threads = process::threads(locked.world.operator().pid());
    // A status that says the same is not written again: each write would wake the operator, which would try again.
    let writes = locked.world.writes().iter().filter(|w| w.contains("/status")).count();
    println!("{tries} log-ins, {threads} threads, {writes} writes of a status");
    assert!(writes < 200, "{writes} writes of a status");
    assert!(threads < 60, "{threads} threads");
}

#[tokio::test(flavor = "multi_thread")]
async fn f06_no_password_key_or_token_is_shown_anywhere() {
    let mut locked = SecuredWorld::new("sf06", &["--log-filter=trace", "--concurrency=16"]).await;
    locked.let_in();
    let (wrong, wrong_secret) = ("Wr0ng/p+ss&<0815>", "Wr0ng/cl1ent+s&cret");
    locked.world.secret("wrong", json!({ "username": ALICE, "password": wrong })).await;
    locked.world.secret("wrong-client", json!({ "clientSecret": wrong_secret })).await;
    let (certificate, key) = locked.secured.client_certificate(ALICE).expect("a certificate");
    locked.world.secret("key", json!({ "tls.crt": certificate, "tls.key": key })).await;
    let other = locked.secured.client_certificate(ALICE).expect("a certificate").1;
    locked.world.secret("mixed", json!({ "tls.crt": certificate, "tls.key": other })).await;
    let s = locked.secured;
    let mut good = locked.ways();
    good.push(Way::new("key", s.mtls(), with_certificate("key"), Value::Null));
    let bad = [
        ("AuthenticationFailed", Way::new("bad-scram", s.scram(), tls(), login("SCRAM-SHA-512", "wrong"))),
        ("AuthenticationFailed", Way::new("bad-plain", s.scram(), tls(), login("PLAIN", "wrong"))),
        ("AuthenticationFailed", Way::new("bad-oauth", s.oauth(), tls(), oauth(&s.tokens().url(), "wrong-client"))),
        ("TlsFailed", Way::new("bad-key", s.mtls(), with_certificate("mixed"), Value::Null)),
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
    let places = places(&mut locked.world).await;
    assert!(places[0].1.contains("TRACE"), "expected lines of every level in the log");
    // A token is known by its header; nothing else here is a JSON Web Token.
    let mut secrets: Vec<String> = [ALICE_PASSWORD, CLIENT_SECRET, wrong, wrong_secret].map(str::to_owned).to_vec();
    secrets.extend(key.lines().chain(other.lines()).filter(|l| !l.starts_with("-----") && l.len() > 16).map(str::to_owned));
    let token = s.tokens().issue("x", std::time::Duration::from_secs(60)).expect("a token").token;
    secrets.push(token.split('.').next().expect("a header").to_owned());
    let shown = shown(&places, &secrets);
    assert!(shown.is_empty(), "shown {} times: {:#?}", shown.len(), &shown[..shown.len().min(6)]);
}
