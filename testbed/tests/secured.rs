//! The secured broker: every way in, every mistake, and in librdkafka's words what it makes of it.

use std::io::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use testbed::consumer::Consumer;
use testbed::kafka;
use testbed::secured::{
    ALICE, ALICE_PASSWORD, Acl, CLIENT_ID, CLIENT_SECRET, OTHER_HOST, Operation, Refusal, Resource, Secured, TokenFault, attempt,
    attempt_with_token, features, set_token, verdicts,
};

/// Hardly ever reached: a refusal ends an attempt.
const LIMIT: Duration = Duration::from_secs(20);

fn secured() -> &'static Secured {
    static SECURED: OnceLock<Result<Secured, String>> = OnceLock::new();
    // A failure is kept too: it is tried once, not once a test.
    let started = SECURED.get_or_init(|| testbed::ensure().and_then(|parts| Secured::start(&parts)).map_err(|e| format!("{e:#}")));
    started.as_ref().unwrap_or_else(|error| panic!("the broker did not start: {error}"))
}

fn alice(mechanism: &str) -> ClientConfig {
    secured().client_with_password(&secured().scram(), mechanism, ALICE, ALICE_PASSWORD)
}

/// It was refused; shown also when the test passes.
fn refused(what: &str, result: Result<Vec<String>, Refusal>) -> String {
    let Err(refusal) = result else { panic!("{what}: it was let in") };
    let _ = writeln!(std::io::stderr(), "{what}\n    {refusal}");
    refusal.to_string()
}

#[test]
fn librdkafka_has_what_is_needed() {
    let features = features();
    let _ = writeln!(std::io::stderr(), "builtin.features={features}");
    for needed in ["ssl", "sasl_plain", "sasl_scram", "sasl_oauthbearer"] {
        assert!(features.split(',').any(|f| f == needed), "{needed} in {features}");
    }
}

#[test]
fn every_listener_takes_the_right_credentials() {
    let s = secured();
    let certificate = s.client_certificate("alice").expect("a certificate");
    for (what, config) in [
        ("TLS", s.client(&s.ssl())),
        ("mutual TLS", s.client_with_certificate(&s.mtls(), &certificate)),
        ("SCRAM-SHA-512", alice("SCRAM-SHA-512")),
        ("SCRAM-SHA-256", alice("SCRAM-SHA-256")),
        ("PLAIN", alice("PLAIN")),
        ("PLAIN without TLS", s.client_with_password(&s.sasl_plaintext(), "PLAIN", ALICE, ALICE_PASSWORD)),
        ("SCRAM without TLS", s.client_with_password(&s.sasl_plaintext(), "SCRAM-SHA-512", ALICE, ALICE_PASSWORD)),
        ("another authority", s.client(&s.second_ca()).set("ssl.ca.pem", s.second_ca_pem()).clone()),
        ("both authorities, old", s.client(&s.ssl()).set("ssl.ca.pem", format!("{}{}", s.ca_pem(), s.second_ca_pem())).clone()),
        ("both authorities, new", s.client(&s.second_ca()).set("ssl.ca.pem", format!("{}{}", s.ca_pem(), s.second_ca_pem())).clone()),
        ("by address", s.client(&s.ssl().replace("localhost", "127.0.0.1"))),
        ("not looking at the name", s.client(&s.other_host()).set("ssl.endpoint.identification.algorithm", "none").clone()),
    ] {
        attempt(&config, LIMIT).unwrap_or_else(|refusal| panic!("{what}: {refusal}"));
    }
}

#[test]
fn bad_certificates_are_refused() {
    let s = secured();
    let trusting = |at: String| attempt(&s.client(&at), LIMIT);
    assert!(refused("expired certificate", trusting(s.expired())).contains("certificate verify failed"));
    assert!(refused("certificate not yet valid", trusting(s.not_yet_valid())).contains("certificate verify failed"));
    assert!(refused(&format!("certificate for {OTHER_HOST}"), trusting(s.other_host())).contains("certificate verify failed"));
    assert!(refused("unknown authority", trusting(s.unknown_ca())).contains("certificate verify failed"));
    assert!(refused("rotated authority, old bundle", trusting(s.second_ca())).contains("certificate verify failed"));
    let nobody = ClientConfig::new().set("bootstrap.servers", s.ssl()).set("security.protocol", "SSL").clone();
    refused("no authority configured", attempt(&nobody, LIMIT));
    refused("no authority configured, probe", attempt(nobody.clone().set("ssl.ca.location", "probe"), LIMIT));
    refused("an authority that is no PEM", attempt(s.client(&s.ssl()).set("ssl.ca.pem", "no PEM"), LIMIT));
}

