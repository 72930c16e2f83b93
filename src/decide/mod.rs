//! What to do next, from what is asked, what is known and what was seen. Pure and total: no client, no clock of its own.
//!
//! A chain of guards, each yielding the reason that becomes the condition's, the event's and the metric's.

mod accept;
mod guards;
mod judge;
mod target;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;

use crate::api::{Reason, RecordPhase, Stage};
use crate::domain::{
    Cause, Decision, Desired, Ending, Now, Observation, PlanState, Progress, Reading, RecordLook, Request, Step, Timing, Verdict,
    retry_asked, words,
};
use accept::Acceptance;
use guards::Hindrance;
use judge::{Case, Judgement};

pub fn decide(desired: &Desired, progress: &Progress, seen: &Observation, timing: &Timing, now: Now) -> Decision {
    Pass { desired, progress, seen, timing, now }.decide()
}

struct Pass<'a> {
    desired: &'a Desired,
    progress: &'a Progress,
    seen: &'a Observation,
    timing: &'a Timing,
    now: Now,
}

/// Who asked, since when, until when.
#[derive(Clone, Copy)]
struct Clock {
    accepted_at: Timestamp,
    deadline: Timestamp,
}

impl Pass<'_> {
    fn decide(&self) -> Decision {
        if let Some(left) = &self.seen.leftover {
            let judged =
                Case { look: &left.look, committed: &left.committed, second_look: None, timing: self.timing, now: self.now }.judge();
            let accepted = self
                .desired
                .request
                .as_ref()
                .and_then(|r| r.as_ref().ok())
                .and_then(|request| self.clock(request).map(|clock| (request, clock)));
            return match accepted {
                Some((request, clock)) => self.waiting(request, judge::another_open(&[name(&left.look)]), Some(clock), Some(judged)),
                None => self.done(Verdict::Keep, judged.step, judged.recheck),
            };
        }
        let Some(asked) = &self.desired.request else { return self.done(Verdict::Nothing, None, self.timing.recheck_idle) };
        if let Reading::Read(Some(record)) = &self.seen.record
            && let Some(decision) = self.with_record(asked.as_ref().ok(), record)
        {
            return decision;
        }
        match asked {
            Err(refusal) => self.refused(refusal.clone()),
            Ok(request) => self.without_plan(request),
        }
    }

    /// A record of this id: it counts from now on. None: it has no plan yet, so the spec is still looked at.
    fn with_record(&self, request: Option<&Request>, record: &RecordLook) -> Option<Decision> {
        let own = record.object.spec.pipeline.uid == self.desired.object.uid;
        if record.object.spec.request.dry_run == Some(true) {
            let step = record.object.status.is_none().then(|| Step::Close(judge::planned(record, self.now)));
            return Some(self.done(
                Verdict::request(self.ending(record, Stage::Planned, self.plan_ready(record))),
                step,
                self.timing.recheck_idle,
            ));
        }
        match (&record.state, request) {
            (PlanState::Closed, _) if !own => {
                let (stage, cause) = accept::of_another_object(record);
                Some(self.end(Ending { record: Some(name(record)), ..self.bare(stage, cause) }))
            }
            (PlanState::Closed, _) => Some(self.closed(request, record)),
            (PlanState::Absent, _) if own && !record.is_restored() => None,
            _ => {
                let second_look = own.then_some(self.seen);
                let case = Case { look: record, committed: &self.seen.committed, second_look, timing: self.timing, now: self.now };
                let judged = case.judge();
                let ending = self.ending(record, Stage::Sending, judged.cause);
                Some(self.done(Verdict::request(ending), judged.step, judged.recheck))
            }
        }
    }

    /// The record is closed: its word is the result. A held one may be sent once more.
    fn closed(&self, request: Option<&Request>, record: &RecordLook) -> Decision {
        let Some(status) = &record.object.status else { return self.done(Verdict::Keep, None, self.timing.recheck_waiting) };
        let stage = match status.phase {
            RecordPhase::Verified => Stage::Verified,
            RecordPhase::Held => Stage::Held,
            RecordPhase::Planned => Stage::Planned,
            RecordPhase::Abandoned => Stage::Failed,
        };
        let cause = match status.reason {
            Reason::NoLongerRequested => Cause::new(Reason::AbandonedUnrun, "this id was given up before anything was sent; use a new id"),
            reason => Cause::new(reason, status.message.clone()),
        };
        let mut ending = self.ending(record, stage, cause);
        ending.edited = request.is_some_and(|r| !r.same_as(&record.object.spec.request));
        let Some(request) = request.filter(|r| retry_asked(r, record)) else { return self.end(ending) };
        match self.may_retry(request, record) {
            Ok(()) => self.done(Verdict::request(ending), Some(Step::Rearm), Duration::ZERO),
            Err(cause) => {
                ending.cause.message = format!("{} (Retry waits: {})", ending.cause.message, cause.message);
                self.done(Verdict::request(ending), None, self.timing.recheck_waiting)
            }
        }
    }

    fn may_retry(&self, request: &Request, record: &RecordLook) -> Result<(), Cause> {
        if self.now.wall >= record.object.spec.deadline {
            return Err(Cause::new(Reason::WaitTimedOut, "the deadline of the request has passed; choose a new id"));
        }
        self.inactive(request)?;
        self.alone()?;
        let (Some(plan), Some(committed)) = (record.plan(), self.seen.committed.get()) else { return Err(self.unread()) };
        match plan.standing(committed).elsewhere.first() {
            Some(at) => Err(Cause::new(Reason::OffsetsMoved, format!("{at} is neither at its target nor as before; choose a new id"))),
            None => Ok(()),
        }
    }

    fn refused(&self, cause: Cause) -> Decision {
        if self.settled() {
            return self.done(Verdict::Keep, None, self.timing.recheck_idle);
        }
        self.give_up(self.bare(Stage::Failed, cause))
    }

    /// Since when and until when a request runs; None where it does not, or where that cannot be told yet.
    fn clock(&self, request: &Request) -> Option<Clock> {
        let own = self.seen.record.get().and_then(Option::as_ref);
        match accept::accept(request, self.progress, own, self.now) {
            Acceptance::Run { accepted_at } => Some(Clock {
                accepted_at,
                deadline: own.map_or_else(|| after(accepted_at, request.wait_timeout), |r| r.object.spec.deadline),
            }),
            _ => None,
        }
    }

    /// No plan yet: may it run, can it run now, and what exactly would it do?
    fn without_plan(&self, request: &Request) -> Decision {
        let own = self.seen.record.get().and_then(Option::as_ref);
        let sent = self.progress.of_request(&request.id).is_some_and(|last| last.stage == Stage::Sending);
        // On the way out nothing new is started; the next process goes on.
        if self.seen.draining || sent && self.seen.record.get().is_none() {
            return self.done(Verdict::Keep, None, self.timing.recheck_waiting);
        }
        match accept::accept(request, self.progress, own, self.now) {
            Acceptance::Keep => return self.done(Verdict::Keep, None, self.timing.recheck_idle),
            Acceptance::End { stage, cause } => return self.end(self.bare(stage, cause)),
            Acceptance::Run { .. } => {}
        }
        let clock = self.clock(request);
        let Some(Clock { deadline, .. }) = clock else { return self.done(Verdict::Keep, None, self.timing.recheck_idle) };
        let failed = |cause| self.give_up(self.clocked(self.bare(Stage::Failed, cause), clock));
        if request.expires_at.is_some_and(|t| t <= self.now.wall) && own.is_none() {
            return failed(Cause::new(
                Reason::Expired,
                "expiresAt passed before the reset could start; nothing was sent. A new id asks again",
            ));
        }
        match self.plan(request) {
            Ok(_) if self.now.wall >= deadline => failed(self.timed_out(request, "it could not start")),
            Ok(plan) => {
                let ending = self.clocked(self.bare(Stage::Waiting, Cause::new(Reason::PlanRecorded, "the plan is being recorded")), clock);
                let step = if request.dry_run { Step::RecordDryRun { plan, deadline } } else { Step::WriteAhead { plan, deadline } };
                self.done(Verdict::request(ending), Some(step), Duration::ZERO)
            }
            Err(Hindrance::Ends(cause)) => failed(cause),
            Err(Hindrance::Passes(cause)) if self.now.wall >= deadline => failed(self.timed_out(request, &cause.message)),
            Err(Hindrance::Passes(cause)) => self.waiting(request, cause, clock, None),
        }
    }

    fn timed_out(&self, request: &Request, last: &str) -> Cause {
        let timeout = request.wait_timeout.as_secs();
        Cause::new(
            Reason::WaitTimedOut,
            format!("waitTimeout ({timeout} s) passed; nothing was sent. Last seen: {last}. A new id asks again"),
        )
    }

    fn settled(&self) -> bool {
        self.desired.id.as_deref().and_then(|id| self.progress.of_request(id)).is_some_and(|last| last.stage.is_final())
    }

    fn waiting(&self, request: &Request, cause: Cause, clock: Option<Clock>, judged: Option<Judgement>) -> Decision {
        let mut ending = self.clocked(self.bare(Stage::Waiting, cause), clock);
        if let Some(deadline) = ending.deadline {
            ending.cause.message = format!("{} Waits until {}", ending.cause.message, words::second(deadline));
        }
        let remaining = request.quiet_period.saturating_sub(self.seen.quiet.since.unwrap_or_default());
        let recheck = match ending.cause.reason {
            Reason::QuietPeriod => remaining.max(Duration::from_millis(100)).min(self.timing.recheck_waiting),
            _ => self.timing.recheck_waiting,
        };
        let (step, recheck) = judged.map_or((None, recheck), |j| (j.step, j.recheck));
        self.done(Verdict::request(ending), step, recheck)
    }

    /// Ends a request of which nothing was sent; its record, if there is one, is closed first.
    fn give_up(&self, ending: Ending) -> Decision {
        match &self.seen.record {
            Reading::Read(Some(record)) if matches!(record.state, PlanState::Absent) => {
                let judged = judge::abandon(record, &ending.cause, self.now);
                self.done(Verdict::request(ending), judged.step, judged.recheck)
            }
            _ => self.end(ending),
        }
    }

    fn plan_ready(&self, record: &RecordLook) -> Cause {
        let totals = record.object.spec.plan.as_ref().map(|p| p.totals.clone()).unwrap_or_default();
        let text = format!(
            "dry run: {} would move, {} would be replayed, {} skipped, lag after {}; nothing was sent. Set dryRun: false to run it",
            words::partitions(usize::try_from(totals.partitions).unwrap_or_default()),
            words::number(totals.replayed),
            words::number(totals.skipped),
            words::number(totals.lag_after)
        );
        Cause::new(Reason::PlanReady, text)
    }

    /// What the record says about a request.
    fn ending(&self, record: &RecordLook, stage: Stage, cause: Cause) -> Ending {
        let spec = &record.object.spec;
        let known = self.progress.of_request(&spec.request.id);
        Ending {
            accepted_at: known.and_then(|k| k.accepted_at).or(Some(spec.created_at)),
            deadline: Some(spec.deadline),
            totals: spec.plan.as_ref().map(|p| p.totals.clone()),
            record: Some(name(record)),
            attempts: spec.writer.as_ref().map(|w| w.attempt),
            completed_at: record.object.status.as_ref().map(|s| s.completed_at),
            ..self.bare(stage, cause)
        }
    }

    fn bare(&self, stage: Stage, cause: Cause) -> Ending {
        Ending {
            stage,
            cause,
            accepted_at: None,
            deadline: None,
            totals: None,
            record: None,
            attempts: None,
            completed_at: None,
            edited: false,
        }
    }

    fn clocked(&self, ending: Ending, clock: Option<Clock>) -> Ending {
        let known = self.desired.id.as_deref().and_then(|id| self.progress.of_request(id));
        let record = self.seen.record.get().and_then(Option::as_ref).map(name);
        Ending {
            accepted_at: clock.map(|c| c.accepted_at).or(known.and_then(|k| k.accepted_at)),
            deadline: clock.map(|c| c.deadline).or(known.and_then(|k| k.deadline)),
            record,
            ..ending
        }
    }

    fn end(&self, ending: Ending) -> Decision {
        self.done(Verdict::request(ending), None, self.timing.recheck_idle)
    }

    fn done(&self, verdict: Verdict, step: Option<Step>, recheck: Duration) -> Decision {
        Decision { verdict, step, recheck }
    }
}

fn name(record: &RecordLook) -> String {
    record.object.metadata.name.clone().unwrap_or_default()
}

fn after(t: Timestamp, d: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(d).ok().and_then(|d| t.checked_add(d).ok()).unwrap_or(Timestamp::MAX)
}
