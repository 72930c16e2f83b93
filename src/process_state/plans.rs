//! The plans that this process wrote, and whether they were sent; the records, with what is known of their plans.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use kube::ResourceExt;

use super::{KEPT, ProcessState};
use stream_pipeline_api::{OffsetResetRecord, RecordPhase, RecordedPlan, Writer};
use stream_pipeline_core::{PlanState, RecordView, RunStateCalls, SendOutcome};

pub(super) struct OurPlan {
    pub(super) loaded_at: Instant,
    /// Of the record that it was first seen in. A record that a backup brought back is another one.
    record: Option<String>,
    /// Shared by the chunks of one plan.
    written: Arc<RecordedPlan>,
    sent: Sent,
}

enum Sent {
    No,
    /// Being sent: counts as unanswered until the answer is noted.
    Yes {
        tries: u32,
        answer: SendOutcome,
    },
    /// Given up: never sent, whatever the API server answers later.
    Dead,
}

impl ProcessState {
    /// Names the next plan of this process and opens its window: call it right before the write.
    pub fn register_plan(&self, attempt: i32, plan: &RecordedPlan, now: Instant) -> Writer {
        self.register_chunk(attempt, 1, Arc::new(plan.clone()), now)
    }

    /// Names the next chunk of a plan of this process, and opens a window for it. None: the plan is of another process.
    pub fn start_chunk(&self, before: &Writer, chunk: i32, now: Instant) -> Option<Writer> {
        let plan = self.inner().ours.get(before).map(|ours| Arc::clone(&ours.written))?;
        Some(self.register_chunk(before.attempt, chunk, plan, now))
    }

    fn register_chunk(&self, attempt: i32, chunk: i32, written: Arc<RecordedPlan>, now: Instant) -> Writer {
        let number = self.plans_written.fetch_add(1, Ordering::Relaxed) + 1;
        let writer = Writer { incarnation: self.incarnation.clone(), number, attempt, chunk };
        let mut inner = self.inner();
        // Forgetting is always safe: a plan that is not known as ours is never sent.
        inner.ours.retain(|_, ours| now.saturating_duration_since(ours.loaded_at) < KEPT);
        inner.ours.insert(writer.clone(), OurPlan { loaded_at: now, record: None, written, sent: Sent::No });
        writer
    }

    /// Takes the right to send this plan, which can be taken once. False: it was taken, or the plan was given up.
    pub fn begin_send(&self, writer: &Writer, pending: SendOutcome) -> bool {
        let mut inner = self.inner();
        let Some(ours) = inner.ours.get_mut(writer) else { return false };
        let tries = match &ours.sent {
            Sent::No => 1,
            Sent::Yes { tries, answer: SendOutcome::Answered { refused } } if !refused.is_empty() => tries + 1,
            Sent::Yes { .. } | Sent::Dead => return false,
        };
        ours.sent = Sent::Yes { tries, answer: pending };
        true
    }

    /// Notes the backend's answer.
    pub fn note_answer(&self, writer: &Writer, new: SendOutcome) {
        if let Some(OurPlan { sent: Sent::Yes { answer, .. }, .. }) = self.inner().ours.get_mut(writer) {
            *answer = new;
        }
    }

    /// Gives up a plan of which nothing was sent: this process never sends it any more.
    pub fn abandon_plan(&self, writer: &Writer) {
        if let Some(ours) = self.inner().ours.get_mut(writer).filter(|o| matches!(o.sent, Sent::No)) {
            ours.sent = Sent::Dead;
        }
    }

    /// When the plan's window opened.
    pub fn loaded_at(&self, writer: &Writer) -> Option<Instant> {
        self.inner().ours.get(writer).map(|o| o.loaded_at)
    }

    /// A record, with what this process knows of it. What is known of a record that is over is forgotten.
    pub fn look(&self, record: OffsetResetRecord, now: Instant) -> RecordView {
        let state = self.state_of(&record, now);
        let mut inner = self.inner();
        let uid = record.uid().unwrap_or_default();
        let calls = match record.spec.run_state_before {
            None => RunStateCalls::default(),
            Some(_) => {
                let known = inner.calls.entry(uid.clone()).or_default();
                known.first_seen.get_or_insert(now);
                known.clone()
            }
        };
        let look = RecordView::new(record, state, calls);
        if look.is_over() {
            inner.closed.insert((uid.clone(), look.object.resource_version().unwrap_or_default()));
            inner.refusals.remove(&uid);
            if !look.object.status.as_ref().is_some_and(|s| s.phase == RecordPhase::Sent) {
                inner.calls.remove(&uid);
            }
        }
        look
    }

    fn state_of(&self, record: &OffsetResetRecord, now: Instant) -> PlanState {
        let mut inner = self.inner();
        let uid = record.uid().unwrap_or_default();
        let writer = record.spec.writer.clone();
        if is_closed(record) {
            inner.first_seen.retain(|(u, _), _| *u != uid);
            if let Some(writer) = &writer {
                inner.ours.remove(writer);
            }
            return PlanState::Closed;
        }
        let (Some(plan), Some(writer)) = (&record.spec.plan, writer) else { return PlanState::Absent };
        let since = *inner.first_seen.entry((uid.clone(), Some(writer.clone()))).or_insert(now);
        let Some(ours) = inner.ours.get_mut(&writer) else { return PlanState::InDoubt { since } };
        if *ours.record.get_or_insert_with(|| uid.clone()) != uid {
            return PlanState::InDoubt { since };
        }
        match &ours.sent {
            Sent::No | Sent::Dead => {
                PlanState::OursUnsent { loaded_at: ours.loaded_at, intact: *ours.written == *plan, dead: matches!(ours.sent, Sent::Dead) }
            }
            Sent::Yes { tries, answer } => PlanState::OursSent { loaded_at: ours.loaded_at, tries: *tries, answer: answer.clone() },
        }
    }

    /// Whether a record of this version is known to be closed, so that it need not be read.
    pub fn known_closed(&self, version: &(String, String)) -> bool {
        self.inner().closed.contains(version)
    }

    /// A list shows that a record of this version is over.
    pub fn note_closed(&self, version: (String, String)) {
        self.inner().closed.insert(version);
    }

    /// After the API server was restored from a backup, a version may stand for something else.
    pub fn forget_closed(&self) {
        let mut inner = self.inner();
        inner.closed.clear();
        // An older object may have come back.
        inner.first.clear();
    }
}

/// A record is closed when its status is of the attempt that was written last.
pub fn is_closed(record: &OffsetResetRecord) -> bool {
    let attempt = record.spec.writer.as_ref().map_or(0, |w| w.attempt);
    record.status.as_ref().is_some_and(|s| s.attempt >= attempt)
}
