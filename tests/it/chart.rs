//! The chart: linted, rendered, installed and uninstalled on the real API server.

use std::process::{Command, Output};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PodSpec, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, PostParams};
use testbed::{RELEASE, SYSTEM_NAMESPACE, Testbed};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/stream-pipeline-operator");
const CRDS: [&str; 2] = ["streampipelines.streampipeline.io", "offsetresetrecords.streampipeline.io"];

fn helm(testbed: &Testbed, args: &[&str]) -> Output {
    let mut command = Command::new(testbed.parts.bin.join("helm"));
    // Nothing of the person's own helm is read or written.
    for name in ["HELM_CONFIG_HOME", "HELM_CACHE_HOME", "HELM_DATA_HOME"] {
        command.env(name, std::env::temp_dir().join("no-helm"));
    }
    command.env("KUBECONFIG", testbed.cluster.kubeconfig()).args(args).output().expect("helm is there")
}

/// Both streams of a call that must succeed.
fn ok(output: &Output) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    text
}

fn kept(rendered: &str, crd: &str) -> bool {
    rendered.contains(&format!("helm.sh/resource-policy: keep\n  name: {crd}\n"))
}

#[tokio::test]
async fn chart_is_clean_and_refuses_values_that_it_does_not_have() {
    let testbed = testbed::start().await;
    ok(&helm(testbed, &["lint", "--strict", CHART]));
    let template = |set: &[&str]| helm(testbed, &[&["template", RELEASE, CHART, "-n", SYSTEM_NAMESPACE], set].concat());
    let rendered = ok(&template(&[]));
    for crd in CRDS {
        assert!(kept(&rendered, crd), "{crd} is not kept");
    }
    assert!(ok(&template(&["--set=image.repository=r.example.com/o,image.tag=1.2"])).contains("image: \"r.example.com/o:1.2\""));
    assert!(!rendered.contains("- --allow"), "by default nothing more is allowed");
    let open = ok(&template(&["--set=allowPlainHTTP=true,allowedEndpoints={10.0.0.0/8,apigw.example.com}"]));
    assert!(open.contains("- --allowed-endpoints=10.0.0.0/8,apigw.example.com") && open.contains("- --allow-plain-http"), "{open}");
    let more = ok(&template(&["--set=workloads[0].apiGroups={example.com},workloads[0].resources={workers,jobs}"]));
    let rules = [
        "apiGroups: [\"example.com\"]\n    resources: [\"workers\",\"jobs\"]\n    verbs: [get]\n",
        "apiGroups: [\"example.com\"]\n    resources: [\"workers/scale\", \"jobs/scale\"]\n    verbs: [get, patch]\n",
    ];
    assert!(rules.iter().all(|rule| more.contains(rule)), "{more}");
    for set in ["workloads[0].resources={workers}", "workloads[0].apiGroups={a},workloads[0].resources={*}"] {
        assert!(!template(&["--set", set]).status.success(), "--set {set} is taken");
    }
    for set in ["replicas=2", "image.tga=1", "image.pullPolicy=Sometimes", "image.repository="] {
        let output = template(&["--set", set]);
        assert!(!output.status.success(), "--set {set} is taken");
    }
}

/// Runs as the `restricted` pod security standard wants it; the namespace enforces it below.
fn restricted(pod: &PodSpec) {
    let of_pod = pod.security_context.as_ref().expect("a pod security context");
    assert_eq!(of_pod.run_as_non_root, Some(true));
    assert_eq!(of_pod.seccomp_profile.as_ref().map(|p| p.type_.as_str()), Some("RuntimeDefault"));
    let container = pod.containers[0].security_context.as_ref().expect("a container security context");
    assert_eq!(container.read_only_root_filesystem, Some(true));
    assert_eq!(container.allow_privilege_escalation, Some(false));
    let dropped = container.capabilities.as_ref().and_then(|c| c.drop.clone());
    assert_eq!(dropped, Some(vec!["ALL".to_owned()]));
}

fn right(rule: &PolicyRule) -> (String, String) {
    let group = rule.api_groups.clone().unwrap_or_default().join(",");
    (format!("{group}/{}", rule.resources.clone().unwrap_or_default().join(",")), rule.verbs.join(","))
}

