//! What holds of a platform. The stages read this, never the platform's name; each platform gives its own.

use std::fmt;
use std::time::Duration;

use super::TopicPartition;
use stream_pipeline_api::Reason;

/// See the module's own comment.
#[derive(Clone, Copy)]
pub struct PlatformFacts {
    /// When a new position can be read back.
    pub read_back: ReadBackTime,
    /// The operator can stop this pipeline and bring it back.
    pub run_state: bool,
    /// A consumer may be active without being seen, so a quiet period is watched.
    pub quiet: bool,
    /// How long a pipeline may be kept paused, where the platform has a limit.
    pub pause_limit: Option<PauseLimit>,
    /// Where a person looks when the operator cannot know the outcome, as a sentence; `{}` stands for the group or pipeline.
    pub look: &'static str,
    /// The reason that is given for an inactive pipeline.
    pub inactive: Reason,
    /// The call that is made, on a platform that chooses the target itself.
    pub call: Option<&'static str>,
    /// The platform that [`Reason::code`] belongs to, where it is not this one.
    pub code_of: Option<&'static str>,
    /// If a running pipeline shows no position for this long, the comparison is given up.
    pub no_sample: Duration,
    /// Most partitions in one request, by the bytes of the group's name and of the longest topic's.
    pub max_rows: fn(group: usize, topic: usize) -> usize,
    /// Topics that the pipeline itself writes and reads, and that must not be moved alone.
    pub internal_topics: InternalTopics,
    /// What it means that a partition was refused with this code.
    pub refusal: fn(&Refused) -> Refusal,
}

/// How long a pipeline may be kept paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PauseLimit {
    pub limit: Duration,
    /// "the 24 h the platform documents".
    pub said: &'static str,
    /// What may have happened after it.
    pub after: &'static str,
}

/// Topics that belong to a pipeline.
#[derive(Clone, Copy)]
pub struct InternalTopics {
    pub is: fn(group: &str, topic: &str) -> bool,
    /// "a Kafka Streams group".
    pub of: &'static str,
}

/// A partition that was refused.
pub struct Refused<'a> {
    pub at: &'a TopicPartition,
    /// What was refused is the deletion of a commit.
    pub deletion: bool,
    pub group: &'a str,
    /// The user that the platform takes the operator for, where it is known.
    pub principal: Option<&'a str>,
    pub code: i32,
}

/// What a refusal means.
pub struct Refusal {
    pub reason: Reason,
    /// What the code means, in a few words.
    pub meaning: &'static str,
    /// What to do, where something is to be done.
    pub remedy: Option<String>,
}

/// When a new position can be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBackTime {
    WhileInactive,
    /// Only once the pipeline runs again.
    AfterStart,
}

impl fmt::Debug for PlatformFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("PlatformFacts");
        shown.field("read_back", &self.read_back).field("run_state", &self.run_state).field("call", &self.call).finish_non_exhaustive()
    }
}
