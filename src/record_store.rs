//! The records on the API server: reads and guarded writes. Every write names the version it was decided on, and of several creations only
//! one succeeds. Nothing is decided here.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::api::{GetParams, ListParams, ObjectMeta, Patch};
use kube::core::Request as Call;
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::clock;
use crate::kubernetes::call;
use crate::kubernetes::shared::Shared;
use crate::object::Object;
use crate::process_state::ProcessState;
use stream_pipeline_api::{
    BACKEND_LABEL, BackendIdentity, FINALIZER, OffsetResetRecord, OffsetResetRecordSpec, OffsetResetRecordStatus, PIPELINE_LABEL, Reason,
    RecordPhase, RecordedPlan, StreamPipeline, Undo, Writer, lenient,
};
use stream_pipeline_core::names::backend_label;
use stream_pipeline_core::{Cause, Identity, RecordView, is_over_in, words};

use listed::{Listed, Which};

mod listed;

/// Access to records, and the live read of their StreamPipeline.
#[derive(Clone)]
pub struct RecordStore {
    client: Client,
    deadline: Duration,
    lists: Arc<Shared<Vec<StreamPipeline>>>,
}

impl RecordStore {
    pub fn new(client: Client, deadline: Duration) -> Self {
        Self { client, deadline, lists: Arc::default() }
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

    /// Live: the StreamPipelines of a namespace that can be read. Many that were applied at once share one list.
    ///
    /// # Errors
    /// As [`RecordStore::get`].
    pub async fn pipelines(&self, namespace: &str) -> Result<Arc<Vec<StreamPipeline>>, Cause> {
        let all: Api<Object> = Api::namespaced(self.client.clone(), namespace);
        let list = async {
            let listed = self.call("listing the StreamPipelines of the namespace", all.list(&ListParams::default())).await?;
            Ok(listed.items.into_iter().filter_map(|object| object.0.ok()).collect())
        };
        self.lists.read(namespace, list).await
    }

    /// Forgets lists that nobody can use any more.
    pub fn sweep(&self, now: Instant) {
        self.lists.sweep(now);
    }

    /// # Errors
    /// As [`RecordStore::get`].
    pub async fn pipeline(&self, namespace: &str, name: &str) -> Result<Option<StreamPipeline>, Cause> {
        let url = self.pipelines_of(namespace).resource_url().to_owned();
        self.read("reading the StreamPipeline", (&url, name), lenient::stream_pipeline).await
    }

    /// Reads an object as text, so that what another version wrote is decoded as far as possible.
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

    /// Live: checks that the record is still as it was read.
    ///
    /// # Errors
    /// As [`RecordStore::get`]; or the record was changed or deleted since.
    pub async fn unchanged(&self, record: &OffsetResetRecord) -> Result<(), Cause> {
        let (namespace, name) = (record.namespace().unwrap_or_default(), record.name_any());
        let live = self.get(&namespace, &name).await?;
        if live.is_some_and(|live| live.uid() == record.uid() && live.resource_version() == record.resource_version()) {
            return Ok(());
        }
        Err(changed(&name))
    }

    /// Live: the group's records in the namespace that are not known to be over, except the one named `but`. Records of other namespaces do
    /// not count: whoever writes there could keep one open for ever. The same list shows that `own` is still as it was read or written.
    ///
    /// # Errors
    /// As [`RecordStore::get`]; or `own` was changed or deleted since.
    pub async fn of_group(
        &self,
        namespace: &str,
        backend: &BackendIdentity,
        (own, but): (Option<&OffsetResetRecord>, &str),
        known: &ProcessState,
    ) -> Result<Vec<RecordView>, Cause> {
        let selector = format!("{BACKEND_LABEL}={}", backend_label(backend));
        let listed = self.list("listing the records of the group", namespace, &selector, Which::Open).await?;
        let version = |own: &OffsetResetRecord| (own.uid().unwrap_or_default(), own.resource_version().unwrap_or_default());
        match own {
            Some(own) if !listed.iter().any(|found| found.version == version(own)) => Err(changed(&own.name_any())),
            _ => self.open_among(listed, namespace, but, known).await,
        }
    }

    /// Live: the records of the namespace that are not known to be over, except the one named `but`.
    ///
    /// # Errors
    /// As [`RecordStore::get`].
    pub async fn of_namespace(&self, namespace: &str, but: &str, known: &ProcessState) -> Result<Vec<RecordView>, Cause> {
        let listed = self.list("listing the records of the namespace", namespace, "", Which::All).await?;
        self.open_among(listed, namespace, but, known).await
    }

    /// Live: this StreamPipeline's records that are not known to be over.
    ///
    /// # Errors
    /// As [`RecordStore::get`].
    pub async fn of_pipeline(&self, object: &Identity, known: &ProcessState) -> Result<Vec<RecordView>, Cause> {
        let selector = format!("{PIPELINE_LABEL}={}", object.name);
        let listed = self.list("listing the records of the pipeline", &object.namespace, &selector, Which::All).await?;
        self.open_among(listed, &object.namespace, "", known).await
    }

    async fn list(&self, what: &str, namespace: &str, selector: &str, which: Which) -> Result<Vec<Listed>, Cause> {
        let url = self.records(namespace).resource_url().to_owned();
        self.call(what, listed::list(&self.client, &url, selector, which)).await
    }

    /// Of these, those that are not known to be over, except the one named `but`.
    async fn open_among(&self, listed: Vec<Listed>, namespace: &str, but: &str, known: &ProcessState) -> Result<Vec<RecordView>, Cause> {
        let mut open = Vec::new();
        for Listed { name, version, is_over } in listed {
            if is_over {
                known.note_closed(version);
            } else if name != but && !known.known_closed(&version) {
                open.push(name);
            }
        }
        self.open_of(open, namespace, known).await
    }

    /// Of the records of these names, those that are not over.
    ///
    /// # Errors
    /// As [`RecordStore::get`].
    pub async fn open_of(&self, names: Vec<String>, namespace: &str, known: &ProcessState) -> Result<Vec<RecordView>, Cause> {
        let mut found = Vec::new();
        for name in names {
            // One at a time: each may have up to 1 MiB.
            let record = self.get(namespace, &name).await?.map(|record| known.look(record, clock::mono()));
            found.extend(record.filter(|record| !record.is_over()));
        }
        Ok(found)
    }

    /// Live: whether the record's StreamPipeline is gone, so that nobody looks after the record. A new one of the same name would.
    ///
    /// # Errors
    /// As [`RecordStore::get`].
    pub async fn is_orphan(&self, record: &OffsetResetRecord) -> Result<bool, Cause> {
        let pipelines = self.pipelines_of(&record.namespace().unwrap_or_default());
        let found = self.call("looking for the StreamPipeline of a record", pipelines.get_metadata_opt(&record.spec.pipeline.name));
        found.await.map(|found| found.is_none())
    }

    /// Puts our finalizer on the StreamPipeline, or takes it off. Nothing else of what a person wrote is touched.
    ///
    /// # Errors
    /// As [`RecordStore::get`]; also where the object changed meanwhile.
    pub async fn set_finalizer(&self, object: &Identity, on: bool) -> Result<(), Cause> {
        let pipelines = self.pipelines_of(&object.namespace);
        let what = if on { "putting the finalizer on" } else { "taking the finalizer off" };
        let live = self.call(what, pipelines.get_metadata_opt(&object.name)).await?;
        let Some(live) = live.filter(|p| p.uid().as_deref() == Some(&object.uid)) else { return Ok(()) };
        let mut finalizers = live.finalizers().to_vec();
        finalizers.retain(|f| f != FINALIZER);
        finalizers.extend(on.then(|| FINALIZER.to_owned()));
        let patch = Patch::Merge(json!({ "metadata": { "resourceVersion": live.resource_version(), "finalizers": finalizers } }));
        self.call(what, pipelines.patch_metadata(&object.name, &call::patch(), &patch)).await.map(drop)
    }

    /// Notes in a closed record that nothing is left to bring back.
    ///
    /// # Errors
    /// As [`RecordStore::put_plan`].
    pub async fn mark_resumed(&self, record: &OffsetResetRecord, at: Timestamp) -> Result<(), Cause> {
        let over = record.status.as_ref().is_some_and(|status| is_over_in(record, status.phase, true));
        let status = json!({ "broughtBackAt": at, "over": if_so(over) });
        let patch = json!({ "metadata": { "resourceVersion": record.resource_version() }, "status": status });
        let (records, name) = (self.records(&record.namespace().unwrap_or_default()), record.name_any());
        self.call("noting in the record that the pipeline runs", records.patch_status(&name, &call::patch(), &Patch::Merge(&patch)))
            .await
            .map(drop)
    }

    /// Creates the record: of all who try, only one succeeds.
    ///
    /// # Errors
    /// As [`RecordStore::get`]; also where it exists already.
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
        self.call("creating the record", self.records(&object.namespace).create(&call::post(), &record)).await
    }

