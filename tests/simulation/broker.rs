//! A Kafka cluster in memory, with the rules that a reset relies on: a group with members refuses commits from outside, every partition has
//! a result of its own, offsets in open transactions are pending, and a topic that is created again has another id.

use std::collections::{BTreeMap, BTreeSet};

use stream_pipeline_core::Commit;
use stream_pipeline_operator::backend::kafka::admin::*;

/// Timestamp of each log's first record; there is one record a second.
pub const FIRST: i64 = 1_767_225_600_000;

pub struct Broker {
    pub cluster: String,
    pub topics: BTreeMap<String, Topic>,
    pub groups: BTreeMap<String, Group>,
    made: u64,
}

pub struct Topic {
    pub id: String,
    /// Start and end of each log.
    pub logs: Vec<(i64, i64)>,
}

#[derive(Default)]
pub struct Group {
    pub members: BTreeSet<String>,
    pub offsets: BTreeMap<TopicPartition, Commit>,
    /// Offsets that an open transaction holds.
    pub pending: BTreeSet<TopicPartition>,
}

impl Broker {
    pub fn new() -> Self {
        Self { cluster: "cluster-1".to_owned(), topics: BTreeMap::new(), groups: BTreeMap::new(), made: 0 }
    }

    pub fn make_topic(&mut self, name: &str, logs: Vec<(i64, i64)>) {
        self.made += 1;
        self.topics.insert(name.to_owned(), Topic { id: format!("topic-id-{}", self.made), logs });
    }

    pub fn group(&mut self, name: &str) -> &mut Group {
        self.groups.entry(name.to_owned()).or_default()
    }

    pub fn describe_topics(&self, names: &[String]) -> Vec<TopicDescription> {
        let describe = |name: &String| match self.topics.get(name) {
            None => TopicDescription {
                name: name.clone(),
                topic_id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
                partitions: Vec::new(),
                error: Some(KafkaCode::UNKNOWN_TOPIC_OR_PARTITION),
                rights: None,
            },
            Some(topic) => TopicDescription {
                name: name.clone(),
                topic_id: topic.id.clone(),
                partitions: (0..topic.logs.len()).map(|p| PartitionInfo { partition: number(p), leader: Some(1) }).collect(),
                error: None,
                rights: None,
            },
        };
        names.iter().map(describe).collect()
    }

    pub fn identify_group(&self, name: &str) -> GroupIdentity {
        let member = |id: &String| GroupMember { client_id: id.clone(), host: "/10.0.0.7".to_owned(), instance_id: None };
        match self.groups.get(name) {
            Some(group) if !group.members.is_empty() => GroupIdentity::Consumer(GroupDescription {
                state: GroupState::Stable,
                members: group.members.iter().map(member).collect(),
                rights: None,
            }),
            Some(group) if !group.offsets.is_empty() || !group.pending.is_empty() => {
                GroupIdentity::Consumer(GroupDescription { state: GroupState::Empty, members: Vec::new(), rights: None })
            }
            _ => GroupIdentity::Absent(GroupDescription { state: GroupState::Dead, members: Vec::new(), rights: None }),
        }
    }

    pub fn committed(&self, group: &str, partitions: Option<&[TopicPartition]>, stable: bool) -> BTreeMap<TopicPartition, CommittedOffset> {
        let Some(group) = self.groups.get(group) else { return self.none(partitions) };
        let mut found = self.none(partitions);
        for (at, commit) in &group.offsets {
            if partitions.is_none_or(|p| p.contains(at)) {
                let (offset, metadata) = (Some(commit.offset), commit.metadata.clone());
                found.insert(at.clone(), CommittedOffset { offset, leader_epoch: commit.leader_epoch, metadata, error: None });
            }
        }
        for at in group.pending.iter().filter(|_| stable) {
            // Without names, a partition that has only a pending offset is left out.
            if let Some(entry) = found.get_mut(at) {
                let error = Some(KafkaCode::UNSTABLE_OFFSET_COMMIT);
                *entry = CommittedOffset { offset: None, leader_epoch: None, metadata: String::new(), error };
            }
        }
        found
    }

