//! What was seen in one pass.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    Activity, Cause, Committed, Consumed, LogBounds, Observed, OlderPipeline, OtherGroup, Quiet, RecordView, RunState, SupersededRecord,
    TopicPartition, Topics,
};
use crate::Request;
use crate::decide::LookKind;
use stream_pipeline_api::{BackendIdentity, LagSample, RunStateBefore};

/// Everything one pass looked at.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// Where the pipeline was found to live.
    pub identity: Observed<BackendIdentity>,
    /// The user that the brokers take the operator for, as far as it is known.
    pub principal: Option<String>,
    pub activity: Observed<Activity>,
    /// The run state of the pipeline that the operator stops for its record.
    pub run_state: Observed<RunState>,
    /// What would be recorded before it is stopped.
    pub before: Observed<RunStateBefore>,
    pub committed: Observed<Committed>,
    /// The newest position as the platform reports it.
    pub reading: Option<LagSample>,
    /// The last reading taken while the pipeline ran.
    pub remembered: Option<LagSample>,
    /// A record whose reset may explain why the newest reading differs from the one before; read where these are compared.
    pub other_reset: Observed<Option<String>>,
    /// Names of this object's records whose pipeline is still to be started (live list); read where our finalizer is on the object.
    pub needing_resume: Observed<Vec<String>>,
    /// For how long group and offsets have looked the same.
    pub quiet: Quiet,
    /// How fast the group was seen to read, where it was seen.
    pub consumed: Option<Consumed>,
    pub topics: Observed<Topics>,
    pub log: Observed<BTreeMap<TopicPartition, LogBounds>>,
    /// The time whose first record was looked up in each log.
    pub log_time: Option<Timestamp>,
    /// The request with the numbers that were read where its target says; or what is wrong with them.
    pub with_numbers: Observed<Result<Box<Request>, Cause>>,
    /// The group whose position is copied.
    pub other_group: Observed<OtherGroup>,
    /// The record of the current request.
    pub record: Observed<Option<RecordView>>,
    /// The record's name, even if the record does not exist yet.
    pub record_name: Option<String>,
    /// An open record of this pipeline that is not of its current request: dealt with first.
    pub superseded: Option<SupersededRecord>,
    /// Names of other records of this group in the namespace that are dealt with before this request (live list).
    pub conflicting_records: Observed<Vec<String>>,
    /// Workloads of this pipeline that another record keeps stopped, in words (live list); read where it may be stopped.
    pub shared_workloads: Observed<Vec<String>>,
    /// A StreamPipeline of the same namespace and backend that comes before this one; not looked for once this request has a record.
    pub older_pipeline: Option<OlderPipeline>,
    /// A live list has shown before that none comes before this one, and none can come any more.
    pub is_first: bool,
    /// StreamPipelines of other namespaces that have read the same group or pipeline: they are reported, but not waited for.
    pub elsewhere: Vec<String>,
    /// Live: the StreamPipeline is the same object, not deleted, asks for the same id, and its status reports no end of it.
    pub wanted: Observed<bool>,
    /// The process is shutting down: nothing new is started.
    pub draining: bool,
    /// Why nothing but statuses may be written.
    pub outdated: Option<Outdated>,
    /// Why it is not this request's turn to be planned yet, where all else allows it.
    pub in_line: Option<Cause>,
    /// It is time to ask a running pipeline for its position once more.
    pub sample_is_due: bool,
    /// The records of `conflicting_records`.
    pub conflicts: Vec<RecordView>,
    /// What was looked at in this pass.
    pub looked: BTreeSet<LookKind>,
}

impl Observation {
    /// A record that nobody asks for any more is dealt with before anything else.
    pub(crate) fn supersede(&mut self, record: RecordView) {
        self.superseded =
            Some(SupersededRecord { record, committed: Observed::Unread, activity: Observed::Unread, run_state: Observed::Unread });
        // These looks were made for the current request and have to be made again for that record.
        for kind in [LookKind::Committed, LookKind::ActivityAlone, LookKind::RunState, LookKind::Place] {
            self.looked.remove(&kind);
        }
    }

    pub(crate) fn subject_committed(&mut self) -> &mut Observed<Committed> {
        self.superseded.as_mut().map_or(&mut self.committed, |left| &mut left.committed)
    }

    pub(crate) fn subject_activity(&mut self) -> &mut Observed<Activity> {
        self.superseded.as_mut().map_or(&mut self.activity, |left| &mut left.activity)
    }

    pub(crate) fn subject_run_state(&mut self) -> &mut Observed<RunState> {
        self.superseded.as_mut().map_or(&mut self.run_state, |left| &mut left.run_state)
    }

    /// The request with the numbers that were read, where its target has them elsewhere.
    pub(crate) fn resolved<'a>(&'a self, request: &'a Request) -> &'a Request {
        if let Observed::Read(Ok(request)) = &self.with_numbers { request } else { request }
    }

    /// The record that a step of this pass is about.
    pub fn subject(&self) -> Option<&RecordView> {
        self.superseded.as_ref().map(|left| &left.record).or(self.record.get().and_then(Option::as_ref))
    }
}

/// The installed CRDs lack something that this operator needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    pub cause: Cause,
    /// The missing part may concern a request: what people wrote may have been dropped.
    pub asked: bool,
}
