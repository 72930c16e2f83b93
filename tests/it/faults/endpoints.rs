//! Where no StreamPipeline leads the operator, what its account may not have deleted, and what an uninstall would leave stopped.

use std::path::Path;
use std::process::{Command, Output};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use stream_pipeline_operator::api::{FINALIZER, OffsetResetRecord, Stage, StreamPipeline, StreamPipelineStatus};
use testbed::{Testbed, eventually};
use tokio::net::TcpListener;

use crate::support::world::{EXE, LIMIT, World, condition, says};

/// The API server's port, and whether it can be reached there.
fn api_server(testbed: &Testbed) -> String {
    let kubeconfig = std::fs::read_to_string(testbed.cluster.operator_kubeconfig()).expect("the kubeconfig");
    let url = kubeconfig.split(['"', ' ', '\n']).find_map(|word| word.strip_prefix("https://"));
    url.and_then(|at| at.rsplit(':').next()).expect("the API server's port").to_owned()
}

async fn listens(at: &str) -> TcpListener {
    TcpListener::bind(at).await.unwrap_or_else(|e| panic!("{at} is an address of this machine: {e}"))
}

/// Whether somebody connects.
async fn came(listener: &TcpListener) {
    tokio::time::timeout(LIMIT, listener.accept()).await.expect("somebody connects").expect("a connection");
}

/// Asks for a group at these brokers, and says what becomes of it.
async fn unreachable(world: &World, name: &str, at: &str, reason: &str) -> String {
    let spec = json!({ "kafka": { "bootstrapServers": [at], "consumerGroup": world.unique("g") } });
    world.apply_spec(name, spec).await.expect("the API server takes it");
    let told = |s: &StreamPipelineStatus| condition(s, "BackendReachable").is_some_and(|c| c.reason == reason);
    let status = world.wait(name, reason, told).await;
    says(&status, "BackendReachable").2.to_owned()
}

fn is_the_api_servers(message: &str) {
    assert!(message.contains("the Kubernetes API server") && message.contains("not a byte was sent"), "{message}");
    assert!(!message.contains("--allowed-endpoints"), "no flag is the remedy: {message}");
}

/// As in a pod: not the address that it was given, but where the API server really listens. Everything else of that address is open.
#[tokio::test(flavor = "multi_thread")]
async fn f14_the_api_servers_own_addresses_are_refused_by_its_own_rule_whatever_is_allowed() {
    let mut world = World::without_operator("f14a").await;
    let port = api_server(world.testbed);
    // A range opens loopback, and never the address that the operator itself was given.
    world.start_operator_with(&["--allowed-endpoints=127.0.0.0/8"]);
    is_the_api_servers(&unreachable(&world, "given", &format!("127.0.0.1:{port}"), "EndpointNotAllowed").await);
    is_the_api_servers(&unreachable(&world, "its-address", "127.0.0.1:9", "EndpointNotAllowed").await);
    let neighbour = listens("127.0.0.2:0").await;
    let at = neighbour.local_addr().expect("an address").to_string();
    tokio::join!(came(&neighbour), unreachable(&world, "neighbour", &at, "BrokerUnreachable"));
    // A rule for that one address opens it, but for the API server's port.
    world.kill_operator();
    world.start_operator_with(&["--allowed-endpoints=127.0.0.1"]);
    is_the_api_servers(&unreachable(&world, "its-port", &format!("localhost:{port}"), "EndpointNotAllowed").await);
    let other = listens("127.0.0.1:0").await;
    let at = other.local_addr().expect("an address").to_string();
    tokio::join!(came(&other), unreachable(&world, "other-port", &at, "BrokerUnreachable"));
}

#[tokio::test(flavor = "multi_thread")]
async fn f14_where_the_api_server_says_that_it_listens_nobody_is_led_to() {
    let mut world = World::without_operator("f14b").await;
    let slices: Api<EndpointSlice> = Api::namespaced(world.client.clone(), "default");
    let published = eventually("the API server to publish its address", LIMIT, async || {
        let slice = slices.get("kubernetes").await.map_err(|e| e.to_string())?;
        let address = slice.endpoints.iter().flat_map(|e| e.addresses.clone()).next().ok_or("no address")?;
        let port = slice.ports.iter().flatten().find_map(|p| p.port).ok_or("no port")?;
        Ok((address, port))
    })
    .await;
    let (address, port) = published;
    let at = format!("{address}:{port}");
    // The testbed's listens at loopback alone, so that this one is free.
    let trap = listens(&at).await;
    world.start_operator_with(&["--allowed-endpoints=", "--call-deadline=2s"]);
    is_the_api_servers(&unreachable(&world, "published", &at, "EndpointNotAllowed").await);
    let neighbour = listens(&format!("{address}:0")).await;
    let next = neighbour.local_addr().expect("an address").to_string();
    tokio::join!(came(&neighbour), unreachable(&world, "neighbour", &next, "BrokerUnreachable"));
    // The same by http, with a port that the name's look-up has to know.
    let enos = json!({ "endpoint": format!("https://{at}"), "orgID": "o1", "pipelineID": "p1", "credentialsSecretRef": { "name": "app" } });
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "app" }, "stringData": { "accessKey": "k", "secretKey": "s" } });
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(world.client.clone(), world.namespace.name());
    secrets.patch("app", &PatchParams::apply("test"), &Patch::Apply(secret)).await.expect("the Secret is taken");
    world.apply_spec("gateway", json!({ "enos": enos, "offsetReset": { "id": "r1", "whenCreated": "Run" } })).await.expect("it is taken");
    let status = world.reaches("gateway", "r1", Stage::Waiting, "EndpointNotAllowed").await;
    is_the_api_servers(says(&status, "Ready").2);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(100), trap.accept()).await.is_err(), "nobody was connected to");
}