#[test]
fn openssl_tells_what_is_wrong_with_a_certificate() {
    let s = secured();
    for (what, at, code) in [
        ("good", s.ssl(), 0),
        ("expired", s.expired(), 10),
        ("not yet valid", s.not_yet_valid(), 9),
        ("other host", s.other_host(), 62),
        ("unknown authority", s.unknown_ca(), 20),
    ] {
        let seen = verdicts(&s.client(&at), LIMIT).expect("a client is made");
        let short: Vec<_> = seen.iter().map(|v| (v.depth, v.code, v.text.as_str())).collect();
        let _ = writeln!(std::io::stderr(), "verdict: {what}\n    {short:?}");
        assert!(seen.iter().any(|v| v.code == code) && seen.iter().all(|v| v.code == 0 || v.code == code), "{what}: {short:?}");
    }
}

/// A connection ends with its token, unless the client has a new one in time.
#[test]
fn a_token_runs_out_while_it_is_in_use() {
    let s = secured();
    let life = Duration::from_secs(4);
    let consumer: BaseConsumer = s.client_with_token().set("log_level", "0").create().expect("a client is made");
    let ask = |limit| consumer.fetch_metadata(None, limit).map(|_| ()).map_err(|e| e.to_string());
    let give = || set_token(consumer.client(), &s.tokens().issue(CLIENT_ID, life).expect("a token")).expect("it is taken");
    give();
    ask(LIMIT).expect("it is let in");
    for _ in 0..2 {
        std::thread::sleep(life / 2);
        give();
        ask(LIMIT).expect("it has a new token in time");
    }
    std::thread::sleep(life + Duration::from_millis(500));
    let _ = writeln!(std::io::stderr(), "token ran out\n    {:?}", ask(Duration::from_secs(2)));
    give();
    ask(LIMIT).expect("it has a new token");
}

#[test]
fn bad_client_certificates_are_refused() {
    let s = secured();
    let with = |certificate| attempt(&s.client_with_certificate(&s.mtls(), &certificate), LIMIT);
    refused("no client certificate", attempt(&s.client(&s.mtls()), LIMIT));
    refused("client certificate of an unknown authority", with(s.unknown_client_certificate("alice").expect("a certificate")));
    refused("expired client certificate", with(s.expired_client_certificate("alice").expect("a certificate")));
    let (certificate, _) = s.client_certificate("alice").expect("a certificate");
    let (_, key) = s.client_certificate("alice").expect("a certificate");
    refused("client key of another certificate", with((certificate, key)));
}

#[test]
fn wrong_passwords_and_mechanisms_are_refused() {
    let s = secured();
    let login = |at: &str, mechanism, user, password| attempt(&s.client_with_password(at, mechanism, user, password), LIMIT);
    for mechanism in ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] {
        let text = refused(&format!("wrong password, {mechanism}"), login(&s.scram(), mechanism, ALICE, "wrong"));
        assert!(text.contains("Authentication failed"), "{text}");
    }
    refused("unknown user, SCRAM-SHA-512", login(&s.scram(), "SCRAM-SHA-512", "nobody", "wrong"));
    refused("unknown user, PLAIN", login(&s.scram(), "PLAIN", "nobody", "wrong"));
    let text = refused("mechanism not enabled", login(&s.oauth(), "SCRAM-SHA-512", ALICE, ALICE_PASSWORD));
    assert!(text.contains("OAUTHBEARER"), "{text}");
    let mut config = s.client_with_password(&s.scram(), "SCRAM-SHA-512", ALICE, ALICE_PASSWORD);
    refused("mechanism that does not exist", attempt(config.set("sasl.mechanism", "SCRAM-SHA-1024"), LIMIT));
    refused("GSSAPI", attempt(config.set("sasl.mechanism", "GSSAPI"), LIMIT));
    let mut config = s.client(&s.scram());
    refused("SCRAM without a user", attempt(config.set("security.protocol", "SASL_SSL").set("sasl.mechanism", "SCRAM-SHA-512"), LIMIT));
}

