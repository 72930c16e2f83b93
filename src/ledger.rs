//! The records on the API server: named, read, and written under guard. Every write names the version it was decided on,
//! and creation is the gate. Nothing is decided here.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{GetParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::{DeserializeGuard, Request as Call};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::api::{
    BACKEND_LABEL, BackendIdentity, FINALIZER, OPERATOR, OffsetResetRecord, OffsetResetRecordSpec, OffsetResetRecordStatus, PIPELINE_LABEL,
    Reason, RecordedPlan, Stage, StreamPipeline, WorkloadReference, Writer, lenient,
};
use crate::clock;
use crate::domain::{Cause, Identity, PlanState, Progress, RecordLook, Request, words};
use crate::kubernetes::refusal;
use crate::memory::Memory;

/// Access to records, and the live read of their StreamPipeline.
#[derive(Clone)]
pub struct Ledger {
    client: Client,
    deadline: Duration,
}

/// The record's name: the pipeline's, and a hash of everything the request is once per. Not of the cluster, or the pipeline on
/// a platform: another one may answer tomorrow, or another process, and the request is the same.
pub fn record_name(object: &Identity, backend: &BackendIdentity, request: &Request) -> String {
    let lasting = match backend {
        BackendIdentity::Kafka { consumer_group, .. } => ["kafka", consumer_group],
        BackendIdentity::Enos { org_id, .. } => ["enos", org_id],
    };
    named(object, lasting, request)
}

/// Its name as versions before 0.2 made it.
pub fn former_record_name(object: &Identity, backend: &BackendIdentity, request: &Request) -> String {
    named(object, backend.parts(), request)
}

fn named(object: &Identity, [place, what]: [&str; 2], request: &Request) -> String {
    let mut parts = vec![object.namespace.as_str(), &object.name, place, what, &request.id];
    // A dry run does not use up the id: its record is named apart, once per id and what it would reset.
    let written = request.dry_run.then(|| serde_json::to_string(&request.what()).unwrap_or_default());
    parts.extend(written.as_deref());
    let stem: String = object.name.chars().take(40).collect();
    format!("{}-{}", stem.trim_end_matches(['.', '-']), digest(&parts))
}

