//! Kafka's error codes: what each means for a call (for a commit: `facts`), and how it is named. Codes are raw numbers, because brokers
//! know more of them than librdkafka does.

use std::fmt;

use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use serde::{Deserialize, Serialize};

use super::facts;

/// The raw number of an error: positive from a broker, negative from librdkafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KafkaCode(pub i32);

impl KafkaCode {
    /// What was held back, since something before it was refused or took too long.
    pub const NOT_SENT: Self = Self(facts::NOT_SENT);
    pub const INVALID_ARGUMENT: Self = Self(-186);
    pub const TIMED_OUT: Self = Self(-185);
    pub const ALL_BROKERS_DOWN: Self = Self(-187);
    /// The broker does not know the call.
    pub const UNSUPPORTED_FEATURE: Self = Self(-165);
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
        // A coordinator also answers 7, 14, 15, 16, 19 and 20 when it did not see its append fully replicated.
        (self.0 < 0 && !matches!(self, Self::INVALID_ARGUMENT | Self::UNSUPPORTED_FEATURE | Self::NOT_SENT))
            || matches!(self.0, 7 | 13 | 14 | 15 | 16 | 19 | 20)
    }

    /// The client asks a broker that does not coordinate the group, and would go on doing so: it has to be retired.
    pub fn coordinator_moved(self) -> bool {
        matches!(self, Self::COORDINATOR_NOT_AVAILABLE | Self::NOT_COORDINATOR)
    }

    /// The principal lacks a permission: topic, group, cluster, transactional id, delegation token.
    pub fn is_authorization(self) -> bool {
        matches!(self.0, 29 | 30 | 31 | 53 | 65)
    }

    /// The connection was refused because of our credentials or the broker's certificate: authentication, TLS.
    pub fn is_refusal(self) -> bool {
        matches!(self.0, -169 | -181 | 33 | 34 | 58)
    }

    /// There was no answer from a broker: connection, name look-up, time-out.
    pub fn is_transport(self) -> bool {
        matches!(self.0, -195 | -193 | -187 | -185 | -197 | 13)
    }
}

/// Displayed with librdkafka's name and text for it.
impl fmt::Display for KafkaCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.0;
        let Ok(known) = RDKafkaRespErr::try_from(code) else { return write!(f, "{code} (ERR_{code}?: Err-{code}?)") };
        // "RD_KAFKA_RESP_ERR_NAME" and "Name (text)".
        let (name, text) = (format!("{known:?}"), RDKafkaErrorCode::from(known).to_string());
        let name = name.trim_start_matches("RD_KAFKA_RESP_ERR_");
        let text = text.split_once(" (").map_or(text.as_str(), |(_, text)| text.trim_end_matches(')'));
        write!(f, "{code} ({name}: {text})")
    }
}
