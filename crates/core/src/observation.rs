//! What was seen in one pass. A failed read is a value here, never an early return: the status stays true.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Now, OlderPipeline, Plan, Request, TopicPartition, numbers, words};
use crate::api::{
    BackendIdentity, LagSample, OffsetResetRecord, OffsetResetRecordStatus, OnUnknownOutcome, Phase, Reason, RecordPhase, RunStateBefore,
};

/// Why something could not be read, done or accepted: the reason of the condition and what a person needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub reason: Reason,
    /// Clean: much of it may be the words of brokers, platforms and members.
    pub message: String,
    /// The backend's own error code (Kafka's, or the HTTP status of the API server).
    pub backend_code: Option<i32>,
    /// The platform's code, where it answered with one.
    pub code: Option<i32>,
}

impl Cause {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: words::clean(&message.into()), backend_code: None, code: None }
    }

    /// The code people see: the platform's own, or the one this reason is documented under.
    pub fn code(&self) -> Option<i32> {
        self.code.or(self.reason.code())
    }
}

/// The result of one read.
#[derive(Clone, Debug, Default)]
pub enum Observed<T> {
    /// Not needed in this pass.
    #[default]
    Unread,
    Read(T),
    Unreadable(Cause),
}

impl<T> Observed<T> {
    pub fn get(&self) -> Option<&T> {
        match self {
            Observed::Read(value) => Some(value),
            _ => None,
        }
    }

    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Observed::Unreadable(cause) => Some(cause),
            _ => None,
        }
    }
}

impl<T> From<Result<T, Cause>> for Observed<T> {
    fn from(result: Result<T, Cause>) -> Self {
        match result {
            Ok(value) => Observed::Read(value),
            Err(cause) => Observed::Unreadable(cause),
        }
    }
}

/// Seconds between the times of a record, above which it was restored.
const RESTORED: i64 = 60;

/// Everything one pass looked at.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// Where the pipeline was found to live.
    pub identity: Observed<BackendIdentity>,
    /// Whom the brokers see, as far as it is known.
    pub principal: Option<String>,
    pub activity: Observed<Activity>,
    /// Of a record's pipeline that the operator stops.
    pub run_state: Observed<RunState>,
    /// What would be recorded before it is stopped.
    pub before: Observed<RunStateBefore>,
    pub committed: Observed<Committed>,
    /// The newest position as the platform reports it.
    pub reading: Option<LagSample>,
    /// The last reading taken while the pipeline ran.
    pub remembered: Option<LagSample>,
    /// Names of this object's records that owe a start (live list); read where our finalizer is on it.
    pub needing_resume: Observed<Vec<String>>,
    /// How long group and offsets have looked the same.
    pub quiet: Quiet,
    pub topics: Observed<Topics>,
    pub log: Observed<BTreeMap<TopicPartition, LogBounds>>,
    /// The record of the current request.
    pub record: Observed<Option<RecordView>>,
    /// Its name, also where it is not there yet.
    pub record_name: Option<String>,
    /// An open record of this pipeline that is not of its current request: dealt with first.
    pub superseded: Option<SupersededRecord>,
    /// Names of other records of this group in the namespace that are not closed (live list).
    pub conflicting_records: Observed<Vec<String>>,
    /// Workloads of this pipeline that another record keeps stopped, in words (live list); read where it may be stopped.
    pub shared_workloads: Observed<Vec<String>>,
    /// A StreamPipeline of the same namespace and backend that comes before this one; not looked for once this request has a record.
    pub older_pipeline: Option<OlderPipeline>,
    /// StreamPipelines of other namespaces that have read the same group or pipeline: told, and waited for by nobody.
    pub elsewhere: Vec<String>,
    /// Live: the StreamPipeline is the same object, not deleted, asks for the same id, and its status tells of no end of it.
    pub wanted: Observed<bool>,
    /// The process was asked to end: nothing new is started.
    pub draining: bool,
    /// No more than statuses may be written.
    pub outdated: Option<Outdated>,
}

/// The installed definitions lack something that this operator needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    pub cause: Cause,
    /// What people ask for may have lost something.
    pub asked: bool,
}

/// An open record that nobody asks for any more.
#[derive(Clone, Debug)]
pub struct SupersededRecord {
    pub look: RecordView,
    pub committed: Observed<Committed>,
    pub activity: Observed<Activity>,
    pub run_state: Observed<RunState>,
}

/// A record, and what this process knows of its plan.
#[derive(Clone, Debug)]
pub struct RecordView {
    pub object: OffsetResetRecord,
    pub state: PlanState,
    pub switches: RunStateCalls,
}

