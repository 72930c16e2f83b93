//! A release of the chart in a namespace of a test, and its hooks, whose pods are played: the testbed has no kubelet.

use std::path::Path;
use std::process::{Command, Output};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;
use testbed::{Operator, Scratch, Testbed, eventually};

use crate::support::commands::{helm, succeeded};
use crate::support::world::{EXE, LIMIT, flags};

pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/stream-pipeline-operator");
/// What names carry besides the release's name.
const NAME: &str = "stream-pipeline-operator";

pub struct Release {
    pub testbed: &'static Testbed,
    /// Also the namespace.
    pub name: String,
    dir: Scratch,
}

impl Release {
    /// A release of this name in the namespace of this name, which works on that namespace alone. With its notes.
    pub fn install(testbed: &'static Testbed, name: &str, chart: &str, more: &[&str]) -> (Self, String) {
        let release = Self { testbed, name: name.to_owned(), dir: Scratch::new("release").expect("a directory") };
        let watched = format!("--set=watchNamespaces={{{name}}}");
        let notes = succeeded(&release.helm("install", &[&[chart, &watched], more].concat()));
        (release, notes)
    }

    /// A command of Helm about this release.
    pub fn helm(&self, command: &str, more: &[&str]) -> Output {
        helm(self.testbed, &[&[command, &self.name], more, &["-n", &self.name]].concat())
    }

    /// What its objects in the namespace are called.
    pub fn full_name(&self) -> String {
        format!("{}-{NAME}", self.name)
    }

    /// What its objects are called that stand beside those of other releases.
    pub fn unique(&self, part: &str) -> String {
        format!("{}.{}.{part}", self.name, self.full_name())
    }

    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.name, self.full_name())
    }

    /// Under the account of the release, whose rights it has.
    pub fn operator(&self, extra: &[&str]) -> Operator {
        self.operator_of(&self.name, extra)
    }

    /// The same for these namespaces, divided by commas.
    pub fn operator_of(&self, namespaces: &str, extra: &[&str]) -> Operator {
        Operator::start_with(self.kubeconfig().as_ref(), Path::new(EXE), namespaces, &flags(extra))
    }

    fn kubeconfig(&self) -> String {
        let token = succeeded(&self.testbed.kubectl(&["create", "token", &self.full_name(), "-n", &self.name]));
        let own = std::fs::read_to_string(self.testbed.cluster.operator_kubeconfig()).expect("a kubeconfig");
        let (head, _) = own.split_once("user: {token: ").expect("it has a token");
        let (_, rest) = own.split_once("\"}}]\ncontexts").expect("contexts come after the users");
        let file = self.dir.path().join("kubeconfig").display().to_string();
        std::fs::write(&file, format!("{head}user: {{token: \"{}\"}}}}]\ncontexts{rest}", token.trim())).expect("it is written");
        file
    }

    /// Runs a command of Helm whose hook is a pod, and plays the pod: the operator is run with the pod's own arguments, as `changed`,
    /// under the account of the release, and the pod ends as that does. Returns Helm's output, and what the hook said.
    pub async fn with_hook(&self, command: &str, changed: impl Fn(String) -> String) -> (Output, String) {
        let (testbed, command, name) = (self.testbed, command.to_owned(), self.name.clone());
        let running = tokio::task::spawn_blocking(move || helm(testbed, &[&command, &name, "-n", &name, "--timeout", "110s"]));
        let pods: Api<Pod> = Api::namespaced(self.testbed.client().await, &self.name);
        let of_hooks = ListParams::default().labels(&format!("app.kubernetes.io/name={NAME}-check"));
        let pod = eventually("the hook's pod", LIMIT, async || {
            let all = pods.list(&of_hooks).await.map_err(|e| e.to_string())?.items;
            let waits = |p: &Pod| p.status.as_ref().and_then(|s| s.phase.as_deref()).is_none_or(|phase| phase == "Pending");
            all.into_iter().find(|p| waits(p) && p.metadata.deletion_timestamp.is_none()).ok_or_else(|| "none".to_owned())
        })
        .await;
        let args = pod.spec.and_then(|spec| spec.containers.into_iter().next()).and_then(|c| c.args).expect("the hook has arguments");
        let mut hook = Command::new(EXE);
        let hook = hook.env("KUBECONFIG", self.kubeconfig()).args(args.into_iter().map(changed));
        let output = tokio::task::block_in_place(|| hook.output()).expect("the operator runs");
        let phase = if output.status.success() { "Succeeded" } else { "Failed" };
        let patch = Patch::Merge(json!({ "status": { "phase": phase } }));
        let name = pod.metadata.name.expect("a pod has a name");
        pods.patch_status(&name, &PatchParams::default(), &patch).await.expect("the pod is played");
        (running.await.expect("helm ends"), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Drop for Release {
    /// What is in no namespace would stay.
    fn drop(&mut self) {
        let _ = self.helm("uninstall", &["--no-hooks", "--ignore-not-found"]);
    }
}
