//! What to do next, from what is asked, what is known and what was seen. Pure and total: no client, no clock of its own.
//!
//! A chain of guards, each yielding the reason that becomes the condition's, the event's and the metric's.

mod accept;
mod closed_record;
mod found;
mod guards;
mod lag_evidence;
mod looks;
mod open_record;
mod outdated;
pub mod precedence;
mod read_back;
mod run_state;
#[cfg(test)]
mod run_state_tests;
#[cfg(test)]
pub(crate) mod tests;

pub use found::{Found, note};
pub use looks::{Look, LookKind, is_seen_stopped, looks};

use std::time::Duration;

use jiff::Timestamp;

use crate::api::{OffsetResetStatus, PlatformCall, Reason, RecordPhase, RunStateBefore, Stage, WhenActive};
use crate::{
    Activity, Cause, Committed, Decision, Desired, Kept, Now, Observation, Observed, OlderPipeline, PlanState, PlatformFacts, PriorStatus,
    RecordView, Report, Request, RequestState, RunState, Step, Timing, words,
};
use accept::Acceptance;
use guards::Blocked;
use open_record::{Case, Judgement};

pub fn decide(desired: &Desired, prior: &PriorStatus, seen: &Observation, timing: &Timing, now: Now) -> Decision {
    let pass = Pass { desired, prior, seen, timing, now };
    pass.while_outdated(until_done(pass.decide()))
}

/// What is told stands until the step is done, and after it the next pass looks again. So an end is told only once the record is closed:
/// what is told as ended is not looked at any more. What is dropped is planned anew.
fn until_done(mut decision: Decision) -> Decision {
    if let (Report::Request(told), Some(step)) = (&mut decision.report, &decision.step) {
        let ends = told.owed.is_none() && matches!(told.stage, Stage::Failed | Stage::Planned);
        if matches!(step, Step::DropPlan) || matches!(step, Step::Close(_)) && ends {
            told.stage = Stage::Waiting;
        }
    }
    decision
}

/// When a group that is watched for rest is looked at next: well within what two looks may be apart, so that one that comes
/// late costs no more than itself.
pub fn next_look(period: Duration, rested: Duration, usual: Duration) -> Duration {
    period.saturating_sub(rested).min(period / 4).max(Duration::from_millis(100)).min(usual)
}

struct Pass<'a> {
    desired: &'a Desired,
    prior: &'a PriorStatus,
    seen: &'a Observation,
    timing: &'a Timing,
    now: Now,
}

/// Who asked, since when, until when.
#[derive(Clone, Copy)]
struct Term {
    accepted_at: Timestamp,
    deadline: Timestamp,
}