    fn none(&self, partitions: Option<&[TopicPartition]>) -> BTreeMap<TopicPartition, CommittedOffset> {
        let nothing = || CommittedOffset { offset: None, leader_epoch: None, metadata: String::new(), error: None };
        partitions.unwrap_or_default().iter().map(|at| (at.clone(), nothing())).collect()
    }

    pub fn list_offsets(&self, wanted: &[(TopicPartition, OffsetSpec)]) -> PerPartition<ListedOffset> {
        let list = |at: &TopicPartition, spec: OffsetSpec| {
            let (start, end) = self.log(at).ok_or(KafkaCode::UNKNOWN_TOPIC_OR_PARTITION)?;
            let found = |offset: i64, timestamp: i64| ListedOffset { offset, timestamp, leader_epoch: Some(0) };
            Ok(match spec {
                OffsetSpec::Earliest => found(start, -1),
                OffsetSpec::Latest => found(end, -1),
                OffsetSpec::MaxTimestamp if end > start => found(end - 1, FIRST + (end - 1) * 1000),
                OffsetSpec::Timestamp(time) => {
                    let offset = ((time - FIRST).max(0) + 999).div_euclid(1000).max(start);
                    if offset < end {
                        found(offset, FIRST + offset * 1000)
                    } else {
                        ListedOffset { offset: -1, timestamp: -1, leader_epoch: None }
                    }
                }
                OffsetSpec::MaxTimestamp => ListedOffset { offset: -1, timestamp: -1, leader_epoch: None },
            })
        };
        wanted.iter().map(|(at, spec)| (at.clone(), list(at, *spec))).collect()
    }

    fn log(&self, at: &TopicPartition) -> Option<(i64, i64)> {
        self.topics.get(&at.topic)?.logs.get(usize::try_from(at.partition).ok()?).copied()
    }

    /// Commits for a group without members: each refused partition says why, and the others are written.
    pub fn alter(&mut self, group: &str, commits: &[OffsetCommit]) -> PerPartition<()> {
        let known: Vec<bool> = commits.iter().map(|c| self.log(&TopicPartition::new(&c.topic, c.partition)).is_some()).collect();
        let group = self.group(group);
        let has_members = !group.members.is_empty();
        let mut results = Vec::new();
        for (commit, known) in commits.iter().zip(known) {
            let at = TopicPartition::new(&commit.topic, commit.partition);
            let result = if !known {
                Err(KafkaCode::UNKNOWN_TOPIC_OR_PARTITION)
            } else if has_members {
                // UNKNOWN_MEMBER_ID.
                Err(KafkaCode(25))
            } else {
                let metadata = commit.metadata.clone().unwrap_or_default();
                group
                    .offsets
                    .insert(at.clone(), Commit { offset: commit.offset, leader_epoch: commit.leader_epoch, metadata, pending: false });
                Ok(())
            };
            results.push((at, result));
        }
        results
    }

    /// Deletes commits of a group without members. Without a commit nothing is deleted, which is no error.
    ///
    /// # Errors
    /// The group is not there.
    pub fn delete(&mut self, group: &str, partitions: &[TopicPartition]) -> Result<PerPartition<()>, KafkaCode> {
        if let GroupIdentity::Absent(_) = self.identify_group(group) {
            // GROUP_ID_NOT_FOUND.
            return Err(KafkaCode(69));
        }
        let known: Vec<bool> = partitions.iter().map(|at| self.log(at).is_some()).collect();
        let group = self.group(group);
        let has_members = !group.members.is_empty();
        let mut delete = |(at, known): (&TopicPartition, bool)| match known {
            false => Err(KafkaCode::UNKNOWN_TOPIC_OR_PARTITION),
            // GROUP_SUBSCRIBED_TO_TOPIC.
            true if has_members => Err(KafkaCode(86)),
            true => {
                group.offsets.remove(at);
                Ok(())
            }
        };
        Ok(partitions.iter().zip(known).map(|(at, known)| (at.clone(), delete((at, known)))).collect())
    }
}

fn number(index: usize) -> i32 {
    i32::try_from(index).expect("few partitions")
}
