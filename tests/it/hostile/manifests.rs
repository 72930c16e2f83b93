//! Hostile manifests among healthy pipelines: refused at admission by the name of the field, or served truthfully (F08).

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::core::Request;
use serde_json::{Value, json};
use stream_pipeline_core::Plan;
use stream_pipeline_core::words::is_unseen;
use testbed::eventually;

use super::mutations::{Case, case, schema};
use crate::support::process;
use crate::support::requests::ask;
use crate::support::settings;
use crate::support::world::{LIMIT, World};

/// So many objects exist at once.
const BATCH: usize = 60;
/// Bounds for the growth of memory: since the first cases, and since half of them.
const GROWTH_KIB: u64 = 48 * 1024;
const SECOND_HALF_KIB: u64 = 16 * 1024;

fn bases(bootstrap: &str, topic: &str) -> Vec<Value> {
    let whole = |spec: Value| json!({ "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "spec": spec });
    let ask = |more: Value| {
        let mut ask = json!({ "id": "r1", "whenCreated": "Run", "whenActive": "Wait", "waitTimeout": "5m", "note": "n" });
        ask.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        ask
    };
    let topics = json!([{ "name": topic, "partitions": [0] }]);
    let plain = |to: Value| {
        let ask = ask(json!({ "to": to, "topics": topics, "missingGroup": "Create", "quietPeriod": "0s" }));
        whole(json!({ "kafka": { "bootstrapServers": [bootstrap], "consumerGroup": "g" }, "offsetReset": ask }))
    };
    let ca = json!({ "secretKeyRef": { "name": "none", "key": "ca.crt" } });
    let secured = json!({
        "bootstrapServers": [bootstrap], "consumerGroup": "g",
        "tls": { "ca": ca, "clientCertificateSecretRef": { "name": "none" } },
        "sasl": { "mechanism": "OAUTHBEARER", "credentialsSecretRef": { "name": "none" }, "tokenEndpoint": "https://127.0.0.1:1/t", "clientID": "c", "scope": "s", "ca": ca },
        "workloads": [{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "none" }],
    });
    let enos = json!({
        "endpoint": "https://127.0.0.1:1", "orgID": "o1", "pipelineID": "p1", "credentialsSecretRef": { "name": "none" },
        "ca": { "configMapKeyRef": { "name": "none" } },
        "start": { "executionMode": "Standalone", "kafkaRate": 1000, "resourceConfig": { "server": "1" } },
    });
    vec![
        plain(json!({ "position": "Earliest" })),
        plain(json!({ "timestamp": "2026-01-01T00:00:00Z" })),
        whole(
            json!({ "kafka": secured, "offsetReset": ask(json!({ "whenActive": "Pause", "to": { "shiftBy": -5 }, "outOfRange": "Clamp" })) }),
        ),
        whole(json!({ "enos": enos, "offsetReset": ask(json!({ "whenActive": "Pause" })) })),
    ]
}

/// The API server's answer to a case.
enum Answer {
    Refused(String),
    Accepted(Box<Value>),
    Broken(String),
}

async fn send(world: &World, manifest: &Value, options: &str) -> Answer {
    let path = format!("/apis/streampipeline.io/v1alpha1/namespaces/{}/streampipelines", world.namespace.name());
    let body = serde_json::to_vec(manifest).expect("a manifest is JSON");
    let mut request = Request::new(path.clone()).create(&PostParams::default(), body).expect("a request is made");
    *request.uri_mut() = format!("{path}?{options}").parse().expect("an address");
    match tokio::time::timeout(LIMIT, world.client.request::<Value>(request)).await {
        Err(_) => Answer::Broken("no answer".to_owned()),
        Ok(Ok(stored)) => Answer::Accepted(Box::new(stored)),
        Ok(Err(kube::Error::Api(status))) if (400..500).contains(&status.code) => Answer::Refused(status.message.clone()),
        Ok(Err(e)) => Answer::Broken(format!("{e:?}")),
    }
}

/// Counts, and what went wrong.
#[derive(Default)]
struct Outcome {
    cases: usize,
    refused: usize,
    served: BTreeMap<String, usize>,
    failures: Vec<String>,
}

impl Outcome {
    fn fail(&mut self, seed: u64, case: &Case, why: &str) {
        let manifest: String = case.manifest.to_string().chars().take(2000).collect();
        self.failures.push(format!("seed {seed} case {}: {}\n    {why}\n    {manifest}", case.number, case.what));
    }

    fn line(&self, seed: u64, before: u64, middle: u64, after: u64) -> String {
        let served: usize = self.served.values().sum();
        let by: Vec<_> = self.served.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
        format!(
            "hostile: seed {seed}, {} cases: {} refused, {served} served ({}), {} failed; memory {before} KiB after the first, {middle} KiB after half, {after} KiB at the end",
            self.cases,
            self.refused,
            by.join(", "),
            self.failures.len()
        )
    }
}

fn named(case: &Case, message: &str) -> bool {
    case.fields.iter().any(|field| is_segment(message, field))
}

/// Whether a message speaks of this field: as a part of a path, in quotes, or alone before a colon.
fn is_segment(message: &str, field: &str) -> bool {
    message.match_indices(field).any(|(begin, _)| {
        let before = message[..begin].chars().next_back();
        let after = message[begin + field.len()..].chars().next();
        let ends = !after.is_some_and(|c| c.is_alphanumeric() || c == '_');
        match before {
            Some('.' | '"' | '\'' | '`') => ends,
            None | Some(' ' | '[') => after == Some(':'),
            _ => false,
        }
    })
}

#[test]
fn f08_a_field_is_named_by_its_path_and_not_by_a_word() {
    for (message, named) in [
        ("spec.offsetReset.to: Invalid value", true),
        ("unknown field \"spec.to\"", true),
        ("to: Required value", true),
        ("it has to be one of these", false),
        ("spec.offsetReset.topics[0]: Required value", false),
        ("the total: 5", false),
    ] {
        assert_eq!(is_segment(message, "to"), named, "{message}");
    }
}

async fn batch(world: &World, seed: u64, cases: Vec<Case>, topic: &str, outcome: &mut Outcome) {
    let mut waiting = Vec::new();
    let answers = stream::iter(cases).map(|case| async {
        let strict = send(world, &case.manifest, "fieldValidation=Strict&dryRun=All").await;
        let lax = send(world, &case.manifest, "fieldValidation=Ignore").await;
        (case, strict, lax)
    });
    let answers: Vec<_> = answers.buffered(8).collect().await;
    for (case, strict, lax) in answers {
        outcome.cases += 1;
        match &strict {
            Answer::Broken(why) => outcome.fail(seed, &case, why),
            Answer::Refused(message) if !named(&case, message) => outcome.fail(seed, &case, &format!("strict, no field named: {message}")),
            _ => {}
        }
        match lax {
            Answer::Broken(why) => outcome.fail(seed, &case, &why),
            Answer::Refused(message) if named(&case, &message) => outcome.refused += 1,
            Answer::Refused(message) => outcome.fail(seed, &case, &format!("no field named: {message}")),
            Answer::Accepted(stored) => waiting.push((case, stored["metadata"]["name"].as_str().unwrap_or_default().to_owned())),
        }
    }
    for (case, name) in waiting {
        match served(world, &name).await {
            Err(seen) => outcome.fail(seed, &case, &format!("no status: {seen}")),
            Ok(object) => {
                let (reason, problem) = judge(world, &case, &object, topic).await;
                if let Some(why) = problem {
                    outcome.fail(seed, &case, &why);
                }
                *outcome.served.entry(reason).or_default() += 1;
            }
        }
        let _ = world.untyped().delete(&name, &DeleteParams::default()).await;
    }
}

/// The object, once the operator has written a status for its generation.
async fn served(world: &World, name: &str) -> Result<Value, String> {
    let begun = std::time::Instant::now();
    loop {
        let object = world.untyped().get(name).await.map_err(|e| e.to_string())?;
        let object = serde_json::to_value(object).map_err(|e| e.to_string())?;
        let seen = object["metadata"]["generation"] == object["status"]["observedGeneration"];
        if seen && ready(&object).is_some() {
            return Ok(object);
        }
        if begun.elapsed() > LIMIT {
            return Err(object["status"].to_string());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn ready(object: &Value) -> Option<&Value> {
    object["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == "Ready")
}

/// The reason, and what is untrue about the status.
async fn judge(world: &World, case: &Case, object: &Value, topic: &str) -> (String, Option<String>) {
    let ready = ready(object).cloned().unwrap_or_default();
    let reason = ready["reason"].as_str().unwrap_or_default().to_owned();
    let stage = &object["status"]["offsetReset"]["stage"];
    let said = object["status"].to_string();
    let problem = if object["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(|c| unfit(&c["message"]))) {
        Some(format!("a message with control characters, or a long one: {said}"))
    } else if stage == "Verified" && !moved(world, object, topic).await {
        Some(format!("a reset is claimed that was not made: {said}"))
    } else if case.unknown.as_deref().is_some_and(|at| at.starts_with("spec.offsetReset") && kept(case, object)) && reason != "UnknownField"
    {
        Some(format!("a field that nobody knows is kept and not refused: {said}"))
    } else {
        None
    };
    (reason, problem)
}

fn kept(case: &Case, object: &Value) -> bool {
    let pointer = format!("/{}/{}", case.unknown.as_deref().unwrap_or_default().replace('.', "/"), case.fields[0].replace('/', "~1"));
    object.pointer(&pointer).is_some()
}

fn unfit(message: &Value) -> bool {
    message.as_str().is_none_or(|m| m.is_empty() || m.len() > 8192 || m.contains(is_unseen))
}

/// Whether the group stands where its record's plan says.
async fn moved(world: &World, object: &Value, topic: &str) -> bool {
    let group = object["spec"]["kafka"]["consumerGroup"].as_str().unwrap_or_default();
    let name = object["status"]["offsetReset"]["recordRef"]["name"].as_str().unwrap_or_default();
    let Some(plan) = world.records().get(name).await.ok().and_then(|record| record.spec.plan) else { return false };
    let plan = Plan::of_record(&plan);
    let goals: Vec<_> = plan.changes().filter_map(|row| Some((row.at.topic.as_str(), row.at.partition, row.aim.offset()?))).collect();
    let stands = world.offsets(group, topic, 1).await[0];
    !goals.is_empty() && goals.iter().all(|(on, partition, offset)| (*on, *partition, Some(*offset)) == (topic, 0, stands))
}

/// Every healthy pipeline takes a fresh request to its end.
async fn all_healthy(world: &World, healthy: &[(String, String)], topic: &str, id: &str, position: &str, expected: i64) {
    for (name, group) in healthy {
        world.apply(name, group, ask(id, position)).await;
    }
    for (name, group) in healthy {
        world.verified(name, id).await;
        assert_eq!(world.offsets(group, topic, 1).await, [Some(expected)], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f08_hostile_manifests_are_refused_by_field_or_served_truthfully() {
    let (seed, cases) = (settings::number("SEED", 1), usize::try_from(settings::number("CASES", 120)).expect("a number of cases"));
    let mut world = World::new("hostile").await;
    let topic = world.topic(&[10]).await;
    let bystander = world.group(&topic, &[5]).await;
    let mut healthy = Vec::new();
    for n in 0..3 {
        let group = world.group(&topic, &[7]).await;
        world.known(&format!("healthy-{n}"), &group).await;
        healthy.push((format!("healthy-{n}"), group));
    }
    world.known("bystander", &bystander).await;
    let pid = world.operator().pid();
    let (schema, bases) = (schema(), bases(&world.bootstrap, &topic));
    all_healthy(&world, &healthy, &topic, "before", "Earliest", 0).await;
    let mut outcome = Outcome::default();
    let (mut before, mut middle, mut next) = (0, 0, 0);
    while next < cases {
        let end = (next + BATCH).min(cases);
        let made = (next..end).map(|n| case(seed, n, &schema, &bases)).collect();
        let during = format!("during-{next}");
        let (position, expected) = if next % (2 * BATCH) == 0 { ("Latest", 10) } else { ("Earliest", 0) };
        tokio::join!(batch(&world, seed, made, &topic, &mut outcome), all_healthy(&world, &healthy, &topic, &during, position, expected));
        if before == 0 {
            before = process::memory(pid);
        }
        if middle == 0 && 2 * end >= cases {
            middle = process::memory(pid);
        }
        next = end;
    }
    let all = ListParams::default();
    eventually("the cases to be gone", LIMIT, async || {
        let left = world.untyped().list(&all).await.map_err(|e| e.to_string())?;
        let names: Vec<_> = left.items.iter().filter_map(|o| o.metadata.name.clone()).collect();
        if names.len() == healthy.len() + 1 { Ok(()) } else { Err(names.join(", ")) }
    })
    .await;
    all_healthy(&world, &healthy, &topic, "after", "Earliest", 0).await;
    assert_eq!(world.offsets(&bystander, &topic, 1).await, [Some(5)], "the offset of a group without a request");
    assert!(world.operator().is_running() && world.operator().pid() == pid, "the operator must still be the same process");
    let log = world.operator().log();
    assert!(!log.contains("panicked"), "the log tells of a panic");
    assert!(!log.replace('\n', "").contains(is_unseen), "characters in the log that nobody sees");
    let after = process::memory(pid);
    let line = outcome.line(seed, before, middle, after);
    println!("{line}");
    settings::write_counts(&format!(
        "{line}
"
    ));
    assert_eq!(outcome.cases, cases);
    assert!(outcome.failures.is_empty(), "{}", outcome.failures.join("\n"));
    assert!(after < before + GROWTH_KIB && after < middle + SECOND_HALF_KIB, "expected memory that stays within its bounds: {line}");
}
