//! Stopping a pipeline for its reset and bringing it back, also after a crash: only what the operator stopped itself (promise 10;
//! protocol.md, "Pausing comes before the plan").

use std::time::{Duration, Instant};

use super::Action;

use crate::{Cause, Now, Observed, RecordView, RunState, RunStateCall, Step, Timing, backoff, words};
use stream_pipeline_api::Reason;

/// The pipeline is active, and its record says that the operator stops it. `active`: what shows that it is active.
pub fn stop(record: &RecordView, run_state: &Observed<RunState>, active: &Cause, timing: &Timing, now: Now) -> Action {
    let state = match run_state {
        Observed::Read(state) => state,
        reading => return Action::wait(unread(reading), timing.recheck_waiting),
    };
    match state {
        RunState::Stopped => {
            let text = format!("it is stopped; waited for until nothing of it is active: {}", active.message);
            Action::wait(Cause::new(Reason::Pausing, text), timing.recheck_waiting)
        }
        RunState::Unknown(why) => Action::wait(why.clone(), timing.recheck_waiting),
        RunState::Running | RunState::PartlyStopped if record.calls.was_down => {
            Action::wait(overridden("it was stopped for this reset and somebody started it again"), timing.recheck_waiting)
        }
        // Not stopped even if this record has not stopped it yet: that would undo what somebody set since the record was made.
        RunState::ChangedExternally(text) => Action::wait(overridden(text), timing.recheck_waiting),
        RunState::Running | RunState::PartlyStopped => {
            let cause = told(Reason::Pausing, "the pipeline is being paused", record.calls.stop.as_ref());
            match due(record.calls.stop.as_ref(), timing, now) {
                None => Action::act(Step::Stop, cause),
                Some(left) => Action::wait(cause, left.min(timing.recheck_waiting)),
            }
        }
    }
}

/// The record is closed, and the pipeline is to run again.
pub fn resume(record: &RecordView, run_state: &Observed<RunState>, timing: &Timing, now: Now) -> Action {
    let state = match run_state {
        Observed::Read(state) => state,
        reading => {
            let why = unread(reading);
            let text = format!("the pipeline is to be started again: {}; or {}", why.message.trim_end_matches('.'), by_hand(record));
            return Action::wait(Cause { message: text, ..why }, timing.recheck_waiting);
        }
    };
    match state {
        // A stop that timed out may still land: "running" is final only when that cannot happen any more.
        RunState::Running => match landing(record, timing, now) {
            None => Action::act(Step::MarkResumed, Cause::new(Reason::BringingBack, "it runs again")),
            Some(left) => Action::wait(
                Cause::new(Reason::BringingBack, "it runs again; watched until nothing that was sent can stop it any more"),
                left.min(timing.recheck_waiting),
            ),
        },
        RunState::Stopped | RunState::PartlyStopped => {
            let start = record.calls.start.as_ref();
            let cause = told(Reason::BringingBack, "the pipeline, which the operator had stopped, is being started again", start);
            match due(start, timing, now) {
                None => Action::act(Step::Resume, cause),
                Some(left) => Action::wait(cause, left.min(timing.recheck_waiting)),
            }
        }
        RunState::ChangedExternally(text) => Action::act(Step::MarkResumed, Cause::new(Reason::BringingBack, text.clone())),
        RunState::Unknown(why) => Action::wait(why.clone(), timing.recheck_waiting),
    }
}

/// What a person does instead of the operator.
pub fn by_hand(record: &RecordView) -> String {
    let ran = record.pauses().map(|before| before.workloads.as_slice()).unwrap_or_default().iter().filter(|w| w.replicas > 0);
    let scale: Vec<String> = ran.map(|w| format!("{} {} to {}", w.kind, w.name, w.replicas)).collect();
    if scale.is_empty() {
        let [organization, pipeline] = record.object.spec.backend.parts();
        return format!("start it by hand: pipeline {pipeline} of organization {organization}");
    }
    format!("scale it by hand: {}", words::some_of(&scale))
}

/// Nobody asks for this record any more, and the pipeline that was stopped for it does not run again yet.
pub fn owed(record: &RecordView, why: &Cause) -> Cause {
    let (id, name) = (words::cut(&record.object.spec.request.id, 64), record.object.metadata.name.as_deref().unwrap_or_default());
    let message = format!(
        "request {id} is not asked for any more, and the operator still keeps its pipeline stopped (record {name}): {}",
        why.message
    );
    Cause { message, ..why.clone() }
}

fn overridden(what: &str) -> Cause {
    let text = format!(
        "{what}; it is not stopped twice. Stop it (a tool that keeps it as it is in Git must ignore spec.replicas of a workload), or remove spec.offsetReset"
    );
    Cause::new(Reason::PauseOverridden, text)
}

fn unread(reading: &Observed<RunState>) -> Cause {
    reading.cause().cloned().unwrap_or_else(|| Cause::new(Reason::BackendError, "not read in this pass"))
}

/// How long until every stop that was sent has certainly landed. A stop that was answered has landed once the pipeline was seen down. Of an
/// earlier process's stop only the time since this process has known the record is known.
fn landing(record: &RecordView, timing: &Timing, now: Now) -> Option<Duration> {
    let calls = &record.calls;
    let own = calls.stop.as_ref().and_then(|stop| match stop {
        _ if !stop.under_way && calls.was_down && stop.tries == 1 => None,
        // Accepted, but the pipeline was not seen stopped yet: a platform may take its time.
        _ if stop.accepted() && !calls.was_down => Some(stop.last + timing.landed().max(timing.slow_stop)),
        _ => Some(stop.last + timing.landed()),
    });
    let of_others = calls.first_seen.filter(|_| !calls.made_here).map(|seen| seen + timing.landed());
    left(own.max(of_others)?, now.mono)
}

/// How long until the next call: none at first, then growing delays, so that a call that is still taking effect is not repeated.
fn due(call: Option<&RunStateCall>, timing: &Timing, now: Now) -> Option<Duration> {
    let call = call?;
    // An accepted call is still taking effect; it is repeated only if nothing comes of it.
    let first = if call.accepted() { timing.recheck_waiting * 10 } else { timing.recheck_waiting * 2 };
    left(call.last + backoff(first, call.tries.saturating_sub(1), timing.max_backoff), now.mono)
}

fn left(end: Instant, now: Instant) -> Option<Duration> {
    Some(end.saturating_duration_since(now)).filter(|left| !left.is_zero())
}

fn told(reason: Reason, what: &str, call: Option<&RunStateCall>) -> Cause {
    match call.and_then(|s| s.failure.as_ref()) {
        Some(failure) => Cause { message: format!("{what}; the last try: {}", failure.message), ..failure.clone() },
        None => Cause::new(reason, what),
    }
}
