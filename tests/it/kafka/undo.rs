//! K12 to K14, K23, K33, K34: back to where a reset started from.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stream_pipeline_api::{Action, Stage};
use testbed::consumer::Consumer;
use testbed::kafka;
use testbed::secured::{Acl, Operation, Resource};
use testbed::trap::Side;

use crate::support::calls::is_deletion;
use crate::support::proxied::ProxiedWorld;
use crate::support::requests::with;
use crate::support::secured::{SecuredWorld, Way, login, run, tls};
use crate::support::status::{assert_has, reset, says};
use crate::support::world::{FIRST_RECORD_TIME, PATIENT, World};

fn undo(id: &str, record: &str) -> Value {
    json!({ "id": id, "quietPeriod": "0s", "to": { "undo": { "name": record } } })
}

fn quick(id: &str, to: Value) -> Value {
    json!({ "id": id, "quietPeriod": "0s", "to": to })
}

impl World {
    /// The name of the record of a request that ends Verified.
    async fn done(&self, name: &str, group: &str, request: Value) -> String {
        let id = request["id"].as_str().expect("an id").to_owned();
        self.apply(name, group, request).await;
        let status = self.verified(name, &id).await;
        reset(&status).record_ref.clone().expect("a record").name
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k12_an_undo_restores_offsets_and_metadata_and_can_be_undone_itself() {
    let world = World::new("k12").await;
    let topic = world.topic(&[10, 10, 10]).await;
    let group = world.unique("g");
    kafka::commit(&world.bootstrap, &group, &[(&topic, 0, 7, "theirs \u{e9} {\"a\":1}"), (&topic, 1, 3, ""), (&topic, 2, 10, "z")]).await;
    let before = kafka::committed(&world.bootstrap, &group, &topic, 3).await;
    world.known("p", &group).await;
    let first = world.done("p", &group, quick("r1", json!({ "position": "Earliest" }))).await;
    let after = kafka::committed(&world.bootstrap, &group, &topic, 3).await;
    assert_eq!(after, (0..3).map(|p| (p, (0, String::new()))).collect::<BTreeMap<_, _>>());
    // Shown first, with what it costs.
    world.apply("p", &group, with(undo("shown", &first), "dryRun", json!(true))).await;
    let status = world.reaches("p", "shown", Stage::Planned, "PlanReady").await;
    let plan = world.record(&status).await.spec.plan.expect("a plan");
    assert_eq!(plan.topics[0].to, [7, 3, 10]);
    assert_eq!(plan.totals.as_ref().map(|t| (t.replayed, t.skipped)), Some((0, 20)));
    assert_has(plan.warnings.join("; "), &[&format!("back to where record {first} of 20")]);
    let second = world.done("p", &group, undo("u1", &first)).await;
    assert_eq!(kafka::committed(&world.bootstrap, &group, &topic, 3).await, before, "as it was before r1, metadata too");
    // An undo has a record of its own, which leads back to where r1 had put the group.
    assert_ne!(first, second);
    let third = world.done("p", &group, undo("u2", &second)).await;
    assert_eq!(kafka::committed(&world.bootstrap, &group, &topic, 3).await, after);
    // The first record still says where the group was once.
    world.done("p", &group, undo("u3", &first)).await;
    assert_eq!(kafka::committed(&world.bootstrap, &group, &topic, 3).await, before);
    // Another StreamPipeline of the group may undo it too, once the first is gone.
    world.delete("p").await;
    world.known("q", &group).await;
    world.done("q", &group, undo("u4", &third)).await;
    assert_eq!(kafka::committed(&world.bootstrap, &group, &topic, 3).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn k12_what_cannot_be_undone_is_refused_in_its_own_words_and_nothing_moves() {
    let world = World::new("k12b").await;
    let topic = world.topic(&[10]).await;
    let (group, other) = (world.group(&topic, &[7]).await, world.group(&topic, &[5]).await);
    world.known("p", &group).await;
    world.known("other", &other).await;
    let theirs = world.done("other", &other, quick("r1", json!({ "position": "Earliest" }))).await;
    world.apply("p", &group, with(quick("dry", json!({ "position": "Earliest" })), "dryRun", json!(true))).await;
    let dry = reset(&world.reaches("p", "dry", Stage::Planned, "PlanReady").await).record_ref.clone().expect("a record").name;
    for (id, record, says_so) in [
        ("absent", "no-such-record", "record no-such-record is not in this namespace".to_owned()),
        ("theirs", theirs.as_str(), format!("record {theirs} is of group {other} of cluster ")),
        ("dry-too", dry.as_str(), format!("record {dry} is of a dry run, which moved nothing")),
    ] {
        world.apply("p", &group, undo(id, record)).await;
        let status = world.reaches("p", id, Stage::Failed, "InvalidTarget").await;
        assert_has(says(&status, "Stalled").2, &["spec.offsetReset.to.undo", &says_so, "Nothing was sent", "with a new id"]);
    }
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(7)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn k34_metadata_of_an_application_is_kept_in_the_record_and_told_before_it_is_dropped() {
    let world = World::new("k34").await;
    let topic = world.topic(&[10, 10, 10]).await;
    let (group, long) = (world.unique("g"), "m".repeat(3 * 1024));
    kafka::commit(&world.bootstrap, &group, &[(&topic, 0, 7, &long), (&topic, 1, 3, &long), (&topic, 2, 5, "")]).await;
    let before = kafka::committed(&world.bootstrap, &group, &topic, 3).await;
    world.known("p", &group).await;
    let shown = with(quick("look", json!({ "position": "Earliest" })), "dryRun", json!(true));
    world.apply("p", &group, shown).await;
    let status = world.reaches("p", "look", Stage::Planned, "PlanReady").await;
    let says_so = format!("committed metadata is kept in this record and dropped from the group: {topic}-0, {topic}-1");
    assert_eq!(world.record(&status).await.spec.plan.expect("a plan").warnings, [says_so.as_str()]);
    assert_has(says(&status, "Ready").2, &[&says_so]);
    let record = world.done("p", &group, quick("r1", json!({ "position": "Earliest" }))).await;
    assert_eq!(world.record_named(&record).await.spec.plan.expect("a plan").topics[0].from_metadata, [long.as_str(), &long, ""]);
    world.done("p", &group, undo("u1", &record)).await;
    assert_eq!(kafka::committed(&world.bootstrap, &group, &topic, 3).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn k13_an_undo_over_a_topic_made_anew_writes_nothing() {
    let world = World::new("k13").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    let record = world.done("p", &group, quick("r1", json!({ "position": "Earliest" }))).await;
    kafka::delete_topic(&world.bootstrap, &topic).await;
    kafka::create_topic(&world.bootstrap, &topic, 1, &[]).await;
    kafka::produce(&world.bootstrap, &topic, 0, 10, |n| FIRST_RECORD_TIME + n).await;
    kafka::commit(&world.bootstrap, &group, &[(&topic, 0, 2, "")]).await;
    world.apply("p", &group, undo("u1", &record)).await;
    let status = world.reaches("p", "u1", Stage::Failed, "TopicRecreated").await;
    assert_has(says(&status, "Stalled").2, &[&format!("record {record} is of topics that were deleted and made anew since: {topic}")]);
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(2)]);
    // Gone for good.
    kafka::delete_topic(&world.bootstrap, &topic).await;
    world.apply("p", &group, with(undo("u2", &record), "missingGroup", json!("Create"))).await;
    world.reaches("p", "u2", Stage::Failed, "PartitionNotFound").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k14_an_undo_to_below_the_log_start_fails_or_is_clamped_as_asked() {
    let world = World::new("k14").await;
    let topic = world.topic(&[10, 10]).await;
    let group = world.unique("g");
    kafka::commit(&world.bootstrap, &group, &[(&topic, 0, 2, "theirs"), (&topic, 1, 8, "theirs")]).await;
    world.known("p", &group).await;
    let record = world.done("p", &group, quick("r1", json!({ "position": "Latest" }))).await;
    kafka::delete_records(&world.bootstrap, &[(&topic, 0, 5)]).await;
    world.apply("p", &group, undo("u1", &record)).await;
    let status = world.reaches("p", "u1", Stage::Failed, "OutOfRange").await;
    assert_has(says(&status, "Stalled").2, &[&format!("{topic}-0 would be at 2, its log is 5 to 10"), "outOfRange: Clamp"]);
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(10), Some(10)]);
    world.done("p", &group, with(undo("u2", &record), "outOfRange", json!("Clamp"))).await;
    let back = kafka::committed(&world.bootstrap, &group, &topic, 2).await;
    assert_eq!(back, BTreeMap::from([(0, (5, String::new())), (1, (8, "theirs".to_owned()))]), "metadata stays where the offset does");
}

#[tokio::test(flavor = "multi_thread")]
async fn k23_an_undo_deletes_a_commit_that_was_not_there_after_the_others_are_in_place() {
    let world = World::new("k23").await;
    let topic = world.topic(&[10, 10, 10]).await;
    let group = world.unique("g");
    kafka::commit(&world.bootstrap, &group, &[(&topic, 1, 4, "")]).await;
    world.known("p", &group).await;
    let record = world.done("p", &group, quick("r1", json!({ "position": "Earliest" }))).await;
    assert_eq!(world.offsets(&group, &topic, 3).await, [Some(0), Some(0), Some(0)]);
    // Whoever has no commit any more, needs none deleted.
    let second = world.done("p", &group, undo("u1", &record)).await;
    assert_eq!(world.offsets(&group, &topic, 3).await, [None, Some(4), None]);
    let plan = world.record_named(&second).await.spec.plan.expect("a plan");
    assert_eq!(plan.topics[0].action, [Action::Delete, Action::Commit, Action::Delete]);
    let status = world.verified("p", "u1").await;
    assert_has(says(&status, "OffsetsReset").2, &["3 of 3 partitions read back as planned"]);
    world.apply("p", &group, undo("u2", &record)).await;
    let third = reset(&world.verified("p", "u2").await).record_ref.clone().expect("a record").name;
    let plan = world.record_named(&third).await.spec.plan.expect("a plan");
    assert_eq!(plan.topics[0].action, [Action::Keep, Action::Commit, Action::Keep]);
    // The undo of a deletion brings the commit back.
    world.done("p", &group, undo("u3", &second)).await;
    assert_eq!(world.offsets(&group, &topic, 3).await, [Some(0), Some(0), Some(0)]);
}

/// A reset of a group that had a commit for partition 1 only, and its record.
async fn from_one_commit(proxied: &mut ProxiedWorld) -> String {
    let topic = proxied.world.topic(&[10, 10, 10]).await;
    let group = proxied.world.unique("g");
    kafka::commit(&proxied.world.bootstrap, &group, &[(&topic, 1, 4, "")]).await;
    (proxied.name, proxied.topic, proxied.group) = ("p".to_owned(), topic, group);
    proxied.world.known("p", &proxied.group).await;
    proxied.world.done("p", &proxied.group, quick("r1", json!({ "position": "Earliest" }))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn k23_killed_between_commit_and_deletion_it_is_held_and_a_retry_does_the_rest() {
    let mut proxied = ProxiedWorld::without_operator("k23k").await;
    proxied.restart_with(&[]);
    let record = from_one_commit(&mut proxied).await;
    proxied.traps.arm(Side::Before, is_deletion);
    proxied.world.apply("p", &proxied.group, undo("u1", &record)).await;
    proxied.traps.sprung().await;
    proxied.crash();
    let status = proxied.world.reaches("p", "u1", Stage::Held, "OutcomeUnknown").await;
    assert_has(says(&status, "Ready").2, &["1 of 3 partitions at their target, 2 as before, 0 elsewhere"]);
    assert_eq!(proxied.offsets().await, [Some(0), Some(4), Some(0)]);
    let retry = with(undo("u1", &record), "onUnknownOutcome", json!("Retry"));
    proxied.world.done("p", &proxied.group, retry).await;
    assert_eq!(proxied.offsets().await, [None, Some(4), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn k23_a_member_that_joins_between_commit_and_deletion_keeps_its_commits() {
    let mut proxied = ProxiedWorld::without_operator("k23m").await;
    proxied.restart_with(&PATIENT);
    let record = from_one_commit(&mut proxied).await;
    proxied.traps.arm(Side::Before, is_deletion);
    proxied.world.apply("p", &proxied.group, undo("u1", &record)).await;
    proxied.traps.sprung().await;
    let member = Consumer::classic(&proxied.world.bootstrap, &proxied.group, &proxied.topic, "member");
    member.wait().await;
    proxied.traps.release();
    let status = proxied.world.reaches("p", "u1", Stage::Held, "PartlyApplied").await;
    assert_has(says(&status, "Ready").2, &[&format!("{}-0", proxied.topic), "a member joined"]);
    let failures = proxied.world.record(&status).await.status.expect("it is closed").failures;
    assert_eq!(failures.len(), 2, "{failures:?}");
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn k33_a_group_that_vanishes_with_its_last_commit_is_verified_and_can_be_brought_back() {
    let mut proxied = ProxiedWorld::without_operator("k33").await;
    proxied.restart_with(&PATIENT);
    let topic = proxied.world.topic(&[10, 10]).await;
    let (group, world) = (proxied.world.unique("g"), &proxied.world);
    world.known("p", &group).await;
    let topics = json!([{ "name": topic }]);
    let create = with(with(quick("r1", json!({ "position": "Latest" })), "topics", topics), "missingGroup", json!("Create"));
    let record = world.done("p", &group, create).await;
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(10), Some(10)]);
    // Its commits are gone, and then so is the group, before it is read back.
    proxied.traps.arm(Side::After, is_deletion);
    world.apply("p", &group, undo("u1", &record)).await;
    proxied.traps.sprung().await;
    kafka::delete_group(&world.bootstrap, &group).await;
    proxied.traps.release();
    let status = world.verified("p", "u1").await;
    let second = world.record(&status).await;
    let warnings = second.spec.plan.clone().expect("a plan").warnings.join("; ");
    assert_has(warnings, &["there the consumer begins where its auto.offset.reset says", &format!("{topic}-0, {topic}-1")]);
    assert_eq!(world.offsets(&group, &topic, 2).await, [None, None]);
    // It does not exist any more, so bringing it back says so.
    let second = second.metadata.name.expect("a name");
    world.apply("p", &group, undo("u2", &second)).await;
    world.reaches("p", "u2", Stage::Failed, "PipelineNotFound").await;
    world.done("p", &group, with(undo("u3", &second), "missingGroup", json!("Create"))).await;
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(10), Some(10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn k33_a_missing_right_to_delete_is_told_before_anything_is_sent() {
    let locked = SecuredWorld::new("k33s", &[]).await;
    let user = "k33s-bob";
    locked.user(user, "secret", "bob").await;
    let way = Way::new("p", locked.secured.scram(), tls(), login("SCRAM-SHA-512", "bob"));
    let (topic, _) = locked.topic_and_group().await;
    let group = locked.world.unique("g");
    let rights = [(Resource::Group, &group), (Resource::Topic, &topic)]
        .map(|(kind, name)| [Operation::Read, Operation::Describe].map(|operation| Acl::allow(user, operation, kind, name)));
    locked.block(|s| s.grant(rights.as_flattened()));
    let create = with(with(run("r1"), "topics", json!([{ "name": topic }])), "missingGroup", json!("Create"));
    locked.apply("p", &way, &group, create).await;
    let record = reset(&locked.world.verified("p", "r1").await).record_ref.clone().expect("a record").name;
    locked.apply("p", &way, &group, undo("u1", &record)).await;
    let status = locked.world.reaches("p", "u1", Stage::Waiting, "PermissionMissing").await;
    let add = format!("kafka-acls --add --allow-principal User:{user} --operation Delete --group {group}");
    assert_has(says(&status, "Ready").2, &["deletes commits that were not there before", "nothing was sent", &add]);
    assert_eq!(locked.world.records_of("p").await.len(), 1, "nothing was written ahead");
    locked.block(|s| s.grant(&[Acl::allow(user, Operation::Delete, Resource::Group, &group)]));
    locked.world.verified("p", "u1").await;
}
