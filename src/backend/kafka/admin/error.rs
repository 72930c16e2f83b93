//! How a call failed, what is certain about its effect, and what was last said of the connection.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::backend::kafka::codes::KafkaCode;

/// librdkafka's last complaint about a connection, with the name that the broker advertises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerError {
    pub code: KafkaCode,
    pub text: String,
}

impl BrokerError {
    /// Whether it was refused for good. TLS alerts and our endpoint policy count too; librdkafka calls both a lost connection.
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
    /// No answer in time. The client is retired; once `AdminClient::process_ended()` resolves, nothing of the call can be sent any more.
    #[error("{call} had no answer within {after:?}{}", .broker.as_ref().map(|b| format!("; {b}")).unwrap_or_default())]
    DeadlineExceeded {
        #[serde(with = "call_name")]
        call: CallName,
        after: Duration,
        /// False: the deadline had passed before the call was handed to librdkafka.
        handed_over: bool,
        /// librdkafka's reason, as far as it gave one; it may be older than the call.
        broker: Option<BrokerError>,
    },
    /// Refused, because the client takes no new calls. Nothing was sent; take another client.
    #[error("the connection was given up after a call without an answer")]
    Retired,
    /// Not tried, because clients with the same settings were refused a moment ago. Nothing was sent.
    #[error("refused before: {0}")]
    Refused(BrokerError),
    /// The client's process ended before it gave an answer. What happened to the call is unknown.
    #[error("the process of the Kafka client ended ({how}) before {call} had an answer")]
    ClientGone {
        #[serde(with = "call_name")]
        call: CallName,
        how: String,
    },
    /// All processes that are allowed are in use. Nothing was sent.
    #[error("all {most} Kafka clients that the operator may have at once were in use; nothing was sent, and it is tried again")]
    TooManyProcesses { most: usize },
    /// The system has no process or thread left for it. Nothing was sent.
    #[error("the system gives no process or thread for its Kafka client ({0}); nothing was sent, and it is tried again")]
    NoProcess(String),
    /// An answer with too many rows ([`MAX_ANSWER`](crate::backend::kafka::process::wire::MAX_ANSWER)). An answered alter was sent.
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
    /// Arguments that cannot be passed to librdkafka. Nothing was sent.
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

/// The call's name in Kafka's admin API. (serde would take a plain reference as borrowed from its input.)
pub type CallName = &'static str;

/// Serializes a call's name as text.
mod call_name {
    use serde::{Deserialize, Deserializer, Serializer};

    const NAMES: [&str; 10] = [
        "configuration",
        "OAUTHBEARER token",
        "DescribeCluster",
        "DescribeTopics",
        "DescribeConsumerGroups",
        "ListGroups",
        "ListConsumerGroupOffsets",
        "ListOffsets",
        "AlterConsumerGroupOffsets",
        "DeleteConsumerGroupOffsets",
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
            Self::Retired
            | Self::Refused(_)
            | Self::TooManyProcesses { .. }
            | Self::NoProcess(_)
            | Self::Argument { .. }
            | Self::Config(_) => true,
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
            Self::TooManyProcesses { .. } | Self::NoProcess(_) | Self::TooLarge { .. } | Self::Argument { .. } | Self::Config(_) => false,
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
