//! A consumer group's committed offsets on a Kafka cluster: the reads and the one write, in the terms of `stream-pipeline-core`. Every
//! failure gets its reason here; nothing is decided.

mod adapter;
pub mod admin;
pub mod client;
mod codes;
pub mod connecting;
mod facts;
mod failure;
#[allow(unsafe_code)] // The one module that calls librdkafka's admin functions, which the safe crate lacks.
mod librdkafka;
mod log;
mod login;
mod oauth;
pub mod pool;
pub mod process;
pub mod security;
mod send;

pub use facts::facts;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use crate::clock;
use admin::{Admin, AdminError, GroupDescription, GroupIdentity, GroupMember, GroupState, KafkaCode};
use failure::Who;
#[cfg(test)]
pub(crate) use failure::messages;
use pool::renewing::RenewingClient;
use pool::{ClientPool, PoolKey};
use security::Security;
use stream_pipeline_api::{BackendIdentity, Phase, Reason};
use stream_pipeline_core::{Activity, Cause, Change, Commit, Committed, KafkaGroup, Topic, TopicPartition, Topics, words};

/// One group on one cluster, during one pass.
pub struct Kafka {
    client: Arc<dyn Admin>,
    backend: KafkaGroup,
    who: Who,
    deadline: Duration,
    /// The group as it was described first in this pass.
    described: OnceCell<GroupIdentity>,
}

impl Kafka {
    /// # Errors
    /// The client cannot be made from this configuration.
    pub fn connect(
        clients: &Arc<ClientPool>,
        namespace: &str,
        backend: &KafkaGroup,
        security: &Security,
        deadline: Duration,
        now: Instant,
    ) -> Result<Self, Cause> {
        let key = PoolKey::new(namespace, &backend.bootstrap, security);
        let who = Who::of(security);
        let client = RenewingClient::new(clients, key, &backend.group, security, now).map_err(|e| failure::unmade(&e, &who, backend))?;
        Ok(Self { client: Arc::new(client), backend: backend.clone(), who, deadline, described: OnceCell::new() })
    }

    /// The user that the brokers take this client for, as far as it is known.
    pub fn principal(&self) -> Option<String> {
        self.who.principal().map(str::to_owned)
    }

    fn cause(&self, error: &AdminError) -> Cause {
        self.cause_about(error, [])
    }

