//! Where a pass stands, judged by the object, its request and its records alone; each situation has one function.

use super::Pass;
use crate::{Cause, PlanState, RecordView, Request, SupersededRecord};

/// The situations; the first that holds counts.
pub(super) enum Situation<'a> {
    /// The object was deleted, and its pipeline was waited for long enough.
    DeletedForTooLong,
    /// A record of an earlier request, or of an object that is gone, is not over.
    Superseded(&'a SupersededRecord),
    NotRequested,
    /// The plan of a dry run is recorded.
    DryRunRecorded(&'a RecordView),
    /// The record is of an earlier object and was given up with that object before anything was sent: it does not concern this object.
    LeftBehind(&'a RecordView),
    /// The record is of an earlier object, which had not planned anything yet.
    BegunByAnotherObject(&'a RecordView),
    /// The record is of an earlier object, and closed.
    ClosedForAnotherObject(&'a RecordView),
    /// The record of the request is closed. None: what the object asks for now is refused.
    Closed(Option<&'a Request>, &'a RecordView),
    /// The record holds a plan that may have been sent, or was restored from a backup.
    Open(&'a RecordView),
    /// What is asked for is not acceptable.
    Refused(&'a Cause),
    /// A request of which nothing is planned yet.
    Unplanned(&'a Request),
}

impl<'a> Pass<'a> {
    pub(super) fn situation(&self) -> Situation<'a> {
        if self.was_deleted_too_long_ago() {
            return Situation::DeletedForTooLong;
        }
        if let Some(left) = &self.seen.superseded {
            return Situation::Superseded(left);
        }
        let Some(asked) = &self.desired.request else { return Situation::NotRequested };
        let record = self.seen.record.get().and_then(Option::as_ref);
        match (record.and_then(|record| self.of_record(asked.as_ref().ok(), record)), asked) {
            (Some(situation), _) => situation,
            (None, Err(refusal)) => Situation::Refused(refusal),
            (None, Ok(request)) => Situation::Unplanned(request),
        }
    }

    /// A record with this id decides from now on, unless it is this object's own and has no plan yet.
    fn of_record(&self, request: Option<&'a Request>, record: &'a RecordView) -> Option<Situation<'a>> {
        let own = record.object.spec.pipeline.uid == self.desired.object.uid;
        Some(match record.state {
            _ if record.object.spec.request.is_dry_run() => Situation::DryRunRecorded(record),
            PlanState::Closed if record.is_left_behind(&self.desired.object.uid) => Situation::LeftBehind(record),
            PlanState::Closed if own => Situation::Closed(request, record),
            PlanState::Closed => Situation::ClosedForAnotherObject(record),
            _ if record.is_restored() => Situation::Open(record),
            PlanState::Absent if own => return None,
            PlanState::Absent => Situation::BegunByAnotherObject(record),
            PlanState::OursUnsent { .. } | PlanState::OursSent { .. } | PlanState::InDoubt { .. } => Situation::Open(record),
        })
    }
}
