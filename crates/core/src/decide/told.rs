//! What is reported of a request: where it stands, what it waits for and until when, and what is kept stopped for it.

use jiff::Timestamp;

use super::{Action, Pass, open_record};
use crate::{Cause, Decision, Kept, Observed, PlanState, RecordView, Report, Request, RequestState, RunState, Waiting, cost, words};
use stream_pipeline_api::{OffsetResetStatus, PlanTotals, PlatformCall, Reason, RecordPhase, Stage, WhenActive};

/// When a request was accepted, and until when it may run.
#[derive(Clone, Copy)]
pub(super) struct Term {
    pub accepted_at: Timestamp,
    pub deadline: Timestamp,
}

impl Pass<'_> {
    /// What the status says so far of the request that is asked for now.
    pub(super) fn known(&self) -> Option<&OffsetResetStatus> {
        self.desired.id.as_deref().and_then(|id| self.prior.of_request(id, self.desired.dry_run))
    }

    /// Reports what is waited for. `action`: what is done meanwhile, possibly about another record.
    pub(super) fn waiting(&self, request: &Request, cause: Cause, term: Term, action: Option<Action>) -> Decision {
        let waiting = Waiting { for_what: cause, until: Some(term.deadline) };
        let recheck = match waiting.for_what.reason {
            Reason::QuietPeriod => {
                super::next_look(request.quiet_period, self.seen.quiet.since.unwrap_or_default(), self.timing.recheck_waiting)
            }
            _ => self.timing.recheck_waiting,
        };
        let (step, recheck) = action.map_or((None, recheck), |action| (action.step, action.recheck));
        self.decision(Report::request(self.within(term, RequestState::new(Stage::Waiting, waiting.told()))), step, recheck)
    }

    /// What a record says about a request.
    pub(super) fn state_of(&self, record: &RecordView, stage: Stage, cause: Cause) -> RequestState {
        let spec = &record.object.spec;
        let known = self.prior.of_request(&spec.request.id, spec.request.is_dry_run());
        RequestState {
            accepted_at: known.and_then(|k| k.accepted_at).or(Some(spec.created_at)),
            deadline: Some(spec.deadline),
            totals: totals(record),
            kept: self.kept(record, &self.seen.run_state),
            record: Some(record.name().to_owned()),
            attempts: spec.writer.as_ref().map(|w| w.attempt),
            completed_at: record.object.status.as_ref().map(|s| s.completed_at),
            ..RequestState::new(stage, cause)
        }
    }

    /// Adds the times of the request's term.
    pub(super) fn within(&self, term: Term, told: RequestState) -> RequestState {
        let told = self.as_known(told);
        RequestState { accepted_at: Some(term.accepted_at), deadline: Some(term.deadline), ..told }
    }

    /// Adds what is already known of the request.
    pub(super) fn as_known(&self, told: RequestState) -> RequestState {
        let (known, record) = (self.known(), self.own());
        // What could not be read is not gone.
        let unread = known.filter(|_| self.seen.record.get().is_none()).and_then(|known| known.record_ref.as_ref());
        let name = record.map(RecordView::name).or(unread.map(|named| named.name.as_str()));
        RequestState {
            kept: record.and_then(|record| self.kept(record, &self.seen.run_state)),
            accepted_at: known.and_then(|k| k.accepted_at),
            deadline: known.and_then(|k| k.deadline),
            record: name.map(str::to_owned),
            ..told
        }
    }

    /// What the operator keeps stopped for this record, as far as that is known; None: nothing.
    pub(super) fn kept(&self, record: &RecordView, run_state: &Observed<RunState>) -> Option<Kept> {
        let before = record.pauses().filter(|_| record.needs_resume())?;
        let stopped = match run_state {
            Observed::Read(RunState::Stopped | RunState::PartlyStopped) => true,
            Observed::Read(RunState::Running | RunState::ChangedExternally(_)) => false,
            // The run state was not read in this pass. A plan is made only once the pipeline is stopped.
            _ => record.calls.was_down || !matches!(record.state, PlanState::Absent),
        };
        let since = record.object.spec.created_at;
        let held = record.object.status.as_ref().is_some_and(|s| s.phase == RecordPhase::Held);
        let out = if held { "; a new id, or removing spec.offsetReset, starts it again" } else { "" };
        stopped.then(|| Kept { since, said: words::kept(before, since) + out })
    }

    /// This cause, followed by what is kept stopped meanwhile.
    pub(super) fn still_stopped(&self, record: &RecordView, run_state: &Observed<RunState>, cause: Cause) -> Cause {
        match self.kept(record, run_state) {
            Some(kept) => Cause { message: words::and(&cause.message, &kept.said), ..cause },
            None => cause,
        }
    }

    pub(super) fn dry_run_recorded(&self, record: &RecordView) -> Decision {
        let step = record.object.status.is_none().then(|| crate::Step::Close(open_record::planned(record, self.now)));
        self.at_rest(Report::request(self.state_of(record, Stage::Planned, self.plan_ready(record))), step)
    }

    fn plan_ready(&self, record: &RecordView) -> Cause {
        let plan = record.object.spec.plan.as_ref();
        if let Some(call) = plan.and_then(|p| p.call.as_ref()) {
            return self.call_ready(call);
        }
        let Some(totals) = totals(record) else {
            let text = "this dry run is old, and its plan was removed to save room. A new id shows a new one";
            return Cause::new(Reason::PlanReady, text);
        };
        let moved = words::partitions(usize::try_from(totals.partitions).unwrap_or_default());
        let text = format!(
            "dry run: {moved} would move, {}. Nothing was sent. {}",
            cost::in_words(record.plan(), &totals, "would be"),
            self.to_run_it()
        );
        Cause::new(Reason::PlanReady, text)
    }

    /// What a person does to turn a dry run into a reset.
    fn to_run_it(&self) -> &'static str {
        if self.desired.id.as_deref().is_some_and(|id| self.prior.is_used_up(id)) {
            "This id is used up by an earlier reset: to run it, set dryRun: false together with a new id"
        } else {
            "Set dryRun: false to run it"
        }
    }

    /// All that can be said before the call where the platform chooses the target.
    fn call_ready(&self, call: &PlatformCall) -> Cause {
        let pause = self.desired.asked().is_some_and(|r| r.when_active == WhenActive::Pause) && self.facts().run_state;
        let around = if pause { "; if it runs it would be paused before and started again after" } else { "" };
        let lag = call.before.map_or_else(
            || "its position is not known while it does not run".to_owned(),
            |b| format!("it read at offset {} with a lag of {}", words::number(b.offset), words::number(b.lag)),
        );
        let text = format!(
            "dry run: {} would be called{around}. The pipeline: {}; {lag}. Where the position goes the platform decides, and it cannot be undone. \
             Nothing was sent. {}",
            call.operation,
            call.state,
            self.to_run_it()
        );
        Cause::new(Reason::PlanReady, text)
    }
}

/// What it costs: by the plan, or by what is left of it.
fn totals(record: &RecordView) -> Option<PlanTotals> {
    let status = || record.object.status.as_ref().and_then(|status| status.totals.clone());
    record.object.spec.plan.as_ref().and_then(|plan| plan.totals.clone()).or_else(status)
}
