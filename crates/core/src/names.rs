//! What records and their labels are called.

use super::{Backend, Identity, Request};
use stream_pipeline_api::{BackendIdentity, OffsetResetRecord};

/// The record's name: the pipeline's, and a hash of all that makes a request unique. Not of the cluster or of the platform's pipeline id:
/// another cluster may answer tomorrow, and the request is still the same.
pub fn record_name(object: &Identity, backend: &Backend, request: &Request) -> String {
    let lasting = match backend {
        Backend::Kafka(kafka) => ["kafka", kafka.group.as_str()],
        Backend::Enos(enos) => ["enos", enos.spec.org_id.as_str()],
    };
    named(object, lasting, request)
}

/// The record's name as versions before 0.2 formed it.
pub fn former_record_name(object: &Identity, backend: &BackendIdentity, request: &Request) -> String {
    named(object, backend.parts(), request)
}

fn named(object: &Identity, [place, what]: [&str; 2], request: &Request) -> String {
    let mut parts = vec![object.namespace.as_str(), &object.name, place, what, &request.id];
    // A dry run does not use up the id, so its record has a name of its own: one per id and per target.
    let written = request.dry_run.then(|| serde_json::to_string(&request.what()).unwrap_or_default());
    parts.extend(written.as_deref());
    let stem: String = object.name.chars().take(40).collect();
    format!("{}-{}", stem.trim_end_matches(['.', '-']), digest(&parts))
}

/// The record's name if an earlier object's record has the usual one and was given up before anything was sent. That record stays closed
/// and is never deleted, so every process derives the same next name.
pub fn name_after(left: &OffsetResetRecord) -> String {
    let (name, uid) = (left.metadata.name.as_deref().unwrap_or_default(), left.metadata.uid.as_deref().unwrap_or_default());
    let stem = name.rsplit_once('-').map_or(name, |(stem, _)| stem);
    format!("{stem}-{}", digest(&[name, uid]))
}

/// The label that stands for a backend's identity.
pub fn backend_label(backend: &BackendIdentity) -> String {
    digest(&backend.parts())
}

/// 16 hex digits.
fn digest(parts: &[&str]) -> String {
    let [a, b, c, d, e, f, g, h, ..] = crate::digest::of_parts(parts);
    hex::encode([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::Desired;
    use stream_pipeline_api::StreamPipeline;

    #[test]
    fn b7_of_two_dry_runs_that_mean_the_same_there_is_one_record() {
        let object = Identity { namespace: "n".to_owned(), name: "p".to_owned(), uid: "u".to_owned() };
        let name = |reset: serde_json::Value| {
            let pipeline = json!({
                "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": { "name": "p", "namespace": "n" },
                "spec": { "kafka": { "bootstrapServers": ["b:9092"], "consumerGroup": "g" }, "offsetReset": reset }
            });
            let pipeline: StreamPipeline = serde_json::from_value(pipeline).unwrap();
            let desired = Desired::of(&pipeline, crate::facts_of, Timestamp::UNIX_EPOCH).unwrap();
            record_name(&object, &desired.backend, desired.asked().unwrap())
        };
        let bare = json!({ "id": "r1", "to": { "shiftBy": -1 }, "topics": [{ "name": "t", "partitions": [0, 1] }, { "name": "u" }], "dryRun": true });
        let same = json!({
            "id": "r1", "to": { "shiftBy": -1 }, "topics": [{ "name": "u" }, { "name": "t", "partitions": [1, 0] }], "dryRun": true,
            "outOfRange": "Fail", "noRecordAtTime": "Latest", "noCommittedOffset": "Fail", "missingGroup": "Fail", "waitTimeout": "24h",
            "quietPeriod": "10s", "whenActive": "Wait", "whenCreated": "Skip", "onUnknownOutcome": "Hold", "note": "ticket"
        });
        assert_eq!(name(bare.clone()), name(same));
        let mut other = bare.clone();
        other["outOfRange"] = json!("Clamp");
        assert_ne!(name(bare.clone()), name(other));
        let mut reset = bare.clone();
        reset["dryRun"] = json!(false);
        let mut without = bare;
        without.as_object_mut().unwrap().remove("dryRun");
        assert_eq!(name(reset), name(without));
    }

    #[test]
    fn a8_a_request_has_one_record_whatever_answers_for_its_place() {
        let object = Identity { namespace: "n".to_owned(), name: "p".to_owned(), uid: "u".to_owned() };
        let name = |spec: serde_json::Value, status: serde_json::Value| {
            let pipeline = json!({
                "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": { "name": "p", "namespace": "n", "uid": "u" },
                "spec": spec, "status": status,
            });
            let pipeline: StreamPipeline = serde_json::from_value(pipeline).unwrap();
            let desired = Desired::of(&pipeline, crate::facts_of, Timestamp::UNIX_EPOCH).unwrap();
            record_name(&object, &desired.backend, desired.asked().unwrap())
        };
        let group = |cluster: &str, group: &str| {
            let kafka = json!({ "bootstrapServers": ["b:9092"], "consumerGroup": group });
            let spec = json!({ "kafka": kafka, "offsetReset": { "id": "r1", "to": { "position": "Earliest" } } });
            name(spec, json!({ "observedUID": "u", "clusterID": cluster }))
        };
        assert_eq!(group("one", "g"), group("another", "g"));
        assert_ne!(group("one", "g"), group("one", "h"));
        let pipeline = |org: &str, id: &str| {
            let enos = json!({ "endpoint": "https://e", "orgID": org, "pipelineName": "p", "credentialsSecretRef": { "name": "s" } });
            name(json!({ "enos": enos, "offsetReset": { "id": "r1" } }), json!({ "observedUID": "u", "pipelineID": id }))
        };
        assert_eq!(pipeline("o1", "one"), pipeline("o1", "another"));
        assert_ne!(pipeline("o1", "one"), pipeline("o2", "one"));
    }
}
