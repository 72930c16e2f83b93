//! What the operator's log says, and what it does not say again and again.

use std::path::Path;

use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::consumer::Consumer;
use testbed::{Operator, Scratch, eventually};

use crate::support::policies::{FREEZE, refuse};
use crate::support::status::assert_has;
use crate::support::world::{EXE, LIMIT, LOG_EVERY_LOOK, World, flags};

#[tokio::test(flavor = "multi_thread")]
async fn d4_a_pipeline_that_waits_is_told_once_and_the_start_tells_version_and_settings() {
    let mut world = World::without_operator("logs").await;
    world.start_operator_with(&[LOG_EVERY_LOOK]);
    let topic = world.topic(&[20]).await;
    let group = world.group(&topic, &[10]).await;
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "reader");
    member.wait().await;
    world.apply("p", &group, json!({ "id": "r1", "to": { "position": "Earliest" }, "whenCreated": "Run" })).await;
    world.reaches("p", "r1", Stage::Waiting, "GroupActive").await;
    world.looks("p", 6).await;
    let log = world.operator().log();
    let decided: Vec<_> = log.lines().filter(|line| line.contains("Decided: ") && line.contains("name=\"p\"")).collect();
    let told = decided.iter().filter(|line| line.contains(" INFO ")).count();
    assert!(decided.len() >= 6 && told <= 2, "{told} of {} lines at info:\n{}", decided.len(), decided.join("\n"));
    let start = log.lines().find(|line| line.contains("Starting")).unwrap_or_default();
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert_has(start, &[version.as_str(), "--recheck-waiting=300ms", "--finalizer-deadline=10m"]);
    member.stop().await;
    world.verified("p", "r1").await;
}

/// The first line of the log that says this.
async fn logged(operator: &Operator, part: &str) -> String {
    eventually(part, LIMIT, async || {
        let log = operator.log();
        log.lines().find(|line| line.contains(part)).map(str::to_owned).ok_or_else(|| log.lines().last().unwrap_or_default().to_owned())
    })
    .await
}

fn is_in_words(line: &str) {
    for raw in ["Status {", "Some(", "ApiError", "ErrorResponse", "metadata: None"] {
        assert!(!line.contains(raw), "{raw}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d8_what_the_api_server_refuses_is_logged_in_words_with_what_to_do() {
    let mut world = World::without_operator("words").await;
    // An account without any right.
    let namespace = world.namespace.name().to_owned();
    let token = world.testbed.kubectl(&["create", "token", "default", "-n", &namespace]);
    let token = String::from_utf8(token.stdout).expect("a token");
    let ours = std::fs::read_to_string(world.testbed.cluster.operator_kubeconfig()).expect("a kubeconfig");
    let (before, after) = ours.split_once("token: \"").and_then(|(a, b)| Some((a, b.split_once('"')?.1))).expect("a token");
    let dir = Scratch::new("nobody").expect("a directory");
    let nobody = dir.path().join("kubeconfig");
    std::fs::write(&nobody, format!("{before}token: \"{}\"{after}", token.trim())).expect("it is written");
    let operator = Operator::start_with(&nobody, Path::new(EXE), &namespace, &flags(&[]));
    let line = logged(&operator, "The installed CRDs cannot be read").await;
    is_in_words(&line);
    assert_has(line, &["cannot get resource", "the rights in the chart's ClusterRole are needed"]);
    drop(operator);
    // A status that somebody's policy refuses.
    let statuses = json!({ "apiGroups": ["streampipeline.io"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["streampipelines/status"] });
    let policy = refuse(&world, "status", statuses, "false");
    world.start_operator();
    world.apply("p", "g", Value::Null).await;
    let (untyped, operator) = (world.untyped(), &*world.operator());
    eventually("the policy to refuse a status", LIMIT, async || {
        // The status that was written before the policy was in force is removed, so that the operator writes it again.
        untyped
            .patch_status("p", &kube::api::PatchParams::default(), &kube::api::Patch::Merge(json!({ "status": null })))
            .await
            .map_err(|e| e.to_string())?;
        let log = operator.log();
        if log.contains(FREEZE) { Ok(()) } else { Err(log.lines().last().unwrap_or_default().to_owned()) }
    })
    .await;
    let line = logged(operator, FREEZE).await;
    is_in_words(&line);
    assert_has(line, &["an admission policy of the cluster refuses it"]);
    policy.remove(&world);
}
