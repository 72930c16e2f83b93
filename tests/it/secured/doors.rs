//! What may not be shown on the way, what must hold PEM, and who cuts a connection (C2, C4, D8).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use stream_pipeline_operator::api::Stage;
use testbed::secured::{ALICE, ALICE_PASSWORD, Acl, Operation, Resource};
use testbed::{Operator, Scratch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::observing::base64;
use crate::support::secured::{Locked, Way, login, oauth, run, tls, with_certificate};
use crate::support::world::{EXE, condition, flags, says};

/// Counts those who connect, and says nothing.
async fn trap() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let came = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&came);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, came)
}

#[tokio::test(flavor = "multi_thread")]
async fn c2_a_log_in_that_shows_its_secret_needs_tls_or_a_flag() {
    let mut locked = Locked::new("sc2", &[]).await;
    locked.let_in();
    let (address, came) = trap().await;
    let topic = locked.world.topic(&[10]).await;
    // Not even the Secret is read: it is not there.
    for (name, sasl, what) in [
        ("plain", login("PLAIN", "none"), "would show the password"),
        ("oauth", oauth(&format!("http://{address}/token"), "none"), "would show the token"),
    ] {
        let group = locked.world.group(&topic, &[7]).await;
        locked.apply(name, &Way::new(name, address.clone(), Value::Null, sasl), &group, run("r1")).await;
        let status = locked.world.reaches(name, "r1", Stage::Waiting, "EndpointNotAllowed").await;
        let message = says(&status, "Ready").2;
        for part in [what, "not a byte was sent", "spec.kafka.tls", "SCRAM", "--allow-plain-sasl"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    // SCRAM proves the password without sending it.
    let group = locked.world.group(&topic, &[7]).await;
    let open = locked.secured.sasl_plaintext();
    locked.apply("scram", &Way::new("scram", open.clone(), Value::Null, login("SCRAM-SHA-512", "login")), &group, run("r1")).await;
    locked.world.verified("scram", "r1").await;
    assert_eq!(came.load(Ordering::SeqCst), 0, "nobody was connected to");
    locked.world.kill_operator();
    locked.start(&["--allow-plain-sasl"]);
    let group = locked.world.group(&topic, &[7]).await;
    locked.apply("allowed", &Way::new("allowed", open, Value::Null, login("PLAIN", "login")), &group, run("r1")).await;
    locked.world.verified("allowed", "r1").await;
    assert_eq!(locked.world.at(&group, &topic).await, Some(0));
}

/// A Secret or a ConfigMap of bytes.
async fn bytes(locked: &Locked, kind: &str, name: &str, values: &[(&str, &[u8])]) {
    let (client, namespace) = (locked.world.client.clone(), locked.world.namespace.name());
    let data: BTreeMap<_, _> = values.iter().map(|(key, value)| (*key, base64(value))).collect();
    let params = PatchParams::apply("bytes").force();
    let object = json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name } });
    if kind == "Secret" {
        let object = crate::support::observing::with(object, "data", json!(data));
        Api::<Secret>::namespaced(client, namespace).patch(name, &params, &Patch::Apply(object)).await.expect("the Secret is taken");
    } else {
        let object = crate::support::observing::with(object, "binaryData", json!(data));
        Api::<ConfigMap>::namespaced(client, namespace).patch(name, &params, &Patch::Apply(object)).await.expect("the ConfigMap is taken");
    }
}

/// What is between BEGIN and END.
fn der(pem: &str) -> Vec<u8> {
    let body: String =
        pem.lines().skip_while(|l| !l.starts_with("-----BEGIN")).skip(1).take_while(|l| !l.starts_with("-----END")).collect();
    let value: k8s_openapi::ByteString = serde_json::from_value(json!(body)).expect("base64");
    value.0
}