impl Pass<'_> {
    fn decide(&self) -> Decision {
        if let Some(decision) = self.let_go() {
            return decision;
        }
        if let Some(left) = &self.seen.superseded {
            let judged = match left.look.state {
                // Nobody asks for it any more: what the operator stopped for it runs again first.
                PlanState::Closed => run_state::bring_back(&left.look, &left.run_state, self.timing, self.now),
                _ => self.case(&left.look, &left.committed, &left.activity, None).judge(),
            };
            let accepted = self.desired.asked().and_then(|request| self.clock(request).map(|clock| (request, clock)));
            let owes = left.look.needs_resume();
            return match accepted {
                Some((request, clock)) => {
                    let mut open = open_record::another_open(&[name(&left.look)]);
                    if owes {
                        open.message += &format!("; {}", judged.cause.message);
                    }
                    self.waiting(request, open, Some(clock), Some(judged))
                }
                None if owes => {
                    let owed = self.still(&left.look, &left.run_state, run_state::owed(&left.look, &judged.cause));
                    self.done(Report::Outstanding(owed), judged.step, judged.recheck)
                }
                None => self.done(Report::Unchanged, judged.step, judged.recheck),
            };
        }
        let Some(asked) = &self.desired.request else {
            // Before what was paused is brought back, "nothing" would be untrue.
            let owes = self.desired.has_finalizer && !self.nothing_owed();
            let report = match self.seen.identity.cause() {
                Some(cause) if owes => {
                    let text = format!("the pipeline that the operator had stopped is to be started again: {}", cause.message);
                    Report::Outstanding(Cause { message: text, ..cause.clone() })
                }
                _ if owes || self.desired.deleted.is_some() => Report::Unchanged,
                _ => Report::NotRequested,
            };
            return self.done(report, self.unguard(), self.timing.recheck_idle);
        };
        if let Observed::Read(Some(record)) = &self.seen.record
            && let Some(decision) = self.with_record(asked.as_ref().ok(), record)
        {
            return decision;
        }
        match asked {
            Err(refusal) => self.refused(refusal.clone()),
            Ok(request) => self.without_plan(request),
        }
    }

    fn facts(&self) -> PlatformFacts {
        self.desired.facts
    }

    fn case<'b>(
        &'b self,
        look: &'b RecordView,
        committed: &'b Observed<Committed>,
        activity: &'b Observed<Activity>,
        second_look: Option<&'b Observation>,
    ) -> Case<'b> {
        Case {
            look,
            committed,
            activity,
            facts: self.facts(),
            principal: self.seen.principal.as_deref(),
            second_look,
            timing: self.timing,
            now: self.now,
        }
    }

    /// Our finalizer goes when no record of this object owes a start any more.
    fn unguard(&self) -> Option<Step> {
        (self.desired.has_finalizer && self.nothing_owed()).then_some(Step::RemoveFinalizer)
    }

    fn nothing_owed(&self) -> bool {
        let own = self.seen.record.get().and_then(Option::as_ref);
        self.seen.needing_resume.get().is_some_and(Vec::is_empty) && !own.is_some_and(RecordView::needs_resume)
    }

    /// A record of this id: it counts from now on. None: it has no plan yet, so the spec is still looked at.
    fn with_record(&self, request: Option<&Request>, record: &RecordView) -> Option<Decision> {
        let own = record.object.spec.pipeline.uid == self.desired.object.uid;
        if record.object.spec.request.is_dry_run() {
            let step = record.object.status.is_none().then(|| Step::Close(open_record::planned(record, self.now)));
            return Some(self.done(
                Report::request(self.ending(record, Stage::Planned, self.plan_ready(record))),
                step,
                self.timing.recheck_idle,
            ));
        }
        match (&record.state, request) {
            (PlanState::Closed, _) if record.is_left_behind(&self.desired.object.uid) => {
                let judged = run_state::bring_back(record, &self.seen.run_state, self.timing, self.now);
                let owes = Report::Outstanding(self.still(record, &self.seen.run_state, judged.cause));
                Some(self.done(if record.needs_resume() { owes } else { Report::Unchanged }, judged.step, judged.recheck))
            }
            (PlanState::Closed, _) if !own => {
                let (stage, cause) = accept::of_another_object(record);
                let ending = RequestState { record: Some(name(record)), ..self.bare(stage, cause) };
                Some(if record.needs_resume() { self.restore(record, ending) } else { self.end(ending) })
            }
            (PlanState::Closed, _) => Some(self.closed(request, record)),
            (PlanState::Absent, _) if own && !record.is_restored() => None,
            // Nothing is told of it: whether this object's request runs is decided once it is closed.
            (PlanState::Absent, _) if !record.is_restored() => {
                let text = "given up before anything was sent: the StreamPipeline that had asked was deleted";
                let judged = open_record::abandon(record, &Cause::new(Reason::NoLongerRequested, text), self.now);
                Some(self.done(Report::Unchanged, judged.step, judged.recheck))
            }
            _ => {
                let judged = self.case(record, &self.seen.committed, &self.seen.activity, own.then_some(self.seen)).judge();
                let ending = self.ending(record, Stage::Sending, judged.cause);
                Some(self.done(Report::request(ending), judged.step, judged.recheck))
            }
        }
    }

    fn refused(&self, cause: Cause) -> Decision {
        if self.settled() {
            return self.done(Report::Settled { edited: Some(cause) }, self.unguard(), self.timing.recheck_idle);
        }
        self.give_up(self.bare(Stage::Failed, cause))
    }

    /// Since when and until when a request runs; None where it does not, or where that cannot be told yet.
    fn clock(&self, request: &Request) -> Option<Term> {
        let own = self.seen.record.get().and_then(Option::as_ref);
        match accept::accept(request, self.prior, own, self.now) {
            Acceptance::Run { accepted_at } => Some(Term {
                accepted_at,
                deadline: own.map_or_else(|| after(accepted_at, request.wait_timeout), |r| r.object.spec.deadline),
            }),
            _ => None,
        }
    }

    /// No plan yet: may it run, can it run now, and what exactly would it do?
    fn without_plan(&self, request: &Request) -> Decision {
        let own = self.seen.record.get().and_then(Option::as_ref);
        let sent = self
            .prior
            .of_request(&request.id, false)
            .is_some_and(|last| matches!(last.stage, Stage::Pausing | Stage::Sending | Stage::OfAnotherVersion));
        // What is not read is not gone.
        let unread = !request.dry_run && (sent || self.prior.has_ended(&request.id)) && self.seen.record.get().is_none();
        // On the way out nothing new is started; the next process goes on.
        if self.seen.draining || unread {
            let illegible = self.seen.record.cause().filter(|cause| cause.reason == Reason::InvalidObject && sent);
            if let (Some(cause), Some(last)) = (illegible, self.prior.of_request(&request.id, false)) {
                let ending = self.clocked(self.bare(last.stage, cause.clone()), None);
                return self.done(Report::request(ending), None, self.timing.recheck_idle);
            }
            return self.done(Report::Unchanged, None, self.timing.recheck_waiting);
        }
        match accept::accept(request, self.prior, own, self.now) {
            // Its end is told already, so nothing is planned in a record that is there all the same.
            Acceptance::Keep => match own {
                Some(record) => {
                    let text = "given up before anything was sent: the status says that this request has ended";
                    let judged = open_record::abandon(record, &Cause::new(Reason::NoLongerRequested, text), self.now);
                    return self.done(Report::Unchanged, judged.step, judged.recheck);
                }
                None => {
                    // Where its record was not read it is not known whether it is still what was asked for.
                    let report = if self.seen.record.get().is_some() { Report::Settled { edited: None } } else { Report::Unchanged };
                    return self.done(report, self.unguard(), self.timing.recheck_idle);
                }
            },
            Acceptance::End { stage, cause } => return self.end(self.bare(stage, cause)),
            Acceptance::Run { .. } => {}
        }
        let clock = self.clock(request);
        let Some(Term { deadline, .. }) = clock else { return self.done(Report::Unchanged, None, self.timing.recheck_idle) };
        let failed = |cause| self.give_up(self.clocked(self.bare(Stage::Failed, cause), clock));
        if let Some(cause) = self.cut_short(request) {
            return failed(cause);
        }
        if let Some(cause) = request.pauses_too_long() {
            return failed(cause);
        }
        if request.expires_at.is_some_and(|t| t <= self.now.wall) && own.is_none() {
            return failed(Cause::new(
                Reason::Expired,
                "expiresAt passed before the reset could start; nothing was sent. A new id asks again",
            ));
        }
        if let Some(OlderPipeline::MayCome(left)) = self.seen.older_pipeline {
            return self.done(Report::Unchanged, None, left);
        }
        match self.plan(request) {
            Ok(_) if self.now.wall >= deadline => failed(self.timed_out(request, "it could not start")),
            // Begun while somebody else keeps them stopped, it could not stop them once they run again.
            Ok(_) if own.is_none() && self.unshared(request).is_err() => {
                let cause = self.unshared(request).err().unwrap_or_else(|| self.unread());
                self.waiting(request, cause, clock, None)
            }
            Ok(plan) => {
                let ending = self.clocked(self.bare(Stage::Waiting, Cause::new(Reason::PlanRecorded, "the plan is being recorded")), clock);
                // With Pause the record says what the pipeline did before, also where it happens to be inactive.
                let before = (request.when_active == WhenActive::Pause).then(RunStateBefore::default);
                let step =
                    if request.dry_run { Step::RecordDryRun { plan, deadline } } else { Step::WriteAhead { plan, before, deadline } };
                self.done(Report::request(ending), Some(step), Duration::ZERO)
            }
            Err(Blocked::Terminal(cause)) => failed(cause),
            Err(Blocked::Transient(cause)) if self.now.wall >= deadline => {
                let paused = own.is_some_and(|r| r.pauses().is_some()) && self.runs();
                let last = match &self.seen.run_state {
                    Observed::Read(RunState::ChangedExternally(text)) if paused => text,
                    _ => &format!("{}: {}", cause.reason, cause.message),
                };
                let mut end = self.timed_out(request, last);
                if paused {
                    end.reason = Reason::PauseTimedOut;
                }
                failed(end)
            }
            Err(Blocked::Transient(cause)) if self.stops_for(request, &cause) => self.stop_first(request, own, cause, clock, deadline),
            Err(Blocked::Transient(cause)) => self.waiting(request, cause, clock, None),
        }
    }

    /// Whether it is to be stopped first: not on a cluster where nothing would be sent.
    fn stops_for(&self, request: &Request, cause: &Cause) -> bool {
        self.runs() && request.when_active == WhenActive::Pause && !request.dry_run && cause.reason != Reason::ClusterChanged
    }

    fn runs(&self) -> bool {
        self.seen.activity.get().is_some_and(Activity::is_active)
    }

    /// `whenActive: Pause` and it runs: first the finalizer, then the record that says so, then the stop (protocol.md).
    fn stop_first(&self, request: &Request, own: Option<&RecordView>, cause: Cause, clock: Option<Term>, deadline: Timestamp) -> Decision {
        let may = own.map_or(self.facts().run_state, |record| record.pauses().is_some());
        if !may {
            return self.waiting(request, cause, clock, None);
        }
        if let Err(cause) = self.alone().and_then(|()| self.unshared(request)) {
            return self.waiting(request, cause, clock, None);
        }
        let to_be = || Cause::new(Reason::Pausing, "the pipeline is to be paused");
        let judged = match own {
            None if !self.seen.before.get().is_some_and(|b| b.running) => {
                // What is active is none of what could be stopped, or an autoscaler is in the way.
                return self.waiting(request, self.seen.before.cause().cloned().unwrap_or(cause), clock, None);
            }
            // Also where somebody took it off meanwhile: without it a deletion would leave the pipeline paused.
            _ if !self.desired.has_finalizer => Judgement::act(Step::AddFinalizer, to_be()),
            Some(record) => {
                let mut judged = run_state::stop(record, &self.seen.run_state, &cause, self.timing, self.now);
                let by = self.seen.before.cause().filter(|by| by.reason == Reason::AutoscalerActive);
                if let (Reason::PauseOverridden, Some(by)) = (judged.cause.reason, by) {
                    judged.cause.message += &format!(". {}", by.message);
                }
                judged
            }
            None => {
                let before = RunStateBefore { reading: self.seen.remembered, ..self.seen.before.get().cloned().unwrap_or_default() };
                Judgement::act(Step::RecordPause { before, deadline }, to_be())
            }
        };
        let stage = if judged.cause.reason == Reason::PauseOverridden { Stage::Waiting } else { Stage::Pausing };
        // Nothing of it is told before the record is there: a status without one would end the request (RecordMissing).
        let stage = if own.is_none() { Stage::Waiting } else { stage };
        let ending = self.clocked(self.bare(stage, judged.cause), clock);
        self.done(Report::request(ending), judged.step, judged.recheck)
    }

    fn timed_out(&self, request: &Request, last: &str) -> Cause {
        let (timeout, last) = (request.wait_timeout.as_secs(), last.trim_end_matches('.'));
        Cause::new(
            Reason::WaitTimedOut,
            format!("waitTimeout ({timeout} s) passed; nothing was sent. Last seen: {last}. A new id asks again"),
        )
    }

    /// What is told of the request that is asked for.
    fn known(&self) -> Option<&OffsetResetStatus> {
        self.desired.id.as_deref().and_then(|id| self.prior.of_request(id, self.desired.dry_run))
    }

    fn settled(&self) -> bool {
        self.known().is_some_and(|last| last.stage.is_final())
    }

    fn waiting(&self, request: &Request, cause: Cause, clock: Option<Term>, judged: Option<Judgement>) -> Decision {
        let mut ending = self.clocked(self.bare(Stage::Waiting, cause), clock);
        let cause = &mut ending.cause;
        if let Some(next) = next_step(cause) {
            cause.message = words::and(&cause.message, next);
        }
        if let Some(deadline) = ending.deadline {
            cause.message = words::and(&cause.message, &format!("Waits until {}", words::second(deadline)));
        }
        let recheck = match ending.cause.reason {
            Reason::QuietPeriod => next_look(request.quiet_period, self.seen.quiet.since.unwrap_or_default(), self.timing.recheck_waiting),
            _ => self.timing.recheck_waiting,
        };
        let (step, recheck) = judged.map_or((None, recheck), |j| (j.step, j.recheck));
        self.done(Report::request(ending), step, recheck)
    }

    /// Ends a request of which nothing was sent; its record, if there is one, is closed first.
    fn give_up(&self, ending: RequestState) -> Decision {
        match &self.seen.record {
            Observed::Read(Some(record)) if matches!(record.state, PlanState::Absent) => {
                let judged = open_record::abandon(record, &ending.cause, self.now);
                self.done(Report::request(ending), judged.step, judged.recheck)
            }
            _ => self.end(ending),
        }
    }

    fn plan_ready(&self, record: &RecordView) -> Cause {
        let plan = record.object.spec.plan.as_ref();
        if let Some(call) = plan.and_then(|p| p.call.as_ref()) {
            return self.call_ready(call);
        }
        let totals = plan.and_then(|p| p.totals.clone()).unwrap_or_default();
        let text = format!(
            "dry run: {} would move, {}; lag after {}; nothing was sent. {}",
            words::partitions(usize::try_from(totals.partitions).unwrap_or_default()),
            words::cost(&totals, "would be"),
            words::number(totals.lag_after),
            self.to_run_it()
        );
        Cause::new(Reason::PlanReady, text)
    }

    /// How a dry run becomes a reset.
    fn to_run_it(&self) -> &'static str {
        if self.desired.id.as_deref().is_some_and(|id| self.prior.is_used_up(id)) {
            "This id is used up by an earlier reset: to run it, set dryRun: false together with a new id"
        } else {
            "Set dryRun: false to run it"
        }
    }

    /// What can be known where the platform chooses the target.
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

    /// What the record says about a request.
    fn ending(&self, record: &RecordView, stage: Stage, cause: Cause) -> RequestState {
        let spec = &record.object.spec;
        let known = self.prior.of_request(&spec.request.id, spec.request.is_dry_run());
        RequestState {
            accepted_at: known.and_then(|k| k.accepted_at).or(Some(spec.created_at)),
            deadline: Some(spec.deadline),
            totals: spec.plan.as_ref().and_then(|p| p.totals.clone()),
            kept: self.kept(record, &self.seen.run_state),
            record: Some(name(record)),
            attempts: spec.writer.as_ref().map(|w| w.attempt),
            completed_at: record.object.status.as_ref().map(|s| s.completed_at),
            ..self.bare(stage, cause)
        }
    }

    fn bare(&self, stage: Stage, cause: Cause) -> RequestState {
        RequestState {
            stage,
            cause,
            accepted_at: None,
            deadline: None,
            totals: None,
            record: None,
            attempts: None,
            completed_at: None,
            edited: false,
            kept: None,
            owed: None,
        }
    }

    fn clocked(&self, ending: RequestState, clock: Option<Term>) -> RequestState {
        let known = self.known();
        let record = self.seen.record.get().and_then(Option::as_ref);
        RequestState {
            kept: record.and_then(|record| self.kept(record, &self.seen.run_state)),
            accepted_at: clock.map(|c| c.accepted_at).or(known.and_then(|k| k.accepted_at)),
            deadline: clock.map(|c| c.deadline).or(known.and_then(|k| k.deadline)),
            record: record.map(name),
            ..ending
        }
    }

    /// What the operator keeps stopped for this record, as far as that is known; None: nothing.
    fn kept(&self, record: &RecordView, run_state: &Observed<RunState>) -> Option<Kept> {
        let before = record.pauses().filter(|_| record.needs_resume())?;
        let down = match run_state {
            Observed::Read(RunState::Stopped | RunState::PartlyStopped) => true,
            Observed::Read(RunState::Running | RunState::ChangedExternally(_)) => false,
            // Not looked at now: a plan is made only of what is stopped.
            _ => record.calls.was_down || !matches!(record.state, PlanState::Absent),
        };
        let since = record.object.spec.created_at;
        let held = record.object.status.as_ref().is_some_and(|s| s.phase == RecordPhase::Held);
        let out = if held { "; a new id, or removing spec.offsetReset, starts it again" } else { "" };
        down.then(|| Kept { since, said: words::kept(before, since) + out })
    }

    /// This cause, and what is kept stopped meanwhile.
    fn still(&self, record: &RecordView, run_state: &Observed<RunState>, cause: Cause) -> Cause {
        match self.kept(record, run_state) {
            Some(kept) => Cause { message: words::and(&cause.message, &kept.said), ..cause },
            None => cause,
        }
    }

    fn end(&self, ending: RequestState) -> Decision {
        self.done(Report::request(ending), None, self.timing.recheck_idle)
    }

    fn done(&self, report: Report, step: Option<Step>, recheck: Duration) -> Decision {
        Decision { report, step, recheck }
    }
}

/// What a person may do about what is waited for, or why there is nothing to do.
fn next_step(cause: &Cause) -> Option<&'static str> {
    Some(match cause.reason {
        // A static member may be there without a process.
        Reason::GroupActive if cause.message.contains("static members (") => "Stop what still runs; the reset starts by itself",
        Reason::GroupActive => "Stop them; the reset starts by itself",
        Reason::PipelineActive => "Pause or stop it; the reset starts by itself",
        Reason::OffsetsMoving => "Stop it; the reset starts by itself",
        _ => return None,
    })
}

fn name(record: &RecordView) -> String {
    record.object.metadata.name.clone().unwrap_or_default()
}

fn after(t: Timestamp, d: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(d).ok().and_then(|d| t.checked_add(d).ok()).unwrap_or(Timestamp::MAX)
}
