//! What a tool does that keeps a namespace as a Git repository says; kubectl stands in for it.

mod sync;
mod taken_over;

use std::fs;
use std::process::Output;

use serde_json::{Value, json};
use testbed::Scratch;

use crate::support::commands::{both_streams, succeeded};
use crate::support::world::World;

/// The label by which the tool knows what it has put there.
const TRACKED: &str = "app.kubernetes.io/instance=wind";

/// A sync as Flux does it, and Argo CD with `ServerSideApply=true`.
const APPLY: [&str; 4] = ["apply", "--server-side", "--force-conflicts", "--field-manager=git"];

/// A StreamPipeline as it stands in a repository.
fn manifest(name: &str, mut spec: Value, reset: Value) -> Value {
    if !reset.is_null() {
        spec["offsetReset"] = reset;
    }
    let labels = json!({ "app.kubernetes.io/instance": "wind" });
    json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": { "name": name, "labels": labels }, "spec": spec
    })
}

/// Runs kubectl on a folder with these manifests.
fn kubectl(world: &World, args: &[&str], folder: &[Value]) -> Output {
    let place = Scratch::new("git").expect("a place for the folder");
    let file = place.path().join("folder.json");
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": folder });
    fs::write(&file, list.to_string()).expect("the folder is written");
    let file = file.display().to_string();
    world.testbed.kubectl(&[args, &["-n", world.namespace.name(), "-f", &file]].concat())
}

fn sync(world: &World, folder: &[Value]) {
    succeeded(&kubectl(world, &APPLY, folder));
}

/// What a comparison of the folder with the namespace shows, by the API server's own dry run; empty: no drift.
fn drift(world: &World, folder: &[Value]) -> String {
    let output = kubectl(world, &["diff", "--server-side", "--force-conflicts", "--field-manager=git"], folder);
    assert!(matches!(output.status.code(), Some(0 | 1)), "expected a comparison: {}", both_streams(&output));
    assert_eq!(output.status.success(), output.stdout.is_empty(), "{}", both_streams(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
