//! K25: offsets from a ConfigMap.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use serde_json::json;
use stream_pipeline_api::Stage;
use testbed::kafka;

use crate::support::status::{assert_has, reset, says};
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn k25_offsets_come_from_the_csv_of_the_tool_in_a_config_map() {
    let world = World::new("k25").await;
    let wide = world.unique("wide");
    kafka::create_topic(&world.bootstrap, &wide, 200, &[]).await;
    let topic = world.topic(&[10, 10]).await;
    let group = world.group(&topic, &[1, 2]).await;
    world.known("p", &group).await;
    let write = async |text: String| world.config_map("night", json!({ "offsets.csv": text })).await;
    let ask = |id: &str| {
        let from = json!({ "configMapKeyRef": { "name": "night", "key": "offsets.csv" } });
        json!({ "id": id, "quietPeriod": "0s", "to": { "offsetsFrom": from } })
    };
    // It may come later.
    world.apply("p", &group, ask("r1")).await;
    let status = world.reaches("p", "r1", Stage::Waiting, "SecretNotFound").await;
    assert_has(says(&status, "Ready").2, &["ConfigMap night is not in this namespace"]);
    write(format!("{topic},1,7\n{topic},0,4\n")).await;
    world.verified("p", "r1").await;
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(4), Some(7)]);
    // What is wrong is told with its line; what was corrected is read at once.
    for (id, text, reason, wrong) in [
        ("column", format!("{topic},0,4\n{topic},1\n"), "InvalidTarget", "line 2 of to.offsetsFrom".to_owned()),
        ("another", format!("other,{topic},0,4\n"), "InvalidTarget", "it is of group other".to_owned()),
        ("absent", format!("{topic},0,4\n{topic},7,4\n"), "PartitionNotFound", format!("{topic}-7 (line 2)")),
    ] {
        write(text).await;
        world.apply("p", &group, ask(id)).await;
        let status = world.reaches("p", id, Stage::Failed, reason).await;
        assert_has(says(&status, "Stalled").2, &[&wrong]);
    }
    // A file in UTF-16, as PowerShell writes it, which kubectl puts beside the texts.
    let binary = ConfigMap {
        binary_data: Some([("offsets.csv".to_owned(), ByteString(vec![0xff, 0xfe, b't', 0]))].into()),
        ..ConfigMap { metadata: ObjectMeta { name: Some("night".to_owned()), ..ObjectMeta::default() }, ..ConfigMap::default() }
    };
    let maps: Api<ConfigMap> = world.api();
    maps.replace("night", &PostParams::default(), &binary).await.expect("the ConfigMap is taken");
    world.apply("p", &group, ask("utf-16")).await;
    let status = world.reaches("p", "utf-16", Stage::Failed, "InvalidTarget").await;
    assert_has(says(&status, "Stalled").2, &["key offsets.csv of ConfigMap night is no text in UTF-8"]);
    maps.delete("night", &DeleteParams::default()).await.expect("it is there");
    // Many rows, with the group before.
    write((0..200).map(|p| format!("{group},{wide},{p},0\n")).collect()).await;
    world.apply("p", &group, ask("wide")).await;
    let status = world.verified("p", "wide").await;
    assert_eq!(reset(&status).plan.as_ref().map(|p| p.partitions), Some(200));
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(4), Some(7)]);
}