#[test]
fn wrong_protocols_are_refused() {
    let s = secured();
    let plain = |at: String| attempt(ClientConfig::new().set("bootstrap.servers", at), LIMIT);
    let sasl = |at: String, protocol: &str| {
        let mut config = s.client_with_password(&at, "SCRAM-SHA-512", ALICE, ALICE_PASSWORD);
        attempt(config.set("security.protocol", protocol), LIMIT)
    };
    refused("PLAINTEXT to a TLS port", plain(s.ssl()));
    refused("PLAINTEXT to a SASL_SSL port", plain(s.scram()));
    refused("PLAINTEXT to a SASL_PLAINTEXT port", plain(s.sasl_plaintext()));
    refused("SSL to a PLAINTEXT port", attempt(&s.client(&s.plaintext()), LIMIT));
    refused("SSL to a SASL_PLAINTEXT port", attempt(&s.client(&s.sasl_plaintext()), LIMIT));
    refused("SSL to a SASL_SSL port", attempt(&s.client(&s.scram()), LIMIT));
    refused("SASL_SSL to an SSL port", sasl(s.ssl(), "SASL_SSL"));
    refused("SASL_SSL to a PLAINTEXT port", sasl(s.plaintext(), "SASL_SSL"));
    refused("SASL_SSL to a SASL_PLAINTEXT port", sasl(s.sasl_plaintext(), "SASL_SSL"));
    refused("SASL_PLAINTEXT to a SASL_SSL port", sasl(s.scram(), "SASL_PLAINTEXT"));
    refused("SASL_PLAINTEXT to a PLAINTEXT port", sasl(s.plaintext(), "SASL_PLAINTEXT"));
    refused("nobody listens", plain("127.0.0.1:1".to_owned()));
    refused("no such host", plain("no-such-host.invalid:9092".to_owned()));
}

#[test]
fn tokens_of_the_service_are_taken_and_others_are_not() {
    let s = secured();
    let config = s.client_with_token();
    let token = s.tokens().issue(CLIENT_ID, Duration::from_secs(300)).expect("a token");
    attempt_with_token(&config, &token, LIMIT).unwrap_or_else(|refusal| panic!("{refusal}"));
    for fault in [TokenFault::WrongAudience, TokenFault::Expired, TokenFault::UnknownKey] {
        let mut token = s.tokens().issue_wrong(CLIENT_ID, &fault).expect("a token");
        // Else librdkafka itself would refuse it.
        token.expires = std::time::SystemTime::now() + Duration::from_secs(300);
        refused(&format!("token with {fault:?}"), attempt_with_token(&config, &token, LIMIT));
    }
    let expired = s.tokens().issue_wrong(CLIENT_ID, &TokenFault::Expired).expect("a token");
    refused("token known to be expired", attempt_with_token(&config, &expired, LIMIT));
    refused("no token", attempt(&config, Duration::from_secs(1)));
}

#[tokio::test]
async fn acls_are_kept() {
    let s = secured();
    kafka::create_topic(&s.plaintext(), "acl", 1, &[]).await;
    kafka::create_topic(&s.plaintext(), "acl-other", 1, &[]).await;
    kafka::produce(&s.plaintext(), "acl", 0, 10, |n| n).await;
    s.set_scram_password("acl-bob", "secret").expect("a user");
    let bob = s.client_with_password(&s.scram(), "SCRAM-SHA-512", "acl-bob", "secret");
    assert!(attempt(&bob, LIMIT).expect("it is let in").is_empty(), "and sees nothing");
    let acls = [
        Acl::allow("acl-bob", Operation::Read, Resource::Topic, "acl"),
        Acl::allow("acl-bob", Operation::Read, Resource::Group, "acl-group-").prefixed(),
    ];
    s.grant(&acls).expect("granted");
    assert_eq!(attempt(&bob, LIMIT).expect("it is let in"), ["acl"]);
    kafka::commit(&bob, "acl-group-1", &[("acl", 0, 5, "x")]).await;
    assert_eq!(kafka::offsets(&s.plaintext(), "acl-group-1", "acl", 1).await, [Some(5)]);
    Consumer::classic(&bob, "acl-group-2", "acl", "bob").wait().await;
    let deny = [Acl::deny("acl-bob", Operation::Read, Resource::Group, "acl-group-1")];
    s.grant(&deny).expect("granted");
    let error = kafka::move_offsets(&bob, "acl-group-1", "acl", true).await.expect_err("denied");
    assert!(error.contains("GroupAuthorizationFailed"), "{error}");
    s.revoke(&deny).expect("revoked");
    kafka::move_offsets(&bob, "acl-group-1", "acl", true).await.expect("allowed again");
    s.revoke(&acls).expect("revoked");
    assert!(attempt(&bob, LIMIT).expect("it is let in").is_empty(), "and sees nothing");
    assert!(s.acls().expect("listed").iter().all(|acl| acl.principal != "User:acl-bob"));
}

