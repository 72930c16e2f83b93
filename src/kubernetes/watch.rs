//! One watch of the objects of several namespaces, as if it were one: a store that is filled by it is ready once each was listed. One that
//! may not be listed, as where its Role went with it, holds nobody else up; what it has is told once it may.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{Lookup, Store};
use kube::runtime::watcher::{Config, Error, Event, Result, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use stream_pipeline_api::Reason;

use super::refusal;

/// Every change, beginning with a list. A watch that failed is told, and tried again with growing delays: none waits for another one's.
/// `page`: so many are listed at once. `held`: what was kept of a namespace, with its names at least.
pub fn objects<K>(
    apis: Vec<(Option<&str>, Api<K>)>,
    page: u32,
    held: impl Fn(&str) -> Vec<K> + Send + 'static,
) -> BoxStream<'static, Result<Event<K>>>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let mut merged = Merged::default();
    let mut watches = Vec::new();
    for (namespace, api) in apis {
        let watch = watcher(api, Config::default().page_size(page)).default_backoff().map(|event| event.map_err(|error| tell::<K>(&error)));
        let Some(namespace) = namespace else { return watch.filter_map(async |event| event.ok().map(Ok)).boxed() };
        let namespace = namespace.to_owned();
        merged.namespaces.insert(namespace.clone(), Namespace::default());
        watches.push(watch.map(move |event| (namespace.clone(), event)).boxed());
    }
    let events = stream::select_all(watches).map(move |(namespace, event)| match event {
        Ok(event) => merged.take(&namespace, event, &held),
        Err(Reason::PermissionMissing) => merged.refused(&namespace),
        Err(_) => Vec::new(),
    });
    events.flat_map(|told| stream::iter(told.into_iter().map(Ok))).boxed()
}

fn tell<K: Resource<DynamicType = ()>>(error: &Error) -> Reason {
    let cause = refusal::of_watch(&format!("watching {}s", K::kind(&())), error);
    tracing::warn!(reason = %cause.reason, "It is tried again: {}", cause.message);
    cause.reason
}

/// What the store holds of a namespace, or of all.
pub fn held<K>(store: &Store<K>, namespace: Option<&str>) -> Vec<Arc<K>>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone,
{
    let mut objects = store.state();
    objects.retain(|object| namespace.is_none_or(|namespace| ResourceExt::namespace(object.as_ref()).as_deref() == Some(namespace)));
    objects
}

/// The lists of the namespaces, as far as nobody was told of them.
struct Merged<K> {
    namespaces: BTreeMap<String, Namespace<K>>,
    /// Each namespace that may be was listed, and that was told.
    told: bool,
}

struct Namespace<K> {
    list: BTreeMap<String, K>,
    listed: bool,
    /// It may not be listed.
    refused: bool,
}

impl<K> Default for Merged<K> {
    fn default() -> Self {
        Self { namespaces: BTreeMap::new(), told: false }
    }
}

impl<K> Default for Namespace<K> {
    fn default() -> Self {
        Self { list: BTreeMap::new(), listed: false, refused: false }
    }
}

impl<K> Merged<K>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone,
{
    /// What is to be told after this event of one namespace. `held`: what was told and is there.
    fn take(&mut self, namespace: &str, event: Event<K>, held: impl Fn(&str) -> Vec<K>) -> Vec<Event<K>> {
        let Some(of) = self.namespaces.get_mut(namespace) else { return Vec::new() };
        match event {
            Event::Apply(_) | Event::Delete(_) if self.told => return vec![event],
            Event::Apply(object) | Event::InitApply(object) => drop(of.list.insert(object.name_any(), object)),
            Event::Delete(object) => drop(of.list.remove(&object.name_any())),
            Event::Init => *of = Namespace::default(),
            Event::InitDone => {
                of.listed = true;
                if self.told {
                    // What is gone meanwhile was told by no event.
                    let list = std::mem::take(&mut of.list);
                    let gone = held(namespace).into_iter().filter(|object| !list.contains_key(&object.name_any()));
                    let gone: Vec<_> = gone.map(Event::Delete).collect();
                    return gone.into_iter().chain(list.into_values().map(Event::Apply)).collect();
                }
                return self.all();
            }
        }
        Vec::new()
    }

    /// What is to be told where a namespace may not be listed.
    fn refused(&mut self, namespace: &str) -> Vec<Event<K>> {
        self.namespaces.get_mut(namespace).into_iter().for_each(|of| of.refused = true);
        if self.told { Vec::new() } else { self.all() }
    }

