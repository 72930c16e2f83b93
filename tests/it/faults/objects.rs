//! F09, F17: objects that cannot be read, and names that are odd.

use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::kafka;

use crate::support::requests::ask;
use crate::support::status::{assert_has, has_reason, says};
use crate::support::world::{LIMIT, World};

#[tokio::test(flavor = "multi_thread")]
async fn f09_an_object_that_cannot_be_read_is_told_so_and_the_others_are_served() {
    let world = World::new("f09").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    // Unknown fields inside offsetReset are kept and refused: a pruned dryRun would be a real reset.
    world.known("typo", &group).await;
    let fields: [(&str, Value); 3] = [
        ("dryrun", json!({ "id": "a", "quietPeriod": "0s", "to": { "position": "Earliest" }, "dryrun": true })),
        ("to.offfset", json!({ "id": "b", "quietPeriod": "0s", "to": { "position": "Earliest", "offfset": 5 } })),
        (
            "topics",
            json!({ "id": "c", "quietPeriod": "0s", "to": { "position": "Earliest" }, "topics": [{ "name": topic, "partition": 0 }] }),
        ),
    ];
    for (field, asked) in fields {
        let id = asked["id"].as_str().expect("an id").to_owned();
        world.apply("typo", &group, asked).await;
        let status = world.reaches("typo", &id, Stage::Failed, "UnknownField").await;
        assert_has(says(&status, "Stalled").2, &[field]);
    }
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(7)]);
    assert!(world.all_records().await.is_empty());
    // The API server takes a time zone of 99 hours, which no calendar knows. The object cannot be decoded.
    let raw = world.untyped();
    world.known("odd", &group).await;
    let last = |reset: Value| Patch::Merge(json!({ "status": { "offsetReset": reset } }));
    let params = PatchParams::default();
    let reset = json!({ "id": "r0", "stage": "Waiting", "acceptedAt": "2026-01-01T00:00:00+99:99" });
    raw.patch_status("odd", &params, &last(reset)).await.expect("the API server takes it");
    let ready = async || raw.get("odd").await.map_err(|e| e.to_string()).map(|o| o.data["status"]["conditions"].clone());
    testbed::eventually("the object to be told that it cannot be read", LIMIT, async || {
        let conditions = ready().await?;
        if conditions[0]["reason"] == "InvalidObject" && conditions[0]["status"] == "False" { Ok(()) } else { Err(conditions.to_string()) }
    })
    .await;
    let group = world.group(&topic, &[7]).await;
    world.known("good", &group).await;
    world.apply("good", &group, ask("r1", "Earliest")).await;
    world.verified("good", "r1").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
    // Corrected, it is served again.
    raw.patch_status("odd", &params, &last(Value::Null)).await.expect("the API server takes it");
    world.wait("odd", "the corrected object to be served", |s| has_reason(s, "Ready", "NothingRequested")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f17_odd_names_work_exactly() {
    let world = World::new("f17").await;
    let topic = world.topic(&[10]).await;
    let dotted = format!("{}.{}", "a".repeat(39), "b".repeat(23));
    assert_eq!(dotted.len(), 63);
    let names = [("one".to_owned(), "a/b@c:d"), (dotted, "x y"), ("c".repeat(63), "größe")];
    for (name, group) in &names {
        let group = &format!("{group} {}", world.namespace.name());
        kafka::commit(&world.bootstrap, group, &[(&topic, 0, 7, "")]).await;
        world.known(name, group).await;
        world.apply(name, group, ask("größe 1/2", "Earliest")).await;
        let status = world.verified(name, "größe 1/2").await;
        assert_eq!(world.offsets(group, &topic, 1).await, [Some(0)]);
        let record = world.record(&status).await;
        assert_eq!(record.spec.backend.parts()[1], group);
        let stem = record.metadata.name.as_deref().unwrap_or_default().rsplit_once('-').expect("a hash").0;
        assert!(
            stem.len() <= 40 && !stem.ends_with(['.', '-']),
            "expected at most 40 characters, and a letter or digit at the end: {stem}"
        );
        let selector = ListParams::default().labels(&format!("streampipeline.io/pipeline={name}"));
        assert_eq!(world.records().list(&selector).await.expect("a list").items.len(), 1);
    }
}
