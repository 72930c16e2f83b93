//! A18, B10, F05, F20, F21: passwords, tokens, CAs and Secrets that are rotated or come late are picked up without a restart.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use stream_pipeline_api::Stage;
use testbed::consumer::{Consumer, Member};
use testbed::eventually;
use testbed::secured::{ALICE, ALICE_PASSWORD, CLIENT_ID};

use crate::support::secured::{SecuredWorld, Way, login, mint, oauth, run, tls};
use crate::support::status::{assert_has, condition, says};
use crate::support::world::{LIMIT, LOG_EVERY_LOOK};

#[tokio::test(flavor = "multi_thread")]
async fn f05_a_password_that_is_changed_is_picked_up_without_a_restart() {
    let locked = SecuredWorld::new("sf05", &[]).await;
    let user = "sf05-carol";
    locked.user(user, "one", "carol").await;
    locked.let_user_in(user, "sf05-");
    let (topic, world) = (locked.world.topic(&[10]).await, &locked.world);
    let group = world.group(&topic, &[7]).await;
    let way = Way::new("p", locked.secured.scram(), tls(), login("SCRAM-SHA-512", "carol"));
    locked.apply("p", &way, &group, run("r1")).await;
    world.verified("p", "r1").await;
    locked.user(user, "two", "carol").await;
    // The client that is connected stays connected.
    world.move_group(&group, &topic, 5).await;
    locked.apply("p", &way, &group, run("r2")).await;
    world.verified("p", "r2").await;
    assert_eq!(world.offset(&group, &topic).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_the_old_and_the_new_ca_are_trusted_under_two_keys_and_as_a_bundle() {
    let locked = SecuredWorld::new("sf21", &[]).await;
    let (old, new) = (locked.secured.ca_pem(), locked.secured.second_ca_pem());
    locked.world.secret("keys", json!({ "old.crt": old, "new.pem": new })).await;
    locked.world.secret("bundle", json!({ "ca.crt": format!("{old}{new}") })).await;
    let mut all = Vec::new();
    for secret in ["keys", "bundle"] {
        for (at, which) in [(locked.secured.ssl(), "old"), (locked.secured.second_ca(), "new")] {
            let (topic, group) = locked.topic_and_group().await;
            let tls = json!({ "ca": { "secretKeyRef": { "name": secret } } });
            let way = Way::new(&format!("{secret}-{which}"), at, tls, Value::Null);
            locked.apply(&way.name, &way, &group, run("r1")).await;
            all.push((way.name, topic, group));
        }
    }
    for (name, topic, group) in all {
        locked.world.verified(&name, "r1").await;
        assert_eq!(locked.world.offset(&group, &topic).await, Some(0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_a_password_that_ends_with_a_line_break_is_told_so() {
    let locked = SecuredWorld::new("sf21b", &[]).await;
    locked.let_in();
    locked.world.secret("broken", json!({ "username": ALICE, "password": format!("{ALICE_PASSWORD}\n") })).await;
    let (_, group) = locked.topic_and_group().await;
    let way = Way::new("p", locked.secured.scram(), tls(), login("SCRAM-SHA-512", "broken"));
    locked.apply("p", &way, &group, run("r1")).await;
    let status = locked.world.reaches("p", "r1", Stage::Waiting, "AuthenticationFailed").await;
    let message = says(&status, "Ready").2;
    assert_has(message, &["the value ends with a line break", "spec.kafka.sasl.credentialsSecretRef"]);
    locked.world.secret("broken", json!({ "username": ALICE, "password": ALICE_PASSWORD })).await;
    locked.world.verified("p", "r1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f20_tokens_are_renewed_while_nothing_is_asked_and_a_reset_works_after_that() {
    let locked = SecuredWorld::new("sf20", &[]).await;
    locked.let_in();
    let (url, given) = mint(locked.secured, |s| s.tokens().issue(CLIENT_ID, Duration::from_secs(5))).await;
    let (topic, group) = locked.topic_and_group().await;
    let way = Way::new("p", locked.secured.oauth(), tls(), oauth(&url, "token-client"));
    locked.apply("p", &way, &group, run("r1")).await;
    locked.world.verified("p", "r1").await;
    let had = given.load(Ordering::Relaxed);
    eventually("three more tokens", LIMIT, async || match given.load(Ordering::Relaxed) - had {
        n if n >= 3 => Ok(()),
        n => Err(n.to_string()),
    })
    .await;
    locked.world.move_group(&group, &topic, 5).await;
    locked.apply("p", &way, &group, run("r2")).await;
    let status = locked.world.verified("p", "r2").await;
    assert_eq!(locked.world.offset(&group, &topic).await, Some(0));
    assert_eq!(says(&status, "BackendReachable").0, "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn a18_a_static_member_is_said_to_leave_by_itself() {
    let locked = SecuredWorld::new("sa18", &[]).await;
    let (topic, group) = locked.topic_and_group().await;
    let member = Member { group: &group, topic: &topic, client_id: "reader", kip848: false, instance_id: Some("turbine-1") };
    let consumer = Consumer::member(&locked.world.bootstrap, &member);
    consumer.wait().await;
    // The process is gone, and the static member stays until its session times out.
    consumer.stop().await;
    let way = Way::new("p", locked.secured.ssl(), tls(), Value::Null);
    locked.apply("p", &way, &group, run("r1")).await;
    let status = locked.world.reaches("p", "r1", Stage::Waiting, "GroupActive").await;
    let message = says(&status, "Ready").2;
    println!("{message}");
    assert_has(message, &["static members (turbine-1) leave by themselves at their session time-out"]);
    assert!(!message.contains("Stop them"), "expected no advice to stop members that leave by themselves: {message}");
    let status = locked.world.verified("p", "r1").await;
    assert!(condition(&status, "Stalled").is_none());
    assert_eq!(locked.world.offset(&group, &topic).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn f05_a_secret_for_brokers_that_is_missing_or_lacks_a_key_is_named_and_read_when_it_is_put_right() {
    let locked = SecuredWorld::new("sf05", &[]).await;
    locked.let_in();
    let (topic, group) = locked.topic_and_group().await;
    let way = Way::new("p", locked.secured.scram(), tls(), login("SCRAM-SHA-512", "later"));
    locked.apply("p", &way, &group, run("r1")).await;
    let told = async |part: &str| {
        let status = locked.world.wait("p", part, |s| condition(s, "Ready").is_some_and(|c| c.message.contains(part))).await;
        assert_eq!(says(&status, "Ready").1, "SecretNotFound", "{status:?}");
    };
    told("Secret later is not in this namespace").await;
    locked.world.secret("later", json!({ "username": ALICE, "pass": ALICE_PASSWORD })).await;
    told("Secret later has no key password").await;
    locked.world.secret("later", json!({ "username": ALICE, "password": ALICE_PASSWORD })).await;
    locked.world.verified("p", "r1").await;
    assert_eq!(locked.world.offset(&group, &topic).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn b10_a_secret_that_appears_late_is_seen_within_ten_seconds() {
    let mut locked = SecuredWorld::new("sb10", &[LOG_EVERY_LOOK, "--recheck-waiting=2s", "--max-backoff=10m"]).await;
    locked.let_in();
    let (_, group) = locked.topic_and_group().await;
    let way = Way::new("p", locked.secured.scram(), tls(), login("SCRAM-SHA-512", "later"));
    locked.apply("p", &way, &group, run("r1")).await;
    locked.world.reaches("p", "r1", Stage::Waiting, "SecretNotFound").await;
    // After so many tries a back-off that doubles would be longer than a minute.
    locked.world.looks("p", 7).await;
    locked.world.secret("later", json!({ "username": ALICE, "password": ALICE_PASSWORD })).await;
    let begun = std::time::Instant::now();
    locked.world.verified("p", "r1").await;
    // Ten seconds, a few for which a Secret is cached, and some for a busy machine.
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
}