/// What this process did about the run state of a record's pipeline, and since when it has known the record.
#[derive(Clone, Debug, Default)]
pub struct RunStateCalls {
    pub first_seen: Option<Instant>,
    pub stop: Option<RunStateCall>,
    pub start: Option<RunStateCall>,
    /// It was seen down since.
    pub was_down: bool,
    /// Since when it has been seen running after the record was closed, and the newest reading there was then.
    pub running: Option<(Now, Option<Timestamp>)>,
}

/// Calls of one kind: the last one, how many, and why it failed.
#[derive(Clone, Debug)]
pub struct RunStateCall {
    pub last: Instant,
    pub tries: u32,
    /// The last one was not answered: it may land later.
    pub under_way: bool,
    pub failure: Option<Cause>,
}

/// protocol.md: only the process that put a plan there may send it, once, at once.
#[derive(Clone, Debug)]
pub enum PlanState {
    /// No plan in the record, and it is not closed.
    Absent,
    /// Written by this process, nothing sent yet. `intact`: the record holds the very plan that was written. `dead`: given
    /// up, so it is unloaded and never sent.
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
    /// Certainly nothing was done, of none of it.
    NotApplied(Cause),
    /// An answer that does not tell, and nothing is under way any more.
    Ambiguous(Cause),
    /// No answer, or one that does not tell while it may still be carried out. `ended`: nothing more can leave this process since then.
    Unanswered { ended: Instant, cause: Cause },
}

/// What the pipeline is doing, as far as a reset is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It may be reset now: the platform's own word for its state.
    Inactive(Phase, String),
    /// It reads. It becomes inactive when somebody stops it.
    Active(Cause),
    /// There is no such pipeline.
    Missing(Cause),
    /// Neither active nor to be reset; that may change.
    NotResettable(Phase, Cause),
    /// It can never be reset here.
    Unsupported(Cause),
}

impl Activity {
    pub fn is_inactive(&self) -> bool {
        matches!(self, Activity::Inactive(..) | Activity::Missing(_))
    }

    pub fn is_active(&self) -> bool {
        matches!(self, Activity::Active(_))
    }

    pub fn phase(&self) -> Phase {
        match self {
            Activity::Inactive(phase, _) | Activity::NotResettable(phase, _) => *phase,
            Activity::Active(_) => Phase::Running,
            Activity::Missing(_) => Phase::NotFound,
            Activity::Unsupported(_) => Phase::Unknown,
        }
    }

    /// Why it is not inactive.
    pub fn blocker(&self) -> Option<&Cause> {
        match self {
            Activity::Inactive(..) | Activity::Missing(_) => None,
            Activity::Active(cause) | Activity::NotResettable(_, cause) | Activity::Unsupported(cause) => Some(cause),
        }
    }
}

impl RunStateCall {
    /// The last call was answered with yes.
    pub fn accepted(&self) -> bool {
        !self.under_way && self.failure.is_none()
    }
}

/// Whether what the operator stopped runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunState {
    Running,
    /// Stopped, and to be started by whoever stopped it.
    Stopped,
    /// Several, and some of them down.
    PartlyStopped,
    /// Somebody else changed it: theirs counts, in words.
    ChangedExternally(String),
    /// Neither: waited out.
    Unknown(Cause),
}

/// Committed offsets of a group, by partition; a partition without a commit is not in it.
pub type Committed = BTreeMap<TopicPartition, Commit>;

/// One committed offset. `pending`: an open transaction holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    pub offset: i64,
    pub leader_epoch: Option<i32>,
    pub metadata: String,
    pub pending: bool,
}

/// What the looks so far say about rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quiet {
    /// So long every look found the same committed offsets and no member.
    pub since: Option<Duration>,
    /// So long ago offsets were seen to move without a member.
    pub moved: Option<Duration>,
}

impl Quiet {
    /// Promise 2: neither members nor movement for so long; zero switches the check off.
    pub fn is_enough(&self, period: Duration) -> bool {
        period.is_zero() || self.since.is_some_and(|quiet| quiet >= period)
    }
}

/// Topics by name; None: does not exist.
pub type Topics = BTreeMap<String, Option<Topic>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Kafka's topic id.
    pub id: String,
    /// Whether each partition has a leader.
    pub partitions: BTreeMap<i32, bool>,
}

/// One partition's log, as one look at it has shown (`backend::kafka::log` says in which order).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogBounds {
    /// Seen after everything else: what lies before it is gone.
    pub start: i64,
    /// Last stable offset. Where nothing is found, everything before it is older than the time asked for.
    pub end: i64,
    /// Above `end` only where an open transaction holds the end back.
    pub high_watermark: i64,
    /// The first record at or after the time asked for: offset, time, leader epoch. At or after `end` only where an open transaction
    /// holds the end back.
    pub found: Option<(i64, i64, Option<i32>)>,
    /// Time of the newest record there was before that look-up, where it was asked for and is not gone.
    pub newest: Option<i64>,
    /// Records per second over the last minutes, times 1,000.
    pub rate_milli: i64,
    pub start_epoch: Option<i32>,
    pub end_epoch: Option<i32>,
}

