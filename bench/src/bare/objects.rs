//! The writes of a reset to the API server: the same objects that the operator has written, in a namespace that it does not watch.

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use stream_pipeline_api::{OffsetResetRecord, StreamPipeline};

use crate::bed::{Bed, CLIENTS};

/// What the operator has written for one reset, to be written again.
#[derive(Clone)]
pub struct Templates {
    record: Value,
    record_status: Value,
    pipeline_status: Value,
    event: Value,
}

fn bare(mut object: Value) -> Value {
    let labels = object["metadata"]["labels"].take();
    object["metadata"] = json!({ "labels": labels });
    object
}

impl Templates {
    /// Of the last reset of this pipeline, which has succeeded.
    pub async fn of(bed: &Bed, namespace: &str, name: &str) -> Result<Self> {
        let pipeline = bed.pipelines(namespace).get(name).await.context("reading the StreamPipeline")?;
        let status = pipeline.status.clone().context("it has a status")?;
        let record = status.offset_reset.as_ref().and_then(|r| r.record_ref.clone()).context("it names a record")?;
        let mut record = serde_json::to_value(bed.records(namespace).get(&record.name).await.context("reading the record")?)?;
        let record_status = record["status"].take();
        record.as_object_mut().context("a record is an object")?.remove("status");
        let events: Api<Event> = Api::namespaced(bed.client.clone(), namespace);
        let of_it =
            |e: &Event| e.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some(name) && e.reason.as_deref() == Some("ResetVerified");
        let mut event = None;
        // It is written last.
        for _ in 0..50 {
            event = events.list(&ListParams::default()).await.context("listing events")?.items.into_iter().find(of_it);
            if event.is_some() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        let event = serde_json::to_value(event.context("there is an event of the reset")?)?;
        Ok(Self { record: bare(record), record_status, pipeline_status: serde_json::to_value(status)?, event: bare(event) })
    }
}

/// Writes one reset after another into a namespace of its own, about StreamPipelines that are there.
#[derive(Clone)]
pub struct Writer {
    records: Api<DynamicObject>,
    pipelines: Api<DynamicObject>,
    events: Api<DynamicObject>,
    namespace: String,
    templates: Templates,
}

impl Writer {
    pub fn new(bed: &Bed, namespace: &str, templates: Templates) -> Self {
        let api = |kind: ApiResource| Api::namespaced_with(bed.client.clone(), namespace, &kind);
        Self {
            records: api(ApiResource::erase::<OffsetResetRecord>(&())),
            pipelines: api(ApiResource::erase::<StreamPipeline>(&())),
            events: api(ApiResource::erase::<Event>(&())),
            namespace: namespace.to_owned(),
            templates,
        }
    }

    fn object(&self, template: &Value, name: &str) -> Result<DynamicObject> {
        let mut object = template.clone();
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!(self.namespace);
        serde_json::from_value(object).context("a template is an object")
    }

    pub async fn read(&self, pipeline: &str) -> Result<DynamicObject> {
        self.pipelines.get(pipeline).await.context("reading a StreamPipeline")
    }

    /// The StreamPipelines as they are there.
    pub async fn all(&self) -> Result<Vec<DynamicObject>> {
        Ok(self.pipelines.list(&ListParams::default()).await.context("listing the StreamPipelines")?.items)
    }

    /// The plan.
    pub async fn record(&self, name: &str) -> Result<()> {
        let record = self.object(&self.templates.record, name)?;
        self.records.create(&PostParams::default(), &record).await.map(drop).context("creating a record")
    }

    /// The close, the status, the event. `live`: the StreamPipeline as it is there; returned as it is there then.
    pub async fn end(&self, record: &str, live: DynamicObject) -> Result<DynamicObject> {
        let status = Patch::Merge(json!({ "status": self.templates.record_status }));
        self.records.patch_status(record, &PatchParams::default(), &status).await.context("closing a record")?;
        let mut next = live;
        next.data["status"] = self.templates.pipeline_status.clone();
        // Else nothing would be written.
        next.data["status"]["offsetReset"]["id"] = json!(record);
        let name = next.metadata.name.clone().context("it has a name")?;
        let written = self.pipelines.replace_status(&name, &PostParams::default(), &next).await.context("writing a status")?;
        let mut event = self.object(&self.templates.event, record)?;
        event.data["regarding"]["namespace"] = json!(self.namespace);
        self.events.create(&PostParams::default(), &event).await.context("writing an event")?;
        Ok(written)
    }

    /// All four writes, and nothing else, about each of these pipelines, by so many clients as write requests.
    pub async fn write_all(&self, pipelines: Vec<DynamicObject>, run: &str) -> Result<Vec<DynamicObject>> {
        let write = |(n, live): (usize, DynamicObject)| async move {
            let record = format!("{run}-{n}");
            self.record(&record).await?;
            self.end(&record, live).await
        };
        stream::iter(pipelines.into_iter().enumerate()).map(write).buffer_unordered(CLIENTS).try_collect().await
    }
}
