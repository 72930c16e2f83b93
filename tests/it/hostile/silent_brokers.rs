//! Brokers that take a connection and never answer, beside one that does (F10).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Parser as _;
use futures::{StreamExt, stream};
use kube::api::ListParams;
use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use stream_pipeline_operator::config::Config;
use testbed::{Operator, eventually};
use tokio::net::{TcpListener, TcpStream};

use crate::support::process;
use crate::support::status::condition;
use crate::support::world::{LIMIT, World};

const PIPELINES: usize = 200;

/// Addresses where somebody listens and says nothing, until `back`: then what connects is led to the broker.
async fn silent(count: usize, broker: &str, back: &Arc<AtomicBool>) -> Vec<String> {
    let mut addresses = Vec::new();
    for _ in 0..count {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        addresses.push(listener.local_addr().expect("an address").to_string());
        let (broker, back) = (broker.to_owned(), Arc::clone(back));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (broker, back) = (broker.clone(), Arc::clone(&back));
                tokio::spawn(async move {
                    if !back.load(Ordering::Acquire) {
                        // What is sent is taken, until the client hangs up.
                        let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
                    } else if let Ok(mut server) = TcpStream::connect(broker).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
    }
    addresses
}

/// The most that was seen.
#[derive(Clone, Default)]
struct Peak(Arc<Mutex<Seen>>);

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Of the operator's own process; KiB.
    threads: u64,
    memory: u64,
    /// Processes of Kafka clients, and the memory (KiB) that they share with nobody.
    clients: u64,
    theirs: u64,
}

impl Peak {
    fn watch(operator: &Operator) -> Self {
        let peak = Self::default();
        let (seen, pid, children) = (peak.clone(), operator.pid(), operator.children_of());
        tokio::spawn(async move {
            // Ends with the operator.
            while let (Some(threads), Some(memory)) = (process::field(pid, "Threads"), process::field(pid, "VmRSS")) {
                let children = children();
                let theirs = children.iter().map(|child| process::private_memory(*child)).sum();
                let clients = children.len() as u64;
                seen.add(Seen { threads, memory, clients, theirs });
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        peak
    }

    fn add(&self, now: Seen) {
        let mut most = self.0.lock().expect("no panic under this lock");
        *most = Seen {
            threads: most.threads.max(now.threads),
            memory: most.memory.max(now.memory),
            clients: most.clients.max(now.clients),
            theirs: most.theirs.max(now.theirs),
        };
    }

    fn read(&self) -> Seen {
        *self.0.lock().expect("no panic under this lock")
    }
}

/// Waits until every pipeline of a silent broker has said so. Where there are more silent brokers than Kafka clients, the pipelines take
/// turns.
async fn all_wait(world: &World) {
    let said = Mutex::new(BTreeSet::new());
    eventually("every pipeline of a silent broker to say so", LIMIT, async || {
        let all = world.pipelines().list(&ListParams::default()).await.map_err(|e| e.to_string())?;
        for pipeline in all.items {
            let Some(status) = &pipeline.status else { continue };
            let told = condition(status, "Ready").is_some_and(|c| c.reason == "BrokerUnreachable" && c.message.contains("127.0.0.1:"));
            if told && status.offset_reset.as_ref().is_some_and(|r| r.stage == Stage::Waiting) {
                said.lock().expect("no panic under this lock").insert(pipeline.metadata.name);
            }
        }
        match said.lock().expect("no panic under this lock").len() {
            PIPELINES => Ok(()),
            n => Err(format!("{n} of {PIPELINES}")),
        }
    })
    .await;
}

async fn beside_silent_brokers(test: &str, brokers: usize) {
    let mut world = World::without_operator(test).await;
    let by_default = format!("--concurrency={}", Config::parse_from(["operator"]).concurrency);
    // The send window is the default one: when the brokers are back, all pipelines send at once.
    world.start_operator_with(&[&by_default, "--call-deadline=5s", "--send-window=30s", "--max-backoff=8s"]);
    let (topic, group) = world.known_at_7_of_10("right").await;
    let pid = world.operator().pid();
    let (threads, memory) = (process::threads(pid), process::memory(pid));
    let peak = Peak::watch(world.operator());
    let back = Arc::new(AtomicBool::new(false));
    let addresses = silent(brokers, &world.bootstrap, &back).await;
    let ask = |id: &str, position: &str, more: Value| {
        let mut ask = json!({ "id": id, "whenCreated": "Run", "to": { "position": position } });
        ask.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        ask
    };
    let new = ask("r1", "Earliest", json!({ "missingGroup": "Create", "topics": [{ "name": topic }] }));
    let applied = stream::iter(0..PIPELINES).map(|n| {
        let kafka = json!({ "bootstrapServers": [addresses[n % brokers]], "consumerGroup": world.unique("g") });
        let spec = json!({ "kafka": kafka, "offsetReset": new });
        let world = &world;
        async move { world.apply_spec(&format!("silent-{n}"), spec).await.expect("it is taken") }
    });
    applied.buffer_unordered(16).collect::<Vec<_>>().await;
    let begun = Instant::now();
    world.apply("right", &group, ask("at-first", "Earliest", Value::Null)).await;
    world.verified("right", "at-first").await;
    let at_first = begun.elapsed();
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
    all_wait(&world).await;
    let begun = Instant::now();
    world.apply("right", &group, ask("later", "Latest", Value::Null)).await;
    world.verified("right", "later").await;
    let later = begun.elapsed();
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(10)]);
    all_wait(&world).await;
    let most = peak.read();
    println!(
        "{brokers} silent brokers: a reset beside them in {at_first:?}, later in {later:?}; threads {threads}, memory {memory} KiB; \
         at most {most:?}"
    );
    assert!(most.threads <= threads + OWN_THREADS, "expected no threads for the clients: {most:?}");
    assert!(
        most.clients <= u64::from(Config::parse_from(["operator"]).kafka_clients) && most.clients <= clients(brokers),
        "expected no more clients than the limit, and than one or two for a broker: {most:?}"
    );
    // The operator divides the container's memory so between itself and its clients (`--memory-limit`).
    assert!(most.memory <= chart_limit_kib() / 4 && most.theirs <= chart_limit_kib() / 4 * 3, "{most:?} of {} KiB", chart_limit_kib());
    back.store(true, Ordering::Release);
    let begun = Instant::now();
    for n in (0..PIPELINES).step_by(brokers) {
        world.verified(&format!("silent-{n}"), "r1").await;
    }
    println!("{brokers} silent brokers: what waited for one of them is done {:?} after it is back", begun.elapsed());
    assert!(world.operator().is_running() && world.operator().pid() == pid);
}

/// Threads of the runtime for blocking work, which come and go. No client has a thread here.
const OWN_THREADS: u64 = 16;

/// The most client processes: one for each broker, and one more for each while a process that missed its deadline still ends.
fn clients(brokers: usize) -> u64 {
    2 * (brokers as u64 + 1)
}

/// What the chart gives the operator.
fn chart_limit_kib() -> u64 {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/stream-pipeline-operator/values.yaml");
    let values: Value = serde_saphyr::from_str(&std::fs::read_to_string(file).expect("the chart is there")).expect("values are YAML");
    let limit = values["resources"]["limits"]["memory"].as_str().expect("a limit");
    limit.strip_suffix("Mi").and_then(|mib| mib.parse::<u64>().ok()).expect("in MiB") * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_200_pipelines_on_20_silent_brokers_do_not_hinder_one() {
    beside_silent_brokers("f10-few", 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_200_pipelines_on_200_silent_brokers_do_not_hinder_one() {
    beside_silent_brokers("f10-many", 200).await;
}
