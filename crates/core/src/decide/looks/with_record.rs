//! The looks for a record with a plan: what became of the plan, and whether the pipeline runs again.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Look, LookKind, Looking};
use crate::decide::lag_evidence;
use crate::{Aim, Change, Committed, Observed, PlanState, ReadBackTime, RecordView, Request, SendOutcome, retry_asked};
use stream_pipeline_api::{LagSample, OffsetResetRecordStatus, Reason, RecordPhase};

/// The API server's clock and the platform's may be this far apart.
const CLOCKS: Duration = Duration::from_secs(300);

impl Looking<'_> {
    pub(super) fn with_record(&self, request: &Request, record: &RecordView) -> Vec<Look> {
        match &record.state {
            PlanState::Absent => self.for_plan(request, Some(record)),
            PlanState::OursUnsent { .. } => self.second_look(record),
            PlanState::OursSent { .. } | PlanState::InDoubt { .. } => {
                let mut looks = self.after_send(record, &self.seen.committed);
                if let (true, Some(plan)) = (looks.iter().any(|look| matches!(look, Look::Committed(_))), record.plan()) {
                    // To report partitions that the topics got since the plan, and before what was refused is sent again.
                    looks.push(Look::Topics { names: plan.topic_ids.keys().cloned().collect(), to: Change::None });
                }
                looks
            }
            PlanState::Closed if retry_asked(request, record) => {
                if !self.has(LookKind::Activity) {
                    return vec![self.activity()];
                }
                let again = record.plan().filter(|_| self.seen.activity.get().is_some());
                let committed = again.map(|plan| Look::Committed(plan.partitions()));
                committed.into_iter().chain([group_records(record)]).collect()
            }
            PlanState::Closed if record.needs_resume() => {
                [Some(self.activity()), Some(Look::RunState), self.log_before_start(record)].into_iter().flatten().collect()
            }
            PlanState::Closed => self.after_start(record),
        }
    }

    /// Everything again, live (docs/design/protocol.md, step 2). Where the partitions are comes after the list: what was sent for a record that
    /// it shows as closed, or not at all, is then seen in them.
    fn second_look(&self, record: &RecordView) -> Vec<Look> {
        let partitions = record.plan().map(|plan| plan.partitions()).unwrap_or_default();
        if self.has(LookKind::GroupRecords) {
            return vec![Look::Committed(partitions)];
        }
        let names = record.plan().map(|plan| plan.topic_ids.keys().cloned().collect()).unwrap_or_default();
        let to = Change::of(record.plan().is_some_and(|plan| plan.changes().any(|row| row.aim == Aim::Delete)));
        vec![Look::Identity { known: None }, Look::Live, group_records(record), Look::ActivityAlone, Look::Topics { names, to }]
    }

    /// What is needed to judge an open record, or to close one that nobody asks for any more: what became of what was sent, what the
    /// pipeline does right after, and whether what was stopped runs.
    pub(super) fn after_send(&self, record: &RecordView, committed: &Observed<Committed>) -> Vec<Look> {
        let mut looks = Vec::new();
        if let (Some(in_doubt), Some(plan)) = (self.is_read_back(record), record.plan().filter(|plan| !plan.rows.is_empty())) {
            // Long after the send, another cluster may answer at this address.
            if in_doubt && !self.has(LookKind::Place) {
                looks.push(Look::Place);
            } else if matches!(committed, Observed::Unread) {
                looks.push(Look::Committed(plan.partitions()));
            }
        }
        let accepted = matches!(&record.state, PlanState::OursSent { answer: SendOutcome::Answered { .. }, .. });
        if accepted && self.desired.facts.read_back == ReadBackTime::AfterStart {
            looks.push(Look::ActivityAlone);
        }
        if record.pauses().is_some() && matches!(record.state, PlanState::Absent | PlanState::Closed) {
            looks.push(Look::RunState);
        }
        looks.retain(|look| !self.has(look.into()));
        looks
    }

    /// Whether it is time to read back what was sent; Some(true): only after the wait for a plan in doubt.
    fn is_read_back(&self, record: &RecordView) -> Option<bool> {
        let over = |since: Instant| (since + self.timing.doubt() <= self.now.mono).then_some(true);
        match &record.state {
            PlanState::OursSent { answer: SendOutcome::Answered { .. }, .. } => Some(false),
            PlanState::OursSent { answer: SendOutcome::Unanswered { ended, .. }, .. } => over(*ended),
            PlanState::InDoubt { since } => over(*since),
            PlanState::OursSent { answer: SendOutcome::NotApplied(_) | SendOutcome::Ambiguous(_), .. } => None,
            // Earlier chunks or attempts were sent; their outcome is reported even if nothing more is sent.
            PlanState::OursUnsent { .. } => (!record.is_first_send()).then_some(false),
            PlanState::Absent | PlanState::Closed => None,
        }
    }

    /// The logs of a verified plan, before its stopped pipeline is started: the log start may have overtaken a target.
    fn log_before_start(&self, record: &RecordView) -> Option<Look> {
        let verified = record.object.status.as_ref().is_some_and(|s| s.reason == Reason::ResetVerified);
        let plan = record.plan().filter(|plan| verified && !plan.rows.is_empty() && record.calls.start.is_none())?;
        Some(Look::Logs { partitions: plan.partitions(), time: None })
    }

    /// The readings of a pipeline whose reset can only be seen once it runs.
    fn after_start(&self, record: &RecordView) -> Vec<Look> {
        let unproven = |s: &OffsetResetRecordStatus| s.phase == RecordPhase::Sent && s.reason == Reason::NoReadBackWhilePaused;
        if !record.object.status.as_ref().is_some_and(unproven) {
            return Vec::new();
        }
        match self.seen.activity {
            Observed::Unread => vec![self.activity()],
            _ if !self.is_active() => Vec::new(),
            _ if !self.has(LookKind::SampleAfterStart) => vec![Look::SampleAfterStart],
            _ => {
                let before = record.plan().and_then(|plan| plan.call.as_ref()?.before);
                let before = before.filter(|_| lag_evidence::after_start(record, self.seen.reading).is_some());
                before.map(|before| other_reset(record, before)).into_iter().collect()
            }
        }
    }
}

/// Of the pipeline's other records those that may tell of a reset which this reading does not show.
fn other_reset(record: &RecordView, before: LagSample) -> Look {
    let since = before.at.checked_sub(CLOCKS).unwrap_or(Timestamp::MIN);
    Look::OtherReset { backend: record.object.spec.backend.clone(), but: record.name().to_owned(), before, since }
}

fn group_records(record: &RecordView) -> Look {
    Look::GroupRecords { backend: record.object.spec.backend.clone(), but: record.name().to_owned(), live: true }
}
