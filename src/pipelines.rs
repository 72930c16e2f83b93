//! StreamPipelines as the watch tells of them, and by where they may be: who else names a group is found without going over all of them.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::Event;
use parking_lot::RwLock;

use crate::object::Object;
use stream_pipeline_api::BackendIdentity;
use stream_pipeline_core::{Backend, Identity};

/// By a digest of what [`Backend::key`] gives, the namespace and name, with a slash between them. There are many, so each takes few bytes.
type Index = BTreeSet<(u64, Box<str>)>;

/// See the module's own comment.
#[derive(Clone)]
pub struct Pipelines {
    store: Store<Object>,
    index: Arc<RwLock<Index>>,
    hasher: RandomState,
}

/// Fills them by what the watch tells.
pub struct Filler {
    pipelines: Pipelines,
    writer: reflector::store::Writer<Object>,
    /// A list under way.
    list: Index,
}

impl Pipelines {
    pub fn empty() -> (Self, Filler) {
        let (store, writer) = reflector::store();
        let pipelines = Self { store, index: Arc::default(), hasher: RandomState::new() };
        (pipelines.clone(), Filler { pipelines, writer, list: Index::new() })
    }

    pub fn store(&self) -> &Store<Object> {
        &self.store
    }

    pub fn len(&self) -> usize {
        self.store.len()
    }

    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    /// All of them, also those that cannot be read.
    pub fn all(&self) -> Vec<Arc<Object>> {
        self.store.state()
    }

    pub fn get(&self, object: &ObjectRef<Object>) -> Option<Arc<Object>> {
        self.store.get(object)
    }

    /// All that may be at this place, and others; `object` is one of them in any case.
    pub fn near(&self, object: &Identity, place: &BackendIdentity) -> Vec<Arc<Object>> {
        let key = self.hasher.hash_one(Backend::key_of(place));
        let own = format!("{}/{}", object.namespace, object.name);
        let mut near: Vec<_> = {
            let index = self.index.read();
            let found = index.range((key, Box::default())..).take_while(|(of, _)| *of == key);
            found.filter(|(_, name)| **name != *own).filter_map(|(_, name)| self.named(name)).collect()
        };
        near.extend(self.named(&own));
        near
    }

    fn named(&self, name: &str) -> Option<Arc<Object>> {
        let (namespace, name) = name.split_once('/')?;
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// None: it cannot be read, or names no place.
    fn indexed(&self, object: &Object) -> Option<(u64, Box<str>)> {
        let key = self.hasher.hash_one(Backend::key(object.0.as_ref().ok()?)?);
        Some((key, format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any()).into()))
    }
}

impl Filler {
    pub fn apply(&mut self, event: &Event<Object>) {
        let of = &self.pipelines;
        match event {
            Event::Apply(object) | Event::Delete(object) => {
                // What it named before is what the store still shows.
                let before = of.get(&ObjectRef::from_obj(object)).and_then(|before| of.indexed(&before));
                let now = of.indexed(object).filter(|_| matches!(event, Event::Apply(_)));
                if before != now {
                    let mut index = of.index.write();
                    before.map(|before| index.remove(&before));
                    index.extend(now);
                }
            }
            Event::Init => self.list.clear(),
            Event::InitApply(object) => self.list.extend(of.indexed(object)),
            Event::InitDone => *of.index.write() = std::mem::take(&mut self.list),
        }
        self.writer.apply_watcher_event(event);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(namespace: &str, name: &str, spec: &serde_json::Value) -> Object {
        let meta = json!({ "namespace": namespace, "name": name, "uid": format!("{namespace}/{name}") });
        serde_json::from_value(
            json!({ "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": meta, "spec": spec }),
        )
        .unwrap()
    }

    fn of_group(group: &str) -> serde_json::Value {
        json!({ "kafka": { "bootstrapServers": ["b:9092"], "consumerGroup": group } })
    }

    /// Whatever the watch tells, in whatever order: the same are found as by going over all.
    #[test]
    fn those_near_a_place_are_all_that_may_be_there() {
        let enos = |org: &str| json!({ "enos": { "endpoint": "https://e", "orgID": org, "pipelineName": "p", "credentialsSecretRef": { "name": "s" } } });
        let specs = [of_group("g"), of_group("h"), enos("o1"), enos("o2"), json!("cannot be read")];
        let places = [("g", "c"), ("h", "c")]
            .map(|(group, cluster)| BackendIdentity::Kafka { cluster_id: cluster.to_owned(), consumer_group: group.to_owned() });
        let places =
            places.into_iter().chain(["o1", "o2"].map(|org| BackendIdentity::Enos { org_id: org.to_owned(), pipeline_id: "1".to_owned() }));
        let places: Vec<_> = places.collect();
        let (pipelines, mut filler) = Pipelines::empty();
        let mut told = vec![Event::Init, Event::InitApply(object("n", "first", &specs[0])), Event::InitDone];
        let mut number = 1_usize;
        for round in 0..400 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (namespace, name, spec) =
                (["n", "m"][number >> 33 & 1], ["a", "b", "c", "d"][number >> 35 & 3], &specs[(number >> 40) % specs.len()]);
            let object = object(namespace, name, spec);
            match number >> 50 & 7 {
                0 => told.push(Event::Delete(object)),
                1 if round % 10 == 0 => told.extend([Event::Init, Event::InitApply(object), Event::InitDone]),
                _ => told.push(Event::Apply(object)),
            }
        }
        let mut most = 0;
        for event in &told {
            filler.apply(event);
            for place in &places {
                let names = |of: &[Arc<Object>]| {
                    let there = of.iter().filter(|o| o.0.as_ref().is_ok_and(|pipeline| Backend::may_be_at(pipeline, place)));
                    let mut names: Vec<_> = there.map(|o| (o.namespace(), o.name_any())).collect();
                    names.sort();
                    names
                };
                let asks = Identity { namespace: "n".to_owned(), name: "a".to_owned(), uid: "n/a".to_owned() };
                let (near, all) = (pipelines.near(&asks, place), pipelines.all());
                assert_eq!(names(&near), names(&all));
                assert_eq!(
                    near.iter().any(|o| o.name_any() == "a" && o.namespace().as_deref() == Some("n")),
                    all.iter().any(|o| o.name_any() == "a" && o.namespace().as_deref() == Some("n"))
                );
                most = most.max(names(&near).len());
            }
        }
        assert!(most >= 3, "{most}");
        filler.apply(&Event::Init);
        filler.apply(&Event::InitDone);
        assert!(pipelines.index.read().is_empty(), "nothing is kept of those that are gone");
    }
}
