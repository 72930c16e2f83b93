//! F03: each missing right is named with the command that grants it, and the documented rights are the fewest that work.

use serde_json::json;
use stream_pipeline_api::Stage;
use testbed::secured::{Acl, Operation, Resource};

use crate::support::requests::with;
use crate::support::secured::{SecuredWorld, Way, login, run, tls};
use crate::support::status::{assert_has, condition, says};

/// The rights that a reset needs by the documentation.
fn rights(user: &str, group: &str, topic: &str) -> [Acl; 4] {
    [(Resource::Group, group), (Resource::Topic, topic)]
        .map(|(kind, name)| [Operation::Read, Operation::Describe].map(|operation| Acl::allow(user, operation, kind, name)))
        .as_flattened()
        .to_vec()
        .try_into()
        .expect("four")
}

struct Bob {
    locked: SecuredWorld,
    user: String,
    way: Way,
    topic: String,
    group: String,
}

async fn bob(test: &str) -> Bob {
    let locked = SecuredWorld::new(test, &[]).await;
    let user = format!("{test}-bob");
    locked.user(&user, "secret", "bob").await;
    let way = Way::new("p", locked.secured.scram(), tls(), login("SCRAM-SHA-512", "bob"));
    let (topic, group) = locked.topic_and_group().await;
    Bob { locked, user, way, topic, group }
}

impl Bob {
    /// Waits with a message that names the right of this resource.
    async fn lacks(&self, id: &str, resource: &str, name: &str) -> String {
        let command =
            format!("kafka-acls --add --allow-principal User:{} --operation Read --operation Describe {resource} {name}", self.user);
        let status = self
            .locked
            .world
            .wait("p", &command, |s| {
                let of_request = s.offset_reset.as_ref().is_some_and(|r| r.id == id && r.stage == Stage::Waiting);
                of_request && condition(s, "Ready").is_some_and(|c| c.reason == "PermissionMissing" && c.message.contains(&command))
            })
            .await;
        let told = says(&status, "Ready").2.to_owned();
        println!("{resource}: {told}");
        told
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f03_without_acls_each_right_is_named_until_the_documented_ones_are_there() {
    let bob = bob("sf03").await;
    let Bob { locked, user, way, topic, group } = &bob;
    let with_topic = with(run("r1"), "topics", json!([{ "name": topic }]));
    locked.apply("p", way, group, with_topic).await;
    bob.lacks("r1", "--group", group).await;
    let [group_read, group_describe, topic_read, topic_describe] = rights(user, group, topic);
    locked.block(|s| s.grant(&[group_read, group_describe]));
    bob.lacks("r1", "--topic", topic).await;
    locked.block(|s| s.grant(&[topic_read, topic_describe]));
    let status = locked.world.verified("p", "r1").await;
    assert_eq!(says(&status, "BackendReachable").0, "True");
    assert_eq!(locked.world.offset(group, topic).await, Some(0));
}

/// Kafka hides topics that a user may not describe: the group looks as if it had no commits.
#[tokio::test(flavor = "multi_thread")]
async fn f03_a_group_whose_topics_may_not_be_seen_is_told_so() {
    let bob = bob("sf03c").await;
    let Bob { locked, user, way, topic, group } = &bob;
    let [group_read, _, topic_read, _] = rights(user, group, topic);
    locked.block(|s| s.grant(&[group_read]));
    locked.apply("p", way, group, run("r1")).await;
    let status = locked.world.reaches("p", "r1", Stage::Failed, "InvalidTarget").await;
    let message = says(&status, "Ready").2;
    assert_has(message, &["or none of topics that the operator may Describe", "add that right"]);
    assert_eq!(locked.world.offset(group, topic).await, Some(7));
    locked.block(|s| s.grant(&[topic_read]));
    locked.apply("p", way, group, run("r2")).await;
    locked.world.verified("p", "r2").await;
    assert_eq!(locked.world.offset(group, topic).await, Some(0));
}

/// With Describe alone all can be read and nothing committed; Read includes Describe.
#[tokio::test(flavor = "multi_thread")]
async fn f03_a_right_to_commit_that_is_missing_is_named_beforehand_and_two_rights_are_the_least() {
    let bob = bob("sf03b").await;
    let Bob { locked, user, way, topic, group } = &bob;
    let [group_read, group_describe, topic_read, topic_describe] = rights(user, group, topic);
    locked.block(|s| s.grant(&[group_describe.clone(), topic_read.clone()]));
    locked.apply("p", way, group, run("r1")).await;
    let refused = |resource: &str, name: &str| format!("--operation Read --operation Describe {resource} {name}");
    let told = |part: String| {
        let world = &locked.world;
        async move {
            let status = world
                .wait("p", &part, |s| condition(s, "Ready").is_some_and(|c| c.reason == "PermissionMissing" && c.message.contains(&part)))
                .await;
            println!("{}", says(&status, "Ready").2);
        }
    };
    told(refused("--group", group)).await;
    assert_eq!(locked.world.offset(group, topic).await, Some(7));
    assert_eq!(locked.world.all_records().await.len(), 0, "records, where a missing right is found before the plan");
    locked.block(|s| s.revoke(std::slice::from_ref(&topic_read)));
    locked.block(|s| s.grant(&[group_read.clone(), topic_describe.clone()]));
    told(refused("--topic", topic)).await;
    assert_eq!(locked.world.offset(group, topic).await, Some(7));
    assert_eq!(locked.world.all_records().await.len(), 0, "records, where a missing right is found before the plan");
    // The rights to describe are not needed: those to read include them.
    locked.block(|s| s.grant(std::slice::from_ref(&topic_read)));
    locked.block(|s| s.revoke(&[group_describe, topic_describe]));
    locked.world.verified("p", "r1").await;
    assert_eq!(locked.world.offset(group, topic).await, Some(0));
}
