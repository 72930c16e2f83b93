//! What goes into and comes out of an [`AdminClient`](crate::backend::kafka::client::AdminClient)'s calls: plain data in Kafka's own terms,
//! and the error of a call. No `unsafe`, no I/O. Error codes are raw numbers here, because brokers know more of them than librdkafka does.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::backend::kafka::librdkafka::describe_code;
pub use crate::domain::TopicPartition;

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
    /// Also what librdkafka makes of states younger than itself: `Assigning`, `Reconciling`, `NotReady`.
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
    /// Whether the principal has the right to Read, which committing takes; absent where the broker does not say.
    pub may_read: Option<bool>,
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
    pub may_read: Option<bool>,
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

/// The raw number of an error: positive from a broker, negative from librdkafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KafkaCode(pub i32);

impl KafkaCode {
    pub const INVALID_ARGUMENT: Self = Self(-186);
    pub const TIMED_OUT: Self = Self(-185);
    pub const ALL_BROKERS_DOWN: Self = Self(-187);
    pub const AUTHENTICATION: Self = Self(-169);
    pub const SSL: Self = Self(-181);
    pub const TRANSPORT: Self = Self(-195);
    pub const UNKNOWN: Self = Self(-1);
    pub const UNKNOWN_TOPIC_OR_PARTITION: Self = Self(3);
    pub const COORDINATOR_NOT_AVAILABLE: Self = Self(15);
    pub const NOT_COORDINATOR: Self = Self(16);
    pub const UNSTABLE_OFFSET_COMMIT: Self = Self(88);

    /// For one partition of an alter: may the offset be, or still become, committed in spite of this code? When in doubt, yes.
    pub fn may_have_been_applied(self) -> bool {
        // 7, 14, 15, 16, 19 and 20 are also what a coordinator makes of an append whose replication it did not see finish.
        (self.0 < 0 && self != Self::INVALID_ARGUMENT) || matches!(self.0, 7 | 13 | 14 | 15 | 16 | 19 | 20)
    }

    /// The client asks a broker that does not coordinate the group, and would go on doing so: it is retired.
    pub fn coordinator_moved(self) -> bool {
        matches!(self, Self::COORDINATOR_NOT_AVAILABLE | Self::NOT_COORDINATOR)
    }

    /// The principal lacks a permission: topic, group, cluster, transactional id, delegation token.
    pub fn is_authorization(self) -> bool {
        matches!(self.0, 29 | 30 | 31 | 53 | 65)
    }

    /// The connection was refused for who we are, or for who they are: authentication, TLS.
    pub fn is_refusal(self) -> bool {
        matches!(self.0, -169 | -181 | 33 | 34 | 58)
    }

    /// No answer from a broker: connection, name look-up, time-out.
    pub fn is_transport(self) -> bool {
        matches!(self.0, -195 | -193 | -187 | -185 | -197 | 13)
    }
}

impl fmt::Display for KafkaCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, text) = describe_code(self.0);
        write!(f, "{} ({name}: {text})", self.0)
    }
}

/// The last complaint of librdkafka about a connection, with the broker's name as it advertises itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerError {
    pub code: KafkaCode,
    pub text: String,
}

