//! What goes into a call and comes out of it: plain data in Kafka's own terms.

use serde::{Deserialize, Serialize};

use crate::backend::kafka::codes::KafkaCode;
pub use stream_pipeline_core::TopicPartition;

/// An answer for each partition that was asked about.
pub type PerPartition<T> = Vec<(TopicPartition, Result<T, KafkaCode>)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OffsetSpec {
    Earliest,
    Latest,
    /// The first record at or after this time, in milliseconds since 1970; never negative.
    Timestamp(i64),
    MaxTimestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IsolationLevel {
    ReadUncommitted,
    ReadCommitted,
}

/// The answer to one [`OffsetSpec`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedOffset {
    /// -1: no such record. It is an answer, not a failure.
    pub offset: i64,
    /// Of the record found, in milliseconds; -1 where the broker gives none (`Earliest`, `Latest`, nothing found).
    pub timestamp: i64,
    pub leader_epoch: Option<i32>,
}

/// What a group has committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedOffset {
    /// Absent: nothing is committed (or `error` says why it is unknown).
    pub offset: Option<i64>,
    pub leader_epoch: Option<i32>,
    pub metadata: String,
    /// For example 88, `UNSTABLE_OFFSET_COMMIT`: an open transaction holds an offset.
    pub error: Option<KafkaCode>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetCommit {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub leader_epoch: Option<i32>,
    /// An empty string reads back like an absent one.
    pub metadata: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupState {
    /// Also the states that librdkafka does not know yet: `Assigning`, `Reconciling`, `NotReady`.
    Unknown,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
    /// No such consumer group (see [`GroupIdentity`]).
    Dead,
    Empty,
    Other(i32),
}

impl From<i32> for GroupState {
    fn from(raw: i32) -> Self {
        match raw {
            0 => Self::Unknown,
            1 => Self::PreparingRebalance,
            2 => Self::CompletingRebalance,
            3 => Self::Stable,
            4 => Self::Dead,
            5 => Self::Empty,
            other => Self::Other(other),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMember {
    pub client_id: String,
    pub host: String,
    /// `group.instance.id`: it stays in the group for its session after its process has ended.
    pub instance_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDescription {
    pub state: GroupState,
    pub members: Vec<GroupMember>,
    /// What the principal may do; absent where the broker does not say.
    pub rights: Option<Rights>,
}

/// Rights on a group or topic (KIP-430). Committing takes Read, deleting a commit takes Delete on the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    pub read: bool,
    pub delete: bool,
}

/// What a group's name stands for. librdkafka describes a share or a streams group exactly like a group that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupIdentity {
    /// A consumer group, classic or KIP-848, or one that only holds offsets.
    Consumer(GroupDescription),
    /// Nothing of this name (that the principal may see).
    Absent(GroupDescription),
    /// Something else holds the name, in words: a share or streams group, or a classic group of another protocol (Kafka Connect).
    NotConsumer(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicDescription {
    pub name: String,
    /// Kafka's own spelling: 22 characters of URL-safe base64.
    pub topic_id: String,
    pub partitions: Vec<PartitionInfo>,
    /// For example 3, `UNKNOWN_TOPIC_OR_PARTITION`.
    pub error: Option<KafkaCode>,
    /// As in [`GroupDescription`].
    pub rights: Option<Rights>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionInfo {
    pub partition: i32,
    /// Absent: no leader just now.
    pub leader: Option<i32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterDescription {
    pub cluster_id: String,
}
