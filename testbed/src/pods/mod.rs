//! Plays the scheduler and the kubelet for the pods of one namespace: each that says so by its annotations runs a real
//! consumer, so that scaling a workload starts and stops members of a real group.
//!
//! Read from a pod: `testbed/group` and `testbed/topic`; at will `testbed/protocol` (`classic`, `consumer` or `assign`),
//! `testbed/instance-id: static`, `testbed/crash-loop: "true"`, `testbed/stop-delay-ms`. A pod without them stays Pending.

mod manifests;
mod recipe;
mod runs;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

pub use manifests::{annotated, apply, delete, deployment, get, hpa, install_crds, scale, scaled_object, stateful_set, worker};
use recipe::Recipe;
use runs::{Key, Runs};

const EVERY: Duration = Duration::from_millis(100);
/// Of no Node object: pods that are bound end gracefully, others at once.
const NODE: &str = "testbed";

static PLAYED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Whether somebody has played the kubelet there.
pub(crate) fn played(namespace: &str) -> bool {
    PLAYED.lock().contains(namespace)
}

/// The pods of a namespace, run until this is dropped; their consumers end with it.
pub struct Pods {
    player: Arc<Player>,
    task: tokio::task::JoinHandle<()>,
}

impl Pods {
    /// Goes on in the background of the current runtime; a test that blocks its only thread stops it.
    pub fn play(client: Client, namespace: &str, bootstrap: &str) -> Self {
        PLAYED.lock().insert(namespace.to_owned());
        let player = Arc::new(Player {
            pods: Api::namespaced(client.clone(), namespace),
            workers: Api::namespaced_with(client, namespace, &manifests::worker_resource()),
            bootstrap: bootstrap.to_owned(),
            runs: Mutex::default(),
        });
        let task = tokio::spawn(Arc::clone(&player).play());
        Self { player, task }
    }

    /// The pods whose consumer runs, those that are on their way out included, by name.
    pub fn running(&self) -> Vec<String> {
        self.player.runs().names()
    }

    /// From now on nothing is stopped or started, or again it is.
    pub fn hang(&self, hangs: bool) {
        self.player.runs().hangs = hangs;
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        self.task.abort();
        self.player.runs().close();
    }
}

struct Player {
    pods: Api<Pod>,
    workers: Api<DynamicObject>,
    bootstrap: String,
    runs: Mutex<Runs>,
}

impl Player {
    fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock()
    }

    async fn play(self: Arc<Self>) {
        let mut last = String::new();
        loop {
            let said = self.look().await.err().map(|e| format!("{e:#}")).unwrap_or_default();
            // Once, not ten times a second.
            if !said.is_empty() && said != last {
                eprintln!("testbed: playing the kubelet: {said}");
            }
            last = said;
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Compares what is there with what runs, and does what is missing; what fails is tried again by the next look.
    async fn look(&self) -> anyhow::Result<()> {
        if self.runs().hangs {
            return Ok(());
        }
        let (mut wanted, mut alive, mut ending) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut unread = Ok(());
        for pod in self.pods.list(&ListParams::default()).await? {
            let recipe = match Recipe::read(pod.metadata.annotations.as_ref()) {
                Ok(Some(recipe)) => recipe,
                Ok(None) => continue,
                Err(why) => {
                    unread = Err(anyhow::anyhow!("{}: {why}", pod.name_any()));
                    continue;
                }
            };
            if pod.metadata.deletion_timestamp.is_some() {
                ending.push(pod);
                continue;
            }
            let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
            if !bound && !self.bind(&pod).await? {
                continue;
            }
            if !recipe.crash_loop {
                wanted.insert(key(&pod), recipe.clone());
            }
            alive.push((pod, recipe));
        }
        let workers = self.workers().await?;
        for worker in &workers {
            let recipe = match Recipe::read(worker.metadata.annotations.as_ref()) {
                Ok(Some(recipe)) if !recipe.crash_loop => recipe,
                Ok(_) => continue,
                Err(why) => {
                    unread = Err(anyhow::anyhow!("{}: {why}", worker.name_any()));
                    continue;
                }
            };
            let replicas = worker.data["spec"]["replicas"].as_u64().unwrap_or(1);
            let key = |n| (worker.uid().unwrap_or_default(), format!("{}-{n}", worker.name_any()));
            wanted.extend((0..replicas).map(|n| (key(n), recipe.clone())));
        }
        if !self.runs().keep(&self.bootstrap, &wanted) {
            return Ok(());
        }
        for (pod, recipe) in &alive {
            if pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Pending") {
                let patch = if recipe.crash_loop { status::crash_loop(pod) } else { status::ready(pod) };
                there(self.pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await)?;
            }
        }
        for pod in &ending {
            if !self.runs().has(&key(pod)) {
                let same = Preconditions { uid: pod.uid(), resource_version: None };
                there(self.pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0).preconditions(same)).await)?;
            }
        }
        for worker in &workers {
            self.count(worker).await?;
        }
        unread
    }

    async fn bind(&self, pod: &Pod) -> kube::Result<bool> {
        let name = pod.name_any();
        let binding = json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name, "uid": pod.uid() },
            "target": { "apiVersion": "v1", "kind": "Node", "name": NODE } });
        there(self.pods.create_subresource::<Value, Value>("binding", &name, &PostParams::default(), &binding).await)
    }

    /// None where the CRD is not installed.
    async fn workers(&self) -> kube::Result<Vec<DynamicObject>> {
        match self.workers.list(&ListParams::default()).await {
            Ok(list) => Ok(list.items),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// What the controller of a custom resource does.
    async fn count(&self, worker: &DynamicObject) -> kube::Result<()> {
        let running = self.runs().count(&worker.uid().unwrap_or_default());
        if worker.data["status"]["replicas"].as_u64() != u64::try_from(running).ok() {
            let patch = json!({ "status": { "replicas": running, "selector": format!("app={}", worker.name_any()) } });
            there(self.workers.patch_status(&worker.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await)?;
        }
        Ok(())
    }
}

fn key(pod: &Pod) -> Key {
    (pod.uid().unwrap_or_default(), pod.name_any())
}

/// False when it was gone, or another, by the time the call arrived.
fn there<T>(result: kube::Result<T>) -> kube::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(false),
        Err(error) => Err(error),
    }
}
