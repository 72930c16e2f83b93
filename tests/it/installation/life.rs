//! A release that works on one namespace, with the rights of its Roles: installed, upgraded, rolled back and uninstalled while it works.

use std::process::Command;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::Value;
use stream_pipeline_api::Stage;
use testbed::consumer::Consumer;
use testbed::{KeptPort, Operator, Scratch, eventually, pods};

use super::release::{CHART, Release};
use crate::support::commands::{both_streams, succeeded};
use crate::support::metrics;
use crate::support::requests::ask;
use crate::support::status::assert_has;
use crate::support::workloads::{QUICK, WorkloadWorld, pause};
use crate::support::world::{EXE, LIMIT, World};

pub async fn is_ready(operator: &Operator) {
    eventually("the operator to be ready", LIMIT, async || match operator.log() {
        log if log.contains("probes and metrics address=") && metrics::get(operator, "/readyz").await.contains(" 200 ") => Ok(()),
        log => Err(log),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_one_namespace_resets_there_with_roles_alone_and_helm_test_says_so() {
    let world = World::without_operator("one-ns").await;
    let (release, notes) = Release::install(world.testbed, world.namespace.name(), CHART, &[]);
    assert_has(&notes, &["watches StreamPipelines in ", world.namespace.name(), "helm test ", "dryRun: true"]);
    let operator = release.operator(&[]);
    is_ready(&operator).await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    world.verified("p", "r1").await;
    assert_eq!(world.offset(&group, &topic).await, Some(0));
    // Its service has no endpoint here, so the pod is told where the operator is.
    let address = metrics::address(&operator);
    let here = move |arg: String| if arg.starts_with("--service=") { format!("--service={address}") } else { arg };
    let (tested, said) = release.with_hook("test", here).await;
    assert!(tested.status.success(), "{}: {said}", both_streams(&tested));
    // Elsewhere it may do nothing but read its own definitions and the API server's addresses.
    let may = |verb: &str, what: &str, namespace: &str| {
        let output = world.testbed.kubectl(&["auth", "can-i", verb, what, "-n", namespace, &format!("--as={}", release.user())]);
        String::from_utf8_lossy(&output.stdout).trim() == "yes"
    };
    for (verb, what) in [("get", "secrets"), ("list", "streampipelines.streampipeline.io"), ("get", "deployments.apps")] {
        assert!(may(verb, what, world.namespace.name()), "expected it may {verb} {what} in its namespace");
        assert!(!may(verb, what, "default"), "expected it may not {verb} {what} in another namespace");
    }
    assert!(may("get", "endpointslices.discovery.k8s.io/kubernetes", "default"), "the API server's addresses");
    assert!(may("get", "customresourcedefinitions.apiextensions.k8s.io/streampipelines.streampipeline.io", "default"));
    assert!(!may("list", "customresourcedefinitions.apiextensions.k8s.io", "default"), "of others");
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_test_fails_with_what_is_missing() {
    let world = World::without_operator("check").await;
    let (release, _) = Release::install(world.testbed, world.namespace.name(), CHART, &[]);
    // The account loses a right, as where somebody else manages the roles.
    succeeded(&world.testbed.kubectl(&["delete", "rolebinding", &release.unique("operator"), "-n", &release.name]));
    let (tested, said) = release.with_hook("test", |arg| arg).await;
    assert!(!tested.status.success(), "{}", both_streams(&tested));
    assert_has(&said, &["listing streampipelines in ", &release.name, "cannot list resource"]);
    let place = |service: &str| {
        let kubeconfig = world.testbed.cluster.operator_kubeconfig();
        let mut check = Command::new(EXE);
        let check = check.env("KUBECONFIG", kubeconfig).args(["check-install", "--service", service]);
        both_streams(&tokio::task::block_in_place(|| check.output()).expect("it runs"))
    };
    let nobody = KeptPort::new().expect("a port");
    assert_has(place(&nobody.address), &["the operator is not ready at ", &nobody.address]);
}

/// A release of the version before: another strategy, one replica, no Service.
fn older() -> Scratch {
    let dir = Scratch::new("older-chart").expect("a directory");
    let copied = Command::new("cp").args(["-R", &format!("{CHART}/."), &dir.path().display().to_string()]).status();
    assert!(copied.expect("cp runs").success());
    let manifest = dir.path().join("Chart.yaml");
    let text = std::fs::read_to_string(&manifest).expect("a chart");
    std::fs::write(&manifest, text.replace("ersion: 0.1.0", "ersion: 0.0.9")).expect("it is written");
    std::fs::remove_file(dir.path().join("templates/service.yaml")).expect("it has a Service");
    dir
}

async fn strategy(release: &Release) -> (Option<String>, Option<i32>, bool) {
    let api: Api<Deployment> = Api::namespaced(release.testbed.client().await, &release.name);
    let spec = api.get(&release.full_name()).await.expect("the Deployment").spec.expect("a spec");
    let strategy = spec.strategy.expect("a strategy");
    (strategy.type_, spec.replicas, strategy.rolling_update.is_some())
}

/// Each version of the operator takes over what the other one has stopped.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_and_a_rollback_with_a_pipeline_kept_stopped_finish_its_reset_and_start_it_again() {
    let scaled = WorkloadWorld::without_operator("versions", |group, topic| vec![pods::deployment("d", 2, group, topic)]).await;
    let before = older();
    let old = before.path().display().to_string();
    let single = ["--set=replicas=1,leaderElection=false"];
    let (release, _) = Release::install(scaled.world.testbed, scaled.world.namespace.name(), &old, &single);
    assert_eq!(strategy(&release).await, (Some("Recreate".to_owned()), Some(1), false));
    let mut operator = release.operator(&QUICK);
    scaled.known("p").await;
    let changes: [(&str, &[&str], _); 2] = [
        ("upgrade", &[CHART, "--reset-then-reuse-values", "--set=replicas=2,leaderElection=true"], ("RollingUpdate", 2, true)),
        ("rollback", &["1"], ("Recreate", 1, false)),
    ];
    for (command, args, (kind, replicas, rolling)) in changes {
        scaled.pods.hang(true);
        scaled.apply("p", pause(command)).await;
        scaled.counted(&[0]).await;
        succeeded(&release.helm(command, args));
        assert_eq!(strategy(&release).await, (Some(kind.to_owned()), Some(replicas), rolling), "{command}");
        assert!(operator.terminate().success(), "{command}: {}", operator.log());
        operator = release.operator(&QUICK);
        assert_eq!(scaled.offsets().await, [Some(10), Some(10)], "{command}: nothing moves while its consumers run");
        scaled.pods.hang(false);
        scaled.world.verified("p", command).await;
        scaled.at_rest("p").await;
        scaled.counted(&[2]).await;
        scaled.read().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uninstall_while_a_request_waits_moves_nothing_and_a_later_release_goes_on() {
    let world = World::without_operator("waits").await;
    let (release, _) = Release::install(world.testbed, world.namespace.name(), CHART, &[]);
    let mut operator = release.operator(&[]);
    let (topic, group) = world.known_at_7_of_10("p").await;
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "waits-member");
    member.wait().await;
    for name in ["p", "q"] {
        // `q` waits too, for the older one of its group.
        world.apply(name, &group, Value::Null).await;
    }
    world.apply("p", &group, ask("r1", "Earliest")).await;
    world.reaches("p", "r1", Stage::Waiting, "GroupActive").await;
    let (uninstalled, said) = release.with_hook("uninstall", |arg| arg).await;
    assert!(uninstalled.status.success(), "{}: {said}", both_streams(&uninstalled));
    assert!(operator.terminate().success(), "{}", operator.log());
    member.stop().await;
    let at = world.offset(&group, &topic).await;
    assert!(world.finalizers("p").await.is_empty() && world.all_records().await.is_empty());
    // Nothing holds an object that nobody works on.
    world.delete("q").await;
    let (release, _) = Release::install(world.testbed, world.namespace.name(), CHART, &[]);
    assert_eq!(world.offset(&group, &topic).await, at, "nobody has moved it");
    let _operator = release.operator(&[]);
    world.verified("p", "r1").await;
    assert_eq!(world.offset(&group, &topic).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uninstall_while_a_pipeline_is_kept_stopped_is_refused_with_the_way_out_which_is_one() {
    let scaled = WorkloadWorld::without_operator("kept", |group, topic| vec![pods::deployment("d", 2, group, topic)]).await;
    let (release, _) = Release::install(scaled.world.testbed, scaled.world.namespace.name(), CHART, &[]);
    let _operator = release.operator(&QUICK);
    scaled.known("p").await;
    scaled.pods.hang(true);
    scaled.apply("p", pause("r1")).await;
    scaled.counted(&[0]).await;
    let (refused, said) = release.with_hook("uninstall", |arg| arg).await;
    assert!(!refused.status.success(), "{}", both_streams(&refused));
    assert_has(&said, &[&format!("{}/p", release.name), "remove spec.offsetReset"]);
    strategy(&release).await;
    scaled.apply("p", Value::Null).await;
    scaled.pods.hang(false);
    scaled.at_rest("p").await;
    scaled.counted(&[2]).await;
    let (uninstalled, said) = release.with_hook("uninstall", |arg| arg).await;
    assert!(uninstalled.status.success(), "{}: {said}", both_streams(&uninstalled));
    scaled.read().await;
}
