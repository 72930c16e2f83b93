//! A15: a group counts as at rest once it was seen so for the quiet period, without a gap.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use stream_pipeline_api::{Stage, StreamPipelineStatus};
use testbed::consumer::Consumer;
use testbed::eventually;

use crate::support::status::{assert_has, condition, reset, says};
use crate::support::world::{LIMIT, World};

#[tokio::test(flavor = "multi_thread")]
async fn a15_a_rolling_redeploy_is_not_taken_for_inactive() {
    let world = World::new("a15").await;
    let (topic, group) = world.known_at_7_of_10("p").await;
    let ask = |quiet: &str| -> Value { json!({ "id": "r1", "quietPeriod": quiet, "to": { "position": "Earliest" } }) };
    let mut member = Consumer::classic(&world.bootstrap, &group, &topic, "a15-0");
    member.wait().await;
    world.apply("p", &group, ask("60s")).await;
    world.reaches("p", "r1", Stage::Waiting, "GroupActive").await;
    for n in 1..=3 {
        member.stop().await;
        // The operator has seen the group without members: this is the gap between two rollouts.
        let status = world.reaches("p", "r1", Stage::Waiting, "QuietPeriod").await;
        assert_has(says(&status, "Ready").2, &["watching for 60 s"]);
        member = Consumer::classic(&world.bootstrap, &group, &topic, &format!("a15-{n}"));
        member.wait().await;
        let name = format!("a15-{n} (127.0.0.1)");
        let named =
            |s: &StreamPipelineStatus| condition(s, "Ready").is_some_and(|c| c.reason == "GroupActive" && c.message.contains(&name));
        world.wait("p", "the new member to be named", named).await;
        assert!(world.all_records().await.is_empty());
        assert_eq!(world.offsets(&group, &topic, 1).await, [Some(7)]);
    }
    // The quiet period can be shortened while the request waits.
    let status = world.reaches("p", "r1", Stage::Waiting, "GroupActive").await;
    world.apply("p", &group, ask("2s")).await;
    let stopping = Timestamp::now();
    member.stop().await;
    let done = world.verified("p", "r1").await;
    assert_eq!(reset(&done).accepted_at, reset(&status).accepted_at);
    let waited = world.record(&done).await.spec.created_at.duration_since(stopping);
    assert!(waited >= SignedDuration::from_secs(2), "planned {waited} after the last member left");
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
}

/// The operator looked long ago and looks now, and both times the group is at rest; in between a member came and went.
#[tokio::test(flavor = "multi_thread")]
async fn a15_two_looks_far_apart_do_not_make_a_quiet_period() {
    let mut world = World::without_operator("a15far").await;
    world.start_operator_with(&["--recheck-idle=10m"]);
    let (topic, group) = world.known_at_7_of_10("p").await;
    let seen = Instant::now();
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "a15far-member");
    member.wait().await;
    let aged = "the operator's last look to be older than the quiet period";
    eventually(aged, LIMIT, async || if seen.elapsed() > Duration::from_secs(6) { Ok(()) } else { Err(String::new()) }).await;
    let stopping = Timestamp::now();
    member.stop().await;
    world.apply("p", &group, json!({ "id": "r1", "quietPeriod": "5s", "to": { "position": "Earliest" } })).await;
    let status = world.verified("p", "r1").await;
    let waited = world.record(&status).await.spec.created_at.duration_since(stopping);
    assert!(waited >= SignedDuration::from_secs(5), "planned {waited} after the last member left, quietPeriod is 5 s");
}

/// Quiet periods shorter than the delay between two looks must end too, for many groups at once.
#[tokio::test(flavor = "multi_thread")]
async fn short_quiet_periods_end_for_many_groups_at_once() {
    let mut world = World::without_operator("short").await;
    world.start_operator_with(&["--recheck-waiting=3s", "--recheck-idle=4s"]);
    let topic = world.topic(&[10]).await;
    let periods = ["1s", "2s", "3s", "1500ms", "2500ms", "1100ms"];
    let mut names = Vec::new();
    for n in 0..12 {
        let (name, group) = (format!("p{n}"), world.group(&topic, &[7]).await);
        let ask = json!({ "id": "r1", "whenCreated": "Run", "quietPeriod": periods[n % periods.len()], "to": { "position": "Earliest" } });
        world.apply(&name, &group, ask).await;
        names.push((name, group));
    }
    for (name, group) in names {
        world.verified(&name, "r1").await;
        assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)], "{name}");
    }
}
