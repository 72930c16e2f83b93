//! C4: Secrets and ConfigMaps that hold something else than PEM.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::secured::{ALICE, ALICE_PASSWORD};

use crate::support::leaks::base64;
use crate::support::requests::with;
use crate::support::secured::{SecuredWorld, Way, login, oauth, run, tls, with_certificate};
use crate::support::status::{assert_has, says};

/// A Secret or a ConfigMap of bytes.
async fn bytes(locked: &SecuredWorld, kind: &str, name: &str, values: &[(&str, &[u8])]) {
    let (client, namespace) = (locked.world.client.clone(), locked.world.namespace.name());
    let data: BTreeMap<_, _> = values.iter().map(|(key, value)| (*key, base64(value))).collect();
    let params = PatchParams::apply("bytes").force();
    let object = json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name } });
    if kind == "Secret" {
        let object = with(object, "data", json!(data));
        Api::<Secret>::namespaced(client, namespace).patch(name, &params, &Patch::Apply(object)).await.expect("the Secret is taken");
    } else {
        let object = with(object, "binaryData", json!(data));
        Api::<ConfigMap>::namespaced(client, namespace).patch(name, &params, &Patch::Apply(object)).await.expect("the ConfigMap is taken");
    }
}

/// The bytes between BEGIN and END.
fn der(pem: &str) -> Vec<u8> {
    let body: String =
        pem.lines().skip_while(|l| !l.starts_with("-----BEGIN")).skip(1).take_while(|l| !l.starts_with("-----END")).collect();
    let value: k8s_openapi::ByteString = serde_json::from_value(json!(body)).expect("base64");
    value.0
}

#[tokio::test(flavor = "multi_thread")]
async fn c4_what_is_named_and_holds_no_pem_is_told_by_object_key_field_and_form() {
    let locked = SecuredWorld::new("sc4", &[]).await;
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
    /// Name, kind, wrong values, right values, the way in, and parts of the message.
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
        let (topic, group) = locked.topic_and_group().await;
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
        assert_eq!(locked.world.offset(group, topic).await, Some(0), "{name}");
    }
    let (_, group) = locked.topic_and_group().await;
    bytes(&locked, "Secret", "binary", &[("username", ALICE.as_bytes()), ("password", &[0xff, 0xfe, 0])]).await;
    locked.apply("binary", &Way::new("binary", s.scram(), tls(), login("SCRAM-SHA-512", "binary")), &group, run("r1")).await;
    let status = locked.world.reaches("binary", "r1", Stage::Waiting, "AuthenticationFailed").await;
    assert_has(says(&status, "Ready").2, &["key password in Secret binary is binary, not text"]);
    bytes(&locked, "Secret", "binary", &[("username", ALICE.as_bytes()), ("password", ALICE_PASSWORD.as_bytes())]).await;
    locked.world.verified("binary", "r1").await;
}
