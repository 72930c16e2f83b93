//! What each value of the chart renders, and what is said of those that are wrong.

use serde_json::{Value, json};
use testbed::Testbed;

use super::release::CHART;
use crate::support::commands::{both_streams, helm, succeeded};
use crate::support::status::assert_has;

/// Renders the chart as a release of this name in this namespace; `values` is a values file.
fn template(testbed: &Testbed, (name, namespace): (&str, &str), values: &Value) -> std::process::Output {
    let dir = testbed::Scratch::new("values").expect("a directory");
    let file = dir.path().join("values.yaml");
    std::fs::write(&file, values.to_string()).expect("a file is written");
    helm(testbed, &["template", name, CHART, "-n", namespace, "-f", file.to_str().expect("a path")])
}

/// The objects but for the CRDs.
fn objects(testbed: &Testbed, release: (&str, &str), values: Value) -> Vec<Value> {
    let mut values = values;
    values["crds"] = json!("never");
    let rendered = succeeded(&template(testbed, release, &values));
    let documents = rendered.split("\n---").map(|text| text.trim_start_matches("---"));
    documents.map(|text| serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))).filter(|v: &Value| v.is_object()).collect()
}

fn ours(testbed: &Testbed, values: Value) -> Vec<Value> {
    objects(testbed, ("r", "n"), values)
}

/// The one object of this kind.
fn one(objects: &[Value], kind: &str) -> Value {
    let found: Vec<_> = objects.iter().filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}: {found:#?}");
    found[0].clone()
}

fn has(objects: &[Value], kind: &str) -> bool {
    objects.iter().any(|object| object["kind"] == kind)
}

fn args(objects: &[Value]) -> Vec<String> {
    let args = &one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"];
    args.as_array().expect("arguments").iter().map(|arg| arg.as_str().expect("text").to_owned()).collect()
}

