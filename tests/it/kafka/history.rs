//! P06, F19: what is left of many resets, and what they cost.

use std::time::Instant;

use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;
use stream_pipeline_api::{OffsetResetRecord, Stage, Undo};
use testbed::eventually;

use crate::support::commands::succeeded;
use crate::support::process;
use crate::support::requests::ask;
use crate::support::settings;
use crate::support::status::{assert_has, reset, says};
use crate::support::world::{LIMIT, World};

#[tokio::test(flavor = "multi_thread")]
async fn p06_old_records_lose_their_table_and_never_their_id() {
    let mut world = World::without_operator("p06").await;
    world.start_operator_with(&["--keep-plans-for=2s"]);
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    let mut names = Vec::new();
    for (id, position) in [("r1", "Earliest"), ("r2", "Latest")] {
        world.apply("p", &group, ask(id, position)).await;
        let status = world.verified("p", id).await;
        names.push(reset(&status).record_ref.clone().expect("a record").name);
        // Ages are of whole seconds, and of two of one second none counts as the newer.
        let made = world.record(&status).await.metadata.creation_timestamp.expect("the API server stamps it").0;
        eventually("another second", LIMIT, async || {
            if jiff::Timestamp::now().as_second() > made.as_second() + 1 { Ok(()) } else { Err("it is the same one".to_owned()) }
        })
        .await;
    }
    eventually("the older record to lose its table", LIMIT, async || match world.record_named(&names[0]).await.spec.plan {
        None => Ok(()),
        Some(_) => Err("it has it".to_owned()),
    })
    .await;
    let old = world.record_named(&names[0]).await.status.expect("it is closed");
    assert_eq!((old.undo, old.totals.map(|t| t.replayed)), (Some(Undo::Impossible), Some(7)), "what it cost stays");
    let newest = world.record_named(&names[1]).await;
    assert!(newest.spec.plan.is_some() && newest.status.is_some_and(|s| s.undo == Some(Undo::Possible)), "the newest keeps its table");
    // It reads as a history.
    let args = ["get", "osr", "-n", world.namespace.name(), "-l", "streampipeline.io/pipeline=p", "--sort-by=.metadata.creationTimestamp"];
    let history = succeeded(&world.testbed.kubectl(&args));
    let words: Vec<Vec<&str>> = history.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0][1..], ["PIPELINE", "REQUEST", "TARGET", "PHASE", "REASON", "PARTITIONS", "REPLAYED", "SKIPPED", "UNDO", "AGE"]);
    assert_eq!(words[1][1..10], ["p", "r1", "Earliest", "Verified", "ResetVerified", "1", "7", "0", "Impossible"]);
    assert_eq!(words[2][1..10], ["p", "r2", "Latest", "Verified", "ResetVerified", "1", "0", "10", "Possible"]);
    // A list can leave out what is over, so that a live look costs the same however long the history is.
    let selected = |fields: &str| {
        let args = ["get", "osr", "-n", world.namespace.name(), "-o", "name", "--field-selector", fields];
        succeeded(&world.testbed.kubectl(&args)).lines().count()
    };
    assert_eq!((selected("status.over!=true"), selected("status.over=true"), selected("status.phase=Verified")), (0, 2, 2));
    // Neither can it be undone, nor does its id run again.
    world.apply("p", &group, json!({ "id": "u1", "quietPeriod": "0s", "to": { "undo": { "name": names[0] } } })).await;
    let status = world.reaches("p", "u1", Stage::Failed, "InvalidTarget").await;
    assert_has(says(&status, "Stalled").2, &[&names[0], "does not hold its table of offsets any more"]);
    world.apply("p", &group, ask("r1", "Earliest")).await;
    world.verified("p", "r1").await;
    world.decides_twice("p").await;
    assert_eq!(world.offset(&group, &topic).await, Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn f19_a_restart_among_many_large_records_reads_few_of_them_and_those_one_by_one() {
    let mut world = World::new("f19").await;
    let topic = world.topic(&[10]).await;
    let group = world.group(&topic, &[7]).await;
    world.known("p", &group).await;
    world.apply("p", &group, ask("r1", "Earliest")).await;
    let status = world.verified("p", "r1").await;
    let first = world.record(&status).await;
    world.kill_operator();
    // Each of half a MiB.
    let rows = 9_000;
    let numbers: Vec<i64> = (0..rows).map(|n| 1_000_000_000_000 + n).collect();
    let mut spec = first.spec.clone();
    let table = &mut spec.plan.as_mut().expect("a plan").topics[0];
    table.partition = (0..i32::try_from(rows).expect("few")).collect();
    (table.from, table.to, table.log_start) = (numbers.clone(), numbers.clone(), numbers.clone());
    (table.log_end, table.to_leader_epoch) = (numbers, Vec::new());
    let count = settings::number("RECORDS", 120);
    for n in 0..count {
        spec.request.id = format!("old-{n}");
        let metadata = ObjectMeta { name: Some(format!("p-old-{n}")), labels: first.metadata.labels.clone(), ..ObjectMeta::default() };
        spec.created_at = jiff::Timestamp::now();
        let record = OffsetResetRecord { metadata, spec: spec.clone(), status: None };
        assert!(n > 0 || serde_json::to_vec(&record).is_ok_and(|json| json.len() > 512 * 1024), "half a MiB");
        world.records().create(&PostParams::default(), &record).await.expect("the record is taken");
        let mut status = json!({ "status": first.status });
        if n % 10 == 0 {
            // It may be retried, so it has to be read; of the others the list shows that they are over.
            status["status"]["phase"] = json!("Held");
        }
        let status = Patch::Merge(status);
        world.records().patch_status(&format!("p-old-{n}"), &PatchParams::default(), &status).await.expect("it is closed");
    }
    world.start_operator();
    let begun = Instant::now();
    world.apply("p", &group, ask("r2", "Latest")).await;
    world.verified("p", "r2").await;
    let took = begun.elapsed().as_secs_f64();
    let most = process::field(world.operator().pid(), "VmHWM").expect("its peak");
    println!("f19: {count} records of half a MiB, at most {} MiB resident; the first reset after {took:.1} s", most / 1024);
    assert!(most < 64 * 1024, "{most} KiB");
}
