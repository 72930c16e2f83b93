//! The answers by their schema: decoded, walked through field by field, and encoded again.

use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, ConsumerGroupDescribeResponse, DescribeGroupsResponse, FindCoordinatorResponse, ListGroupsResponse,
    ListOffsetsResponse, MetadataResponse, OffsetCommitResponse, OffsetFetchResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

/// A field of an answer.
pub enum Field<'a> {
    Group(&'a mut StrBytes),
    Topic(&'a mut StrBytes),
    Text(&'a mut StrBytes),
    Partition(&'a mut i32),
    Number(&'a mut i32),
    Offset(&'a mut i64),
    Code(&'a mut i16),
    Version(&'a mut i16),
    List(&'a mut dyn List),
}

/// A list of whatever.
pub trait List {
    fn len(&self) -> usize;
    fn clear(&mut self);
    fn remove_last(&mut self);
    fn repeat_last(&mut self);
    fn add_default(&mut self);
}

impl<T: Clone + Default> List for Vec<T> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn clear(&mut self) {
        Vec::clear(self);
    }

    fn remove_last(&mut self) {
        self.pop();
    }

    fn repeat_last(&mut self) {
        self.push(self.last().cloned().unwrap_or_default());
    }

    fn add_default(&mut self) {
        self.push(T::default());
    }
}

pub(super) type See<'a> = &'a mut dyn FnMut(Field<'_>);

pub(super) trait Walk {
    /// In the order in which they are sent, as far as they are there in this version.
    fn walk(&mut self, version: i16, see: See<'_>);
}

macro_rules! answers {
    ($($api:ident => $message:ty),* $(,)?) => {
        #[derive(Clone, Debug, PartialEq)]
        pub enum Answer { $($api($message)),* }

        impl Answer {
            /// None where it is of an API that nobody here knows, or is not of this version.
            pub fn decode(api: ApiKey, version: i16, mut body: &[u8]) -> Option<Self> {
                let found = match api {
                    $(ApiKey::$api => Self::$api(<$message>::decode(&mut body, version).ok()?),)*
                    _ => return None,
                };
                body.is_empty().then_some(found)
            }

            /// None where this version cannot say it.
            pub fn encode(&self, version: i16) -> Option<Vec<u8>> {
                let mut body = Vec::new();
                match self { $(Self::$api(message) => message.encode(&mut body, version).ok()?,)* }
                Some(body)
            }

            pub fn walk(&mut self, version: i16, see: See<'_>) {
                match self { $(Self::$api(message) => message.walk(version, see),)* }
            }
        }
    };
}

answers! {
    ApiVersions => ApiVersionsResponse,
    Metadata => MetadataResponse,
    FindCoordinator => FindCoordinatorResponse,
    ListOffsets => ListOffsetsResponse,
    OffsetCommit => OffsetCommitResponse,
    OffsetFetch => OffsetFetchResponse,
    DescribeGroups => DescribeGroupsResponse,
    ListGroups => ListGroupsResponse,
    ConsumerGroupDescribe => ConsumerGroupDescribeResponse,
}

impl Answer {
    /// Whether counts and lengths are of variable size.
    pub fn is_compact(&self, version: i16) -> bool {
        let since = match self {
            Self::ApiVersions(_) | Self::FindCoordinator(_) | Self::ListGroups(_) => 3,
            Self::Metadata(_) => 9,
            Self::ListOffsets(_) | Self::OffsetFetch(_) => 6,
            Self::OffsetCommit(_) => 8,
            Self::DescribeGroups(_) => 5,
            Self::ConsumerGroupDescribe(_) => 0,
        };
        version >= since
    }
}
