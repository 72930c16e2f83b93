//! The requests of docs/targets.md as they stand there: each is asked of a group of its own on the page's topic.

use jiff::Timestamp;
use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::kafka;

use crate::support::status::reset;
use crate::support::world::World;

/// What the page asks for under each heading.
fn requests() -> Vec<Value> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/targets.md")).expect("the page can be read");
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).filter(|block| block.starts_with("spec:\n"));
    blocks.map(|block| serde_saphyr::from_str::<Value>(block).expect("YAML")["spec"]["offsetReset"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn d4_each_request_of_the_page_about_targets_works_as_it_stands() {
    let world = World::new("page").await;
    let topic = world.topic(&[20, 20]).await;
    let now = Timestamp::now().as_millisecond();
    for partition in 0..2 {
        kafka::produce(&world.bootstrap, &topic, partition, 5, move |n| now - 60_000 + n).await;
    }
    world.config_map("turbine-cleaning-offsets", json!({ "offsets.csv": format!("{topic},0,4\n{topic},1,5\n") })).await;
    let commit = async |group: &str| kafka::commit(&world.bootstrap, group, &[(&topic, 0, 10, ""), (&topic, 1, 10, "")]).await;
    let mut asked = Vec::new();
    for mut request in requests() {
        let id = request["id"].as_str().expect("an id").to_owned();
        let group = world.unique(&id);
        commit(&group).await;
        world.known(&id, &group).await;
        // What the page names of somebody's own cluster is named here as it is here.
        for (list, named) in [("/topics", "name"), ("/to/offsets", "topic")] {
            for item in request.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                item[named] = json!(topic);
            }
        }
        if request["to"]["consumerGroup"].is_string() {
            let other = world.unique("other");
            commit(&other).await;
            request["to"]["consumerGroup"] = json!(other);
        }
        let before = |dry: bool| json!({ "id": "before", "quietPeriod": "0s", "dryRun": dry, "to": { "shiftBy": -3 } });
        if request["to"]["undo"].is_object() {
            world.apply(&id, &group, before(false)).await;
            let status = world.verified(&id, "before").await;
            request["to"]["undo"]["name"] = json!(reset(&status).record_ref.as_ref().expect("a record").name);
        }
        if request["approvedPlan"].is_string() {
            world.apply(&id, &group, before(true)).await;
            let status = world.reaches(&id, "before", Stage::Planned, "PlanReady").await;
            request["approvedPlan"] = json!(reset(&status).record_ref.as_ref().expect("a record").name);
        }
        request["quietPeriod"] = json!("0s");
        world.apply(&id, &group, request).await;
        asked.push(id);
    }
    assert!(asked.len() >= 12, "{asked:?}");
    for id in asked {
        world.verified(&id, &id).await;
    }
}
