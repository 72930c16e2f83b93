//! An uninstall is refused while the operator keeps a pipeline stopped.

use std::path::Path;
use std::process::{Command, Output};

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use stream_pipeline_api::FINALIZER;
use testbed::Testbed;

use crate::support::status::assert_has;
use crate::support::world::{EXE, World};

/// Runs the check that the chart makes before an uninstall.
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
    assert!(!output.status.success(), "expected the check to fail: {said}");
    assert_has(said, &[&name, "remove spec.offsetReset", "--no-hooks"]);
    world.pipelines().patch("kept", &params, &finalizers(Value::Null)).await.expect("an admin takes it away");
    // Other tests may keep pipelines stopped at the same time.
    let said = String::from_utf8_lossy(&check(world.testbed).stderr).into_owned();
    assert!(!said.contains(&name), "expected {name} not to be named any more: {said}");
}
