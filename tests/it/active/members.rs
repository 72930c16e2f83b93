//! A01, A02, A03, A14: members of the group are named and waited for; nothing is moved while they are there.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use stream_pipeline_api::{Phase, Stage, StreamPipelineStatus};
use testbed::consumer::Consumer;

use crate::support::status::{assert_has, condition, is, reset, says};
use crate::support::world::World;

type Join = fn(&str, &str, &str, &str) -> Consumer;

/// Two members that leave one after the other are named and waited for; then the reset starts by itself.
async fn members_are_waited_for(test: &str, join: Join) {
    let world = World::new(test).await;
    let topic = world.topic(&[10, 10]).await;
    let group = world.group(&topic, &[7, 8]).await;
    world.known("p", &group).await;
    let (one, two) = (format!("{test}-one"), format!("{test}-two"));
    let first = join(&world.bootstrap, &group, &topic, &one);
    let second = join(&world.bootstrap, &group, &topic, &two);
    first.wait().await;
    second.wait().await;
    world.apply("p", &group, json!({ "id": "r1", "quietPeriod": "1s", "to": { "position": "Earliest" } })).await;
    let names = |s: &StreamPipelineStatus, members: &str, who: &[&str]| {
        condition(s, "PipelineInactive").is_some_and(|c| {
            let all = who.iter().all(|w| c.message.contains(&format!("{w} (127.0.0.1)")));
            c.status == "False" && c.reason == "GroupActive" && c.message.starts_with(members) && all
        })
    };
    let status = world.wait("p", "both members to be named", |s| s.offset_reset.is_some() && names(s, "2 members: ", &[&one, &two])).await;
    assert_eq!((status.phase, reset(&status).stage), (Some(Phase::Running), Stage::Waiting));
    let (ready, reason, message) = says(&status, "Ready");
    assert_eq!((ready, reason), ("False", "GroupActive"));
    assert_has(message, &["Stop them; the reset starts by itself. Waits until 20"]);
    assert_eq!((says(&status, "Reconciling").0, says(&status, "OffsetsReset").0), ("True", "False"));
    assert!(condition(&status, "Stalled").is_none(), "expected no Stalled where the request goes on by itself");
    let error = reset(&status).error.as_ref().expect("why it waits");
    assert!(error.retryable && error.code.is_none(), "expected an error that heals by itself, without a code of the platform: {error:?}");
    first.stop().await;
    world.wait("p", "the member that is left to be named", |s| names(s, "1 member: ", &[&two])).await;
    assert!(world.all_records().await.is_empty(), "expected no record while a member is there");
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(7), Some(8)]);
    second.stop().await;
    let status = world.verified("p", "r1").await;
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(0), Some(0)]);
    assert_eq!(says(&status, "PipelineInactive").0, "True");
    assert!(condition(&status, "Reconciling").is_none());
    assert_eq!(world.all_records().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a01_a_classic_member_is_waited_for_and_named() {
    members_are_waited_for("a01", Consumer::classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a02_a_kip848_member_is_waited_for_and_named() {
    members_are_waited_for("a02", Consumer::kip848).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a03_when_active_fail_ends_at_once_and_nothing_is_written() {
    let world = World::new("a03").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    let ask = |id: &str| json!({ "id": id, "quietPeriod": "1s", "whenActive": "Fail", "to": { "position": "Earliest" } });
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "a03-member");
    member.wait().await;
    world.apply("p", &group, ask("r1")).await;
    let status = world.reaches("p", "r1", Stage::Failed, "GroupActive").await;
    let (stalled, reason, message) = says(&status, "Stalled");
    assert_eq!((stalled, reason), ("True", "GroupActive"));
    assert_has(message, &["1 member: a03-member (127.0.0.1)", "nothing was sent"]);
    assert!(!message.contains("starts by itself"), "it does not: {message}");
    assert_eq!((says(&status, "Ready").0, says(&status, "OffsetsReset").0), ("False", "False"));
    assert!(condition(&status, "Reconciling").is_none());
    assert!(!reset(&status).error.as_ref().expect("an error").retryable);
    // The request has ended: that the group is at rest now starts nothing.
    member.stop().await;
    world.wait("p", "the group to be seen at rest", |s| is(s, "PipelineInactive", "True")).await;
    world.decides_twice("p").await;
    world.reaches("p", "r1", Stage::Failed, "GroupActive").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(7)]);
    assert!(world.all_records().await.is_empty());
    // A consumer without a member is active too.
    let assigned = Consumer::assigned(&world.bootstrap, &group, &topic, 0, Duration::from_millis(200));
    assigned.wait().await;
    let mut slow = ask("r2");
    slow["quietPeriod"] = json!("10s");
    world.apply("p", &group, slow).await;
    let status = world.reaches("p", "r2", Stage::Failed, "OffsetsMoving").await;
    assert_eq!(says(&status, "Stalled").0, "True");
    assert!(world.all_records().await.is_empty());
    assigned.stop().await;
    // With the group at rest a new request runs.
    let mut at_once = ask("r3");
    at_once["quietPeriod"] = json!("0s");
    world.apply("p", &group, at_once).await;
    world.verified("p", "r3").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a14_a_wait_that_nothing_ends_times_out_and_a_new_id_asks_again() {
    let world = World::new("a14").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "a14-member");
    member.wait().await;
    world.apply("p", &group, json!({ "id": "r1", "quietPeriod": "1s", "waitTimeout": "5s", "to": { "position": "Earliest" } })).await;
    let status = world.reaches("p", "r1", Stage::Failed, "WaitTimedOut").await;
    let (stalled, reason, message) = says(&status, "Stalled");
    assert_eq!((stalled, reason), ("True", "WaitTimedOut"));
    assert_has(message, &["waitTimeout (5 s) passed; nothing was sent. Last seen: GroupActive: 1 member: a14-member (127.0.0.1)"]);
    assert_has(message, &["A new id asks again"]);
    assert_eq!((says(&status, "Ready").0, says(&status, "OffsetsReset").0), ("False", "False"));
    assert!(condition(&status, "Reconciling").is_none());
    let told = reset(&status);
    let (accepted, deadline) = (told.accepted_at.expect("accepted"), told.deadline.expect("a deadline"));
    assert_eq!(deadline.duration_since(accepted), SignedDuration::from_secs(5));
    assert!(!told.error.as_ref().expect("an error").retryable);
    member.stop().await;
    world.wait("p", "the group to be seen at rest", |s| is(s, "PipelineInactive", "True")).await;
    world.decides_twice("p").await;
    world.reaches("p", "r1", Stage::Failed, "WaitTimedOut").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(7)]);
    assert!(world.all_records().await.is_empty());
    world.apply("p", &group, json!({ "id": "r2", "quietPeriod": "1s", "waitTimeout": "80s", "to": { "position": "Earliest" } })).await;
    world.verified("p", "r2").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
}
