//! The only file that knows the order: observe, decide, perform, report. After a step the pass ends, and the next one
//! looks again at once.

use std::time::Duration;

use crate::api::{Stage, StreamPipeline};
use crate::context::Context;
use crate::domain::{Decision, Desired, Now, Observation, Progress, Reading, Step, Verdict, words};
use crate::observe::observe;
use crate::perform::perform;
use crate::report::{Seen, left_paused, report};

/// A reset takes five passes; more in one go means that something changes all the time. Each chunk of a plan counts anew: they
/// are so many, and a pause between announcing one and sending it would be taken from its window.
const PASSES: usize = 12;

/// HTTP status of a write that met a newer version, or an object that is there already.
const CONFLICT: i32 = 409;

/// Runs passes until nothing is left to do at once. When to look again if nothing changes before; None: only then.
pub async fn reconcile(ctx: &Context, pipeline: &StreamPipeline) -> Option<Duration> {
    let mut told = Seen::default();
    let mut left = PASSES;
    while left > 0 {
        left -= 1;
        let now = ctx.now();
        let desired = match Desired::of(pipeline, now.wall) {
            Ok(desired) => desired,
            Err(cause) => {
                tracing::warn!(name = pipeline.metadata.name, "{}", cause.message);
                return None;
            }
        };
        let timing = ctx.timing.at_rest(desired.backend.abilities());
        let progress = Progress::of(pipeline);
        let seen = observe(ctx, &desired, &progress, now).await;
        // The looks take time; the window and the waits are judged by the clock after them.
        let now = ctx.now();
        told.note(&seen, now.wall);
        let mut decision = (ctx.decide)(&desired, &progress, &seen, &timing, now);
        log(ctx, &desired, &seen, &decision, now);
        let failures = ctx.memory.note_reached(&desired.object, !matches!(told.reached, Some(Err(_))));
        let mut again = decision.recheck;
        // Told before: afterwards the object is gone.
        if let Verdict::LeftPaused(cause) = &decision.verdict {
            tracing::warn!(namespace = desired.object.namespace, name = desired.object.name, reason = %cause.reason, "{}", cause.message);
            left_paused(ctx, pipeline, cause).await;
        }
        if let Some(step) = decision.step {
            let (unload, guard) = (matches!(step, Step::Unload), matches!(step, Step::Guard | Step::Unguard));
            let next_chunk = matches!(step, Step::Announce { .. });
            let refusals = match &seen.record {
                Reading::Read(Some(record)) if unload => ctx.memory.note_refusal(&record.object),
                _ => 0,
            };
            let undone = match perform(ctx, &desired, &seen, step).await {
                // The object changed; the watch brings it anew.
                Ok(()) if guard => return Some(ctx.timing.recheck_waiting.min(Duration::from_secs(1))),
                // What an older definition drops would be written again at once.
                Ok(()) if seen.outdated.is_some() => None,
                Ok(()) if !unload => {
                    left = if next_chunk { PASSES } else { left };
                    continue;
                }
                // Somebody else was faster: look again.
                Err(cause) if cause.backend_code == Some(CONFLICT) => return Some(ctx.jitter(Duration::from_millis(200))),
                Ok(()) => None,
                Err(cause) => Some(cause),
            };
            // What keeps the plan from being sent is told, and not tried again at once.
            again = ctx.jitter(again.max(ctx.timing.recheck_waiting).max(backoff(
                refusals,
                ctx.timing.recheck_waiting,
                ctx.timing.max_backoff,
            )));
            if let Some(cause) = &undone {
                tracing::warn!(namespace = desired.object.namespace, name = desired.object.name, id = desired.id, reason = %cause.reason, "Step not done: {}", cause.message);
            }
            match &mut decision.verdict {
                Verdict::Owed(told) => {
                    if let Some(cause) = undone {
                        *told = cause;
                    }
                }
                // Also what only our own housekeeping meets: an object that does not go would not say why.
                Verdict::Keep | Verdict::Nothing | Verdict::LeftPaused(_) => {
                    if let Some(cause) = undone {
                        decision.verdict = Verdict::Owed(cause);
                    }
                }
                Verdict::Request(ending) => {
                    // An end is told only once its record is closed: what is told as ended is not looked at again.
                    let not_ended = undone.is_some() && matches!(ending.stage, Stage::Failed | Stage::Planned);
                    if unload || not_ended {
                        ending.stage = Stage::Waiting;
                    }
                    if let Some(cause) = undone {
                        // What has ended keeps its word: it would be told for ever.
                        if !ending.stage.is_final() {
                            ending.cause = cause;
                        }
                    }
                }
            }
        }
        match report(ctx, pipeline, &desired, &decision.verdict, &told).await {
            Ok(()) => {}
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => again = again.min(Duration::from_millis(200)),
            Err(error) => {
                tracing::warn!(namespace = desired.object.namespace, name = desired.object.name, %error, "Could not write the status");
                again = again.min(ctx.jitter(Duration::from_secs(1)));
            }
        }
        if failures > 0 {
            again = again.max(backoff(failures, ctx.timing.recheck_waiting, ctx.timing.max_backoff));
        }
        return Some(if again >= timing.recheck_idle { ctx.jitter(again) } else { again });
    }
    Some(ctx.jitter(Duration::from_secs(1)))
}

