//! What is asked, what was seen, what to do next and what to tell: data and pure functions. No client, no runtime and no clock: the
//! manifest of this crate names none.

mod activity;
mod backend;
mod backoff;
mod cause;
pub mod cost;
pub mod decide;
mod decision;
mod desired;
pub mod digest;
mod facts;
pub mod names;
pub mod numbers;
mod observation;
mod observed;
mod older_pipeline;
mod plan;
mod position;
mod prior_status;
pub mod prune;
mod read_back;
mod record;
mod recorded_plan;
mod request;
pub mod status;
pub mod target;
mod waiting;
pub mod words;

// The test fixtures are shared with the operator's tests, so they name this crate as another crate would.
#[cfg(test)]
extern crate self as stream_pipeline_core;
#[cfg(test)]
#[path = "../../../src/backend/enos/facts.rs"]
mod enos_facts;
#[cfg(test)]
#[path = "../../../src/backend/kafka/facts.rs"]
mod kafka_facts;

/// The same facts as the operator's own platforms give.
#[cfg(test)]
pub(crate) fn facts_of(backend: &Backend) -> PlatformFacts {
    match backend {
        Backend::Kafka(kafka) => kafka_facts::facts(!kafka.workloads.is_empty()),
        Backend::Enos(enos) => enos_facts::facts(enos.spec.start.is_some()),
    }
}

pub use activity::{Activity, Quiet, RunState};
pub use backend::{Backend, EnosPipeline, KafkaGroup};
pub use backoff::{after_failed_looks, after_failed_steps, backoff};
pub use cause::Cause;
pub use decision::{Decision, Kept, Report, RequestState, Step};
pub use desired::{Desired, Identity};
pub use facts::{InternalTopics, PauseLimit, PlatformFacts, ReadBackTime, Refusal, Refused};
pub use observation::{Observation, Outdated};
pub use observed::Observed;
pub use older_pipeline::{OlderPipeline, elsewhere};
pub use plan::{Aim, OffsetAndMetadata, PartitionPlan, Plan};
pub use position::{Change, Commit, Committed, Consumed, LogBounds, OtherGroup, Topic, Topics, lag};
pub use prior_status::PriorStatus;
pub use read_back::ReadBack;
pub use record::{PlanState, RecordView, RunStateCall, RunStateCalls, SendOutcome, SupersededRecord, is_over_in, retry_asked};
pub use request::{Request, Selection};
pub use target::Target;
pub use waiting::Waiting;

use jiff::Timestamp;
use std::time::{Duration, Instant};

/// A partition of a topic. Ordered by topic, then number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct TopicPartition {
    pub topic: String,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: &str, partition: i32) -> Self {
        Self { topic: topic.to_owned(), partition }
    }
}

/// As Kafka's tools write it: `topic-3`.
impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// The time of a pass: waits are measured on the monotonic clock, times people see on the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub mono: Instant,
    pub wall: Timestamp,
}

/// How many pipelines at rest are looked at in a second, at most: each look takes about four requests to a broker.
pub const LOOKS_A_SECOND: usize = 10;

/// The waits of the protocol and of the loop, and how much is sent at once. All are flags.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long after the plan was written ahead its writer may still send it.
    pub send_window: Duration,
    /// Most partitions in one request that moves them.
    pub chunk_size: usize,
    /// How long one call to a backend or to the API server may take.
    pub call_deadline: Duration,
    /// A message whose sender timed out or died that long ago is taken as lost.
    pub late_bound: Duration,
    /// How often a pipeline that waits is looked at.
    pub recheck_waiting: Duration,
    /// How often a pipeline at rest is looked at.
    pub recheck_idle: Duration,
    /// Longest delay between two tries while a backend cannot be reached.
    pub max_backoff: Duration,
    /// How old a list of a platform's pipelines may be for a pipeline at rest.
    pub list_interval: Duration,
    /// How long the operator keeps a pipeline paused before it warns that the platform's limit comes near.
    pub pause_warning: Duration,
    /// How long a stop that was accepted may take to show.
    pub slow_stop: Duration,
    /// How long a deleted object waits for its pipeline to be brought back.
    pub finalizer_deadline: Duration,
}

impl Timing {
    /// The same waits, where there are so many objects. A platform that lists all its pipelines is asked for that list; elsewhere each
    /// pipeline at rest is looked at by itself, so many a second in all, however many there are.
    #[must_use]
    pub fn among(self, facts: PlatformFacts, objects: usize) -> Self {
        let in_turn = Duration::from_secs(u64::try_from(objects.div_ceil(LOOKS_A_SECOND)).unwrap_or(u64::MAX));
        let recheck_idle = if facts.quiet { self.recheck_idle.max(in_turn) } else { self.list_interval };
        Self { recheck_idle, ..self }
    }

    /// How long until a call to start or stop a pipeline, made now, has certainly landed or is lost.
    pub fn landed(&self) -> Duration {
        2 * self.call_deadline + self.late_bound
    }

    /// How long a plan in doubt is left alone before it is judged (protocol.md: window, twice the deadline, late bound).
    pub fn doubt(&self) -> Duration {
        self.send_window + 2 * self.call_deadline + self.late_bound
    }
}
