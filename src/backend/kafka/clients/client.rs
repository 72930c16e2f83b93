//! One connection to one Kafka cluster, as callers see it: an async function per call, each with its deadline.
//! Arguments are checked here; nothing is retried.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use tokio::sync::{oneshot, watch};

use super::poller::{self, Call, Msg, Shared};
use crate::backend::endpoints::EndpointPolicy;
use crate::backend::kafka::admin::{Answer, Native, Ticket, argument, cstring};
use crate::backend::kafka::admin_types::*;
use crate::backend::kafka::security::Security;

/// Longer deadlines are cut to this: librdkafka gives up on a request by itself after 300 s, and must never come to that.
const MAX_DEADLINE: Duration = Duration::from_secs(240);

/// A disposable connection to one Kafka cluster. Dropping the last handle destroys it, after the calls in flight.
pub struct AdminClient {
    shared: Arc<Shared>,
    calls: Sender<Msg>,
    alive: watch::Receiver<()>,
}

impl AdminClient {
    /// `dummy_group` is never joined, but its coordinator is looked up: name a group that the principal may describe. No connection is
    /// waited for.
    pub fn new(
        bootstrap: &[String],
        dummy_group: &str,
        client_id: &str,
        security: &Security,
        policy: Arc<EndpointPolicy>,
    ) -> Result<Self, AdminError> {
        let bootstrap = bootstrap.join(",");
        let mut settings = vec![("bootstrap.servers", bootstrap.as_str()), ("group.id", dummy_group), ("client.id", client_id)];
        let secret = security.settings();
        settings.extend(secret.iter().map(|(key, value)| (*key, value.expose_secret())));
        let (shared, calls, alive) = poller::start(&settings, security.token_source().cloned(), policy)?;
        Ok(Self { shared, calls, alive })
    }

    /// Takes no new calls: take another client.
    pub fn is_retired(&self) -> bool {
        self.shared.is_retired() || self.alive.has_changed().is_err()
    }

    /// Why it never got an answer, where that retired it: it was not let in, or nobody said anything.
    pub fn failure(&self) -> Option<Failure> {
        self.shared.failure()
    }

    /// Whether a broker has answered a call of it.
    pub fn has_answered(&self) -> bool {
        self.shared.has_answered()
    }

    pub fn retire(&self) {
        self.shared.retire();
        // Fails only where the thread has ended already.
        let _ = self.calls.send(Msg::Wake);
    }

    /// What librdkafka last said about a connection; it may be old.
    pub fn last_broker_error(&self) -> Option<BrokerError> {
        self.shared.broker_error()
    }

