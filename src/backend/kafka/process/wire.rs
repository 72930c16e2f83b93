//! What the operator and the process of a Kafka client say to each other: frames, each a length (u32, big endian) and a message in
//! postcard. Both ends are the same binary, so the format has no versions.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::backend::kafka::admin::*;
use stream_pipeline_api::MAX_ROWS;

/// In bytes; librdkafka takes no larger message from a broker either. A larger message is not sent.
pub const MAX_FRAME: usize = 16 << 20;

/// The most rows of one answer. A plan has at most [`MAX_ROWS`], but its group may have commits for more partitions than are selected.
pub const MAX_ANSWER: usize = MAX_ROWS * 5 / 2;

/// The most addresses that are taken for one name.
pub const MAX_ADDRESSES: usize = 64;

/// From the operator. Never shown, because it holds credentials.
#[derive(Serialize, Deserialize)]
pub enum ToProcess {
    /// The first message: librdkafka's configuration.
    Open {
        settings: Vec<(String, String)>,
    },
    Call {
        id: u64,
        call: AdminCall,
    },
    /// The addresses of a name; None: it has none.
    Addresses {
        id: u64,
        found: Option<Vec<SocketAddr>>,
    },
    MayConnect {
        id: u64,
        allowed: bool,
    },
    /// `expires`: ms since 1970.
    Token {
        value: String,
        expires: i64,
        principal: String,
    },
    NoToken(String),
    /// For tests: see [`FromProcess::Could`].
    #[cfg(debug_assertions)]
    Try,
}

/// One request to the brokers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum AdminCall {
    DescribeCluster,
    DescribeTopics(Vec<String>),
    DescribeConsumerGroup(String),
    /// Whether any broker lists a group of this name; the duration is how long the call may take.
    ListGroups(String, Duration),
    ListConsumerGroupOffsets {
        group: String,
        partitions: Option<Vec<TopicPartition>>,
        require_stable: bool,
    },
    ListOffsets(Vec<(TopicPartition, OffsetSpec)>, IsolationLevel),
    AlterConsumerGroupOffsets(String, Vec<OffsetCommit>),
    DeleteConsumerGroupOffsets(String, Vec<TopicPartition>),
}

impl AdminCall {
    /// The call's name in Kafka's admin API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DescribeCluster => "DescribeCluster",
            Self::DescribeTopics(_) => "DescribeTopics",
            Self::DescribeConsumerGroup(_) => "DescribeConsumerGroups",
            Self::ListGroups(..) => "ListGroups",
            Self::ListConsumerGroupOffsets { .. } => "ListConsumerGroupOffsets",
            Self::ListOffsets(..) => "ListOffsets",
            Self::AlterConsumerGroupOffsets(..) => "AlterConsumerGroupOffsets",
            Self::DeleteConsumerGroupOffsets(..) => "DeleteConsumerGroupOffsets",
        }
    }
}

/// From the process. A broker may have taken it over, so nothing here is trusted.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromProcess {
    /// Whether the client could be made; and in words, which restrictions this machine could not put on the process.
    Opened {
        made: Result<(), AdminError>,
        open_doors: Vec<String>,
    },
    /// `coordinator_moved`: the client asks the wrong broker, and would go on doing so.
    Answer {
        id: u64,
        answer: Result<AdminAnswer, AdminError>,
        coordinator_moved: bool,
    },
    /// A complaint about a connection.
    Complaint(BrokerError),
    /// The client authenticates by OAUTHBEARER and needs a token.
    WantsToken,
    Resolve {
        id: u64,
        host: String,
        port: u16,
    },
    MayConnect {
        id: u64,
        host: String,
        address: SocketAddr,
    },
    /// For tests: which forbidden things the process could still do.
    #[cfg(debug_assertions)]
    Could(Vec<String>),
    /// This broker (host:port) has said that it throttles this client.
    Throttled(String),
}

