//! The table of manifests on a real API server, by each way in which clients send manifests.

use std::fs;
use std::process::Output;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, Status};
use kube::{Api, Client, CustomResourceExt};
use serde_json::{Value, json};
use stream_pipeline_api::StreamPipeline;
use testbed::Testbed;

use crate::support::manifests::{Acceptance, By, Refusal, Row, rules_of, table};
use crate::support::status::assert_has;

/// StreamPipelines as the API server has them, decoded or not.
pub fn untyped(client: Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client, namespace, &ApiResource::erase::<StreamPipeline>(&()))
}

/// Creates the object of a row, and updates it where the row is about an update.
async fn send(api: &Api<DynamicObject>, row: &Row, name: &str) -> Result<DynamicObject, kube::Error> {
    let created = serde_json::from_value(row.manifest(name)).expect("an object");
    let created = api.create(&PostParams::default(), &created).await;
    let Some(mut updated) = row.updated(name) else { return created };
    let created = created.unwrap_or_else(|e| panic!("{}: refused before the update: {e}", row.name));
    updated["metadata"]["resourceVersion"] = json!(created.metadata.resource_version);
    api.replace(name, &PostParams::default(), &serde_json::from_value(updated).expect("an object")).await
}

/// Refused as invalid, by the part of the API server that the row names, for one reason that says all that the row says.
fn reason_is_wrong(refusal: &Refusal, rules: &[String], status: &Status) -> Option<String> {
    if status.code != 422 || status.reason != "Invalid" {
        return Some(format!("refused otherwise: {} {}: {}", status.code, status.reason, status.message));
    }
    let causes: Vec<_> = status.details.iter().flat_map(|d| &d.causes).collect();
    let by = |message: &str| if rules.iter().any(|rule| message.contains(rule.as_str())) { By::Cel } else { By::Schema };
    // Where the schema is violated, the API server adds that it has not checked the rules.
    let meant: Vec<_> = causes.iter().filter(|c| !c.message.contains("some validation rules were not checked")).collect();
    let fits = meant.iter().filter(|c| {
        let said = format!("{}: {}", c.field, c.message);
        by(&c.message) == refusal.by && refusal.says.iter().all(|part| said.contains(part.as_str()))
    });
    match (fits.count(), meant.len()) {
        (0, _) => Some(format!("no reason by {:?} has all of {:?}: {causes:?}", refusal.by, refusal.says)),
        (_, all) if refusal.by == By::Cel && all > 1 => Some(format!("more than one reason: {causes:?}")),
        _ => None,
    }
}

fn refusal_is_wrong(refusal: &Refusal, answer: &str) -> Option<String> {
    let missing: Vec<_> = refusal.says.iter().filter(|part| !answer.contains(part.as_str())).collect();
    // With two messages for one mistake a person would not know which one is meant.
    if refusal.by == By::Cel && answer.contains("is invalid: [") {
        return Some(format!("more than one message: {answer}"));
    }
    if missing.is_empty() { None } else { Some(format!("the message lacks {missing:?}: {answer}")) }
}

fn acceptance_is_wrong(acceptance: &Acceptance, sent: &Value, stored: &Value) -> Option<String> {
    let at = |at: &String| format!("{at} is {:?}", stored.pointer(at));
    let changed = acceptance.kept.iter().find(|p| sent.pointer(p).is_none() || sent.pointer(p) != stored.pointer(p)).map(at);
    let there = acceptance.dropped.iter().find(|p| stored.pointer(p).is_some()).map(at);
    let other = acceptance.becomes.iter().find(|(p, value)| stored.pointer(p) != Some(value)).map(|(p, _)| at(p));
    let unread = serde_json::from_value::<StreamPipeline>(stored.clone()).err().map(|e| format!("stored, but not decoded: {e}"));
    changed.or(there).or(other).or(unread)
}

