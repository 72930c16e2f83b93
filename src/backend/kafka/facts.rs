//! What holds of Kafka, whatever the cluster.

use std::time::Duration;

use stream_pipeline_api::Reason;
use stream_pipeline_core::{InternalTopics, PlatformFacts, ReadBackTime, Refusal, Refused, words};

/// librdkafka's "purged in queue": for what was held back, since something before it was refused or took too long.
pub(super) const NOT_SENT: i32 = -152;

/// Above this size a group's commit does not fit into one batch of the broker (about 1 MiB), names included.
const BATCH: usize = 1_000_000;
/// Bytes of one partition in that batch, apart from the names of group and topic (measured: 70 with short names).
const BATCH_ROW: usize = 72;

/// `run_state`: the spec says what runs the consumers, so the operator can stop it.
pub fn facts(run_state: bool) -> PlatformFacts {
    PlatformFacts {
        read_back: ReadBackTime::WhileInactive,
        run_state,
        quiet: true,
        pause_limit: None,
        look: "Look at the group (kafka-consumer-groups --bootstrap-server … --describe --group {})",
        inactive: Reason::GroupInactive,
        call: None,
        code_of: Some("EnOS"),
        no_sample: Duration::ZERO,
        max_rows: |group, topic| BATCH / (BATCH_ROW + group + topic),
        internal_topics: InternalTopics { is: is_internal, of: "a Kafka Streams group" },
        refusal,
    }
}

/// Kafka Streams names its internal topics after the group (Kafka Streams, "Manage internal topics").
fn is_internal(group: &str, topic: &str) -> bool {
    let own = topic.strip_prefix(group).is_some_and(|rest| rest.starts_with('-'));
    own && (topic.ends_with("-repartition") || topic.ends_with("-changelog"))
}

/// The error codes with which OffsetCommit and OffsetDelete refuse.
fn refusal(refused: &Refused) -> Refusal {
    let acl = |resource: &str, name: &str| Some(format!("add the right: {}", words::acl(refused.principal, resource, name)));
    let (reason, meaning, remedy) = match refused.code {
        NOT_SENT => (Reason::BackendError, "its deletion was held back, since the commits before it were refused or took too long", None),
        3 => (Reason::PartitionNotFound, "the partition does not exist", None),
        22 | 25 | 27 | 68 | 86 | 113 => (Reason::GroupActive, "a member joined", None),
        29 => (Reason::PermissionMissing, "no right on the topic", acl("--topic", &refused.at.topic)),
        30 if refused.deletion => (
            Reason::PermissionMissing,
            "no right to delete",
            Some(format!("add the right: {}", words::acl_to_delete(refused.principal, refused.group))),
        ),
        30 => (Reason::PermissionMissing, "no right on the group", acl("--group", refused.group)),
        _ => (Reason::BackendError, "see Kafka's error codes", None),
    };
    Refusal { reason, meaning, remedy }
}
