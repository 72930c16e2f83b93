//! Objects as an older or newer version of the operator may have left them. What only informs is let go; what matters and cannot
//! be read is an error of that one object.

use serde_json::{Map, Value, json};

use super::{BackendIdentity, OffsetResetRecord, StreamPipeline};

/// A StreamPipeline, without what this version cannot read and does not need.
///
/// # Errors
/// What cannot be read, in words.
pub fn stream_pipeline(text: &str) -> Result<StreamPipeline, String> {
    serde_json::from_str(text).or_else(|error| {
        let mut object: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if object["metadata"]["deletionTimestamp"].is_string() {
            // Nothing is asked for any more; what was stopped for it is in its records.
            remove(&mut object, &["status"]);
            remove(&mut object["spec"], &["offsetReset"]);
        } else if object["status"].is_object() {
            remove(&mut object["status"], &["conditions", "lag", "phase"]);
            remove(&mut object["status"]["offsetReset"], &["error", "plan", "recordRef", "attempts", "completedAt"]);
            if object["status"]["offsetReset"].is_null() {
                remove(&mut object["status"], &["offsetReset"]);
            }
        }
        serde_json::from_value(object).map_err(|_| error.to_string())
    })
}

/// A record. Of one that is over only its word counts.
///
/// # Errors
/// As [`stream_pipeline`].
pub fn record(text: &str) -> Result<OffsetResetRecord, String> {
    serde_json::from_str(text).or_else(|error| {
        let mut object: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if is_over(&object) {
            skeleton(&mut object);
        } else {
            remove(&mut object["spec"]["plan"], &["totals", "warnings"]);
            remove(&mut object["status"], &["verification", "failures", "reading", "code", "totals", "undo"]);
            for part in ["plan", "status"] {
                let at = if part == "plan" { &mut object["spec"] } else { &mut object };
                if at[part].is_null() {
                    remove(at, &[part]);
                }
            }
        }
        serde_json::from_value(object).map_err(|_| error.to_string())
    })
}

/// It is closed, and nothing that was stopped for it is still to be started.
fn is_over(record: &Value) -> bool {
    let (spec, status) = (&record["spec"], &record["status"]);
    let closed = status.is_object() && status["attempt"].as_i64().unwrap_or(0) >= spec["writer"]["attempt"].as_i64().unwrap_or(0);
    let stopped = spec["runStateBefore"].is_object() && spec["runStateBefore"]["running"] != json!(false);
    closed && (!stopped || !status["broughtBackAt"].is_null() || status["reason"] == "Restored")
}

/// Names and the end of it.
fn skeleton(record: &mut Value) {
    let made = record["metadata"]["creationTimestamp"].clone();
    let or = |value: &Value, otherwise: Value| if value.is_null() { otherwise } else { value.clone() };
    let spec = &record["spec"];
    let backend = serde_json::from_value::<BackendIdentity>(spec["backend"].clone())
        .unwrap_or(BackendIdentity::Kafka { cluster_id: String::new(), consumer_group: String::new() });
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut request = json!({ "id": text(&spec["request"]["id"]) });
    if let Some(dry) = spec["request"]["dryRun"].as_bool() {
        request["dryRun"] = json!(dry);
    }
    let lean = json!({
        "pipeline": { "name": text(&spec["pipeline"]["name"]), "uid": text(&spec["pipeline"]["uid"]) },
        "request": request, "backend": backend,
        "createdAt": or(&spec["createdAt"], made.clone()), "deadline": or(&spec["deadline"], made.clone()),
    });
    let status = &record["status"];
    let end = json!({
        "phase": text(&status["phase"]), "attempt": status["attempt"].as_i64().unwrap_or(0), "reason": text(&status["reason"]),
        "message": text(&status["message"]), "completedAt": or(&status["completedAt"], made),
    });
    (record["spec"], record["status"]) = (lean, end);
}

