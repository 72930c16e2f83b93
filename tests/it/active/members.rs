//! A01 to A16: a group that is in use is never moved; what keeps it busy is named, and the reset starts by itself.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use stream_pipeline_operator::api::{Phase, Stage, StreamPipelineStatus};
use testbed::consumer::Consumer;
use testbed::{eventually, kafka};

use crate::support::world::{LIMIT, World, condition, reset, says};

type Join = fn(&str, &str, &str, &str) -> Consumer;

/// Two members, one after the other gone: waited for and named, then moved without another word.
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
    assert!(message.contains("Stop them; the reset starts by itself. Waits until 20"), "{message}");
    assert_eq!((says(&status, "Reconciling").0, says(&status, "OffsetsReset").0), ("True", "False"));
    assert!(condition(&status, "Stalled").is_none(), "it heals by itself");
    let error = reset(&status).error.as_ref().expect("why it waits");
    assert!(error.retryable && error.code.is_none(), "{error:?}");
    first.stop().await;
    world.wait("p", "the member that is left to be named", |s| names(s, "1 member: ", &[&two])).await;
    assert!(world.all_records().await.is_empty(), "nothing is planned while somebody reads");
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
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    let ask = |id: &str| json!({ "id": id, "quietPeriod": "1s", "whenActive": "Fail", "to": { "position": "Earliest" } });
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "a03-member");
    member.wait().await;
    world.apply("p", &group, ask("r1")).await;
    let status = world.reaches("p", "r1", Stage::Failed, "GroupActive").await;
    let (stalled, reason, message) = says(&status, "Stalled");
    assert_eq!((stalled, reason), ("True", "GroupActive"));
    assert!(message.contains("1 member: a03-member (127.0.0.1)") && message.contains("nothing was sent"), "{message}");
    assert!(!message.contains("starts by itself"), "it does not: {message}");
    assert_eq!((says(&status, "Ready").0, says(&status, "OffsetsReset").0), ("False", "False"));
    assert!(condition(&status, "Reconciling").is_none());
    assert!(!reset(&status).error.as_ref().expect("an error").retryable);
    // It ended: the group at rest changes nothing.
    member.stop().await;
    world.wait("p", "the group to be seen at rest", |s| condition(s, "PipelineInactive").is_some_and(|c| c.status == "True")).await;
    world.passes("p").await;
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
    // At rest it runs.
    let mut at_once = ask("r3");
    at_once["quietPeriod"] = json!("0s");
    world.apply("p", &group, at_once).await;
    world.verified("p", "r3").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
}

