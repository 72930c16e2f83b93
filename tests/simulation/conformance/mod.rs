//! Checks that the stand-ins answer as the real servers do: one table of calls, made to both.

mod platform;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http;
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use stream_pipeline_operator::backend::kafka::admin::Admin;
use stream_pipeline_operator::backend::kafka::admin::*;
use stream_pipeline_operator::backend::kafka::client::AdminClient;
use stream_pipeline_operator::backend::kafka::client::{Bounds, Processes};
use stream_pipeline_operator::backend::kafka::security::Security;
use stream_pipeline_operator::endpoints::EndpointPolicy;
use testbed::consumer::Consumer;
use testbed::{eventually, kafka};

use crate::api_server::{ApiServer, Reply, Request};
use crate::broker::{Broker, FIRST};

const OWN: &str = "/apis/streampipeline.io/v1alpha1/namespaces/NS";
const APPS: &str = "/apis/apps/v1/namespaces/NS";

/// A call, after its name in a failure. `RV` in a body is the object's version from its last answer, `OLD` the one from its first.
type Step = (&'static str, &'static str, String, Value);

fn table() -> Vec<Step> {
    let record = format!("{OWN}/offsetresetrecords");
    let (one, pipelines, deployments) = (format!("{record}/r1"), format!("{OWN}/streampipelines"), format!("{APPS}/deployments"));
    let (pipeline, deployment) = (format!("{pipelines}/p1"), format!("{deployments}/d1"));
    let plan = |to: i64| json!({ "topics": [{ "name": "t", "topicID": "id", "partition": [0], "from": [7], "to": [to], "logStart": [0], "logEnd": [9] }] });
    let writer = |number: i64, attempt: i64| json!({ "chunk": 1, "incarnation": "i", "number": number, "attempt": attempt });
    let spec = json!({
        "pipeline": { "name": "p1", "uid": "u" }, "request": { "id": "r", "to": { "position": "Earliest" } },
        "backend": { "clusterID": "c", "consumerGroup": "g" }, "createdAt": "2026-03-01T00:00:00Z", "deadline": "2026-03-02T00:00:00Z",
    });
    let object = json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "OffsetResetRecord", "spec": spec,
        "metadata": { "name": "r1", "labels": { "streampipeline.io/pipeline": "p1" } },
        "status": { "phase": "Verified", "attempt": 1, "reason": "ResetVerified", "message": "", "completedAt": "2026-03-01T00:00:00Z" },
    });
    let at = |version: &str, rest: Value| {
        let mut body = rest;
        body["metadata"]["resourceVersion"] = json!(version);
        body
    };
    let closed = json!({ "status": { "phase": "Held", "attempt": 1, "reason": "OutcomeUnknown", "message": "m", "completedAt": "2026-03-01T00:00:00Z" } });
    let kafka = json!({ "kafka": { "bootstrapServers": ["b:9092"], "consumerGroup": "g" } });
    let parent =
        json!({ "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": { "name": "p1" }, "spec": kafka });
    let pods = json!({ "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "c", "image": "none" }] } });
    let workload = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d1" },
        "spec": { "replicas": 0, "selector": { "matchLabels": { "a": "b" } }, "template": pods },
    });
    let mut parent_status = at("RV", parent.clone());
    parent_status["status"] = json!({ "observedUID": "u" });
    let mut stale_status = at("OLD", parent.clone());
    stale_status["status"] = json!({ "observedUID": "v" });
    vec![
        ("no such record", "GET", one.clone(), Value::Null),
        ("a record is created, without the status that came along", "POST", record.clone(), object.clone()),
        ("it is created once", "POST", record.clone(), object),
        ("a plan is put there", "PATCH", one.clone(), at("RV", json!({ "spec": { "plan": plan(1), "writer": writer(1, 1) } }))),
        ("a stale version", "PATCH", one.clone(), at("OLD", json!({ "spec": { "writer": writer(2, 1) } }))),
        ("another plan instead", "PATCH", one.clone(), at("RV", json!({ "spec": { "plan": plan(2) } }))),
        ("another request", "PATCH", one.clone(), at("RV", json!({ "spec": { "request": { "id": "other" } } }))),
        ("nothing new", "PATCH", one.clone(), at("RV", json!({ "spec": { "writer": writer(1, 1) } }))),
        ("a retry", "PATCH", one.clone(), at("RV", json!({ "spec": { "writer": writer(2, 2) } }))),
        ("closed", "PATCH", format!("{one}/status"), at("RV", closed.clone())),
        ("closed by a stale look", "PATCH", format!("{one}/status"), at("OLD", closed)),
        ("a status on the object itself", "PATCH", one.clone(), at("RV", json!({ "status": { "message": "n" } }))),
        ("the plan is dropped", "PATCH", one.clone(), at("RV", json!({ "spec": { "plan": null, "writer": null } }))),
        ("listed by its label", "GET", format!("{record}?labelSelector=streampipeline.io%2Fpipeline%3Dp1"), Value::Null),
        ("not listed by another", "GET", format!("{record}?labelSelector=streampipeline.io%2Fpipeline%3Dp2"), Value::Null),
        (
            "listed, but for what is over",
            "GET",
            format!("{record}?labelSelector=streampipeline.io%2Fpipeline%3Dp1&fieldSelector=status.over%21%3Dtrue"),
            Value::Null,
        ),
        ("it is over", "PATCH", format!("{one}/status"), at("RV", json!({ "status": { "over": true } }))),
        (
            "not listed any more",
            "GET",
            format!("{record}?labelSelector=streampipeline.io%2Fpipeline%3Dp1&fieldSelector=status.over%21%3Dtrue"),
            Value::Null,
        ),
        ("a pipeline", "POST", pipelines.clone(), parent),
        ("its status", "PUT", format!("{pipeline}/status"), parent_status),
        ("its status by a stale look", "PUT", format!("{pipeline}/status"), stale_status),
        ("has_finalizer", "PATCH", pipeline.clone(), at("RV", json!({ "metadata": { "finalizers": ["streampipeline.io/bring-back"] } }))),
        ("deleted, and held", "DELETE", pipeline.clone(), Value::Null),
        ("still there", "GET", pipeline.clone(), Value::Null),
        ("let go", "PATCH", pipeline.clone(), at("RV", json!({ "metadata": { "finalizers": [] } }))),
        ("gone", "GET", pipeline, Value::Null),
        ("a workload", "POST", deployments, workload),
        ("its scale", "GET", format!("{deployment}/scale"), Value::Null),
        ("scaled by a stale look", "PATCH", format!("{deployment}/scale"), at("1", json!({ "spec": { "replicas": 2 } }))),
        ("a scale of nothing", "GET", format!("{APPS}/deployments/d2/scale"), Value::Null),
        ("a kind that nobody serves", "GET", "/apis/keda.sh/v1alpha1/namespaces/NS/scaledobjects".to_owned(), Value::Null),
    ]
}