fn remove(object: &mut Value, fields: &[&str]) {
    let mut none = Map::new();
    let map = object.as_object_mut().unwrap_or(&mut none);
    fields.iter().for_each(|field| drop(map.remove(*field)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reason, RecordPhase, Stage};

    fn closed() -> Value {
        json!({
            "apiVersion": "streampipeline.io/v1alpha1", "kind": "OffsetResetRecord",
            "metadata": { "name": "r", "creationTimestamp": "2026-01-01T12:00:00Z" },
            "spec": {
                "pipeline": { "name": "p", "uid": "u" }, "request": { "id": "r1", "to": { "position": "Earliest" } },
                "backend": { "clusterID": "c", "consumerGroup": "g" },
                "createdAt": "2026-01-01T12:00:00Z", "deadline": "2026-01-02T12:00:00Z",
                "writer": { "incarnation": "i", "number": 1, "attempt": 1 },
                "plan": { "topics": [{ "name": "t", "topicID": "id", "partition": [0], "from": [7], "to": [0], "logStart": [0], "logEnd": [9] }] },
            },
            "status": { "phase": "Verified", "attempt": 1, "reason": "ResetVerified", "message": "done", "completedAt": "2026-01-01T12:00:01Z" },
        })
    }

    #[test]
    fn f09_a_closed_record_of_the_next_version_is_read_as_closed() {
        let read = |change: &dyn Fn(&mut Value)| {
            let mut object = closed();
            change(&mut object);
            let status = record(&object.to_string()).unwrap_or_else(|e| panic!("{e}: {object}")).status.expect("closed");
            (status.phase, status.reason)
        };
        let (verified, done, other) = (RecordPhase::Verified, Reason::ResetVerified, Reason::OfAnotherVersion);
        assert_eq!(read(&|_| ()), (verified, done));
        assert_eq!(read(&|o| o["status"]["reason"] = json!("ResetProven")), (verified, other));
        assert_eq!(read(&|o| o["status"]["phase"] = json!("Proven")), (RecordPhase::OfAnotherVersion, done));
        assert_eq!(read(&|o| o["status"]["verification"] = json!({ "atTarget": { "0": 3 } })), (verified, done));
        assert_eq!(read(&|o| o["status"]["message"] = Value::Null), (verified, done));
        assert_eq!(read(&|o| o["spec"]["request"]["whenActive"] = json!("Drain")), (verified, done));
        assert_eq!(read(&|o| o["spec"]["request"]["to"] = json!({ "position": ["Earliest"] })), (verified, done));
        assert_eq!(read(&|o| o["spec"]["plan"]["topics"][0]["why"] = json!(["Mirrored"])), (verified, done));
        assert_eq!(read(&|o| o["spec"]["plan"]["topics"] = json!("in another object")), (verified, done));
        assert_eq!(read(&|o| o["spec"]["backend"] = json!({ "connector": "c" })), (verified, done));
        assert_eq!(read(&|o| o["spec"]["deadline"] = Value::Null), (verified, done));
    }

    #[test]
    fn f09_of_an_open_record_only_what_informs_is_let_go() {
        let read = |change: &dyn Fn(&mut Value)| {
            let mut object = closed();
            remove(&mut object, &["status"]);
            change(&mut object);
            record(&object.to_string()).map(|r| r.spec.plan.map(|p| p.topics.len()))
        };
        assert_eq!(read(&|o| o["spec"]["plan"]["totals"] = json!({ "records": 3 })), Ok(Some(1)));
        assert!(read(&|o| o["spec"]["plan"]["topics"] = json!("in another object")).is_err(), "what is sent from must be read");
        assert!(read(&|o| o["spec"]["backend"] = json!({ "connector": "c" })).is_err());
        let owes = |o: &mut Value| {
            o["spec"]["runStateBefore"] = json!({ "running": true, "workloads": "all" });
            o["status"] = closed()["status"].clone();
        };
        assert!(read(&owes).is_err(), "what is to be started again must be read");
    }

    #[test]
    fn f09_a_status_of_the_next_version_does_not_hide_its_object() {
        let read = |change: &dyn Fn(&mut Value)| {
            let mut object = json!({
                "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": { "name": "p", "uid": "u" },
                "spec": { "kafka": { "bootstrapServers": ["b:9092"], "consumerGroup": "g" }, "offsetReset": { "id": "r1", "to": { "position": "Earliest" } } },
                "status": { "observedUID": "u", "offsetReset": { "id": "r1", "stage": "Sending" } },
            });
            change(&mut object);
            stream_pipeline(&object.to_string())
        };
        let stage = |p: Result<StreamPipeline, String>| p.ok().and_then(|p| p.status).and_then(|s| s.offset_reset).map(|r| r.stage);
        let error = json!({ "reason": "LinkDown", "message": "m", "retryable": "later" });
        assert_eq!(stage(read(&|o| o["status"]["offsetReset"]["error"] = error.clone())), Some(Stage::Sending));
        assert_eq!(stage(read(&|o| o["status"]["offsetReset"]["plan"] = json!({ "records": 3 }))), Some(Stage::Sending));
        assert_eq!(stage(read(&|o| o["status"]["offsetReset"]["stage"] = json!("Scheduled"))), Some(Stage::OfAnotherVersion));
        assert_eq!(stage(read(&|o| o["status"]["phase"] = json!("Starting"))), Some(Stage::Sending));
        assert!(read(&|o| o["spec"]["offsetReset"]["whenActive"] = json!("Drain")).is_err(), "what is asked must be read");
        assert!(read(&|o| o["status"]["offsetReset"] = json!("r1")).is_err(), "what was done must be read");
        let deleted = read(&|o| {
            o["metadata"]["deletionTimestamp"] = json!("2026-01-01T12:00:00Z");
            o["spec"]["offsetReset"]["whenActive"] = json!("Drain");
        });
        assert_eq!(deleted.map(|p| p.spec.offset_reset), Ok(None));
    }
}
