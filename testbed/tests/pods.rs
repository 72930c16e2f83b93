//! Scaling a workload starts and stops members of a real group, and the real controllers see it.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use testbed::pods::{self, Pods, annotated};
use testbed::{Namespace, Testbed, eventually, kafka};

/// Long enough for a busy machine; a test that needs it fails.
const LIMIT: Duration = Duration::from_secs(60);

/// A namespace whose pods run, a topic with ten records in each of two partitions, and the name of a group.
struct World {
    // Stopped in this order.
    pods: Pods,
    namespace: Namespace<'static>,
    testbed: &'static Testbed,
    client: Client,
    name: String,
}

impl World {
    async fn new(name: &str) -> Self {
        let testbed = testbed::start().await;
        let (client, bootstrap) = (testbed.client().await, testbed.bootstrap());
        kafka::create_topic(&bootstrap, name, 2, &[]).await;
        kafka::produce(&bootstrap, name, 0, 10, |n| n).await;
        kafka::produce(&bootstrap, name, 1, 10, |n| n).await;
        let namespace = testbed.namespace(name);
        let pods = Pods::play(client.clone(), namespace.name(), &bootstrap);
        Self { pods, namespace, testbed, client, name: name.to_owned() }
    }

    async fn apply(&self, manifest: &Value) {
        pods::apply(&self.client, self.namespace.name(), "owner", manifest).await.expect("the manifest is accepted");
    }

    async fn scale(&self, manifest: &Value, replicas: u32) {
        pods::scale(&self.client, self.namespace.name(), manifest, replicas).await.expect("it can be scaled");
    }

    /// State of the group, and its members.
    async fn group(&self) -> Result<(String, Vec<String>), String> {
        kafka::members(&self.testbed.bootstrap(), &self.name).await
    }