fn record(name: &str) -> Value {
    json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "OffsetResetRecord", "metadata": { "name": name },
        "spec": {
            "pipeline": { "name": "p", "uid": "u" }, "request": { "id": "r1" },
            "backend": { "clusterID": "c", "consumerGroup": "g" },
            "createdAt": "2026-01-01T00:00:00Z", "deadline": "2026-01-02T00:00:00Z",
        },
    })
}

/// With an owner that is gone, the garbage collector deletes what the account itself may not.
#[tokio::test]
async fn c3_the_operators_account_can_have_nothing_deleted_by_owners() {
    let testbed = testbed::start().await;
    let namespace = testbed.namespace("c3");
    let spec = json!({ "kafka": { "bootstrapServers": ["kafka.example.com:9092"], "consumerGroup": "g" } });
    let pipeline =
        json!({ "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": { "name": "p" }, "spec": spec });
    let admin: Api<StreamPipeline> = Api::namespaced(testbed.client().await, namespace.name());
    admin.create(&PostParams::default(), &serde_json::from_value(pipeline).expect("an object")).await.expect("an admin creates it");
    let config = kube::config::Kubeconfig::read_from(testbed.cluster.operator_kubeconfig()).expect("the operator's kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default()).await.expect("it is whole");
    let client = kube::Client::try_from(config).expect("a client");
    let pipelines: Api<StreamPipeline> = Api::namespaced(client.clone(), namespace.name());
    let records: Api<OffsetResetRecord> = Api::namespaced(client, namespace.name());
    let gone = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "00000000-0000-0000-0000-000000000000" }]);
    let owned = json!({ "metadata": { "ownerReferences": gone } });
    let refused = |what: &str, answer: Option<kube::Error>, said: &str| {
        let answer = answer.map(|e| e.to_string()).unwrap_or_default();
        assert!(answer.contains(said), "{what}: {answer}");
    };
    let params = PatchParams::default();
    let own = "and nothing else";
    // A policy is in force a moment after it was made.
    eventually("the policy to be in force", LIMIT, async || {
        match pipelines.patch("p", &PatchParams { dry_run: true, ..params.clone() }, &Patch::Merge(&owned)).await {
            Err(e) if e.to_string().contains(own) => Ok(()),
            answer => Err(format!("{:?}", answer.err())),
        }
    })
    .await;
    refused("owners of a StreamPipeline", pipelines.patch("p", &params, &Patch::Merge(&owned)).await.err(), own);
    let generated = Patch::Merge(json!({ "metadata": { "generateName": "other-" } }));
    refused("the name it was made from", pipelines.patch("p", &params, &generated).await.err(), own);
    let records_own = "neither owners nor finalizers";
    let made = |name: &str, metadata: &Value| -> OffsetResetRecord {
        let mut object = record(name);
        for (field, value) in metadata.as_object().expect("an object") {
            object["metadata"][field] = value.clone();
        }
        serde_json::from_value(object).expect("a record")
    };
    let post = PostParams::default();
    for metadata in [json!({ "ownerReferences": gone }), json!({ "finalizers": ["example.com/kept"] })] {
        refused("a record with it", records.create(&post, &made("r1", &metadata)).await.err(), records_own);
    }
    records.create(&post, &made("r2", &json!({}))).await.expect("a record is created");
    refused("owners of a record", records.patch("r2", &params, &Patch::Merge(&owned)).await.err(), records_own);
    let labelled = Patch::Merge(json!({ "metadata": { "labels": { "a": "b" } } }));
    records.patch("r2", &params, &labelled).await.expect("its labels are the operator's");
}

/// What the chart asks before an uninstall.
pub fn check(testbed: &Testbed) -> Output {
    let mut command = Command::new(Path::new(EXE));
    command.env("KUBECONFIG", testbed.cluster.operator_kubeconfig()).arg("check-uninstall").output().expect("it runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn b9_an_uninstall_is_refused_by_name_while_a_pipeline_is_kept_stopped() {
    let world = World::without_operator("b9").await;
    let group = world.unique("g");
    world.apply("kept", &group, Value::Null).await;
    let finalizers = |value: Value| Patch::Merge(json!({ "metadata": { "finalizers": value } }));
    let name = format!("{}/kept", world.namespace.name());
    let params = PatchParams::default();
    world.pipelines().patch("kept", &params, &finalizers(json!([FINALIZER]))).await.expect("an admin puts it there");
    let output = check(world.testbed);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains(&name) && said.contains("remove spec.offsetReset") && said.contains("--no-hooks"), "{said}");
    world.pipelines().patch("kept", &params, &finalizers(Value::Null)).await.expect("an admin takes it away");
    // Other tests may keep pipelines stopped at the same time.
    let said = String::from_utf8_lossy(&check(world.testbed).stderr).into_owned();
    assert!(!said.contains(&name), "{said}");
}
