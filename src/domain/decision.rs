//! What to do next: at most one step, and what to tell people meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::{Cause, Plan, TopicPartition};
use crate::api::{OffsetResetRecordStatus, PlanTotals, RunStateBefore, Stage};

/// The outcome of `decide`.
#[derive(Clone, Debug)]
pub struct Decision {
    pub verdict: Verdict,
    pub step: Option<Step>,
    /// When to look again if nothing happens before.
    pub recheck: Duration,
}

/// At most one mutation per pass.
#[derive(Clone, Debug)]
pub enum Step {
    /// Put our finalizer on the object, before anything is paused.
    Guard,
    /// Take it off again: nothing is left to bring back.
    Unguard,
    /// Create the record without a plan, with what the pipeline did before.
    RecordPause { before: RunStateBefore, deadline: Timestamp },
    /// Stop the pipeline.
    Stop,
    /// Start it again, as it was.
    BringBack,
    /// Note in the closed record that nothing is left to bring back.
    NoteBroughtBack,
    /// Create the record with the plan, or put the plan into the record that is there without one. `before`: see RecordPause.
    WriteAhead { plan: Plan, before: Option<RunStateBefore>, deadline: Timestamp },
    /// A dry run's record: a plan that is never sent.
    RecordDryRun { plan: Plan, deadline: Timestamp },
    /// Commit these rows of the recorded plan.
    Send { plan: Plan, only: BTreeSet<TopicPartition> },
    /// Say in the record that this chunk of the plan is sent next: those before were read back.
    Announce { chunk: usize },
    /// Drop the plan of the record: nothing of it was sent.
    Unload,
    /// Close the record (the current one or the leftover, whichever the pass is about).
    Close(OffsetResetRecordStatus),
    /// Write ahead again for the one retry: same numbers, attempt 2.
    Rearm,
}

/// What to tell people.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Nothing new: the result before stays as it is.
    Keep,
    /// Nothing is asked for.
    Nothing,
    /// Where the request stands.
    Request(Box<Ending>),
    /// Nothing is asked for, and something is left to do for what was asked: what, and why it is not done yet.
    Owed(Cause),
    /// The object is deleted and goes, although its pipeline may still be paused.
    LeftPaused(Cause),
}

/// A stage of a request, with everything the status says about it.
#[derive(Clone, Debug)]
pub struct Ending {
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
    /// Since when the operator keeps the pipeline paused.
    pub paused_since: Option<Timestamp>,
}

impl Verdict {
    pub fn request(ending: Ending) -> Self {
        Verdict::Request(Box::new(ending))
    }
}
