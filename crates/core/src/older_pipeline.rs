//! Who goes first where several StreamPipelines name one group or pipeline. In a namespace the oldest one that has read the group acts.
//! StreamPipelines of other namespaces are reported, but never block.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Backend, Identity, PriorStatus};
use stream_pipeline_api::{BackendIdentity, StreamPipeline};

/// Why this StreamPipeline does not act, or not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OlderPipeline {
    /// An older one has read the group itself.
    Acts(String),
    /// An older one was not looked at yet, so it is not known whether it acts.
    NotLookedAt(String),
    /// For this long, another one that counts as older may still appear.
    MayCome(Duration),
}

/// A watch lags by no more than this: every five minutes it is compared with the API server's lists.
const TOLD: SignedDuration = SignedDuration::from_mins(10);

/// A creation time is a whole second, and set a moment before the object can be seen.
const SETTLED: Duration = Duration::from_secs(2);
/// How far apart the operator's clock and the API server's may be: the first follows the second only from 5 s on, and learns it from times
/// without fractions.
const SKEW: Duration = Duration::from_secs(6);

impl OlderPipeline {
    /// The StreamPipeline of the same namespace, among these, that goes before `object`.
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

    /// Whether an object created at this time is so young that a watch may not show yet what was created together with it.
    pub fn is_young(created: Timestamp, now: Timestamp) -> bool {
        now.duration_since(created) < TOLD
    }

    /// Whether no other one can appear any more that counts as older, also where the operator's clock is ahead of the API server's.
    pub fn none_can_come(created: Timestamp, now: Timestamp) -> bool {
        SignedDuration::try_from(SETTLED + SKEW).is_ok_and(|settled| now.duration_since(created) >= settled)
    }

    /// Uids of those among these, all of one namespace and listed live at `now`, before which none comes and none can come any more, since
    /// no other one names their group. Not told of EnOS, where one pipeline may be named in two ways.
    pub fn alone(pipelines: &[StreamPipeline], now: Timestamp) -> Vec<String> {
        let group = |p: &StreamPipeline| p.spec.kafka.as_ref().map(|kafka| kafka.consumer_group.clone());
        let mut named = HashMap::<String, usize>::new();
        pipelines.iter().filter_map(group).for_each(|group| *named.entry(group).or_default() += 1);
        let is_alone = |p: &&StreamPipeline| group(p).is_some_and(|group| named.get(&group) == Some(&1));
        let is_settled = |p: &&StreamPipeline| p.metadata.creation_timestamp.as_ref().is_some_and(|t| Self::none_can_come(t.0, now));
        pipelines.iter().filter(is_alone).filter(is_settled).filter_map(|p| p.metadata.uid.clone()).collect()
    }

    /// Whether another one may still appear that counts as older than one created at this time.
    pub fn may_come(created: Timestamp, now: Timestamp) -> Option<Self> {
        let over = created.checked_add(SETTLED).unwrap_or(created);
        let left = over.duration_since(now);
        // A creation time in the future means that the clocks disagree: waiting for it could take until they meet.
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

/// It may name the same place and has no status yet. A pipeline that cannot be reached gets a status too, so this ends.
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
    fn who_is_alone_with_its_group_comes_first_once_none_can_come_any_more() {
        let all = [("a", 1, "g"), ("b", 2, "h"), ("c", 3, "h"), ("d", 20, "i")].map(|(name, second, group)| {
            let mut pipeline = pipeline("n", name, second, Value::Null);
            pipeline.spec.kafka.as_mut().expect("it is of Kafka").consumer_group = group.to_owned();
            pipeline
        });
        assert_eq!(OlderPipeline::alone(&all, "2026-01-01T12:00:21Z".parse().unwrap()), ["n/a"]);
        assert_eq!(OlderPipeline::alone(&all, "2026-01-01T12:00:28Z".parse().unwrap()), ["n/a", "n/d"]);
    }

    #[test]
    fn in_the_second_it_was_made_an_object_is_not_known_to_be_the_oldest() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let left = |now: &str| match OlderPipeline::may_come(at("2026-01-01T12:00:05Z"), at(now)) {
            Some(OlderPipeline::MayCome(left)) => left.as_millis(),
            _ => 0,
        };
        assert_eq!([left("2026-01-01T12:00:05Z"), left("2026-01-01T12:00:06.5Z"), left("2026-01-01T12:00:07Z")], [2000, 500, 0]);
        let behind = ["2026-01-01T12:00:04Z", "2026-01-01T11:59:59Z", "2026-01-01T11:59:58Z", "2026-01-01T11:50:00Z"];
        assert_eq!(behind.map(left), [3000, 8000, 0, 0], "made in the future");
        let over = |now: &str| OlderPipeline::none_can_come(at("2026-01-01T12:00:05Z"), at(now));
        assert_eq!(["2026-01-01T12:00:12.9Z", "2026-01-01T12:00:13Z"].map(over), [false, true], "by a clock that may be ahead");
    }
}
