//! D1 on the secured broker: commands and keys that a message names are run and added as they are written.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stream_pipeline_api::StreamPipelineStatus;
use testbed::kafka;
use testbed::secured::{Acl, Operation, Resource};

use crate::support::commands::{command_in, kafka_shell, succeeded, word_after};
use crate::support::requests::with;
use crate::support::secured::{SecuredWorld, Way, login, run, tls, with_certificate};
use crate::support::status::{assert_has, condition, says};
use crate::support::world::a_second_passes;

fn lacks(part: &str) -> impl Fn(&StreamPipelineStatus) -> bool + use<'_> {
    move |s| condition(s, "Ready").is_some_and(|c| c.reason == "PermissionMissing" && c.message.contains(part))
}

/// The names need quotes in a shell; the user is known from the Secret.
#[tokio::test(flavor = "multi_thread")]
async fn d1_the_commands_that_grant_a_missing_right_run_as_they_stand() {
    let locked = SecuredWorld::new("sd1", &[]).await;
    let user = "sd1 o'hara";
    locked.user(user, "secret", "own").await;
    let way = Way::new("p", locked.secured.scram(), tls(), login("SCRAM-SHA-512", "own"));
    let topic = locked.world.topic(&[10]).await;
    let group = format!("{} it's", locked.world.unique("g"));
    kafka::commit(&locked.world.bootstrap, &group, &[(&topic, 0, 7, "")]).await;
    locked.apply("p", &way, &group, with(run("r1"), "topics", json!([{ "name": topic }]))).await;
    for resource in ["--group ", "--topic "] {
        let status = locked.world.wait("p", resource, lacks(resource)).await;
        let message = says(&status, "Ready").2;
        let grant = command_in(message, "kafka-acls");
        println!("{grant}");
        succeeded(&kafka_shell(locked.world.testbed, &locked.secured.plaintext(), grant));
    }
    locked.world.verified("p", "r1").await;
    assert_eq!(locked.world.offset(&group, &topic).await, Some(0));
}

/// Only the brokers know the name of the principal: the message says where to find it.
#[tokio::test(flavor = "multi_thread")]
async fn d1_a_principal_that_the_operator_cannot_know_is_told_with_where_to_find_it() {
    let locked = SecuredWorld::new("sd2", &[]).await;
    locked.certificate("own", locked.secured.client_certificate("sd2-carol")).await;
    let way = Way::new("p", locked.secured.mtls(), with_certificate("own"), Value::Null);
    let (topic, group) = locked.topic_and_group().await;
    locked.apply("p", &way, &group, with(run("r1"), "topics", json!([{ "name": topic }]))).await;
    for resource in ["--group ", "--topic "] {
        let status = locked.world.wait("p", resource, lacks(resource)).await;
        let message = says(&status, "Ready").2;
        assert_has(message, &["User:<principal>", "the subject of its certificate", "the brokers' authorizer log"]);
        // These brokers take the common name of the subject.
        let grant = command_in(message, "kafka-acls").replace("<principal>", "sd2-carol");
        succeeded(&kafka_shell(locked.world.testbed, &locked.secured.plaintext(), &grant));
    }
    locked.world.verified("p", "r1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d1_the_secret_and_the_keys_that_a_message_names_are_added_until_it_works() {
    let locked = SecuredWorld::new("sd3", &[]).await;
    locked.let_in();
    let (_, group) = locked.topic_and_group().await;
    let way = Way::new("p", locked.secured.scram(), tls(), login("SCRAM-SHA-512", "new"));
    locked.apply("p", &way, &group, run("r1")).await;
    let values = BTreeMap::from([("username", testbed::secured::ALICE), ("password", testbed::secured::ALICE_PASSWORD)]);
    let told = |part: &'static str| move |s: &StreamPipelineStatus| condition(s, "Ready").is_some_and(|c| c.message.contains(part));
    let status = locked.world.wait("p", "the Secret to be missed", told("is not in this namespace; create it")).await;
    let secret = word_after(says(&status, "Ready").2, "Secret ").to_owned();
    locked.world.secret(&secret, json!({ "stray": "x" })).await;
    let mut has = serde_json::Map::new();
    for key in ["username", "password"] {
        let part: &'static str = if key == "username" { "has no key username" } else { "has no key password" };
        let status = locked.world.wait("p", part, told(part)).await;
        let message = says(&status, "Ready").2;
        assert_has(message, &["add it"]);
        let key = word_after(message, "has no key ");
        has.insert(key.to_owned(), json!(values[key]));
        locked.world.secret(&secret, json!(has)).await;
    }
    locked.world.verified("p", "r1").await;
}

/// B6: two objects of one group, whose users may see different topics: each has a quiet period of its own.
#[tokio::test(flavor = "multi_thread")]
async fn b6_what_one_principal_sees_is_no_movement_to_another_that_sees_other_topics() {
    let locked = SecuredWorld::new("sb6", &["--recheck-idle=500ms", "--recheck-waiting=500ms"]).await;
    let topics = [locked.world.topic(&[10]).await, locked.world.topic(&[10]).await];
    let group = locked.world.unique("g");
    kafka::commit(&locked.world.bootstrap, &group, &[(&topics[0], 0, 7, ""), (&topics[1], 0, 8, "")]).await;
    let mut ways = Vec::new();
    for (user, sees) in [("sb6-one", &topics[..1]), ("sb6-both", &topics[..])] {
        locked.user(user, "secret", user).await;
        let of_group = Acl::allow(user, Operation::Read, Resource::Group, &group);
        let of_topics = sees.iter().map(|topic| Acl::allow(user, Operation::Read, Resource::Topic, topic));
        let acls: Vec<Acl> = of_topics.chain([of_group]).collect();
        locked.block(|s| s.grant(&acls));
        let way = Way::new(user, locked.secured.scram(), tls(), login("SCRAM-SHA-512", user));
        locked.apply(user, &way, &group, Value::Null).await;
        locked.world.wait(user, "the operator to see the object", |s| s.cluster_id.is_some()).await;
        // Ages are whole seconds; of the same one, the first by name would be the older.
        a_second_passes().await;
        ways.push(way);
    }
    // The operator looks at both in turn: the other topics of one must not look like a movement to the other.
    let asked = |id: &str| with(with(run(id), "quietPeriod", json!("4s")), "waitTimeout", json!("80s"));
    for (way, topic) in ways.iter().zip(&topics).rev() {
        // The older one resets; the younger one makes a dry run.
        let older = way.name == "sb6-one";
        let request = if older { asked("r1") } else { with(asked("r1"), "dryRun", json!(true)) };
        locked.apply(&way.name, way, &group, request).await;
        assert!(topic.contains("sb6"));
    }
    let moving = |s: &StreamPipelineStatus| s.conditions.iter().any(|c| c.reason == "OffsetsMoving");
    let status = locked.world.wait("sb6-one", "an end, or a movement that is none", |s| {
        moving(s) || s.offset_reset.as_ref().is_some_and(|r| r.stage.is_final())
    });
    let status = status.await;
    assert!(!moving(&status), "expected no movement to be told: {status:?}");
    locked.world.verified("sb6-one", "r1").await;
    assert_eq!(locked.world.offset(&group, &topics[0]).await, Some(0), "the topic that the user sees");
    assert_eq!(locked.world.offset(&group, &topics[1]).await, Some(8), "the topic that the user does not see");
}
