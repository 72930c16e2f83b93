//! A deleted object waits only so long for its pipeline to be brought back; then its finalizer goes, whatever is left to do (O33).

use super::{Pass, run_state};
use crate::{Cause, Decision, Observed, Report, RunState, Step, SupersededRecord, words};
use stream_pipeline_api::Reason;

impl Pass<'_> {
    pub(super) fn was_deleted_too_long_ago(&self) -> bool {
        let waited = self.seconds_since_deleted();
        // A process that started only after the deadline still tries once, where it can.
        waited.is_some_and(|waited| waited >= self.timing.finalizer_deadline)
            && !self.seen.superseded.as_ref().is_some_and(|l| self.is_fresh(l))
    }

    fn seconds_since_deleted(&self) -> Option<std::time::Duration> {
        let since = self.desired.deleted.filter(|_| self.desired.has_finalizer)?;
        let waited = self.now.wall.duration_since(since);
        (!waited.is_negative()).then(|| waited.unsigned_abs())
    }

    /// Whether this process has known the record for too short a time to have tried.
    fn is_fresh(&self, left: &SupersededRecord) -> bool {
        let soon = self.timing.landed() + self.timing.max_backoff;
        let known = left.record.calls.first_seen.is_some_and(|seen| self.now.mono.saturating_duration_since(seen) < soon);
        known
            && match &left.run_state {
                Observed::Read(RunState::Stopped | RunState::PartlyStopped) => left.record.calls.start.is_none(),
                state => matches!(state, Observed::Read(RunState::Running)),
            }
    }

    pub(super) fn let_go(&self) -> Decision {
        let gone = |report| self.decision(report, Some(Step::RemoveFinalizer), self.timing.recheck_waiting);
        let needing_resume = match &self.seen.needing_resume {
            Observed::Read(names) if names.is_empty() => return gone(Report::Unchanged),
            Observed::Read(names) => format!("record {}", words::some_of(names)),
            _ => "its records could not be read".to_owned(),
        };
        let left = self.seen.superseded.as_ref();
        let by_hand = left.map_or_else(|| "start it by hand".to_owned(), |l| run_state::by_hand(&l.record));
        let refused = left.and_then(|l| l.record.calls.start.as_ref()).and_then(|s| s.failure.as_ref());
        let why =
            refused.or(self.seen.identity.cause()).or(left.and_then(|l| l.run_state.cause())).map(|cause| format!(" ({})", cause.message));
        let text = format!(
            "this object was deleted {} s ago, and {} was not seen to run again{}; it is waited for no longer. If it is still paused, {by_hand} ({needing_resume})",
            self.seconds_since_deleted().unwrap_or_default().as_secs(),
            self.desired.backend.named(),
            why.unwrap_or_default(),
        );
        gone(Report::LeftPaused(Cause::new(Reason::LeftPaused, text)))
    }
}