    /// Puts a plan into a record without one.
    ///
    /// # Errors
    /// As [`RecordStore::get`]; also where the record changed since it was read.
    pub async fn put_plan(&self, record: &OffsetResetRecord, plan: &RecordedPlan, writer: &Writer) -> Result<OffsetResetRecord, Cause> {
        self.patch_spec(record, "putting the plan into the record", json!({ "plan": plan, "writer": writer })).await
    }

    /// Drops the plan.
    ///
    /// # Errors
    /// As [`RecordStore::put_plan`].
    pub async fn drop_plan(&self, record: &OffsetResetRecord) -> Result<OffsetResetRecord, Cause> {
        self.patch_spec(record, "dropping the plan of the record", json!({ "plan": null, "writer": null })).await
    }

    /// Drops the table of a closed record, and says that it cannot be undone any more.
    ///
    /// # Errors
    /// As [`RecordStore::put_plan`].
    pub async fn drop_table(&self, record: &OffsetResetRecord) -> Result<(), Cause> {
        // First what stays of it, and that it cannot be undone any more.
        let (status, plan) = (record.status.as_ref(), record.spec.plan.as_ref());
        let totals = status.and_then(|status| status.totals.clone()).or_else(|| plan.and_then(|plan| plan.totals.clone()));
        let undo = status.filter(|status| status.phase != RecordPhase::Planned).map(|_| Undo::Impossible);
        // Earlier versions did not say so.
        let over = if_so(status.is_some_and(|status| is_over_in(record, status.phase, status.brought_back_at.is_some())));
        let records = self.records(&record.namespace().unwrap_or_default());
        let name = record.name_any();
        let patch = json!({ "metadata": { "resourceVersion": record.resource_version() }, "status": { "undo": undo, "totals": totals, "over": over } });
        let (params, patch) = (call::patch(), Patch::Merge(&patch));
        let marked = self.call("noting that a record loses its table", records.patch_status(&name, &params, &patch)).await?;
        self.drop_plan(&marked).await.map(drop)
    }

