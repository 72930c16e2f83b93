//! What is kept of the metadata of all records in scope, as the watch shows it, with an index by StreamPipeline and by group: a look at one
//! costs the same however many there are. A history is kept for a year and longer, so each of its records is kept in few bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::{ObjectMeta, PartialObjectMeta, PartialObjectMetaExt};
use kube::runtime::watcher::Event;
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use crate::kubernetes::fresh::Versions;
use stream_pipeline_api::{BACKEND_LABEL, BackendIdentity, OffsetResetRecord, PIPELINE_LABEL};
use stream_pipeline_core::Identity;
use stream_pipeline_core::names::backend_label;
use stream_pipeline_core::prune;

pub type Meta = PartialObjectMeta<OffsetResetRecord>;

/// What records are found by.
const LABELS: [&str; 2] = [PIPELINE_LABEL, BACKEND_LABEL];

/// See the module's own comment.
#[derive(Clone, Default)]
pub struct Records {
    all: Arc<RwLock<BTreeMap<String, Namespace>>>,
    filled: CancellationToken,
}

/// Fills them by what the watch tells.
pub struct Filler {
    records: Records,
    /// A list under way.
    list: BTreeMap<String, Namespace>,
}

#[derive(Default)]
struct Namespace {
    records: BTreeMap<Arc<str>, Kept>,
    /// Names, by a label and its value.
    labelled: HashMap<(&'static str, Box<str>), BTreeSet<Arc<str>>>,
}

struct Kept {
    uid: Box<str>,
    version: Box<str>,
    created_at: Option<Timestamp>,
    /// See [`last_written`].
    changed_at: Option<Timestamp>,
    labels: [Option<Box<str>>; LABELS.len()],
}

/// A record that the watch has told of.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    pub name: String,
    /// uid and resourceVersion.
    pub version: (String, String),
}

impl Namespace {
    fn add(&mut self, record: &Meta) {
        let name: Arc<str> = record.name_any().into();
        self.remove(&name);
        let labels = LABELS.map(|label| record.labels().get(label).map(|value| value.as_str().into()));
        for label in labelled(&labels) {
            self.labelled.entry(label).or_default().insert(Arc::clone(&name));
        }
        let kept = Kept {
            uid: record.uid().unwrap_or_default().into(),
            version: record.resource_version().unwrap_or_default().into(),
            created_at: record.creation_timestamp().map(|time| time.0),
            changed_at: last_written(&record.metadata),
            labels,
        };
        self.records.insert(name, kept);
    }

    fn remove(&mut self, name: &str) {
        let Some(kept) = self.records.remove(name) else { return };
        for label in labelled(&kept.labels) {
            if let Some(names) = self.labelled.get_mut(&label) {
                names.remove(name);
                if names.is_empty() {
                    self.labelled.remove(&label);
                }
            }
        }
    }
}

fn labelled(labels: &[Option<Box<str>>]) -> impl Iterator<Item = (&'static str, Box<str>)> {
    LABELS.into_iter().zip(labels).filter_map(|(label, value)| Some((label, value.clone()?)))
}

/// When an object was last written, in whole seconds, by the API server's clock; None: nobody manages a field of it.
pub fn last_written(metadata: &ObjectMeta) -> Option<Timestamp> {
    metadata.managed_fields.iter().flatten().filter_map(|of| of.time.as_ref()).map(|time| time.0).max()
}

fn add(all: &mut BTreeMap<String, Namespace>, record: &Meta) {
    all.entry(record.namespace().unwrap_or_default()).or_default().add(record);
}

impl Records {
    pub fn empty() -> (Self, Filler) {
        let records = Self::default();
        (records.clone(), Filler { records, list: BTreeMap::new() })
    }

    /// Waits until the first list is there.
    pub async fn filled(&self) {
        self.filled.cancelled().await;
    }

    pub fn has(&self, namespace: &str, name: &str) -> bool {
        self.all.read().get(namespace).is_some_and(|of| of.records.contains_key(name))
    }