/// The part of an answer that must be equal: no uids, versions and times, but whether those changed.
fn essence((code, body): &Reply, before: Option<&Value>) -> Value {
    if *code >= 400 {
        return json!({ "code": code, "reason": body["reason"] });
    }
    if body["kind"] == "Table" {
        let columns: Vec<_> = body["columnDefinitions"].as_array().into_iter().flatten().map(|column| &column["name"]).collect();
        let cell = |row: &Value, name: &str| columns.iter().position(|column| *column == name).map(|at| row["cells"][at].clone());
        let row = |row: &Value| json!([row["object"]["metadata"]["name"], cell(row, "Phase"), cell(row, "Stopped")]);
        let rows: Vec<_> = body["rows"].as_array().into_iter().flatten().map(row).collect();
        return json!({ "code": code, "rows": rows });
    }
    let of = &body["metadata"];
    let is_scale = body["kind"] == "Scale";
    json!({
        "code": code, "generation": if is_scale { &Value::Null } else { &of["generation"] }, "finalizers": of["finalizers"].as_array().cloned().unwrap_or_default(),
        "deleted": of["deletionTimestamp"].is_string(), "spec": if body["kind"] == "Deployment" { &Value::Null } else { &body["spec"] },
        "status": if is_scale { body["status"]["replicas"].clone() } else if body["kind"] == "Deployment" { Value::Null } else { body["status"].clone() },
        "written": before.is_none_or(|b| b["metadata"]["resourceVersion"] != of["resourceVersion"]),
        "same object": before.is_none_or(|b| b["metadata"]["uid"] == of["uid"]),
    })
}

/// Versions per object, from the first and the last answer about it.
#[derive(Default)]
struct Versions(BTreeMap<String, (Value, Value)>);

