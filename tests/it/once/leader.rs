//! Two replicas with a Lease: one works, the other stands by ready, and follows when the first leaves, dies, or loses the Lease.

use std::cell::RefCell;
use std::path::Path;
use std::time::Instant;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use testbed::{Operator, RELEASE, SYSTEM_NAMESPACE, eventually};

use crate::support::commands::succeeded;
use crate::support::metrics::{get, metrics};
use crate::support::requests::ask;
use crate::support::world::{EXE, LIMIT, World, flags};

const LEASE: &str = "operator";

/// A namespace in which the operator's account may hold a Lease.
pub(super) async fn world(test: &str) -> World {
    let world = World::without_operator(test).await;
    let ns = world.namespace.name();
    let verbs = "--verb=get,create,update";
    succeeded(&world.testbed.kubectl(&["create", "role", "lease", verbs, "--resource=leases.coordination.k8s.io", "-n", ns]));
    let account = format!("--serviceaccount={SYSTEM_NAMESPACE}:{RELEASE}");
    succeeded(&world.testbed.kubectl(&["create", "rolebinding", "lease", "--role=lease", &account, "-n", ns]));
    world
}

pub(super) fn replica(world: &World, lease_duration: &str) -> Operator {
    let (lease, length) = (format!("--leader-election={}/{LEASE}", world.namespace.name()), format!("--lease-duration={lease_duration}"));
    Operator::start(world.testbed, Path::new(EXE), world.namespace.name(), &flags(&[&lease, &length]))
}

pub(super) async fn leads(operator: &Operator) {
    says(operator, "\nstreampipeline_leader 1\n").await;
}

/// It has its caches, says that it is ready, and does not work.
pub(super) async fn stands_by(operator: &Operator) {
    eventually("a replica to be ready", LIMIT, async || {
        if !operator.log().contains("Listening for probes") {
            return Err("it does not listen yet".to_owned());
        }
        let answer = get(operator, "/readyz").await;
        answer.starts_with("HTTP/1.1 200").then_some(()).ok_or(answer)
    })
    .await;
    says(operator, "\nstreampipeline_leader 0\n").await;
    assert!(operator.log().contains("Standing by: "), "{}", operator.log());
}

async fn says(operator: &Operator, line: &str) {
    eventually(&format!("the metrics to say {}", line.trim()), LIMIT, async || {
        if !operator.log().contains("Listening for probes") {
            return Err("it does not listen yet".to_owned());
        }
        let said = metrics(operator).await;
        said.contains(line).then_some(()).ok_or(said)
    })
    .await;
}

impl World {
    fn leases(&self) -> Api<Lease> {
        self.api()
    }

    async fn holder(&self) -> Option<String> {
        self.leases().get(LEASE).await.expect("the Lease").spec.and_then(|spec| spec.holder_identity)
    }

    /// Resets the group by a new request, and returns which process planned it.
    async fn reset_by(&self, group: &str, id: &str, position: &str) -> String {
        self.apply("p", group, ask(id, position)).await;
        let status = self.verified("p", id).await;
        self.record(&status).await.spec.writer.expect("a writer").incarnation
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o09_a_replica_that_leaves_hands_the_lease_over_and_one_that_is_killed_is_followed_when_it_has_run_out() {
    let world = world("lease").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    // Long enough that nobody waits for it to run out here.
    let mut first = replica(&world, "300s");
    leads(&first).await;
    let mut second = replica(&world, "3s");
    stands_by(&second).await;
    world.known("p", &group).await;
    let by_first = world.reset_by(&group, "r1", "Earliest").await;
    assert!(world.holder().await.is_some_and(|holder| holder.ends_with(&by_first)), "who holds the Lease works");
    says(&first, "\nstreampipeline_requests{stage=\"Verified\"} 1\n").await;
    assert!(!second.log().contains("Sending the plan"), "who stands by sends nothing");
    let begun = Instant::now();
    assert!(first.terminate().success());
    leads(&second).await;
    println!("lease: handed over within {:?} of SIGTERM", begun.elapsed());
    let by_second = world.reset_by(&group, "r2", "Latest").await;
    assert_ne!(by_first, by_second);
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(10)]);
    // Killed: its name stays in the Lease until that has run out.
    let third = replica(&world, "3s");
    stands_by(&third).await;
    second.kill();
    world.apply("p", &group, ask("r3", "Earliest")).await;
    leads(&third).await;
    world.verified("p", "r3").await;
    let transitions = world.leases().get(LEASE).await.expect("the Lease").spec.and_then(|spec| spec.lease_transitions);
    assert_eq!(transitions, Some(3), "three have held it");
}

#[tokio::test(flavor = "multi_thread")]
async fn o09_a_replica_whose_lease_is_taken_ends_and_one_that_is_only_annotated_stays() {
    let world = world("lease-lost").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    let mut first = replica(&world, "3s");
    leads(&first).await;
    world.known("p", &group).await;
    // Somebody annotates it: the next renewal meets a conflict, and goes on.
    let patch = |value: serde_json::Value| async {
        world.leases().patch(LEASE, &PatchParams::default(), &Patch::Merge(value)).await.expect("the Lease is patched")
    };
    let annotated = patch(json!({ "metadata": { "annotations": { "example.com/seen": "yes" } } })).await;
    let before = annotated.spec.and_then(|spec| spec.renew_time);
    eventually("the Lease to be renewed", LIMIT, async || {
        let lease = world.leases().get(LEASE).await.map_err(|e| e.to_string())?;
        let kept = lease.metadata.annotations.is_some_and(|a| a.contains_key("example.com/seen"));
        assert!(kept, "what others wrote stays");
        (lease.spec.and_then(|spec| spec.renew_time) > before).then_some(()).ok_or_else(|| "not yet".to_owned())
    })
    .await;
    assert!(first.is_running());
    patch(json!({ "spec": { "holderIdentity": "somebody-else" } })).await;
    let first = RefCell::new(first);
    let ended = eventually("the replica to end", LIMIT, async || first.borrow_mut().ended().ok_or_else(|| "it runs".to_owned())).await;
    assert_eq!(ended.code(), Some(1));
    let log = first.borrow().log();
    assert!(log.contains("the Lease operator was lost: it is held by somebody-else"), "{log}");
    // Nobody renews it for somebody-else, so the next one follows.
    let next = replica(&world, "3s");
    leads(&next).await;
    world.reset_by(&group, "r1", "Earliest").await;
}
