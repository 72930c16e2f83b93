//! librdkafka's admin calls as safe async functions. The only file of the project with `unsafe` in it.
//!
//! One thread per client owns every pointer: it hands calls to librdkafka, takes the answers, keeps the deadlines and finally
//! destroys the handle. Other threads only send it messages, so no pointer can outlive the handle. Three rules keep librdkafka
//! 2.12 from ending the process: its own request time-outs never pass (they are an hour, a deadline here is at most
//! [`MAX_DEADLINE`]), the handle is of the consumer type (never subscribed), and a client whose call missed its deadline, or
//! that asked the wrong coordinator, takes no new calls and is destroyed when the last one in flight is answered or overdue.
//!
//! Error codes, states and types are read as `i32`: brokers and librdkafka know values that the binding's enums lack.
//! What leaves this file is in `admin_types`. Nothing here retries or decides.
#![deny(unsafe_op_in_unsafe_fn)]

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{self, null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::bindings::*;
use tokio::sync::{oneshot, watch};

use super::admin_types::*;

/// Longer deadlines are cut to this: librdkafka gives up on a request by itself after 300 s, and must never come to that.
pub const MAX_DEADLINE: Duration = Duration::from_secs(240);

const REQUEST_TIMEOUT_MS: c_int = 3_600_000;

/// Wins over whatever else is configured: the process depends on it.
const FIXED: [(&str, &str); 8] = [
    ("allow.auto.create.topics", "false"),
    ("enable.auto.commit", "false"),
    ("enable.metrics.push", "false"),
    ("log.queue", "true"),
    ("reconnect.backoff.ms", "10"),
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.nagle.disable", "true"),
    ("socket.timeout.ms", "300000"),
];

// These shadow the binding's own declarations, which would turn an unknown number into an impossible enum value.
unsafe extern "C" {
    fn rd_kafka_err2name(code: i32) -> *const c_char;
    fn rd_kafka_err2str(code: i32) -> *const c_char;
    fn rd_kafka_event_error(event: *mut rd_kafka_event_t) -> i32;
    fn rd_kafka_error_code(error: *const rd_kafka_error_t) -> i32;
    fn rd_kafka_ConsumerGroupDescription_state(g: *const Described) -> i32;
    fn rd_kafka_ConsumerGroupDescription_type(g: *const Described) -> i32;
    fn rd_kafka_ConsumerGroupListing_state(g: *const rd_kafka_ConsumerGroupListing_t) -> i32;
    fn rd_kafka_ConsumerGroupListing_type(g: *const rd_kafka_ConsumerGroupListing_t) -> i32;
    fn rd_kafka_list_groups(rk: *mut rd_kafka_t, group: *const c_char, list: *mut *const rd_kafka_group_list, timeout_ms: c_int) -> i32;
}

type Op = rd_kafka_admin_op_t;
type Described = rd_kafka_ConsumerGroupDescription_t;
type Element = rd_kafka_topic_partition_t;

/// The name and the text of an error code, for any number.
pub(super) fn describe_code(code: i32) -> (String, String) {
    // SAFETY: both take any i32 and return a static or thread-local NUL-terminated string, which is copied at once.
    unsafe { (text(rd_kafka_err2name(code)), text(rd_kafka_err2str(code))) }
}

// ---- the client, as callers see it ----

/// A disposable connection to one Kafka cluster. Dropping the last handle destroys it, after the calls in flight.
pub struct AdminClient {
    shared: Arc<Shared>,
    calls: Sender<Msg>,
    alive: watch::Receiver<()>,
}

#[derive(Default)]
struct Shared {
    retired: AtomicBool,
    broker_error: Mutex<Option<BrokerError>>,
}

impl Shared {
    fn broker_error(&self) -> Option<BrokerError> {
        self.broker_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }
}

impl AdminClient {
    /// `extra` is librdkafka configuration (security, say). `dummy_group` is never joined, but its coordinator is looked up: name a
    /// group that the principal may describe. No connection is waited for.
    pub fn new(bootstrap: &[String], extra: &[(String, String)], dummy_group: &str, client_id: &str) -> Result<Self, AdminError> {
        let bootstrap = bootstrap.join(",");
        let own = [("bootstrap.servers", bootstrap.as_str()), ("group.id", dummy_group), ("client.id", client_id)];
        let extra = extra.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let (calls, inbox) = channel();
        let native = Native::new(extra.chain(own).chain(FIXED), calls.clone())?;
        let shared = Arc::new(Shared::default());
        let (keep, alive) = watch::channel(());
        let poller = Poller { shared: Arc::clone(&shared), pending: HashMap::new(), next_id: 1, native, inbox, _alive: keep };
        std::thread::Builder::new()
            .name("kafka-admin".into())
            .spawn(move || poller.run())
            .map_err(|e| AdminError::Config(format!("no thread: {e}")))?;
        Ok(Self { shared, calls, alive })
    }

    /// Takes no new calls: take another client.
    pub fn is_retired(&self) -> bool {
        self.shared.retired.load(Ordering::Acquire) || self.alive.has_changed().is_err()
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

    /// A call that librdkafka answers with an event.
    async fn admin_call<T: Send + 'static>(
        &self,
        name: &'static str,
        op: Op,
        deadline: Duration,
        submit: impl FnOnce(&Native, *mut rd_kafka_AdminOptions_t) -> Result<(), AdminError> + Send + 'static,
        parse: impl FnOnce(&Answer) -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, AdminError> {
        let submit = move |native: &mut Native, ticket: &Ticket| {
            let options = Options::new(native, op, ticket)?;
            submit(native, options.0)
        };
        self.call(name, deadline, submit, parse).await
    }

    pub async fn describe_cluster(&self, deadline: Duration) -> Result<ClusterDescription, AdminError> {
        self.admin_call(
            "DescribeCluster",
            Op::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER,
            deadline,
            move |native, options| {
                // SAFETY: rk and queue are live for as long as `native`; the options are copied.
                unsafe { rd_kafka_DescribeCluster(native.rk, options, native.queue) };
                Ok(())
            },
            |answer| {
                let result = answer.result(rd_kafka_event_DescribeCluster_result)?;
                // SAFETY: `result` and all it points to live as long as the event that `answer` borrows.
                unsafe {
                    let nodes = array(result, rd_kafka_DescribeCluster_result_nodes);
                    let controller = rd_kafka_DescribeCluster_result_controller(result);
                    Ok(ClusterDescription {
                        cluster_id: text(rd_kafka_DescribeCluster_result_cluster_id(result)),
                        controller: node(controller).map(|n| n.id),
                        brokers: nodes.iter().filter_map(|n| node(*n)).collect(),
                    })
                }
            },
        )
        .await
    }

    /// Errors of single topics are in their descriptions.
    pub async fn describe_topics(&self, topics: &[String], deadline: Duration) -> Result<Vec<TopicDescription>, AdminError> {
        const CALL: &str = "DescribeTopics";
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let names = topics.iter().map(|t| cstring(CALL, t)).collect::<Result<Vec<_>, _>>()?;
        self.admin_call(
            CALL,
            Op::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            deadline,
            move |native, options| {
                let mut names: Vec<_> = names.iter().map(|n| n.as_ptr()).collect();
                // SAFETY: the names live until the end of the closure and are copied by the collection, which is destroyed here;
                // rk and queue are live.
                unsafe {
                    let topics = rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
                    rd_kafka_DescribeTopics(native.rk, topics, options, native.queue);
                    rd_kafka_TopicCollection_destroy(topics);
                }
                Ok(())
            },
            |answer| {
                let result = answer.result(rd_kafka_event_DescribeTopics_result)?;
                // SAFETY: as in `describe_cluster`.
                unsafe {
                    let topics = array(result, rd_kafka_DescribeTopics_result_topics);
                    Ok(topics.iter().map(|t| answer.topic(*t)).collect())
                }
            },
        )
        .await
    }

    /// A group that does not exist is `Dead`; so is one of a kind that librdkafka does not know: see `identify_group`.
    pub async fn describe_consumer_group(
        &self,
        group: &str,
        authorized_operations: bool,
        deadline: Duration,
    ) -> Result<GroupDescription, AdminError> {
        const CALL: &str = "DescribeConsumerGroups";
        let group = group_name(CALL, group)?;
        self.admin_call(
            CALL,
            Op::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
            deadline,
            move |native, options| {
                let ask = c_int::from(authorized_operations);
                let mut groups = [group.as_ptr()];
                // SAFETY: the group's name lives until the end of the closure and is copied; options, rk and queue are live.
                unsafe {
                    discard(rd_kafka_AdminOptions_set_include_authorized_operations(options, ask));
                    rd_kafka_DescribeConsumerGroups(native.rk, groups.as_mut_ptr(), 1, options, native.queue);
                }
                Ok(())
            },
            |answer| {
                let result = answer.result(rd_kafka_event_DescribeConsumerGroups_result)?;
                // SAFETY: as in `describe_cluster`.
                unsafe {
                    let groups = array(result, rd_kafka_DescribeConsumerGroups_result_groups);
                    answer.group(*groups.first().ok_or_else(|| answer.malformed())?)
                }
            },
        )
        .await
    }

    pub async fn list_consumer_groups(&self, deadline: Duration) -> Result<Vec<GroupListing>, AdminError> {
        self.admin_call(
            "ListConsumerGroups",
            Op::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS,
            deadline,
            move |native, options| {
                // SAFETY: rk and queue are live; the options are copied.
                unsafe { rd_kafka_ListConsumerGroups(native.rk, options, native.queue) };
                Ok(())
            },
            |answer| {
                let result = answer.result(rd_kafka_event_ListConsumerGroups_result)?;
                // SAFETY: as in `describe_cluster`.
                unsafe {
                    if let Some(error) = array(result, rd_kafka_ListConsumerGroups_result_errors).first() {
                        answer.check(*error)?;
                    }
                    let groups = array(result, rd_kafka_ListConsumerGroups_result_valid);
                    Ok(groups.iter().map(|g| listing(*g)).collect())
                }
            },
        )
        .await
    }

    /// What holds this name: one request for a consumer group; where that finds nothing, two more per broker, which tell a
    /// share or streams group from no group at all.
    pub async fn identify_group(&self, group: &str, deadline: Duration) -> Result<GroupIdentity, AdminError> {
        let end = Instant::now() + deadline;
        let left = || end.saturating_duration_since(Instant::now());
        // The second look is for a group that was made between the first and the listing.
        for _ in 0..2 {
            let described = match self.describe_consumer_group(group, false, left()).await {
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
        let what = "a group that is no consumer group: a share group or a streams group";
        Ok(GroupIdentity::NotConsumer(what.to_owned()))
    }

    /// Whether any broker lists a group of this name, of whatever type.
    async fn is_listed(&self, group: &str, deadline: Duration) -> Result<bool, AdminError> {
        const CALL: &str = "ListGroups";
        let group = group_name(CALL, group)?;
        self.call(
            CALL,
            deadline,
            move |native, ticket| native.list_groups(group, ticket),
            |answer| match answer {
                Answer::Listed(Ok(found)) => Ok(*found),
                Answer::Listed(Err(code)) => Err(AdminError::Kafka { call: CALL, code: *code, detail: String::new() }),
                Answer::Event(_) => Err(answer.malformed()),
            },
        )
        .await
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
        self.admin_call(
            CALL,
            Op::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
            deadline,
            move |native, options| {
                let list = match &wanted {
                    Some(wanted) => Some(Partitions::new(CALL, wanted.iter())?),
                    None => None,
                };
                let list = list.as_ref().map_or(null(), |l| l.0.cast_const());
                let stable = c_int::from(require_stable);
                // SAFETY: group and list (null = all) are copied by `_new`, whose result is copied by the call and destroyed here.
                unsafe {
                    discard(rd_kafka_AdminOptions_set_require_stable_offsets(options, stable));
                    let mut what = [rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), list)];
                    rd_kafka_ListConsumerGroupOffsets(native.rk, what.as_mut_ptr(), 1, options, native.queue);
                    rd_kafka_ListConsumerGroupOffsets_destroy(what[0]);
                }
                Ok(())
            },
            |answer| {
                let result = answer.result(rd_kafka_event_ListConsumerGroupOffsets_result)?;
                // SAFETY: as in `describe_cluster`.
                unsafe {
                    let groups = array(result, rd_kafka_ListConsumerGroupOffsets_result_groups);
                    let elements = answer.group_partitions(groups)?;
                    Ok(elements.map(|e| (partition(e), answer.committed(e))).collect())
                }
            },
        )
        .await
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
        self.admin_call(
            CALL,
            Op::RD_KAFKA_ADMIN_OP_LISTOFFSETS,
            deadline,
            move |native, options| {
                let list = Partitions::new(CALL, wanted.iter().map(|(p, _)| p))?;
                let level = match isolation {
                    IsolationLevel::ReadUncommitted => rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
                    IsolationLevel::ReadCommitted => rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
                };
                // SAFETY: the list has one element per entry of `wanted`, in its order; list and options are copied by the call.
                unsafe {
                    discard(rd_kafka_AdminOptions_set_isolation_level(options, level));
                    for (element, (_, spec)) in elements(list.0).zip(&wanted) {
                        (*element).offset = match spec {
                            OffsetSpec::Timestamp(ms) => *ms,
                            OffsetSpec::Latest => -1,
                            OffsetSpec::Earliest => -2,
                            OffsetSpec::MaxTimestamp => -3,
                        };
                    }
                    rd_kafka_ListOffsets(native.rk, list.0, options, native.queue);
                }
                Ok(())
            },
            |answer| {
                let result = answer.result(rd_kafka_event_ListOffsets_result)?;
                // SAFETY: as in `describe_cluster`.
                let found = unsafe {
                    let infos = array(result, rd_kafka_ListOffsets_result_infos);
                    infos.iter().map(|info| answer.listed(*info)).collect()
                };
                Ok(in_order(order, found, KafkaCode::TIMED_OUT))
            },
        )
        .await
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
        let targets = order.clone();
        self.admin_call(
            CALL,
            Op::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS,
            deadline,
            move |native, options| {
                let list = Partitions::new(CALL, targets.iter())?;
                // SAFETY: the list has one element per entry of `offsets`, in its order. Group and list are copied by `_new`, whose
                // result is copied by the call and destroyed here.
                unsafe {
                    for (element, commit) in elements(list.0).zip(&offsets) {
                        set_commit(element, commit);
                    }
                    let mut what = [rd_kafka_AlterConsumerGroupOffsets_new(group.as_ptr(), list.0)];
                    rd_kafka_AlterConsumerGroupOffsets(native.rk, what.as_mut_ptr(), 1, options, native.queue);
                    rd_kafka_AlterConsumerGroupOffsets_destroy(what[0]);
                }
                Ok(())
            },
            |answer| {
                let result = answer.result(rd_kafka_event_AlterConsumerGroupOffsets_result)?;
                // SAFETY: as in `describe_cluster`.
                let found = unsafe {
                    let groups = array(result, rd_kafka_AlterConsumerGroupOffsets_result_groups);
                    let elements = answer.group_partitions(groups)?;
                    elements.map(|e| (partition(e), answer.code(error(e)).map_or(Ok(()), Err))).collect()
                };
                Ok(in_order(order, found, KafkaCode::UNKNOWN))
            },
        )
        .await
    }
}

impl Drop for AdminClient {
    fn drop(&mut self) {
        self.retire();
    }
}

// ---- the thread that owns a client ----

enum Msg {
    Call(Call),
    /// Look at the queue and at the flag.
    Wake,
    Listed(usize, Result<bool, KafkaCode>),
}

type Submit = Box<dyn FnOnce(&mut Native, &Ticket) -> Result<(), AdminError> + Send>;
type Finish = Box<dyn FnOnce(Result<&Answer, AdminError>, &Shared) + Send>;

struct Call {
    name: &'static str,
    after: Duration,
    deadline: Instant,
    submit: Submit,
    finish: Finish,
}

/// One call in flight. librdkafka carries the id as its opaque, a number and never a pointer: a late answer finds nothing.
struct Ticket {
    call: &'static str,
    id: usize,
    deadline: Instant,
}

struct Pending {
    ticket: Ticket,
    after: Duration,
    finish: Finish,
}

/// The fields are dropped in this order: whoever waits for `_alive` to end knows that the handle has been destroyed.
struct Poller {
    shared: Arc<Shared>,
    pending: HashMap<usize, Pending>,
    next_id: usize,
    native: Native,
    inbox: Receiver<Msg>,
    _alive: watch::Sender<()>,
}

impl Poller {
    fn run(mut self) {
        while !(self.retired() && self.pending.is_empty()) {
            let next = self.pending.values().map(|p| p.ticket.deadline).min();
            let received = match next {
                Some(at) => self.inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => self.inbox.recv().map_err(RecvTimeoutError::from),
            };
            match received {
                Ok(Msg::Call(call)) => self.submit(call),
                Ok(Msg::Listed(id, found)) => self.finish(id, &Answer::Listed(found)),
                Ok(Msg::Wake) | Err(RecvTimeoutError::Timeout) => {}
                // Cannot be: `native` holds a sender. No reason to spin if it were.
                Err(RecvTimeoutError::Disconnected) => self.shared.retire(),
            }
            self.drain();
            self.expire();
        }
        while let Ok(message) = self.inbox.try_recv() {
            if let Msg::Call(call) = message {
                (call.finish)(Err(AdminError::Retired), &self.shared);
            }
        }
    }

    fn retired(&self) -> bool {
        self.shared.retired.load(Ordering::Acquire)
    }

    fn submit(&mut self, call: Call) {
        if self.retired() {
            return (call.finish)(Err(AdminError::Retired), &self.shared);
        }
        let ticket = Ticket { call: call.name, id: self.next_id, deadline: call.deadline };
        if ticket.deadline <= Instant::now() {
            let missed = self.missed(&ticket, call.after, false);
            return (call.finish)(Err(missed), &self.shared);
        }
        self.next_id += 1;
        if let Err(error) = (call.submit)(&mut self.native, &ticket) {
            return (call.finish)(Err(error), &self.shared);
        }
        let pending = Pending { after: call.after, finish: call.finish, ticket };
        self.pending.insert(pending.ticket.id, pending);
    }

    fn drain(&mut self) {
        while let Some(mut event) = self.native.poll() {
            if let Some(error) = event.broker_error() {
                let mut last = (self.shared.broker_error.lock()).unwrap_or_else(PoisonError::into_inner);
                // "All brokers down" says less than the complaint before it.
                if error.code != KafkaCode::ALL_BROKERS_DOWN || last.is_none() {
                    *last = Some(error);
                }
            } else if let Some(pending) = self.pending.get(&event.id()) {
                event.call = pending.ticket.call;
                self.finish(event.id(), &Answer::Event(event));
            }
        }
    }

    fn finish(&mut self, id: usize, answer: &Answer) {
        if let Some(pending) = self.pending.remove(&id) {
            (pending.finish)(Ok(answer), &self.shared);
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        let late: Vec<_> = (self.pending).extract_if(|_, p| p.ticket.deadline <= now).map(|(_, p)| p).collect();
        for Pending { ticket, after, finish } in late {
            tracing::debug!(call = ticket.call, ?after, "no answer: the Kafka client is retired");
            self.shared.retire();
            finish(Err(self.missed(&ticket, after, true)), &self.shared);
        }
    }

    fn missed(&self, ticket: &Ticket, after: Duration, handed_over: bool) -> AdminError {
        AdminError::DeadlineExceeded { call: ticket.call, after, handed_over, broker: self.shared.broker_error() }
    }
}

// ---- librdkafka's own objects, each with one owner that frees it ----

/// The handle and its main queue, on which answers, errors and logs arrive.
struct Native {
    rk: *mut rd_kafka_t,
    queue: *mut rd_kafka_queue_t,
    /// Points at a sender of the thread's messages; librdkafka's threads use it until the handle is destroyed.
    waker: *mut Sender<Msg>,
    helpers: Vec<JoinHandle<()>>,
}

// SAFETY: librdkafka's handles and queues may be used from any thread, and a Native has one owner at a time. `waker` owns a
// Sender<Msg>, which is Send.
unsafe impl Send for Native {}

impl Native {
    fn new<'a>(settings: impl Iterator<Item = (&'a str, &'a str)>, calls: Sender<Msg>) -> Result<Self, AdminError> {
        const CALL: &str = "configuration";
        let mut why = [0 as c_char; 512];
        let pairs = settings.map(|(k, v)| Ok((cstring(CALL, k)?, cstring(CALL, v)?))).collect::<Result<Vec<_>, AdminError>>()?;
        // SAFETY: `conf` is ours until rd_kafka_new succeeds and is destroyed on every other way out; all strings are NUL-terminated and
        // copied; `why` is as long as said, and librdkafka terminates what it writes there.
        unsafe {
            let conf = rd_kafka_conf_new();
            for (key, value) in &pairs {
                let set = rd_kafka_conf_set(conf, key.as_ptr(), value.as_ptr(), why.as_mut_ptr(), why.len());
                if set != rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
                    rd_kafka_conf_destroy(conf);
                    return Err(AdminError::Config(text(why.as_ptr())));
                }
            }
            rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
            let kind = rd_kafka_type_t::RD_KAFKA_CONSUMER;
            let rk = rd_kafka_new(kind, conf, why.as_mut_ptr(), why.len());
            if rk.is_null() {
                rd_kafka_conf_destroy(conf);
                return Err(AdminError::Config(text(why.as_ptr())));
            }
            let queue = rd_kafka_queue_get_main(rk);
            let waker = Box::into_raw(Box::new(calls));
            // The result is 0: the log queue was asked for in the configuration.
            rd_kafka_set_log_queue(rk, queue);
            rd_kafka_queue_cb_event_enable(queue, Some(wake), waker.cast());
            // For what came before the callback was there.
            let _ = (*waker).send(Msg::Wake);
            Ok(Self { rk, queue, waker, helpers: Vec::new() })
        }
    }

    fn poll(&mut self) -> Option<Event> {
        // SAFETY: the queue is live; with time-out 0 it returns at once, null when it is empty.
        let event = unsafe { rd_kafka_queue_poll(self.queue, 0) };
        (!event.is_null()).then_some(Event { event, call: "", moved: Cell::new(false) })
    }

    /// The one call that librdkafka has only as a blocking one, so it gets a thread, which is joined before the handle is destroyed.
    fn list_groups(&mut self, group: CString, ticket: &Ticket) -> Result<(), AdminError> {
        struct Handle(*mut rd_kafka_t);
        // SAFETY: librdkafka's handles may be used from any thread; Drop of Native joins this one before it destroys the handle.
        unsafe impl Send for Handle {}
        let (call, id) = (ticket.call, ticket.id);
        let left = ticket.deadline.saturating_duration_since(Instant::now());
        // A little longer than the deadline, which is then missed here as anywhere else.
        let timeout = c_int::try_from(left.as_millis() + 20).unwrap_or(c_int::MAX);
        // SAFETY: `waker` is live until Drop.
        let calls = unsafe { (*self.waker).clone() };
        let handle = Handle(self.rk);
        let search = move || {
            let handle = handle;
            let mut list = null();
            // SAFETY: the handle is live (see above), the name lives through the call, and the list is ours to destroy.
            let found = unsafe {
                let code = rd_kafka_list_groups(handle.0, group.as_ptr(), &mut list, timeout);
                let found = !list.is_null() && (*list).group_cnt > 0;
                if !list.is_null() {
                    rd_kafka_group_list_destroy(list);
                }
                // Found on one broker is found, whatever the others say.
                if code == 0 || found { Ok(found) } else { Err(KafkaCode(code)) }
            };
            let _ = calls.send(Msg::Listed(id, found));
        };
        self.helpers.retain(|h| !h.is_finished());
        let helper = std::thread::Builder::new()
            .name("kafka-groups".into())
            .spawn(search)
            .map_err(|e| argument(call, &format!("no thread: {e}")))?;
        self.helpers.push(helper);
        Ok(())
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        for helper in self.helpers.drain(..) {
            // A helper cannot panic; if it did, it no longer uses the handle.
            let _ = helper.join();
        }
        // SAFETY: the helpers have ended, events and lists are freed where they are used, so nothing of this handle is left alive.
        // Nothing was subscribed, so there is nothing to close. rd_kafka_destroy_flags joins librdkafka's threads: afterwards nobody
        // uses `waker`.
        unsafe {
            rd_kafka_queue_cb_event_enable(self.queue, None, null_mut());
            rd_kafka_queue_destroy(self.queue);
            rd_kafka_destroy_flags(self.rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
            drop(Box::from_raw(self.waker));
        }
    }
}

/// librdkafka calls this, under the queue's lock, when the queue stops being empty.
unsafe extern "C" fn wake(_: *mut rd_kafka_t, waker: *mut c_void) {
    // SAFETY: `waker` is Native's own, freed only after librdkafka's threads have ended; a Sender may be shared between threads.
    let calls = unsafe { &*waker.cast::<Sender<Msg>>() };
    // Does not panic; fails only where the thread is ending.
    let _ = calls.send(Msg::Wake);
}

struct Options(*mut rd_kafka_AdminOptions_t);

impl Options {
    fn new(native: &Native, op: Op, ticket: &Ticket) -> Result<Self, AdminError> {
        // SAFETY: rk is live, and `op` is one of the binding's own values.
        let options = Self(unsafe { rd_kafka_AdminOptions_new(native.rk, op) });
        if options.0.is_null() {
            return Err(argument(ticket.call, "not known to librdkafka"));
        }
        // SAFETY: the options are live; a null error buffer of size 0 is allowed; the opaque is a number, never followed.
        unsafe {
            rd_kafka_AdminOptions_set_request_timeout(options.0, REQUEST_TIMEOUT_MS, null_mut(), 0);
            rd_kafka_AdminOptions_set_opaque(options.0, ptr::without_provenance_mut(ticket.id));
        }
        Ok(options)
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: ours, freed once; calls copy what they need.
        unsafe { rd_kafka_AdminOptions_destroy(self.0) };
    }
}

struct Partitions(*mut rd_kafka_topic_partition_list_t);

impl Partitions {
    fn new<'a>(call: &'static str, partitions: impl ExactSizeIterator<Item = &'a TopicPartition>) -> Result<Self, AdminError> {
        let size = c_int::try_from(partitions.len()).unwrap_or(0);
        // SAFETY: the size is only a hint; the list grows.
        let list = Self(unsafe { rd_kafka_topic_partition_list_new(size) });
        for TopicPartition { topic, partition } in partitions {
            let topic = cstring(call, topic)?;
            // SAFETY: the list is live and the name is copied.
            unsafe {
                rd_kafka_topic_partition_list_add(list.0, topic.as_ptr(), *partition);
            }
        }
        Ok(list)
    }
}

impl Drop for Partitions {
    fn drop(&mut self) {
        // SAFETY: ours, freed once, with the metadata in it.
        unsafe { rd_kafka_topic_partition_list_destroy(self.0) };
    }
}

struct Event {
    event: *mut rd_kafka_event_t,
    call: &'static str,
    moved: Cell<bool>,
}

impl Event {
    fn id(&self) -> usize {
        // SAFETY: the event is live; for events that carry no opaque the result is null, which is no call's id.
        unsafe { rd_kafka_event_opaque(self.event) }.addr()
    }

    fn broker_error(&self) -> Option<BrokerError> {
        // SAFETY: the event is live, and so are its strings, which are copied.
        unsafe {
            match rd_kafka_event_type(self.event) {
                RD_KAFKA_EVENT_ERROR => Some(BrokerError {
                    code: KafkaCode(rd_kafka_event_error(self.event)),
                    text: text(rd_kafka_event_error_string(self.event)),
                }),
                RD_KAFKA_EVENT_LOG => {
                    let (mut facility, mut line, mut level) = (null(), null(), 0);
                    rd_kafka_event_log(self.event, &mut facility, &mut line, &mut level);
                    tracing::debug!(level, facility = text(facility), "{}", text(line));
                    None
                }
                _ => None,
            }
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: ours, freed once; what was read from it has been copied.
        unsafe { rd_kafka_event_destroy(self.event) };
    }
}

// ---- reading answers ----

enum Answer {
    Event(Event),
    Listed(Result<bool, KafkaCode>),
}

impl Answer {
    fn name(&self) -> &'static str {
        match self {
            Self::Event(event) => event.call,
            Self::Listed(_) => "ListGroups",
        }
    }

    fn malformed(&self) -> AdminError {
        AdminError::Kafka { call: self.name(), code: KafkaCode::UNKNOWN, detail: "an answer to something else".to_owned() }
    }

    /// Every code in an answer comes through here, so that none of the two that retire a client is missed.
    fn code(&self, raw: i32) -> Option<KafkaCode> {
        let code = KafkaCode(raw);
        if let Self::Event(event) = self
            && code.coordinator_moved()
        {
            event.moved.set(true);
        }
        (raw != 0).then_some(code)
    }

    fn coordinator_moved(&self) -> bool {
        matches!(self, Self::Event(event) if event.moved.get())
    }

    /// The typed result, valid as long as this answer; or the error of the whole call.
    fn result<R>(&self, get: unsafe extern "C" fn(*mut rd_kafka_event_t) -> *const R) -> Result<*const R, AdminError> {
        let Self::Event(event) = self else {
            return Err(self.malformed());
        };
        // SAFETY: the event is live; `get` returns null for an event of another type.
        let (code, detail, result) = unsafe {
            let detail = text(rd_kafka_event_error_string(event.event));
            (rd_kafka_event_error(event.event), detail, get(event.event))
        };
        match self.code(code) {
            Some(code) => Err(AdminError::Kafka { call: event.call, code, detail }),
            None if result.is_null() => Err(self.malformed()),
            None => Ok(result),
        }
    }

    /// # Safety
    /// `error` is null or a live error object.
    unsafe fn check(&self, error: *const rd_kafka_error_t) -> Result<(), AdminError> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: not null, so live.
        let (code, detail) = unsafe { (rd_kafka_error_code(error), text(rd_kafka_error_string(error))) };
        match self.code(code) {
            Some(code) => Err(AdminError::Kafka { call: self.name(), code, detail }),
            None => Ok(()),
        }
    }

    /// # Safety
    /// The pointers are group results of the event in `self`.
    unsafe fn group_partitions(
        &self,
        groups: &[*const rd_kafka_group_result_t],
    ) -> Result<impl Iterator<Item = *mut Element> + use<>, AdminError> {
        let group = *groups.first().ok_or_else(|| self.malformed())?;
        // SAFETY: as promised by the caller.
        unsafe {
            self.check(rd_kafka_group_result_error(group))?;
            Ok(elements(rd_kafka_group_result_partitions(group)))
        }
    }

    /// # Safety
    /// `topic` belongs to the event in `self`.
    unsafe fn topic(&self, topic: *const rd_kafka_TopicDescription_t) -> TopicDescription {
        // SAFETY: as promised by the caller; all that is read belongs to the same event.
        unsafe {
            let infos = array(topic, rd_kafka_TopicDescription_partitions);
            let id = rd_kafka_TopicDescription_topic_id(topic);
            let failed = self.check(rd_kafka_TopicDescription_error(topic)).err();
            TopicDescription {
                name: text(rd_kafka_TopicDescription_name(topic)),
                // Kafka itself writes the URL-safe alphabet.
                topic_id: if id.is_null() { String::new() } else { text(rd_kafka_Uuid_base64str(id)).replace('+', "-").replace('/', "_") },
                is_internal: rd_kafka_TopicDescription_is_internal(topic) != 0,
                partitions: (infos.iter())
                    .map(|info| PartitionInfo {
                        partition: rd_kafka_TopicPartitionInfo_partition(*info),
                        leader: node(rd_kafka_TopicPartitionInfo_leader(*info)).map(|n| n.id).filter(|id| *id >= 0),
                    })
                    .collect(),
                error: failed.and_then(|e| e.code()),
            }
        }
    }

    /// # Safety
    /// `group` belongs to the event in `self`.
    unsafe fn group(&self, group: *const Described) -> Result<GroupDescription, AdminError> {
        let mut count = 0;
        // SAFETY: as promised by the caller; all that is read belongs to the same event. Operations are 32-bit enums, read as i32.
        unsafe {
            self.check(rd_kafka_ConsumerGroupDescription_error(group))?;
            let operations = rd_kafka_ConsumerGroupDescription_authorized_operations(group, &mut count).cast::<i32>();
            let members = rd_kafka_ConsumerGroupDescription_member_count(group);
            Ok(GroupDescription {
                state: rd_kafka_ConsumerGroupDescription_state(group).into(),
                group_type: rd_kafka_ConsumerGroupDescription_type(group).into(),
                is_simple: rd_kafka_ConsumerGroupDescription_is_simple_consumer_group(group) != 0,
                coordinator: node(rd_kafka_ConsumerGroupDescription_coordinator(group)),
                members: (0..members).map(|i| member(rd_kafka_ConsumerGroupDescription_member(group, i))).collect(),
                authorized_operations: (!operations.is_null()).then(|| (0..count).map(|i| (*operations.add(i)).into()).collect()),
            })
        }
    }

    /// # Safety
    /// `element` is live.
    unsafe fn committed(&self, element: *const Element) -> CommittedOffset {
        // SAFETY: as promised by the caller; metadata is `metadata_size` bytes or null.
        unsafe {
            let offset = (*element).offset;
            let (bytes, size) = ((*element).metadata.cast::<u8>(), (*element).metadata_size);
            let metadata = if bytes.is_null() || size == 0 {
                String::new()
            } else {
                String::from_utf8_lossy(std::slice::from_raw_parts(bytes, size)).into_owned()
            };
            CommittedOffset {
                offset: (offset >= 0).then_some(offset),
                leader_epoch: epoch(element),
                metadata,
                error: self.code(error(element)),
            }
        }
    }

    /// # Safety
    /// `info` belongs to the event in `self`.
    unsafe fn listed(&self, info: *const rd_kafka_ListOffsetsResultInfo_t) -> (TopicPartition, Result<ListedOffset, KafkaCode>) {
        // SAFETY: as promised by the caller.
        unsafe {
            let element = rd_kafka_ListOffsetsResultInfo_topic_partition(info);
            let listed = match (self.code(error(element)), (*element).offset) {
                (Some(code), _) => Err(code),
                // librdkafka's "invalid" (-1001) under error 0: it had no answer in time.
                (None, ..-1) => Err(KafkaCode::TIMED_OUT),
                (None, offset) => {
                    Ok(ListedOffset { offset, timestamp: rd_kafka_ListOffsetsResultInfo_timestamp(info), leader_epoch: epoch(element) })
                }
            };
            (partition(element), listed)
        }
    }
}

