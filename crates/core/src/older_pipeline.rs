//! Who comes first where several StreamPipelines name one group or pipeline. Within a namespace the oldest acts that has itself
//! read it; what another namespace wrote informs, and never blocks.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Backend, Identity, PriorStatus};
use stream_pipeline_api::{BackendIdentity, StreamPipeline};

/// Why this StreamPipeline does not act, or not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OlderPipeline {
    /// An older one has read the group itself.
    Acts(String),
    /// An older one has not been looked at yet, so it is not known whether it acts.
    NotLookedAt(String),
    /// So long one may still come that counts as older.
    MayCome(Duration),
}

/// A watch is behind by no more: what it has told is compared with the API server's lists every five minutes.
const TOLD: SignedDuration = SignedDuration::from_mins(10);

/// A creation time is a whole second, set a moment before the object can be seen.
const SETTLED: Duration = Duration::from_secs(2);
/// By so much the operator's clock, which goes by the API server's, may be behind it.
const SKEW: Duration = Duration::from_secs(1);

impl OlderPipeline {
    /// The one before `object` among these, of its own namespace.
    pub fn among<'a>(
        pipelines: impl Iterator<Item = &'a StreamPipeline> + Clone,
        object: &Identity,
        place: &BackendIdentity,
    ) -> Option<Self> {
        let beside = pipelines.filter(|p| p.metadata.namespace.as_deref() == Some(object.namespace.as_str()));
        let own = age(beside.clone().find(|p| p.metadata.uid.as_ref() == Some(&object.uid))?);
        let oldest = |is: fn(&StreamPipeline, &BackendIdentity) -> bool| {
            beside.clone().filter(|p| age(p) < own && is(p, place)).min_by_key(|p| age(p)).map(name)
        };
        oldest(Backend::is_known_at).map(OlderPipeline::Acts).or_else(|| oldest(not_looked_at).map(OlderPipeline::NotLookedAt))
    }

    /// Whether one made at this time is so young that a watch may not have told yet of what was made along with it.
    pub fn is_young(created: Timestamp, now: Timestamp) -> bool {
        now.duration_since(created) < TOLD
    }

    /// Whether another one may still come that counts as older than one made at this time.
    pub fn may_come(created: Timestamp, now: Timestamp) -> Option<Self> {
        let over = created.checked_add(SETTLED).unwrap_or(created);
        let left = over.duration_since(now);
        // One made in the future tells that two clocks disagree, and would be waited for until they meet.
        let trusted = left.is_positive() && left.unsigned_abs() <= SETTLED + SKEW;
        trusted.then(|| OlderPipeline::MayCome(left.unsigned_abs()))
    }
}

/// Those of other namespaces that have read the same group or pipeline.
pub fn elsewhere<'a>(pipelines: impl Iterator<Item = &'a StreamPipeline>, object: &Identity, place: &BackendIdentity) -> Vec<String> {
    let apart = |p: &&StreamPipeline| p.metadata.namespace.as_deref() != Some(object.namespace.as_str());
    let mut names: Vec<String> = pipelines.filter(apart).filter(|p| Backend::is_known_at(p, place)).map(name).collect();
    names.sort();
    names
}

/// It may be of the same place, and has no status of its own yet: one that cannot be reached gets one too.
fn not_looked_at(pipeline: &StreamPipeline, place: &BackendIdentity) -> bool {
    Backend::may_be_at(pipeline, place) && pipeline.metadata.deletion_timestamp.is_none() && !PriorStatus::of(pipeline).seen_before
}

fn age(pipeline: &StreamPipeline) -> (Option<Timestamp>, String) {
    (pipeline.metadata.creation_timestamp.as_ref().map(|t| t.0), pipeline.metadata.name.clone().unwrap_or_default())
}

fn name(pipeline: &StreamPipeline) -> String {
    let meta = &pipeline.metadata;
    format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pipeline(namespace: &str, name: &str, second: u32, status: Value) -> StreamPipeline {
        serde_json::from_value(json!({
            "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline",
            "metadata": { "name": name, "namespace": namespace, "uid": format!("{namespace}/{name}"), "creationTimestamp": format!("2026-01-01T12:00:{second:02}Z") },
            "spec": { "kafka": { "bootstrapServers": ["b:9092"], "consumerGroup": "g" } }, "status": status
        }))
        .unwrap()
    }

    fn read(uid: &str) -> Value {
        json!({ "observedUID": uid, "clusterID": "c", "phase": "Stopped" })
    }

    #[test]
    fn within_a_namespace_the_oldest_acts_that_has_read_the_group_itself() {
        let place = BackendIdentity::Kafka { cluster_id: "c".to_owned(), consumer_group: "g".to_owned() };
        let own = pipeline("n", "m", 5, Value::Null);
        let object = Identity { namespace: "n".to_owned(), name: "m".to_owned(), uid: "n/m".to_owned() };
        let before = |other: StreamPipeline| OlderPipeline::among([&other, &own].into_iter(), &object, &place);
        let older = |status: Value| before(pipeline("n", "a", 4, status));
        assert_eq!(older(read("n/a")), Some(OlderPipeline::Acts("n/a".to_owned())));
        assert_eq!(older(Value::Null), Some(OlderPipeline::NotLookedAt("n/a".to_owned())));
        assert_eq!(older(read("another")), Some(OlderPipeline::NotLookedAt("n/a".to_owned())), "a copied status is none");
        assert_eq!(older(json!({ "observedUID": "n/a" })), None, "it was looked at and could not read the group");
        assert_eq!(older(json!({ "observedUID": "n/a", "clusterID": "another" })), None, "the group of another cluster");
        assert_eq!(before(pipeline("n", "z", 6, Value::Null)), None, "a younger one");
        assert_eq!(before(pipeline("n", "z", 5, Value::Null)), None, "of the same second, and after it by name");
        assert_eq!(before(pipeline("n", "a", 5, Value::Null)), Some(OlderPipeline::NotLookedAt("n/a".to_owned())));
        assert_eq!(before(pipeline("else", "a", 4, read("else/a"))), None, "of another namespace");
        assert_eq!(before(pipeline("else", "a", 4, Value::Null)), None, "of another namespace");
        let apart = pipeline("else", "a", 4, read("else/a"));
        assert_eq!(elsewhere([&apart, &own].into_iter(), &object, &place), ["else/a"], "and told");
    }

    #[test]
    fn in_the_second_it_was_made_an_object_is_not_known_to_be_the_oldest() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let left = |now: &str| match OlderPipeline::may_come(at("2026-01-01T12:00:05Z"), at(now)) {
            Some(OlderPipeline::MayCome(left)) => left.as_millis(),
            _ => 0,
        };
        assert_eq!([left("2026-01-01T12:00:05Z"), left("2026-01-01T12:00:06.5Z"), left("2026-01-01T12:00:07Z")], [2000, 500, 0]);
        assert_eq!([left("2026-01-01T12:00:04Z"), left("2026-01-01T11:50:00Z")], [3000, 0], "made in the future");
    }
}