    /// Resolves when the handle has been destroyed: from then on nothing can leave this process for any call made on it. (What has
    /// left it may still lie in a socket, or in front of a stopped broker.) It does not keep the client alive.
    pub fn destroyed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut alive = self.alive.clone();
        async move { while alive.changed().await.is_ok() {} }
    }

    /// A dropped future stays in flight until its answer or deadline.
    async fn call<T: Send + 'static>(
        &self,
        name: &'static str,
        deadline: Duration,
        submit: impl FnOnce(&mut Native, &Ticket) -> Result<(), AdminError> + Send + 'static,
        parse: impl FnOnce(&Answer) -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, AdminError> {
        if self.is_retired() {
            return Err(AdminError::Retired);
        }
        let after = Duration::from_millis(deadline.min(MAX_DEADLINE).as_micros().div_ceil(1000) as u64);
        let (reply, answer) = oneshot::channel();
        let call = Call {
            name,
            after,
            deadline: Instant::now() + after,
            submit: Box::new(submit),
            finish: Box::new(move |outcome, shared| {
                let result = outcome.and_then(|answer| {
                    let result = parse(answer);
                    if answer.coordinator_moved() {
                        shared.retire();
                    }
                    result
                });
                // The caller may have gone; then nobody wants to know.
                let _ = reply.send(result);
            }),
        };
        if self.calls.send(Msg::Call(call)).is_err() {
            return Err(AdminError::Retired);
        }
        answer.await.unwrap_or(Err(AdminError::ClientGone { call: name }))
    }

    pub async fn describe_cluster(&self, deadline: Duration) -> Result<ClusterDescription, AdminError> {
        self.call("DescribeCluster", deadline, |native, ticket| native.describe_cluster(ticket), Answer::cluster).await
    }

    /// Errors of single topics are in their descriptions.
    pub async fn describe_topics(&self, topics: &[String], deadline: Duration) -> Result<Vec<TopicDescription>, AdminError> {
        const CALL: &str = "DescribeTopics";
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let names = topics.iter().map(|t| cstring(CALL, t)).collect::<Result<Vec<_>, _>>()?;
        self.call(CALL, deadline, move |native, ticket| native.describe_topics(ticket, &names), Answer::topics).await
    }

    /// What holds this name: one request for a consumer group; where that finds nothing, two more per broker, which tell a
    /// share or streams group from no group at all.
    pub async fn identify_group(&self, group: &str, deadline: Duration) -> Result<GroupIdentity, AdminError> {
        let end = Instant::now() + deadline;
        let left = || end.saturating_duration_since(Instant::now());
        // The second look is for a group that was made between the first and the listing.
        for _ in 0..2 {
            let described = match self.describe_consumer_group(group, left()).await {
                Err(AdminError::Kafka { code, detail, .. }) if code == KafkaCode::INVALID_ARGUMENT => {
                    return Ok(GroupIdentity::NotConsumer(detail));
                }
                other => other?,
            };
            if described.state != GroupState::Dead {
                return Ok(GroupIdentity::Consumer(described));
            }
            if !self.is_listed(group, left()).await? {
                return Ok(GroupIdentity::Absent(described));
            }
        }
        let what = "a share group or a streams group has this name";
        Ok(GroupIdentity::NotConsumer(what.to_owned()))
    }

    /// A group that does not exist is `Dead`; so is one of a kind that librdkafka does not know.
    async fn describe_consumer_group(&self, group: &str, deadline: Duration) -> Result<GroupDescription, AdminError> {
        const CALL: &str = "DescribeConsumerGroups";
        let group = group_name(CALL, group)?;
        self.call(CALL, deadline, move |native, ticket| native.describe_group(ticket, &group), Answer::group).await
    }

    /// Whether any broker lists a group of this name, of whatever type.
    async fn is_listed(&self, group: &str, deadline: Duration) -> Result<bool, AdminError> {
        const CALL: &str = "ListGroups";
        let group = group_name(CALL, group)?;
        let calls = self.calls.clone();
        let submit = move |native: &mut Native, ticket: &Ticket| {
            let id = ticket.id;
            // Fails only where the thread has ended already.
            native.list_groups(ticket, group, move |found| drop(calls.send(Msg::Listed(id, found))))
        };
        self.call(CALL, deadline, submit, Answer::is_listed).await
    }

    /// `None` lists every partition with a commit, but leaves out those that have only an open transaction's: with
    /// `require_stable`, ask by name. A partition asked for by name and absent from the answer was not answered.
    pub async fn list_consumer_group_offsets(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
        require_stable: bool,
        deadline: Duration,
    ) -> Result<BTreeMap<TopicPartition, CommittedOffset>, AdminError> {
        const CALL: &str = "ListConsumerGroupOffsets";
        if partitions.is_some_and(<[_]>::is_empty) {
            return Ok(BTreeMap::new());
        }
        let group = group_name(CALL, group)?;
        let wanted = partitions.map(|p| p.to_vec());
        let submit = move |native: &mut Native, ticket: &Ticket| native.list_committed(ticket, &group, wanted.as_deref(), require_stable);
        self.call(CALL, deadline, submit, Answer::committed).await
    }

    /// One result per partition asked for, in the same order. With an unknown partition among others only its own result is an
    /// error; the call as a whole fails where all are unknown (-156).
    pub async fn list_offsets(
        &self,
        wanted: &[(TopicPartition, OffsetSpec)],
        isolation: IsolationLevel,
        deadline: Duration,
    ) -> Result<Vec<(TopicPartition, Result<ListedOffset, KafkaCode>)>, AdminError> {
        const CALL: &str = "ListOffsets";
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        if (wanted.iter()).any(|(_, spec)| matches!(spec, OffsetSpec::Timestamp(ms) if *ms < 0)) {
            return Err(argument(CALL, "a negative timestamp"));
        }
        let wanted = wanted.to_vec();
        let order: Vec<_> = wanted.iter().map(|(p, _)| p.clone()).collect();
        let submit = move |native: &mut Native, ticket: &Ticket| native.list_offsets(ticket, &wanted, isolation);
        let found = move |answer: &Answer| Ok(in_order(order, answer.listed()?, KafkaCode::TIMED_OUT));
        self.call(CALL, deadline, submit, found).await
    }

    /// Commits for a group without members, in one request, sent at most once. One result per partition, in the order given. For an
    /// error see `AdminError::is_ambiguous`, for a partition's `KafkaCode::may_have_been_applied`.
    pub async fn alter_consumer_group_offsets(
        &self,
        group: &str,
        offsets: &[OffsetCommit],
        deadline: Duration,
    ) -> Result<Vec<(TopicPartition, Result<(), KafkaCode>)>, AdminError> {
        const CALL: &str = "AlterConsumerGroupOffsets";
        let group = group_name(CALL, group)?;
        let offsets = offsets.to_vec();
        let order: Vec<_> = (offsets.iter()).map(|o| TopicPartition::new(o.topic.as_str(), o.partition)).collect();
        let submit = move |native: &mut Native, ticket: &Ticket| native.alter_committed(ticket, &group, &offsets);
        let found = move |answer: &Answer| Ok(in_order(order, answer.altered()?, KafkaCode::UNKNOWN));
        self.call(CALL, deadline, submit, found).await
    }
}

impl Drop for AdminClient {
    fn drop(&mut self) {
        self.retire();
    }
}

fn in_order<T>(
    order: Vec<TopicPartition>,
    mut found: HashMap<TopicPartition, Result<T, KafkaCode>>,
    missing: KafkaCode,
) -> Vec<(TopicPartition, Result<T, KafkaCode>)> {
    let answer = |p: TopicPartition| {
        let result = found.remove(&p).unwrap_or(Err(missing));
        (p, result)
    };
    order.into_iter().map(answer).collect()
}

/// The broker accepts a group without a name; nobody means it.
fn group_name(call: &'static str, group: &str) -> Result<CString, AdminError> {
    if group.is_empty() {
        return Err(argument(call, "a group without a name"));
    }
    cstring(call, group)
}
