//! Records that do not belong, or no longer belong, to what this object asks for.

use super::{Action, Pass, accept, open_record, run_state};
use crate::{Cause, Decision, PlanState, RecordView, Report, RequestState, SupersededRecord};
use stream_pipeline_api::{Reason, Stage};

impl Pass<'_> {
    /// A record that nobody asks for any more is dealt with before anything else.
    pub(super) fn superseded(&self, left: &SupersededRecord) -> Decision {
        let action = match left.record.state {
            // First the pipeline that was stopped for it is started again.
            PlanState::Closed => run_state::resume(&left.record, &left.run_state, self.timing, self.now),
            _ => self.open_record(&left.record, &left.committed, &left.activity, None).action(),
        };
        let owes = left.record.needs_resume();
        let accepted = self.desired.asked().and_then(|request| Some((request, self.term(request, self.accept(request).since()?))));
        match accepted {
            Some((request, term)) => {
                let mut open = open_record::another_open(&[left.record.name().to_owned()]);
                if owes {
                    open.message += &format!("; {}", action.cause.message);
                }
                self.waiting(request, open, term, Some(action))
            }
            None if owes => {
                let owed = self.still_stopped(&left.record, &left.run_state, run_state::owed(&left.record, &action.cause));
                action.told(Report::Outstanding(owed))
            }
            None => action.told(Report::Unchanged),
        }
    }

    pub(super) fn not_requested(&self) -> Decision {
        // While a stopped pipeline is not back yet, reporting "nothing requested" would be untrue.
        let owes = self.desired.has_finalizer && !self.nothing_to_resume();
        let report = match self.seen.identity.cause() {
            Some(cause) if owes => {
                let text = format!("the pipeline that the operator had stopped is to be started again: {}", cause.message);
                Report::Outstanding(Cause { message: text, ..cause.clone() })
            }
            _ if owes || self.desired.deleted.is_some() => Report::Unchanged,
            _ => Report::NotRequested,
        };
        self.at_rest(report, self.remove_finalizer())
    }

    /// Nothing is reported of this record but a pipeline that it still keeps stopped.
    pub(super) fn left_behind(&self, record: &RecordView) -> Decision {
        let action = run_state::resume(record, &self.seen.run_state, self.timing, self.now);
        let owed = Report::Outstanding(self.still_stopped(record, &self.seen.run_state, action.cause.clone()));
        action.told(if record.needs_resume() { owed } else { Report::Unchanged })
    }

    /// Nothing is reported of this record: whether this object's own request runs is decided once it is closed.
    pub(super) fn begun_by_another_object(&self, record: &RecordView) -> Decision {
        let text = "given up before anything was sent: the StreamPipeline that had asked was deleted";
        self.abandon(record, &Cause::new(Reason::NoLongerRequested, text)).told(Report::Unchanged)
    }

    pub(super) fn closed_for_another_object(&self, record: &RecordView) -> Decision {
        let (stage, cause) = accept::of_another_object(record);
        let told = RequestState { record: Some(record.name().to_owned()), ..RequestState::new(stage, cause) };
        if record.needs_resume() { self.restore(record, told) } else { self.at_rest(Report::request(told), None) }
    }

    pub(super) fn open(&self, record: &RecordView) -> Decision {
        let own = record.object.spec.pipeline.uid == self.desired.object.uid;
        let action = self.open_record(record, &self.seen.committed, &self.seen.activity, own.then_some(self.seen)).action();
        // Whether this object's own request runs is decided once the record is closed: it is not accepted by what an earlier object began.
        let report = if own {
            Report::request(self.state_of(record, Stage::Sending, action.cause.clone()))
        } else {
            Report::Outstanding(action.cause.clone())
        };
        action.told(report)
    }

    /// Closes a record of which nothing was sent.
    pub(super) fn abandon(&self, record: &RecordView, cause: &Cause) -> Action {
        open_record::abandon(record, cause, self.now)
    }
}