#[tokio::test]
async fn chart_is_installed_and_its_uninstall_keeps_the_definitions() {
    let testbed = testbed::start().await;
    let namespace = testbed.namespace("chart");
    let name = namespace.name();
    ok(&testbed.kubectl(&["label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted"]));
    // A release of its own name. The definitions are there already, once per cluster: it takes them over, unchanged.
    let installed = ok(&helm(testbed, &["install", name, CHART, "-n", name, "--take-ownership", "--force-conflicts"]));
    assert!(installed.contains("kubectl get offsetresetrecords"), "no notes: {installed}");

    let client = testbed.client().await;
    let deployment = Api::<Deployment>::namespaced(client.clone(), name).get(name).await.expect("the Deployment");
    let spec = deployment.spec.expect("a Deployment has a spec");
    assert_eq!(spec.replicas, Some(1));
    assert_eq!(spec.strategy.and_then(|s| s.type_).as_deref(), Some("Recreate"));
    let pod = spec.template.spec.expect("a pod");
    restricted(&pod);
    assert_eq!(pod.termination_grace_period_seconds, Some(60));
    assert_eq!(pod.service_account_name.as_deref(), Some(name));
    assert_eq!(pod.containers[0].image.as_deref(), Some("stream-pipeline-operator:0.1.0"));
    let probes = [&pod.containers[0].liveness_probe, &pod.containers[0].readiness_probe];
    let paths = probes.map(|p| p.as_ref().and_then(|p| p.http_get.as_ref()).and_then(|h| h.path.clone()).unwrap_or_default());
    assert_eq!(paths, ["/livez", "/readyz"]);
    // The pod as the namespace's security standard sees it; there is no kubelet to run it.
    let admitted = k8s_openapi::api::core::v1::Pod {
        metadata: kube::api::ObjectMeta { name: Some("probe".to_owned()), ..Default::default() },
        spec: Some(pod),
        ..Default::default()
    };
    Api::<ServiceAccount>::namespaced(client.clone(), name).get(name).await.expect("the ServiceAccount");
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    Api::namespaced(client.clone(), name).create(&dry, &admitted).await.expect("the pod is admitted as restricted");

    let role = Api::<ClusterRole>::all(client.clone()).get(name).await.expect("the ClusterRole");
    let rights: Vec<_> = role.rules.unwrap_or_default().iter().map(right).collect();
    let expected = [
        ("streampipeline.io/streampipelines", "get,list,watch,patch"),
        ("streampipeline.io/streampipelines/status", "get,update,patch"),
        ("streampipeline.io/offsetresetrecords", "get,list,watch,create,update,patch"),
        ("streampipeline.io/offsetresetrecords/status", "get,update,patch"),
        ("apiextensions.k8s.io/customresourcedefinitions", "get"),
        ("/secrets,configmaps", "get"),
        ("events.k8s.io/events", "create,patch"),
        ("apps/deployments,statefulsets", "get"),
        ("apps/deployments/scale,statefulsets/scale", "get,patch"),
        ("autoscaling/horizontalpodautoscalers", "list"),
        ("keda.sh/scaledobjects", "list"),
    ];
    assert_eq!(rights, expected.map(|(what, verbs)| (what.to_owned(), verbs.to_owned())));
    Api::<ClusterRoleBinding>::all(client.clone()).get(name).await.expect("the ClusterRoleBinding");

    // The same release again, and gone.
    ok(&helm(testbed, &["upgrade", name, CHART, "-n", name, "--set", "image.tag=other", "--force-conflicts"]));
    // Other tests are served by the same definitions: no uninstall unless helm has been told to keep them.
    let manifest = ok(&helm(testbed, &["get", "manifest", name, "-n", name]));
    for crd in CRDS {
        assert!(kept(&manifest, crd), "{crd} would be deleted");
    }
    ok(&helm(testbed, &["uninstall", name, "-n", name, "--wait"]));
    let gone = Api::<Deployment>::namespaced(client.clone(), name).get_opt(name).await.expect("the API server answers");
    assert!(gone.is_none_or(|d| d.metadata.deletion_timestamp.is_some()), "the Deployment is still there");
    for crd in CRDS {
        let definition = Api::<CustomResourceDefinition>::all(client.clone()).get(crd).await.expect("the definition is kept");
        assert!(definition.metadata.deletion_timestamp.is_none(), "{crd} is being deleted");
    }
    // Whoever serves the testbed's own release is not disturbed.
    let own = Api::<ClusterRole>::all(client).get(RELEASE).await.expect("the testbed's own rights");
    assert!(own.rules.is_some_and(|r| r.len() == expected.len()));
}
