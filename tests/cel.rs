//! The API without a cluster: the rules of the generated CRDs, evaluated on the table of manifests and on the examples.

use kube::core::cel::{ErrorKind, Validator};
use kube::{CustomResourceExt, ResourceExt};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use stream_pipeline_api::{BackendIdentity, OffsetReset, OffsetResetRecord, OffsetResetRecordSpec, PipelineRef, StreamPipeline};

use manifests::{By, rules_of, table};

#[path = "support/manifests/mod.rs"]
mod manifests;

/// What the rules say about JSON as it was sent, each with the path of its field.
fn rules_say(object: &Value, old: Option<&Value>) -> Vec<String> {
    let crd = StreamPipeline::crd();
    let schema = crd.spec.versions[0].schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
    let schema = serde_json::to_value(schema.expect("the CRD has a schema")).expect("a schema is JSON");
    let errors = Validator::new().validate(&schema, object, old).err().map_or_else(Vec::new, |e| e.into_vec());
    for error in &errors {
        assert_eq!(error.kind, ErrorKind::ValidationFailure, "a rule could not be evaluated: {error:?}");
    }
    errors.into_iter().map(|e| format!("{}: {}", e.field_path, e.message)).collect()
}

/// JSON as the API server stores it: a null field is none.
fn as_stored(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(as_stored).collect::<Vec<_>>().into(),
        Value::Object(fields) => {
            fields.into_iter().filter(|(_, v)| !v.is_null()).map(|(key, value)| (key, as_stored(value))).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}

fn decode(object: &Value) -> Result<StreamPipeline, serde_json::Error> {
    serde_json::from_value(as_stored(object.clone()))
}

/// A rule that no row breaks could be gone, and nobody would notice.
#[test]
fn f08_every_rule_is_broken_by_a_row_of_the_table() {
    let mut said = Vec::new();
    for row in table().iter().filter(|r| r.refused.as_ref().is_some_and(|r| r.by == By::Cel)) {
        let created = as_stored(row.manifest("row"));
        said.extend(match row.updated("row") {
            Some(updated) => rules_say(&as_stored(updated), Some(&created)),
            None => rules_say(&created, None),
        });
    }
    let rules = rules_of(&json!(StreamPipeline::crd()));
    let untried: Vec<_> = rules.iter().filter(|rule| !said.iter().any(|message| message.contains(rule.as_str()))).collect();
    assert!(untried.is_empty(), "expected each of {} rules to be broken by a row, none breaks {untried:#?}", rules.len());
}

#[test]
fn f08_rules_agree_with_the_table() {
    let mut wrong = Vec::new();
    for row in table() {
        let created = row.manifest("row");
        let (object, old) = match row.updated("row") {
            Some(updated) => (as_stored(updated), Some(as_stored(created))),
            None => (as_stored(created), None),
        };
        let by_rules = match &row.refused {
            Some(r) if r.by == By::Schema => continue,
            Some(r) => Some(&r.says),
            None => None,
        };
        let said = rules_say(&object, old.as_ref());
        let one_message_has_it_all = |says: &Vec<String>| said.iter().any(|m| says.iter().all(|part| m.contains(part)));
        match by_rules {
            None if !said.is_empty() => wrong.push(format!("{}: accepted by the table, refused here: {said:?}", row.name)),
            Some(says) if !one_message_has_it_all(says) => {
                wrong.push(format!("{}: no message contains all of {says:?}: {said:?}", row.name))
            }
            // A person who reads two messages for one mistake has to find out which one is meant.
            Some(_) if said.len() > 1 => wrong.push(format!("{}: more than one message: {said:?}", row.name)),
            _ => {}
        }
        // The same by the typed way, as far as what is refused can be read at all, and is not read as something else
        // (an empty duration as 0s).
        let typed = decode(&object).map(|new| match &old {
            Some(old) => new.validate_cel_update(&decode(old).expect("the object before an update is whole")),
            None => new.validate_cel(),
        });
        let same = decode(&object).is_ok_and(|o| serde_json::to_value(o.spec).is_ok_and(|spec| spec == object["spec"]));
        match (by_rules, typed) {
            (None, Err(e)) => wrong.push(format!("{}: accepted, but cannot be decoded: {e}", row.name)),
            (None, Ok(Err(e))) => wrong.push(format!("{}: accepted, but not by validate_cel: {e}", row.name)),
            (Some(_), Ok(Ok(()))) if same => wrong.push(format!("{}: refused, but not by validate_cel", row.name)),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A request goes into the record as it was decoded, not as it was written.
#[test]
fn f09_what_is_accepted_is_accepted_in_the_record_too_and_read_back_the_same() {
    for row in table().iter().filter(|r| r.accepted.is_some()) {
        let object = decode(&row.updated("row").unwrap_or_else(|| row.manifest("row"))).expect("an accepted manifest is decoded");
        let Some(request) = object.spec.offset_reset else { continue };
        same_in_the_record(&request).unwrap_or_else(|e| panic!("{}: {e}", row.name));
    }
}

fn same_in_the_record(request: &OffsetReset) -> Result<(), String> {
    let spec = OffsetResetRecordSpec {
        target: String::new(),
        pipeline: PipelineRef { name: "p".to_owned(), uid: "0815".to_owned() },
        request: request.clone(),
        backend: BackendIdentity::Kafka { cluster_id: "c".to_owned(), consumer_group: "g".to_owned() },
        created_at: jiff::Timestamp::UNIX_EPOCH,
        deadline: jiff::Timestamp::UNIX_EPOCH,
        run_state_before: None,
        writer: None,
        plan: None,
    };
    let record = OffsetResetRecord::new("r", spec);
    record.validate_cel().map_err(|e| format!("refused in a record: {e}"))?;
    let stored = serde_json::to_value(&record).map_err(|e| e.to_string())?;
    let read: OffsetResetRecord = serde_json::from_value(stored).map_err(|e| format!("not read back: {e}"))?;
    if &read.spec.request == request { Ok(()) } else { Err(format!("read back as {:?}", read.spec.request)) }
}

#[test]
fn f09_unknown_fields_of_a_request_are_decoded_into_sight() {
    let row = table().into_iter().find(|r| r.name == "unknown field in the request").expect("the table has that row");
    let request = decode(&row.manifest("row")).expect("it is decoded").spec.offset_reset.expect("it has a request");
    assert_eq!(request.unknown.keys().collect::<Vec<_>>(), ["dryrun", "expireAt"]);
}

#[test]
fn e11_a_target_on_enos_is_refused_at_admission() {
    let row = table().into_iter().find(|r| r.name == "E11 a target on EnOS").expect("the table has that row");
    let said = rules_say(&row.manifest("row"), None);
    assert!(said.len() == 1 && said[0].contains("the platform decides where the position goes"), "{said:?}");
}

#[test]
fn every_example_is_accepted() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).expect("there are examples") {
        let path = entry.expect("the folder can be read").path();
        if path.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("an example can be read");
        let comments = text.lines().take_while(|l| l.starts_with("# ")).count();
        assert!((1..=4).contains(&comments), "{}: one to four lines say when to use it", path.display());
        // What it needs comes before it.
        let last = text.rsplit("\n---\n").next().unwrap_or_default();
        let object: Value = serde_saphyr::from_str(last).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(rules_say(&object, None), Vec::<String>::new(), "{}", path.display());
        let pipeline = decode(&object).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let unknown = pipeline.spec.offset_reset.as_ref().map(|r| r.unknown.len() + r.to.iter().map(|to| to.unknown.len()).sum::<usize>());
        assert_eq!(unknown, Some(0), "{}: a field that this version does not know", pipeline.name_any());
        count += 1;
    }
    assert!(count >= 7, "{count} examples");
}

fn with(field: &str, value: &str) -> Value {
    let mut request = json!({ "id": "replay-1", "to": { "position": "Earliest" } });
    if field == "timestamp" {
        request["to"] = json!({ "timestamp": value });
    } else {
        request[field] = json!(value);
    }
    if field == "quietPeriod" {
        request["waitTimeout"] = json!("720h");
    }
    json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": { "name": "p" },
        "spec": { "kafka": { "bootstrapServers": ["kafka.example.com:9092"], "consumerGroup": "g" }, "offsetReset": request }
    })
}

