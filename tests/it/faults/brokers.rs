//! F01, F12: brokers that are down, restarted, or found at another address than they tell.

use serde_json::Value;
use stream_pipeline_api::Stage;
use testbed::KeptPort;
use testbed::kafka;
use testbed::trap::Side;

use crate::support::brokers;
use crate::support::calls::is_commit;
use crate::support::proxied::ProxiedWorld;
use crate::support::requests::ask;
use crate::support::settings;
use crate::support::status::{assert_has, condition, is, reset, says};
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn f01_a_broker_that_is_down_is_waited_for_and_the_reset_completes_when_it_is_back() {
    let mut world = World::without_operator("f01").await;
    let broker = brokers::own(&mut world, None).await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.start_operator();
    world.known("p", &group).await;
    broker.kill();
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let status = world.reaches("p", "r1", Stage::Waiting, "BrokerUnreachable").await;
    let (reachable, _, message) = says(&status, "BackendReachable");
    assert_eq!(reachable, "False");
    assert_has(message, &[&world.bootstrap]);
    assert!(reset(&status).error.as_ref().is_some_and(|e| e.retryable));
    brokers::restart(&broker).await;
    let status = world.verified("p", "r1").await;
    assert_eq!(says(&status, "BackendReachable").0, "True");
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_a_broker_stopped_under_the_commit_is_judged_when_it_is_back() {
    let (mut proxied, broker) = ProxiedWorld::with_broker("f01b").await;
    proxied.restart_with(&[]);
    proxied.fresh("p").await;
    // The commit has left the operator, and the broker does not take it.
    proxied.ask_and_stop(Side::Before, is_commit).await;
    broker.pause();
    proxied.traps.release();
    let status = proxied.world.wait("p", "the broker to be found unreachable", |s| is(s, "BackendReachable", "False")).await;
    assert_eq!((reset(&status).stage, proxied.commits()), (Stage::Sending, 1), "{status:?}");
    broker.resume();
    let end = proxied.honest_end().await;
    println!("f01: stopped under the commit: {end:?}");
    assert_eq!(proxied.commits(), 1, "commits that were sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn f12_an_advertised_address_that_cannot_be_reached_is_named() {
    let mut world = World::without_operator("f12").await;
    let nobody = KeptPort::new().expect("a port");
    let nowhere = &nobody.address;
    let broker = brokers::own(&mut world, Some(nowhere.clone())).await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.bootstrap = broker.second();
    world.start_operator();
    world.apply("p", &group, Value::Null).await;
    let status = world
        .wait("p", "the advertised address to be named", |s| condition(s, "BackendReachable").is_some_and(|c| c.message.contains(nowhere)))
        .await;
    let (reachable, reason, message) = says(&status, "BackendReachable");
    assert_eq!((reachable, reason), ("False", "BrokerUnreachable"));
    assert_has(message, &["advertises", "advertised.listeners"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_lives_through_broker_restarts_under_load() {
    let mut world = World::without_operator("restarts").await;
    let broker = brokers::own(&mut world, None).await;
    let topic = world.topic(&[10, 10, 10]).await;
    let mut groups = Vec::new();
    for _ in 0..6 {
        groups.push(world.group(&topic, &[1, 2, 3]).await);
    }
    world.start_operator();
    let pid = world.operator().pid();
    for (n, group) in groups.iter().enumerate() {
        world.known(&format!("p{n}"), group).await;
    }
    for round in 0..if settings::long() { 20 } else { 6 } {
        for (n, group) in groups.iter().enumerate() {
            let position = if round % 2 == 0 { "Earliest" } else { "Latest" };
            let ask = ask(&format!("r{round}"), position);
            world.apply(&format!("p{n}"), group, ask).await;
        }
        // The broker is killed while requests are in every state; every third time it is also stopped and continued before.
        if round % 3 == 0 {
            broker.pause();
            broker.resume();
        }
        brokers::restart(&broker).await;
        assert!(world.operator().is_running(), "the operator died in round {round}");
    }
    let topic_end = kafka::watermarks(&world.bootstrap, &topic, 0).await.1;
    assert_eq!(topic_end, 10);
    for (n, group) in groups.iter().enumerate() {
        let name = format!("p{n}");
        let ask = ask("last", "Earliest");
        world.apply(&name, group, ask).await;
        let ends = |s: &stream_pipeline_api::StreamPipelineStatus| {
            s.offset_reset.as_ref().is_some_and(|r| r.id == "last" && r.stage == Stage::Verified)
        };
        world.wait(&name, "the last request to be verified", ends).await;
        assert_eq!(world.offsets(group, &topic, 3).await, [Some(0), Some(0), Some(0)]);
    }
    assert_eq!(world.operator().pid(), pid);
    assert!(world.operator().is_running());
    // Every record is closed: nothing stays in doubt.
    let records = world.all_records().await;
    assert!(records.iter().all(stream_pipeline_operator::process_state::is_closed), "{} records", records.len());
}
