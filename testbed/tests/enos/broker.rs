//! Pipelines backed by a real consumer group.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use testbed::enos::{Options, OtherState, Pipeline, ResetTo, Simulator};
use testbed::{Broker, kafka};

use crate::client::{Caller, ORG};

const TOPIC: &str = "MEASURE_POINT_INTERNAL_o15000000000001";

async fn caught_up(simulator: &Simulator, id: &str, end: i64) {
    testbed::eventually("it to catch up", Duration::from_secs(40), async || match simulator.position(id).await {
        (offset, 0) if offset == end => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_move_the_committed_offsets_of_a_real_group() {
    let broker = tokio::task::spawn_blocking(|| Broker::start(&testbed::ensure().unwrap()).unwrap()).await.unwrap();
    let bootstrap = broker.bootstrap();
    kafka::create_topic(&bootstrap, TOPIC, 2, &[]).await;
    for partition in [0, 1] {
        kafka::produce(&bootstrap, TOPIC, partition, 300, |n| n).await;
        kafka::commit(&bootstrap, "g1", &[(TOPIC, partition, 100, "")]).await;
    }
    let options = Options { bootstrap: Some(bootstrap.clone()), reset_in_other_state: OtherState::Apply, ..Options::default() };
    let simulator = Simulator::start(options).await;
    simulator.add(Pipeline::new(ORG, "p1", "one", "STOPPED").group("g1", TOPIC));
    simulator.add(Pipeline::new(ORG, "p2", "two", "RUNNING").group("g2", TOPIC).reset_to(ResetTo::Earliest));
    let caller = Caller::new(&simulator).await;
    let reset = async |id: &str| caller.json(Method::POST, &format!("pipeline/{id}/offset"), &[("orgId", ORG)], "").await.1;
    let groups = async || kafka::offsets(&bootstrap, "g1", TOPIC, 2).await;

    assert_eq!(simulator.position("p1").await, (200, 400));
    assert_eq!(caller.start("p1").await["code"], 0);
    caught_up(&simulator, "p1", 600).await;
    caught_up(&simulator, "p2", 600).await;
    assert_eq!(caller.operate("p1", "pause", "").await["code"], 0);
    kafka::produce(&bootstrap, TOPIC, 0, 50, |n| n).await;
    assert_eq!(simulator.position("p1").await, (600, 50));
    assert_eq!(reset("p1").await, json!({ "code": 0, "msg": "OK" }));
    assert_eq!(groups().await, [Some(350), Some(300)]);
    assert_eq!(caller.start("p1").await["code"], 0);
    kafka::produce(&bootstrap, TOPIC, 1, 7, |n| n).await;
    caught_up(&simulator, "p1", 657).await;
    let lag: Value = caller.json(Method::GET, "pipeline/p1/offset-lag", &[("orgId", ORG)], "").await.1;
    assert_eq!((&lag["data"]["topicName"], &lag["data"]["lagAndOffset"][1]["offset"]), (&json!(TOPIC), &json!(657)));

    // The broker refuses while the group has members.
    assert_eq!((reset("p1").await["code"].as_i64(), simulator.resets("p1")), (Some(99000), 1));
    simulator.set_status("p2", "STOPPED");
    assert_eq!(reset("p2").await["code"], 0);
    assert_eq!(kafka::offsets(&bootstrap, "g2", TOPIC, 2).await, [Some(0), Some(0)]);
}
