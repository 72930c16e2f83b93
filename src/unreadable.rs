//! StreamPipelines that do not decode. What another version of the operator left in fields that only inform is ignored. An object that
//! cannot be read even so gets a status that says so; once deleted, it is kept for no longer than its deadline.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch};
use kube::runtime::events::EventType;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use crate::context::Context;
use crate::fair::Queued;
use crate::kubernetes::call;
use crate::reconcile::reconcile;
use crate::report::{event, publish};
use stream_pipeline_api::{FINALIZER, Reason, StreamPipeline};
use stream_pipeline_core::{Identity, after_failed_steps, words};

/// A pass for an object that does not decode. Returns as [`reconcile`].
pub async fn serve(ctx: &Context, namespace: &str, name: &str, error: &str, queued: &mut Queued) -> Option<Duration> {
    if let Ok(Some(pipeline)) = ctx.record_store.pipeline(namespace, name).await {
        return if is_done(pipeline.meta()) { None } else { reconcile(ctx, &pipeline, queued).await };
    }
    tracing::warn!(namespace, name, error, "This StreamPipeline cannot be read; the others are served");
    let resource = ApiResource::erase::<StreamPipeline>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(ctx.client.clone(), namespace, &resource);
    let found = call::call("reading the StreamPipeline", ctx.timing.call_deadline, api.get_opt(name)).await;
    let Ok(Some(object)) = found else { return Some(ctx.timing.recheck_idle) };
    if is_done(&object.metadata) {
        return None;
    }
    if let Some(left) = left(&object, ctx) {
        if left.is_zero() {
            let failures = let_go(ctx, &object, error).await;
            let again = after_failed_steps(failures, &ctx.timing);
            return Some(ctx.jitter(again.max(ctx.timing.recheck_waiting)));
        }
        return Some(left.clamp(ctx.timing.recheck_waiting, ctx.timing.recheck_idle.max(ctx.timing.recheck_waiting)));
    }
    refuse(&api, &object, error, ctx.timing.call_deadline).await;
    Some(ctx.timing.recheck_idle)
}

/// Whether nothing is left to do: the object is deleted, and without our finalizer there is nothing to bring back.
pub fn is_done(metadata: &kube::api::ObjectMeta) -> bool {
    metadata.deletion_timestamp.is_some() && !metadata.finalizers.iter().flatten().any(|f| f == FINALIZER)
}

/// How much longer a deleted object is kept, because its pipeline may be stopped.
fn left(object: &DynamicObject, ctx: &Context) -> Option<Duration> {
    let since = object.metadata.deletion_timestamp.as_ref()?.0;
    let waited = ctx.now().wall.duration_since(since);
    let waited = if waited.is_negative() { Duration::ZERO } else { waited.unsigned_abs() };
    Some(ctx.timing.finalizer_deadline.saturating_sub(waited))
}

/// Takes the finalizer off; returns how often in a row that failed.
async fn let_go(ctx: &Context, object: &DynamicObject, error: &str) -> u32 {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let text = format!(
        "this object was deleted and cannot be read by this version of the operator: {}; it is waited for no longer. If its pipeline is \
         still paused, start it by hand (its records: kubectl get osr -l streampipeline.io/pipeline={name})",
        words::cut(error, 256)
    );
    tracing::warn!(namespace, name, reason = %Reason::LeftPaused, "{text}");
    let event = event(EventType::Warning, Reason::LeftPaused.as_str(), "Delete", &text);
    let resource = ApiResource::erase::<StreamPipeline>(&());
    let reference = object.object_ref(&resource);
    publish(ctx, &reference, &event).await;
    let identity = Identity { uid: object.uid().unwrap_or_default(), namespace, name };
    let undone = ctx.record_store.set_finalizer(&identity, false).await.err();
    if let Some(cause) = &undone {
        tracing::warn!(namespace = identity.namespace, name = identity.name, reason = %cause.reason, "{}", cause.message);
    }
    ctx.process_state.note_finalizer(&identity, undone.is_none())
}

pub(crate) fn unreadable(error: &str) -> String {
    format!("this object cannot be read by this version of the operator: {}; nothing was done. Correct it", words::cut(error, 1024))
}

/// Says on the object that it cannot be read.
async fn refuse(api: &Api<DynamicObject>, object: &DynamicObject, error: &str, deadline: Duration) {
    let (name, generation) = (object.name_any(), object.metadata.generation);
    let status = &object.data["status"];
    // Each write causes a watch event, so it is written only once per generation.
    if status["observedGeneration"].as_i64() == generation && status["conditions"][0]["reason"] == json!(Reason::InvalidObject) {
        return;
    }
    let message = unreadable(error);
    let condition = |kind: &str, status: &str| {
        json!({
            "type": kind, "status": status, "reason": Reason::InvalidObject, "message": message,
            "observedGeneration": generation, "lastTransitionTime": Timestamp::now().to_string(),
        })
    };
    let patch = json!({ "status": { "observedGeneration": generation, "conditions": [condition("Ready", "False"), condition("Stalled", "True")] } });
    let (params, patch) = (call::patch(), Patch::Merge(&patch));
    if let Err(cause) = call::call("writing the status", deadline, api.patch_status(&name, &params, &patch)).await {
        tracing::warn!(namespace = object.namespace(), name, reason = %cause.reason, "Not told: {}", cause.message);
    }
}