#[tokio::test]
async fn f08_every_row_of_the_table_is_refused_or_accepted_as_it_says() {
    let testbed = testbed::start().await;
    let namespace = testbed.namespace("f08-table");
    let api = untyped(testbed.client().await, namespace.name());
    let (mut wrong, mut accepted) = (Vec::new(), 0);
    let rules = rules_of(&json!(StreamPipeline::crd()));
    for (n, row) in table().into_iter().enumerate() {
        let name = format!("row-{n}");
        let sent = row.updated(&name).unwrap_or_else(|| row.manifest(&name));
        let problem = match (&row.refused, &row.accepted, send(&api, &row, &name).await) {
            (Some(_), _, Ok(_)) => Some("accepted".to_owned()),
            (Some(refusal), _, Err(kube::Error::Api(status))) => {
                println!("{}\n    {}", row.name, status.message);
                reason_is_wrong(refusal, &rules, &status)
            }
            (Some(_), _, Err(e)) => Some(format!("no answer: {e}")),
            (_, Some(acceptance), Ok(stored)) => {
                accepted += 1;
                acceptance_is_wrong(acceptance, &sent, &serde_json::to_value(stored).expect("an object is JSON"))
            }
            (_, _, Err(e)) => Some(format!("refused: {e}")),
            (None, None, Ok(_)) => Some("no expectation".to_owned()),
        };
        wrong.extend(problem.map(|p| format!("{}: {p}", row.name)));
        if row.accepted.is_none() && row.updated(&name).is_some() {
            api.delete(&name, &DeleteParams::default()).await.expect("the object before the update is there");
        }
    }
    assert!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
    // F09: a single object that cannot be decoded would break the list, and with it the watch, of all objects.
    let all: Api<StreamPipeline> = Api::namespaced(testbed.client().await, namespace.name());
    assert_eq!(all.list(&ListParams::default()).await.expect("every stored object is decoded").items.len(), accepted);
}

#[test]
fn f08_a_refusal_for_a_wrong_reason_is_told_from_the_right_one() {
    let row = table().into_iter().find(|r| r.name == "two targets at once").expect("the table has that row");
    let refusal = row.refused.expect("it is refused");
    let rules = rules_of(&json!(StreamPipeline::crd()));
    let right = rules.iter().find(|r| r.contains("exactly one of position, timestamp, ") && r.contains("several")).expect("a rule");
    let status = |code: u16, reason: &str, causes: &[(&str, &str)]| -> Status {
        let causes: Vec<_> =
            causes.iter().map(|(field, message)| json!({ "reason": "FieldValueInvalid", "field": field, "message": message })).collect();
        let all: Vec<_> = causes.iter().map(|c| c["message"].clone()).collect();
        let status = json!({ "status": "Failure", "message": json!(all).to_string(), "reason": reason, "code": code, "details": { "causes": causes } });
        serde_json::from_value(status).expect("a status")
    };
    let said = format!("Invalid value: {right}");
    assert_eq!(reason_is_wrong(&refusal, &rules, &status(422, "Invalid", &[("spec.offsetReset.to", &said)])), None);
    for (what, wrong) in [
        ("another's refusal that has the words", status(403, "Forbidden", &[("spec.offsetReset.to", &said)])),
        ("the words, but by no rule", status(422, "Invalid", &[("spec.offsetReset.to", "exactly one of position, timestamp, shiftBy")])),
        (
            "the field in one reason and the rule in another",
            status(422, "Invalid", &[("spec.offsetReset.to.timestamp", "no"), ("spec", right)]),
        ),
        ("a second one besides", status(422, "Invalid", &[("spec.offsetReset.to", &said), ("spec.kafka", &format!("no: {}", rules[0]))])),
        ("no reason at all", status(422, "Invalid", &[])),
    ] {
        assert!(reason_is_wrong(&refusal, &rules, &wrong).is_some(), "expected a wrong reason to be found: {what}");
    }
}

fn kubectl_create(testbed: &Testbed, namespace: &str, text: &str) -> Output {
    let path = std::env::temp_dir().join(format!("{namespace}.yaml"));
    fs::write(&path, text).expect("a temporary file is written");
    let file = path.display().to_string();
    let output = testbed.kubectl(&["create", "-n", namespace, "--dry-run=server", "-o", "json", "-f", &file]);
    let _ = fs::remove_file(&path);
    output
}

