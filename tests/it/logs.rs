//! What the operator's log says, and what it does not say again and again.

use serde_json::json;
use stream_pipeline_operator::api::Stage;
use testbed::consumer::Consumer;

use crate::watching::CHATTY;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn d4_a_pipeline_that_waits_is_told_once_and_the_start_tells_version_and_settings() {
    let mut world = World::without_operator("logs").await;
    world.start_operator_with(&[CHATTY]);
    let topic = world.topic(&[20]).await;
    let group = world.group(&topic, &[10]).await;
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "reader");
    member.wait().await;
    world.apply("p", &group, json!({ "id": "r1", "to": { "position": "Earliest" }, "whenCreated": "Run" })).await;
    world.reaches("p", "r1", Stage::Waiting, "GroupActive").await;
    world.looks("p", 6).await;
    let log = world.operator().log();
    let decided: Vec<_> = log.lines().filter(|line| line.contains("Decided: ") && line.contains("name=\"p\"")).collect();
    let told = decided.iter().filter(|line| line.contains(" INFO ")).count();
    assert!(decided.len() >= 6 && told <= 2, "{told} of {} lines at info:\n{}", decided.len(), decided.join("\n"));
    let start = log.lines().find(|line| line.contains("Starting")).unwrap_or_default();
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    for part in [version.as_str(), "--recheck-waiting=300ms", "--finalizer-deadline=10m"] {
        assert!(start.contains(part), "{part}: {start}");
    }
    member.stop().await;
    world.verified("p", "r1").await;
}