#[tokio::test(flavor = "multi_thread")]
async fn c4_what_is_named_and_holds_no_pem_is_told_by_object_key_field_and_form() {
    let locked = Locked::new("sc4", &[]).await;
    locked.let_in();
    let s = locked.secured;
    let ca = s.ca_pem().as_bytes().to_vec();
    let (certificate, key) = s.client_certificate(ALICE).expect("a certificate");
    let pkcs12: &[u8] = &[0x30, 0x82, 0x03, 0xe8, 2, 1, 3, 0x30, 0x82, 0xff];
    let named = |kind: &str, name: &str| json!({ "ca": { format!("{kind}KeyRef"): { "name": name } } });
    let with_ca = |mut sasl: Value, name: &str| {
        sasl["ca"] = json!({ "secretKeyRef": { "name": name, "key": "ca.crt" } });
        sasl
    };
    type Values<'a> = Vec<(&'a str, &'a [u8])>;
    /// Name, kind, what is wrong, what is right, the way in, and what is said.
    type Case<'a> = (&'a str, &'a str, Values<'a>, &'a Values<'a>, (String, Value, Value), Vec<&'a str>);
    let ca_der = der(s.ca_pem());
    let good: Values = vec![("ca.crt", &ca)];
    let pair: Values = vec![("tls.crt", certificate.as_bytes()), ("tls.key", key.as_bytes())];
    let ssl = |tls: Value| (s.ssl(), tls, Value::Null);
    let mtls = |name: &str| (s.mtls(), with_certificate(name), Value::Null);
    let tokens = oauth(&s.tokens().tls_url(), "token-client");
    let cases: Vec<Case> = vec![
        (
            "empty",
            "Secret",
            vec![("ca.crt", b"")],
            &good,
            ssl(named("secret", "empty")),
            vec!["spec.kafka.tls.ca", "key ca.crt of Secret empty", "it is empty"],
        ),
        (
            "blank",
            "ConfigMap",
            vec![("ca.crt", b" \n")],
            &good,
            ssl(named("configMap", "blank")),
            vec!["key ca.crt of ConfigMap blank", "it is empty"],
        ),
        (
            "der",
            "ConfigMap",
            vec![("ca.crt", &ca_der)],
            &good,
            ssl(named("configMap", "der")),
            vec!["certificates in PEM", "DER", "openssl x509"],
        ),
        (
            "a-key",
            "Secret",
            vec![("ca.crt", key.as_bytes())],
            &good,
            ssl(json!({ "ca": { "secretKeyRef": { "name": "a-key", "key": "ca.crt" } } })),
            vec!["of another kind (PRIVATE KEY)"],
        ),
        (
            "p12",
            "Secret",
            vec![("tls.crt", pkcs12), ("tls.key", key.as_bytes())],
            &pair,
            mtls("p12"),
            vec!["spec.kafka.tls.clientCertificateSecretRef", "key tls.crt of Secret p12", "PKCS#12"],
        ),
        (
            "swapped",
            "Secret",
            vec![("tls.crt", certificate.as_bytes()), ("tls.key", certificate.as_bytes())],
            &pair,
            mtls("swapped"),
            vec!["key tls.key of Secret swapped", "a private key in PEM", "(CERTIFICATE)"],
        ),
        (
            "token",
            "Secret",
            vec![("ca.crt", b"")],
            &good,
            (s.oauth(), tls(), with_ca(tokens, "token")),
            vec!["spec.kafka.sasl.ca", "key ca.crt of Secret token", "it is empty"],
        ),
    ];
    let mut groups = Vec::new();
    for (name, kind, wrong, _, (at, tls, sasl), said) in &cases {
        bytes(&locked, kind, name, wrong).await;
        let topic = locked.world.topic(&[10]).await;
        let group = locked.world.group(&topic, &[7]).await;
        locked.apply(name, &Way::new(name, at.clone(), tls.clone(), sasl.clone()), &group, run("r1")).await;
        groups.push((topic, group));
        let status = locked.world.reaches(name, "r1", Stage::Waiting, "TlsFailed").await;
        let message = says(&status, "Ready").2;
        println!("{name}: {message}");
        assert!(said.iter().all(|part| message.contains(part)), "{name}: {said:?}: {message}");
    }
    // The token service has a CA of its own.
    let token_ca: Values = vec![("ca.crt", s.tokens().ca_pem().as_bytes())];
    for ((name, kind, _, right, ..), (topic, group)) in cases.iter().zip(&groups) {
        let right = if *name == "token" { &token_ca } else { right };
        bytes(&locked, kind, name, right).await;
        locked.world.verified(name, "r1").await;
        assert_eq!(locked.world.at(group, topic).await, Some(0), "{name}");
    }
    let topic = locked.world.topic(&[10]).await;
    let group = locked.world.group(&topic, &[7]).await;
    bytes(&locked, "Secret", "binary", &[("username", ALICE.as_bytes()), ("password", &[0xff, 0xfe, 0])]).await;
    locked.apply("binary", &Way::new("binary", s.scram(), tls(), login("SCRAM-SHA-512", "binary")), &group, run("r1")).await;
    let status = locked.world.reaches("binary", "r1", Stage::Waiting, "AuthenticationFailed").await;
    assert!(says(&status, "Ready").2.contains("key password in Secret binary is binary, not text"), "{status:?}");
    bytes(&locked, "Secret", "binary", &[("username", ALICE.as_bytes()), ("password", ALICE_PASSWORD.as_bytes())]).await;
    locked.world.verified("binary", "r1").await;
}