#[tokio::test]
async fn two_replicas_elect_a_leader_are_spread_and_are_not_drained_at_once() {
    let testbed = testbed::start().await;
    let all = ours(testbed, json!({}));
    let spec = &one(&all, "Deployment")["spec"];
    assert_eq!((&spec["replicas"], &spec["strategy"]["type"]), (&json!(2), &json!("RollingUpdate")));
    assert!(args(&all).contains(&"--leader-election=n/r-stream-pipeline-operator".to_owned()), "{:?}", args(&all));
    assert_eq!(one(&all, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1);
    let labels = &spec["selector"]["matchLabels"];
    for spread in spec["template"]["spec"]["topologySpreadConstraints"].as_array().expect("constraints") {
        assert_eq!((&spread["labelSelector"]["matchLabels"], &spread["whenUnsatisfiable"]), (labels, &json!("ScheduleAnyway")));
    }
    assert_eq!(one(&all, "Service")["spec"]["selector"], *labels);
    // Neither the Service nor the disruption budget may count a pod of a hook.
    for hook in [&one(&all, "Pod")["metadata"], &one(&all, "Job")["spec"]["template"]["metadata"]] {
        assert_ne!(hook["labels"]["app.kubernetes.io/name"], labels["app.kubernetes.io/name"]);
    }
    let lease = all.iter().find(|o| o["kind"] == "Role" && o["metadata"]["name"] == "r-stream-pipeline-operator-leader-election");
    let rules = &lease.expect("a Role for the Lease")["rules"];
    assert_eq!((&rules[0]["verbs"], &rules[0]["resourceNames"]), (&json!(["create"]), &Value::Null));
    assert_eq!(rules[1]["resourceNames"], json!(["r-stream-pipeline-operator"]));

    let single = ours(testbed, json!({ "replicas": 1, "leaderElection": false }));
    assert!(!args(&single).iter().any(|arg| arg.starts_with("--leader-election")), "{:?}", args(&single));
    assert_eq!(one(&single, "Deployment")["spec"]["strategy"], json!({ "type": "Recreate" }));
    assert!(!has(&single, "PodDisruptionBudget") && !format!("{single:?}").contains("leases"), "{single:#?}");
}

#[tokio::test]
async fn every_value_of_a_pod_is_where_kubernetes_looks_for_it() {
    let testbed = testbed::start().await;
    let all = ours(
        testbed,
        json!({
            "image": { "repository": "r.example.com/o", "tag": "1.2", "digest": format!("sha256:{}", "a".repeat(64)) },
            "imagePullSecrets": [{ "name": "registry" }], "priorityClassName": "high", "nodeSelector": { "a": "b" },
            "affinity": { "nodeAffinity": {} }, "tolerations": [{ "operator": "Exists" }], "revisionHistoryLimit": 7,
            "terminationGracePeriodSeconds": 90, "topologySpreadConstraints": [], "podSecurityContext": { "runAsUser": null },
            "livenessProbe": { "periodSeconds": 11 }, "readinessProbe": { "failureThreshold": 9 },
            "podAnnotations": { "p": "q" }, "podLabels": { "l": "m" }, "commonLabels": { "team": "wind" },
            "extraArgs": ["--an-argument=1"], "extraEnv": [{ "name": "HTTPS_PROXY", "value": "proxy" }],
            "extraVolumes": [{ "name": "ca", "emptyDir": {} }], "extraVolumeMounts": [{ "name": "ca", "mountPath": "/ca" }],
            "serviceAccount": { "name": "own", "annotations": { "role": "x" } }, "service": { "annotations": { "s": "t" } },
        }),
    );
    let deployment = one(&all, "Deployment");
    let (template, pod) = (&deployment["spec"]["template"], &deployment["spec"]["template"]["spec"]);
    let container = &pod["containers"][0];
    assert_eq!(container["image"], format!("r.example.com/o:1.2@sha256:{}", "a".repeat(64)));
    assert_eq!((&pod["imagePullSecrets"][0]["name"], &pod["priorityClassName"]), (&json!("registry"), &json!("high")));
    assert_eq!((&pod["nodeSelector"]["a"], &pod["tolerations"][0]["operator"]), (&json!("b"), &json!("Exists")));
    assert_eq!((&pod["affinity"], &pod["topologySpreadConstraints"]), (&json!({ "nodeAffinity": {} }), &Value::Null));
    assert_eq!((&deployment["spec"]["revisionHistoryLimit"], &pod["terminationGracePeriodSeconds"]), (&json!(7), &json!(90)));
    assert_eq!((&pod["securityContext"]["runAsUser"], &pod["securityContext"]["runAsNonRoot"]), (&Value::Null, &json!(true)));
    assert_eq!((&container["livenessProbe"]["periodSeconds"], &container["readinessProbe"]["failureThreshold"]), (&json!(11), &json!(9)));
    assert_eq!((&template["metadata"]["annotations"]["p"], &template["metadata"]["labels"]["l"]), (&json!("q"), &json!("m")));
    assert!(args(&all).contains(&"--an-argument=1".to_owned()), "{:?}", args(&all));
    assert_eq!((&container["env"][1]["name"], &pod["volumes"][0]["name"]), (&json!("HTTPS_PROXY"), &json!("ca")));
    assert_eq!((&container["volumeMounts"][0]["mountPath"], &pod["serviceAccountName"]), (&json!("/ca"), &json!("own")));
    assert_eq!(one(&all, "Service")["metadata"]["annotations"]["s"], "t");
    let account = one(&all, "ServiceAccount");
    assert_eq!((&account["metadata"]["name"], &account["metadata"]["annotations"]["role"]), (&json!("own"), &json!("x")));
    // Whatever speaks of the account speaks of that one.
    assert!(!format!("{all:?}").contains("n:r-stream-pipeline-operator"), "{all:#?}");
    for object in &all {
        assert_eq!(object["metadata"]["labels"]["team"], "wind", "{object:#}");
    }
    let given =
        ours(testbed, json!({ "serviceAccount": { "create": false, "name": "theirs" }, "rbac": { "create": false, "aggregate": false } }));
    assert!(!has(&given, "ServiceAccount") && !format!("{given:?}").contains("rbac.authorization"), "{given:#?}");
}

#[tokio::test]
async fn each_setting_is_the_flag_of_its_name() {
    let testbed = testbed::start().await;
    let file = std::fs::read_to_string(format!("{CHART}/values.schema.json")).expect("a schema");
    let schema: Value = serde_json::from_str(&file).expect("JSON");
    let settings = schema["properties"]["settings"]["properties"].as_object().expect("settings");
    let defaults: serde_json::Map<_, _> = settings.iter().map(|(name, s)| (name.clone(), s["default"].clone())).collect();
    let all = ours(testbed, json!({ "settings": defaults, "kafkaClients": 65535 }));
    // The operator takes each of them, and no value is spelt in another way, as a large number easily is.
    let mut operator = std::process::Command::new(crate::support::world::EXE);
    let known = |arg: &&String| !arg.starts_with("--leader-election");
    let output = operator.args(args(&all).iter().filter(known)).arg("--version").output().expect("it runs");
    assert!(output.status.success(), "{}", both_streams(&output));
    assert_eq!(args(&all).len(), settings.len() + 3, "{:?}", args(&all));
    for (name, value) in &defaults {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert!(args(&all).iter().any(|arg| arg.ends_with(&format!("={value}"))), "{name}: {:?}", args(&all));
    }
    assert!(args(&all).contains(&"--kafka-clients=65535".to_owned()));
}

/// Names in no namespace, or in one that is not the release's.
fn shared(objects: &[Value], namespace: &str) -> Vec<String> {
    let theirs = objects.iter().filter(|object| object["metadata"]["namespace"] != namespace);
    theirs.map(|o| format!("{}/{}", o["kind"], o["metadata"]["name"].as_str().expect("a name"))).collect()
}

#[tokio::test]
async fn no_release_can_take_the_names_of_another_one_or_of_the_cluster() {
    let testbed = testbed::start().await;
    let every = json!({
        "policies": { "resetVerb": true, "approveVerb": true, "protectRecords": true, "warnAtCreation": true },
        "networkPolicy": { "enabled": true }, "serviceMonitor": { "enabled": true }, "watchNamespaces": ["w"]
    });
    let mut seen: Vec<String> = Vec::new();
    let long = "a-release-with-a-name-as-long-as-helm-lets-one-be-now";
    for release in [("edit", "a"), ("edit", "b"), ("edit", "a-edit"), ("a-edit", "a"), ("stream-pipeline-operator-edit", "b"), (long, "a")]
    {
        let all = objects(testbed, release, every.clone());
        for name in shared(&all, release.1) {
            assert!(name.contains(&format!("/{}.", release.1)), "{release:?}: {name}");
            assert!(!seen.contains(&name), "{release:?}: {name} is another release's too");
            seen.push(name);
        }
        for object in &all {
            let name = object["metadata"]["name"].as_str().expect("a name");
            let most = if object["kind"] == "Job" || object["kind"] == "Service" { 63 } else { 253 };
            assert!(name.len() <= most, "{release:?}: {name} has {} characters", name.len());
        }
    }
    let named = ours(testbed, json!({ "nameOverride": "mover", "fullnameOverride": "offsets" }));
    let deployment = one(&named, "Deployment");
    let label = &deployment["metadata"]["labels"]["app.kubernetes.io/name"];
    assert_eq!((&deployment["metadata"]["name"], label), (&json!("offsets"), &json!("mover")));
}

#[tokio::test]
async fn with_namespaces_to_watch_the_rights_are_roles_there() {
    let testbed = testbed::start().await;
    let all = ours(testbed, json!({ "watchNamespaces": ["a", "b"], "workloads": [{ "apiGroups": ["g"], "resources": ["ws"] }] }));
    assert!(args(&all).contains(&"--watch-namespace=a,b".to_owned()), "{:?}", args(&all));
    let hook = &one(&all, "Job")["spec"]["template"]["spec"]["containers"][0]["args"];
    assert_eq!(*hook, json!(["--watch-namespace=a,b", "check-uninstall"]));
    let whole = ours(testbed, json!({ "workloads": [{ "apiGroups": ["g"], "resources": ["ws"] }] }));
    let role = |objects: &[Value], kind: &str, namespace: Value| {
        let found = objects.iter().find(|o| {
            o["kind"] == kind && o["metadata"]["namespace"] == namespace && o["metadata"]["name"] == "n.r-stream-pipeline-operator.operator"
        });
        found.unwrap_or_else(|| panic!("{kind} in {namespace}"))["rules"].as_array().expect("rules").clone()
    };
    let of_cluster = role(&all, "ClusterRole", Value::Null);
    assert_eq!(of_cluster.len(), 1, "{of_cluster:#?}");
    assert_eq!(of_cluster[0]["resources"], json!(["customresourcedefinitions"]));
    // The same rules, only elsewhere.
    let everywhere = role(&whole, "ClusterRole", Value::Null);
    for namespace in ["a", "b"] {
        assert_eq!([of_cluster.clone(), role(&all, "Role", json!(namespace))].concat(), everywhere);
    }
    for rule in &everywhere {
        for field in ["apiGroups", "resources", "verbs"] {
            assert!(!rule[field].as_array().expect("a list").contains(&json!("*")), "{rule}");
        }
    }
}

#[tokio::test]
async fn the_network_policy_opens_dns_the_api_server_and_what_is_allowed() {
    let testbed = testbed::start().await;
    assert!(!has(&ours(testbed, json!({})), "NetworkPolicy"), "expected none unless it is asked for");
    let allowed = ["10.0.0.0/8", "192.0.2.7", "[2001:db8::1]", "fd00::/8", "kafka.example.com"];
    let peer = json!({ "namespaceSelector": { "matchLabels": { "name": "monitoring" } } });
    let policy = json!({ "enabled": true, "ports": [9093], "ingressFrom": [peer], "apiServer": { "cidrs": ["172.16.0.0/12"] },
        "extraEgress": [{ "ports": [{ "port": 1 }] }] });
    let spec = one(&ours(testbed, json!({ "allowedEndpoints": allowed, "networkPolicy": policy })), "NetworkPolicy")["spec"].clone();
    assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
    let ingress = &spec["ingress"][0];
    assert_eq!((&ingress["ports"][0]["port"], &ingress["from"][0]), (&json!(8080), &peer));
    let egress = spec["egress"].as_array().expect("rules");
    let at = |rule: &Value| rule["ports"].as_array().map(|ports| ports.iter().map(|p| p["port"].clone()).collect::<Vec<_>>());
    let ports: Vec<_> = egress.iter().map(at).collect();
    assert_eq!(json!(ports), json!([[53, 53], [443, 6443], [8080], [9093], [1]]), "{spec:#}");
    assert_eq!(egress[1]["to"], json!([{ "ipBlock": { "cidr": "172.16.0.0/12" } }]));
    let cidrs: Vec<_> = egress[3]["to"].as_array().expect("peers").iter().map(|p| p["ipBlock"]["cidr"].as_str().expect("text")).collect();
    assert_eq!(cidrs, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::1/128", "fd00::/8"]);
    let open = one(&ours(testbed, json!({ "networkPolicy": { "enabled": true } })), "NetworkPolicy");
    assert_eq!(open["spec"]["egress"][3]["to"][0]["ipBlock"]["except"], json!(["127.0.0.0/8", "169.254.0.0/16"]));
}

#[tokio::test]
async fn a_wrong_value_is_refused_with_its_name_and_what_is_wrong() {
    let testbed = testbed::start().await;
    succeeded(&helm(testbed, &["lint", "--strict", CHART]));
    let wrong = [
        (json!({ "replicas": 0 }), "at '/replicas': minimum: got 0, want 1"),
        (
            json!({ "replicas": 2, "leaderElection": false }),
            "replicas is 2 and leaderElection is false: without an election only one replica",
        ),
        (json!({ "leaderElection": "yes" }), "at '/leaderElection': got string, want boolean"),
        (json!({ "image": { "tga": "1" } }), "at '/image': additional properties 'tga' not allowed"),
        (json!({ "image": { "digest": "sha256:short" } }), "at '/image/digest': 'sha256:short' does not match pattern"),
        (
            json!({ "image": { "pullPolicy": "Sometimes" } }),
            "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
        ),
        (json!({ "image": { "repository": "" } }), "at '/image/repository': minLength: got 0, want 1"),
        (json!({ "crds": "sometimes" }), "at '/crds': value must be one of 'auto', 'always', 'never'"),
        (json!({ "settings": { "sendWindo": "5s" } }), "at '/settings': additional properties 'sendWindo' not allowed"),
        (json!({ "settings": { "sendWindow": 5 } }), "at '/settings/sendWindow': got number, want string"),
        (json!({ "settings": { "sendWindow": "5 seconds" } }), "at '/settings/sendWindow': '5 seconds' does not match pattern"),
        (json!({ "settings": { "chunkSize": 0 } }), "at '/settings/chunkSize': minimum: got 0, want 1"),
        (json!({ "watchNamespaces": ["a", "a"] }), "at '/watchNamespaces': items at 0 and 1 are equal"),
        (json!({ "watchNamespaces": ["Wind"] }), "at '/watchNamespaces/0': 'Wind' does not match pattern"),
        (json!({ "workloads": [{ "apiGroups": ["a"], "resources": ["*"] }] }), "at '/workloads/0/resources/0': '*' does not match pattern"),
        (json!({ "workloads": [{ "resources": ["a"] }] }), "at '/workloads/0': missing property 'apiGroups'"),
        (json!({ "serviceAccount": { "create": false } }), "serviceAccount.create is false and serviceAccount.name is empty"),
        (json!({ "policies": { "resetverb": true } }), "at '/policies': additional properties 'resetverb' not allowed"),
        (json!({ "livenessProbe": { "path": "/" } }), "at '/livenessProbe': additional properties 'path' not allowed"),
        (json!({ "extraArgs": ["concurrency=1"] }), "at '/extraArgs/0': 'concurrency=1' does not match pattern"),
        (
            json!({ "networkPolicy": { "enabled": true }, "allowedEndpoints": ["a.example.com"] }),
            "allowedEndpoints has names only (a.example.com)",
        ),
        (
            json!({ "networkPolicy": { "apiServer": { "ports": [70000] } } }),
            "at '/networkPolicy/apiServer/ports/0': maximum: got 70,000, want 65,535",
        ),
    ];
    for (values, message) in wrong {
        let output = template(testbed, ("r", "n"), &values);
        assert!(!output.status.success(), "{values} is taken");
        assert_has(both_streams(&output), &[message]);
    }
}