    /// The first list of all namespaces, once it is whole. Where none may be listed, there is nothing to work with.
    fn all(&mut self) -> Vec<Event<K>> {
        let all = || self.namespaces.values();
        self.told = all().all(|of| of.listed || of.refused) && all().any(|of| of.listed);
        if !self.told {
            return Vec::new();
        }
        let lists = self.namespaces.values_mut().flat_map(|of| std::mem::take(&mut of.list).into_values());
        let lists = lists.map(Event::InitApply).collect::<Vec<_>>();
        std::iter::once(Event::Init).chain(lists).chain([Event::InitDone]).collect()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::reflector;
    use serde_json::json;

    use super::*;

    fn object(namespace: &str, name: &str) -> ConfigMap {
        serde_json::from_value(json!({ "metadata": { "namespace": namespace, "name": name } })).unwrap()
    }

    /// What a store holds after these events of namespaces, or after what was refused; None: it is not ready.
    fn after(events: Vec<(&str, Event<ConfigMap>)>) -> Option<Vec<String>> {
        after_all(events.into_iter().map(|(namespace, event)| (namespace, Some(event))).collect())
    }

    fn after_all(events: Vec<(&str, Option<Event<ConfigMap>>)>) -> Option<Vec<String>> {
        let mut merged = Merged::default();
        merged.namespaces.extend(["a", "b"].map(|namespace| (namespace.to_owned(), Namespace::default())));
        let (store, mut writer) = reflector::store::<ConfigMap>();
        let mut ready = false;
        for (namespace, event) in events {
            let told = match event {
                Some(event) => merged.take(namespace, event, |namespace| {
                    held(&store, Some(namespace)).iter().map(|object| object.as_ref().clone()).collect()
                }),
                None => merged.refused(namespace),
            };
            for event in told {
                ready |= matches!(event, Event::InitDone);
                writer.apply_watcher_event(&event);
            }
        }
        let names = ["a", "b"].into_iter().flat_map(|ns| held(&store, Some(ns)).into_iter().map(move |o| format!("{ns}/{}", o.name_any())));
        let mut names: Vec<_> = names.collect();
        names.sort();
        ready.then_some(names)
    }

    fn listed(namespace: &'static str, names: &[&str]) -> Vec<(&'static str, Event<ConfigMap>)> {
        let objects = names.iter().map(|name| (namespace, Event::InitApply(object(namespace, name))));
        std::iter::once((namespace, Event::Init)).chain(objects).chain([(namespace, Event::InitDone)]).collect()
    }

    #[test]
    fn a_store_of_two_namespaces_is_ready_once_both_are_listed_and_forgets_what_a_later_list_of_one_lacks() {
        assert_eq!(after(listed("a", &["x"])), None, "b was not listed");
        let both = || [listed("a", &["x", "y"]), listed("b", &["x"])].concat();
        assert_eq!(after(both()).unwrap(), ["a/x", "a/y", "b/x"]);
        // Between the lists of both.
        let meanwhile = vec![("a", Event::Delete(object("a", "y"))), ("a", Event::Apply(object("a", "z")))];
        assert_eq!(after([listed("a", &["x", "y"]), meanwhile.clone(), listed("b", &[])].concat()).unwrap(), ["a/x", "a/z"]);
        // The first list is begun anew before it is whole.
        let begun = vec![("a", Event::Init), ("a", Event::InitApply(object("a", "old")))];
        assert_eq!(after([listed("b", &[]), begun, listed("a", &["new"])].concat()).unwrap(), ["a/new"]);
        assert_eq!(after([both(), meanwhile].concat()).unwrap(), ["a/x", "a/z", "b/x"]);
        assert_eq!(after([both(), listed("a", &["y", "w"])].concat()).unwrap(), ["a/w", "a/y", "b/x"]);
        assert_eq!(after([both(), listed("b", &[])].concat()).unwrap(), ["a/x", "a/y"]);
    }

    #[test]
    fn a_namespace_that_may_not_be_listed_holds_up_no_other_and_is_told_once_it_may() {
        let listed = |namespace, names| listed(namespace, names).into_iter().map(|(namespace, event)| (namespace, Some(event))).collect();
        let (a, b): (Vec<_>, Vec<_>) = (listed("a", &["x"]), listed("b", &["y"]));
        let refused = |namespace| vec![(namespace, None)];
        assert_eq!(after_all([refused("b"), refused("a"), refused("b")].concat()), None, "none may be listed");
        for order in [[a.clone(), refused("b")], [refused("b"), a.clone()]] {
            assert_eq!(after_all(order.concat()).unwrap(), ["a/x"]);
            assert_eq!(after_all([order.concat(), refused("b"), b.clone()].concat()).unwrap(), ["a/x", "b/y"]);
        }
        assert_eq!(after_all([a, b, refused("b")].concat()).unwrap(), ["a/x", "b/y"], "what was told stays");
    }
}
