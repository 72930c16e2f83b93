//! What to do next, from what is asked, what is known and what was seen. Pure and total: no client, no clock of its own.
//!
//! First [`looks()`] says what to look at, until nothing is left to look at. Then [`decide()`] says where the pass stands (`Situation`),
//! and each situation has one function that answers with at most one step and with what to report meanwhile.

mod accept;
mod closed_record;
mod deleted;
mod found;
mod guards;
mod lag_evidence;
mod looks;
mod open_record;
mod outdated;
pub mod precedence;
mod read_back;
mod run_state;
mod situation;
mod superseded;
#[cfg(test)]
pub(crate) mod tests;
mod told;
mod unplanned;

pub use found::{Found, note};
pub use lag_evidence::may_explain;
pub use looks::{Look, LookKind, is_seen_stopped, looks};
pub use unplanned::next_look;

use std::time::Duration;

use crate::{Cause, Decision, Desired, Now, Observation, PlatformFacts, PriorStatus, RecordView, Report, Step, Timing};
use situation::Situation;
use stream_pipeline_api::Stage;

/// See the module's own comment.
pub fn decide(desired: &Desired, prior: &PriorStatus, seen: &Observation, timing: &Timing, now: Now) -> Decision {
    let pass = Pass { desired, prior, seen, timing, now };
    let decision = match pass.situation() {
        Situation::DeletedForTooLong => pass.let_go(),
        Situation::Superseded(left) => pass.superseded(left),
        Situation::NotRequested => pass.not_requested(),
        Situation::DryRunRecorded(record) => pass.dry_run_recorded(record),
        Situation::LeftBehind(record) => pass.left_behind(record),
        Situation::BegunByAnotherObject(record) => pass.begun_by_another_object(record),
        Situation::ClosedForAnotherObject(record) => pass.closed_for_another_object(record),
        Situation::Closed(request, record) => pass.closed(request, record),
        Situation::Open(record) => pass.open(record),
        Situation::Refused(cause) => pass.refused(cause),
        Situation::Unplanned(request) => pass.unplanned(request),
    };
    pass.while_outdated(pass.guarded(pass.not_reopened(until_done(decision))))
}

/// The report stands until the step is done, and then the next pass looks again. So an end is reported only once the record is closed: a
/// request that is reported as ended is not looked at any more, and a dropped plan is planned anew.
fn until_done(mut decision: Decision) -> Decision {
    if let (Report::Request(told), Some(step)) = (&mut decision.report, &decision.step) {
        let ends = told.owed.is_none() && matches!(told.stage, Stage::Failed | Stage::Planned);
        if matches!(step, Step::DropPlan) || matches!(step, Step::Close(_)) && ends {
            told.stage = Stage::Waiting;
        }
    }
    decision
}

/// What the function of each situation may use.
struct Pass<'a> {
    desired: &'a Desired,
    prior: &'a PriorStatus,
    seen: &'a Observation,
    timing: &'a Timing,
    now: Now,
}

/// What to do about a record, why, and when to look again.
struct Action {
    step: Option<Step>,
    cause: Cause,
    recheck: Duration,
}

impl Action {
    fn act(step: Step, cause: Cause) -> Self {
        Self { step: Some(step), cause, recheck: Duration::ZERO }
    }

    fn wait(cause: Cause, recheck: Duration) -> Self {
        Self { step: None, cause, recheck }
    }

    /// This action, with what to report meanwhile.
    fn told(self, report: Report) -> Decision {
        Decision { report, step: self.step, recheck: self.recheck }
    }
}

impl Pass<'_> {
    fn facts(&self) -> PlatformFacts {
        self.desired.facts
    }

    /// The record of the request, where there is one.
    fn own(&self) -> Option<&RecordView> {
        self.seen.record.get().and_then(Option::as_ref)
    }

    /// A request that was told to have ended stays so, whatever turns up of it later: the record of an earlier object of this name, or one
    /// that another replica made without knowing. Only a held one may go on, by a retry, and nothing that was sent was never sent.
    fn not_reopened(&self, decision: Decision) -> Decision {
        let ended = self.known().filter(|last| last.stage.is_final() && !self.desired.dry_run).map(|last| last.stage);
        let (Report::Request(told), Some(ended)) = (&decision.report, ended) else { return decision };
        let reopened = !told.stage.is_final() && ended != Stage::Held;
        let unsent = told.stage == Stage::Failed && matches!(ended, Stage::Verified | Stage::Sent | Stage::Held);
        if !reopened && !unsent {
            return decision;
        }
        let report = told.owed.clone().map_or(Report::Settled { edited: None }, Report::Outstanding);
        Decision { report, ..decision }
    }

    /// An object whose pipeline is kept stopped has our finalizer, also where somebody has replaced it by a manifest without one: else a
    /// deletion would leave the pipeline stopped.
    fn guarded(&self, decision: Decision) -> Decision {
        let left = self.seen.superseded.as_ref().map(|left| &left.record);
        let mut of_this = self.own().into_iter().chain(left).filter(|record| record.object.spec.pipeline.uid == self.desired.object.uid);
        let bare = !self.desired.has_finalizer && self.desired.deleted.is_none();
        if decision.step.is_none() && bare && of_this.any(RecordView::needs_resume) {
            return Decision { step: Some(Step::AddFinalizer), recheck: Duration::ZERO, ..decision };
        }
        decision
    }

    /// Our finalizer is removed when no record of this object has a pipeline left to bring back.
    fn remove_finalizer(&self) -> Option<Step> {
        (self.desired.has_finalizer && self.nothing_to_resume()).then_some(Step::RemoveFinalizer)
    }

    fn nothing_to_resume(&self) -> bool {
        self.seen.needing_resume.get().is_some_and(Vec::is_empty) && !self.own().is_some_and(RecordView::needs_resume)
    }

    fn decision(&self, report: Report, step: Option<Step>, recheck: Duration) -> Decision {
        Decision { report, step, recheck }
    }

    /// Nothing is left to do but to look now and then.
    fn at_rest(&self, report: Report, step: Option<Step>) -> Decision {
        self.decision(report, step, self.timing.recheck_idle)
    }
}
