//! K01 to K09: where the position goes.

use serde_json::json;
use stream_pipeline_operator::api::{RecordPhase, Stage};

use crate::world::{World, reset, says};

#[tokio::test(flavor = "multi_thread")]
async fn k01_earliest_puts_every_partition_at_its_log_start() {
    let world = World::new("k01").await;
    let topic = world.topic(&[10, 20, 0]).await;
    let group = world.group(&topic, &[10, 5, 0]).await;
    testbed::kafka::delete_records(&world.bootstrap, &[(&topic, 1, 3)]).await;
    world.known("p", &group).await;
    world.apply("p", &group, json!({ "id": "r1", "quietPeriod": "1s", "to": { "position": "Earliest" } })).await;
    let status = world.verified("p", "r1").await;
    assert_eq!(world.offsets(&group, &topic, 3).await, [Some(0), Some(3), Some(0)]);
    let (value, reason, message) = says(&status, "OffsetsReset");
    assert_eq!((value, reason), ("True", "ResetVerified"));
    assert!(message.starts_with("3 of 3 partitions read back as planned; 12 will be replayed, 0 skipped"), "{message}");
    let totals = reset(&status).plan.clone().expect("totals");
    assert_eq!((totals.partitions, totals.replayed, totals.skipped, totals.lag_after), (3, 12, 0, 27));
    let record = world.record(&status).await;
    assert_eq!(record.status.as_ref().map(|s| s.phase), Some(RecordPhase::Verified));
    let plan = record.spec.plan.expect("the plan is kept");
    assert_eq!(plan.topics[0].from, [10, 5, 0], "the offsets as they were");
    assert_eq!(plan.topics[0].to, [0, 3, 0]);
    assert_eq!(reset(&status).stage, Stage::Verified);
}