impl Versions {
    fn fill(&self, object: &str, body: &Value) -> Value {
        let mut body = body.clone();
        if let Some((first, last)) = self.0.get(object) {
            let version = match body["metadata"]["resourceVersion"].as_str() {
                Some("RV") => &last["metadata"]["resourceVersion"],
                Some("OLD") => &first["metadata"]["resourceVersion"],
                _ => return body,
            };
            body["metadata"]["resourceVersion"] = version.clone();
        }
        body
    }

    fn note(&mut self, object: &str, reply: &Reply) {
        if reply.0 < 300 && reply.1["metadata"]["resourceVersion"].is_string() && reply.1["kind"] != "Table" {
            self.0.entry(object.to_owned()).or_insert_with(|| (reply.1.clone(), reply.1.clone())).1 = reply.1.clone();
        }
    }
}

fn object_of(path: &str, body: &Value) -> String {
    let path = path.trim_end_matches("/status").trim_end_matches("/scale");
    body["metadata"]["name"].as_str().filter(|name| !path.ends_with(name)).map_or_else(|| path.to_owned(), |name| format!("{path}/{name}"))
}

/// Records are listed as `kubectl get` prints them.
fn accepts(path: &str) -> &'static str {
    if path.contains("labelSelector") { "application/json;as=Table;v=v1;g=meta.k8s.io" } else { "application/json" }
}

async fn really(client: &Client, method: &str, path: &str, body: &Value) -> Reply {
    let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).expect("JSON") };
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = http::Request::builder().method(method).uri(path).header("content-type", kind).header("accept", accepts(path));
    let request = request.body(Body::from(bytes)).expect("a request");
    let response = client.send(request).await.expect("an answer");
    let code = response.status().as_u16();
    let bytes = response.into_body().collect_bytes().await.expect("a body");
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_answers_as_the_real_one() {
    let testbed = testbed::start().await;
    let namespace = testbed.namespace("conformance");
    let client = testbed.client().await;
    let (mut stand_in, mut known) = (ApiServer::default(), (Versions::default(), Versions::default()));
    for (what, method, path, body) in table() {
        let path = path.replace("NS", namespace.name());
        let object = object_of(&path, &body);
        let real_body = known.0.fill(&object, &body);
        let real = really(&client, method, &path, &real_body).await;
        let (plain, query) = path.split_once('?').unwrap_or((&path, ""));
        let request = Request {
            method: method.to_owned(),
            path: plain.to_owned(),
            query: query.to_owned(),
            accept: accepts(&path).to_owned(),
            called_at: Duration::ZERO,
            body: known.1.fill(&object, &body),
        };
        let ours = stand_in.serve(&request, Timestamp::now());
        let before = |known: &Versions| known.0.get(&object).map(|(_, last)| last.clone());
        let (real_essence, our_essence) = (essence(&real, before(&known.0).as_ref()), essence(&ours, before(&known.1).as_ref()));
        assert_eq!(our_essence, real_essence, "{what}: {method} {path}\nreal: {}\nours: {}", real.1, ours.1);
        known.0.note(&object, &real);
        known.1.note(&object, &ours);
    }
}

const DEADLINE: Duration = Duration::from_secs(30);

/// The part of a group's description that must be equal.
fn group_essence(identity: &GroupIdentity) -> String {
    match identity {
        GroupIdentity::Consumer(d) => format!("consumer {:?} {}", d.state, d.members.len()),
        GroupIdentity::Absent(d) => format!("absent {:?}", d.state),
        GroupIdentity::NotConsumer(_) => "something else".to_owned(),
    }
}

