//! An API server in memory, with the rules that the operator relies on: resourceVersion and 409, generation, uid, finalizers, subresources,
//! merge patches, and the records' rules about what may change.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

/// Resource (plural), namespace and name.
pub type Key = (String, String, String);

#[derive(Default)]
pub struct ApiServer {
    objects: BTreeMap<Key, Value>,
    version: u64,
    /// Every change in order, as a watch delivers it: the object, and whether it was deleted.
    pub changes: Vec<(Key, Value, bool)>,
    /// The time of the last call.
    now: Timestamp,
    /// A break: writes succeed whatever resourceVersion they name.
    pub ignores_versions: bool,
    /// StreamPipelines do not see each other, so nobody waits for an older one: that only one at a time resets a group must not depend on
    /// that wait.
    pub hides_elders: bool,
}

pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub accept: String,
    /// Since the beginning of the history; the request may be served much later.
    pub called_at: Duration,
    pub body: Value,
}

pub type Reply = (u16, Value);

/// What a path refers to.
struct Place {
    resource: String,
    namespace: Option<String>,
    name: Option<String>,
    sub: Option<String>,
}

impl Request {
    fn place(&self) -> Option<Place> {
        let parts: Vec<&str> = self.path.trim_matches('/').split('/').collect();
        let rest = match parts.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
            rest => (None, rest),
        };
        let text = |i: usize| rest.get(i).map(|part| (*part).to_owned());
        Some(Place { resource: text(0)?, namespace, name: text(1), sub: text(2) })
    }

    /// The object that the request is about.
    pub fn key(&self) -> Option<Key> {
        let place = self.place()?;
        let name = place.name.or_else(|| self.body["metadata"]["name"].as_str().map(str::to_owned))?;
        Some((place.resource, place.namespace?, name))
    }

    /// In a few words.
    pub fn named(&self) -> String {
        let Some(place) = self.place() else { return format!("{} {}", self.method, self.path) };
        let sub = place.sub.map(|s| format!("/{s}")).unwrap_or_default();
        format!("{} {}{sub}{}", self.method, place.resource, if place.name.is_some() || self.method == "POST" { "" } else { " (list)" })
    }

    pub fn is_write(&self) -> bool {
        self.method != "GET"
    }
}

