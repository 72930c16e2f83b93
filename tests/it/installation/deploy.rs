//! The installation without Helm, on a control plane that knows nothing of this project.

use std::path::Path;
use std::process::Command;

use testbed::{Cluster, Operator, SYSTEM_NAMESPACE, Scratch, eventually};

use crate::support::commands::{both_streams, succeeded};
use crate::support::status::assert_has;
use crate::support::world::{EXE, LIMIT, flags};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");
const NAME: &str = "stream-pipeline-operator";

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_alone_installs_it_and_a_kustomization_sets_the_image() {
    let start = || Cluster::start(&testbed::ensure().expect("the servers are built")).expect("a control plane starts");
    let cluster = tokio::task::block_in_place(start);
    let kubectl = |args: &[&str]| cluster.kubectl(args).expect("kubectl runs");
    let applied = succeeded(&kubectl(&["apply", "--server-side", "-k", DEPLOY]));
    assert!(applied.contains("deployment.apps/stream-pipeline-operator serverside-applied"), "{applied}");
    succeeded(&kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "streampipelines.streampipeline.io"]));
    // Once more: nothing is left to change, once its controller has noted the Deployment. The file alone has the same.
    for source in [["-k", DEPLOY], ["-f", &format!("{DEPLOY}/install.yaml")]] {
        eventually("nothing to be left to change", LIMIT, async || {
            let compared = kubectl(&[&["diff", "--server-side"], &source[..]].concat());
            if compared.status.success() { Ok(()) } else { Err(both_streams(&compared)) }
        })
        .await;
    }

    // The account has the rights: with it the operator becomes ready.
    let token = succeeded(&kubectl(&["create", "token", NAME, "-n", SYSTEM_NAMESPACE]));
    let admin = std::fs::read_to_string(cluster.kubeconfig()).expect("a kubeconfig");
    let dir = Scratch::new("deploy").expect("a directory");
    let kubeconfig = dir.path().join("kubeconfig");
    std::fs::write(&kubeconfig, admin.replace("testbed-admin", token.trim())).expect("it is written");
    let operator = Operator::start_with(&kubeconfig, Path::new(EXE), "default", &flags(&[]));
    let service = eventually("the operator to listen", LIMIT, async || {
        let log = operator.log();
        let address = log.lines().find_map(|line| line.split("probes and metrics address=").nth(1));
        address.map(|address| address.trim().to_owned()).ok_or(log)
    })
    .await;
    let mut check = Command::new(EXE);
    let check = check.env("KUBECONFIG", &kubeconfig).args(["check-install", "--service", &service]);
    let checked = tokio::task::block_in_place(|| check.output()).expect("it runs");
    assert!(checked.status.success(), "{}", both_streams(&checked));

    // As people use a base: their image, and what they change.
    let overlay = "resources: [base]\nimages: [{ name: stream-pipeline-operator, newName: r.example.com/o, newTag: '1.2' }]\n\
                   patches:\n- patch: '[{ \"op\": \"replace\", \"path\": \"/spec/replicas\", \"value\": 3 }]'\n  target: { kind: Deployment }\n";
    std::fs::write(dir.path().join("kustomization.yaml"), overlay).expect("it is written");
    let base = dir.path().join("base");
    assert!(Command::new("cp").args(["-R", DEPLOY]).arg(&base).status().expect("cp runs").success());
    succeeded(&kubectl(&["apply", "--server-side", "-k", &dir.path().display().to_string()]));
    let path = "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image}";
    assert_has(succeeded(&kubectl(&["get", "deployment", NAME, "-n", SYSTEM_NAMESPACE, "-o", path])), &["3 r.example.com/o:1.2"]);
    cluster.stop();
}
