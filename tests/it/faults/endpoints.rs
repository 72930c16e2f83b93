//! F14: the addresses that the operator never connects to, whatever a StreamPipeline says.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::Api;
use serde_json::{Value, json};
use stream_pipeline_api::{Stage, StreamPipelineStatus};
use testbed::eventually;
use tokio::net::TcpListener;

use crate::support::accounts::api_server;
use crate::support::brokers;
use crate::support::sockets::{Trap, listen};
use crate::support::status::{assert_has, has_reason, says};
use crate::support::world::{LIMIT, World};

/// Whether somebody connects.
async fn came(listener: &TcpListener) {
    tokio::time::timeout(LIMIT, listener.accept()).await.expect("somebody connects").expect("a connection");
}

/// Asks for a group at these brokers, and says what becomes of it.
async fn unreachable(world: &World, name: &str, at: &str, reason: &str) -> String {
    let spec = json!({ "kafka": { "bootstrapServers": [at], "consumerGroup": world.unique("g") } });
    world.apply_spec(name, spec).await.expect("the API server takes it");
    let told = |s: &StreamPipelineStatus| has_reason(s, "BackendReachable", reason);
    let status = world.wait(name, reason, told).await;
    says(&status, "BackendReachable").2.to_owned()
}

fn is_the_api_servers(message: &str) {
    assert_has(message, &["the Kubernetes API server", "not a byte was sent"]);
    assert!(!message.contains("--allowed-endpoints"), "no flag is the remedy: {message}");
}

/// Both the address that the operator was given and the one where the API server listens are refused; another port is not.
#[tokio::test(flavor = "multi_thread")]
async fn f14_the_api_servers_own_addresses_are_refused_by_its_own_rule_whatever_is_allowed() {
    let mut world = World::without_operator("f14a").await;
    let url = api_server(world.testbed);
    let port = url.rsplit(':').next().expect("the URL has a port");
    // A range that includes the API server's address does not open it.
    world.start_operator_with(&["--allowed-endpoints=127.0.0.0/8"]);
    is_the_api_servers(&unreachable(&world, "given", &format!("127.0.0.1:{port}"), "EndpointNotAllowed").await);
    is_the_api_servers(&unreachable(&world, "its-address", "127.0.0.1:9", "EndpointNotAllowed").await);
    let neighbour = listen("127.0.0.2:0").await;
    let at = neighbour.local_addr().expect("an address").to_string();
    tokio::join!(came(&neighbour), unreachable(&world, "neighbour", &at, "BrokerUnreachable"));
    // A rule for exactly that address opens it, except for the API server's port.
    world.kill_operator();
    world.start_operator_with(&["--allowed-endpoints=127.0.0.1"]);
    is_the_api_servers(&unreachable(&world, "its-port", &format!("localhost:{port}"), "EndpointNotAllowed").await);
    let other = listen("127.0.0.1:0").await;
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
    // The API server of the testbed listens on loopback only, so this port of the published address is free.
    let trap = listen(&at).await;
    world.start_operator_with(&["--allowed-endpoints=", "--call-deadline=2s"]);
    is_the_api_servers(&unreachable(&world, "published", &at, "EndpointNotAllowed").await);
    let neighbour = listen(&format!("{address}:0")).await;
    let next = neighbour.local_addr().expect("an address").to_string();
    tokio::join!(came(&neighbour), unreachable(&world, "neighbour", &next, "BrokerUnreachable"));
    // The same over HTTP.
    let enos = json!({ "endpoint": format!("https://{at}"), "orgID": "o1", "pipelineID": "p1", "credentialsSecretRef": { "name": "app" } });
    world.secret("app", json!({ "accessKey": "k", "secretKey": "s" })).await;
    world.apply_spec("gateway", json!({ "enos": enos, "offsetReset": { "id": "r1", "whenCreated": "Run" } })).await.expect("it is taken");
    let status = world.reaches("gateway", "r1", Stage::Waiting, "EndpointNotAllowed").await;
    is_the_api_servers(says(&status, "Ready").2);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(100), trap.accept()).await.is_err(), "expected no connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn f14_brokers_as_given_and_as_advertised_are_connected_to_only_where_the_operator_may() {
    let mut world = World::without_operator("f14k").await;
    // A listener at another loopback address, which must not be connected to.
    let trap = Trap::at("127.0.0.2").await;
    let advertised = trap.address.clone();
    let broker = brokers::own(&mut world, Some(advertised.clone())).await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    // Not 127.0.0.1, where the API server is, which has a rule of its own.
    let given = advertised;
    world.start_operator_with(&["--allowed-endpoints="]);
    world.named = Some(vec![given.clone()]);
    world.apply("given", &group, Value::Null).await;
    world.named = None;
    let refused = |s: &StreamPipelineStatus| has_reason(s, "BackendReachable", "EndpointNotAllowed");
    let status = world.wait("given", "loopback to be refused", refused).await;
    let message = says(&status, "BackendReachable").2;
    assert_has(
        message,
        &[given.as_str(), "--allowed-endpoints", "not a byte was sent", "127.0.0.2 (127.0.0.2) is not allowed: it is a loopback address"],
    );
    world.kill_operator();
    world.bootstrap = broker.second();
    world.start_operator();
    world.apply("advertised", &group, Value::Null).await;
    let status = world.wait("advertised", "the advertised address to be refused", refused).await;
    assert_has(says(&status, "BackendReachable").2, &["127.0.0.2"]);
    assert_eq!(trap.came(), 0, "connections to the address that is not allowed");
}
