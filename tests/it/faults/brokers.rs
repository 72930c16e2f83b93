//! F: brokers that are down, unreachable or restarted, objects that cannot be read, names that are odd.

use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use stream_pipeline_operator::api::{Stage, StreamPipelineStatus};
use testbed::proxy::OFFSET_COMMIT;
use testbed::trap::Side;
use testbed::{Broker, kafka};

use crate::kill::broker::honest_end;
use crate::support::proxied::Wired;
use crate::support::world::{LIMIT, World, condition, reset, says};

async fn own_broker(world: &mut World, advertise: Option<String>) -> Broker {
    let parts = &world.testbed.parts;
    let start = move || Broker::start_with(parts, |_| advertise.clone());
    let broker = tokio::task::spawn_blocking(start).await.expect("no panic").expect("a broker starts");
    world.bootstrap = broker.bootstrap();
    broker
}

async fn restart(broker: Broker) -> Broker {
    let again = move || broker.restart().map(|()| broker);
    tokio::task::spawn_blocking(again).await.expect("no panic").expect("the broker starts again")
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_a_broker_that_is_down_is_waited_for_and_the_reset_completes_when_it_is_back() {
    let mut world = World::without_operator("f01").await;
    let broker = own_broker(&mut world, None).await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.start_operator();
    world.known("p", &group).await;
    broker.kill();
    world.apply("p", &group, json!({ "id": "r1", "quietPeriod": "0s", "to": { "position": "Earliest" } })).await;
    let status = world.reaches("p", "r1", Stage::Waiting, "BrokerUnreachable").await;
    let (reachable, _, message) = says(&status, "BackendReachable");
    assert_eq!(reachable, "False");
    assert!(message.contains(&world.bootstrap), "{message}");
    assert!(reset(&status).error.as_ref().is_some_and(|e| e.retryable));
    let broker = restart(broker).await;
    let status = world.verified("p", "r1").await;
    assert_eq!(says(&status, "BackendReachable").0, "True");
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
    drop(broker);
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_a_broker_stopped_under_the_commit_is_judged_when_it_is_back() {
    let (mut wired, broker) = Wired::with_broker("f01b").await;
    wired.restart_with(&[]);
    wired.fresh("p").await;
    wired.traps.arm(Side::Before, |call| call == OFFSET_COMMIT);
    wired.ask().await;
    // The commit has left the operator, and the broker does not take it.
    wired.traps.sprung().await;
    broker.pause();
    wired.traps.release();
    let status = wired
        .world
        .wait("p", "the broker to be found unreachable", |s| condition(s, "BackendReachable").is_some_and(|c| c.status == "False"))
        .await;
    assert_eq!((reset(&status).stage, wired.commits()), (Stage::Sending, 1), "{status:?}");
    broker.resume();
    let end = honest_end(&wired).await;
    println!("f01: stopped under the commit: {end:?}");
    assert_eq!(wired.commits(), 1, "never sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn f09_an_object_that_cannot_be_read_is_told_so_and_the_others_are_served() {
    let world = World::new("f09").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    // Unknown fields inside offsetReset are kept and refused: a pruned dryRun would be a real reset.
    world.known("typo", &group).await;
    let fields: [(&str, Value); 3] = [
        ("dryrun", json!({ "id": "a", "quietPeriod": "0s", "to": { "position": "Earliest" }, "dryrun": true })),
        ("to.offfset", json!({ "id": "b", "quietPeriod": "0s", "to": { "position": "Earliest", "offfset": 5 } })),
        (
            "topics",
            json!({ "id": "c", "quietPeriod": "0s", "to": { "position": "Earliest" }, "topics": [{ "name": topic, "partition": 0 }] }),
        ),
    ];
    for (field, asked) in fields {
        let id = asked["id"].as_str().expect("an id").to_owned();
        world.apply("typo", &group, asked).await;
        let status = world.reaches("typo", &id, Stage::Failed, "UnknownField").await;
        assert!(says(&status, "Stalled").2.contains(field), "{}", says(&status, "Stalled").2);
    }
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(7)]);
    assert!(world.all_records().await.is_empty());
    // What the API server takes and no calendar does: an hour of 99 in a zone. The object cannot be decoded.
    let raw = world.untyped();
    world.known("odd", &group).await;
    let last = |reset: Value| Patch::Merge(json!({ "status": { "offsetReset": reset } }));
    let params = PatchParams::default();
    let reset = json!({ "id": "r0", "stage": "Waiting", "acceptedAt": "2026-01-01T00:00:00+99:99" });
    raw.patch_status("odd", &params, &last(reset)).await.expect("the API server takes it");
    let ready = async || raw.get("odd").await.map_err(|e| e.to_string()).map(|o| o.data["status"]["conditions"].clone());
    testbed::eventually("the object to be told that it cannot be read", LIMIT, async || {
        let conditions = ready().await?;
        if conditions[0]["reason"] == "InvalidObject" && conditions[0]["status"] == "False" { Ok(()) } else { Err(conditions.to_string()) }
    })
    .await;
    let group = world.group(&topic, &[7]).await;
    world.known("good", &group).await;
    world.apply("good", &group, json!({ "id": "r1", "quietPeriod": "0s", "to": { "position": "Earliest" } })).await;
    world.verified("good", "r1").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
    // Corrected, it is served again.
    raw.patch_status("odd", &params, &last(Value::Null)).await.expect("the API server takes it");
    world.wait("odd", "the corrected object to be served", |s| condition(s, "Ready").is_some_and(|c| c.reason == "NothingRequested")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f12_an_advertised_address_that_cannot_be_reached_is_named() {
    let mut world = World::without_operator("f12").await;
    // A port of this machine where nobody listens.
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").to_string();
    let broker = own_broker(&mut world, Some(nowhere.clone())).await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.bootstrap = broker.second();
    world.start_operator();
    world.apply("p", &group, Value::Null).await;
    let status = world
        .wait("p", "the advertised address to be named", |s| condition(s, "BackendReachable").is_some_and(|c| c.message.contains(&nowhere)))
        .await;
    let (reachable, reason, message) = says(&status, "BackendReachable");
    assert_eq!((reachable, reason), ("False", "BrokerUnreachable"));
    assert!(message.contains("advertises") && message.contains("advertised.listeners"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f14_brokers_as_given_and_as_advertised_are_connected_to_only_where_the_operator_may() {
    let mut world = World::without_operator("f14k").await;
    // Somebody listens at another address of this machine, and sees whether he is connected to.
    let trap = std::net::TcpListener::bind("127.0.0.2:0").expect("a port");
    trap.set_nonblocking(true).expect("a socket that does not wait");
    let advertised = trap.local_addr().expect("an address").to_string();
    let broker = own_broker(&mut world, Some(advertised.clone())).await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    // Not where the API server is: that has a rule of its own (f14 in doors).
    let given = advertised;
    world.start_operator_with(&["--allowed-endpoints="]);
    world.named = Some(vec![given.clone()]);
    world.apply("given", &group, Value::Null).await;
    world.named = None;
    let refused = |s: &StreamPipelineStatus| condition(s, "BackendReachable").is_some_and(|c| c.reason == "EndpointNotAllowed");
    let status = world.wait("given", "loopback to be refused", refused).await;
    let message = says(&status, "BackendReachable").2;
    for part in
        [given.as_str(), "--allowed-endpoints", "not a byte was sent", "127.0.0.2 (127.0.0.2) is not allowed: it is a loopback address"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    world.kill_operator();
    world.bootstrap = broker.second();
    world.start_operator();
    world.apply("advertised", &group, Value::Null).await;
    let status = world.wait("advertised", "the advertised address to be refused", refused).await;
    assert!(says(&status, "BackendReachable").2.contains("127.0.0.2"), "{status:?}");
    assert!(trap.accept().is_err(), "nobody was connected to");
}

#[tokio::test(flavor = "multi_thread")]
async fn f17_odd_names_work_exactly() {
    let world = World::new("f17").await;
    let topic = world.topic(&[10]).await;
    let dotted = format!("{}.{}", "a".repeat(39), "b".repeat(23));
    assert_eq!(dotted.len(), 63);
    let names = [("one".to_owned(), "a/b@c:d"), (dotted, "x y"), ("c".repeat(63), "größe")];
    for (name, group) in &names {
        let group = &format!("{group} {}", world.namespace.name());
        kafka::commit(&world.bootstrap, group, &[(&topic, 0, 7, "")]).await;
        world.known(name, group).await;
        world.apply(name, group, json!({ "id": "größe 1/2", "quietPeriod": "0s", "to": { "position": "Earliest" } })).await;
        let status = world.verified(name, "größe 1/2").await;
        assert_eq!(world.offsets(group, &topic, 1).await, [Some(0)]);
        let record = world.record(&status).await;
        assert_eq!(record.spec.backend.parts()[1], group);
        let stem = record.metadata.name.as_deref().unwrap_or_default().rsplit_once('-').expect("a hash").0;
        assert!(stem.len() <= 40 && !stem.ends_with(['.', '-']), "{stem}");
        let selector = ListParams::default().labels(&format!("streampipeline.io/pipeline={name}"));
        assert_eq!(world.records().list(&selector).await.expect("a list").items.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_lives_through_twenty_broker_restarts_under_load() {
    let mut world = World::without_operator("restarts").await;
    let mut broker = own_broker(&mut world, None).await;
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
    for round in 0..20 {
        for (n, group) in groups.iter().enumerate() {
            let position = if round % 2 == 0 { "Earliest" } else { "Latest" };
            let ask = json!({ "id": format!("r{round}"), "quietPeriod": "0s", "to": { "position": position } });
            world.apply(&format!("p{n}"), group, ask).await;
        }
        // Killed with the requests in every state; every third time stopped and continued first.
        if round % 3 == 0 {
            broker.pause();
            broker.resume();
        }
        broker = restart(broker).await;
        assert!(world.operator().is_running(), "the operator died in round {round}");
    }
    let topic_end = kafka::watermarks(&world.bootstrap, &topic, 0).await.1;
    assert_eq!(topic_end, 10);
    for (n, group) in groups.iter().enumerate() {
        let name = format!("p{n}");
        let ask = json!({ "id": "last", "quietPeriod": "0s", "to": { "position": "Earliest" } });
        world.apply(&name, group, ask).await;
        let ends = |s: &stream_pipeline_operator::api::StreamPipelineStatus| {
            s.offset_reset.as_ref().is_some_and(|r| r.id == "last" && r.stage == Stage::Verified)
        };
        world.wait(&name, "the last request to be verified", ends).await;
        assert_eq!(world.offsets(group, &topic, 3).await, [Some(0), Some(0), Some(0)]);
    }
    assert_eq!(world.operator().pid(), pid);
    assert!(world.operator().is_running());
    // Every record is closed: nothing stays in doubt.
    let records = world.all_records().await;
    assert!(records.iter().all(stream_pipeline_operator::memory::is_closed), "{} records", records.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_the_operator_in_order_and_probes_tell_the_truth() {
    let mut world = World::new("sigterm").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    let log = world.operator().log();
    let address = log.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("the address is logged").to_owned();
    for (path, expected) in [("/livez", "ok"), ("/readyz", "ok"), ("/metrics", "streampipeline_reconcile_time_seconds")] {
        let body = testbed::http_get(&address, path).await;
        assert!(body.starts_with("HTTP/1.1 200") && body.contains(expected), "{path}: {body}");
    }
    let status = world.operator().terminate();
    assert!(status.success(), "{status}");
    // Nothing new is started by one that was asked to end; the next one does it.
    world.apply("p", &group, json!({ "id": "r1", "quietPeriod": "0s", "to": { "position": "Earliest" } })).await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(7)]);
    world.start_operator();
    world.verified("p", "r1").await;
}