/// Ends a connection as a firewall does.
fn cut(stream: TcpStream) {
    stream.set_zero_linger().expect("the socket is open");
}

/// Leads to the broker, and cuts a connection after so many answers.
async fn firewall(broker: String, answers: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let broker = broker.clone();
            tokio::spawn(async move {
                let (mut question, mut answer, mut left) = (vec![0; 65536], vec![0; 65536], answers);
                let Ok(mut server) = TcpStream::connect(broker).await else { return };
                while let Ok(n) = client.read(&mut question).await {
                    if n == 0 {
                        return;
                    }
                    if left == 0 {
                        return cut(client);
                    }
                    left -= 1;
                    let led = async {
                        server.write_all(&question[..n]).await?;
                        let n = server.read(&mut answer).await?;
                        client.write_all(&answer[..n]).await
                    };
                    if led.await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn d8_a_connection_that_is_cut_on_the_way_is_not_told_as_a_listener_that_wants_something() {
    let locked = Locked::new("sd8", &["--call-deadline=2s"]).await;
    locked.let_in();
    let s = locked.secured;
    let (plain, ssl) = (s.plaintext(), s.ssl());
    for (name, at, tls) in [
        ("at-once", firewall(plain.clone(), 0).await, Value::Null),
        ("in-use", firewall(plain, 1).await, Value::Null),
        ("handshake", firewall(ssl, 0).await, tls()),
    ] {
        let topic = locked.world.topic(&[10]).await;
        let group = locked.world.group(&topic, &[7]).await;
        locked.apply(name, &Way::new(name, at, tls, Value::Null), &group, Value::Null).await;
        let told = |message: &str| message.contains("is cut (reset)") && message.contains("firewalls, proxies and network policies");
        let status = locked
            .world
            .wait(name, "the cut connection to be told", |s| condition(s, "BackendReachable").is_some_and(|c| told(&c.message)))
            .await;
        let message = says(&status, "BackendReachable").2;
        println!("{name}: {message}");
        assert!(!message.contains("wants SASL") && !message.contains("the listener speaks TLS"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d8_a_system_without_cas_is_told_as_that() {
    let locked = Locked::without_operator("sd8c").await;
    locked.let_in();
    let dir = Scratch::new("no-cas").expect("a directory");
    let (script, none) = (dir.path().join("operator"), dir.path().join("none"));
    let none = none.display();
    let text = format!("#!/bin/sh\nSSL_CERT_FILE={none} SSL_CERT_DIR={none} exec {EXE} \"$@\"\n");
    std::fs::write(&script, text).expect("a script");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it can be run");
    let _operator = Operator::start(locked.world.testbed, Path::new(&script), locked.world.namespace.name(), &flags(&[]));
    let topic = locked.world.topic(&[10]).await;
    let group = locked.world.group(&topic, &[7]).await;
    locked.apply("p", &Way::new("p", locked.secured.ssl(), json!({}), Value::Null), &group, run("r1")).await;
    let status = locked.world.reaches("p", "r1", Stage::Waiting, "TlsFailed").await;
    let message = says(&status, "Ready").2;
    assert!(message.contains("the system that the operator runs on has none") && message.contains("spec.kafka.tls.ca"), "{message}");
    locked.apply("p", &Way::new("p", locked.secured.ssl(), tls(), Value::Null), &group, run("r1")).await;
    locked.world.verified("p", "r1").await;
}

/// Sets the quota of a user, or takes it away, by Kafka's own tool.
fn quota(locked: &Locked, user: &str, percentage: Option<&str>) {
    let change = match percentage {
        Some(percentage) => ["--add-config".to_owned(), format!("request_percentage={percentage}")],
        None => ["--delete-config".to_owned(), "request_percentage".to_owned()],
    };
    let mut tool = std::process::Command::new(locked.world.testbed.kafka_bin().join("kafka-configs.sh"));
    tool.args(["--bootstrap-server", &locked.secured.plaintext(), "--alter", "--entity-type", "users", "--entity-name", user]).args(change);
    let output = tokio::task::block_in_place(|| tool.output()).expect("the tool is there");
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn f20_a_quota_that_throttles_is_said_and_a_reset_goes_through_it() {
    // Less than the second by which the broker holds back what comes next.
    let mut locked = Locked::new("sf20q", &["--call-deadline=500ms"]).await;
    let user = "sf20q-dave";
    locked.block(|s| s.set_scram_password(user, "pass"));
    locked.secret("dave", json!({ "username": user, "password": "pass" })).await;
    let acls = [Resource::Topic, Resource::Group].map(|kind| Acl::allow(user, Operation::Read, kind, "sf20q-").prefixed());
    locked.block(|s| s.grant(&acls));
    quota(&locked, user, Some("0.01"));
    let topic = locked.world.topic(&[10]).await;
    let group = locked.world.group(&topic, &[7]).await;
    let way = Way::new("p", locked.secured.scram(), tls(), login("SCRAM-SHA-512", "dave"));
    locked.apply("p", &way, &group, run("r1")).await;
    let status = locked.world.reaches("p", "r1", Stage::Waiting, "RateLimited").await;
    let message = says(&status, "Ready").2;
    println!("{message}");
    for part in ["a quota of the brokers throttles the operator", "--call-deadline", "stream-pipeline-operator", "kafka-configs --describe"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(locked.world.at(&group, &topic).await, Some(7), "nothing was moved");
    // With time enough for the answers it works, slowly.
    locked.world.kill_operator();
    locked.start(&["--call-deadline=30s", "--send-window=30s"]);
    locked.world.verified("p", "r1").await;
    assert_eq!(locked.world.at(&group, &topic).await, Some(0));
    quota(&locked, user, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn b10_a_secret_that_appears_late_is_seen_within_ten_seconds() {
    let mut locked = Locked::new("sb10", &[crate::support::observing::CHATTY, "--recheck-waiting=2s", "--max-backoff=10m"]).await;
    locked.let_in();
    let topic = locked.world.topic(&[10]).await;
    let group = locked.world.group(&topic, &[7]).await;
    let way = Way::new("p", locked.secured.scram(), tls(), login("SCRAM-SHA-512", "later"));
    locked.apply("p", &way, &group, run("r1")).await;
    locked.world.reaches("p", "r1", Stage::Waiting, "SecretNotFound").await;
    // By now a back-off that goes on doubling is longer than a minute.
    locked.world.looks("p", 7).await;
    locked.secret("later", json!({ "username": ALICE, "password": ALICE_PASSWORD })).await;
    let begun = std::time::Instant::now();
    locked.world.verified("p", "r1").await;
    // Ten seconds, the few for which a read Secret is kept, and those of a busy machine.
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
}
