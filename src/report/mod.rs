//! Reports: the status (computed by a pure function, written if it differs), and one event per change.

mod events;

pub use events::Events;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource};

use crate::clock;
use crate::context::Context;
use crate::kubernetes::call;
use stream_pipeline_api::{ConditionType, Reason, Stage, StreamPipeline, StreamPipelineStatus};
use stream_pipeline_core::status::{StatusInputs, status_of};
use stream_pipeline_core::words;
use stream_pipeline_core::{Cause, Desired, Report};

/// Writes the status where it differs from the one that is there.
///
/// # Errors
/// The API server did not take it; the next pass tries again.
pub async fn report(
    ctx: &Context,
    pipeline: &StreamPipeline,
    desired: &Desired,
    report: &Report,
    seen: &StatusInputs,
) -> Result<(), Cause> {
    let (now, about) = (ctx.now().wall, pipeline.object_ref(&()));
    let Some(status) = status_of(pipeline, desired, report, seen, ctx.timing.pause_warning, now) else { return Ok(()) };
    let mut next = pipeline.clone();
    next.status = Some(status);
    next.metadata.managed_fields = None;
    let api: Api<StreamPipeline> = Api::namespaced(ctx.client.clone(), &desired.object.namespace);
    let params = call::post();
    let write = api.replace_status(&desired.object.name, &params, &next);
    let written = call::call("writing the status", ctx.timing.call_deadline, write).await?;
    ctx.process_state.note_own_version(&desired.object, written.metadata.resource_version.clone().unwrap_or_default());
    if let Some(limit) = newly(pipeline.status.as_ref(), written.status.as_ref(), ConditionType::PauseLimitNear) {
        publish(ctx, &about, &event(EventType::Warning, &limit.reason, "Pause", &limit.message)).await;
    }
    if let (Report::Outstanding(cause), true) = (report, ready_reason(pipeline.status.as_ref()) != ready_reason(written.status.as_ref())) {
        let type_ = if cause.reason == Reason::BringingBack { EventType::Normal } else { EventType::Warning };
        publish(ctx, &about, &event(type_, cause.reason.as_str(), "BringBack", &cause.message)).await;
    }
    if let (Report::Request(ending), Some(told)) = (report, of_request(pipeline.status.as_ref(), written.status.as_ref(), desired)) {
        match &ending.owed {
            // The request does not count as ended before that is done.
            Some(owed) => ctx.running.metrics.request(Stage::Sending, owed.reason),
            None => ctx.running.metrics.request(ending.stage, ending.cause.reason),
        }
        publish(ctx, &about, &told).await;
        if let Some(gap) = ctx.clock.gap() {
            let text = format!("the operator's clock is {}, whose time counts. Correct the clock of its node", clock::words(gap));
            publish(ctx, &about, &event(EventType::Warning, Reason::ClockSkew.as_str(), "Reset", &text)).await;
        }
    }
    Ok(())
}

/// Says that a deleted object goes although its pipeline may still be paused.
pub async fn left_paused(ctx: &Context, pipeline: &StreamPipeline, cause: &Cause) {
    publish(ctx, &pipeline.object_ref(&()), &event(EventType::Warning, cause.reason.as_str(), "Delete", &cause.message)).await;
}

/// Writes an event about this object; a failure is only logged.
pub async fn publish(ctx: &Context, about: &ObjectReference, event: &Event) {
    if let Err(cause) = call::call("writing an event", ctx.timing.call_deadline, ctx.events.publish(event, about)).await {
        tracing::warn!("{}", cause.message);
    }
}

/// `note`: cut to what an event holds.
pub fn event(type_: EventType, reason: &str, action: &str, note: &str) -> Event {
    Event { type_, reason: reason.to_owned(), action: action.to_owned(), note: Some(words::cut(note, 900)), secondary: None }
}

fn ready_reason(status: Option<&StreamPipelineStatus>) -> Option<&str> {
    status?.conditions.iter().find(|c| c.type_ == ConditionType::Ready.as_str()).map(|c| c.reason.as_str())
}

/// A condition that was not there before.
fn newly<'a>(before: Option<&StreamPipelineStatus>, after: Option<&'a StreamPipelineStatus>, kind: ConditionType) -> Option<&'a Condition> {
    let has = |s: &StreamPipelineStatus| s.conditions.iter().any(|c| c.type_ == kind.as_str());
    after?.conditions.iter().find(|c| c.type_ == kind.as_str() && !before.is_some_and(has))
}

/// One event whenever the request's stage or reason changes.
fn of_request(before: Option<&StreamPipelineStatus>, after: Option<&StreamPipelineStatus>, desired: &Desired) -> Option<Event> {
    let ready = |s: &StreamPipelineStatus| {
        let reset = s.offset_reset.as_ref().map(|r| (r.id.clone(), r.stage));
        s.conditions.iter().find(|c| c.type_ == ConditionType::Ready.as_str()).map(|c| (reset, c.reason.clone(), c.message.clone()))
    };
    let (reset, reason, message) = after.and_then(ready)?;
    if before.and_then(ready).is_some_and(|(r, why, _)| (r, why) == (reset.clone(), reason.clone())) {
        return None;
    }
    let bad = matches!(reset.as_ref()?.1, Stage::Failed | Stage::Held | Stage::Skipped) || reason == Reason::BelowLogStart.as_str();
    let id = words::cut(desired.id.as_deref().unwrap_or_default(), 64);
    let note = desired.request.as_ref().and_then(|r| r.as_ref().ok()).and_then(|r| r.written.note.as_deref());
    let note = note.map(|n| format!(" [{}]", words::cut(n, 200))).unwrap_or_default();
    Some(Event {
        type_: if bad { EventType::Warning } else { EventType::Normal },
        reason,
        // The note is not part of what makes events the same; the id in the action keeps requests apart.
        action: format!("Reset {id}"),
        note: Some(format!("{}{note}", words::cut(&message, 700))),
        secondary: None,
    })
}
