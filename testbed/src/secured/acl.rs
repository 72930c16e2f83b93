//! Access control lists, in the words of Kafka's.

use rdkafka::bindings::{
    rd_kafka_AclOperation_t as RdOperation, rd_kafka_ResourcePatternType_t as RdPattern, rd_kafka_ResourceType_t as RdResource,
};

/// One entry, for all hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// With its kind: `User:alice`.
    pub principal: String,
    pub operation: Operation,
    pub resource: Resource,
    /// Of the resource; of the cluster it is `kafka-cluster`, of all resources `*`.
    pub name: String,
    pub pattern: Pattern,
    /// Else it denies.
    pub allow: bool,
}

impl Acl {
    /// To a user, on the resource of exactly this name.
    pub fn allow(user: &str, operation: Operation, resource: Resource, name: &str) -> Self {
        let (principal, name) = (format!("User:{user}"), name.to_owned());
        Self { principal, operation, resource, name, pattern: Pattern::Literal, allow: true }
    }

    pub fn deny(user: &str, operation: Operation, resource: Resource, name: &str) -> Self {
        Self { allow: false, ..Self::allow(user, operation, resource, name) }
    }

    /// The same on all resources whose name begins with this one's.
    pub fn prefixed(self) -> Self {
        Self { pattern: Pattern::Prefixed, ..self }
    }
}

/// Makes an enum with the numbers of librdkafka, which are read as numbers: it may know more than the binding.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident, $rd:ty, $($variant:ident = $value:expr),+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($variant),+ }

        impl $name {
            pub(super) fn rd(self) -> $rd {
                match self { $(Self::$variant => $value),+ }
            }

            pub(super) fn of(number: i32) -> Option<Self> {
                [$(Self::$variant),+].into_iter().find(|v| v.rd() as i32 == number)
            }
        }
    };
}

named!(
    Operation,
    RdOperation,
    All = RdOperation::RD_KAFKA_ACL_OPERATION_ALL,
    Read = RdOperation::RD_KAFKA_ACL_OPERATION_READ,
    Write = RdOperation::RD_KAFKA_ACL_OPERATION_WRITE,
    Create = RdOperation::RD_KAFKA_ACL_OPERATION_CREATE,
    Delete = RdOperation::RD_KAFKA_ACL_OPERATION_DELETE,
    Alter = RdOperation::RD_KAFKA_ACL_OPERATION_ALTER,
    Describe = RdOperation::RD_KAFKA_ACL_OPERATION_DESCRIBE,
    DescribeConfigs = RdOperation::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS
);

named!(
    Resource,
    RdResource,
    Topic = RdResource::RD_KAFKA_RESOURCE_TOPIC,
    Group = RdResource::RD_KAFKA_RESOURCE_GROUP,
    Cluster = RdResource::RD_KAFKA_RESOURCE_BROKER,
    TransactionalId = RdResource::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID
);

named!(
    Pattern,
    RdPattern,
    Literal = RdPattern::RD_KAFKA_RESOURCE_PATTERN_LITERAL,
    Prefixed = RdPattern::RD_KAFKA_RESOURCE_PATTERN_PREFIXED
);
