//! P02, P03: exactly the numbers that a dry run has shown, or nothing.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::kafka;

use crate::support::requests::with;
use crate::support::status::{assert_has, reset, says};
use crate::support::world::{FIRST_RECORD_TIME, World};

fn shift(id: &str, by: i64) -> Value {
    json!({ "id": id, "quietPeriod": "0s", "to": { "shiftBy": by } })
}

fn approving(request: Value, plan: &str) -> Value {
    with(request, "approvedPlan", json!(plan))
}

impl World {
    /// The name of a dry run's record, asked by a StreamPipeline that lives only for that.
    async fn shown(&self, name: &str, group: &str, request: Value) -> String {
        let id = request["id"].as_str().expect("an id").to_owned();
        let run = with(with(request, "dryRun", json!(true)), "whenCreated", json!("Run"));
        self.apply(name, group, run).await;
        let status = self.reaches(name, &id, Stage::Planned, "PlanReady").await;
        self.delete(name).await;
        reset(&status).record_ref.clone().expect("a record").name
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p02_an_approved_plan_writes_exactly_its_numbers_wherever_log_and_group_went() {
    let world = World::new("p02").await;
    let topic = world.topic(&[10, 10]).await;
    let group = world.group(&topic, &[7, 8]).await;
    world.known("p", &group).await;
    // A preview needs no edit of the object that Git owns.
    let plan = world.shown("preview", &group, shift("look", -5)).await;
    kafka::commit(&world.bootstrap, &group, &[(&topic, 0, 9, "theirs"), (&topic, 1, 10, "")]).await;
    kafka::produce(&world.bootstrap, &topic, 0, 5, |n| FIRST_RECORD_TIME + n).await;
    world.apply("p", &group, approving(shift("r1", -5), &plan)).await;
    let status = world.verified("p", "r1").await;
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(2), Some(3)], "not 5 before where the group is now");
    let record = world.record(&status).await;
    let made = record.spec.plan.clone().expect("a plan");
    assert_eq!((made.topics[0].from.as_slice(), made.topics[0].log_end.as_slice()), ([9, 10].as_slice(), [15, 10].as_slice()));
    assert_has(made.warnings.join("; "), &[&format!("the numbers of the dry run {plan} of 20")]);
    // So that an undo leads back to where the group really was.
    let undo = json!({ "id": "u1", "quietPeriod": "0s", "to": { "undo": { "name": record.metadata.name } } });
    world.apply("p", &group, undo).await;
    world.verified("p", "u1").await;
    let back = kafka::committed(&world.bootstrap, &group, &topic, 2).await;
    assert_eq!(back, BTreeMap::from([(0, (9, "theirs".to_owned())), (1, (10, String::new()))]));
}

#[tokio::test(flavor = "multi_thread")]
async fn p03_what_an_approval_cannot_hold_is_told_and_nothing_is_written() {
    let world = World::new("p03").await;
    let topic = world.topic(&[10, 10]).await;
    let (group, other) = (world.group(&topic, &[7, 8]).await, world.group(&topic, &[1, 1]).await);
    world.known("p", &group).await;
    let plan = world.shown("mine", &group, shift("look", -5)).await;
    let theirs = world.shown("theirs", &other, json!({ "id": "look", "to": { "position": "Latest" } })).await;
    let refused = async |request: Value, told: &str| {
        let id = request["id"].as_str().expect("an id").to_owned();
        world.apply("p", &group, request).await;
        let status = world.reaches("p", &id, Stage::Failed, "PlanChanged").await;
        assert_has(says(&status, "Stalled").2, &[told, "Nothing was sent", "with a new id"]);
    };
    refused(approving(shift("absent", -5), "no-such-record"), "record no-such-record is not in this namespace").await;
    refused(approving(shift("theirs", -5), &theirs), &format!("record {theirs} is of group {other}")).await;
    refused(approving(shift("further", -6), &plan), &format!("record {plan} was asked for with another to")).await;
    let clamped = with(shift("policy", -5), "outOfRange", json!("Clamp"));
    refused(approving(clamped, &plan), "was asked for with another outOfRange").await;
    // What was shown is below the log now.
    kafka::delete_records(&world.bootstrap, &[(&topic, 1, 4)]).await;
    refused(approving(shift("gone", -5), &plan), &format!("{topic}-1 would be at 3, its log is 4 to 10")).await;
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(7), Some(8)]);
    // The record of a reset approves nothing.
    world.apply("p", &group, shift("real", -1)).await;
    let real = reset(&world.verified("p", "real").await).record_ref.clone().expect("a record").name;
    refused(approving(shift("again", -1), &real), &format!("record {real} is not of a dry run")).await;
    // A topic made anew.
    kafka::delete_topic(&world.bootstrap, &topic).await;
    kafka::create_topic(&world.bootstrap, &topic, 2, &[]).await;
    for partition in 0..2 {
        kafka::produce(&world.bootstrap, &topic, partition, 10, |n| FIRST_RECORD_TIME + n).await;
    }
    kafka::commit(&world.bootstrap, &group, &[(&topic, 0, 6, ""), (&topic, 1, 6, "")]).await;
    refused(approving(shift("anew", -5), &plan), "deleted and made anew since").await;
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(6), Some(6)]);
}