impl BrokerError {
    /// The connection was refused for good. A TLS alert says so too, and our own gate; librdkafka passes both on as a lost connection.
    pub fn is_refusal(&self) -> bool {
        self.code.is_refusal() || self.text.contains("tls alert ") || self.text.contains("Permission denied")
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum AdminError {
    /// No answer in time. The client is retired; once `AdminClient::destroyed()` resolves nothing more can leave this machine's processes.
    #[error("{call} had no answer within {after:?}{}", .broker.as_ref().map(|b| format!("; {b}")).unwrap_or_default())]
    DeadlineExceeded {
        #[serde(with = "call_name")]
        call: CallName,
        after: Duration,
        /// False: the deadline had passed before the call was handed to librdkafka.
        handed_over: bool,
        /// Why, as far as librdkafka said; it may be older than the call.
        broker: Option<BrokerError>,
    },
    /// Refused, because the client takes no new calls. Nothing was sent; take another client.
    #[error("the connection was given up after a call without an answer")]
    Retired,
    /// Not tried: clients like this one were refused a moment ago. Nothing was sent.
    #[error("refused before: {0}")]
    Refused(BrokerError),
    /// The client's process ended before it gave an answer. What happened to the call is unknown.
    #[error("the process of the Kafka client ended ({how}) before {call} had an answer")]
    ClientGone {
        #[serde(with = "call_name")]
        call: CallName,
        how: String,
    },
    /// All processes that there may be are in use. Nothing was sent.
    #[error("all {most} Kafka clients that the operator may have at once were in use; nothing was sent, and it is tried again")]
    NoPlace { most: usize },
    /// The system gives no process or no thread for it. Nothing was sent.
    #[error("the system gives no process or thread for its Kafka client ({0}); nothing was sent, and it is tried again")]
    NoProcess(String),
    /// An answer with more rows than are taken ([`MAX_ANSWER`](crate::backend::kafka::process::wire::MAX_ANSWER)). An alter that it answers was sent.
    #[error("{call}: an answer of {rows} rows, more than are taken")]
    TooLarge {
        #[serde(with = "call_name")]
        call: CallName,
        rows: usize,
    },
    /// An error code for the whole call.
    #[error("{call}: {code}{}", if .detail.is_empty() { String::new() } else { format!("; {}", .detail) })]
    Kafka {
        #[serde(with = "call_name")]
        call: CallName,
        code: KafkaCode,
        detail: String,
    },
    /// Arguments that librdkafka cannot be given. Nothing was sent.
    #[error("{call}: {reason}")]
    Argument {
        #[serde(with = "call_name")]
        call: CallName,
        reason: String,
    },
    /// The client could not be made.
    #[error("Kafka client: {0}")]
    Config(String),
}

/// As Kafka's admin API names it. (serde would take a plain reference for one that is borrowed from its input.)
pub type CallName = &'static str;

/// A call's name travels as text.
mod call_name {
    use serde::{Deserialize, Deserializer, Serializer};

    const NAMES: [&str; 9] = [
        "configuration",
        "OAUTHBEARER token",
        "DescribeCluster",
        "DescribeTopics",
        "DescribeConsumerGroups",
        "ListGroups",
        "ListConsumerGroupOffsets",
        "ListOffsets",
        "AlterConsumerGroupOffsets",
    ];

    pub fn serialize<S: Serializer>(name: &&'static str, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
        let name = String::deserialize(from)?;
        Ok(NAMES.iter().find(|known| **known == name).copied().unwrap_or("a call"))
    }
}

/// Why a client was given up: no broker ever answered it, or its process ended.
#[derive(Debug, Clone)]
pub struct Failure {
    pub at: Instant,
    pub why: AdminError,
}

impl AdminError {
    pub fn code(&self) -> Option<KafkaCode> {
        match self {
            Self::Kafka { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// True only where no request of this call can have left the process.
    fn nothing_sent(&self) -> bool {
        match self {
            Self::Retired | Self::Refused(_) | Self::NoPlace { .. } | Self::NoProcess(_) | Self::Argument { .. } | Self::Config(_) => true,
            Self::DeadlineExceeded { handed_over, .. } => !handed_over,
            Self::Kafka { code, .. } => *code == KafkaCode::INVALID_ARGUMENT,
            Self::ClientGone { .. } | Self::TooLarge { .. } => false,
        }
    }

    /// For an alter: may some or all of it be, or still become, applied in spite of this error? When in doubt, yes.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Kafka { code, .. } => code.may_have_been_applied(),
            other => !other.nothing_sent(),
        }
    }

    /// No broker answered, as opposed to one that answered no.
    pub fn is_transport(&self) -> bool {
        match self {
            Self::Kafka { code, .. } => code.is_transport(),
            Self::DeadlineExceeded { .. } | Self::ClientGone { .. } | Self::Refused(_) | Self::Retired => true,
            Self::NoPlace { .. } | Self::NoProcess(_) | Self::TooLarge { .. } | Self::Argument { .. } | Self::Config(_) => false,
        }
    }

    /// What librdkafka last said about a connection, where the error carries it.
    pub fn broker_error(&self) -> Option<&BrokerError> {
        match self {
            Self::DeadlineExceeded { broker, .. } => broker.as_ref(),
            Self::Refused(broker) => Some(broker),
            _ => None,
        }
    }
}