#[test]
fn the_name_in_a_certificate_and_in_a_token_is_the_user() {
    let s = secured();
    let names = ["named-alice", CLIENT_ID];
    let acls = names.map(|user| Acl::allow(user, Operation::Describe, Resource::Topic, "named"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(kafka::create_topic(&s.plaintext(), "named", 1, &[]));
    let certificate = s.client_certificate("named-alice").expect("a certificate");
    let token = s.tokens().issue(CLIENT_ID, Duration::from_secs(60)).expect("a token");
    let seen = || {
        let by_certificate = attempt(&s.client_with_certificate(&s.mtls(), &certificate), LIMIT).expect("it is let in");
        let by_token = attempt_with_token(&s.client_with_token(), &token, LIMIT).expect("it is let in");
        [by_certificate, by_token]
    };
    assert!(seen().concat().is_empty());
    s.grant(&acls).expect("granted");
    assert_eq!(seen(), [["named"], ["named"]]);
}

#[test]
fn a_password_is_changed_while_the_broker_runs() {
    let s = secured();
    let login = |password| attempt(&s.client_with_password(&s.scram(), "SCRAM-SHA-512", "carol", password), LIMIT);
    s.set_scram_password("carol", "one").expect("a user");
    login("one").expect("it is let in");
    s.set_scram_password("carol", "two, \"and\" = \\").expect("changed");
    login("two, \"and\" = \\").expect("it is let in");
    refused("the password of before", login("one"));
    s.remove_scram_user("carol").expect("removed");
}

#[tokio::test]
async fn the_token_service_answers_as_the_protocol_says() {
    // Its own: others look at their calls too.
    let service = testbed::secured::TokenService::start().expect("it starts");
    let http = rustls_client().tls_certs_only([reqwest::Certificate::from_pem(service.ca_pem().as_bytes()).expect("PEM")]);
    let http = http.redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let ask = async |url: String, basic: bool, secret: &str| {
        let mut form = vec![("grant_type", "client_credentials"), ("scope", "a b")];
        let mut request = http.post(url).header("content-type", "application/x-www-form-urlencoded");
        match basic {
            true => request = request.basic_auth(encoded(CLIENT_ID), Some(encoded(secret))),
            false => form.extend([("client_id", CLIENT_ID), ("client_secret", secret)]),
        }
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let answer = request.body(body).send().await.map_err(|e| e.to_string())?;
        Ok::<_, String>((answer.status().as_u16(), answer.text().await.map_err(|e| e.to_string())?))
    };
    for (url, basic) in [(service.url(), true), (service.url(), false), (service.tls_url(), true), (service.tls_url(), false)] {
        service.set_life(Duration::from_secs(5));
        let (status, body) = ask(url.clone(), basic, CLIENT_SECRET).await.expect("an answer");
        let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(
            (status, &answer["token_type"], &answer["scope"], &answer["expires_in"]),
            (200, &"Bearer".into(), &"a b".into(), &5.into())
        );
        assert_eq!(answer["access_token"].as_str().expect("a token").split('.').count(), 3);
        let (status, body) = ask(url, basic, "wrong").await.expect("an answer");
        assert!(status == 401 && body.contains("invalid_client"), "{status} {body}");
    }
    assert_eq!(service.calls(), 8);
    let seen = &service.requests()[6];
    assert!(seen.tls && !seen.basic && seen.status == Some(200) && seen.form.iter().all(|(name, _)| name != "client_secret"), "{seen:?}");
    for (fault, status) in [
        (TokenFault::Status(500), 500),
        (TokenFault::InvalidClient, 401),
        (TokenFault::Html, 200),
        (TokenFault::NoToken, 200),
        (TokenFault::Redirect("http://127.0.0.1:1/".to_owned()), 302),
    ] {
        service.fail(fault.clone(), 1);
        assert_eq!(ask(service.url(), true, CLIENT_SECRET).await.expect("an answer").0, status, "{fault:?}");
    }
    service.fail(TokenFault::Close, 1);
    ask(service.url(), true, CLIENT_SECRET).await.expect_err("no answer");
    service.fail(TokenFault::Hang, usize::MAX);
    tokio::time::timeout(Duration::from_millis(200), ask(service.url(), true, CLIENT_SECRET)).await.expect_err("it hangs");
    service.heal();
    assert_eq!(ask(service.url(), true, CLIENT_SECRET).await.expect("an answer").0, 200);
}

fn rustls_client() -> reqwest::ClientBuilder {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    PROVIDER.get_or_init(|| drop(tokio_rustls::rustls::crypto::ring::default_provider().install_default()));
    reqwest::Client::builder()
}
