//! The examples as a newcomer applies them: one after the other into one namespace, unchanged but for the addresses.

use std::fs;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use stream_pipeline_api::Stage;
use testbed::enos::{ACCESS_KEY, Application, Options, Organisation, Pipeline, SECRET_KEY, Simulator};
use testbed::kafka;

use crate::support::enos::LOCAL;
use crate::support::world::World;

/// The organization of the examples.
const ORG: &str = "o15500000000001";

/// Groups with commits, all on the topics that the examples name.
const GROUPS: [&str; 13] = [
    "pitch-control",
    "turbine-cleaning",
    "yaw-control",
    "turbine-alerts",
    "substation-meters",
    "gearbox-vibration",
    "wind-forecast",
    "tower-sway",
    "icing-alarm",
    "blade-load",
    "main-shaft",
    "rotor-speed",
    "brake-pressure",
];

/// How each example ends: file, object, request, stage and reason.
const ENDS: [(&str, &str, &str, Stage, &str); 18] = [
    // Readers bring the record themselves.
    ("approved.yaml", "brake-pressure", "replay-2026-11-22", Stage::Failed, "PlanChanged"),
    ("copy-group.yaml", "power-curve-v3", "from-v1", Stage::Verified, "ResetVerified"),
    ("current.yaml", "tower-sway", "keep-through-winter", Stage::Verified, "ResetVerified"),
    ("dry-run.yaml", "pitch-control", "replay-2026-11-22", Stage::Planned, "PlanReady"),
    ("earliest.yaml", "turbine-cleaning", "replay-2026-11-22", Stage::Verified, "ResetVerified"),
    ("enos-wait.yaml", "averaging", "skip-backlog-2026-11-22", Stage::Sent, "NoReadBackWhilePaused"),
    ("enos.yaml", "cleaning", "skip-backlog-2026-11-22", Stage::Verified, "ResetVerified"),
    ("git.yaml", "yaw-control", "replay-2026-11-22", Stage::Verified, "ResetVerified"),
    ("latest.yaml", "turbine-alerts", "skip-backlog-1", Stage::Verified, "ResetVerified"),
    ("lookback.yaml", "icing-alarm", "last-two-hours", Stage::Verified, "ResetVerified"),
    ("new-group.yaml", "power-curve", "start-of-november", Stage::Verified, "ResetVerified"),
    ("offsets-from.yaml", "main-shaft", "back-to-friday", Stage::Verified, "ResetVerified"),
    ("offsets.yaml", "blade-load", "past-a-poison-pill", Stage::Verified, "ResetVerified"),
    ("pause.yaml", "substation-meters", "replay-2026-11-22", Stage::Verified, "ResetVerified"),
    // Readers bring the Secrets themselves.
    ("secured.yaml", "grid-export", "replay-2026-11-22", Stage::Waiting, "SecretNotFound"),
    ("shift.yaml", "gearbox-vibration", "back-1000", Stage::Verified, "ResetVerified"),
    ("timestamp.yaml", "wind-forecast", "ticket-4711", Stage::Verified, "ResetVerified"),
    ("undo.yaml", "rotor-speed", "undo-replay-2026-11-22", Stage::Failed, "InvalidTarget"),
];

async fn platform(tls: bool) -> Simulator {
    let options = Options {
        tls,
        organisations: vec![Organisation::new(ORG)],
        applications: vec![Application::new(ACCESS_KEY, SECRET_KEY, &[ORG])],
        ..Options::default()
    };
    let sim = Simulator::start(options).await;
    let cleaning = Pipeline::new(ORG, "565c0114-0000-4372-86d1-000000000000", "cleaning", "RUNNING").series(400_000, 900_000_000);
    sim.add(cleaning);
    sim.add(Pipeline::new(ORG, "565c0114-0000-4372-86d1-000000000001", "averages of measuring points", "STOPPED"));
    sim
}

#[tokio::test(flavor = "multi_thread")]
async fn d4_the_examples_work_one_after_the_other_as_they_are_shipped() {
    let mut world = World::without_operator("examples").await;
    let now = Timestamp::now().as_millisecond();
    for topic in ["turbine-telemetry", "wind-speed"] {
        kafka::create_topic(&world.bootstrap, topic, 2, &[]).await;
        for partition in 0..2 {
            kafka::produce(&world.bootstrap, topic, partition, 20, move |n| now - 1000 + n).await;
        }
    }
    for group in GROUPS {
        let commits: Vec<_> = (0..2).map(|p| ("wind-speed", p, 10, "")).collect();
        kafka::commit(&world.bootstrap, group, &commits).await;
    }
    let (plain, trusted) = (platform(false).await, platform(true).await);
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), world.namespace.name());
    let configs: Api<ConfigMap> = Api::namespaced(world.client.clone(), world.namespace.name());
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), world.namespace.name());
    let secret = json!({ "metadata": { "name": "enos-app" }, "stringData": { "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY } });
    secrets.create(&PostParams::default(), &serde_json::from_value(secret).expect("a Secret")).await.expect("it is taken");
    let ca = json!({ "metadata": { "name": "company-ca" }, "data": { "ca.crt": trusted.ca_pem() } });
    configs.create(&PostParams::default(), &serde_json::from_value(ca).expect("a ConfigMap")).await.expect("it is taken");
    let labels = json!({ "app": "substation-meters" });
    let template = json!({ "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "c", "image": "none" }] } });
    let workload = json!({
        "metadata": { "name": "substation-meters" },
        "spec": { "replicas": 0, "selector": { "matchLabels": labels }, "template": template }
    });
    deployments.create(&PostParams::default(), &serde_json::from_value(workload).expect("a Deployment")).await.expect("it is taken");
    world.start_operator_with(&LOCAL);
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut files: Vec<_> = fs::read_dir(dir).expect("there are examples").map(|e| e.expect("the folder can be read").path()).collect();
    files.sort();
    let names: Vec<_> = files.iter().map(|f| f.file_name().expect("a file").to_string_lossy().into_owned()).collect();
    assert_eq!(names, ENDS.map(|end| end.0));
    let at = std::env::temp_dir().join(format!("{}.yaml", world.namespace.name()));
    for file in &files {
        let wait = file.ends_with("enos-wait.yaml");
        let gateway = if wait { trusted.endpoint() } else { plain.endpoint() };
        let text = fs::read_to_string(file).expect("an example can be read");
        let text = text.replace("https://apigw.example.com", &gateway).replace("kafka.example.com:9092", &world.bootstrap);
        fs::write(&at, text).expect("a temporary file is written");
        let applied = world.testbed.kubectl(&["apply", "-n", world.namespace.name(), "-f", &at.display().to_string()]);
        let said = String::from_utf8_lossy(&applied.stderr);
        assert!(applied.status.success() && said.is_empty(), "{}: {said}", file.display());
    }
    let _ = fs::remove_file(&at);
    for (_, name, id, stage, reason) in ENDS {
        world.reaches(name, id, stage, reason).await;
    }
}