impl ApiServer {
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key)
    }

    pub fn all(&self, resource: &str) -> impl Iterator<Item = (&Key, &Value)> {
        self.objects.iter().filter(move |(key, _)| key.0 == resource)
    }

    /// Creates an object as its writer wants it.
    pub fn create(&mut self, key: Key, mut object: Value, now: Timestamp) -> Reply {
        if self.objects.contains_key(&key) {
            return failure(409, "AlreadyExists", &format!("{} \"{}\" already exists", key.0, key.2));
        }
        self.version += 1;
        self.now = now;
        let metadata = &mut object["metadata"];
        metadata["name"] = json!(key.2);
        metadata["namespace"] = json!(key.1);
        metadata["uid"] = json!(format!("uid-{}", self.version));
        metadata["generation"] = json!(1);
        metadata["creationTimestamp"] = whole_seconds(now);
        prune(&mut object["spec"]);
        // The default from the CRD's schema.
        if key.0 == "streampipelines" && object["status"].is_null() {
            object["status"] = json!({ "observedGeneration": -1 });
        }
        self.store(key, object)
    }

    /// How many objects of this resource exist.
    pub fn count(&self, resource: &str) -> usize {
        self.objects.keys().filter(|key| key.0 == resource).count()
    }

    /// Changes an object; None: it does not exist. If nothing changes, nothing is written.
    pub fn change(&mut self, key: &Key, change: impl FnOnce(&mut Value)) -> Option<Value> {
        let before = self.objects.get(key)?.clone();
        let mut after = before.clone();
        change(&mut after);
        prune(&mut after["spec"]);
        if after == before {
            return Some(before);
        }
        if after["spec"] != before["spec"] {
            after["metadata"]["generation"] = json!(before["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        let free = after["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
        if after["metadata"]["deletionTimestamp"].is_string() && free {
            self.remove(key);
            return Some(after);
        }
        Some(self.store(key.clone(), after).1)
    }

    /// Deletes it, or marks it where finalizers hold it.
    pub fn delete(&mut self, key: &Key, now: Timestamp) {
        let held = self.objects.get(key).is_some_and(|o| o["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty()));
        if held {
            self.change(key, |o| {
                if !o["metadata"]["deletionTimestamp"].is_string() {
                    o["metadata"]["deletionTimestamp"] = whole_seconds(now);
                    o["metadata"]["generation"] = json!(o["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
                }
            });
        } else {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(object) = self.objects.remove(key) {
            self.version += 1;
            self.changes.push((key.clone(), object, true));
        }
    }

    fn store(&mut self, key: Key, mut object: Value) -> Reply {
        self.version += 1;
        object["metadata"]["managedFields"] = json!([{ "manager": "any", "operation": "Update", "time": whole_seconds(self.now) }]);
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(key.clone(), object.clone());
        self.changes.push((key, object.clone(), false));
        (200, object)
    }

    pub fn serve(&mut self, request: &Request, now: Timestamp) -> Reply {
        self.now = now;
        let Some(place) = request.place() else { return self.discovery(request) };
        if place.resource == "events" {
            return (201, request.body.clone());
        }
        let known = ["streampipelines", "offsetresetrecords", "deployments", "horizontalpodautoscalers", "secrets"];
        if !known.contains(&place.resource.as_str()) {
            // The real server answers in plain text here, not in JSON.
            return (404, Value::Null);
        }
        match (request.method.as_str(), place.name) {
            ("POST", _) => {
                let Some(key) = request.key() else { return failure(422, "Invalid", "no name") };
                let mut object = request.body.clone();
                if let Some(map) = object.as_object_mut() {
                    map.remove("status");
                }
                let (code, object) = self.create(key, object, now);
                (if code == 200 { 201 } else { code }, object)
            }
            ("GET", None) => self.list(&place.resource, place.namespace.as_deref(), request),
            (method, Some(name)) => {
                let key = (place.resource, place.namespace.unwrap_or_default(), name);
                let Some(object) = self.objects.get(&key).cloned() else {
                    return failure(404, "NotFound", &format!("{} \"{}\" not found", key.0, key.2));
                };
                let reply = |object: &Value| if place.sub.as_deref() == Some("scale") { scale(object) } else { object.clone() };
                if method == "DELETE" {
                    self.delete(&key, now);
                    return (200, self.get(&key).cloned().unwrap_or(object));
                }
                if method == "GET" {
                    return (200, reply(&object));
                }
                let (code, after) = self.write(&key, object, method, place.sub.as_deref(), &request.body);
                (code, if code == 200 { reply(&after) } else { after })
            }
            _ => failure(405, "MethodNotAllowed", "not allowed"),
        }
    }

    fn write(&mut self, key: &Key, object: Value, method: &str, sub: Option<&str>, body: &Value) -> Reply {
        let named = body["metadata"]["resourceVersion"].as_str();
        if !self.ignores_versions && named.is_some_and(|version| object["metadata"]["resourceVersion"] != version) {
            let text = format!("Operation cannot be fulfilled on {} \"{}\": the object has been modified", key.0, key.2);
            return failure(409, "Conflict", &text);
        }
        let mut after = object.clone();
        match (method, sub) {
            ("PUT", Some("status")) => after["status"] = body["status"].clone(),
            ("PATCH", Some("status")) => merge(&mut after["status"], &body["status"]),
            ("PATCH", Some("scale")) => after["spec"]["replicas"] = body["spec"]["replicas"].clone(),
            ("PATCH", None) => {
                let status = after["status"].clone();
                merge(&mut after, body);
                after["status"] = status;
            }
            _ => return failure(405, "MethodNotAllowed", "not allowed"),
        }
        for field in ["resourceVersion", "uid", "generation", "creationTimestamp"] {
            after["metadata"][field] = object["metadata"][field].clone();
        }
        if key.0 == "offsetresetrecords"
            && let Some(message) = refused(&object["spec"], &after["spec"])
        {
            return failure(422, "Invalid", message);
        }
        if after["status"].is_null() {
            after.as_object_mut().expect("an object").remove("status");
        }
        (200, self.change(key, |o| *o = after).expect("it is there"))
    }

    fn list(&self, resource: &str, namespace: Option<&str>, request: &Request) -> Reply {
        let selector = request
            .query
            .split('&')
            .find_map(|pair| pair.strip_prefix("labelSelector="))
            .map(|s| s.replace("%2F", "/").replace("%3D", "="));
        let selected = |object: &Value| {
            selector.as_deref().and_then(|s| s.split_once('=')).is_none_or(|(label, value)| object["metadata"]["labels"][label] == value)
        };
        let only_open = request.query.contains("fieldSelector=status.over%21%3Dtrue");
        let listed = |object: &Value| !(only_open && object["status"]["over"] == true);
        let as_table = request.accept.contains("as=Table");
        let metadata_only = request.accept.contains("PartialObjectMetadataList");
        let row = |object: &Value| json!({ "cells": [object["status"]["phase"], object["spec"]["runStateBefore"]["running"]], "object": metadata(object) });
        let items: Vec<Value> = self
            .all(resource)
            .filter(|(key, _)| !(self.hides_elders && key.0 == "streampipelines"))
            .filter(|(key, object)| namespace.is_none_or(|ns| key.1 == ns) && selected(object) && listed(object))
            .map(|(_, object)| match () {
                () if as_table => row(object),
                () if metadata_only => metadata(object),
                () => object.clone(),
            })
            .collect();
        if as_table {
            let columns = json!([{ "name": "Phase" }, { "name": "Stopped" }]);
            return (200, json!({ "apiVersion": "meta.k8s.io/v1", "kind": "Table", "columnDefinitions": columns, "rows": items }));
        }
        let (version, kind) = if metadata_only { ("meta.k8s.io/v1", "PartialObjectMetadataList") } else { ("v1", "List") };
        (200, json!({ "apiVersion": version, "kind": kind, "metadata": { "resourceVersion": self.version.to_string() }, "items": items }))
    }

    fn discovery(&self, request: &Request) -> Reply {
        if request.path.trim_matches('/') != "apis/apps/v1" {
            return failure(404, "NotFound", "the server could not find the requested resource");
        }
        let resource = |name: &str, kind: &str| json!({ "name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["get", "list", "patch", "watch"] });
        let mut scale = resource("deployments/scale", "Scale");
        scale["group"] = json!("autoscaling");
        scale["version"] = json!("v1");
        (
            200,
            json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "apps/v1", "resources": [resource("deployments", "Deployment"), scale] }),
        )
    }
}

/// A time as objects' metadata have it.
fn whole_seconds(time: Timestamp) -> Value {
    json!(Timestamp::from_second(time.as_second()).expect("a time").to_string())
}

/// The part of an object that a watch of metadata delivers.
pub fn metadata(object: &Value) -> Value {
    json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"] })
}

fn scale(object: &Value) -> Value {
    let of = &object["metadata"];
    // The real server leaves a count of 0 out of the spec.
    let replicas = object["spec"]["replicas"].as_i64().filter(|count| *count != 0);
    json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": { "name": of["name"], "namespace": of["namespace"], "uid": of["uid"], "resourceVersion": of["resourceVersion"], "creationTimestamp": of["creationTimestamp"] },
        "spec": replicas.map_or(json!({}), |count| json!({ "replicas": count })),
        "status": { "replicas": object["status"]["replicas"].as_i64().unwrap_or(0) },
    })
}

pub fn failure(code: u16, reason: &str, message: &str) -> Reply {
    (
        code,
        json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code }),
    )
}

/// The CRD's rules for records: only plan and writer may change, and the plan only between absent and present.
fn refused(before: &Value, after: &Value) -> Option<&'static str> {
    let fixed = |spec: &Value| {
        let mut spec = spec.clone();
        if let Some(map) = spec.as_object_mut() {
            map.remove("plan");
            map.remove("writer");
        }
        spec
    };
    if fixed(before) != fixed(after) {
        return Some("spec of an OffsetResetRecord is immutable but for plan and writer");
    }
    let (was, is) = (&before["plan"], &after["plan"]);
    (!was.is_null() && !is.is_null() && was != is).then_some("spec.plan may be put there and dropped, never changed")
}

/// RFC 7386.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let map = target.as_object_mut().expect("an object");
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Removes fields that are null, as if they were left out.
fn prune(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}
