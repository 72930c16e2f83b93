//! F04: each mistake with a connection is named, with what to check, and the reset goes through by itself once it is put right.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stream_pipeline_api::{Stage, StreamPipelineStatus};
use testbed::secured::{ALICE, ALICE_PASSWORD, CLIENT_ID, CLIENT_SECRET, TokenFault, TokenService};

use crate::support::secured::{SecuredWorld, Way, login, mint, oauth, run, tls, with_certificate};
use crate::support::status::{is, reset, says};

/// A mistake, what is told of it, and what the person corrects.
struct Case {
    way: Way,
    reason: &'static str,
    said: &'static [&'static str],
    cure: Cure,
}

enum Cure {
    /// The object: another listener or other settings for it.
    Object(Way),
    /// A Secret.
    Secret(&'static str, Value),
}

struct Cases {
    locked: SecuredWorld,
    cases: Vec<Case>,
}

impl Cases {
    async fn new(test: &str, extra: &[&str]) -> Self {
        let locked = SecuredWorld::new(test, extra).await;
        locked.let_in();
        Self { locked, cases: Vec::new() }
    }

    fn add(&mut self, name: &str, at: &str, (tls, sasl): (Value, Value), reason: &'static str, said: &'static [&'static str], cure: Cure) {
        self.cases.push(Case { way: Way::new(name, at.to_owned(), tls, sasl), reason, said, cure });
    }

    /// `within`: how soon after the request the mistake must be told.
    async fn run(self, within: Duration) {
        let Self { locked, cases } = self;
        let world = &locked.world;
        let mut groups = Vec::new();
        for _ in &cases {
            let topic = world.topic(&[10]).await;
            groups.push((world.group(&topic, &[7]).await, topic));
        }
        let begun = Instant::now();
        for (case, (group, _)) in cases.iter().zip(&groups) {
            locked.apply(&case.way.name, &case.way, group, run("r1")).await;
        }
        let mut wrong = Vec::new();
        for case in &cases {
            let name = &case.way.name;
            let told = |s: &StreamPipelineStatus| is(s, "BackendReachable", "False");
            let status = world.wait(name, "the mistake to be told", told).await;
            let took = begun.elapsed();
            let (_, reason, message) = says(&status, "BackendReachable");
            println!("{name}: {reason}: {message}");
            let lacks: Vec<_> = case.said.iter().filter(|part| !message.contains(**part)).collect();
            if reason != case.reason || !lacks.is_empty() || took > within {
                wrong.push(format!("{name} after {took:?}: {reason}, not {}: {message}; lacks {lacks:?}", case.reason));
                continue;
            }
            let status = world.reaches(name, "r1", Stage::Waiting, reason).await;
            assert_eq!(says(&status, "Ready").0, "False");
            assert!(reset(&status).error.as_ref().is_some_and(|e| e.retryable), "{name}: it heals by itself");
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        for (case, (group, _)) in cases.iter().zip(&groups) {
            match &case.cure {
                Cure::Object(way) => locked.apply(&case.way.name, way, group, run("r1")).await,
                Cure::Secret(name, values) => locked.world.secret(name, values.clone()).await,
            }
        }
        for (case, (group, topic)) in cases.iter().zip(&groups) {
            let status = world.verified(&case.way.name, "r1").await;
            assert_eq!(says(&status, "BackendReachable").0, "True", "{}", case.way.name);
            assert_eq!(world.offset(group, topic).await, Some(0), "{}", case.way.name);
        }
    }
}

/// A deadline so long that waiting for it would show.
const LONG: [&str; 3] = ["--call-deadline=40s", "--send-window=5s", "--concurrency=8"];
/// What the broker refuses must be told within this, long before the deadline.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn f04_tls_that_is_refused_is_named_at_once_and_put_right() {
    let mut f04 = Cases::new("sf04-tls", &LONG).await;
    let s = f04.locked.secured;
    let good = || Cure::Object(Way::new("good", s.ssl(), tls(), Value::Null));
    let only = |tls: Value| (tls, Value::Null);
    f04.add("expired", &s.expired(), only(tls()), "TlsFailed", &["the broker's certificate has expired", "it has to be renewed"], good());
    f04.add("early", &s.not_yet_valid(), only(tls()), "TlsFailed", &["is not valid yet", "the operator's clock"], good());
    f04.add("host", &s.other_host(), only(tls()), "TlsFailed", &["for another host name", "advertised.listeners"], good());
    f04.add("unknown-ca", &s.unknown_ca(), only(tls()), "TlsFailed", &["of a CA that is not trusted", "spec.kafka.tls.ca"], good());
    f04.add("no-ca", &s.ssl(), only(json!({})), "TlsFailed", &["of a CA that is not trusted", "spec.kafka.tls.ca"], good());
    f04.locked.world.secret("no-pem", json!({ "ca.crt": "no PEM at all" })).await;
    let no_pem = json!({ "ca": { "secretKeyRef": { "name": "no-pem" } } });
    let cure = Cure::Secret("no-pem", json!({ "ca.crt": s.ca_pem() }));
    f04.add(
        "no-pem",
        &s.ssl(),
        only(no_pem),
        "TlsFailed",
        &["spec.kafka.tls.ca: key ca.crt of Secret no-pem must hold certificates in PEM", "it is other text"],
        cure,
    );

    let reference = &["spec.kafka.tls.clientCertificateSecretRef"];
    let certificate = || Cure::Object(Way::new("good", s.mtls(), with_certificate("user"), Value::Null));
    f04.add("none", &s.mtls(), only(tls()), "TlsFailed", reference, certificate());
    let (right, key) = s.client_certificate(ALICE).expect("a certificate");
    let cure = |name| Cure::Secret(name, json!({ "tls.crt": right, "tls.key": key }));
    f04.locked.certificate("unknown", s.unknown_client_certificate(ALICE)).await;
    f04.add("client-ca", &s.mtls(), only(with_certificate("unknown")), "TlsFailed", reference, cure("unknown"));
    f04.locked.certificate("expired", s.expired_client_certificate(ALICE)).await;
    f04.add("client-expired", &s.mtls(), only(with_certificate("expired")), "TlsFailed", reference, cure("expired"));
    let other = s.client_certificate(ALICE).expect("a certificate").1;
    f04.locked.world.secret("mixed", json!({ "tls.crt": right, "tls.key": other })).await;
    f04.add(
        "client-key",
        &s.mtls(),
        only(with_certificate("mixed")),
        "TlsFailed",
        &["a certificate and its own key in PEM"],
        cure("mixed"),
    );
    f04.run(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f04_a_log_in_that_is_refused_is_named_at_once_and_put_right() {
    let mut f04 = Cases::new("sf04-sasl", &LONG).await;
    let s = f04.locked.secured;
    let values = |user: &str, password: &str| json!({ "username": user, "password": password });
    let right = || values(ALICE, ALICE_PASSWORD);
    let secret = &["wrong user or password", "username and password in the Secret of spec.kafka.sasl.credentialsSecretRef"];
    for (name, mechanism) in [("wrong-512", "SCRAM-SHA-512"), ("wrong-256", "SCRAM-SHA-256"), ("wrong-plain", "PLAIN")] {
        f04.locked.world.secret(name, values(ALICE, "wrong")).await;
        f04.add(name, &s.scram(), (tls(), login(mechanism, name)), "AuthenticationFailed", secret, Cure::Secret(name, right()));
    }
    f04.locked.world.secret("no-tls", values(ALICE, "wrong")).await;
    let no_tls = (Value::Null, login("SCRAM-SHA-512", "no-tls"));
    f04.add("no-tls", &s.sasl_plaintext(), no_tls, "AuthenticationFailed", secret, Cure::Secret("no-tls", right()));
    for (name, mechanism) in [("nobody-scram", "SCRAM-SHA-512"), ("nobody-plain", "PLAIN")] {
        f04.locked.world.secret(name, values("nobody", "wrong")).await;
        f04.add(name, &s.scram(), (tls(), login(mechanism, name)), "AuthenticationFailed", secret, Cure::Secret(name, right()));
    }
    let good = || Cure::Object(Way::new("good", s.scram(), tls(), login("SCRAM-SHA-512", "login")));
    let scram = || (tls(), login("SCRAM-SHA-512", "login"));
    let said = &["does not offer this SASL mechanism", "spec.kafka.sasl.mechanism", "OAUTHBEARER"];
    f04.add("mechanism", &s.oauth(), scram(), "AuthenticationFailed", said, good());
    let said = &["the listener does not use SASL", "leave spec.kafka.sasl out"];
    f04.add("sasl-at-tls", &s.ssl(), scram(), "AuthenticationFailed", said, good());
    let plain = (Value::Null, login("SCRAM-SHA-512", "login"));
    f04.add("sasl-at-plain", &s.plaintext(), plain, "AuthenticationFailed", said, good());
    f04.run(SOON).await;
}

/// Nothing is refused here: only the deadline shows the mistake.
#[tokio::test(flavor = "multi_thread")]
async fn f04_who_hangs_up_or_is_not_there_is_named_and_put_right() {
    let mut f04 = Cases::new("sf04-gone", &["--call-deadline=2s"]).await;
    let s = f04.locked.secured;
    let none = || (Value::Null, Value::Null);
    let good = || Cure::Object(Way::new("good", s.ssl(), tls(), Value::Null));
    f04.add("plain-at-tls", &s.ssl(), none(), "BrokerUnreachable", &["the listener speaks TLS", "spec.kafka.tls"], good());
    f04.add("plain-at-sasl-tls", &s.scram(), none(), "BrokerUnreachable", &["the listener speaks TLS", "spec.kafka.tls"], good());
    f04.add("plain-at-sasl", &s.sasl_plaintext(), none(), "BrokerUnreachable", &["the listener wants SASL", "spec.kafka.sasl"], good());
    let sasl = (Value::Null, login("SCRAM-SHA-512", "login"));
    f04.add("sasl-no-tls", &s.scram(), sasl, "BrokerUnreachable", &["the listener speaks TLS", "spec.kafka.tls"], good());
    let said = &["no-such-host.invalid:9092: the host name has no address", "bootstrapServers"];
    f04.add("name", "no-such-host.invalid:9092", none(), "BrokerUnreachable", said, good());
    f04.add("port", "127.0.0.1:1", none(), "BrokerUnreachable", &["no answer from 127.0.0.1:1", "spec.kafka.bootstrapServers"], good());
    let plain = s.plaintext();
    let cure = Cure::Object(Way::new("good", plain.clone(), Value::Null, Value::Null));
    f04.add("plain-port", &plain, (tls(), Value::Null), "TlsFailed", &["speaks plain text, not TLS", "leave spec.kafka.tls out"], cure);
    f04.add("sasl-plain-port", &s.sasl_plaintext(), (tls(), Value::Null), "TlsFailed", &["speaks plain text, not TLS"], good());
    let login_works = || Cure::Object(Way::new("good", s.scram(), tls(), login("SCRAM-SHA-512", "login")));
    f04.add(
        "tls-at-plain",
        &s.sasl_plaintext(),
        (tls(), login("SCRAM-SHA-512", "login")),
        "TlsFailed",
        &["speaks plain text, not TLS"],
        login_works(),
    );
    f04.add("no-sasl", &s.scram(), (tls(), Value::Null), "AuthenticationFailed", &["wants SASL", "spec.kafka.sasl"], login_works());
    f04.run(Duration::from_secs(40)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f04_a_token_that_is_not_to_be_had_is_named_at_once_and_put_right() {
    // The deadline of a call is also that for a token.
    let mut f04 = Cases::new("sf04-token", &["--call-deadline=6s"]).await;
    let s = f04.locked.secured;
    let good = || Cure::Object(Way::new("good", s.oauth(), tls(), oauth(&s.tokens().url(), "token-client")));
    let from = |endpoint: &str| (tls(), oauth(endpoint, "token-client"));
    let endpoint = &["there is no token", "the token endpoint http", "does not answer", "spec.kafka.sasl: tokenEndpoint"];
    f04.add("down", &s.oauth(), from("http://127.0.0.1:1/token"), "AuthenticationFailed", endpoint, good());
    f04.locked.world.secret("refused", json!({ "clientSecret": "wrong" })).await;
    let refused = (tls(), oauth(&s.tokens().url(), "refused"));
    let said = &["there is no token", "refuses the client (HTTP 401: invalid_client", "the Secret's clientSecret"];
    let cure = Cure::Secret("refused", json!({ "clientSecret": CLIENT_SECRET }));
    f04.add("refused", &s.oauth(), refused, "AuthenticationFailed", said, cure);
    let barred = from("http://10.1.2.3/token");
    let said = &["may not connect to the token endpoint", "spec.kafka.sasl.tokenEndpoint", "--allowed-endpoints"];
    f04.add("barred", &s.oauth(), barred, "EndpointNotAllowed", said, good());
    let services = [TokenFault::Html, TokenFault::Hang, TokenFault::NoToken, TokenFault::Close, TokenFault::Status(500)].map(|fault| {
        let service = TokenService::start().expect("it starts");
        service.fail(fault, usize::MAX);
        service
    });
    let [html, hang, empty, close, broken] = &services;
    let said = &["something that is no token (HTTP 200)", "spec.kafka.sasl.tokenEndpoint"];
    f04.add("html", &s.oauth(), from(&html.url()), "AuthenticationFailed", said, good());
    f04.add("hang", &s.oauth(), from(&hang.url()), "AuthenticationFailed", endpoint, good());
    f04.add("empty", &s.oauth(), from(&empty.url()), "AuthenticationFailed", &["there is no token", "HTTP 200"], good());
    f04.add("close", &s.oauth(), from(&close.url()), "AuthenticationFailed", endpoint, good());
    f04.add("broken", &s.oauth(), from(&broken.url()), "AuthenticationFailed", &["there is no token", "HTTP 500"], good());
    f04.add("token-ca", &s.oauth(), from(&s.tokens().tls_url()), "AuthenticationFailed", &["spec.kafka.sasl.ca"], good());
    let (audience, _) = mint(s, |s| s.tokens().issue_wrong(CLIENT_ID, &TokenFault::WrongAudience)).await;
    let said = &["the broker refuses the token: audience", "spec.kafka.sasl.clientID and scope"];
    f04.add("audience", &s.oauth(), from(&audience), "AuthenticationFailed", said, good());
    let stranger = TokenService::start().expect("it starts");
    let said = &["the broker refuses the token", "spec.kafka.sasl.clientID and scope"];
    f04.add("stranger", &s.oauth(), from(&stranger.url()), "AuthenticationFailed", said, good());
    f04.run(Duration::from_secs(30)).await;
}