impl LogBounds {
    /// What the look-up of the first record at or after `time` says that cannot be, in words.
    pub fn contradiction(&self, time: i64) -> Option<String> {
        let at = words::time_of;
        match (self.found, self.newest) {
            // Tiered storage has been seen to answer "none" where there is one: the newest record tells.
            (None, Some(newest)) if newest >= time => {
                Some(format!("has no record since {} by the look-up, yet its newest record is of {}", at(time), at(newest)))
            }
            (Some((offset, found, _)), _) if found < time => {
                Some(format!("by the look-up has its first record since {} at offset {offset}, yet that one is of {}", at(time), at(found)))
            }
            (Some((offset, ..)), _) if offset >= self.high_watermark.max(self.start) => {
                let end = self.high_watermark;
                Some(format!("by the look-up has its first record since {} at offset {offset}, yet its log ends at {end}", at(time)))
            }
            _ => None,
        }
    }

    /// The record found lies before the log: it was deleted since, or the look-up has missed its deletion.
    pub fn is_gone(&self) -> bool {
        self.found.is_some_and(|(offset, ..)| offset < self.start)
    }
}

/// How many offsets the group is behind in these logs, where it has committed any.
pub fn lag(log: &BTreeMap<TopicPartition, LogBounds>, committed: &Committed) -> i64 {
    let behind = |(at, log): (&TopicPartition, &LogBounds)| committed.get(at).map(|c| numbers::distance(c.offset.max(log.start), log.end));
    numbers::total(log.iter().filter_map(behind))
}

impl RecordView {
    /// The plan, where there is one.
    pub fn plan(&self) -> Option<Plan> {
        self.object.spec.plan.as_ref().map(Plan::of_record)
    }

    /// Whether a backup tool put it there: it was made more than a minute apart from its creation, by the API server's clock.
    pub fn is_restored(&self) -> bool {
        let ours = matches!(self.state, PlanState::OursUnsent { .. } | PlanState::OursSent { .. });
        !ours && self.clock_gap() > RESTORED
    }

    /// Whether this process would take its own record for a restored one: then nothing may be sent from it.
    pub fn is_skewed(&self) -> bool {
        self.clock_gap() > RESTORED
    }

    /// Seconds between the operator's and the API server's time of its creation.
    pub fn clock_gap(&self) -> i64 {
        let made = self.object.metadata.creation_timestamp.as_ref().map(|t| t.0.as_second());
        made.map_or(0, |made| (made - self.object.spec.created_at.as_second()).abs())
    }

    /// The run state before, where the operator stops the pipeline for this reset.
    pub fn pauses(&self) -> Option<&RunStateBefore> {
        self.object.spec.run_state_before.as_ref().filter(|before| before.running)
    }

    /// Whether the operator may have stopped the pipeline and has not brought it back (promise 10).
    pub fn needs_resume(&self) -> bool {
        // A restored record is no work: nothing is stopped or started for it.
        let due = |s: &OffsetResetRecordStatus| s.brought_back_at.is_none() && s.reason != Reason::Restored;
        self.pauses().is_some() && self.object.status.as_ref().is_none_or(due)
    }

    /// Whether nothing is left to do for it but to look.
    pub fn is_over(&self) -> bool {
        matches!(self.state, PlanState::Closed) && !self.needs_resume()
    }

    /// Whether it was given up along with the object that asked, before anything was sent: to a later object that asks for the same
    /// it says nothing. `uid`: of that one.
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

    /// The chunk that may be sent, counted from 1.
    pub fn chunk(&self) -> usize {
        self.object.spec.writer.as_ref().and_then(|w| usize::try_from(w.chunk).ok()).unwrap_or(1).max(1)
    }

    /// Nothing of this request was sent before what the record holds now.
    pub fn is_first_send(&self) -> bool {
        self.attempt() == 1 && self.chunk() == 1
    }
}

/// Whether a held request asks to be sent once more.
pub fn retry_asked(request: &Request, record: &RecordView) -> bool {
    let unknown = |reason| matches!(reason, Reason::OutcomeUnknown | Reason::AverageRateUnavailable);
    let held = |s: &OffsetResetRecordStatus| s.phase == RecordPhase::Held && unknown(s.reason);
    request.on_unknown_outcome == OnUnknownOutcome::Retry && record.attempt() == 1 && record.object.status.as_ref().is_some_and(held)
}
