//! A request of which nothing is planned yet: may it run, can it run now, and what exactly would it do?

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::accept::{self, Acceptance};
use super::guards::Blocked;
use super::told::Term;
use super::{Action, Pass, run_state};
use crate::{
    Activity, Cause, Decision, Observed, OlderPipeline, Plan, PlanState, RecordView, Report, Request, RequestState, RunState, Step,
};
use stream_pipeline_api::{Reason, RunStateBefore, Stage, WhenActive};

/// When to look again at a group whose quiet period is watched: four times per period, so that one late look does not start the period
/// anew.
pub fn next_look(period: Duration, rested: Duration, usual: Duration) -> Duration {
    period.saturating_sub(rested).min(period / 4).max(Duration::from_millis(100)).min(usual)
}

impl Pass<'_> {
    /// What is asked for is not acceptable.
    pub(super) fn refused(&self, cause: &Cause) -> Decision {
        if self.known().is_some_and(|last| last.stage.is_final()) {
            return self.at_rest(Report::Settled { edited: Some(cause.clone()) }, self.remove_finalizer());
        }
        self.give_up(RequestState::new(Stage::Failed, cause.clone()))
    }

    pub(super) fn accept(&self, request: &Request) -> Acceptance {
        accept::accept(request, self.prior, self.own(), self.is_missed(request), self.now)
    }

    /// Whether the status names the very record that was looked for, and it is not there. One that an earlier object left behind has
    /// another name.
    fn is_missed(&self, request: &Request) -> bool {
        let named = self.prior.of_request(&request.id, false).and_then(|last| last.record_ref.as_ref());
        matches!(self.seen.record, Observed::Read(None)) && named.is_some_and(|named| Some(&named.name) == self.seen.record_name.as_ref())
    }

    /// Until when a request that was accepted at this time may run.
    pub(super) fn term(&self, request: &Request, accepted_at: Timestamp) -> Term {
        let timeout = SignedDuration::try_from(request.wait_timeout).ok();
        let end = || timeout.and_then(|d| accepted_at.checked_add(d).ok()).unwrap_or(Timestamp::MAX);
        Term { accepted_at, deadline: self.own().map_or_else(end, |record| record.object.spec.deadline) }
    }

    pub(super) fn unplanned(&self, request: &Request) -> Decision {
        // While this process shuts down nothing new is started; the next process goes on.
        if self.seen.draining || self.is_unread(request) {
            return self.as_it_was(request);
        }
        match self.accept(request) {
            Acceptance::Keep => self.ended_before(),
            Acceptance::End { .. } if self.may_have_record(request) => self.as_it_was(request),
            Acceptance::End { stage, cause } => self.at_rest(Report::request(RequestState::new(stage, cause)), None),
            Acceptance::Run { accepted_at } => self.taken_on(request, self.term(request, accepted_at)),
        }
    }

    /// Its record could not be read, and an unread record is not a missing one: an end that is told beside an open one, or beside a result,
    /// would be untrue.
    fn may_have_record(&self, request: &Request) -> bool {
        !request.dry_run && self.seen.record.get().is_none()
    }

    /// The same, where the status says that the request was under way or has ended.
    fn is_unread(&self, request: &Request) -> bool {
        self.may_have_record(request) && (self.prior.has_ended(&request.id) || self.was_begun(request))
    }

    fn was_begun(&self, request: &Request) -> bool {
        let begun = |stage| matches!(stage, Stage::Pausing | Stage::Sending | Stage::OfAnotherVersion);
        self.prior.of_request(&request.id, false).is_some_and(|last| begun(last.stage))
    }

    fn as_it_was(&self, request: &Request) -> Decision {
        let illegible = self.seen.record.cause().filter(|cause| cause.reason == Reason::InvalidObject && self.was_begun(request));
        match (illegible, self.prior.of_request(&request.id, false)) {
            (Some(cause), Some(last)) => self.at_rest(Report::request(self.as_known(RequestState::new(last.stage, cause.clone()))), None),
            _ => self.decision(Report::Unchanged, None, self.timing.recheck_waiting),
        }
    }

    /// The status already reports an end, so a record that exists all the same gets no plan.
    fn ended_before(&self) -> Decision {
        if let Some(record) = self.own() {
            let text = "given up before anything was sent: the status says that this request has ended";
            return self.abandon(record, &Cause::new(Reason::NoLongerRequested, text)).told(Report::Unchanged);
        }
        // If the record was not read, it is not known whether it still matches what is asked for.
        let report = if self.seen.record.get().is_some() { Report::Settled { edited: None } } else { Report::Unchanged };
        self.at_rest(report, self.remove_finalizer())
    }

    fn taken_on(&self, request: &Request, term: Term) -> Decision {
        let own = self.own();
        let failed = |cause| {
            if self.may_have_record(request) {
                return self.waiting(request, self.unread(), term, None);
            }
            self.give_up(self.within(term, RequestState::new(Stage::Failed, cause)))
        };
        if let Some(cause) = self.cut_short(request).or_else(|| request.pauses_too_long()).or_else(|| self.expired(request)) {
            return failed(cause);
        }
        if let Some(OlderPipeline::MayCome(left)) = self.seen.older_pipeline {
            return self.decision(Report::Unchanged, None, left);
        }
        let over = self.now.wall >= term.deadline;
        match self.plan(request) {
            Ok(_) if over => failed(timed_out(request, "it could not start")),
            // If it began while others keep the workloads stopped, it could not stop them once the others start them again.
            Ok(plan) => match self.unshared(request).filter(|_| own.is_none()) {
                Some(cause) => self.waiting(request, cause, term, None),
                None => self.write_ahead(request, plan, term),
            },
            Err(Blocked::Terminal(cause)) => failed(cause),
            Err(Blocked::Transient(cause)) if over => failed(self.waited_in_vain(request, &cause)),
            Err(Blocked::Transient(cause)) if self.stops_for(request, &cause) => self.stop_first(request, cause, term),
            Err(Blocked::Transient(cause)) => self.waiting(request, cause, term, None),
        }
    }

    fn expired(&self, request: &Request) -> Option<Cause> {
        let expired = request.expires_at.is_some_and(|t| t <= self.now.wall) && self.own().is_none();
        let text = "expiresAt passed before the reset could start; nothing was sent. A new id asks again";
        expired.then(|| Cause::new(Reason::Expired, text))
    }

    fn write_ahead(&self, request: &Request, plan: Plan, term: Term) -> Decision {
        let cause = Cause::new(Reason::PlanRecorded, "the plan is being recorded");
        let told = self.within(term, RequestState::new(Stage::Waiting, cause));
        let deadline = term.deadline;
        let step = if request.dry_run {
            Step::RecordDryRun { plan, deadline }
        } else {
            // With Pause the record holds the run state from before, also where the pipeline happens to be inactive.
            let before = (request.when_active == WhenActive::Pause).then(RunStateBefore::default);
            Step::WriteAhead { plan, before, deadline }
        };
        self.decision(Report::request(told), Some(step), Duration::ZERO)
    }

    /// The deadline has passed; `cause` is what was last waited for.
    fn waited_in_vain(&self, request: &Request, cause: &Cause) -> Cause {
        let last = format!("{}: {}", cause.reason, cause.message);
        if !(self.own().is_some_and(|r| r.pauses().is_some()) && self.runs()) {
            return timed_out(request, &last);
        }
        let last = if let Observed::Read(RunState::ChangedExternally(text)) = &self.seen.run_state { text } else { &last };
        Cause { reason: Reason::PauseTimedOut, ..timed_out(request, last) }
    }

    /// Whether the pipeline is to be stopped first: not on a cluster where nothing would be sent, nor before the numbers are there.
    fn stops_for(&self, request: &Request, cause: &Cause) -> bool {
        let complete = self.seen.resolved(request).to.source().is_none();
        complete && self.runs() && request.when_active == WhenActive::Pause && !request.dry_run && cause.reason != Reason::ClusterChanged
    }

    pub(super) fn runs(&self) -> bool {
        self.seen.activity.get().is_some_and(Activity::is_active)
    }

    /// `whenActive: Pause` and it runs: first the finalizer, then the record that says so, then the stop (docs/design/protocol.md).
    fn stop_first(&self, request: &Request, cause: Cause, term: Term) -> Decision {
        let own = self.own();
        let may = own.map_or(self.facts().run_state, |record| record.pauses().is_some());
        if !may {
            return self.waiting(request, cause, term, None);
        }
        if let Some(cause) = self.alone().err().or_else(|| self.unshared(request)) {
            return self.waiting(request, cause, term, None);
        }
        let to_be = || Cause::new(Reason::Pausing, "the pipeline is to be paused");
        let action = match own {
            None if !self.seen.before.get().is_some_and(|b| b.running) => {
                // What is active is not one of the workloads that the operator could stop, or an autoscaler would work against a stop.
                return self.waiting(request, self.seen.before.cause().cloned().unwrap_or(cause), term, None);
            }
            // Also where somebody removed the finalizer meanwhile: without it a deletion would leave the pipeline paused.
            _ if !self.desired.has_finalizer => Action::act(Step::AddFinalizer, to_be()),
            Some(record) => self.stop(record, &cause),
            None => {
                let before = RunStateBefore { reading: self.seen.remembered, ..self.seen.before.get().cloned().unwrap_or_default() };
                Action::act(Step::RecordPause { before, deadline: term.deadline }, to_be())
            }
        };
        // Pausing is reported only once the record exists: a status without its record would end the request (RecordMissing).
        let pausing = own.is_some() && action.cause.reason != Reason::PauseOverridden;
        let stage = if pausing { Stage::Pausing } else { Stage::Waiting };
        let told = self.within(term, RequestState::new(stage, action.cause.clone()));
        action.told(Report::request(told))
    }

    fn stop(&self, record: &RecordView, active: &Cause) -> Action {
        let mut action = run_state::stop(record, &self.seen.run_state, active, self.timing, self.now);
        let by = self.seen.before.cause().filter(|by| by.reason == Reason::AutoscalerActive);
        if let (Reason::PauseOverridden, Some(by)) = (action.cause.reason, by) {
            action.cause.message += &format!(". {}", by.message);
        }
        action
    }

    /// Ends a request of which nothing was sent; its record, if there is one, is closed first.
    fn give_up(&self, told: RequestState) -> Decision {
        match self.own().filter(|record| matches!(record.state, PlanState::Absent)) {
            Some(record) => self.abandon(record, &told.cause).told(Report::request(told)),
            None => self.at_rest(Report::request(told), None),
        }
    }
}

fn timed_out(request: &Request, last: &str) -> Cause {
    let (timeout, last) = (request.wait_timeout.as_secs(), last.trim_end_matches('.'));
    let text = format!("waitTimeout ({timeout} s) passed; nothing was sent. Last seen: {last}. A new id asks again");
    Cause::new(Reason::WaitTimedOut, text)
}
