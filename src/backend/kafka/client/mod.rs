//! One connection to one Kafka cluster, as callers see it: an async function per call, each with its deadline. Nothing is retried.

mod connection;
mod driver;
mod memory_watch;
mod pending;
mod port;
mod processes;
mod spawn;
mod state;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use secrecy::ExposeSecret;
use tokio::sync::{mpsc, oneshot, watch};

use super::admin::*;
use super::process::wire::{AdminAnswer, AdminCall};
use super::security::Security;
use driver::{ClientConfig, Command, drive};
use pending::QueuedCall;
pub use processes::{Bounds, Processes};
use state::ClientState;

/// Longer deadlines are cut to this: librdkafka gives up on a request by itself after 300 s, which must never happen first.
const MAX_DEADLINE: Duration = Duration::from_secs(240);

/// So many partitions are read with one request. librdkafka looks each partition of an answer up by going through the list of those that were
/// asked for, so the time it takes grows with the square of their number: for 8,000 at once, a third of a second each time.
const AT_ONCE: usize = 1000;

/// A disposable connection to one Kafka cluster, in a process of its own. Dropping the last handle ends it, after the calls in flight.
pub struct AdminClient {
    state: Arc<ClientState>,
    commands: mpsc::UnboundedSender<Command>,
    alive: watch::Receiver<()>,
}

impl AdminClient {
    /// `dummy_group` is never joined, but its coordinator is looked up: name a group that the principal may describe. Returns without
    /// waiting for a process or a connection. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The system's CAs are asked for, and there are none.
    pub fn new(
        (namespace, bootstrap): (&str, &[String]),
        dummy_group: &str,
        client_id: &str,
        security: &Security,
        processes: Arc<Processes>,
    ) -> Result<Self, AdminError> {
        let own = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let mut settings = vec![own("bootstrap.servers", &bootstrap.join(",")), own("group.id", dummy_group), own("client.id", client_id)];
        for (key, value) in security.settings() {
            // The process can open no files, so it gets the CAs themselves.
            settings.push(match key {
                "ssl.ca.location" => own("ssl.ca.pem", system_cas()?),
                key => own(key, value.expose_secret()),
            });
        }
        let state = Arc::new(ClientState::default());
        let (commands, asked) = mpsc::unbounded_channel();
        let (keep, alive) = watch::channel(());
        let config = ClientConfig { namespace: namespace.to_owned(), settings, tokens: security.token_source().cloned(), processes };
        tokio::spawn(drive(config, Arc::clone(&state), asked, keep));
        Ok(Self { state, commands, alive })
    }

    /// Takes no new calls: take another client.
    pub fn is_retired(&self) -> bool {
        self.state.is_retired() || self.alive.has_changed().is_err()
    }

    /// Why the client was retired, if it never got an answer: it was refused, or no broker answered.
    pub fn failure(&self) -> Option<Failure> {
        self.state.failure()
    }

    /// Whether a broker has answered any call of this client.
    pub fn has_answered(&self) -> bool {
        self.state.has_answered()
    }

    pub fn retire(&self) {
        self.state.retire();
        // Fails only if the driver has ended already.
        let _ = self.commands.send(Command::Wake);
    }

    /// What librdkafka last said about a connection; it may be old.
    pub fn last_broker_error(&self) -> Option<BrokerError> {
        self.state.broker_error()
    }

