//! What was seen in one pass. A failed read is a value here, never an early return: the status stays true.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Plan, Request, TopicPartition};
use crate::api::{OffsetResetRecord, OffsetResetRecordStatus, OnUnknownOutcome, Reason, RecordPhase};

/// Why something could not be read, done or accepted: the reason of the condition and what a person needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub reason: Reason,
    pub message: String,
    /// The backend's own error code.
    pub backend_code: Option<i32>,
}

impl Cause {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), backend_code: None }
    }
}

/// The result of one read.
#[derive(Clone, Debug, Default)]
pub enum Reading<T> {
    /// Not needed in this pass.
    #[default]
    Unread,
    Read(T),
    Unreadable(Cause),
}

impl<T> Reading<T> {
    pub fn get(&self) -> Option<&T> {
        match self {
            Reading::Read(value) => Some(value),
            _ => None,
        }
    }

    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Reading::Unreadable(cause) => Some(cause),
            _ => None,
        }
    }
}

impl<T> From<Result<T, Cause>> for Reading<T> {
    fn from(result: Result<T, Cause>) -> Self {
        match result {
            Ok(value) => Reading::Read(value),
            Err(cause) => Reading::Unreadable(cause),
        }
    }
}

/// Seconds between the times of a record, above which it was restored.
const RESTORED: i64 = 60;

/// Everything one pass looked at.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    pub cluster_id: Reading<String>,
    pub group: Reading<Group>,
    pub committed: Reading<Committed>,
    /// How long group and offsets have looked the same.
    pub quiet: Quiet,
    pub topics: Reading<Topics>,
    pub log: Reading<BTreeMap<TopicPartition, Log>>,
    /// The record of the current request.
    pub record: Reading<Option<RecordLook>>,
    /// An open record of this pipeline that is not of its current request: dealt with first.
    pub leftover: Option<Leftover>,
    /// Names of other records of this group that are not closed (live list).
    pub rivals: Reading<Vec<String>>,
    /// Live: the StreamPipeline is the same object, not deleted, and asks for the same id.
    pub wanted: Reading<bool>,
    /// The process was asked to end: nothing new is started.
    pub draining: bool,
}

/// An open record that nobody asks for any more.
#[derive(Clone, Debug)]
pub struct Leftover {
    pub look: RecordLook,
    pub committed: Reading<Committed>,
}

/// A record, and what this process knows of its plan.
#[derive(Clone, Debug)]
pub struct RecordLook {
    pub object: OffsetResetRecord,
    pub state: PlanState,
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
        answer: Answer,
    },
    /// In doubt and not ours. `since`: when this process first saw this very plan.
    InDoubt {
        since: Instant,
    },
    Closed,
}

/// What the backend said to what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A definite answer for every partition; those refused, with the backend's code.
    Definite { refused: BTreeMap<TopicPartition, i32> },
    /// No answer, or one that does not tell. `ended`: nothing more can leave this process since then.
    None { ended: Instant, cause: Cause },
}

/// A consumer group as described by its coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub state: GroupState,
    pub members: Vec<Member>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupState {
    Empty,
    /// No such group, as far as members go; it may have committed offsets.
    Dead,
    /// Anything that is not positively Empty or Dead, by the name Kafka gives it.
    Active(String),
    /// Not a consumer group: a share or a streams group.
    NotSupported(String),
}

impl Group {
    pub fn is_inactive(&self) -> bool {
        matches!(self.state, GroupState::Empty | GroupState::Dead) && self.members.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub client_id: String,
    pub host: String,
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

/// One partition's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    pub start: i64,
    /// Last stable offset.
    pub end: i64,
    pub high_watermark: i64,
    /// The first record at or after the time asked for: offset, time, leader epoch.
    pub found: Option<(i64, i64, Option<i32>)>,
    /// Time of the newest record, where it was asked for.
    pub newest: Option<i64>,
    /// Records per second over the last minutes, times 1,000.
    pub rate_milli: i64,
    pub start_epoch: Option<i32>,
    pub end_epoch: Option<i32>,
}

impl RecordLook {
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

    pub fn attempt(&self) -> i32 {
        self.object.spec.writer.as_ref().map_or(0, |w| w.attempt)
    }
}

/// Whether a held request asks to be sent once more.
pub fn retry_asked(request: &Request, record: &RecordLook) -> bool {
    let held = |s: &OffsetResetRecordStatus| s.phase == RecordPhase::Held && s.reason == Reason::OutcomeUnknown;
    request.on_unknown_outcome == OnUnknownOutcome::Retry && record.attempt() == 1 && record.object.status.as_ref().is_some_and(held)
}