/// Whatever the rules let through is read, and survives the way into a record and back.
fn accepted_is_read(object: &Value) -> Result<bool, String> {
    if !rules_say(object, None).is_empty() {
        return Ok(false);
    }
    let request = decode(object).map_err(|e| format!("accepted, but not decoded: {e}"))?.spec.offset_reset;
    same_in_the_record(&*request.ok_or("no request")?).map(|()| true)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn f09_durations_that_are_accepted_are_read_without_loss(
        text in r"([0-9]{1,4}(\.[0-9]{1,4})?h)?([0-9]{1,6}(\.[0-9]{1,4})?m)?([0-9]{1,8}(\.[0-9]{1,4})?s)?([0-9]{1,11}ms)?"
    ) {
        accepted_is_read(&with("quietPeriod", &text)).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn f09_short_durations_are_accepted_and_read_without_loss(
        text in r"([0-9]{1,2}(\.[0-9]{1,3})?h)?([0-9]{1,3}(\.[0-9]{1,3})?m)?[0-9]{1,5}(\.[0-9]{1,3})?s([0-9]{1,6}ms)?"
    ) {
        prop_assert!(accepted_is_read(&with("quietPeriod", &text)).map_err(TestCaseError::fail)?, "refused: {text}");
    }

    #[test]
    fn f09_times_that_are_accepted_are_read(
        text in r"(19[67][0-9]|20[0-9]{2}|2[0-9]{3}|3000|9999)-(0[0-9]|1[0-3])-([0-2][0-9]|3[0-2])T([01][0-9]|2[0-4]):[0-6][0-9]:[0-6][0-9](\.[0-9]{1,10})?(Z|z|[+-][01][0-9]:[0-6][0-9])?"
    ) {
        accepted_is_read(&with("timestamp", &text)).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn f09_every_instant_is_accepted(second in 0_i64..32_503_680_000, nanos in 0_i32..1_000_000_000) {
        let text = jiff::Timestamp::new(second, nanos).expect("within range").to_string();
        prop_assert!(accepted_is_read(&with("expiresAt", &text)).map_err(TestCaseError::fail)?, "refused: {text}");
    }

    #[test]
    fn f09_ids_that_are_accepted_are_read(text in r"\PC{0,20}") {
        accepted_is_read(&with("id", &text)).map_err(TestCaseError::fail)?;
    }
}