    /// The cause of a failed call about these topics, each of which may be named several times.
    fn cause_about<'a>(&self, error: &AdminError, topics: impl IntoIterator<Item = &'a str>) -> Cause {
        let topics: BTreeSet<&str> = topics.into_iter().collect();
        failure::cause(error, self.client.last_broker_error().as_ref(), &self.who, &self.backend, &topics)
    }

    /// The group's identity on this cluster.
    pub fn identity_of(&self, cluster_id: &str) -> BackendIdentity {
        BackendIdentity::Kafka { cluster_id: cluster_id.to_owned(), consumer_group: self.backend.group.clone() }
    }

    /// # Errors
    /// No broker answered in time, or one refused; the cause has the condition's reason. The same for every read below.
    pub async fn identity(&self) -> Result<BackendIdentity, Cause> {
        let described = self.client.describe_cluster(self.deadline).await.map_err(|e| self.cause(&e))?;
        Ok(self.identity_of(&described.cluster_id))
    }

    /// What the group does, as its coordinator describes it. A Dead group counts as missing here; it may have committed
    /// offsets all the same.
    ///
    /// # Errors
    /// As [`Kafka::identity`].
    pub async fn activity(&self) -> Result<Activity, Cause> {
        // What was described before this look does not count for it.
        let found = match self.described.get() {
            None => self.described().await.cloned(),
            Some(_) => self.describe().await,
        };
        let group = &self.backend.group;
        Ok(match found.map_err(|e| self.cause(&e))? {
            GroupIdentity::Consumer(described) | GroupIdentity::Absent(described) => activity_of(&described, group),
            GroupIdentity::NotConsumer(kind) => {
                Activity::Unsupported(Cause::new(Reason::GroupTypeNotSupported, not_a_consumer_group(group, &kind)))
            }
        })
    }

    async fn describe(&self) -> Result<GroupIdentity, AdminError> {
        self.client.identify_group(&self.backend.group, self.deadline).await
    }

    /// Asked once in a pass; who asks at the same time waits for the same answer.
    async fn described(&self) -> Result<&GroupIdentity, AdminError> {
        self.described.get_or_try_init(|| self.describe()).await
    }

    /// Committed offsets: of these partitions, or of all that have one. Only asking by name shows a partition whose only commit is still in
    /// an open transaction.
    ///
    /// # Errors
    /// As [`Kafka::identity`].
    pub async fn committed(&self, partitions: Option<&[TopicPartition]>) -> Result<Committed, Cause> {
        let call = self.client.list_consumer_group_offsets(&self.backend.group, partitions, true, self.deadline);
        let mut committed = Committed::new();
        let named = || partitions.unwrap_or_default().iter().map(|at| at.topic.as_str());
        for (at, found) in call.await.map_err(|e| self.cause_about(&e, named()))? {
            match found.error {
                Some(KafkaCode::UNSTABLE_OFFSET_COMMIT) => {
                    let offset = found.offset.unwrap_or(-1);
                    committed.insert(at, Commit { offset, pending: true, ..Commit::default() });
                }
                Some(code) => return Err(failure::of_partition(&at, code, &self.who)),
                None => {
                    if let Some(offset) = found.offset {
                        committed.insert(at, Commit { offset, leader_epoch: found.leader_epoch, metadata: found.metadata, pending: false });
                    }
                }
            }
        }
        Ok(committed)
    }

    /// Ids, partitions and leaders, asked of the broker each time.
    ///
    /// # Errors
    /// As [`Kafka::identity`]; `PermissionMissing` where the brokers say that `to` would be refused.
    pub async fn topics(&self, names: &[String], to: Change) -> Result<Topics, Cause> {
        let rights = async {
            Ok(match to {
                Change::None => None,
                Change::Commit | Change::CommitAndDelete => Some(self.described().await?),
            })
        };
        let (described, identity) = tokio::try_join!(self.client.describe_topics(names, self.deadline), rights)
            .map_err(|e| self.cause_about(&e, names.iter().map(String::as_str)))?;
        let group = &self.backend.group;
        if let Some(GroupIdentity::Consumer(found) | GroupIdentity::Absent(found)) = identity
            && let Some(rights) = found.rights
        {
            if !rights.read {
                return Err(failure::not_committable("group", group, &self.who));
            }
            if to == Change::CommitAndDelete && !rights.delete {
                return Err(failure::not_deletable(group, &self.who));
            }
        }
        if let Some(topic) = described.iter().find(|topic| topic.error.is_none() && topic.rights.is_some_and(|rights| !rights.read)) {
            return Err(failure::not_committable("topic", &topic.name, &self.who));
        }
        let mut topics = Topics::new();
        for topic in described {
            let found = match topic.error {
                None => Some(Topic {
                    id: topic.topic_id,
                    partitions: topic.partitions.iter().map(|p| (p.partition, p.leader.is_some())).collect(),
                }),
                Some(KafkaCode::UNKNOWN_TOPIC_OR_PARTITION) => None,
                Some(code) => return Err(failure::of_topic(&topic.name, code, &self.who)),
            };
            topics.insert(topic.name, found);
        }
        Ok(topics)
    }
}

/// `why`: the broker's own sentence, or what the name stands for.
fn not_a_consumer_group(group: &str, why: &str) -> String {
    let (group, why) = (words::name(group), words::cut(why.trim_end_matches('.'), 300));
    format!(
        "what is named {group} is no consumer group ({why}); only consumer groups (classic and KIP-848) can be reset. Nothing was sent. \
         Correct the name: spec.kafka.consumerGroup is immutable, so delete the StreamPipeline and create it anew"
    )
}

/// A group that nobody reads with.
pub fn stopped() -> Activity {
    Activity::Inactive(Phase::Stopped, "Empty".to_owned())
}

