//! What was read back after a send.

use std::collections::BTreeSet;

use super::TopicPartition;

/// Where the partitions of a plan stand now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadBack {
    pub at_target: BTreeSet<TopicPartition>,
    pub as_before: BTreeSet<TopicPartition>,
    pub elsewhere: BTreeSet<TopicPartition>,
}
