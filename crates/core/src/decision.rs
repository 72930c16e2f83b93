//! What to do next: at most one step, and what to report meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::{Cause, Plan, TopicPartition};
use stream_pipeline_api::{OffsetResetRecordStatus, PlanTotals, RunStateBefore, Stage};

/// The outcome of `decide`.
#[derive(Clone, Debug)]
pub struct Decision {
    pub report: Report,
    pub step: Option<Step>,
    /// When to look again if nothing happens before.
    pub recheck: Duration,
}

/// At most one mutation per pass.
#[derive(Clone, Debug)]
pub enum Step {
    /// Put our finalizer on the object, before anything is paused.
    AddFinalizer,
    /// Take it off again: nothing is left to bring back.
    RemoveFinalizer,
    /// Create the record without a plan, with what the pipeline did before.
    RecordPause { before: RunStateBefore, deadline: Timestamp },
    /// Stop the pipeline.
    Stop,
    /// Start it again, as it was.
    Resume,
    /// Note in the closed record that nothing is left to bring back.
    MarkResumed,
    /// Create the record with the plan, or put the plan into the record that is there without one. `before`: see RecordPause.
    WriteAhead { plan: Plan, before: Option<RunStateBefore>, deadline: Timestamp },
    /// A dry run's record: a plan that is never sent.
    RecordDryRun { plan: Plan, deadline: Timestamp },
    /// Commit these rows of the recorded plan.
    Send { plan: Plan, only: BTreeSet<TopicPartition> },
    /// Say in the record that this chunk of the plan is sent next: those before were read back.
    StartChunk { chunk: usize },
    /// Drop the plan of the record: nothing of it was sent.
    DropPlan,
    /// Close the record that the pass is about: the request's own or an earlier one.
    Close(OffsetResetRecordStatus),
    /// Write ahead again for the one retry: same numbers, attempt 2.
    Retry,
}

/// What to report.
#[derive(Clone, Debug)]
pub enum Report {
    /// Nothing was decided: the status stays as it is, observed generation included.
    Unchanged,
    /// The request ended before, and nothing runs under its id: its result stays. `edited`: why what the id now asks for is refused.
    Settled { edited: Option<Cause> },
    /// Nothing is asked for.
    NotRequested,
    /// There is no request to report on yet, but something is left to do for an earlier one, such as starting its pipeline: what, and why
    /// it is not done yet.
    Outstanding(Cause),
    /// Where the request stands.
    Request(Box<RequestState>),
    /// The object is deleted and its finalizer goes, although its pipeline may still be paused.
    LeftPaused(Cause),
}

/// A stage of a request, with everything the status says about it.
#[derive(Clone, Debug)]
pub struct RequestState {
    pub stage: Stage,
    pub cause: Cause,
    pub accepted_at: Option<Timestamp>,
    pub deadline: Option<Timestamp>,
    pub totals: Option<PlanTotals>,
    pub record: Option<String>,
    pub attempts: Option<i32>,
    pub completed_at: Option<Timestamp>,
    /// The request was edited under its id after it ended.
    pub edited: bool,
    /// What the operator keeps stopped for it.
    pub kept: Option<Kept>,
    /// What is left to do although the request has ended: how far bringing its pipeline back is.
    pub owed: Option<Cause>,
}

/// What the operator keeps stopped, since when, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub since: Timestamp,
    pub said: String,
}

impl RequestState {
    pub fn new(stage: Stage, cause: Cause) -> Self {
        Self {
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

    /// The request ended well, but its text was changed since: the result is not that of what is asked for now.
    pub fn is_edited(&self) -> bool {
        self.edited && matches!(self.stage, Stage::Verified | Stage::Sent)
    }

    /// What is left to do cannot be done now. The result itself is never replaced by that: nobody would look again and put it right.
    pub fn hinder(&mut self, cause: &Cause) {
        match &mut self.owed {
            Some(owed) => owed.clone_from(cause),
            None if !self.stage.is_final() => self.cause.clone_from(cause),
            None => {}
        }
    }
}

impl Report {
    pub fn request(ending: RequestState) -> Self {
        Report::Request(Box::new(ending))
    }
}