/// kubectl reads YAML in its own way (`1.8e6`, times and numbers without quotes).
#[tokio::test]
async fn f08_rows_about_spelling_get_the_same_verdict_from_kubectl() {
    let testbed = testbed::start().await;
    let namespace = testbed.namespace("f08-kubectl");
    let mut wrong = Vec::new();
    for row in table() {
        let Some(text) = row.file("row") else { continue };
        let output = kubectl_create(testbed, namespace.name(), &text);
        let answer = String::from_utf8_lossy(&output.stderr);
        let problem = match (&row.refused, &row.accepted) {
            (Some(_), _) if output.status.success() => Some("accepted".to_owned()),
            (Some(refusal), _) => refusal_is_wrong(refusal, &answer),
            (_, Some(acceptance)) if output.status.success() => {
                let stored: Value = serde_json::from_slice(&output.stdout).expect("kubectl prints JSON");
                acceptance_is_wrong(acceptance, &stored, &stored)
            }
            _ => Some(format!("refused: {answer}")),
        };
        wrong.extend(problem.map(|p| format!("{}: {p}", row.name)));
    }
    assert!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Other clients than kubectl may send an integer as a floating-point number. It is refused by the name of its field.
#[tokio::test]
async fn f08_a_floating_number_for_an_integer_is_refused_by_name() {
    let testbed = testbed::start().await;
    let namespace = testbed.namespace("f08-float");
    let mut object = table().remove(0).manifest("row");
    object["spec"]["offsetReset"]["to"] = json!({ "shiftBy": 1.8e6 });
    assert!(object.to_string().contains("1800000.0"));
    let api = untyped(testbed.client().await, namespace.name());
    let answer = api.create(&PostParams::default(), &serde_json::from_value(object).expect("an object")).await;
    let answer = answer.expect_err("a floating number").to_string();
    assert_has(answer, &["spec.offsetReset.to.shiftBy", "expected int, got float64"]);
}

/// As `kubectl create -f` does by default.
#[tokio::test]
async fn f09_unknown_fields_are_kept_inside_the_request_and_named_to_strict_clients_elsewhere() {
    let testbed = testbed::start().await;
    let namespace = testbed.namespace("f09-strict");
    let (mut kept, mut told) = (0, 0);
    for row in table().iter().filter(|r| r.name.starts_with("unknown field")) {
        let acceptance = row.accepted.as_ref().expect("unknown fields are not refused by the schema");
        let sent = row.manifest("row");
        let output = kubectl_create(testbed, namespace.name(), &sent.to_string());
        let answer = String::from_utf8_lossy(&output.stderr);
        match &acceptance.strict {
            Some(says) => {
                assert!(!output.status.success() && answer.contains(says), "{}: {answer}", row.name);
                told += 1;
            }
            None => {
                assert!(output.status.success(), "{}: {answer}", row.name);
                let stored = serde_json::from_slice(&output.stdout).expect("kubectl prints JSON");
                assert_eq!(acceptance_is_wrong(acceptance, &sent, &stored), None, "{}", row.name);
                kept += 1;
            }
        }
    }
    assert_eq!((kept, told), (4, 2));
}

/// As Helm 4, Flux and Argo CD may do. Server-side apply refuses null and fields that are not declared, by name.
#[tokio::test]
async fn f08_accepted_rows_are_accepted_by_server_side_apply() {
    let testbed = testbed::start().await;
    let namespace = testbed.namespace("f08-apply");
    let api = untyped(testbed.client().await, namespace.name());
    for row in table() {
        let Some(acceptance) = &row.accepted else { continue };
        let manifest = row.manifest("row");
        let name = manifest["metadata"]["name"].as_str().expect("a name");
        let answer = api.patch(name, &PatchParams::apply("test").dry_run(), &Patch::Apply(&manifest)).await.map_err(|e| e.to_string());
        let undeclared = acceptance.strict.is_some();
        let null = manifest.to_string().contains("null");
        match answer {
            Ok(_) => assert!(!undeclared, "{}: an undeclared field was dropped without a word", row.name),
            Err(e) if undeclared => assert!(e.contains("field not declared in schema"), "{}: {e}", row.name),
            Err(e) if null => assert!(e.contains("must be of type"), "{}: {e}", row.name),
            Err(e) => panic!("{}: {e}", row.name),
        }
    }
}

#[tokio::test]
async fn f08_the_api_server_takes_the_definitions_without_a_remark() {
    let api: Api<CustomResourceDefinition> = Api::all(testbed::start().await.client().await);
    for name in ["streampipelines.streampipeline.io", "offsetresetrecords.streampipeline.io"] {
        let crd = api.get(name).await.expect("the testbed has installed it");
        let conditions = crd.status.and_then(|s| s.conditions).unwrap_or_default();
        let states: Vec<_> = conditions.iter().map(|c| (c.type_.as_str(), c.status.as_str())).collect();
        assert!(states.contains(&("Established", "True")), "{name}: {states:?}");
        assert!(!states.iter().any(|s| s.0 == "NonStructuralSchema"), "{name}: {states:?}");
    }
}