    /// A StreamPipeline's records, in the order of their names.
    pub fn of_pipeline(&self, object: &Identity) -> Vec<Told> {
        self.labelled(&object.namespace, (PIPELINE_LABEL, object.name.as_str().into()))
    }

    /// The records of a group in a namespace, but for dry runs, in the order of their names.
    pub fn of_group(&self, namespace: &str, backend: &BackendIdentity) -> Vec<Told> {
        self.labelled(namespace, (BACKEND_LABEL, backend_label(backend).into()))
    }

    /// Of these the names of those that are not known to be unchanged since this time.
    pub fn of_group_since(&self, namespace: &str, backend: &BackendIdentity, since: Timestamp) -> Vec<String> {
        let changed = |name: &str, kept: &Kept| kept.changed_at.is_none_or(|at| at >= since).then(|| name.to_owned());
        self.select(namespace, (BACKEND_LABEL, backend_label(backend).into()), changed)
    }

    fn labelled(&self, namespace: &str, label: (&'static str, Box<str>)) -> Vec<Told> {
        let told = |name: &str, kept: &Kept| Told { name: name.to_owned(), version: (kept.uid.to_string(), kept.version.to_string()) };
        self.select(namespace, label, |name, kept| Some(told(name, kept)))
    }

    fn select<T>(&self, namespace: &str, label: (&'static str, Box<str>), select: impl Fn(&str, &Kept) -> Option<T>) -> Vec<T> {
        let all = self.all.read();
        let Some(of) = all.get(namespace) else { return Vec::new() };
        let names = of.labelled.get(&label).into_iter().flatten();
        names.filter_map(|name| select(name, of.records.get(name)?)).collect()
    }

    /// Of a namespace, or of all.
    pub fn versions(&self, namespace: Option<&str>) -> Versions {
        let mut versions = Versions::new();
        self.each(|at, name, kept| {
            if namespace.is_none_or(|namespace| namespace == at) {
                versions.insert((at.to_owned(), name.to_owned()), kept.version.to_string());
            }
        });
        versions
    }

    pub fn uids(&self) -> Vec<String> {
        let mut uids = Vec::new();
        self.each(|_, _, kept| uids.push(kept.uid.to_string()));
        uids
    }

    /// All that belong to a StreamPipeline, as they are looked through for old tables.
    pub fn listed(&self) -> Vec<prune::Listed> {
        let mut listed = Vec::new();
        self.each(|namespace, name, kept| {
            let ([Some(pipeline), _], Some(created_at)) = (&kept.labels, kept.created_at) else { return };
            let (namespace, name, pipeline) = (namespace.to_owned(), name.to_owned(), pipeline.to_string());
            listed.push(prune::Listed { namespace, name, pipeline, created_at });
        });
        listed
    }

    fn each(&self, mut see: impl FnMut(&str, &str, &Kept)) {
        let all = self.all.read();
        for (namespace, of) in all.iter() {
            of.records.iter().for_each(|(name, kept)| see(namespace, name, kept));
        }
    }

    /// What a watch has to know of those of a namespace: their names.
    pub fn named(&self, namespace: &str) -> Vec<Meta> {
        let all = self.all.read();
        let meta = |name: &Arc<str>| {
            let (namespace, name) = (Some(namespace.to_owned()), Some(name.to_string()));
            ObjectMeta { namespace, name, ..ObjectMeta::default() }.into_response_partial()
        };
        all.get(namespace).into_iter().flat_map(|of| of.records.keys()).map(meta).collect()
    }
}

impl Filler {
    pub fn apply(&mut self, event: &Event<Meta>) {
        match event {
            Event::Apply(record) => add(&mut self.records.all.write(), record),
            Event::Delete(record) => {
                let mut all = self.records.all.write();
                let namespace = record.namespace().unwrap_or_default();
                if let Some(of) = all.get_mut(&namespace) {
                    of.remove(&record.name_any());
                    if of.records.is_empty() {
                        all.remove(&namespace);
                    }
                }
            }
            Event::Init => self.list = BTreeMap::new(),
            Event::InitApply(record) => add(&mut self.list, record),
            Event::InitDone => {
                *self.records.all.write() = std::mem::take(&mut self.list);
                self.records.filled.cancel();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, pipeline: Option<&str>) -> Meta {
        let labels = pipeline.map(|pipeline| serde_json::json!({ PIPELINE_LABEL: pipeline }));
        serde_json::from_value(serde_json::json!({
            "apiVersion": "streampipeline.io/v1alpha1", "kind": "OffsetResetRecord",
            "metadata": { "name": name, "namespace": "n", "labels": labels, "uid": format!("u-{name}"), "resourceVersion": "1" }
        }))
        .unwrap()
    }

    #[test]
    fn each_pipeline_has_its_own_records_whatever_the_watch_tells() {
        let (records, mut filler) = Records::empty();
        let of = |pipeline: &str| {
            let object = Identity { namespace: "n".to_owned(), name: pipeline.to_owned(), uid: String::new() };
            records.of_pipeline(&object).into_iter().map(|told| told.name).collect::<Vec<_>>()
        };
        filler.apply(&Event::Init);
        for (name, pipeline) in [("b", Some("p")), ("a", Some("p")), ("c", Some("q")), ("d", None)] {
            filler.apply(&Event::InitApply(record(name, pipeline)));
        }
        assert_eq!((of("p"), records.filled.is_cancelled()), (vec![], false), "a list that is not whole is none");
        filler.apply(&Event::InitDone);
        assert_eq!((of("p"), of("q")), (vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]));
        assert!(records.filled.is_cancelled() && records.has("n", "d") && !records.has("m", "d"));
        filler.apply(&Event::Apply(record("a", Some("q"))));
        filler.apply(&Event::Delete(record("b", Some("p"))));
        assert_eq!((of("p"), of("q")), (vec![], vec!["a".to_owned(), "c".to_owned()]), "a label may change");
        assert_eq!((records.versions(Some("n")).len(), records.versions(Some("m")).len(), records.uids().len()), (3, 0, 3));
        filler.apply(&Event::Apply(record("c", None)));
        filler.apply(&Event::Init);
        filler.apply(&Event::InitApply(record("e", Some("p"))));
        filler.apply(&Event::InitDone);
        assert_eq!((of("p"), of("q")), (vec!["e".to_owned()], vec![]), "what is gone meanwhile was told by no event");
        let named: Vec<_> = records.named("n").iter().map(|record| (record.namespace().unwrap(), record.name_any())).collect();
        assert_eq!(named, [("n".to_owned(), "e".to_owned())]);
        filler.apply(&Event::Delete(record("e", None)));
        assert!(records.all.read().is_empty(), "nothing is kept of those that are gone");
    }

    #[test]
    fn a_record_is_told_in_the_version_that_came_last_and_found_by_its_group() {
        let (records, mut filler) = Records::empty();
        let place = BackendIdentity::Kafka { cluster_id: "c".to_owned(), consumer_group: "g".to_owned() };
        let of_group = |version: &str| {
            let mut record = record("a", Some("p"));
            record.metadata.labels.as_mut().unwrap().insert(BACKEND_LABEL.to_owned(), backend_label(&place));
            record.metadata.resource_version = Some(version.to_owned());
            record
        };
        for version in ["1", "2"] {
            filler.apply(&Event::Apply(of_group(version)));
            let told = Told { name: "a".to_owned(), version: ("u-a".to_owned(), version.to_owned()) };
            assert_eq!(records.of_group("n", &place), [told]);
        }
        assert_eq!(records.of_group("m", &place), []);
        let since = |second| records.of_group_since("n", &place, Timestamp::from_second(second).unwrap());
        assert_eq!(since(9), ["a"], "it does not say when it changed");
        let mut told = of_group("3");
        let entry = |time: &str| serde_json::from_value(serde_json::json!({ "manager": time, "time": time })).unwrap();
        told.metadata.managed_fields = Some(["1970-01-01T00:00:07Z", "1970-01-01T00:00:05Z"].map(entry).to_vec());
        filler.apply(&Event::Apply(told));
        assert_eq!((since(7), since(8)), (vec!["a".to_owned()], vec![]));
    }
}
