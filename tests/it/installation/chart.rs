//! The chart: linted, rendered, installed and uninstalled on the real API server.

use std::process::Output;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, PodSpec, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use stream_pipeline_api::{FINALIZER, StreamPipeline};
use testbed::{RELEASE, SYSTEM_NAMESPACE, Testbed, eventually};

use super::release::CHART;
use crate::support::commands::{helm, succeeded};
use crate::support::status::assert_has;
use crate::support::world::LIMIT;

const CRDS: [&str; 2] = ["streampipelines.streampipeline.io", "offsetresetrecords.streampipeline.io"];

fn kept(rendered: &str, crd: &str) -> bool {
    rendered.contains(&format!("helm.sh/resource-policy: keep\n  name: {crd}\n"))
}

#[tokio::test]
async fn chart_renders_the_definitions_as_they_are_and_what_its_values_say() {
    let testbed = testbed::start().await;
    let template = |set: &[&str]| helm(testbed, &[&["template", RELEASE, CHART, "-n", SYSTEM_NAMESPACE], set].concat());
    let rendered = succeeded(&template(&[]));
    for crd in CRDS {
        assert!(kept(&rendered, crd), "{crd} is not kept");
        // Line by line: Helm changes white space of what it passes on.
        let written = std::fs::read_to_string(format!("{CHART}/files/crds/{}.yaml", crd.split('.').next().unwrap_or_default()));
        for line in written.expect("the chart has it").lines() {
            assert!(rendered.contains(line), "{crd}: not rendered as it is: {line}");
        }
    }
    assert!(succeeded(&template(&["--set=image.repository=r.example.com/o,image.tag=1.2"])).contains("image: \"r.example.com/o:1.2\""));
    assert!(!rendered.contains("- --allow"), "expected no flags that allow more by default");
    let open = succeeded(&template(&["--set=allowPlainHTTP=true,allowPlainSASL=true,allowedEndpoints={10.0.0.0/8,apigw.example.com}"]));
    let flags = ["- --allowed-endpoints=10.0.0.0/8,apigw.example.com", "- --allow-plain-http", "- --allow-plain-sasl"];
    assert!(flags.iter().all(|flag| open.contains(flag)), "expected each of {flags:?}: {open}");
    let bare = succeeded(&template(&["--set=crds=never,uninstallCheck=false"]));
    assert!(
        !bare.contains("CustomResourceDefinition") && !bare.contains("kind: Job") && rendered.contains("kind: Job"),
        "expected neither definitions nor the Job: {bare}"
    );
    let more = succeeded(&template(&["--set=workloads[0].apiGroups={example.com},workloads[0].resources={workers,jobs}"]));
    let rules = [
        "apiGroups: [\"example.com\"]\n    resources: [\"workers\",\"jobs\"]\n    verbs: [get]\n",
        "apiGroups: [\"example.com\"]\n    resources: [\"workers/scale\", \"jobs/scale\"]\n    verbs: [get, patch]\n",
    ];
    assert!(rules.iter().all(|rule| more.contains(rule)), "expected each of {rules:?}: {more}");
}

/// Fails unless the pod meets the `restricted` pod security standard.
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

/// Fails unless the notes of a release say that it left the CRDs it found.
fn left(notes: &str) {
    assert!(
        notes.contains("were there before") && CRDS.iter().all(|crd| notes.contains(crd)),
        "expected each definition that was left: {notes}"
    );
    assert_has(notes, &["kubectl apply --server-side --force-conflicts -f crds/", "--take-ownership"]);
}

