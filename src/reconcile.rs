//! The only file that knows the order: observe, decide, perform, report. After a step the pass ends, and the next one
//! looks again at once.

use std::time::Duration;

use crate::backend;
use crate::context::Context;
use crate::fair::Queued;
use crate::observe::{Carried, observe};
use crate::perform::perform;
use crate::report::{left_paused, report};
use stream_pipeline_api::StreamPipeline;
use stream_pipeline_core::status::StatusInputs;
use stream_pipeline_core::{
    Decision, Desired, Observation, Observed, PriorStatus, RecordView, Report, Step, after_failed_looks, after_failed_steps, words,
};

/// A reset takes five passes; many more in one go mean that something changes all the time. Each chunk starts the count anew: there may be
/// many, and a pause between announcing a chunk and sending it would use up its window.
const PASSES: usize = 12;

/// HTTP status of a write to an object that changed meanwhile, or of a creation where one exists already.
const CONFLICT: i32 = 409;
/// HTTP status of a write to an object that is gone.
const NOT_FOUND: i32 = 404;

/// Runs passes until nothing is left to do at once. Returns when to look again if nothing changes before; None: only after a change.
/// `queued`: in the platform's line, where it has one.
pub async fn reconcile(ctx: &Context, pipeline: &StreamPipeline, queued: &mut Queued) -> Option<Duration> {
    let mut told = StatusInputs::default();
    let mut left = PASSES;
    let mut carried = Carried::default();
    while left > 0 {
        left -= 1;
        let now = ctx.now();
        let desired = match Desired::of(pipeline, backend::facts, now.wall) {
            Ok(desired) => desired,
            Err(cause) => {
                tracing::warn!(name = pipeline.metadata.name, "{}", cause.message);
                return None;
            }
        };
        let timing = ctx.timing.among(desired.facts, ctx.pipelines.len());
        let prior = PriorStatus::of(pipeline);
        let seen = observe(ctx, &desired, &prior, &std::mem::take(&mut carried), queued, now).await;
        // The looks took time: the window and the waits are judged by the time after them.
        let now = ctx.now();
        told.note(&seen, &desired.facts, now.wall);
        let mut decision = (ctx.decide)(&desired, &prior, &seen, &timing, now);
        log(ctx, &desired, &seen, &decision);
        let failures = ctx.process_state.note_reached(&desired.object, desired.generation, !matches!(told.reached, Some(Err(_))));
        let mut again = decision.recheck;
        // Reported before the step: after it the object is gone.
        if let Report::LeftPaused(cause) = &decision.report {
            tracing::warn!(namespace = desired.object.namespace, name = desired.object.name, reason = %cause.reason, "{}", cause.message);
            left_paused(ctx, pipeline, cause).await;
        }
        if let Some(step) = decision.step {
            let (unload, guard) = (matches!(step, Step::DropPlan), matches!(step, Step::AddFinalizer | Step::RemoveFinalizer));
            let (next_chunk, over) = (matches!(step, Step::StartChunk { .. }), matches!(step, Step::Send { .. } | Step::Close(_)));
            let refusals = match &seen.record {
                Observed::Read(Some(record)) if unload => ctx.process_state.note_refusal(&record.object),
                _ => 0,
            };
            let undone = match perform(ctx, &desired, &seen, step).await {
                // The step changed the object, so the watch delivers it again.
                Ok(_) if guard => {
                    ctx.process_state.note_finalizer(&desired.object, true);
                    return Some(ctx.timing.recheck_waiting.min(Duration::from_secs(1)));
                }
                // Another pass would at once write again what an older CRD drops.
                Ok(_) if seen.outdated.is_some() => None,
                Ok(record) if !unload => {
                    // Once it is sent, others may plan.
                    queued.place.take_if(|_| over);
                    left = if next_chunk { PASSES } else { left };
                    carried = Carried { record, identity: seen.identity.get().filter(|_| over).cloned() };
                    continue;
                }
                // Somebody else was faster: look again.
                Err(cause) if cause.backend_code == Some(CONFLICT) => return Some(ctx.jitter(Duration::from_millis(200))),
                Ok(_) => None,
                Err(cause) => Some(cause),
            };
            let refusals = if guard { ctx.process_state.note_finalizer(&desired.object, false) } else { refusals };
            // What keeps the plan from being sent is reported, and not tried again at once.
            again = ctx.jitter(again.max(ctx.timing.recheck_waiting).max(after_failed_steps(refusals, &ctx.timing)));
            if let Some(cause) = undone {
                tracing::warn!(namespace = desired.object.namespace, name = desired.object.name, id = desired.id, reason = %cause.reason, "Step not done: {}", cause.message);
                match &mut decision.report {
                    Report::Request(ending) => ending.hinder(&cause),
                    // Also for the operator's own housekeeping: else an object that cannot go would not say why.
                    other => *other = Report::Outstanding(cause),
                }
            }
        }
        match report(ctx, pipeline, &desired, &decision.report, &told).await {
            Ok(()) => {}
            Err(cause) if matches!(cause.backend_code, Some(CONFLICT | NOT_FOUND)) => again = again.min(Duration::from_millis(200)),
            Err(cause) => {
                tracing::warn!(namespace = desired.object.namespace, name = desired.object.name, reason = %cause.reason, "Not told: {}", cause.message);
                again = again.min(ctx.jitter(Duration::from_secs(1)));
            }
        }
        if failures > 0 {
            let reason = told.reached.as_ref().and_then(|reached| reached.as_ref().err()).map(|cause| cause.reason);
            again = again.max(after_failed_looks(failures, reason, &ctx.timing));
        }
        return Some(if again >= timing.recheck_idle { ctx.jitter(again) } else { again });
    }
    Some(ctx.jitter(Duration::from_secs(1)))
}

