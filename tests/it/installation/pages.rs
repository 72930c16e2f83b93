//! The manifests of the pages about targets, as they stand there: each is applied, and who may approve is tried by those who may and may not.

use jiff::Timestamp;
use serde_json::json;
use stream_pipeline_api::Stage;
use testbed::{eventually, kafka};

use crate::support::commands::{both_streams, succeeded};
use crate::support::status::reset;
use crate::support::world::{LIMIT, World};

/// The YAML blocks of a page that are whole objects.
pub(super) fn objects(page: &str) -> Vec<String> {
    let file = format!("{}/docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(file).expect("the page can be read");
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.starts_with("apiVersion:")).map(str::to_owned).collect()
}

impl World {
    /// What kubectl says to this manifest, applied by this user; None: by an administrator.
    pub(super) fn applies(&self, manifest: &str, user: Option<&str>) -> (bool, String) {
        let of = user.map(|user| format!("--as={user}"));
        self.applies_with(manifest, &of.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub(super) fn applies_with(&self, manifest: &str, more: &[&str]) -> (bool, String) {
        let file = std::env::temp_dir().join(format!("{}.yaml", self.unique("page")));
        std::fs::write(&file, manifest).expect("a temporary file is written");
        let path = file.display().to_string();
        let output = self.testbed.kubectl(&[&["apply", "-f", &path], more].concat());
        let _ = std::fs::remove_file(&file);
        (output.status.success(), both_streams(&output))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d4_each_manifest_for_a_scenario_of_the_tool_works_as_it_stands() {
    let world = World::new("from-tool").await;
    let now = Timestamp::now().as_millisecond();
    kafka::create_topic(&world.bootstrap, "readings", 2, &[]).await;
    for partition in 0..2 {
        kafka::produce(&world.bootstrap, "readings", partition, 20, move |n| now - 1000 + n).await;
    }
    let manifests = objects("coming-from-kafka-consumer-groups.md");
    assert!(manifests.len() >= 9, "{} manifests", manifests.len());
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "turbine-cleaning-offsets", "namespace": world.namespace.name() },
        "data": { "offsets.csv": "readings,0,4\nreadings,1,5\n" }
    });
    assert!(world.applies(&map.to_string(), None).0);
    let mut asked = Vec::new();
    for manifest in manifests {
        let object: serde_json::Value = serde_saphyr::from_str(&manifest).expect("YAML");
        let text = |at: &str| object.pointer(at).and_then(serde_json::Value::as_str).expect("text").to_owned();
        let (name, group, id) = (text("/metadata/name"), text("/spec/kafka/consumerGroup"), text("/spec/offsetReset/id"));
        kafka::commit(&world.bootstrap, &group, &[("readings", 0, 10, ""), ("readings", 1, 10, "")]).await;
        let manifest = manifest.replace("kafka.example.com:9092", &world.bootstrap);
        let here = manifest.replacen("metadata:\n", &format!("metadata:\n  namespace: {}\n", world.namespace.name()), 1);
        let (taken, said) = world.applies(&here, None);
        assert!(taken, "{name}: {said}");
        asked.push((name, id));
    }
    for (name, id) in asked {
        world.verified(&name, &id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p02_only_who_may_approve_asks_for_more_than_a_dry_run() {
    let world = World::new("approve").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    let namespace = world.namespace.name().to_owned();
    let (planner, approver) = (format!("{namespace}-paula"), format!("{namespace}-ann"));
    let manifests: Vec<_> = objects("targets.md").into_iter().filter(|m| !m.contains("kind: StreamPipeline\n")).collect();
    assert_eq!(manifests.len(), 4, "policy, binding and two Roles");
    for manifest in &manifests {
        let here = manifest
            .replace(" wind\n", &format!(" {namespace}\n"))
            .replace("offset-resets-need-approval", &format!("{namespace}-approval"));
        let (taken, said) = world.applies(&here, None);
        assert!(taken, "{said}");
    }
    for (role, user) in [("offset-reset-planner", &planner), ("offset-reset-approver", &approver)] {
        let args = ["create", "rolebinding", role, "--role", role, "--user", user.as_str(), "-n", namespace.as_str()];
        succeeded(&world.testbed.kubectl(&args));
    }
    let (servers, ns) = (world.bootstrap.clone(), namespace.clone());
    let manifest = move |name: &str, request: serde_json::Value| {
        let kafka = json!({ "bootstrapServers": [servers], "consumerGroup": group });
        let mut object = json!({
            "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": { "name": name, "namespace": ns },
            "spec": { "kafka": kafka }
        });
        if !request.is_null() {
            object["spec"]["offsetReset"] = request;
        }
        object.to_string()
    };
    let ask = |id: &str, more: serde_json::Value| {
        let mut request = json!({ "id": id, "quietPeriod": "0s", "to": { "shiftBy": -3 } });
        more.as_object().expect("fields").iter().for_each(|(field, value)| request[field] = value.clone());
        request
    };
    // The policy is in force a moment after it was made.
    let probe = ["--dry-run=server", &format!("--as={planner}")];
    eventually("the policy to be in force", LIMIT, async || match world.applies_with(&manifest("probe", ask("r", json!({}))), &probe) {
        (false, said) if said.contains("takes the verb approve") => Ok(()),
        (_, said) => Err(said),
    })
    .await;
    assert!(world.applies(&manifest("p", serde_json::Value::Null), Some(&planner)).0, "an object without a request");
    world.nothing_requested("p").await;
    // Who may not approve sees the plan, and cannot make a reset of it.
    assert!(world.applies(&manifest("preview", ask("look", json!({ "dryRun": true }))), Some(&planner)).0, "a dry run");
    let status = world.reaches("preview", "look", Stage::Planned, "PlanReady").await;
    let plan = reset(&status).record_ref.clone().expect("a record").name;
    for (what, name, request) in [
        ("a reset", "p", ask("r1", json!({}))),
        ("the dry run turned into a reset", "preview", ask("look", json!({ "dryRun": false }))),
        ("an approval", "p", ask("r1", json!({ "approvedPlan": plan }))),
        ("an approval as a dry run", "p", ask("r1", json!({ "approvedPlan": plan, "dryRun": true }))),
        ("a new object with a reset", "q", ask("r1", json!({ "whenCreated": "Run" }))),
    ] {
        let (taken, said) = world.applies(&manifest(name, request), Some(&planner));
        assert!(!taken && said.contains("takes the verb approve"), "{what}: {said}");
    }
    let args = ["delete", "streampipeline", "preview", "-n", namespace.as_str(), "--wait=true"];
    succeeded(&world.testbed.kubectl(&[&args[..], &[&format!("--as={planner}")]].concat()));
    let (taken, said) = world.applies(&manifest("p", ask("r1", json!({ "approvedPlan": plan }))), Some(&approver));
    assert!(taken, "{said}");
    world.verified("p", "r1").await;
    // What stands there may stay, and be withdrawn.
    let (taken, said) = world.applies(&manifest("p", ask("r1", json!({ "approvedPlan": plan }))), Some(&planner));
    assert!(taken, "{said}");
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        succeeded(&world.testbed.kubectl(&["delete", kind, &format!("{namespace}-approval")]));
    }
}