    /// Resolves when the client's process has ended: from then on nothing leaves this machine's processes for any call made on it.
    /// (What has left it may still lie in a socket, or in front of a stopped broker.) It does not keep the client alive.
    pub fn process_ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut alive = self.alive.clone();
        async move { while alive.changed().await.is_ok() {} }
    }

    /// If the future is dropped, the call stays in flight until its answer or deadline.
    async fn call<T>(&self, call: AdminCall, deadline: Duration, take: impl FnOnce(AdminAnswer) -> Option<T>) -> Result<T, AdminError> {
        if self.is_retired() {
            return Err(AdminError::Retired);
        }
        let name = call.name();
        let after = Duration::from_millis(deadline.min(MAX_DEADLINE).as_micros().div_ceil(1000) as u64);
        let (reply, answer) = oneshot::channel();
        let asked = QueuedCall { call, after, deadline: Instant::now() + after, reply };
        if self.commands.send(Command::Call(asked)).is_err() {
            return Err(AdminError::Retired);
        }
        let lost = || AdminError::ClientGone { call: name, how: "its driver ended".to_owned() };
        let answer = answer.await.map_err(|_| lost())??;
        take(answer).ok_or_else(|| {
            // The process answered another call than the one it was asked: nothing it says can be trusted.
            self.state.fail(AdminError::ClientGone { call: name, how: "it answered something else".to_owned() });
            self.retire();
            AdminError::Kafka { call: name, code: KafkaCode::UNKNOWN, detail: "an answer to something else".to_owned() }
        })
    }

    pub async fn describe_cluster(&self, deadline: Duration) -> Result<ClusterDescription, AdminError> {
        let take = |answer| if let AdminAnswer::Cluster(found) = answer { Some(found) } else { None };
        self.call(AdminCall::DescribeCluster, deadline, take).await
    }

    /// Errors of single topics are in their descriptions.
    pub async fn describe_topics(&self, topics: &[String], deadline: Duration) -> Result<Vec<TopicDescription>, AdminError> {
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let take = |answer| if let AdminAnswer::Topics(found) = answer { Some(found) } else { None };
        self.call(AdminCall::DescribeTopics(topics.to_vec()), deadline, take).await
    }

    /// What holds this name: one request for a consumer group; where that finds nothing, two more per broker, which tell a
    /// share or streams group from no group at all.
    pub async fn identify_group(&self, group: &str, deadline: Duration) -> Result<GroupIdentity, AdminError> {
        let end = Instant::now() + deadline;
        let left = || end.saturating_duration_since(Instant::now());
        // The second round is for a group that was created between the description and the listing.
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
        let take = |answer| if let AdminAnswer::Group(found) = answer { Some(found) } else { None };
        self.call(AdminCall::DescribeConsumerGroup(group.to_owned()), deadline, take).await
    }

    /// Whether any broker lists a group of this name, of whatever type.
    async fn is_listed(&self, group: &str, deadline: Duration) -> Result<bool, AdminError> {
        let take = |answer| if let AdminAnswer::Listed(found) = answer { Some(found) } else { None };
        // The time it may take is filled in when the call is handed over.
        self.call(AdminCall::ListGroups(group.to_owned(), deadline), deadline, take).await
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
        if partitions.is_some_and(<[_]>::is_empty) {
            return Ok(BTreeMap::new());
        }
        let take = |answer| if let AdminAnswer::Committed(found) = answer { Some(found) } else { None };
        let parts = partitions.map_or_else(|| vec![None], |all| all.chunks(AT_ONCE).map(|part| Some(part.to_vec())).collect());
        let calls = parts.into_iter().map(|partitions| {
            let call = AdminCall::ListConsumerGroupOffsets { group: group.to_owned(), partitions, require_stable };
            self.call(call, deadline, take)
        });
        Ok(try_join_all(calls).await?.into_iter().flatten().collect())
    }

    /// One result per partition asked for, in the same order. With an unknown partition among others only its own result is an
    /// error; the call as a whole fails where all are unknown (-156).
    pub async fn list_offsets(
        &self,
        wanted: &[(TopicPartition, OffsetSpec)],
        isolation: IsolationLevel,
        deadline: Duration,
    ) -> Result<PerPartition<ListedOffset>, AdminError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        if (wanted.iter()).any(|(_, spec)| matches!(spec, OffsetSpec::Timestamp(ms) if *ms < 0)) {
            return Err(AdminError::Argument { call: "ListOffsets", reason: "a negative timestamp".to_owned() });
        }
        let order: Vec<_> = wanted.iter().map(|(p, _)| p.clone()).collect();
        let take = |answer| if let AdminAnswer::Offsets(found) = answer { Some(found) } else { None };
        let calls = wanted.chunks(AT_ONCE).map(|part| self.call(AdminCall::ListOffsets(part.to_vec(), isolation), deadline, take));
        let found = try_join_all(calls).await?.into_iter().flatten().collect();
        Ok(in_order(order, found, KafkaCode::TIMED_OUT))
    }

    /// Commits for a group without members, in one request, sent at most once. One result per partition, in the order given. For an
    /// error see `AdminError::is_ambiguous`, for a partition's `KafkaCode::may_have_been_applied`.
    pub async fn alter_consumer_group_offsets(
        &self,
        group: &str,
        offsets: &[OffsetCommit],
        deadline: Duration,
    ) -> Result<PerPartition<()>, AdminError> {
        let order: Vec<_> = (offsets.iter()).map(|o| TopicPartition::new(o.topic.as_str(), o.partition)).collect();
        let take = |answer| if let AdminAnswer::Altered(found) = answer { Some(found) } else { None };
        let found = self.call(AdminCall::AlterConsumerGroupOffsets(group.to_owned(), offsets.to_vec()), deadline, take).await?;
        Ok(in_order(order, found, KafkaCode::UNKNOWN))
    }

    /// Deletes what the group has committed for these partitions, as [`AdminClient::alter_consumer_group_offsets`] commits (KIP-496). A
    /// partition without a commit is no error.
    pub async fn delete_consumer_group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
        deadline: Duration,
    ) -> Result<PerPartition<()>, AdminError> {
        let take = |answer| if let AdminAnswer::Altered(found) = answer { Some(found) } else { None };
        let found = self.call(AdminCall::DeleteConsumerGroupOffsets(group.to_owned(), partitions.to_vec()), deadline, take).await?;
        Ok(in_order(partitions.to_vec(), found, KafkaCode::UNKNOWN))
    }
}

impl Drop for AdminClient {
    fn drop(&mut self) {
        self.retire();
    }
}

fn in_order<T>(order: Vec<TopicPartition>, found: PerPartition<T>, missing: KafkaCode) -> PerPartition<T> {
    let mut found: HashMap<_, _> = found.into_iter().collect();
    let answer = |p: TopicPartition| {
        let result = found.remove(&p).unwrap_or(Err(missing));
        (p, result)
    };
    order.into_iter().map(answer).collect()
}

/// The system's CAs in PEM, read once.
fn system_cas() -> Result<&'static str, AdminError> {
    static CAS: OnceLock<String> = OnceLock::new();
    let cas = CAS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs().certs;
        pem::encode_many(&found.iter().map(|der| pem::Pem::new("CERTIFICATE", der.as_ref())).collect::<Vec<_>>())
    });
    let none = || AdminError::Config("ssl.ca.pem: the operator's system has no CA certificates".to_owned());
    if cas.is_empty() { Err(none()) } else { Ok(cas) }
}
