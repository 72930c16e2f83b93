//! A01, K01, K03, O01 by every kind of listener and log-in.

use serde_json::json;
use stream_pipeline_api::Stage;
use testbed::consumer::Consumer;
use testbed::kafka;

use crate::support::requests::with;
use crate::support::secured::{SecuredWorld, Way, run};
use crate::support::status::{assert_has, condition, reset, says};
use crate::support::world::LOG_EVERY_LOOK;

/// One way in, with a topic of ten records and a group that is at 7.
struct Door {
    way: Way,
    topic: String,
    group: String,
}

async fn doors(locked: &SecuredWorld) -> Vec<Door> {
    locked.let_in();
    let mut doors = Vec::new();
    for way in locked.ways() {
        let (topic, group) = locked.topic_and_group().await;
        doors.push(Door { way, topic, group });
    }
    doors
}

#[tokio::test(flavor = "multi_thread")]
async fn k01_earliest_is_verified_by_every_way_in() {
    let locked = SecuredWorld::new("sk01", &[]).await;
    let doors = doors(&locked).await;
    for Door { way, group, .. } in &doors {
        locked.apply(&way.name, way, group, run("r1")).await;
    }
    for Door { way, topic, group } in &doors {
        let status = locked.world.verified(&way.name, "r1").await;
        assert_eq!(locked.world.offset(group, topic).await, Some(0), "{}", way.name);
        assert_eq!(says(&status, "BackendReachable").0, "True");
        let record = locked.world.record(&status).await;
        let plan = json!(record.spec).to_string();
        assert!(plan.contains("7"), "the offset as it was: {plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k03_a_time_is_found_by_every_way_in() {
    let locked = SecuredWorld::new("sk03", &[]).await;
    let doors = doors(&locked).await;
    for Door { way, group, .. } in &doors {
        // Between the fourth and the fifth record, in a time zone of its own.
        let to = json!({ "timestamp": "2026-01-01T05:30:03.500+05:30" });
        locked.apply(&way.name, way, group, with(run("r1"), "to", to)).await;
    }
    for Door { way, topic, group } in &doors {
        locked.world.verified(&way.name, "r1").await;
        assert_eq!(locked.world.offset(group, topic).await, Some(4), "{}", way.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a01_a_member_is_named_and_waited_for_by_every_way_in() {
    let locked = SecuredWorld::new("sa01", &[]).await;
    let doors = doors(&locked).await;
    let mut members = Vec::new();
    for Door { way, topic, group } in &doors {
        members.push(Consumer::classic(&locked.world.bootstrap, group, topic, &format!("reader-{}", way.name)));
    }
    for member in &members {
        member.wait().await;
    }
    for Door { way, group, .. } in &doors {
        locked.apply(&way.name, way, group, run("r1")).await;
    }
    for Door { way, .. } in &doors {
        let status = locked.world.reaches(&way.name, "r1", Stage::Waiting, "GroupActive").await;
        let (inactive, _, message) = says(&status, "PipelineInactive");
        assert_eq!(inactive, "False");
        assert_has(message, &[&format!("1 member: reader-{} (127.0.0.1)", way.name)]);
    }
    for member in &members {
        member.leave();
    }
    for (Door { way, topic, group }, member) in doors.iter().zip(members) {
        member.stop().await;
        locked.world.verified(&way.name, "r1").await;
        assert_eq!(locked.world.offset(group, topic).await, Some(0), "{}", way.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o01_applied_again_nothing_happens_by_any_way_in() {
    let mut locked = SecuredWorld::new("so01", &[LOG_EVERY_LOOK]).await;
    let doors = doors(&locked).await;
    for Door { way, group, .. } in &doors {
        locked.apply(&way.name, way, group, run("r1")).await;
    }
    for Door { way, topic, group } in &doors {
        locked.world.verified(&way.name, "r1").await;
        kafka::commit(&locked.world.bootstrap, group, &[(topic, 0, 5, "")]).await;
    }
    for Door { way, .. } in &doors {
        locked.world.looks(&way.name, 2).await;
    }
    let writes = locked.world.writes();
    for Door { way, group, .. } in &doors {
        locked.apply(&way.name, way, group, run("r1")).await;
    }
    for Door { way, topic, group } in &doors {
        locked.world.looks(&way.name, 2).await;
        let status = locked.world.verified(&way.name, "r1").await;
        assert_eq!(reset(&status).id, "r1");
        assert!(condition(&status, "Stalled").is_none());
        assert_eq!(locked.world.offset(group, topic).await, Some(5), "{}", way.name);
    }
    assert_eq!(locked.world.writes(), writes, "writes, where nothing is written");
    assert_eq!(locked.world.all_records().await.len(), doors.len());
}
