//! Whether a request may run at all (promise 5: no surprise reset), and until when.

use jiff::Timestamp;

use crate::{Cause, Now, PriorStatus, RecordView, Request, words};
use stream_pipeline_api::{Reason, RecordPhase, Stage, WhenCreated};

/// What the object's past says about a request that has no open record.
#[derive(Debug, PartialEq)]
pub enum Acceptance {
    /// Taken on at this time.
    Run { accepted_at: Timestamp },
    /// It ended before; the result stays.
    Keep,
    /// It does not run.
    End { stage: Stage, cause: Cause },
}

impl Acceptance {
    /// Since when it runs, if it does.
    pub fn since(&self) -> Option<Timestamp> {
        if let Acceptance::Run { accepted_at } = self { Some(*accepted_at) } else { None }
    }
}

/// `record`: the record of this id, if there is one and it is of this very object. `is_missed`: there is none, and the status names it.
pub fn accept(request: &Request, prior: &PriorStatus, record: Option<&RecordView>, is_missed: bool, now: Now) -> Acceptance {
    if request.dry_run {
        // A dry run moves nothing and uses up no id: it runs once per spec, whatever became of a reset under the same id.
        return match prior.of_request(&request.id, true) {
            Some(last) if last.stage.is_final() && !prior.spec_changed => Acceptance::Keep,
            Some(last) => {
                Acceptance::Run { accepted_at: last.accepted_at.filter(|_| !last.stage.is_final()).map_or(now.wall, |t| t.min(now.wall)) }
            }
            None => Acceptance::Run { accepted_at: now.wall },
        };
    }
    // Its record may have been pruned.
    let ended = record.is_none() && prior.has_ended(&request.id);
    if let Some(last) = prior.of_request(&request.id, false) {
        return match last.stage {
            Stage::Waiting if ended => over_before(),
            // It may have been sent since.
            Stage::Waiting if is_missed => missing(),
            Stage::Waiting => Acceptance::Run { accepted_at: last.accepted_at.map_or(now.wall, |t| t.min(now.wall)) },
            // The status says Pausing or Sending only once the record exists, so a missing record was deleted.
            Stage::Pausing | Stage::Sending | Stage::OfAnotherVersion if record.is_none() => missing(),
            Stage::Pausing | Stage::Sending | Stage::OfAnotherVersion => {
                Acceptance::Run { accepted_at: last.accepted_at.unwrap_or(now.wall) }
            }
            _ => Acceptance::Keep,
        };
    }
    if ended {
        return over_before();
    }
    if let Some(record) = record {
        // Accepted before a crash that came before the status was written.
        return Acceptance::Run { accepted_at: record.object.spec.created_at.min(now.wall) };
    }
    // A dry run does not use up its id.
    let after_dry_run = prior.of_request(&request.id, true).is_some();
    let asked_later = prior.seen_before && (after_dry_run || prior.acknowledged_id.as_deref() != Some(request.id.as_str()));
    let may_run_at_creation = request.when_created == WhenCreated::Run || request.expires_at.is_some_and(|t| t > now.wall);
    if asked_later || (!prior.seen_before && may_run_at_creation) {
        return Acceptance::Run { accepted_at: now.wall };
    }
    let id = words::cut(&request.id, 64);
    let text = format!(
        "request {id} was already there when this object was first seen, so it was not run: a restored or copied manifest moves nothing. \
         To run it, set a new spec.offsetReset.id on the existing object, or create it with whenCreated: Run or with an expiresAt in the future"
    );
    Acceptance::End { stage: Stage::Skipped, cause: Cause::new(Reason::SkippedAtCreation, text) }
}

/// The status says that the request was under way, and its record is gone.
pub fn missing() -> Acceptance {
    let text = "the status says that this request was under way, but its record is gone: it is not planned again. \
                Look where the pipeline stands and whether it runs; a new id asks again";
    Acceptance::End { stage: Stage::Held, cause: Cause::new(Reason::RecordMissing, text) }
}

/// The status says that the request ended and that another one came after it, and its record is gone.
fn over_before() -> Acceptance {
    let text = "this id was dealt with before another one, and its record is gone: it does not run again. A new id asks again";
    Acceptance::End { stage: Stage::Skipped, cause: Cause::new(Reason::AlreadyHandled, text) }
}

/// The closed record of another object: the same id, but the object was deleted and created again, or restored.
pub fn of_another_object(record: &RecordView) -> (Stage, Cause) {
    let name = record.object.metadata.name.as_deref().unwrap_or_default();
    match record.object.status.as_ref().map(|s| s.phase) {
        Some(RecordPhase::Abandoned) if record.object.status.as_ref().is_none_or(|s| s.reason != Reason::Restored) => {
            let text =
                format!("an earlier object asked for this id and it was given up before anything was sent (record {name}); use a new id");
            (Stage::Failed, Cause::new(Reason::AbandonedUnrun, text))
        }
        phase => {
            let phase: &str = phase.map_or("open", Into::into);
            let text = format!("this id was dealt with before: record {name} ({phase}). It does not run again; a new id asks again");
            (Stage::Skipped, Cause::new(Reason::AlreadyHandled, text))
        }
    }
}
