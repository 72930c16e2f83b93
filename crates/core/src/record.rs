//! A record, and what this process knows of it.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Instant;

use jiff::Timestamp;

use super::{Activity, Cause, Committed, Now, Observed, Plan, Request, RunState, TopicPartition};
use stream_pipeline_api::{OffsetResetRecord, OffsetResetRecordStatus, OnUnknownOutcome, Reason, RecordPhase, RunStateBefore};

/// If the record's two creation times are more than this many seconds apart, it was restored.
const RESTORED: i64 = 60;

/// An open record that nobody asks for any more.
#[derive(Clone, Debug)]
pub struct SupersededRecord {
    pub record: RecordView,
    pub committed: Observed<Committed>,
    pub activity: Observed<Activity>,
    pub run_state: Observed<RunState>,
}

/// A record, and what this process knows of its plan.
#[derive(Clone, Debug)]
pub struct RecordView {
    pub object: OffsetResetRecord,
    pub state: PlanState,
    pub calls: RunStateCalls,
    /// Read from the object once.
    plan: OnceLock<Option<Plan>>,
}

/// The start and stop calls of this process for a record's pipeline, and since when the process has known the record.
#[derive(Clone, Debug, Default)]
pub struct RunStateCalls {
    pub first_seen: Option<Instant>,
    /// This process made the record, so that no earlier one has called anything for it.
    pub made_here: bool,
    pub stop: Option<RunStateCall>,
    pub start: Option<RunStateCall>,
    /// The pipeline was seen stopped since the stop call.
    pub was_down: bool,
    /// Since when it has been seen running after the record was closed, and the newest reading there was then.
    pub running: Option<(Now, Option<Timestamp>)>,
}

/// Calls of one kind: the last one, how many, and why it failed.
#[derive(Clone, Debug)]
pub struct RunStateCall {
    pub last: Instant,
    pub tries: u32,
    /// The last call was not answered, so it may still land.
    pub under_way: bool,
    pub failure: Option<Cause>,
}

/// protocol.md: only the process that put a plan there may send it, once, at once.
#[derive(Clone, Debug)]
pub enum PlanState {
    /// No plan in the record, and it is not closed.
    Absent,
    /// Written by this process, nothing sent yet. `intact`: the record holds exactly the plan that was written. `dead`: given up, so the
    /// plan is dropped and never sent.
    OursUnsent {
        loaded_at: Instant,
        intact: bool,
        dead: bool,
    },
    /// Written and sent by this process.
    OursSent {
        loaded_at: Instant,
        tries: u32,
        answer: SendOutcome,
    },
    /// In doubt and not ours. `since`: when this process first saw this very plan.
    InDoubt {
        since: Instant,
    },
    Closed,
}

/// What the backend said to what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// A definite answer for every partition; those refused, with the backend's code.
    Answered { refused: BTreeMap<TopicPartition, i32> },
    /// Certainly nothing of it was done.
    NotApplied(Cause),
    /// An answer that does not tell whether it was done; nothing is under way any more.
    Ambiguous(Cause),
    /// No answer, or an unclear one while the call may still be carried out. `ended`: when the last of it had left this process.
    Unanswered { ended: Instant, cause: Cause },
}

impl RunStateCall {
    /// The last call was accepted.
    pub fn accepted(&self) -> bool {
        !self.under_way && self.failure.is_none()
    }
}

impl RecordView {
    pub fn new(object: OffsetResetRecord, state: PlanState, calls: RunStateCalls) -> Self {
        Self { object, state, calls, plan: OnceLock::new() }
    }

    /// The plan, where there is one.
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.get_or_init(|| self.object.spec.plan.as_ref().map(Plan::of_record)).as_ref()
    }

    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether a backup tool restored it: its own creation time and the API server's are more than a minute apart.
    pub fn is_restored(&self) -> bool {
        let ours = matches!(self.state, PlanState::OursUnsent { .. } | PlanState::OursSent { .. });
        !ours && self.clock_gap() > RESTORED
    }

    /// Whether a restarted process would take this record for a restored one: then nothing may be sent from it.
    pub fn is_skewed(&self) -> bool {
        self.clock_gap() > RESTORED
    }

    /// Seconds between the creation times that the operator and the API server gave it.
    pub fn clock_gap(&self) -> i64 {
        let made = self.object.metadata.creation_timestamp.as_ref().map(|t| t.0.as_second());
        made.map_or(0, |made| (made - self.object.spec.created_at.as_second()).abs())
    }

    /// The run state before the stop, if the operator stops the pipeline for this reset.
    pub fn pauses(&self) -> Option<&RunStateBefore> {
        self.object.spec.run_state_before.as_ref().filter(|before| before.running)
    }

    /// Whether the operator may have stopped the pipeline and has not brought it back (promise 10).
    pub fn needs_resume(&self) -> bool {
        // A restored record is not acted on: nothing is stopped or started for it.
        let due = |s: &OffsetResetRecordStatus| s.brought_back_at.is_none() && s.reason != Reason::Restored;
        self.pauses().is_some() && self.object.status.as_ref().is_none_or(due)
    }

    /// Whether the record asks for no more steps.
    pub fn is_over(&self) -> bool {
        matches!(self.state, PlanState::Closed) && !self.needs_resume()
    }

    /// Whether it was given up with the object that asked, before anything was sent: then it means nothing to a later object with the same
    /// request. `uid`: the later object's.
    pub fn is_left_behind(&self, uid: &str) -> bool {
        let given_up = |s: &OffsetResetRecordStatus| s.phase == RecordPhase::Abandoned && s.reason == Reason::NoLongerRequested;
        self.object.spec.pipeline.uid != uid && self.object.spec.plan.is_none() && self.object.status.as_ref().is_some_and(given_up)
    }

    /// Whether it still holds the very plan it was closed with.
    pub fn is_as_closed(&self) -> bool {
        let closed = self.object.status.as_ref().and_then(|s| s.plan_digest.as_ref());
        closed.is_some() && closed == self.object.spec.plan.as_ref().map(|plan| plan.digest()).as_ref()
    }

    pub fn attempt(&self) -> i32 {
        self.object.spec.writer.as_ref().map_or(0, |w| w.attempt)
    }

    /// The chunk that may be sent now, counted from 1.
    pub fn chunk(&self) -> usize {
        self.object.spec.writer.as_ref().and_then(|w| usize::try_from(w.chunk).ok()).unwrap_or(1).max(1)
    }

    /// Nothing of this request was sent before the chunk that the record now holds.
    pub fn is_first_send(&self) -> bool {
        self.attempt() == 1 && self.chunk() == 1
    }
}

/// What `status.over` says of a record that is closed in this phase. `brought_back`: what was stopped for it runs again.
pub fn is_over_in(record: &OffsetResetRecord, phase: RecordPhase, brought_back: bool) -> bool {
    let stopped = record.spec.run_state_before.as_ref().is_some_and(|before| before.running);
    phase.is_end() && (brought_back || !stopped)
}

/// Whether a held request asks for one more send.
pub fn retry_asked(request: &Request, record: &RecordView) -> bool {
    let unknown = |reason| matches!(reason, Reason::OutcomeUnknown | Reason::AverageRateUnavailable);
    let held = |s: &OffsetResetRecordStatus| s.phase == RecordPhase::Held && unknown(s.reason);
    request.on_unknown_outcome == OnUnknownOutcome::Retry && record.attempt() == 1 && record.object.status.as_ref().is_some_and(held)
}