/// # Safety
/// `group` is live.
unsafe fn listing(group: *const rd_kafka_ConsumerGroupListing_t) -> GroupListing {
    // SAFETY: as promised by the caller.
    unsafe {
        GroupListing {
            group_id: text(rd_kafka_ConsumerGroupListing_group_id(group)),
            state: rd_kafka_ConsumerGroupListing_state(group).into(),
            group_type: rd_kafka_ConsumerGroupListing_type(group).into(),
            is_simple: rd_kafka_ConsumerGroupListing_is_simple_consumer_group(group) != 0,
        }
    }
}

/// # Safety
/// `member` is live.
unsafe fn member(member: *const rd_kafka_MemberDescription_t) -> GroupMember {
    // SAFETY: as promised by the caller; an assignment and its list may be null.
    unsafe {
        let instance = rd_kafka_MemberDescription_group_instance_id(member);
        let assignment = rd_kafka_MemberDescription_assignment(member);
        let assigned = if assignment.is_null() { null() } else { rd_kafka_MemberAssignment_partitions(assignment) };
        GroupMember {
            client_id: text(rd_kafka_MemberDescription_client_id(member)),
            host: text(rd_kafka_MemberDescription_host(member)),
            member_id: text(rd_kafka_MemberDescription_consumer_id(member)),
            group_instance_id: Some(text(instance)).filter(|i| !i.is_empty()),
            assigned_partitions: elements(assigned).count(),
        }
    }
}