/// Uninstalls a release, and plays the pod of its Job, since there is no kubelet. `phase` is how the pod ends; without it the
/// pod ends as the operator's own check does. Returns Helm's output, and what the check says.
async fn uninstall(testbed: &'static Testbed, name: &str, phase: Option<&str>) -> (Output, String) {
    let release = name.to_owned();
    let helm = tokio::task::spawn_blocking(move || helm(testbed, &["uninstall", &release, "-n", &release, "--timeout", "110s"]));
    let pods: Api<Pod> = Api::namespaced(testbed.client().await, name);
    let of_job = ListParams::default().labels("batch.kubernetes.io/job-name");
    let pod = eventually("the Job's pod", LIMIT, async || {
        let all = pods.list(&of_job).await.map_err(|e| e.to_string())?.items;
        let fresh =
            |p: &Pod| p.status.as_ref().is_none_or(|s| s.phase.as_deref() == Some("Pending")) && p.metadata.deletion_timestamp.is_none();
        all.into_iter().find(fresh).and_then(|p| p.metadata.name).ok_or_else(|| "none".to_owned())
    })
    .await;
    let checked = super::uninstall::check(testbed);
    let own = if checked.status.success() { "Succeeded" } else { "Failed" };
    let patch = Patch::Merge(json!({ "status": { "phase": phase.unwrap_or(own) } }));
    pods.patch_status(&pod, &PatchParams::default(), &patch).await.expect("the pod is played");
    (helm.await.expect("helm ends"), String::from_utf8_lossy(&checked.stderr).into_owned())
}

fn right(rule: &PolicyRule) -> (String, String) {
    let group = rule.api_groups.clone().unwrap_or_default().join(",");
    (format!("{group}/{}", rule.resources.clone().unwrap_or_default().join(",")), rule.verbs.join(","))
}

