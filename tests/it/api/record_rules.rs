//! The rules of an OffsetResetRecord on a real API server, at the size of the largest plan.

use std::time::Instant;

use jiff::Timestamp;
use kube::api::{GetParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::{Api, Client};
use serde_json::json;
use stream_pipeline_api::{
    BackendIdentity, OffsetResetRecord, OffsetResetRecordSpec, PipelineRef, PlanTotals, RecordedPlan, TopicPlan, Writer,
};
use stream_pipeline_operator::records::last_written;

use crate::support::world::LIMIT;

const ROWS: usize = 15_000;
const MIB: usize = 1024 * 1024;

/// Rows with offsets of ten digits, as a topic has after some years; by time with leader epochs and the times found.
fn plan(topics: usize, by_time: bool) -> RecordedPlan {
    let per_topic = ROWS / topics;
    let column = |base: i64| (0..).map(|n: i64| base + n * 7919).take(per_topic).collect::<Vec<i64>>();
    let topic = |n: usize| TopicPlan {
        name: format!("wind.turbine.telemetry.{n:04}"),
        topic_id: format!("Zm9vYmFyYmF6cXV4cXV{n:04}"),
        partition: (0..).take(per_topic).collect(),
        from: column(4_100_000_000),
        from_leader_epoch: if by_time { vec![12; per_topic] } else { Vec::new() },
        to: column(2_100_000_000),
        to_leader_epoch: if by_time { vec![12; per_topic] } else { Vec::new() },
        found_time: if by_time { column(1_795_000_000_000) } else { Vec::new() },
        log_start: column(1_100_000_000),
        log_end: column(5_100_000_000),
        ..TopicPlan::default()
    };
    let totals = PlanTotals {
        partitions: i64::try_from(ROWS).expect("few rows"),
        replayed: 30_000_000_000_000,
        lag_after: 45_000_000_000_000,
        average_rate: 125_000.5,
        ..PlanTotals::default()
    };
    RecordedPlan {
        topics: (0..topics).map(topic).collect(),
        totals: Some(totals),
        time: None,
        call: None,
        chunk_size: None,
        warnings: Vec::new(),
    }
}

fn record(name: &str, plan: RecordedPlan) -> OffsetResetRecord {
    let request = json!({ "id": "replay-1", "to": { "position": "Earliest" }, "quietPeriod": "0s", "waitTimeout": "1500ms" });
    let spec = OffsetResetRecordSpec {
        target: String::new(),
        pipeline: PipelineRef { name: "turbine-cleaning".to_owned(), uid: "565c0114-0000-4372-86d1-000000000000".to_owned() },
        request: serde_json::from_value(request).expect("a request"),
        backend: BackendIdentity::Kafka { cluster_id: "MkU3OEVBNTcwNTJENDM2Qg".to_owned(), consumer_group: "turbine-cleaning".to_owned() },
        created_at: Timestamp::now(),
        deadline: Timestamp::now(),
        run_state_before: None,
        writer: Some(Writer { incarnation: "7f3a9c1d20b4e586".to_owned(), number: 1, attempt: 1, chunk: 1 }),
        plan: Some(plan),
    };
    OffsetResetRecord::new(name, spec)
}

async fn stored_bytes(client: &Client, api: &Api<OffsetResetRecord>, name: &str) -> usize {
    let request = Request::new(api.resource_url()).get(name, &GetParams::default()).expect("a request");
    client.request_text(request).await.expect("the record is there").len()
}

async fn refused(api: &Api<OffsetResetRecord>, what: &str, changed: &OffsetResetRecord, says: &str) {
    let begun = Instant::now();
    let name = changed.metadata.name.as_deref().expect("a name");
    let answer = api.replace(name, &PostParams::default(), changed).await.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(answer.contains(says), "{what}: {}", answer.chars().take(2000).collect::<String>());
    assert!(answer.len() < 4096, "{what}: the refusal has {} bytes", answer.len());
    println!("    {what}: refused in {:?}", begun.elapsed());
}

async fn taken(api: &Api<OffsetResetRecord>, what: &str, changed: &OffsetResetRecord) -> OffsetResetRecord {
    let begun = Instant::now();
    let name = changed.metadata.name.as_deref().expect("a name");
    let stored = api.replace(name, &PostParams::default(), changed).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    println!("    {what}: taken in {:?}", begun.elapsed());
    stored
}

/// By an administrator: the rules hold for everybody.
async fn rules_hold(test: &str, topics: usize, by_time: bool) {
    let testbed = testbed::start().await;
    let namespace = testbed.namespace(test);
    let client = testbed.client().await;
    let api: Api<OffsetResetRecord> = Api::namespaced(client.clone(), namespace.name());

    let begun = Instant::now();
    let created = api.create(&PostParams::default(), &record("r", plan(topics, by_time))).await.expect("the record is created");
    let took = begun.elapsed();
    let bytes = stored_bytes(&client, &api, "r").await;
    println!("{ROWS} rows, {topics} topics, by time {by_time}: {bytes} bytes ({} KiB), created in {took:?}", bytes / 1024);
    assert!(bytes < MIB, "{bytes} bytes do not fit");

    let never = "spec.plan may be put there and dropped, never changed";
    let mut changed = created.clone();
    let last = changed.spec.plan.as_mut().and_then(|p| p.topics.last_mut()).and_then(|t| t.to.last_mut());
    *last.expect("there are rows") += 1;
    refused(&api, "one offset of the plan changed", &changed, never).await;

    let immutable = "immutable but for plan and writer";
    let mut changed = created.clone();
    changed.spec.request.id = "replay-2".to_owned();
    refused(&api, "another request", &changed, immutable).await;
    let mut changed = created.clone();
    changed.spec.request.dry_run = Some(true);
    refused(&api, "a request made a dry run", &changed, immutable).await;
    let mut changed = created.clone();
    changed.spec.backend = BackendIdentity::Kafka { cluster_id: "MkU3OEVBNTcwNTJENDM2Qg".to_owned(), consumer_group: "another".to_owned() };
    refused(&api, "another group", &changed, immutable).await;
    let mut changed = created.clone();
    changed.spec.pipeline.uid = "another".to_owned();
    refused(&api, "another pipeline", &changed, immutable).await;
    let mut changed = created.clone();
    changed.spec.deadline = Timestamp::MAX;
    refused(&api, "a later deadline", &changed, immutable).await;

    let mut open = created;
    let whole = open.spec.plan.take();
    let mut open = taken(&api, "the plan dropped", &open).await;
    println!("    without its plan: {} bytes", stored_bytes(&client, &api, "r").await);
    open.spec.plan = whole;
    let stored = taken(&api, "a plan put there", &open).await;
    assert_eq!(stored.spec, open.spec, "the record as it is read back");

    let begun = Instant::now();
    let status = json!({ "status": {
        "phase": "Held", "attempt": 1, "reason": "OutcomeUnknown", "message": "7,500 of 15,000 partitions are at their target",
        "completedAt": Timestamp::now(), "verification": { "atTarget": 7_500, "asBefore": 7_500, "elsewhere": 0 }
    } });
    let closed = api.patch_status("r", &PatchParams::default(), &Patch::Merge(status)).await.expect("the status is written");
    println!("    status: written in {:?}", begun.elapsed());

    let mut changed = closed;
    changed.spec.writer = Some(Writer { incarnation: "0123456789abcdef".to_owned(), number: 1, attempt: 2, chunk: 1 });
    let mut changed = taken(&api, "another writer", &changed).await;
    let whole = changed.spec.plan.take();
    let mut changed = taken(&api, "the plan of a closed record dropped", &changed).await;
    changed.spec.plan = whole;
    refused(&api, "a plan put into a closed record", &changed, "may be dropped, never put there").await;
}

#[tokio::test]
async fn f08_a_record_of_one_topic_with_15_000_partitions_keeps_its_rules() {
    rules_hold("f08-record-one", 1, false).await;
}

#[tokio::test]
async fn f08_a_record_of_1000_topics_with_15_partitions_each_keeps_its_rules() {
    rules_hold("f08-record-many", 1000, false).await;
}

#[tokio::test]
async fn f08_a_record_of_15_000_partitions_looked_up_by_time_keeps_its_rules() {
    rules_hold("f08-record-time", 1, true).await;
}

/// By this a reset is told from one of long before.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_tells_in_its_metadata_when_its_status_was_written() {
    let testbed = testbed::start().await;
    let namespace = testbed.namespace("written");
    let api: Api<OffsetResetRecord> = Api::namespaced(testbed.client().await, namespace.name());
    let made = api.create(&PostParams::default(), &record("r1", plan(1, false))).await.expect("it is created");
    let since = last_written(&made.metadata).expect("a time");
    testbed::eventually("a time of a later second", LIMIT, async || {
        let closed = json!({ "status": { "phase": "Held", "attempt": 1, "reason": "OutcomeUnknown", "message": Timestamp::now().to_string(), "completedAt": Timestamp::now() } });
        let told = api.patch_status("r1", &PatchParams::default(), &Patch::Merge(&closed)).await.map_err(|e| e.to_string())?;
        let written = last_written(&told.metadata).expect("a time");
        if written > since { Ok(()) } else { Err(format!("{written}")) }
    })
    .await;
}
