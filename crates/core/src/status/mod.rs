//! The status as a total function of what was seen and decided. The table is product.md, section 3.

mod conditions;
mod inputs;
#[cfg(test)]
mod tests;

pub use inputs::StatusInputs;

use std::time::Duration;

use jiff::Timestamp;

use crate::{Desired, Report, RequestState, words};
use conditions::Conditions;
use stream_pipeline_api::{
    BackendIdentity, ConditionType, Lag, OffsetResetStatus, Phase, Reason, RecordRef, ResetError, Stage, StreamPipeline,
    StreamPipelineStatus,
};

/// The new status; None if it differs from the present one in times only.
pub fn status_of(
    pipeline: &StreamPipeline,
    desired: &Desired,
    report: &Report,
    seen: &StatusInputs,
    pause_warning: Duration,
    now: Timestamp,
) -> Option<StreamPipelineStatus> {
    let uid = Some(desired.object.uid.clone());
    let before = pipeline.status.clone().filter(|s| s.observed_uid == uid);
    if before.is_none() && !matches!(report, Report::NotRequested | Report::Request(_)) {
        // With nothing decided nothing is acknowledged: an object that was not seen before stays so.
        return None;
    }
    let mut status = before.clone().unwrap_or_default();
    status.observed_uid = uid;
    match &seen.identity {
        // Anybody can name a group or pipeline, so it is pinned only once the platform has shown it to these credentials.
        Some(BackendIdentity::Kafka { cluster_id, .. }) if seen.phase.is_some_and(|p| p != Phase::Unknown) => {
            status.cluster_id = status.cluster_id.or_else(|| Some(cluster_id.clone()));
        }
        Some(BackendIdentity::Enos { pipeline_id, .. }) if seen.phase.is_some_and(|p| !matches!(p, Phase::Unknown | Phase::NotFound)) => {
            status.pipeline_id = status.pipeline_id.or_else(|| Some(pipeline_id.clone()));
        }
        Some(_) | None => {}
    }
    status.phase = seen.phase.or(status.phase);
    let generation = pipeline.metadata.generation;
    let mut conditions = Conditions { list: std::mem::take(&mut status.conditions), generation, now, code_of: desired.facts.code_of };
    match report {
        Report::Unchanged | Report::LeftPaused(_) => {}
        Report::Settled { edited } => {
            let done = status.offset_reset.as_ref().is_some_and(|last| matches!(last.stage, Stage::Verified | Stage::Sent));
            match edited.as_ref().filter(|_| done) {
                Some(refused) => {
                    conditions.edited(&format!("What it says now is refused: {}", refused.message));
                }
                None => conditions.refresh(),
            }
            status.observed_generation = generation;
        }
        Report::Outstanding(cause) => conditions.owed(cause.reason, &conditions.message(cause)),
        Report::NotRequested => {
            status.observed_generation = generation;
            status.acknowledged_id = None;
            // The last result stays readable; a request without a result leaves nothing behind.
            if status.offset_reset.as_ref().is_some_and(|r| !r.stage.is_final()) {
                status.leave_last();
                conditions.remove(ConditionType::OffsetsReset);
            }
            // By now the pipeline that was paused for it has been brought back.
            if let Some(last) = &mut status.offset_reset {
                last.paused_by_operator = None;
            }
            let text = match &seen.reached {
                Some(Err(cause)) => words::and("no reset is requested; it could not run now", &conditions.message(cause)),
                _ => "no reset is requested".to_owned(),
            };
            conditions.set(ConditionType::Ready, "True", Reason::NothingRequested, &text);
            conditions.remove(ConditionType::Reconciling);
            conditions.remove(ConditionType::Stalled);
        }
        Report::Request(ending) => {
            status.acknowledged_id.clone_from(&desired.id);
            let same = |last: &OffsetResetStatus| desired.id.as_ref() == Some(&last.id) && last.is_dry_run() == desired.dry_run;
            if !status.offset_reset.as_deref().is_some_and(same) {
                status.leave_last();
            }
            let known = status.offset_reset.take().map(|known| *known);
            let error = error(ending, &conditions);
            status.offset_reset = desired
                .id
                .as_ref()
                .map(|id| Box::new(OffsetResetStatus { dry_run: desired.dry_run, ..reset_status(id, ending, known, error) }));
            conditions.of_request(ending);
            status.observed_generation = generation;
        }
    }
    if status.offset_reset.as_ref().is_some_and(|r| r.paused_by_operator.is_some())
        && matches!(status.phase, Some(Phase::Stopped | Phase::NotFound | Phase::Unknown))
    {
        status.phase = Some(Phase::Paused);
    }
    if let Some((inactive, cause)) = &seen.inactive {
        conditions.set(ConditionType::PipelineInactive, if *inactive { "True" } else { "False" }, cause.reason, &cause.message);
    }
    match &seen.reached {
        Some(Ok(())) => conditions.set(ConditionType::BackendReachable, "True", Reason::Reachable, "it answers"),
        Some(Err(cause)) => conditions.set(ConditionType::BackendReachable, "False", cause.reason, &cause.message),
        None => {}
    }
    let paused = status.offset_reset.as_ref().and_then(|r| r.paused_by_operator);
    conditions.pause_limit(paused, desired.facts.pause_limit, pause_warning);
    status.conditions = conditions.list;
    let lag = seen.lag.clone().or(status.lag.clone()).filter(|lag| !is_outdated(lag, report));
    // A lag that is no longer true is removed; a lag that changes at every look is no reason to write.
    if before.as_ref() == Some(&status) && (lag.is_some() || status.lag.is_none()) {
        return None;
    }
    status.lag = lag;
    Some(status)
}

/// Whether the position may have moved since the lag was read.
fn is_outdated(lag: &Lag, report: &Report) -> bool {
    let Report::Request(ending) = report else { return false };
    let sent = matches!(ending.stage, Stage::Sending | Stage::Sent | Stage::Verified | Stage::Held);
    sent && ending.completed_at.is_none_or(|completed| lag.at <= completed)
}

/// Why the request did not succeed; or why the rest is not done yet, if the platform gave a code for that.
fn error(ending: &RequestState, conditions: &Conditions) -> Option<ResetError> {
    let failed = matches!(ending.stage, Stage::Waiting | Stage::Failed | Stage::Held) || ending.cause.code.is_some();
    let owed = ending.owed.as_ref().filter(|owed| owed.code.is_some());
    let cause = if failed { &ending.cause } else { owed? };
    Some(ResetError {
        code: cause.code(),
        reason: cause.reason,
        backend_code: cause.backend_code,
        message: conditions.message(cause),
        retryable: !failed || !ending.stage.is_final(),
    })
}

fn reset_status(id: &str, ending: &RequestState, known: Option<OffsetResetStatus>, error: Option<ResetError>) -> OffsetResetStatus {
    OffsetResetStatus {
        id: id.to_owned(),
        stage: ending.stage,
        dry_run: false,
        accepted_at: ending.accepted_at.or(known.as_ref().and_then(|k| k.accepted_at)),
        deadline: ending.deadline.or(known.as_ref().and_then(|k| k.deadline)),
        plan: ending.totals.clone(),
        record_ref: ending.record.clone().map(|name| RecordRef { name }),
        attempts: ending.attempts,
        completed_at: ending.completed_at,
        paused_by_operator: ending.kept.as_ref().map(|kept| kept.since),
        error,
    }
}