/// Its name where the record of that name was given up along with an earlier object, before anything was sent. Closed for good and
/// never deleted, that one leads everybody to this name.
pub fn name_after(left: &OffsetResetRecord) -> String {
    let (name, uid) = (left.name_any(), left.uid().unwrap_or_default());
    let stem = name.rsplit_once('-').map_or(name.as_str(), |(stem, _)| stem);
    format!("{stem}-{}", digest(&[&name, &uid]))
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

impl Ledger {
    pub fn new(client: Client, deadline: Duration) -> Self {
        Self { client, deadline }
    }

    fn records(&self, namespace: &str) -> Api<OffsetResetRecord> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn pipelines_of(&self, namespace: &str) -> Api<StreamPipeline> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// # Errors
    /// The API server did not answer in time, or refused; or this version cannot read what is there.
    pub async fn get(&self, namespace: &str, name: &str) -> Result<Option<OffsetResetRecord>, Cause> {
        let url = self.records(namespace).resource_url().to_owned();
        self.read("reading a record", (&url, name), lenient::record).await
    }

    /// Live: the StreamPipelines of a namespace that can be read.
    ///
    /// # Errors
    /// As [`Ledger::get`].
    pub async fn pipelines(&self, namespace: &str) -> Result<Vec<StreamPipeline>, Cause> {
        let all: Api<DeserializeGuard<StreamPipeline>> = Api::namespaced(self.client.clone(), namespace);
        let listed = self.call("listing the StreamPipelines of the namespace", all.list(&ListParams::default())).await?;
        Ok(listed.items.into_iter().filter_map(|guard| guard.0.ok()).collect())
    }

    /// # Errors
    /// As [`Ledger::get`].
    pub async fn pipeline(&self, namespace: &str, name: &str) -> Result<Option<StreamPipeline>, Cause> {
        let url = self.pipelines_of(namespace).resource_url().to_owned();
        self.read("reading the StreamPipeline", (&url, name), lenient::stream_pipeline).await
    }

    /// An object as text, so that what another version left there is read as far as it can be.
    async fn read<T>(&self, what: &str, (url, name): (&str, &str), decode: fn(&str) -> Result<T, String>) -> Result<Option<T>, Cause> {
        let invalid = |error: String| {
            let error = words::cut(&error, 512);
            let text = format!(
                "{what}: {name} cannot be read by this version of the operator: {error}. Another version may have written it: \
                 let that one finish, or delete it if nothing of it is wanted any more"
            );
            Cause::new(Reason::InvalidObject, text)
        };
        let request = Call::new(url).get(name, &GetParams::default()).map_err(|e| invalid(e.to_string()))?;
        let found = async {
            match self.client.request_text(request).await {
                Ok(text) => Ok(Some(text)),
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.call(what, found).await?.map(|text| decode(&text).map_err(invalid)).transpose()
    }

    /// Live: the record is as it was read.
    ///
    /// # Errors
    /// As [`Ledger::get`]; or it was changed or deleted since.
    pub async fn unchanged(&self, record: &OffsetResetRecord) -> Result<(), Cause> {
        let (namespace, name) = (record.namespace().unwrap_or_default(), record.name_any());
        let live = self.get(&namespace, &name).await?;
        if live.is_some_and(|live| live.uid() == record.uid() && live.resource_version() == record.resource_version()) {
            return Ok(());
        }
        Err(Cause::new(Reason::APIServerError, format!("record {name} changed while it was looked at; it is looked at again")))
    }

    /// Live: the StreamPipeline is the same object, not deleted, asks for the same id, and its status tells of no end of it: a watch
    /// that is behind may still show it as waiting. `again`: it is sent once more, after it was held.
    ///
    /// # Errors
    /// As [`Ledger::get`].
    pub async fn is_wanted(&self, object: &Identity, id: &str, again: bool) -> Result<bool, Cause> {
        let live = self.pipeline(&object.namespace, &object.name).await?;
        Ok(live.is_some_and(|p| wants(&p, object, id, again)))
    }

    /// Live: the other records of this group in the namespace that come before this one: not closed, or still to be brought back.
    /// Of records without a plan the oldest goes first, so that no two wait for each other. `own`: the name, and the record
    /// where it is there. What is open in another namespace is not waited for: whoever writes there could keep it open for ever.
    ///
    /// # Errors
    /// As [`Ledger::get`].
    pub async fn rivals(
        &self,
        namespace: &str,
        backend: &BackendIdentity,
        own: (&str, Option<&OffsetResetRecord>),
        memory: &Memory,
    ) -> Result<Vec<RecordLook>, Cause> {
        let selector = ListParams::default().labels(&format!("{BACKEND_LABEL}={}", backend_label(backend)));
        let listed = self.call("listing the records of the group", self.records(namespace).list_metadata(&selector)).await?;
        let mut open = Vec::new();
        for meta in listed.items {
            let name = meta.name_any();
            let known = memory.known_closed(&meta.uid().unwrap_or_default(), &meta.resource_version().unwrap_or_default());
            if name == own.0 || known {
                continue;
            }
            let Some(record) = self.get(namespace, &name).await? else { continue };
            let look = memory.look(record, clock::mono());
            // A restored record is no work, so it is nobody's rival either.
            if !look.is_over() && !look.is_restored() && !own.1.is_some_and(|own| goes_after(&look, own)) {
                open.push(look);
            }
        }
        Ok(open)
    }

    /// Live: what other records of this namespace keep stopped, or are about to stop, of these workloads, in words. Of records
    /// without a plan the oldest goes first. `own`: see [`Ledger::rivals`].
    ///
    /// # Errors
    /// As [`Ledger::get`].
    pub async fn sharers(
        &self,
        namespace: &str,
        workloads: &[WorkloadReference],
        own: (&str, Option<&OffsetResetRecord>),
        memory: &Memory,
    ) -> Result<Vec<String>, Cause> {
        if workloads.is_empty() {
            return Ok(Vec::new());
        }
        let listed =
            self.call("listing the records of the namespace", self.records(namespace).list_metadata(&ListParams::default())).await?;
        let mut held = Vec::new();
        for meta in listed.items {
            let name = meta.name_any();
            if name == own.0 || memory.known_closed(&meta.uid().unwrap_or_default(), &meta.resource_version().unwrap_or_default()) {
                continue;
            }
            let Some(record) = self.get(namespace, &name).await? else { continue };
            let look = memory.look(record, clock::mono());
            if !look.owes_start() || look.is_restored() || own.1.is_some_and(|own| goes_after(&look, own)) {
                continue;
            }
            let of = &look.object.spec.pipeline.name;
            let stops = look.stops().map(|before| before.workloads.as_slice()).unwrap_or_default();
            let shared = stops.iter().filter(|w| w.replicas > 0).filter(|w| workloads.iter().any(|at| at.is(&w.reference())));
            held.extend(shared.map(|w| format!("{} {} (record {name} of StreamPipeline {of})", w.kind, w.name)));
        }
        Ok(held)
    }

    /// Live: nobody looks after this record any more, because its StreamPipeline is gone for good. One of the same name does.
    ///
    /// # Errors
    /// As [`Ledger::get`].
    pub async fn is_orphan(&self, record: &OffsetResetRecord) -> Result<bool, Cause> {
        let pipelines = self.pipelines_of(&record.namespace().unwrap_or_default());
        let found = self.call("looking for the StreamPipeline of a record", pipelines.get_metadata_opt(&record.spec.pipeline.name));
        found.await.map(|found| found.is_none())
    }

    /// Live: this pipeline's records of which something is still to be brought back.
    ///
    /// # Errors
    /// As [`Ledger::get`].
    pub async fn owing(&self, object: &Identity, memory: &Memory) -> Result<Vec<String>, Cause> {
        let selector = ListParams::default().labels(&format!("{PIPELINE_LABEL}={}", object.name));
        let listed = self.call("listing the records of the pipeline", self.records(&object.namespace).list_metadata(&selector)).await?;
        let mut owing = Vec::new();
        for meta in listed.items {
            if memory.known_closed(&meta.uid().unwrap_or_default(), &meta.resource_version().unwrap_or_default()) {
                continue;
            }
            let Some(record) = self.get(&object.namespace, &meta.name_any()).await? else { continue };
            if memory.look(record, clock::mono()).owes_start() {
                owing.push(meta.name_any());
            }
        }
        Ok(owing)
    }

    /// Puts our finalizer on the StreamPipeline, or takes it off. Nothing else of what a person wrote is touched.
    ///
    /// # Errors
    /// As [`Ledger::get`]; also where the object changed meanwhile.
    pub async fn guard(&self, object: &Identity, on: bool) -> Result<(), Cause> {
        let pipelines = self.pipelines_of(&object.namespace);
        let what = if on { "putting the finalizer on" } else { "taking the finalizer off" };
        let live = self.call(what, pipelines.get_metadata_opt(&object.name)).await?;
        let Some(live) = live.filter(|p| p.uid().as_deref() == Some(&object.uid)) else { return Ok(()) };
        let mut finalizers = live.finalizers().to_vec();
        finalizers.retain(|f| f != FINALIZER);
        finalizers.extend(on.then(|| FINALIZER.to_owned()));
        let patch = Patch::Merge(json!({ "metadata": { "resourceVersion": live.resource_version(), "finalizers": finalizers } }));
        self.call(what, pipelines.patch_metadata(&object.name, &params(), &patch)).await.map(drop)
    }

    /// Notes in a closed record that nothing is left to bring back.
    ///
    /// # Errors
    /// As [`Ledger::put_plan`].
    pub async fn note_brought_back(&self, record: &OffsetResetRecord, at: Timestamp) -> Result<(), Cause> {
        let patch = json!({ "metadata": { "resourceVersion": record.resource_version() }, "status": { "broughtBackAt": at } });
        let (records, name) = (self.records(&record.namespace().unwrap_or_default()), record.name_any());
        self.call("noting in the record that the pipeline runs", records.patch_status(&name, &params(), &Patch::Merge(&patch)))
            .await
            .map(drop)
    }

    /// The gate: of all who try, one creates it.
    ///
    /// # Errors
    /// As [`Ledger::get`]; also where it exists already.
    pub async fn create(&self, object: &Identity, name: &str, spec: OffsetResetRecordSpec) -> Result<OffsetResetRecord, Cause> {
        let mut labels = BTreeMap::from([(PIPELINE_LABEL.to_owned(), object.name.clone())]);
        if !spec.request.is_dry_run() {
            labels.insert(BACKEND_LABEL.to_owned(), backend_label(&spec.backend));
        }
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(object.namespace.clone()),
            labels: Some(labels),
            ..ObjectMeta::default()
        };
        let record = OffsetResetRecord { metadata, spec, status: None };
        self.call("creating the record", self.records(&object.namespace).create(&post(), &record)).await
    }

    /// Puts a plan into a record without one.
    ///
    /// # Errors
    /// As [`Ledger::get`]; also where the record changed since it was read.
    pub async fn put_plan(&self, record: &OffsetResetRecord, plan: &RecordedPlan, writer: &Writer) -> Result<(), Cause> {
        self.patch_spec(record, "putting the plan into the record", json!({ "plan": plan, "writer": writer })).await
    }

    /// Drops the plan.
    ///
    /// # Errors
    /// As [`Ledger::put_plan`].
    pub async fn unload(&self, record: &OffsetResetRecord) -> Result<(), Cause> {
        self.patch_spec(record, "dropping the plan of the record", json!({ "plan": null, "writer": null })).await
    }

    /// Says what is sent next of the plan that is there: a later chunk, or all of it for the one retry.
    ///
    /// # Errors
    /// As [`Ledger::put_plan`].
    pub async fn announce(&self, record: &OffsetResetRecord, writer: &Writer) -> Result<(), Cause> {
        self.patch_spec(record, "announcing in the record what is sent next", json!({ "writer": writer })).await
    }

    /// # Errors
    /// As [`Ledger::put_plan`].
    pub async fn close(&self, record: &OffsetResetRecord, status: &OffsetResetRecordStatus) -> Result<(), Cause> {
        let mut status = json!(status);
        // What an earlier attempt was closed with and this one is not: a merge would keep it.
        for field in ["code", "verification", "failures"] {
            if status.get(field).is_none() {
                status[field] = serde_json::Value::Null;
            }
        }
        let patch = Patch::Merge(json!({ "metadata": { "resourceVersion": record.resource_version() }, "status": status }));
        let records = self.records(&record.namespace().unwrap_or_default());
        let name = record.name_any();
        self.call("closing the record", records.patch_status(&name, &params(), &patch)).await.map(drop)
    }

    async fn patch_spec(&self, record: &OffsetResetRecord, what: &str, spec: serde_json::Value) -> Result<(), Cause> {
        let patch = Patch::Merge(json!({ "metadata": { "resourceVersion": record.resource_version() }, "spec": spec }));
        let records = self.records(&record.namespace().unwrap_or_default());
        let name = record.name_any();
        self.call(what, records.patch(&name, &params(), &patch)).await.map(drop)
    }

    async fn call<T>(&self, what: &str, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Cause> {
        match tokio::time::timeout(self.deadline, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(refusal::cause(what, &error, refusal::CHART)),
            Err(_) => Err(refusal::silent(what, self.deadline)),
        }
    }
}

fn wants(live: &StreamPipeline, object: &Identity, id: &str, again: bool) -> bool {
    let same = live.uid().as_deref() == Some(&object.uid) && live.metadata.deletion_timestamp.is_none();
    let asked = live.spec.offset_reset.as_ref().is_some_and(|r| r.id == id && !r.is_dry_run());
    let over = |stage| match stage {
        Stage::Waiting | Stage::Pausing | Stage::Sending | Stage::Planned => false,
        Stage::Held => !again,
        Stage::Verified | Stage::Sent | Stage::Skipped | Stage::Failed | Stage::OfAnotherVersion => true,
    };
    same && asked && !Progress::of(live).of_request(id, false).is_some_and(|told| over(told.stage))
}

/// Nothing is planned in it yet, and it was made later.
fn goes_after(look: &RecordLook, own: &OffsetResetRecord) -> bool {
    let made = |r: &OffsetResetRecord| (r.metadata.creation_timestamp.as_ref().map(|t| t.0), r.name_any());
    matches!(look.state, PlanState::Absent) && made(&look.object) > made(own)
}

fn post() -> PostParams {
    PostParams { field_manager: Some(OPERATOR.to_owned()), ..PostParams::default() }
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(OPERATOR.to_owned()), ..PatchParams::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b7_of_two_dry_runs_that_mean_the_same_there_is_one_record() {
        let object = Identity { namespace: "n".to_owned(), name: "p".to_owned(), uid: "u".to_owned() };
        let place: BackendIdentity = serde_json::from_value(json!({ "clusterID": "c", "consumerGroup": "g" })).unwrap();
        let name = |reset: serde_json::Value| {
            let pipeline = json!({
                "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": { "name": "p", "namespace": "n" },
                "spec": { "kafka": { "bootstrapServers": ["b:9092"], "consumerGroup": "g" }, "offsetReset": reset }
            });
            let pipeline: StreamPipeline = serde_json::from_value(pipeline).unwrap();
            let desired = crate::domain::Desired::of(&pipeline, Timestamp::UNIX_EPOCH).unwrap();
            record_name(&object, &place, desired.asked().unwrap())
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
        let name = |spec: serde_json::Value, place: serde_json::Value| {
            let pipeline = json!({
                "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": { "name": "p", "namespace": "n" }, "spec": spec
            });
            let pipeline: StreamPipeline = serde_json::from_value(pipeline).unwrap();
            let desired = crate::domain::Desired::of(&pipeline, Timestamp::UNIX_EPOCH).unwrap();
            record_name(&object, &serde_json::from_value(place).unwrap(), desired.asked().unwrap())
        };
        let kafka = json!({
            "kafka": { "bootstrapServers": ["b:9092"], "consumerGroup": "g" }, "offsetReset": { "id": "r1", "to": { "position": "Earliest" } }
        });
        let group = |cluster: &str, group: &str| name(kafka.clone(), json!({ "clusterID": cluster, "consumerGroup": group }));
        assert_eq!(group("one", "g"), group("another", "g"));
        assert_ne!(group("one", "g"), group("one", "h"));
        let enos = json!({
            "enos": { "endpoint": "https://e", "orgID": "o1", "pipelineName": "p", "credentialsSecretRef": { "name": "s" } },
            "offsetReset": { "id": "r1" }
        });
        let pipeline = |org: &str, id: &str| name(enos.clone(), json!({ "orgID": org, "pipelineID": id }));
        assert_eq!(pipeline("o1", "one"), pipeline("o1", "another"));
        assert_ne!(pipeline("o1", "one"), pipeline("o2", "one"));
    }

    #[test]
    fn what_a_status_tells_the_end_of_is_not_sent() {
        let object = Identity { namespace: "n".to_owned(), name: "p".to_owned(), uid: "u".to_owned() };
        let live = |stage: &str, told_of: &str, observed: &str| {
            json!({
                "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline",
                "metadata": { "name": "p", "namespace": "n", "uid": "u" },
                "spec": {
                    "kafka": { "bootstrapServers": ["b:9092"], "consumerGroup": "g" },
                    "offsetReset": { "id": "r1", "to": { "position": "Earliest" } }
                },
                "status": { "observedUID": observed, "offsetReset": { "id": told_of, "stage": stage } }
            })
        };
        let wants = |live: serde_json::Value, again: bool| super::wants(&serde_json::from_value(live).unwrap(), &object, "r1", again);
        let wanted = |stage: &str, told_of: &str, observed: &str, again: bool| wants(live(stage, told_of, observed), again);
        for stage in ["Waiting", "Pausing", "Sending", "Planned"] {
            assert!(wanted(stage, "r1", "u", false), "{stage}");
        }
        for stage in ["Verified", "Sent", "Skipped", "Failed", "Held"] {
            assert!(!wanted(stage, "r1", "u", false), "{stage}");
            assert!(wanted(stage, "r0", "u", false), "{stage} of another id");
            assert!(wanted(stage, "r1", "another", false), "{stage} of another object");
        }
        assert!(wanted("Held", "r1", "u", true) && !wanted("Verified", "r1", "u", true));
        for again in [false, true] {
            for (field, value) in [("id", json!("r2")), ("dryRun", json!(true))] {
                let mut edited = live("Waiting", "r1", "u");
                edited["spec"]["offsetReset"][field] = value;
                assert!(!wants(edited, again), "what it asks for by now has another {field}");
            }
        }
    }
}