    async fn names(&self) -> Vec<String> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), self.namespace.name());
        let list = api.list(&ListParams::default()).await.expect("pods can be listed");
        list.items.into_iter().filter_map(|pod| pod.metadata.name).collect()
    }

    /// Until the group has so many members, the running pods by name.
    async fn members(&self, count: usize) -> Vec<String> {
        eventually("members of the group", LIMIT, async || {
            let (state, members) = self.group().await?;
            let running = self.pods.running();
            if state == "Stable" && members.len() == count && members == running {
                Ok(members)
            } else {
                Err(format!("{state}, {members:?}, running {running:?}"))
            }
        })
        .await
    }

    async fn empty(&self) {
        eventually("the group to be empty", LIMIT, async || match self.group().await? {
            (state, members) if state == "Empty" && members.is_empty() => Ok(()),
            seen => Err(format!("{seen:?}")),
        })
        .await;
    }

    /// Until these fields of the workload's status have this value; absent is 0.
    async fn status(&self, manifest: &Value, fields: &[&str], value: u64) {
        eventually("the workload's status", LIMIT, async || {
            let found = pods::get(&self.client, self.namespace.name(), manifest).await.map_err(|e| e.to_string())?;
            let status = &found.data["status"];
            let holds = fields.iter().all(|field| status[field].as_u64().unwrap_or_default() == value);
            if holds { Ok(()) } else { Err(format!("{fields:?} not {value} in {status}")) }
        })
        .await;
    }

    /// From two to none, and to one again.
    async fn down_and_up(&self, workload: &Value, ready: &[&str]) {
        self.apply(workload).await;
        let members = self.members(2).await;
        self.status(workload, ready, 2).await;
        eventually("all that was read to be committed", LIMIT, async || {
            match kafka::offsets(&self.testbed.bootstrap(), &self.name, &self.name, 2).await {
                found if found == [Some(10), Some(10)] => Ok(()),
                found => Err(format!("{found:?}")),
            }
        })
        .await;
        let begun = Instant::now();
        self.scale(workload, 0).await;
        self.empty().await;
        println!("{}: scale 0 to Empty in {:?}", self.name, begun.elapsed());
        self.status(workload, &[ready, &["replicas"]].concat(), 0).await;
        eventually("the pods to be gone", LIMIT, async || match self.names().await {
            names if names.is_empty() => Ok(()),
            names => Err(format!("{names:?}")),
        })
        .await;
        assert!(self.pods.running().is_empty());
        let begun = Instant::now();
        self.scale(workload, 1).await;
        let again = self.members(1).await;
        println!("{}: scale 1 to a member in {:?}", self.name, begun.elapsed());
        self.status(workload, ready, 1).await;
        assert!(members.iter().all(|name| name.starts_with(&format!("{}-", self.name))), "{members:?}");
        if workload["kind"] != "Deployment" {
            assert_eq!(again[0], members[0], "its names come again");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_scaled_down_and_up() {
    let world = World::new("deployment").await;
    world.down_and_up(&pods::deployment("deployment", 2, "deployment", "deployment"), &["readyReplicas", "availableReplicas"]).await;
    assert_eq!(world.pods.running(), world.names().await, "a member has its pod's name");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateful_set_is_scaled_down_and_up() {
    let world = World::new("stateful").await;
    world.down_and_up(&pods::stateful_set("stateful", 2, "stateful", "stateful"), &["readyReplicas", "availableReplicas"]).await;
    assert_eq!(world.pods.running(), ["stateful-0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_resource_is_scaled_down_and_up() {
    let world = World::new("worker").await;
    pods::install_crds(&world.client).await;
    world.down_and_up(&pods::worker("worker", 2, "worker", "worker"), &["replicas"]).await;
}

/// Replicas are asked for, none is ready, and the group has nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_never_joins() {
    let world = World::new("crash").await;
    let workload = annotated(pods::deployment("crash", 1, "crash", "crash"), "crash-loop", "true");
    world.apply(&workload).await;
    let api: Api<Pod> = Api::namespaced(world.client.clone(), world.namespace.name());
    eventually("a pod in a crash loop", LIMIT, async || {
        let list = api.list(&ListParams::default()).await.map_err(|e| e.to_string())?;
        let seen = json!(list.items);
        if seen[0]["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff" {
            Ok(())
        } else {
            Err(seen.to_string())
        }
    })
    .await;
    world.status(&workload, &["replicas", "unavailableReplicas"], 1).await;
    world.status(&workload, &["readyReplicas"], 0).await;
    assert!(world.pods.running().is_empty());
    assert!(world.group().await.expect("the broker answers").1.is_empty());
    world.scale(&workload, 0).await;
    world.status(&workload, &["replicas"], 0).await;
}

/// The controllers say that nothing is left, and the members read on.
#[tokio::test(flavor = "multi_thread")]
async fn a_player_that_hangs_stops_nobody() {
    let world = World::new("hang").await;
    let workload = pods::deployment("hang", 1, "hang", "hang");
    world.apply(&workload).await;
    let members = world.members(1).await;
    world.status(&workload, &["readyReplicas"], 1).await;
    world.pods.hang(true);
    world.scale(&workload, 0).await;
    world.status(&workload, &["replicas"], 0).await;
    assert_eq!(world.members(1).await, members);
    assert_eq!(world.names().await, members, "terminating, and still there");
    world.pods.hang(false);
    world.empty().await;
}

/// It takes its time after the controllers have forgotten it.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_stop_takes_its_time() {
    let world = World::new("slow").await;
    let workload = annotated(pods::deployment("slow", 1, "slow", "slow"), "stop-delay-ms", "2500");
    world.apply(&workload).await;
    world.members(1).await;
    let begun = Instant::now();
    world.scale(&workload, 0).await;
    world.status(&workload, &["replicas"], 0).await;
    world.empty().await;
    assert!(begun.elapsed() >= Duration::from_millis(2500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_outlives_its_pod() {
    let world = World::new("static").await;
    let workload = annotated(pods::deployment("static", 1, "static", "static"), "instance-id", "static");
    world.apply(&workload).await;
    let members = world.members(1).await;
    world.scale(&workload, 0).await;
    eventually("the pod to be gone", LIMIT, async || match world.names().await {
        names if names.is_empty() => Ok(()),
        names => Err(format!("{names:?}")),
    })
    .await;
    assert!(world.pods.running().is_empty());
    assert_eq!(world.group().await.expect("the broker answers").1, members, "for its session");
    world.empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_joins_with_the_newer_protocol() {
    let world = World::new("newer").await;
    let workload = annotated(pods::deployment("newer", 1, "newer", "newer"), "protocol", "consumer");
    world.apply(&workload).await;
    let describe = |what: &str| world.testbed.kafka_consumer_groups(&["--describe", "--group", "newer", what]);
    eventually("a member by the newer protocol", LIMIT, async || {
        let (seen, running) = (describe("--members"), world.pods.running());
        if running.len() == 1 && seen.contains(&running[0]) { Ok(()) } else { Err(format!("{running:?}, {seen}")) }
    })
    .await;
    world.scale(&workload, 0).await;
    eventually("the group to be empty", LIMIT, async || match describe("--state") {
        seen if seen.contains("Empty") => Ok(()),
        seen => Err(seen),
    })
    .await;
}

/// Never a member, and its offsets move for as long as it runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_assigns_commits_while_it_runs() {
    let world = World::new("assign").await;
    let workload = annotated(pods::deployment("assign", 1, "assign", "assign"), "protocol", "assign");
    world.apply(&workload).await;
    let committed = async || kafka::offsets(&world.testbed.bootstrap(), "assign", "assign", 1).await[0];
    eventually("commits", LIMIT, async || match committed().await {
        Some(offset) if offset > 1 => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await;
    assert!(world.group().await.expect("the broker answers").1.is_empty());
    world.scale(&workload, 0).await;
    eventually("it to end", LIMIT, async || match world.pods.running() {
        names if names.is_empty() => Ok(()),
        names => Err(format!("{names:?}")),
    })
    .await;
}

/// What scales a workload besides: accepted as written.
#[tokio::test(flavor = "multi_thread")]
async fn autoscalers_are_accepted() {
    let testbed = testbed::start().await;
    let (client, namespace) = (testbed.client().await, testbed.namespace("scalers"));
    pods::install_crds(&client).await;
    let workload = pods::deployment("d", 1, "g", "t");
    for manifest in [&workload, &pods::hpa("h", &workload), &pods::scaled_object("s", &workload)] {
        pods::apply(&client, namespace.name(), "owner", manifest).await.expect("the manifest is accepted");
    }
    let found = pods::get(&client, namespace.name(), &pods::scaled_object("s", &workload)).await.expect("it is there");
    assert_eq!(found.data["spec"]["scaleTargetRef"], json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "d" }));
}

/// The consumers end with it, and its namespace goes although nobody is left to end the pods.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_player_leaves_nobody() {
    let world = World::new("dropped").await;
    world.apply(&pods::deployment("dropped", 2, "dropped", "dropped")).await;
    world.members(2).await;
    let World { pods, namespace, testbed, client, name } = world;
    let begun = Instant::now();
    drop(pods);
    println!("dropped in {:?}", begun.elapsed());
    // Sooner than their sessions end: they have left.
    eventually("the group to be empty", Duration::from_secs(3), async || match kafka::members(&testbed.bootstrap(), &name).await? {
        (state, members) if state == "Empty" && members.is_empty() => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await;
    let gone = namespace.name().to_owned();
    drop(namespace);
    let all: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client);
    eventually("the namespace to be gone", LIMIT, async || match all.get_opt(&gone).await {
        Ok(None) => Ok(()),
        Ok(Some(seen)) => Err(json!(seen.status).to_string()),
        Err(error) => Err(error.to_string()),
    })
    .await;
}