/// A line for each decision: at info if it differs from this object's last one in more than times.
fn log(ctx: &Context, desired: &Desired, seen: &Observation, decision: &Decision) {
    let (report, step) = (&decision.report, decision.step.as_ref());
    let (namespace, name, id) = (&desired.object.namespace, &desired.object.name, desired.id.as_deref().unwrap_or_default());
    let step = match step {
        None => "None",
        Some(Step::AddFinalizer) => "AddFinalizer",
        Some(Step::RemoveFinalizer) => "RemoveFinalizer",
        Some(Step::RecordPause { .. }) => "RecordPause",
        Some(Step::Stop) => "Stop",
        Some(Step::Resume) => "Resume",
        Some(Step::MarkResumed) => "MarkResumed",
        Some(Step::WriteAhead { .. }) => "WriteAhead",
        Some(Step::RecordDryRun { .. }) => "RecordDryRun",
        Some(Step::Send { .. }) => "Send",
        Some(Step::StartChunk { .. }) => "StartChunk",
        Some(Step::DropPlan) => "DropPlan",
        Some(Step::Close(_)) => "Close",
        Some(Step::Retry) => "Retry",
    };
    let (stage, cause) = match report {
        Report::Request(e) => (format!("{:?}", e.stage), e.owed.as_ref().unwrap_or(&e.cause)),
        Report::Outstanding(cause) => (String::new(), cause),
        Report::Unchanged | Report::Settled { .. } | Report::NotRequested | Report::LeftPaused(_) => {
            match owed(desired, seen, decision.step.as_ref()) {
                Some(done) if is_news(ctx, desired, &done) => return tracing::info!(namespace, name, id, step, "Decided: {done}"),
                Some(_) | None => return tracing::debug!(namespace, name, id, step, "Decided: nothing new"),
            }
        }
    };
    if is_news(ctx, desired, &format!("{stage} {} {step} {}", cause.reason, cause.message)) {
        let deleted = desired.deleted.is_some();
        tracing::info!(namespace, name, id, deleted, stage, reason = %cause.reason, step, "Decided: {}", cause.message);
    } else {
        tracing::debug!(namespace, name, id, stage, reason = %cause.reason, step, "Decided: {}", cause.message);
    }
}

fn is_news(ctx: &Context, desired: &Desired, said: &str) -> bool {
    ctx.process_state.is_news(&desired.object, &words::apart_from_times(said))
}

/// What a step is done for although nobody asks for it now: a withdrawn request, or a deleted object.
fn owed(desired: &Desired, seen: &Observation, step: Option<&Step>) -> Option<String> {
    let record = seen.subject().map_or("?", RecordView::name);
    let (what, why) = (desired.backend.named(), if desired.deleted.is_some() { "; this object is deleted" } else { "" });
    match step? {
        Step::Resume => Some(format!("{what} is started again, as record {record} owes it{why}")),
        Step::MarkResumed => {
            Some(format!("{what} runs again as before, or was changed by somebody else: record {record} owes nothing more{why}"))
        }
        Step::Close(status) => Some(format!("record {record} is closed: {:?}, {}{why}", status.phase, status.reason)),
        Step::RemoveFinalizer if desired.deleted.is_some() => Some(format!("nothing is left to bring back{why} and goes")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d4_what_is_done_for_a_deleted_object_is_told() {
        let pipeline = serde_json::json!({
            "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline",
            "metadata": { "name": "p", "namespace": "n", "uid": "u", "deletionTimestamp": "2026-01-01T12:00:00Z" },
            "spec": { "kafka": { "bootstrapServers": ["b:9092"], "consumerGroup": "g" } }
        });
        let pipeline: StreamPipeline = serde_json::from_value(pipeline).unwrap();
        let desired = Desired::of(&pipeline, backend::facts, "2026-01-01T12:00:01Z".parse().unwrap()).unwrap();
        let told = |step: &Step| owed(&desired, &Observation::default(), Some(step)).unwrap_or_default();
        for (step, said) in [
            (Step::Resume, "group g is started again"),
            (Step::MarkResumed, "group g runs again as before"),
            (Step::RemoveFinalizer, "nothing is left to bring back"),
        ] {
            let told = told(&step);
            assert!(told.contains(said) && told.contains("this object is deleted"), "{step:?}: {told}");
        }
    }
}