/// Doubles from a fifth of the usual delay up to the cap.
fn backoff(failures: u32, usual: Duration, cap: Duration) -> Duration {
    (usual / 5).saturating_mul(2u32.saturating_pow(failures.min(16))).min(cap)
}

/// A line for each decision: at info where it is another than the last one of this object, times apart.
fn log(ctx: &Context, desired: &Desired, seen: &Observation, decision: &Decision, now: Now) {
    let (verdict, step) = (&decision.verdict, decision.step.as_ref());
    let (namespace, name, id) = (&desired.object.namespace, &desired.object.name, desired.id.as_deref().unwrap_or_default());
    let step = match step {
        None => "None",
        Some(Step::Guard) => "Guard",
        Some(Step::Unguard) => "Unguard",
        Some(Step::RecordPause { .. }) => "RecordPause",
        Some(Step::Stop) => "Stop",
        Some(Step::BringBack) => "BringBack",
        Some(Step::NoteBroughtBack) => "NoteBroughtBack",
        Some(Step::WriteAhead { .. }) => "WriteAhead",
        Some(Step::RecordDryRun { .. }) => "RecordDryRun",
        Some(Step::Send { .. }) => "Send",
        Some(Step::Announce { .. }) => "Announce",
        Some(Step::Unload) => "Unload",
        Some(Step::Close(_)) => "Close",
        Some(Step::Rearm) => "Rearm",
    };
    let (stage, cause) = match verdict {
        Verdict::Request(e) => (format!("{:?}", e.stage), &e.cause),
        Verdict::Owed(cause) => (String::new(), cause),
        Verdict::Keep | Verdict::Nothing | Verdict::LeftPaused(_) => match owed(desired, seen, decision.step.as_ref()) {
            Some(done) if is_news(ctx, desired, &done, now) => return tracing::info!(namespace, name, id, step, "Decided: {done}"),
            Some(_) | None => return tracing::debug!(namespace, name, id, step, "Decided: nothing new"),
        },
    };
    if is_news(ctx, desired, &format!("{stage} {} {step} {}", cause.reason, cause.message), now) {
        tracing::info!(namespace, name, id, stage, reason = %cause.reason, step, "Decided: {}", cause.message);
    } else {
        tracing::debug!(namespace, name, id, stage, reason = %cause.reason, step, "Decided: {}", cause.message);
    }
}

fn is_news(ctx: &Context, desired: &Desired, said: &str, now: Now) -> bool {
    ctx.memory.is_news(&desired.object, words::apart_from_times(said), now.mono)
}

/// What is done although nothing is asked for: for a request that is gone, or for an object that is deleted.
fn owed(desired: &Desired, seen: &Observation, step: Option<&Step>) -> Option<String> {
    let left = seen.leftover.as_ref().map(|left| &left.look);
    let record = left.or(seen.record.get().and_then(Option::as_ref)).and_then(|look| look.object.metadata.name.as_deref()).unwrap_or("?");
    let (what, why) = (desired.backend.named(), if desired.deleted.is_some() { "; this object is deleted" } else { "" });
    match step? {
        Step::BringBack => Some(format!("{what} is started again, as record {record} owes it{why}")),
        Step::NoteBroughtBack => Some(format!("{what} runs again as before, or was changed by somebody else: record {record} owes nothing more{why}")),
        Step::Close(status) => Some(format!("record {record} is closed: {:?}, {}{why}", status.phase, status.reason)),
        Step::Unguard if desired.deleted.is_some() => Some(format!("nothing is left to bring back{why} and goes")),
        _ => None,
    }
}
