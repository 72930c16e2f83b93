//! The installed CRDs lack something: no step is taken until they are upgraded. A request that may have lost a field on the way here does
//! not run after the upgrade either.

use super::Pass;
use crate::{Cause, Decision, RecordView, Report, Request, Step};

impl Pass<'_> {
    /// What was decided, without its step, unless the step ends a pause: a stopped pipeline does not wait for an upgrade.
    pub(super) fn while_outdated(&self, mut decision: Decision) -> Decision {
        let Some(outdated) = &self.seen.outdated else { return decision };
        // The pause may be recorded in a field that the installed CRDs do not have.
        let paused = self.prior.last.as_ref().is_some_and(|last| last.paused_by_operator.is_some());
        let goes = matches!(decision.report, Report::LeftPaused(_));
        let left = self.seen.subject();
        let stopped = left.is_some_and(RecordView::needs_resume);
        let may = |step: &mut Step| match step {
            Step::RemoveFinalizer => goes || !paused,
            Step::Resume | Step::MarkResumed => true,
            Step::DropPlan | Step::Close(_) => stopped,
            _ => false,
        };
        let undone = decision.step.take_if(|step| !may(step)).is_some();
        if let Report::Request(told) = &mut decision.report {
            told.hinder(&outdated.cause);
        }
        if let (Report::Outstanding(cause), true) = (&mut decision.report, undone) {
            *cause = outdated.cause.clone();
        }
        decision.recheck = decision.recheck.max(self.timing.recheck_waiting);
        decision
    }

    /// Why a request that is accepted now ends: it was written through CRDs that may have dropped part of it.
    pub(super) fn cut_short(&self, request: &Request) -> Option<Cause> {
        let outdated = self.seen.outdated.as_ref().filter(|outdated| outdated.asked)?;
        let known = self.prior.of_request(&request.id, request.dry_run).is_some() || self.seen.record.get().is_some_and(Option::is_some);
        (!known).then(|| {
            let text =
                "This request may have lost part of what was written, so it does not run then either: apply it once more, with a new id";
            let said = outdated.cause.message.trim_end_matches('.');
            Cause { message: format!("{said}. {text}"), ..outdated.cause.clone() }
        })
    }
}