/// A group that is not positively Empty or Dead, or that has members, is active.
fn activity_of(described: &GroupDescription, group: &str) -> Activity {
    match described.state {
        GroupState::Empty if described.members.is_empty() => stopped(),
        GroupState::Dead if described.members.is_empty() => Activity::Missing(Cause::new(
            Reason::PipelineNotFound,
            format!(
                "consumer group {} does not exist; nothing was sent. Correct spec.kafka.consumerGroup, or set missingGroup: Create, with topics unless to names the partitions, and a new id",
                words::name(group)
            ),
        )),
        _ => Activity::Active(active(&described.members)),
    }
}

/// "2 members: turbine-1 (10.0.3.7), turbine-2 (10.0.3.9)".
fn active(members: &[GroupMember]) -> Cause {
    let names: Vec<_> =
        members.iter().map(|m| format!("{} ({})", words::cut(&m.client_id, 64), words::cut(m.host.trim_start_matches('/'), 64))).collect();
    let who = match names.len() {
        0 => "no member yet, but the group is not Empty".to_owned(),
        1 => format!("1 member: {}", names[0]),
        n => format!("{n} members: {}", words::some_of(&names)),
    };
    let fixed: Vec<_> = members.iter().filter_map(|m| m.instance_id.as_deref()).map(|id| words::cut(id, 64)).collect();
    match fixed.as_slice() {
        [] => Cause::new(Reason::GroupActive, who),
        ids => {
            let text = format!("{who}; static members ({}) leave by themselves at their session time-out", words::some_of(ids));
            // Their pods may be gone already, so there may be nothing left to stop.
            Cause { remedy: Some("Stop what still runs; the reset starts by itself"), ..Cause::new(Reason::GroupActive, text) }
        }
    }
}

/// A group with members, one of another kind, and none: for the page of all messages.
#[cfg(test)]
pub(crate) fn groups() -> [Activity; 3] {
    let member = |name: &str| GroupMember { client_id: name.to_owned(), host: "/10.0.3.7".to_owned(), instance_id: None };
    let described = |state: GroupState, members: Vec<GroupMember>| GroupDescription { state, members, rights: None };
    let share = Cause::new(Reason::GroupTypeNotSupported, not_a_consumer_group("g", "a share group"));
    [
        activity_of(&described(GroupState::Stable, vec![member("turbine-1"), member("turbine-2")]), "g"),
        Activity::Unsupported(share),
        activity_of(&described(GroupState::Dead, Vec::new()), "g"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d8_what_is_no_consumer_group_is_told_in_whole_sentences() {
        let told = not_a_consumer_group("connect-cluster", "GroupId connect-cluster is not a consumer group (connect).");
        let said = "what is named connect-cluster is no consumer group (GroupId connect-cluster is not a consumer group (connect)); only consumer groups";
        assert!(told.starts_with(said) && told.contains("so delete the StreamPipeline and create it anew"), "{told}");
        assert!(not_a_consumer_group("mg ", "share").starts_with("what is named \"mg \" is no consumer group (share);"));
    }

    #[test]
    fn a_group_of_500_hostile_members_is_told_in_a_short_clean_sentence() {
        let hostile = |n: usize| GroupMember {
            client_id: format!("{n}\u{1b}[31m\n\u{202e}{}", "x".repeat(10_000)),
            host: format!("/10.0.0.1\u{2028}{}", "h".repeat(10_000)),
            instance_id: Some(format!("{n}\u{200d}\u{0}{}", "i".repeat(10_000))),
        };
        let text = active(&(0..500).map(hostile).collect::<Vec<_>>()).message;
        assert!(text.starts_with("500 members: 0 [31m") && text.matches(" and 488 more").count() == 2, "{text}");
        assert!(text.len() < 8 * 1024 && !text.contains(words::is_unseen), "{} bytes", text.len());
        let one = active(&[hostile(0)]).message;
        assert!(one.len() < 1024 && !one.contains(words::is_unseen), "{one}");
    }
}