/// # Safety
/// `node` is null or live.
unsafe fn node(node: *const rd_kafka_Node_t) -> Option<Node> {
    // SAFETY: as promised by the caller.
    (!node.is_null())
        .then(|| unsafe { Node { id: rd_kafka_Node_id(node), host: text(rd_kafka_Node_host(node)), port: rd_kafka_Node_port(node) } })
}

/// # Safety
/// `element` is live and belongs to a list of ours.
unsafe fn set_commit(element: *mut Element, commit: &OffsetCommit) {
    // SAFETY: as promised by the caller. The metadata comes from librdkafka's own allocator, because the list frees it there; it is as
    // long as said.
    unsafe {
        (*element).offset = commit.offset;
        if let Some(epoch) = commit.leader_epoch {
            rd_kafka_topic_partition_set_leader_epoch(element, epoch);
        }
        if let Some(metadata) = commit.metadata.as_deref().filter(|m| !m.is_empty()) {
            let copy = rd_kafka_mem_malloc(null_mut(), metadata.len());
            ptr::copy_nonoverlapping(metadata.as_ptr(), copy.cast(), metadata.len());
            (*element).metadata = copy;
            (*element).metadata_size = metadata.len();
        }
    }
}

/// # Safety
/// `list` is null, or live for as long as the iterator and its elements are used.
unsafe fn elements(list: *const rd_kafka_topic_partition_list_t) -> impl Iterator<Item = *mut Element> + use<> {
    // SAFETY: as promised by the caller; `elems` has `cnt` elements.
    let (first, count) =
        if list.is_null() { (null_mut(), 0) } else { unsafe { ((*list).elems, usize::try_from((*list).cnt).unwrap_or(0)) } };
    // SAFETY: below `count`, so within the array.
    (0..count).map(move |i| unsafe { first.add(i) })
}

