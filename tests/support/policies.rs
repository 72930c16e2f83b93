//! Admission policies of somebody else, in a test's namespace alone.

use serde_json::{Value, json};
use testbed::{RELEASE, SYSTEM_NAMESPACE, Scratch, eventually};

use crate::support::commands::{both_streams, succeeded};
use crate::support::world::{LIMIT, World};

/// What the policies of [`refuse`] say.
pub const FREEZE: &str = "a freeze until Monday";

/// A policy that is in force until it is removed.
pub struct Policy {
    name: String,
    kind: &'static str,
}

impl Policy {
    pub fn remove(self, world: &World) {
        for kind in [format!("{}binding", self.kind), self.kind.to_owned()] {
            succeeded(&world.testbed.kubectl(&["delete", &kind, &self.name]));
        }
    }
}

/// Objects of this namespace only.
fn selector(world: &World) -> Value {
    json!({ "matchLabels": { "kubernetes.io/metadata.name": world.namespace.name() } })
}

fn apply(world: &World, name: &str, items: &[Value]) {
    let dir = Scratch::new("manifests").expect("a directory");
    let file = dir.path().join(format!("{name}.json"));
    std::fs::write(&file, json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()).expect("a file");
    succeeded(&world.testbed.kubectl(&["apply", "-f", file.to_str().expect("a path")]));
}

/// Refuses writes of the operator: `rule` names which, and `expression` is what must hold of an object that is taken.
pub fn refuse(world: &World, name: &str, rule: Value, expression: &str) -> Policy {
    let name = format!("{}-{name}", world.namespace.name());
    let operator = format!("request.userInfo.username.startsWith('system:serviceaccount:{SYSTEM_NAMESPACE}:')");
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": { "name": name },
        "spec": {
            "matchConstraints": { "namespaceSelector": selector(world), "resourceRules": [rule] },
            "matchConditions": [{ "name": "the-operator", "expression": operator }],
            "validations": [{ "expression": expression, "message": FREEZE }]
        }
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": name },
        "spec": { "policyName": name, "validationActions": ["Deny"] }
    });
    apply(world, &name, &[policy, binding]);
    Policy { name, kind: "validatingadmissionpolicy" }
}

/// Waits until such a policy refuses this kubectl command in the operator's name: it is in force a moment after it was made.
pub async fn in_force(world: &World, command: &[&str]) {
    let operator = format!("--as=system:serviceaccount:{SYSTEM_NAMESPACE}:{RELEASE}");
    let args = [command, &["-n", world.namespace.name(), "--dry-run=server", &operator]].concat();
    eventually("the policy to be in force", LIMIT, async || match both_streams(&world.testbed.kubectl(&args)) {
        said if said.contains(FREEZE) => Ok(()),
        said => Err(said),
    })
    .await;
}

/// Stamps a label, another one at each update, on the objects of this API group, their statuses included.
pub fn stamp(world: &World) -> Policy {
    let name = format!("{}-stamps", world.namespace.name());
    let resources = ["streampipelines", "streampipelines/status", "offsetresetrecords", "offsetresetrecords/status"];
    let version = "(has(object.metadata.resourceVersion) ? 'v' + object.metadata.resourceVersion : 'new')";
    let stamp = format!(
        "has(object.metadata.labels) ? [JSONPatch{{op: 'add', path: '/metadata/labels/stamped', value: {version}}}] \
         : [JSONPatch{{op: 'add', path: '/metadata/labels', value: {{'stamped': {version}}}}}]"
    );
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": { "name": name },
        "spec": {
            "failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "matchConstraints": { "namespaceSelector": selector(world), "resourceRules": [
                { "apiGroups": ["streampipeline.io"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": resources }
            ] },
            "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": stamp } }]
        }
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding", "metadata": { "name": name },
        "spec": { "policyName": name }
    });
    apply(world, &name, &[policy, binding]);
    Policy { name, kind: "mutatingadmissionpolicy" }
}
