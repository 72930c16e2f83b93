//! A closed record: its status is the request's result. What may be left: start the pipeline, compare its position after that, retry once.

use std::time::Duration;

use super::lag_evidence::{self, Comparison, compare};
use super::{Pass, read_back, run_state};
use crate::{Cause, Decision, Observed, PartitionPlan, RecordView, Report, Request, RequestState, Step, Waiting, retry_asked, words};
use stream_pipeline_api::{LagSample, Reason, RecordPhase, Stage};

impl Pass<'_> {
    pub(super) fn closed(&self, request: Option<&Request>, record: &RecordView) -> Decision {
        let Some(status) = &record.object.status else { return self.decision(Report::Unchanged, None, self.timing.recheck_waiting) };
        let mut ending = self.closed_as(record);
        // A request that is refused now is certainly not the one that was carried out.
        ending.edited = request.is_none_or(|r| !r.same_as(&record.object.spec.request));
        if record.needs_resume() && !matches!(status.phase, RecordPhase::Held | RecordPhase::OfAnotherVersion) {
            return self.restore(record, ending);
        }
        // A held request stays stopped. But where somebody else started or changed the pipeline, there is nothing left to bring back.
        if record.needs_resume()
            && let Some(step @ Step::MarkResumed) = run_state::resume(record, &self.seen.run_state, self.timing, self.now).step
        {
            return self.decision(Report::request(ending), Some(step), Duration::ZERO);
        }
        if status.phase == RecordPhase::Sent && status.reason == Reason::NoReadBackWhilePaused && self.runs() {
            return self.after_start(record, ending);
        }
        let Some(request) = request.filter(|r| retry_asked(r, record)) else { return self.over(ending) };
        match self.may_retry(request, record) {
            Ok(()) => self.decision(Report::request(ending), Some(Step::Retry), Duration::ZERO),
            Err(cause) => {
                ending.cause.message = Waiting { for_what: cause, until: None }.beside(&ending.cause.message);
                self.decision(Report::request(ending), None, self.timing.recheck_waiting)
            }
        }
    }

    /// The request's state as the closed record tells it.
    pub(super) fn closed_as(&self, record: &RecordView) -> RequestState {
        let status = record.object.status.as_ref();
        let stage = match status.map(|s| s.phase) {
            Some(RecordPhase::Verified) => Stage::Verified,
            Some(RecordPhase::Sent) => Stage::Sent,
            Some(RecordPhase::Held | RecordPhase::OfAnotherVersion) => Stage::Held,
            Some(RecordPhase::Planned) => Stage::Planned,
            Some(RecordPhase::Abandoned) | None => Stage::Failed,
        };
        let cause = match status {
            Some(s) if s.phase == RecordPhase::OfAnotherVersion => {
                let text = format!(
                    "another version of the operator closed the record with a word that this one does not know, and says: {}. \
                     Nothing more is done under this id; choose a new id",
                    s.message.trim_end_matches('.')
                );
                Cause::new(Reason::OfAnotherVersion, text)
            }
            Some(s) if s.reason != Reason::NoLongerRequested => Cause { code: s.code, ..Cause::new(s.reason, s.message.clone()) },
            _ => Cause::new(Reason::AbandonedUnrun, "this id was given up before anything was sent; use a new id"),
        };
        self.state_of(record, stage, cause)
    }

    /// Nothing is left to do under this id.
    fn over(&self, ending: RequestState) -> Decision {
        self.decision(Report::request(ending), self.remove_finalizer(), self.timing.recheck_idle)
    }

    /// Reports how the request ended, and beside it how far bringing the pipeline back is.
    pub(super) fn restore(&self, record: &RecordView, mut ending: RequestState) -> Decision {
        if let Some(cause) = self.overtaken(record) {
            let mut status = read_back::closing(record, RecordPhase::Verified, &cause, self.now, None);
            status.verification = record.object.status.as_ref().and_then(|s| s.verification.clone());
            return self.decision(Report::request(ending), Some(Step::Close(status)), Duration::ZERO);
        }
        let warned = ending.cause.reason == Reason::BelowLogStart;
        let mut action = run_state::resume(record, &self.seen.run_state, self.timing, self.now);
        let told = self.prior.last_reason == Some(Reason::BelowLogStart);
        if warned && !told && matches!(action.step, Some(Step::Resume)) {
            // The warning reaches the status before the start: the consumers are about to meet what it warns of.
            (action.step, action.recheck) = (None, self.timing.recheck_waiting);
        }
        let reason = if warned { Reason::BelowLogStart } else { action.cause.reason };
        ending.kept = self.kept(record, &self.seen.run_state);
        ending.owed = Some(Cause { reason, ..action.cause });
        self.decision(Report::request(ending), action.step, action.recheck)
    }

    /// A target that was read back and has fallen below the log start since (K32).
    fn overtaken(&self, record: &RecordView) -> Option<Cause> {
        let status = record.object.status.as_ref().filter(|s| s.reason == Reason::ResetVerified)?;
        let (plan, log) = (record.plan()?, self.seen.log.get()?);
        let below = |row: &PartitionPlan| {
            let (to, log) = (row.aim.offset()?, log.get(&row.at)?);
            (to < log.start).then(|| format!("{} ({to} < {})", row.at, log.start))
        };
        let below: Vec<_> = plan.changes().filter_map(below).collect();
        (!below.is_empty()).then(|| {
            let text = format!(
                "the log start overtook the target of {} before the pipeline was started again: {}. There its consumer goes where its \
                 auto.offset.reset says. Nothing is written again by itself. {}",
                words::partitions(below.len()),
                words::some_of(&below),
                status.message
            );
            Cause::new(Reason::BelowLogStart, text)
        })
    }

    /// The pipeline runs again: the position that the platform reports now is compared with the one before the reset.
    fn after_start(&self, record: &RecordView, ending: RequestState) -> Decision {
        let wait = |ending: RequestState| self.decision(Report::request(ending), None, self.timing.recheck_idle);
        let (Some((since, _)), Some(plan)) = (record.calls.running, record.plan()) else { return wait(ending) };
        let Some(call) = &plan.call else { return wait(ending) };
        let after = lag_evidence::after_start(record, self.seen.reading);
        let other = match &self.seen.other_reset {
            Observed::Read(other) => other.as_deref(),
            _ if after.is_some() && call.before.is_some() => return wait(ending),
            _ => None,
        };
        let (phase, reason, text) = match after {
            Some(after) => match compare(call.before, other, after, self.natural(record, call.before, after)) {
                Comparison::Moved(text) => (RecordPhase::Verified, Reason::ResetVerified, format!("after the start {text}")),
                Comparison::NotTakenUp(text) => (
                    RecordPhase::Held,
                    Reason::NotTakenUp,
                    format!("the platform accepted the reset, but after the start {text}. {}; a new id asks again", self.facts().look),
                ),
                Comparison::Unproven(text) => (
                    RecordPhase::Sent,
                    Reason::Unproven,
                    format!("the platform accepted the reset; {text}. {}; a new id asks again", self.facts().look),
                ),
            },
            None if self.now.mono.saturating_duration_since(since.mono) < self.facts().no_sample => return wait(ending),
            None => (
                RecordPhase::Sent,
                Reason::Unproven,
                format!(
                    "the platform accepted the reset; the pipeline runs, and the platform says nothing of its position. {}; a new id asks again",
                    self.facts().look
                ),
            ),
        };
        let cause = Cause::new(reason, text);
        let mut status = read_back::closing(record, phase, &cause, self.now, None);
        status.reading = after;
        // The result is reported by the next pass, once the record holds it.
        self.decision(Report::request(ending), Some(Step::Close(status)), Duration::ZERO)
    }

    /// The most records the pipeline could have read by itself between the two readings; None: its rate is not known.
    ///
    /// The whole time counts, also that in which it was paused: how long a pause took, and since when it runs, are not
    /// known after a restart.
    fn natural(&self, record: &RecordView, before: Option<LagSample>, after: LagSample) -> Option<i64> {
        let recorded = record.pauses()?.start.as_ref()?.kafka_rate;
        // The pipeline was started with the spec's rate of that time, which may have been corrected since: the larger one is safe.
        let rate = self.desired.backend.read_rate().map_or(recorded, |now| now.max(recorded));
        let apart = after.at.duration_since(before?.at).as_secs().max(0);
        // A minute for clocks that differ and for looks that come late.
        rate.checked_mul(apart.saturating_add(60))
    }

    fn may_retry(&self, request: &Request, record: &RecordView) -> Result<(), Cause> {
        if self.now.wall >= record.object.spec.deadline {
            return Err(Cause::new(Reason::WaitTimedOut, "the deadline of the request has passed; choose a new id"));
        }
        if self.seen.identity.get().is_some_and(|found| *found != record.object.spec.backend) {
            return Err(self.elsewhere(record));
        }
        if !record.is_as_closed() {
            let text = "the plan in the record is not the one it was closed with, as far as that is noted there, so it is not sent; choose a new id";
            return Err(Cause::new(Reason::OutcomeUnknown, text));
        }
        let held = record.object.status.as_ref();
        let since = held.map(|s| self.now.wall.duration_since(s.completed_at).unsigned_abs());
        if held.is_some_and(|s| s.reason == Reason::AverageRateUnavailable) && since.is_some_and(|s| s < self.timing.late_bound) {
            return Err(Cause::new(Reason::AverageRateUnavailable, "a moment, for the platform to recover"));
        }
        self.inactive(request)?;
        self.alone()?;
        let (Some(plan), Some(committed)) = (record.plan(), self.seen.committed.get()) else { return Err(self.unread()) };
        match plan.read_back(committed).elsewhere.first() {
            Some(at) => Err(Cause::new(Reason::OffsetsMoved, format!("{at} is neither at its target nor as before; choose a new id"))),
            None => Ok(()),
        }
    }
}
