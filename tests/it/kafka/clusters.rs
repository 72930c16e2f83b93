//! K20, K21, F13: a group of many partitions, a partition without a leader, another cluster behind the same address.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use stream_pipeline_api::Stage;
use testbed::reference_tool::ReferenceTool;
use testbed::trap::Side;
use testbed::{Broker, eventually, kafka, offsets_topic};

use crate::support::brokers;
use crate::support::process;
use crate::support::requests::ask;
use crate::support::status::{assert_has, reset, says};
use crate::support::three_brokers::ThreeBrokers;
use crate::support::world::{FIRST_RECORD_TIME, LIMIT, World};

/// Kafka's API key of OffsetFetch.
const OFFSET_FETCH: &str = "9";

#[tokio::test(flavor = "multi_thread")]
async fn k21_a_partition_without_a_leader_is_61168_until_it_has_one_and_an_empty_topic_has_rate_0() {
    let mut three = ThreeBrokers::start("k21").await;
    three.proxied.restart_with(&[]);
    let world = &three.proxied.world;
    let (topic, group) = (world.unique("t"), world.unique("g"));
    let coordinator = three.coordinator(&group).await;
    let lone = (coordinator + 1) % 3;
    let id = |node: usize| i32::try_from(three.nodes[node].id()).expect("a small number");
    kafka::create_topic_on(&world.bootstrap, &topic, &[id(coordinator), id(lone)]).await;
    for partition in 0..2 {
        kafka::produce(&world.bootstrap, &topic, partition, 10, |n| FIRST_RECORD_TIME + n).await;
    }
    kafka::commit(&world.bootstrap, &group, &[(&topic, 0, 7, ""), (&topic, 1, 8, "")]).await;
    world.known("p", &group).await;
    three.nodes[lone].kill();
    eventually("the partition to lose its leader", LIMIT, async || match kafka::led(&world.bootstrap, &topic).await? {
        1 => Ok(()),
        n => Err(format!("{n} are led")),
    })
    .await;
    let asked = Instant::now();
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let status = world.reaches("p", "r1", Stage::Waiting, "AverageRateUnavailable").await;
    let error = reset(&status).error.clone().expect("an error");
    assert_eq!((error.code, error.retryable), (Some(61168), true));
    let message = says(&status, "OffsetsReset").2;
    assert_has(message, &[&format!("61168: no leader for {topic}-1"), "Nothing was written"]);
    // Each look of the operator fetches the commits once.
    eventually("looks that come further and further apart", LIMIT, async || {
        let log = three.proxied.traps.log();
        let looks: Vec<_> = log.iter().filter(|p| p.side == Side::Before && p.call == OFFSET_FETCH && p.at > asked).map(|p| p.at).collect();
        let apart: Vec<Duration> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
        if apart.iter().any(|gap| *gap > Duration::from_millis(1500)) { Ok(()) } else { Err(format!("{apart:?}")) }
    })
    .await;
    assert!(world.all_records().await.is_empty());
    assert_eq!(three.proxied.commits(), 0);
    brokers::restart(&three.nodes[lone]).await;
    world.verified("p", "r1").await;
    assert_eq!(world.offsets(&group, &topic, 2).await, [Some(0), Some(0)]);

    let empty = world.topic(&[0]).await;
    let group = world.group(&empty, &[0]).await;
    world.known("empty", &group).await;
    world.apply("empty", &group, ask("r1", "Earliest")).await;
    let status = world.verified("empty", "r1").await;
    let message = says(&status, "OffsetsReset").2;
    assert_has(message, &["average input 0.0 records/s"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_another_cluster_behind_the_same_address_gets_nothing_until_the_object_is_made_anew() {
    let mut world = World::without_operator("f13").await;
    let parts = &world.testbed.parts;
    let mut broker = brokers::start(move || Broker::start(parts)).await;
    world.bootstrap = broker.bootstrap();
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.start_operator();
    world.known("p", &group).await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let first = world.verified("p", "r1").await.cluster_id.expect("the cluster is pinned");

    let replace = move || broker.replace().map(|()| broker);
    let _broker = brokers::start(replace).await;
    kafka::create_topic(&world.bootstrap, &topic, 1, &[]).await;
    kafka::produce(&world.bootstrap, &topic, 0, 10, |n| FIRST_RECORD_TIME + n).await;
    kafka::commit(&world.bootstrap, &group, &[(&topic, 0, 7, "")]).await;
    world.apply("p", &group, ask("r2", "Earliest")).await;
    let status = world.reaches("p", "r2", Stage::Waiting, "ClusterChanged").await;
    let message = says(&status, "OffsetsReset").2;
    assert_has(message, &[&format!("not to {first} as before; nothing is sent")]);
    world.decides_twice("p").await;
    assert_eq!(world.pipelines().get("p").await.expect("it is there").status.and_then(|s| s.cluster_id), Some(first.clone()));
    let written = offsets_topic::landed(&world.bootstrap, &group).await;
    assert_eq!(written[&(topic.clone(), 0)], [7]);
    assert_eq!(world.all_records().await.len(), 1, "records, where only r1 has one");

    world.ask_to_delete("p").await;
    let mut accepted = ask("r3", "Earliest");
    accepted["whenCreated"] = json!("Run");
    world.apply("p", &group, accepted).await;
    let status = world.verified("p", "r3").await;
    assert_ne!(status.cluster_id, Some(first));
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(0)]);
}

/// While the object has no status, only its record says that the request was carried out, and on which cluster.
#[tokio::test(flavor = "multi_thread")]
async fn one_request_is_sent_on_one_cluster_whichever_answers_and_whatever_the_status_knows() {
    let mut world = World::without_operator("two-clusters").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.start_operator();
    world.known("p", &group).await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let record = world.record(&world.verified("p", "r1").await).await;
    world.kill_operator();

    let parts = &world.testbed.parts;
    let other = brokers::start(move || Broker::start(parts)).await;
    let there = other.bootstrap();
    kafka::create_topic(&there, &topic, 1, &[]).await;
    kafka::produce(&there, &topic, 0, 10, |n| FIRST_RECORD_TIME + n).await;
    kafka::commit(&there, &group, &[(&topic, 0, 7, "")]).await;
    // As if the process had ended before it wrote a status.
    let none = kube::api::Patch::Merge(json!({ "status": null }));
    world.untyped().patch_status("p", &kube::api::PatchParams::default(), &none).await.expect("the status goes");
    world.bootstrap = there;
    let mut asked = ask("r1", "Earliest");
    asked["whenCreated"] = json!("Run");
    world.apply("p", &group, asked).await;
    world.start_operator();
    let status = world.verified("p", "r1").await;
    assert_eq!(reset(&status).record_ref.as_ref().map(|r| &r.name), record.metadata.name.as_ref());
    world.decides_twice("p").await;
    assert_eq!(world.offsets(&group, &topic, 1).await, [Some(7)], "the offset on the other cluster");
    assert_eq!(world.all_records().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn k20_a_group_of_8_000_partitions_is_reset_in_objects_below_1_mib() {
    const TOPICS: i32 = 8;
    const EACH: i32 = 1000;
    let begun = Instant::now();
    let mut world = World::without_operator("k20").await;
    let parts = &world.testbed.parts;
    let broker = brokers::start(move || Broker::start_wide(parts)).await;
    world.bootstrap = broker.bootstrap();
    let topics: Vec<String> = (0..TOPICS).map(|_| world.unique("t")).collect();
    join_all(topics.iter().map(|topic| kafka::create_topic(&world.bootstrap, topic, EACH, &[]))).await;
    let group = world.unique("g");
    let all: Vec<_> = topics.iter().flat_map(|topic| (0..EACH).map(move |p| (topic.as_str(), p, 5, ""))).collect();
    kafka::commit(&world.bootstrap, &group, &all).await;
    world.start_operator_with(&["--send-window=30s", "--call-deadline=30s"]);
    world.known("p", &group).await;
    let asked = Instant::now();
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let status = world.verified("p", "r1").await;
    let took = asked.elapsed();
    let message = says(&status, "OffsetsReset").2;
    assert!(
        message.starts_with("8,000 of 8,000 partitions read back as planned; at most 0 records will be replayed"),
        "expected the counts of all partitions at the beginning: {message}"
    );
    let written = offsets_topic::landed(&world.bootstrap, &group).await;
    assert_eq!(written.len(), 8000);
    assert!(written.values().all(|offsets| offsets == &[5, 0]), "expected one commit for each partition, after the first");
    let record = serde_json::to_vec(&world.record(&status).await).expect("JSON").len();
    let object = serde_json::to_vec(&world.pipelines().get("p").await.expect("it is there")).expect("JSON").len();
    println!(
        "k20: ready after {:.1} s, reset in {:.1} s, record {record} bytes, object {object} bytes",
        (asked - begun).as_secs_f32(),
        took.as_secs_f32()
    );
    assert!(record.max(object) < 1 << 20);
    every_target(&mut world, &group, &all, &reset(&status).record_ref.clone().expect("a record").name).await;
}

/// Each target once more over the same partitions, and what the tool takes for the same in one run: figures, no limits of time.
async fn every_target(world: &mut World, group: &str, all: &[(&str, i32, i64, &str)], first: &str) {
    let other = world.unique("other");
    kafka::commit(&world.bootstrap, &other, all).await;
    let csv: String = all.iter().map(|(topic, partition, ..)| format!("{topic},{partition},0\n")).collect();
    world.config_map("wide", json!({ "offsets.csv": csv })).await;
    let from = json!({ "configMapKeyRef": { "name": "wide", "key": "offsets.csv" } });
    for (id, to) in [
        ("latest", json!({ "position": "Latest" })),
        ("timestamp", json!({ "timestamp": "2026-01-01T00:00:00Z" })),
        ("lookback", json!({ "lookback": "1h" })),
        ("shift", json!({ "shiftBy": 1 })),
        ("offset", json!({ "offset": 0 })),
        ("file", json!({ "offsetsFrom": from })),
        ("group", json!({ "consumerGroup": other })),
        ("current", json!({ "position": "Current" })),
        ("undo", json!({ "undo": { "name": first } })),
    ] {
        let asked = Instant::now();
        world.apply("p", group, json!({ "id": id, "quietPeriod": "0s", "to": to, "outOfRange": "Clamp" })).await;
        let status = world.verified("p", id).await;
        let took = asked.elapsed();
        let record = serde_json::to_vec(&world.record(&status).await).expect("JSON").len();
        assert_eq!(reset(&status).plan.as_ref().map(|p| p.partitions), Some(8000), "{id}");
        assert!(record < 1 << 20, "{id}: {record} bytes");
        println!("k20: {id} in {:.1} s, record {record} bytes", took.as_secs_f32());
    }
    let mut tool = ReferenceTool::at(&world.testbed.parts.jars, &world.bootstrap).expect("a JVM");
    let args = ["--reset-offsets", "--group", &other, "--to-earliest", "--all-topics", "--execute"].map(str::to_owned);
    for run in ["the first time", "once more"] {
        let asked = Instant::now();
        let said = tokio::task::block_in_place(|| tool.run(&args)).expect("it answers");
        println!("k20: the tool, {run}: {:.1} s, {} lines", asked.elapsed().as_secs_f32(), said.lines().count());
    }
    println!("k20: at most {} MiB resident", process::field(world.operator().pid(), "VmHWM").unwrap_or_default() / 1024);
}