/// A consumer commits without ever being a member; the request says nothing of a quiet period, so it is 10 s.
async fn an_assigned_consumer_is_waited_for(world: &World, topic: &str, group: &str) {
    let records = kafka::watermarks(&world.bootstrap, topic, 0).await.1;
    let consumer = Consumer::assigned(&world.bootstrap, group, topic, 0, Duration::from_millis(300));
    consumer.wait().await;
    let begun = Instant::now();
    world.apply("p", group, json!({ "id": "r1", "to": { "position": "Latest" } })).await;
    let status = world.reaches("p", "r1", Stage::Waiting, "OffsetsMoving").await;
    assert!(says(&status, "Ready").2.contains("assign()"), "{}", says(&status, "Ready").2);
    assert_eq!(says(&status, "Reconciling").0, "True");
    let status = world.wait("p", "the movement to be shown", |s| s.phase == Some(Phase::Running)).await;
    let (inactive, reason, _) = says(&status, "PipelineInactive");
    assert_eq!((inactive, reason), ("False", "OffsetsMoving"));
    // It reads on, for longer than the quiet period: it is never moved.
    let committed = async || world.offsets(group, topic, 1).await[0].unwrap_or_default();
    eventually("the consumer to commit for longer than the quiet period", LIMIT, async || {
        let at = committed().await;
        assert!(at < records, "the group was moved under its consumer");
        assert!(world.all_records().await.is_empty(), "nothing is planned while the offsets move");
        if begun.elapsed() > Duration::from_secs(13) && at > 30 { Ok(()) } else { Err(format!("at {at}")) }
    })
    .await;
    let status = world.reaches("p", "r1", Stage::Waiting, "OffsetsMoving").await;
    assert!(reset(&status).record_ref.is_none());
    let stopping = Timestamp::now();
    consumer.stop().await;
    let left_at = committed().await;
    let status = world.verified("p", "r1").await;
    assert_eq!(world.offsets(group, topic, 1).await, [Some(records)]);
    let record = world.record(&status).await;
    assert_eq!(record.spec.plan.as_ref().expect("a plan").topics[0].from, [left_at], "from where it was left");
    let waited = record.spec.created_at.duration_since(stopping);
    // Its last commit was a little before it stopped.
    assert!(waited > SignedDuration::from_secs(7), "planned {waited} after the last commit");
    assert_eq!(world.all_records().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a06_an_assign_consumer_that_was_never_a_member_counts_as_active() {
    let world = World::new("a06").await;
    let topic = world.topic(&[500]).await;
    let group = world.unique("g");
    world.known("p", &group).await;
    an_assigned_consumer_is_waited_for(&world, &topic, &group).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a16_an_assign_consumer_on_a_group_that_once_had_members_and_looks_before_the_request() {
    let mut world = World::new("a16").await;
    let topic = world.topic(&[500]).await;
    let group = world.group(&topic, &[7]).await;
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "a16-member");
    member.wait().await;
    member.stop().await;
    world.known("p", &group).await;
    an_assigned_consumer_is_waited_for(&world, &topic, &group).await;
    // Looks made before the request count. What has to pass here is time itself; the first look is older than this line.
    world.known("q", &group).await;
    world.pipelines().delete("p", &kube::api::DeleteParams::default()).await.expect("it can be deleted");
    let looked = "the operator's looks to be older than the quiet period";
    let seen = Instant::now();
    eventually(looked, LIMIT, async || if seen.elapsed() > Duration::from_secs(3) { Ok(()) } else { Err(String::new()) }).await;
    world.apply("q", &group, json!({ "id": "r2", "quietPeriod": "3s", "to": { "position": "Earliest" } })).await;
    world.verified("q", "r2").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
    let waits: Vec<_> = world
        .operator()
        .log()
        .lines()
        .filter(|l| l.contains("r2") && l.contains("Waiting") && !l.contains("PlanRecorded"))
        .map(str::to_owned)
        .collect();
    assert!(waits.is_empty(), "it had to wait: {waits:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a14_a_wait_that_nothing_ends_times_out_and_a_new_id_asks_again() {
    let world = World::new("a14").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    let member = Consumer::classic(&world.bootstrap, &group, &topic, "a14-member");
    member.wait().await;
    world.apply("p", &group, json!({ "id": "r1", "quietPeriod": "1s", "waitTimeout": "5s", "to": { "position": "Earliest" } })).await;
    let status = world.reaches("p", "r1", Stage::Failed, "WaitTimedOut").await;
    let (stalled, reason, message) = says(&status, "Stalled");
    assert_eq!((stalled, reason), ("True", "WaitTimedOut"));
    assert!(
        message.contains("waitTimeout (5 s) passed; nothing was sent. Last seen: GroupActive: 1 member: a14-member (127.0.0.1)"),
        "{message}"
    );
    assert!(message.contains("A new id asks again"), "{message}");
    assert_eq!((says(&status, "Ready").0, says(&status, "OffsetsReset").0), ("False", "False"));
    assert!(condition(&status, "Reconciling").is_none());
    let told = reset(&status);
    let (accepted, deadline) = (told.accepted_at.expect("accepted"), told.deadline.expect("a deadline"));
    assert_eq!(deadline.duration_since(accepted), SignedDuration::from_secs(5));
    assert!(!told.error.as_ref().expect("an error").retryable);
    member.stop().await;
    world.wait("p", "the group to be seen at rest", |s| condition(s, "PipelineInactive").is_some_and(|c| c.status == "True")).await;
    world.passes("p").await;
    world.reaches("p", "r1", Stage::Failed, "WaitTimedOut").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(7)]);
    assert!(world.all_records().await.is_empty());
    world.apply("p", &group, json!({ "id": "r2", "quietPeriod": "1s", "waitTimeout": "80s", "to": { "position": "Earliest" } })).await;
    world.verified("p", "r2").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a15_a_rolling_redeploy_is_not_taken_for_inactive() {
    let world = World::new("a15").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    let ask = |quiet: &str| -> Value { json!({ "id": "r1", "quietPeriod": quiet, "to": { "position": "Earliest" } }) };
    let mut member = Consumer::classic(&world.bootstrap, &group, &topic, "a15-0");
    member.wait().await;
    world.apply("p", &group, ask("60s")).await;
    world.reaches("p", "r1", Stage::Waiting, "GroupActive").await;
    for n in 1..=3 {
        member.stop().await;
        // The operator has seen the group Empty, so the gap is there for it.
        let status = world.reaches("p", "r1", Stage::Waiting, "QuietPeriod").await;
        assert!(says(&status, "Ready").2.contains("watching for 60 s"), "{}", says(&status, "Ready").2);
        member = Consumer::classic(&world.bootstrap, &group, &topic, &format!("a15-{n}"));
        member.wait().await;
        let name = format!("a15-{n} (127.0.0.1)");
        let named =
            |s: &StreamPipelineStatus| condition(s, "Ready").is_some_and(|c| c.reason == "GroupActive" && c.message.contains(&name));
        world.wait("p", "the new member to be named", named).await;
        assert!(world.all_records().await.is_empty());
        assert_eq!(world.offsets(&group, &topic, 1).await, [Some(7)]);
    }
    // Quiet enough is what the spec says now, as long as nothing is recorded.
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

/// The group was seen at rest long ago and is at rest now; a member came and went in between.
#[tokio::test(flavor = "multi_thread")]
async fn a15_two_looks_far_apart_do_not_make_a_quiet_period() {
    let mut world = World::without_operator("a15far").await;
    world.start_operator_with(&["--recheck-idle=10m"]);
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
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

/// Twelve groups at once, with short periods and the usual delays: none is watched for ever (the kind: a look as far apart as it may be).
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
