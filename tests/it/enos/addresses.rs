//! E13, F14: which addresses the operator connects to, and which certificates it trusts.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::enos::{Certificate, Options, Simulator};

use crate::support::accounts::api_server;
use crate::support::commands::word_after;
use crate::support::enos::{EnosWorld, ID, id, pipeline};
use crate::support::sockets::Trap;
use crate::support::status::{assert_has, message};
use crate::support::world::World;

async fn ca(world: &World, name: &str, pem: &str) {
    let api: Api<ConfigMap> = Api::namespaced(world.client.clone(), world.namespace.name());
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "ca.crt": pem } });
    api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(map)).await.expect("the ConfigMap is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn e13_a_certificate_that_does_not_verify_gets_nothing_and_a_good_one_is_trusted_by_its_ca() {
    // The simulator's name is localhost; nothing else is allowed, so plain http is not needed.
    let enos = EnosWorld::with_flags("e13t", Options::default(), &["--allowed-endpoints=127.0.0.1,::1"]).await;
    for (name, certificate, said) in [
        ("host", Certificate::WrongHost, "not valid for name"),
        ("expired", Certificate::Expired, "xpired"),
        ("unknown", Certificate::UnknownCa, "nknownIssuer"),
    ] {
        let sim = Simulator::start(Options { tls: true, certificate, ..Options::default() }).await;
        sim.add(pipeline(1, "cleaning", "PAUSED"));
        ca(&enos.world, name, &sim.ca_pem()).await;
        let mut spec = enos.spec_at(ID, &sim.endpoint());
        spec["ca"] = json!({ "configMapKeyRef": { "name": name, "key": "ca.crt" } });
        enos.run(name, spec, Value::Null).await;
        let waits = enos.world.reaches(name, "r1", Stage::Waiting, "TlsFailed").await;
        let text = message(&waits);
        assert_has(text, &["does not verify", "spec.enos.ca"]);
        assert!(text.to_lowercase().contains(&said.to_lowercase()), "{certificate:?}: {text}");
        assert!(sim.calls().is_empty(), "{certificate:?}: not a byte of a request: {:?}", sim.calls());
    }
    let good = Simulator::start(Options { tls: true, ..Options::default() }).await;
    for (n, name) in [(1, "by-map"), (2, "by-secret"), (3, "by-system")] {
        good.add(pipeline(n, name, "PAUSED"));
    }
    ca(&enos.world, "good", &good.ca_pem()).await;
    enos.world.secret("good", json!({ "ca.crt": good.ca_pem() })).await;
    let spec = |n: usize, ca: Value| {
        let mut spec = enos.spec_at(ID, &good.endpoint());
        spec["pipelineID"] = json!(id(n));
        if !ca.is_null() {
            spec["ca"] = ca;
        }
        spec
    };
    enos.run("by-map", spec(1, json!({ "configMapKeyRef": { "name": "good", "key": "ca.crt" } })), Value::Null).await;
    enos.run("by-secret", spec(2, json!({ "secretKeyRef": { "name": "good", "key": "ca.crt" } })), Value::Null).await;
    enos.run("by-system", spec(3, Value::Null), Value::Null).await;
    enos.sent("by-map", "r1").await;
    enos.sent("by-secret", "r1").await;
    enos.world.reaches("by-system", "r1", Stage::Waiting, "TlsFailed").await;
    // The CA is added, and it goes on.
    enos.apply_spec(
        "by-system",
        spec(3, json!({ "configMapKeyRef": { "name": "good", "key": "ca.crt" } })),
        json!({ "id": "r1", "whenCreated": "Run" }),
    )
    .await;
    enos.sent("by-system", "r1").await;
    // A ConfigMap without a certificate, and one that does not exist.
    ca(&enos.world, "nonsense", "not a PEM").await;
    enos.run("nonsense", spec(1, json!({ "configMapKeyRef": { "name": "nonsense", "key": "ca.crt" } })), Value::Null).await;
    let waits = enos.world.reaches("nonsense", "r1", Stage::Waiting, "TlsFailed").await;
    assert_has(message(&waits), &["spec.enos.ca", "PEM"]);
    enos.run("absent", spec(1, json!({ "configMapKeyRef": { "name": "absent", "key": "ca.crt" } })), Value::Null).await;
    let waits = enos.world.reaches("absent", "r1", Stage::Waiting, "SecretNotFound").await;
    assert_has(message(&waits), &["ConfigMap absent is not in this namespace"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn f14_addresses_that_no_tenant_may_reach_are_refused_before_a_byte_is_sent() {
    let mut enos = EnosWorld::with("f14", "PAUSED").await;
    // Not 127.0.0.1, where the API server is; its own rule is tried last.
    let (v4, v6) = (Trap::at("127.0.0.2").await, Trap::at("::1").await);
    enos.world.kill_operator();
    enos.world.start_operator_with(&["--allow-plain-http", "--allowed-endpoints="]);
    for (name, endpoint) in [
        ("v4", format!("http://{}", v4.address)),
        ("v6", format!("http://[::1]:{}", v6.port())),
        ("mapped", format!("http://[::ffff:127.0.0.2]:{}", v4.port())),
        ("name", format!("http://localhost:{}", v4.port())),
        ("decimal", format!("http://2130706434:{}", v4.port())),
        ("zero", format!("http://0.0.0.0:{}", v4.port())),
        ("metadata", "http://169.254.169.254".to_owned()),
        ("metadata-v6", "http://[fe80::1]".to_owned()),
        ("api-server", api_server(enos.world.testbed)),
    ] {
        if enos
            .world
            .apply_spec(name, json!({ "enos": enos.spec_at(ID, &endpoint), "offsetReset": { "id": "r1", "whenCreated": "Run" } }))
            .await
            .is_err()
        {
            // Refused at admission is refused, too.
            continue;
        }
        let waits = enos.world.reaches(name, "r1", Stage::Waiting, "EndpointNotAllowed").await;
        // localhost is also the API server's address here, so either rule may be named.
        let whose = match name {
            "api-server" => vec!["it is the Kubernetes API server", "Correct spec.enos.endpoint"],
            "name" => vec![],
            "v4" | "v6" | "mapped" | "decimal" => vec!["it is a loopback address", "--allowed-endpoints"],
            _ => vec!["--allowed-endpoints"],
        };
        let text = message(&waits);
        assert!(text.contains("not a byte was sent") && whose.iter().all(|part| text.contains(part)), "{name}: {text}");
    }
    assert_eq!((v4.came(), v6.came(), enos.sim.calls().len()), (0, 0, 0), "connections");
}

#[tokio::test(flavor = "multi_thread")]
async fn f14_plain_http_is_refused_unless_the_operator_allows_it() {
    let mut enos = EnosWorld::with("f14p", "PAUSED").await;
    enos.world.kill_operator();
    enos.world.start_operator_with(&["--allowed-endpoints=127.0.0.1,::1"]);
    enos.run("p", enos.spec(ID), Value::Null).await;
    let waits = enos.world.reaches("p", "r1", Stage::Waiting, "EndpointNotAllowed").await;
    for part in ["is plain http", "use https://", "--allow-plain-http"] {
        assert_has(message(&waits), &[part]);
    }
    assert!(enos.sim.calls().is_empty());
    let flag = format!("--{}", word_after(message(&waits), "the operator started with --"));
    enos.world.kill_operator();
    enos.world.start_operator_with(&[flag.trim_end_matches('.'), "--allowed-endpoints=127.0.0.1,::1"]);
    enos.sent("p", "r1").await;
    assert_eq!(enos.sim.resets(ID), 1);
}
