//! E13: mistakes of somebody who uses it for the first time.

use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::KeptPort;
use testbed::enos::Options;

use crate::support::enos::{EnosWorld, id, numbered};
use crate::support::status::message;

#[tokio::test(flavor = "multi_thread")]
async fn e13_what_somebody_new_gets_wrong_is_told_with_what_to_do() {
    let enos = EnosWorld::new("new", Options::default()).await;
    enos.sim.add(numbered(1, "RUNNING"));
    enos.sim.add(numbered(2, "PAUSED").unreleased());
    let with = |field: &str, value: Value| {
        let mut spec = enos.spec(&id(1));
        spec[field] = value;
        spec
    };
    let closed = KeptPort::new().expect("a port");
    for (name, spec, stage, reason, parts) in [
        (
            "organisation",
            with("orgID", json!("o999")),
            Stage::Waiting,
            "PermissionMissing",
            &["99403: ", "Denied resource: orgId o999", "Authorize the application", "or correct spec.enos.orgID"][..],
        ),
        (
            "unknown",
            with("pipelineID", json!("nope")),
            Stage::Failed,
            "PipelineNotFound",
            &["61108: ", "has no released pipeline nope", "Correct spec.enos in a new object, or release it"],
        ),
        ("unreleased", with("pipelineID", json!(id(2))), Stage::Failed, "PipelineNotFound", &["61108: ", "or release it"]),
        (
            "running",
            with("pipelineID", json!(id(1))),
            Stage::Waiting,
            "PipelineActive",
            &["reports the pipeline as RUNNING", "Pause or stop it; the reset starts by itself", "Waits until"],
        ),
        (
            "closed",
            with("endpoint", json!(format!("http://{}", closed.address))),
            Stage::Waiting,
            "EndpointUnreachable",
            &["no connection to http://127.0.0.1:", "Check spec.enos.endpoint, the port and the network"],
        ),
        (
            "elsewhere",
            with("endpoint", json!("https://gateway.example.com")),
            Stage::Waiting,
            "EndpointUnreachable",
            &["the host of https://gateway.example.com has no address", "Check spec.enos.endpoint and DNS"],
        ),
        (
            "not-tls",
            with("endpoint", json!(enos.sim.endpoint().replace("http://", "https://"))),
            Stage::Waiting,
            "TlsFailed",
            &["does not speak TLS", "Check the port of spec.enos.endpoint"],
        ),
        (
            "path",
            with("endpoint", json!(format!("{}/wrong", enos.sim.endpoint()))),
            Stage::Waiting,
            "UnexpectedAnswer",
            &["Check that spec.enos.endpoint"],
        ),
    ] {
        if let Err(refused) =
            enos.world.apply_spec(name, json!({ "enos": spec, "offsetReset": { "id": "r1", "whenCreated": "Run" } })).await
        {
            println!("{name}: refused: {refused}");
            continue;
        }
        let told = enos.world.reaches(name, "r1", stage, reason).await;
        println!("{name}: {}", message(&told));
        for part in parts {
            assert!(message(&told).contains(part), "{name}, {part}: {}", message(&told));
        }
    }
    assert_eq!(enos.reset_calls(), 0);
}