#[tokio::test(flavor = "multi_thread")]
async fn chart_is_installed_and_its_uninstall_keeps_the_definitions() {
    let testbed = testbed::start().await;
    let namespace = testbed.namespace("chart");
    let name = namespace.name();
    let full = format!("{name}-stream-pipeline-operator");
    succeeded(&testbed.kubectl(&["label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted"]));
    // The CRDs are there already, applied by hand: the release leaves them, and says how they are upgraded.
    let installed = succeeded(&helm(testbed, &["install", name, CHART, "-n", name]));
    assert!(installed.contains("kubectl get offsetresetrecords"), "no notes: {installed}");
    left(&installed);
    assert!(
        !succeeded(&helm(testbed, &["get", "manifest", name, "-n", name])).contains("CustomResourceDefinition"),
        "they are not its own"
    );

    let client = testbed.client().await;
    let deployment = Api::<Deployment>::namespaced(client.clone(), name).get(&full).await.expect("the Deployment");
    let spec = deployment.spec.expect("a Deployment has a spec");
    assert_eq!(spec.replicas, Some(2));
    assert_eq!(spec.strategy.and_then(|s| s.type_).as_deref(), Some("RollingUpdate"));
    let pod = spec.template.spec.expect("a pod");
    restricted(&pod);
    assert_eq!(pod.termination_grace_period_seconds, Some(60));
    assert_eq!(pod.service_account_name.as_deref(), Some(full.as_str()));
    assert_eq!(pod.containers[0].image.as_deref(), Some("stream-pipeline-operator:0.1.0"));
    let probes = [&pod.containers[0].liveness_probe, &pod.containers[0].readiness_probe];
    let paths = probes.map(|p| p.as_ref().and_then(|p| p.http_get.as_ref()).and_then(|h| h.path.clone()).unwrap_or_default());
    assert_eq!(paths, ["/livez", "/readyz"]);
    // The pod as the namespace's security standard sees it; there is no kubelet to run it.
    let admitted = Pod {
        metadata: kube::api::ObjectMeta { name: Some("probe".to_owned()), ..Default::default() },
        spec: Some(pod),
        ..Default::default()
    };
    Api::<ServiceAccount>::namespaced(client.clone(), name).get(&full).await.expect("the ServiceAccount");
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    Api::namespaced(client.clone(), name).create(&dry, &admitted).await.expect("the pod is admitted as restricted");

    let unique = format!("{name}.{full}.operator");
    let role = Api::<ClusterRole>::all(client.clone()).get(&unique).await.expect("the ClusterRole");
    let rights: Vec<_> = role.rules.unwrap_or_default().iter().map(right).collect();
    let expected = [
        ("apiextensions.k8s.io/customresourcedefinitions", "get"),
        ("streampipeline.io/streampipelines", "get,list,watch,patch"),
        ("streampipeline.io/streampipelines/status", "update,patch"),
        ("streampipeline.io/offsetresetrecords", "get,list,watch,create,patch"),
        ("streampipeline.io/offsetresetrecords/status", "patch"),
        ("/secrets,configmaps", "get"),
        ("events.k8s.io/events", "create,patch"),
        ("apps/deployments,statefulsets", "get"),
        ("apps/deployments/scale,statefulsets/scale", "get,patch"),
        ("autoscaling/horizontalpodautoscalers", "list"),
        ("keda.sh/scaledobjects", "list"),
    ];
    assert_eq!(rights, expected.map(|(what, verbs)| (what.to_owned(), verbs.to_owned())));
    Api::<ClusterRoleBinding>::all(client.clone()).get(&unique).await.expect("the ClusterRoleBinding");

    // The release takes the CRDs over, as its notes say; from then on an upgrade brings new ones.
    let upgrade =
        |more: &[&str]| succeeded(&helm(testbed, &[&["upgrade", name, CHART, "-n", name, "--set", "image.tag=other"], more].concat()));
    let taken = upgrade(&["--take-ownership", "--force-conflicts", "--set", "crds=always"]);
    assert!(!taken.contains("were there before"), "expected no definitions that were there before: {taken}");
    upgrade(&["--set", "crds=auto"]);
    // Other tests use the same CRDs: no uninstall unless Helm has been told to keep them.
    let manifest = succeeded(&helm(testbed, &["get", "manifest", name, "-n", name]));
    for crd in CRDS {
        assert!(kept(&manifest, crd), "{crd} would be deleted");
    }
    // While it keeps a pipeline stopped, nobody else would start it again: the uninstall is refused.
    let stopped = json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": { "name": "kept", "finalizers": [FINALIZER] },
        "spec": { "kafka": { "bootstrapServers": ["kafka.example.com:9092"], "consumerGroup": "g" } },
    });
    let pipelines: Api<StreamPipeline> = Api::namespaced(client.clone(), name);
    let stopped = serde_json::from_value(stopped).expect("a StreamPipeline");
    pipelines.create(&PostParams::default(), &stopped).await.expect("a StreamPipeline is created");
    let (refused, said) = uninstall(testbed, name, None).await;
    assert!(!refused.status.success() && said.contains(&format!("{name}/kept")), "{refused:?}: {said}");
    Api::<Deployment>::namespaced(client.clone(), name).get(&full).await.expect("the operator is still there");
    let done = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    pipelines.patch("kept", &PatchParams::default(), &done).await.expect("it is brought back");
    // Other tests may keep pipelines stopped now, so the check is not asked.
    let (uninstalled, _) = uninstall(testbed, name, Some("Succeeded")).await;
    succeeded(&uninstalled);
    let gone = Api::<Deployment>::namespaced(client.clone(), name).get_opt(&full).await.expect("the API server answers");
    assert!(gone.is_none_or(|d| d.metadata.deletion_timestamp.is_some()), "the Deployment is still there");
    for crd in CRDS {
        let definition = Api::<CustomResourceDefinition>::all(client.clone()).get(crd).await.expect("the definition is kept");
        assert!(definition.metadata.deletion_timestamp.is_none(), "{crd} is being deleted");
    }
    // A second release, with another name and namespace, leaves the CRDs of the first too.
    let second = testbed.namespace("chart2");
    left(&succeeded(&helm(testbed, &["install", second.name(), CHART, "-n", second.name()])));
    succeeded(&helm(testbed, &["uninstall", second.name(), "-n", second.name(), "--no-hooks"]));
    // The rights of the testbed's own release are still there.
    let own =
        Api::<ClusterRole>::all(client).get(&format!("{SYSTEM_NAMESPACE}.{RELEASE}.operator")).await.expect("the testbed's own rights");
    assert!(own.rules.is_some_and(|r| r.len() == expected.len()));
}