/// What the brokers answered.
#[derive(Debug, Serialize, Deserialize)]
pub enum AdminAnswer {
    Cluster(ClusterDescription),
    Topics(#[serde(deserialize_with = "bounded")] Vec<TopicDescription>),
    Group(GroupDescription),
    Listed(bool),
    Committed(#[serde(deserialize_with = "bounded")] Vec<(TopicPartition, CommittedOffset)>),
    Offsets(#[serde(deserialize_with = "bounded")] PerPartition<ListedOffset>),
    Altered(#[serde(deserialize_with = "bounded")] PerPartition<()>),
}

impl AdminAnswer {
    /// How many rows count towards [`MAX_ANSWER`].
    pub fn rows(&self) -> usize {
        match self {
            Self::Cluster(_) | Self::Listed(_) => 1,
            Self::Group(group) => group.members.len(),
            Self::Topics(topics) => topics.iter().map(|topic| topic.partitions.len()).sum::<usize>().max(topics.len()),
            Self::Committed(rows) => rows.len(),
            Self::Offsets(rows) => rows.len(),
            Self::Altered(rows) => rows.len(),
        }
    }
}

/// A list of at most [`MAX_ANSWER`] rows. Further rows are not read: small rows take many times their size once decoded.
fn bounded<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    struct Rows<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Rows<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "at most {MAX_ANSWER} rows")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut rows: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(row) = rows.next_element()? {
                if all.len() == MAX_ANSWER {
                    return Err(serde::de::Error::invalid_length(MAX_ANSWER + 1, &self));
                }
                all.push(row);
            }
            Ok(all)
        }
    }
    from.deserialize_seq(Rows(std::marker::PhantomData))
}

/// The bytes of a message, without the length.
///
/// # Errors
/// It is larger than [`MAX_FRAME`].
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let bytes = postcard::to_stdvec(message).map_err(io::Error::other)?;
    if bytes.len() > MAX_FRAME { Err(too_large(bytes.len())) } else { Ok(bytes) }
}

/// # Errors
/// The bytes are not such a message.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(|e| io::Error::new(ErrorKind::InvalidData, e))
}

/// Writes one frame.
///
/// # Errors
/// As [`encode`]; or the other end is gone.
pub fn write<T: Serialize>(to: &mut impl Write, message: &T) -> io::Result<()> {
    let bytes = encode(message)?;
    let length = u32::try_from(bytes.len()).map_err(|_| too_large(bytes.len()))?;
    to.write_all(&length.to_be_bytes())?;
    to.write_all(&bytes)
}

/// Reads one frame.
///
/// # Errors
/// The other end is gone, or sent something else.
pub fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(too_large(length));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    decode(&bytes)
}

fn too_large(length: usize) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("a message of {length} bytes; at most {MAX_FRAME} are taken"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let answer = |answer| FromProcess::Answer { id: 7, answer, coordinator_moved: true };
        let at = TopicPartition::new("größe", 3);
        let listed = ListedOffset { offset: i64::MAX, timestamp: -1, leader_epoch: None };
        let late = AdminError::ClientGone { call: "ListOffsets", how: "signal 6".to_owned() };
        for message in [
            answer(Ok(AdminAnswer::Offsets(vec![(at.clone(), Ok(listed)), (at, Err(KafkaCode(3)))]))),
            answer(Err(late)),
            FromProcess::Complaint(BrokerError { code: KafkaCode::SSL, text: "x".repeat(1000) }),
        ] {
            let mut bytes = Vec::new();
            write(&mut bytes, &message).unwrap();
            let back: FromProcess = read(&mut bytes.as_slice()).unwrap();
            assert_eq!(format!("{back:?}"), format!("{message:?}"));
        }
    }

    #[test]
    fn an_answer_has_so_many_rows_at_most() {
        let rows = |count: usize| vec![(TopicPartition::new("", 0), Ok(())); count];
        let message =
            |count| encode(&FromProcess::Answer { id: 1, answer: Ok(AdminAnswer::Altered(rows(count))), coordinator_moved: false });
        assert!(decode::<FromProcess>(&message(MAX_ANSWER).unwrap()).is_ok());
        assert!(decode::<FromProcess>(&message(MAX_ANSWER + 1).unwrap()).is_err());
        let long = vec![(TopicPartition::new(&"t".repeat(249), 0), Ok(())); MAX_ROWS];
        let whole = FromProcess::Answer { id: 1, answer: Ok(AdminAnswer::Altered(long)), coordinator_moved: false };
        assert!(encode(&whole).is_ok_and(|bytes| bytes.len() < MAX_FRAME), "what a record holds fits, with the longest names");
    }

    #[test]
    fn what_is_too_large_or_broken_is_an_error() {
        let mut huge = u32::MAX.to_be_bytes().to_vec();
        huge.extend([0; 16]);
        assert!(read::<FromProcess>(&mut huge.as_slice()).is_err());
        assert!(read::<FromProcess>(&mut [0, 0, 0, 9, 1].as_slice()).is_err(), "cut short");
        // A list that claims to have 2^60 rows must not reserve memory for them.
        for noise in [vec![1, 1, 0, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f], vec![0xff; 64]] {
            assert!(decode::<FromProcess>(&noise).is_err());
        }
    }
}
