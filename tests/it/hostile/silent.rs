//! Brokers that take a connection and never answer, beside one that does (F10).

use serde_json::json;
use stream_pipeline_operator::api::Stage;
use tokio::net::TcpListener;

use super::process;
use crate::world::World;

const PIPELINES: usize = 200;

/// Addresses where somebody listens and says nothing.
async fn silent(count: usize) -> Vec<String> {
    let mut addresses = Vec::new();
    for _ in 0..count {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        addresses.push(listener.local_addr().expect("an address").to_string());
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((client, _)) = listener.accept().await {
                held.push(client);
            }
        });
    }
    addresses
}

async fn beside_silent_brokers(test: &str, brokers: usize) {
    let mut world = World::without_operator(test).await;
    world.start_operator_with(&["--concurrency=16", "--max-backoff=30s"]);
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("right", &group).await;
    let pid = world.operator().pid();
    let (threads, memory) = (process(pid, "Threads"), process(pid, "VmRSS"));
    let addresses = silent(brokers).await;
    let ask = json!({ "id": "r1", "whenCreated": "Run", "quietPeriod": "0s", "to": { "position": "Earliest" } });
    for n in 0..PIPELINES {
        let kafka = json!({ "bootstrapServers": [addresses[n % brokers]], "consumerGroup": world.unique("g") });
        world.apply_spec(&format!("silent-{n}"), json!({ "kafka": kafka, "offsetReset": ask })).await.expect("it is taken");
    }
    world.apply("right", &group, ask).await;
    world.verified("right", "r1").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
    for n in 0..PIPELINES {
        world.reaches(&format!("silent-{n}"), "r1", Stage::Waiting, "BrokerUnreachable").await;
    }
    let (threads_after, memory_after) = (process(pid, "Threads"), process(pid, "VmRSS"));
    println!("{brokers} silent brokers: threads {threads} -> {threads_after}, memory {memory} -> {memory_after} KiB");
    // librdkafka keeps a main thread and one for each broker it knows, and the addresses of start are brokers to it.
    assert!(threads_after <= threads + 5 * brokers as u64 + 20, "{threads_after} threads");
    assert!(memory_after <= memory + 64 * 1024 + 2048 * brokers as u64, "{memory_after} KiB");
    assert!(world.operator().is_running() && world.operator().pid() == pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_200_pipelines_on_20_silent_brokers_do_not_hinder_one() {
    beside_silent_brokers("f10-few", 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_200_pipelines_on_200_silent_brokers_do_not_hinder_one() {
    beside_silent_brokers("f10-many", 200).await;
}
