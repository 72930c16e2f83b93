//! The metadata of all records in scope, as the watch shows it, with an index by StreamPipeline and by group: a look at one costs the same
//! however many records there are.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use parking_lot::RwLock;

use stream_pipeline_api::{BACKEND_LABEL, BackendIdentity, OffsetResetRecord, PIPELINE_LABEL};
use stream_pipeline_core::Identity;
use stream_pipeline_core::names::backend_label;

pub type Meta = PartialObjectMeta<OffsetResetRecord>;

/// What records are found by.
const LABELS: [&str; 2] = [PIPELINE_LABEL, BACKEND_LABEL];

/// A namespace, and a label of records in it.
type Shared = (String, &'static str, String);

/// See the module's own comment.
#[derive(Clone)]
pub struct Records {
    store: Store<Meta>,
    index: Arc<RwLock<Index>>,
}

/// Fills them by what the watch tells.
pub struct Filler {
    writer: reflector::store::Writer<Meta>,
    records: Records,
    /// A list under way.
    list: Index,
}

#[derive(Default)]
struct Index {
    names: HashMap<Shared, BTreeSet<String>>,
    /// By namespace and name of a record: labels can be changed.
    labels: HashMap<(String, String), [Option<String>; LABELS.len()]>,
}

impl Index {
    fn add(&mut self, record: &Meta) {
        self.remove(record);
        let labels = LABELS.map(|label| record.labels().get(label).cloned());
        let (namespace, name) = key(record);
        for shared in shared(&namespace, &labels) {
            self.names.entry(shared).or_default().insert(name.clone());
        }
        self.labels.insert((namespace, name), labels);
    }

    fn remove(&mut self, record: &Meta) {
        let (namespace, name) = key(record);
        let Some(labels) = self.labels.remove(&(namespace.clone(), name.clone())) else { return };
        for shared in shared(&namespace, &labels) {
            if let Some(names) = self.names.get_mut(&shared) {
                names.remove(&name);
                if names.is_empty() {
                    self.names.remove(&shared);
                }
            }
        }
    }
}

fn shared<'a>(namespace: &'a str, labels: &'a [Option<String>]) -> impl Iterator<Item = Shared> + 'a {
    LABELS.into_iter().zip(labels).filter_map(|(label, value)| Some((namespace.to_owned(), label, value.clone()?)))
}

fn key(record: &Meta) -> (String, String) {
    (record.namespace().unwrap_or_default(), record.name_any())
}

impl Records {
    pub fn empty() -> (Self, Filler) {
        let (store, writer) = reflector::store();
        let records = Self { store, index: Arc::default() };
        let filler = Filler { writer, records: records.clone(), list: Index::default() };
        (records, filler)
    }

    pub fn store(&self) -> &Store<Meta> {
        &self.store
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Meta>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// A StreamPipeline's records, in the order of their names: the store's own order differs from process to process.
    pub fn of_pipeline(&self, object: &Identity) -> Vec<Arc<Meta>> {
        self.found(&object.namespace, PIPELINE_LABEL, object.name.clone())
    }

    /// The records of a group in a namespace, but for dry runs, in the order of their names.
    pub fn of_group(&self, namespace: &str, backend: &BackendIdentity) -> Vec<Arc<Meta>> {
        self.found(namespace, BACKEND_LABEL, backend_label(backend))
    }

    fn found(&self, namespace: &str, label: &'static str, value: String) -> Vec<Arc<Meta>> {
        let index = self.index.read();
        let names = index.names.get(&(namespace.to_owned(), label, value));
        names.into_iter().flatten().filter_map(|name| self.get(namespace, name)).collect()
    }
}

impl Filler {
    pub fn apply(&mut self, event: &Event<Meta>) {
        match event {
            Event::Apply(record) => self.records.index.write().add(record),
            Event::Delete(record) => self.records.index.write().remove(record),
            Event::Init => self.list = Index::default(),
            Event::InitApply(record) => self.list.add(record),
            Event::InitDone => *self.records.index.write() = std::mem::take(&mut self.list),
        }
        // After it, since it tells who waits that they are all there.
        self.writer.apply_watcher_event(event);
    }
}

/// managedFields are most of a record's metadata by size, and nobody here reads them.
pub fn lean(record: &mut Meta) {
    record.meta_mut().managed_fields = None;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, pipeline: Option<&str>) -> Meta {
        let labels = pipeline.map(|pipeline| serde_json::json!({ PIPELINE_LABEL: pipeline }));
        serde_json::from_value(serde_json::json!({
            "apiVersion": "streampipeline.io/v1alpha1", "kind": "OffsetResetRecord",
            "metadata": { "name": name, "namespace": "n", "labels": labels }
        }))
        .unwrap()
    }

    #[test]
    fn each_pipeline_has_its_own_records_whatever_the_watch_tells() {
        let (records, mut filler) = Records::empty();
        let of = |pipeline: &str| {
            let object = Identity { namespace: "n".to_owned(), name: pipeline.to_owned(), uid: String::new() };
            records.of_pipeline(&object).iter().map(|record| record.name_any()).collect::<Vec<_>>()
        };
        filler.apply(&Event::Init);
        for (name, pipeline) in [("b", Some("p")), ("a", Some("p")), ("c", Some("q")), ("d", None)] {
            filler.apply(&Event::InitApply(record(name, pipeline)));
        }
        assert_eq!(of("p"), [""; 0], "a list that is not whole is none");
        filler.apply(&Event::InitDone);
        assert_eq!((of("p"), of("q")), (vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]));
        filler.apply(&Event::Apply(record("a", Some("q"))));
        filler.apply(&Event::Delete(record("b", Some("p"))));
        assert_eq!((of("p"), of("q")), (vec![], vec!["a".to_owned(), "c".to_owned()]), "a label may change");
        filler.apply(&Event::Apply(record("c", None)));
        filler.apply(&Event::Init);
        filler.apply(&Event::InitApply(record("e", Some("p"))));
        filler.apply(&Event::InitDone);
        assert_eq!((of("p"), of("q")), (vec!["e".to_owned()], vec![]), "what is gone meanwhile was told by no event");
        assert!(records.index.read().labels.len() == 1 && records.index.read().names.len() == 1, "nothing is kept of the others");
    }
}