/// # Safety
/// `element` is live.
unsafe fn partition(element: *const Element) -> TopicPartition {
    // SAFETY: as promised by the caller.
    unsafe { TopicPartition { topic: text((*element).topic), partition: (*element).partition } }
}

/// # Safety
/// `element` is live.
unsafe fn error(element: *const Element) -> i32 {
    // SAFETY: as promised by the caller; the field is a 32-bit C enum, read through its address and never as the binding's enum.
    unsafe { (&raw const (*element).err).cast::<i32>().read() }
}

/// # Safety
/// `element` is live.
unsafe fn epoch(element: *const Element) -> Option<i32> {
    // SAFETY: as promised by the caller.
    let epoch = unsafe { rd_kafka_topic_partition_get_leader_epoch(element) };
    (epoch >= 0).then_some(epoch)
}

/// # Safety
/// `string` is null or NUL-terminated and live.
unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: as promised by the caller.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

/// The array that `get` returns for `of`.
///
/// # Safety
/// `of` is live and `get` is librdkafka's accessor for it: it sets the count and returns so many pointers, or null, that
/// stay as long as `of`.
unsafe fn array<'a, R, T>(of: *const R, get: unsafe extern "C" fn(*const R, *mut usize) -> *mut *const T) -> &'a [*const T] {
    let mut count = 0;
    // SAFETY: as promised by the caller.
    unsafe {
        match get(of, &mut count) {
            first if first.is_null() || count == 0 => &[],
            first => std::slice::from_raw_parts(first, count),
        }
    }
}

/// For option setters that cannot fail here: the option belongs to the call.
///
/// # Safety
/// `error` is null or an error object that nobody else frees.
unsafe fn discard(error: *mut rd_kafka_error_t) {
    if !error.is_null() {
        // SAFETY: as promised by the caller.
        unsafe { rd_kafka_error_destroy(error) };
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

fn argument(call: &'static str, reason: &str) -> AdminError {
    AdminError::Argument { call, reason: reason.to_owned() }
}

fn cstring(call: &'static str, value: &str) -> Result<CString, AdminError> {
    CString::new(value).map_err(|_| argument(call, "a NUL character in a name"))
}

/// The broker accepts a group without a name; nobody means it.
fn group_name(call: &'static str, group: &str) -> Result<CString, AdminError> {
    if group.is_empty() {
        return Err(argument(call, "a group without a name"));
    }
    cstring(call, group)
}