fn commit(topic: &str, partition: i32, offset: i64, leader_epoch: Option<i32>) -> OffsetCommit {
    OffsetCommit { topic: topic.to_owned(), partition, offset, leader_epoch, metadata: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_answers_as_the_real_one() {
    let bootstrap = testbed::start().await.bootstrap();
    let (topic, group) = ("conformance", "conformance-group");
    kafka::create_topic(&bootstrap, topic, 2, &[]).await;
    for partition in 0..2 {
        kafka::produce(&bootstrap, topic, partition, 10, |n| FIRST + n * 1000).await;
    }
    let policy = Arc::new(EndpointPolicy::parse(&["127.0.0.0/8", "localhost"], &[]).expect("a policy"));
    let program = env!("CARGO_BIN_EXE_stream-pipeline-operator").into();
    let processes = Processes::new(program, Bounds { most: 1, memory: None }, policy, Arc::default()).expect("a thread");
    let at = ("default", std::slice::from_ref(&bootstrap));
    let client = AdminClient::new(at, group, "conformance", &Security::default(), processes).expect("a client");
    let real: &dyn Admin = &client;
    let mut ours = Broker::new();
    ours.make_topic(topic, vec![(0, 10), (0, 10)]);

    // Topics.
    let names = [topic.to_owned(), "no-such-topic".to_owned()];
    let topics = |mut described: Vec<TopicDescription>| {
        described.sort_by(|a, b| a.name.cmp(&b.name));
        let one = |t: &TopicDescription| {
            (t.name.clone(), t.error, t.partitions.iter().map(|p| (p.partition, p.leader.is_some())).collect::<Vec<_>>())
        };
        described.iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(topics(ours.describe_topics(&names)), topics(real.describe_topics(&names, DEADLINE).await.expect("topics")));

    // Logs.
    let at = |partition| TopicPartition::new(topic, partition);
    for spec in [
        OffsetSpec::Earliest,
        OffsetSpec::Latest,
        OffsetSpec::MaxTimestamp,
        OffsetSpec::Timestamp(FIRST),
        OffsetSpec::Timestamp(FIRST + 1500),
        OffsetSpec::Timestamp(FIRST + 60_000),
    ] {
        let wanted = [(at(0), spec), (at(1), spec)];
        let offsets = |found: PerPartition<ListedOffset>| {
            found.into_iter().map(|(at, r)| (at, r.map(|l| (l.offset, l.timestamp)))).collect::<Vec<_>>()
        };
        let found = real.list_offsets(&wanted, IsolationLevel::ReadUncommitted, DEADLINE).await.expect("offsets");
        assert_eq!(offsets(ours.list_offsets(&wanted)), offsets(found), "{spec:?}");
    }

    // A group: first nothing, then commits, some of them refused, then members.
    let some = [at(0), at(1)];
    let mut steps = vec![
        vec![],
        vec![commit(topic, 0, 4, Some(0))],
        vec![commit(topic, 1, 7, None), commit(topic, 9, 1, None)],
        vec![commit(topic, 0, 2, None)],
    ];
    let member = vec![commit(topic, 0, 9, None), commit(topic, 9, 1, None)];
    steps.push(member);
    let last = steps.len() - 1;
    let mut consumer = None;
    for (number, commits) in steps.into_iter().enumerate() {
        if number == last {
            let joined = Consumer::classic(&bootstrap, group, topic, "member");
            joined.wait().await;
            consumer = Some(joined);
            ours.group(group).members.insert("member".to_owned());
            eventually("the member to be stable", DEADLINE, async || {
                let now = group_essence(&real.identify_group(group, DEADLINE).await.map_err(|e| e.to_string())?);
                if now == "consumer Stable 1" { Ok(()) } else { Err(now) }
            })
            .await;
        }
        if !commits.is_empty() {
            let result = real.alter_consumer_group_offsets(group, &commits, DEADLINE).await.expect("results");
            assert_eq!(ours.alter(group, &commits), result, "commits {number}");
        }
        if number > 0 {
            // One with a commit, and one of no topic.
            let gone = [at(1), at(9)];
            let result = real.delete_consumer_group_offsets(group, &gone, DEADLINE).await.expect("results");
            assert_eq!(ours.delete(group, &gone), Ok(result), "deletion {number}");
        } else {
            let result = real.delete_consumer_group_offsets(group, &some, DEADLINE).await.map_err(|e| e.code());
            assert_eq!(ours.delete(group, &some).map_err(Some), result, "deletion in no group");
        }
        let identity = real.identify_group(group, DEADLINE).await.expect("an identity");
        assert_eq!(group_essence(&ours.identify_group(group)), group_essence(&identity), "after {number}");
        for asked in [None, Some(&some[..])] {
            let held = |found: BTreeMap<TopicPartition, CommittedOffset>| {
                found.into_iter().filter(|(_, c)| c.offset.is_some() || c.error.is_some()).collect::<BTreeMap<_, _>>()
            };
            let found = real.list_consumer_group_offsets(group, asked, true, DEADLINE).await.expect("commits");
            assert_eq!(held(ours.committed(group, asked, true)), held(found), "after {number}, asked {asked:?}");
        }
    }
    consumer.expect("it joined").stop().await;
}