    /// Announces what is sent next of the plan: a later chunk, or the whole plan for the one retry.
    ///
    /// # Errors
    /// As [`RecordStore::put_plan`].
    pub async fn start_chunk(&self, record: &OffsetResetRecord, writer: &Writer) -> Result<OffsetResetRecord, Cause> {
        self.patch_spec(record, "announcing in the record what is sent next", json!({ "writer": writer })).await
    }

    /// # Errors
    /// As [`RecordStore::put_plan`].
    pub async fn close(&self, record: &OffsetResetRecord, status: &OffsetResetRecordStatus) -> Result<OffsetResetRecord, Cause> {
        let brought_back = record.status.as_ref().is_some_and(|status| status.brought_back_at.is_some());
        let over = is_over_in(record, status.phase, brought_back);
        let mut status = json!(status);
        status["over"] = if_so(over);
        // Fields of an earlier attempt's status that this one does not have: a merge patch would keep them.
        for field in ["code", "verification", "failures", "totals", "undo"] {
            if status.get(field).is_none() {
                status[field] = serde_json::Value::Null;
            }
        }
        let patch = Patch::Merge(json!({ "metadata": { "resourceVersion": record.resource_version() }, "status": status }));
        let records = self.records(&record.namespace().unwrap_or_default());
        let name = record.name_any();
        self.call("closing the record", records.patch_status(&name, &call::patch(), &patch)).await
    }

    async fn patch_spec(&self, record: &OffsetResetRecord, what: &str, spec: serde_json::Value) -> Result<OffsetResetRecord, Cause> {
        let patch = Patch::Merge(json!({ "metadata": { "resourceVersion": record.resource_version() }, "spec": spec }));
        let records = self.records(&record.namespace().unwrap_or_default());
        let name = record.name_any();
        self.call(what, records.patch(&name, &call::patch(), &patch)).await
    }

    async fn call<T>(&self, what: &str, call: impl Future<Output = kube::Result<T>>) -> Result<T, Cause> {
        let begun = Instant::now();
        let answer = call::call(what, self.deadline, call).await;
        call::note_pace(begun.elapsed());
        answer
    }
}

/// Left out where it is not so.
fn if_so(so: bool) -> serde_json::Value {
    if so { json!(true) } else { serde_json::Value::Null }
}

fn changed(name: &str) -> Cause {
    Cause::new(Reason::APIServerError, format!("record {name} changed while it was looked at; it is looked at again"))
}

#[cfg(test)]
mod tests;
