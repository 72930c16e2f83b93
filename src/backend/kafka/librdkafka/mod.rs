//! librdkafka's admin calls behind safe functions. The only file of the project with `unsafe` in it.
//!
//! [`Native`] is the handle: it takes calls and hands out [`Event`]s; [`Answer`] reads one. It lives in a process of its own
//! (`process`), whose main thread owns it, so no pointer leaves that; `clients::client` is what the rest of the operator calls.
//! Two rules here keep librdkafka 2.12 from ending that process: its own request time-outs never pass (they are an hour, and deadlines
//! are shorter than any of its own), and the handle is of the consumer type (never subscribed). The handle is never destroyed: the
//! process ends.
//!
//! Error codes and states are read as `i32`: brokers and librdkafka know values that the binding's enums lack.
//! What leaves this file is in `admin_types`. Nothing here retries or decides.
#![deny(unsafe_op_in_unsafe_fn)]

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::net::{IpAddr, SocketAddr};
use std::ptr::{self, null, null_mut};
use std::time::Duration;

use rdkafka::bindings::*;

use super::admin::{
    AdminError, BrokerError, ClusterDescription, CommittedOffset, GroupDescription, GroupMember, IsolationLevel, KafkaCode, ListedOffset,
    OffsetCommit, OffsetSpec, PartitionInfo, TopicDescription, TopicPartition,
};

const REQUEST_TIMEOUT_MS: c_int = 3_600_000;

/// Bytes of a thread's stack. librdkafka has a thread for each broker, and what they reserve counts against the process's memory; by
/// default that is 8 MiB each, and a cluster of forty brokers would be too large.
const STACK: usize = 256 << 10;

/// Wins over whatever else is configured: the process depends on it, and `clients::client` on the socket time-out.
/// No answer may be larger than what fits into the process: 16 MiB are the offsets of half a million partitions.
const FIXED: [(&str, &str); 10] = [
    ("allow.auto.create.topics", "false"),
    ("enable.auto.commit", "false"),
    ("enable.metrics.push", "false"),
    // Nothing is fetched; it may not be more than an answer may be.
    ("fetch.max.bytes", "1048576"),
    ("log.queue", "true"),
    ("receive.message.max.bytes", "16777216"),
    ("reconnect.backoff.ms", "10"),
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.nagle.disable", "true"),
    ("socket.timeout.ms", "300000"),
];

// These shadow the binding's own declarations, which would turn an unknown number into an impossible enum value.
unsafe extern "C" {
    fn pthread_setattr_default_np(attributes: *const libc::pthread_attr_t) -> c_int;
    /// Of the OpenSSL that librdkafka is linked with.
    fn X509_verify_cert_error_string(code: std::ffi::c_long) -> *const c_char;
    fn rd_kafka_err2name(code: i32) -> *const c_char;
    fn rd_kafka_err2str(code: i32) -> *const c_char;
    fn rd_kafka_event_error(event: *mut rd_kafka_event_t) -> i32;
    fn rd_kafka_error_code(error: *const rd_kafka_error_t) -> i32;
    fn rd_kafka_ConsumerGroupDescription_state(g: *const Described) -> i32;
    fn rd_kafka_ConsumerGroupDescription_authorized_operations(g: *const Described, count: *mut usize) -> *const i32;
    fn rd_kafka_TopicDescription_authorized_operations(topic: *const rd_kafka_TopicDescription_t, count: *mut usize) -> *const i32;
    fn rd_kafka_conf_set_resolve_cb(
        conf: *mut rd_kafka_conf_t,
        resolve: Option<
            unsafe extern "C" fn(*const c_char, *const c_char, *const libc::addrinfo, *mut *mut libc::addrinfo, *mut c_void) -> c_int,
        >,
    );
    fn rd_kafka_list_groups(rk: *mut rd_kafka_t, group: *const c_char, list: *mut *const rd_kafka_group_list, timeout_ms: c_int) -> i32;
}

/// `rd_kafka_AclOperation_t`: what a commit needs on the group and on the topic.
const READ: i32 = 3;

type Described = rd_kafka_ConsumerGroupDescription_t;
type Element = rd_kafka_topic_partition_t;
type List = rd_kafka_topic_partition_list_t;
pub(super) type Wake = Box<dyn Fn() + Send + Sync>;
/// The addresses of a host, with the port; none where it has none.
pub(super) type Resolve = Box<dyn Fn(&str, u16) -> Option<Vec<SocketAddr>> + Send + Sync>;
/// Whether this host, at this address, may be connected to.
pub(super) type Gate = Box<dyn Fn(&str, SocketAddr) -> bool + Send + Sync>;
/// A broker (host:port) has said that it throttles this client.
pub(super) type Throttled = Box<dyn Fn(&str) + Send + Sync>;

/// The name and the text of an error code, for any number.
pub(super) fn describe_code(code: i32) -> (String, String) {
    // SAFETY: both take any i32 and return a static or thread-local NUL-terminated string, which is copied at once.
    unsafe { (text(rd_kafka_err2name(code)), text(rd_kafka_err2str(code))) }
}

/// For threads that are made from now on, but Rust's, which say how much they want.
fn keep_stacks_small() {
    let mut attributes = std::mem::MaybeUninit::uninit();
    // SAFETY: the attributes are initialised before anything else looks at them, read while the default is set, and destroyed last. Where
    // a step fails, the default stays, which is larger.
    unsafe {
        if libc::pthread_attr_init(attributes.as_mut_ptr()) == 0 {
            if libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK) == 0 {
                pthread_setattr_default_np(attributes.as_ptr());
            }
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
        }
    }
}

/// One call in flight. librdkafka carries the id as its opaque, a number and never a pointer: a late answer finds nothing.
pub(super) struct Ticket {
    pub(super) call: &'static str,
    /// Never 0, which is what events have that answer no call.
    pub(super) id: usize,
}

// ---- the handle, and the calls it takes ----

/// The handle and its main queue, on which answers, errors and logs arrive. Both live as long as the process.
pub(super) struct Native {
    rk: *mut rd_kafka_t,
    queue: *mut rd_kafka_queue_t,
}

impl Native {
    /// `wake` is called whenever events may have arrived; it must not block, panic or use this handle. With OAUTHBEARER among the
    /// settings, events ask for tokens.
    pub(super) fn new(settings: &[(&str, &str)], wake: Wake, door: Door) -> Result<Self, AdminError> {
        const CALL: &str = "configuration";
        let mut why = [0 as c_char; 512];
        let settings = settings.iter().chain(&FIXED);
        let pairs = settings.map(|(k, v)| Ok((cstring(CALL, k)?, cstring(CALL, v)?))).collect::<Result<Vec<_>, AdminError>>()?;
        keep_stacks_small();
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
            rd_kafka_conf_set_ssl_cert_verify_cb(conf, Some(name_the_fault));
            let door = Box::into_raw(Box::new(door));
            rd_kafka_conf_set_opaque(conf, door.cast());
            rd_kafka_conf_set_connect_cb(conf, Some(connect_if_permitted));
            rd_kafka_conf_set_resolve_cb(conf, Some(resolve_name));
            rd_kafka_conf_set_throttle_cb(conf, Some(note_throttling));
            rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG | RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH);
            let kind = rd_kafka_type_t::RD_KAFKA_CONSUMER;
            let rk = rd_kafka_new(kind, conf, why.as_mut_ptr(), why.len());
            if rk.is_null() {
                rd_kafka_conf_destroy(conf);
                drop(Box::from_raw(door));
                return Err(AdminError::Config(text(why.as_ptr())));
            }
            let queue = rd_kafka_queue_get_main(rk);
            let waker = Box::into_raw(Box::new(wake));
            // The result is 0: the log queue was asked for in the configuration.
            rd_kafka_set_log_queue(rk, queue);
            rd_kafka_queue_cb_event_enable(queue, Some(wake_up), waker.cast());
            // For what came before the callback was there.
            (*waker)();
            Ok(Self { rk, queue })
        }
    }

    pub(super) fn poll(&mut self) -> Option<Event> {
        // SAFETY: the queue is live; with time-out 0 it returns at once, null when it is empty.
        let event = unsafe { rd_kafka_queue_poll(self.queue, 0) };
        (!event.is_null()).then(|| Event(Owned(event, rd_kafka_event_destroy)))
    }

    /// Hands over the token that an event asked for. `expires`: ms since 1970.
    pub(super) fn set_token(&self, token: &str, expires: i64, principal: &str) -> Result<(), AdminError> {
        const CALL: &str = "OAUTHBEARER token";
        let mut why = [0 as c_char; 512];
        let (token, principal) = (cstring(CALL, token)?, cstring(CALL, principal)?);
        // SAFETY: rk is live; the strings are NUL-terminated and copied; no extensions; `why` is as long as said.
        let set = unsafe {
            rd_kafka_oauthbearer_set_token(self.rk, token.as_ptr(), expires, principal.as_ptr(), null_mut(), 0, why.as_mut_ptr(), why.len())
                as i32
        };
        // SAFETY: librdkafka terminates what it writes there.
        if set == 0 { Ok(()) } else { Err(AdminError::Config(unsafe { text(why.as_ptr()) })) }
    }

    /// Says that there is no token; librdkafka asks again after a while.
    pub(super) fn no_token(&self, why: &str) {
        let Ok(why) = cstring("OAUTHBEARER token", why) else { return };
        // SAFETY: rk is live; the string is NUL-terminated and copied.
        unsafe { rd_kafka_oauthbearer_set_token_failure(self.rk, why.as_ptr()) };
    }

    pub(super) fn describe_cluster(&self, ticket: &Ticket) -> Result<(), AdminError> {
        let options = self.options(rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER, ticket)?;
        // SAFETY: rk and queue are live for as long as `self`; the options are copied. The same for every call below.
        unsafe { rd_kafka_DescribeCluster(self.rk, options.0, self.queue) };
        Ok(())
    }

    pub(super) fn describe_topics(&self, ticket: &Ticket, names: &[CString]) -> Result<(), AdminError> {
        let options = self.options_with_rights(rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, ticket)?;
        let mut names: Vec<_> = names.iter().map(|n| n.as_ptr()).collect();
        // SAFETY: the names outlive this function and are copied by the collection, which is destroyed here.
        unsafe {
            let topics = rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
            rd_kafka_DescribeTopics(self.rk, topics, options.0, self.queue);
            rd_kafka_TopicCollection_destroy(topics);
        }
        Ok(())
    }

    pub(super) fn describe_group(&self, ticket: &Ticket, group: &CStr) -> Result<(), AdminError> {
        let options = self.options_with_rights(rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, ticket)?;
        // SAFETY: the group's name outlives this function and is copied.
        unsafe { rd_kafka_DescribeConsumerGroups(self.rk, [group.as_ptr()].as_mut_ptr(), 1, options.0, self.queue) };
        Ok(())
    }

    /// `None`: every partition with a commit.
    pub(super) fn list_committed(
        &self,
        ticket: &Ticket,
        group: &CStr,
        wanted: Option<&[TopicPartition]>,
        require_stable: bool,
    ) -> Result<(), AdminError> {
        let options = self.options(rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, ticket)?;
        let list = list_of(wanted.map_or(0, <[_]>::len));
        for at in wanted.unwrap_or_default() {
            add(&list, ticket.call, &at.topic, at.partition, RD_KAFKA_OFFSET_INVALID.into())?;
        }
        let list = if wanted.is_some() { list.0.cast_const() } else { null() };
        // SAFETY: group and list (null = all) are copied by `_new`, whose result is copied by the call and destroyed here;
        // the setter's error, if any, is ours to free.
        unsafe {
            rd_kafka_error_destroy(rd_kafka_AdminOptions_set_require_stable_offsets(options.0, c_int::from(require_stable)));
            let mut what = [rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), list)];
            rd_kafka_ListConsumerGroupOffsets(self.rk, what.as_mut_ptr(), 1, options.0, self.queue);
            rd_kafka_ListConsumerGroupOffsets_destroy(what[0]);
        }
        Ok(())
    }

    pub(super) fn list_offsets(
        &self,
        ticket: &Ticket,
        wanted: &[(TopicPartition, OffsetSpec)],
        isolation: IsolationLevel,
    ) -> Result<(), AdminError> {
        let options = self.options(rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, ticket)?;
        let list = list_of(wanted.len());
        for (at, spec) in wanted {
            let offset = match spec {
                OffsetSpec::Timestamp(ms) => *ms,
                OffsetSpec::Latest => -1,
                OffsetSpec::Earliest => -2,
                OffsetSpec::MaxTimestamp => -3,
            };
            add(&list, ticket.call, &at.topic, at.partition, offset)?;
        }
        let level = match isolation {
            IsolationLevel::ReadUncommitted => rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
            IsolationLevel::ReadCommitted => rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
        };
        // SAFETY: list and options are copied by the call; the setter's error, if any, is ours to free.
        unsafe {
            rd_kafka_error_destroy(rd_kafka_AdminOptions_set_isolation_level(options.0, level));
            rd_kafka_ListOffsets(self.rk, list.0, options.0, self.queue);
        }
        Ok(())
    }

    pub(super) fn alter_committed(&self, ticket: &Ticket, group: &CStr, commits: &[OffsetCommit]) -> Result<(), AdminError> {
        let options = self.options(rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS, ticket)?;
        let list = list_of(commits.len());
        for commit in commits {
            let element = add(&list, ticket.call, &commit.topic, commit.partition, commit.offset)?;
            // SAFETY: the element was just added, and moves only when another is. The metadata comes from librdkafka's own allocator,
            // because the list frees it there; it is as long as said.
            unsafe {
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
        // SAFETY: group and list are copied by `_new`, whose result is copied by the call and destroyed here.
        unsafe {
            let mut what = [rd_kafka_AlterConsumerGroupOffsets_new(group.as_ptr(), list.0)];
            rd_kafka_AlterConsumerGroupOffsets(self.rk, what.as_mut_ptr(), 1, options.0, self.queue);
            rd_kafka_AlterConsumerGroupOffsets_destroy(what[0]);
        }
        Ok(())
    }

    fn options(&self, op: rd_kafka_admin_op_t, ticket: &Ticket) -> Result<Owned<rd_kafka_AdminOptions_t>, AdminError> {
        // SAFETY: rk is live, and `op` is one of the binding's own values.
        let options = unsafe { rd_kafka_AdminOptions_new(self.rk, op) };
        if options.is_null() {
            return Err(argument(ticket.call, "not known to librdkafka"));
        }
        // SAFETY: the options are live; a null error buffer of size 0 is allowed; the opaque is a number, never followed.
        unsafe {
            rd_kafka_AdminOptions_set_request_timeout(options, REQUEST_TIMEOUT_MS, null_mut(), 0);
            rd_kafka_AdminOptions_set_opaque(options, ptr::without_provenance_mut(ticket.id));
        }
        Ok(Owned(options, rd_kafka_AdminOptions_destroy))
    }

    /// The answer is to say also what the principal may do there (KIP-430).
    fn options_with_rights(&self, op: rd_kafka_admin_op_t, ticket: &Ticket) -> Result<Owned<rd_kafka_AdminOptions_t>, AdminError> {
        let options = self.options(op, ticket)?;
        // SAFETY: the options are live and of an operation that takes this; an error, which may be null, is destroyed here.
        unsafe { rd_kafka_error_destroy(rd_kafka_AdminOptions_set_include_authorized_operations(options.0, 1)) };
        Ok(options)
    }

    /// The one call that librdkafka has only as a blocking one, so it gets a thread.
    /// `done` is told whether any broker lists a group of this name, of whatever type.
    pub(super) fn list_groups(
        &self,
        ticket: &Ticket,
        group: CString,
        left: Duration,
        done: impl FnOnce(Result<bool, KafkaCode>) + Send + 'static,
    ) -> Result<(), AdminError> {
        struct Handle(*mut rd_kafka_t);
        // SAFETY: librdkafka's handles may be used from any thread; this one is never destroyed.
        unsafe impl Send for Handle {}
        // A little longer than the deadline, which is then missed here as anywhere else.
        let timeout = c_int::try_from(left.as_millis() + 20).unwrap_or(c_int::MAX);
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
            done(found);
        };
        std::thread::Builder::new()
            .name("kafka-groups".into())
            .spawn(search)
            .map_err(|e| argument(ticket.call, &format!("no thread: {e}")))?;
        Ok(())
    }
}

/// librdkafka calls this, under the queue's lock, when the queue stops being empty.
unsafe extern "C" fn wake_up(_: *mut rd_kafka_t, waker: *mut c_void) {
    // SAFETY: `waker` is never freed; a Wake may be shared between threads.
    unsafe { (*waker.cast::<Wake>())() };
}

// ---- librdkafka's other objects ----

/// Never null, with the function that frees it.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: ours, freed once and by its own function; calls copied what they need, and so did whoever read it.
        unsafe { (self.1)(self.0) };
    }
}

/// An empty list; `size` is only a hint.
fn list_of(size: usize) -> Owned<List> {
    // SAFETY: any size is allowed, and the result is never null.
    Owned(unsafe { rd_kafka_topic_partition_list_new(c_int::try_from(size).unwrap_or(0)) }, rd_kafka_topic_partition_list_destroy)
}

/// The new element may be used until the next is added.
fn add(list: &Owned<List>, call: &'static str, topic: &str, partition: i32, offset: i64) -> Result<*mut Element, AdminError> {
    let topic = cstring(call, topic)?;
    // SAFETY: the list is live, the name is copied, and the element is the list's own.
    unsafe {
        let element = rd_kafka_topic_partition_list_add(list.0, topic.as_ptr(), partition);
        (*element).offset = offset;
        Ok(element)
    }
}

/// What arrives on a handle's queue: an answer, a complaint about a connection, a line of the log.
pub(super) struct Event(Owned<rd_kafka_event_t>);

impl Event {
    pub(super) fn id(&self) -> usize {
        // SAFETY: the event is live; for events that carry no opaque the result is null, which is no call's id.
        unsafe { rd_kafka_event_opaque(self.0.0) }.addr()
    }

    pub(super) fn answer_to(self, call: &'static str) -> Answer {
        Answer::Event { event: self, call, moved: Cell::new(false) }
    }

    /// A complaint about a connection; a line of the log is passed on and is none.
    /// A client that authenticates by OAUTHBEARER needs a token.
    pub(super) fn asks_for_token(&self) -> bool {
        // SAFETY: the event is live.
        unsafe { rd_kafka_event_type(self.0.0) == RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH }
    }

    pub(super) fn broker_error(&self) -> Option<BrokerError> {
        // SAFETY: the event is live, and so are its strings, which are copied.
        unsafe {
            match rd_kafka_event_type(self.0.0) {
                RD_KAFKA_EVENT_ERROR => {
                    Some(BrokerError { code: KafkaCode(rd_kafka_event_error(self.0.0)), text: text(rd_kafka_event_error_string(self.0.0)) })
                }
                RD_KAFKA_EVENT_LOG => {
                    let (mut facility, mut line, mut level) = (null(), null(), 0);
                    rd_kafka_event_log(self.0.0, &mut facility, &mut line, &mut level);
                    let (facility, line) = (text(facility), text(line));
                    tracing::debug!(level, facility, "{line}");
                    // What is wrong with a certificate, and that a broker hung up, is said nowhere else.
                    match facility.as_str() {
                        "SSLCERTVRFY" => Some(BrokerError { code: KafkaCode::SSL, text: line }),
                        "FAIL" if line.contains("Disconnected") => Some(BrokerError { code: KafkaCode::TRANSPORT, text: line }),
                        _ => None,
                    }
                }
                _ => None,
            }
        }
    }
}

/// What librdkafka asks and tells from its own threads.
pub(super) struct Door {
    /// Asked before each connection, with what `resolve` made of the name.
    pub(super) gate: Gate,
    pub(super) resolve: Resolve,
    pub(super) throttled: Throttled,
}

/// Connects a socket, which librdkafka has made not to block, where the gate lets it. 0 is success, also of a connection under way.
unsafe extern "C" fn connect_if_permitted(
    socket: c_int,
    to: *const libc::sockaddr,
    length: c_int,
    node: *const c_char,
    door: *mut c_void,
) -> c_int {
    // SAFETY: `to` is a socket address of the family it names and as long as said; `node` is NUL-terminated or null; `door` is
    // never freed.
    unsafe {
        let door = &*door.cast::<Door>();
        let address = match c_int::from((*to).sa_family) {
            libc::AF_INET => {
                let to = &*to.cast::<libc::sockaddr_in>();
                SocketAddr::new(IpAddr::V4(u32::from_be(to.sin_addr.s_addr).into()), u16::from_be(to.sin_port))
            }
            libc::AF_INET6 => {
                let to = &*to.cast::<libc::sockaddr_in6>();
                SocketAddr::new(IpAddr::V6(to.sin6_addr.s6_addr.into()), u16::from_be(to.sin6_port))
            }
            _ => return libc::EAFNOSUPPORT,
        };
        let node = text(node);
        let host = node.rsplit_once(':').map_or(node.as_str(), |(host, _)| host);
        if !(door.gate)(host, address) {
            return libc::EACCES;
        }
        match libc::connect(socket, to.cast(), length as libc::socklen_t) {
            0 => 0,
            _ => match *libc::__errno_location() {
                libc::EINPROGRESS => 0,
                errno => errno,
            },
        }
    }
}

/// Resolves a name, or, without one, frees what it gave before.
unsafe extern "C" fn resolve_name(
    node: *const c_char,
    service: *const c_char,
    _: *const libc::addrinfo,
    found: *mut *mut libc::addrinfo,
    door: *mut c_void,
) -> c_int {
    // SAFETY: `node` and `service` are NUL-terminated or null; `found` may be written to, and where `node` is null holds what this
    // function put there, which librdkafka copied; `door` is never freed. Each list is freed once, from the boxes
    // that it was made of.
    unsafe {
        if node.is_null() {
            let mut next = *found;
            while !next.is_null() {
                let info = Box::from_raw(next);
                drop(Box::from_raw(info.ai_addr.cast::<libc::sockaddr_storage>()));
                next = info.ai_next;
            }
            return 0;
        }
        let door = &*door.cast::<Door>();
        let Some(addresses) = (door.resolve)(&text(node), text(service).parse().unwrap_or(9092)) else { return libc::EAI_NONAME };
        let mut first = null_mut();
        for address in addresses.into_iter().rev() {
            let mut storage: Box<libc::sockaddr_storage> = Box::new(std::mem::zeroed());
            let (family, length) = match address {
                SocketAddr::V4(v4) => {
                    let to = (&raw mut *storage).cast::<libc::sockaddr_in>();
                    (*to).sin_family = libc::AF_INET as libc::sa_family_t;
                    (*to).sin_port = v4.port().to_be();
                    (*to).sin_addr.s_addr = u32::from(*v4.ip()).to_be();
                    (libc::AF_INET, size_of::<libc::sockaddr_in>())
                }
                SocketAddr::V6(v6) => {
                    let to = (&raw mut *storage).cast::<libc::sockaddr_in6>();
                    (*to).sin6_family = libc::AF_INET6 as libc::sa_family_t;
                    (*to).sin6_port = v6.port().to_be();
                    (*to).sin6_addr.s6_addr = v6.ip().octets();
                    (*to).sin6_scope_id = v6.scope_id();
                    (libc::AF_INET6, size_of::<libc::sockaddr_in6>())
                }
            };
            let mut info: Box<libc::addrinfo> = Box::new(std::mem::zeroed());
            (info.ai_family, info.ai_socktype) = (family, libc::SOCK_STREAM);
            info.ai_addrlen = length as libc::socklen_t;
            info.ai_addr = Box::into_raw(storage).cast();
            info.ai_next = first;
            first = Box::into_raw(info);
        }
        *found = first;
        0
    }
}

/// 0 ms: no longer.
unsafe extern "C" fn note_throttling(_: *mut rd_kafka_t, broker: *const c_char, _: i32, ms: c_int, door: *mut c_void) {
    // SAFETY: `broker` is NUL-terminated or null; `door` is never freed.
    unsafe {
        if ms > 0 {
            ((*door.cast::<Door>()).throttled)(&text(broker));
        }
    }
}

/// Leaves OpenSSL's verdict on a certificate as it is, and puts it into words: librdkafka's own are the same for every fault.
unsafe extern "C" fn name_the_fault(
    _: *mut rd_kafka_t,
    _: *const c_char,
    _: i32,
    code: *mut c_int,
    _: c_int,
    _: *const c_char,
    _: usize,
    why: *mut c_char,
    room: usize,
    _: *mut c_void,
) -> c_int {
    // SAFETY: librdkafka's pointers are live for the call and `why` has `room` bytes, at least one; OpenSSL's string is static. What
    // is written ends with a NUL inside of the room.
    unsafe {
        if *code == 0 {
            return 1;
        }
        let words = CStr::from_ptr(X509_verify_cert_error_string((*code).into())).to_bytes();
        let length = words.len().min(room.saturating_sub(1));
        ptr::copy_nonoverlapping(words.as_ptr().cast(), why, length);
        *why.add(length) = 0;
        0
    }
}

// ---- reading answers ----

pub(super) enum Answer {
    Event { event: Event, call: &'static str, moved: Cell<bool> },
    Listed(Result<bool, KafkaCode>),
}

impl Answer {
    fn name(&self) -> &'static str {
        match self {
            Self::Event { call, .. } => call,
            Self::Listed(_) => "ListGroups",
        }
    }

    fn malformed(&self) -> AdminError {
        AdminError::Kafka { call: self.name(), code: KafkaCode::UNKNOWN, detail: "an answer to something else".to_owned() }
    }

    /// Every code in an answer comes through here, so that none of the two that retire a client is missed.
    fn code(&self, raw: i32) -> Option<KafkaCode> {
        let code = KafkaCode(raw);
        if let Self::Event { moved, .. } = self
            && code.coordinator_moved()
        {
            moved.set(true);
        }
        (raw != 0).then_some(code)
    }

    /// To be asked after the answer has been read.
    pub(super) fn coordinator_moved(&self) -> bool {
        matches!(self, Self::Event { moved, .. } if moved.get())
    }

    /// The typed result, valid as long as this answer; or the error of the whole call.
    fn result<R>(&self, get: unsafe extern "C" fn(*mut rd_kafka_event_t) -> *const R) -> Result<*const R, AdminError> {
        let Self::Event { event: Event(Owned(event, _)), call, .. } = self else {
            return Err(self.malformed());
        };
        // SAFETY: the event is live; `get` returns null for an event of another type.
        let (code, detail, result) = unsafe {
            let detail = text(rd_kafka_event_error_string(*event));
            (rd_kafka_event_error(*event), detail, get(*event))
        };
        match self.code(code) {
            Some(code) => Err(AdminError::Kafka { call, code, detail }),
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

    pub(super) fn cluster(&self) -> Result<ClusterDescription, AdminError> {
        let result = self.result(rd_kafka_event_DescribeCluster_result)?;
        // SAFETY: `result` and all it points to live as long as the event in `self`. The same for every answer below.
        Ok(ClusterDescription { cluster_id: unsafe { text(rd_kafka_DescribeCluster_result_cluster_id(result)) } })
    }

    pub(super) fn topics(&self) -> Result<Vec<TopicDescription>, AdminError> {
        let result = self.result(rd_kafka_event_DescribeTopics_result)?;
        // SAFETY: as in `cluster`; a leader and an id may be null.
        unsafe {
            let partition = |info| {
                let leader = rd_kafka_TopicPartitionInfo_leader(info);
                let leader = if leader.is_null() { -1 } else { rd_kafka_Node_id(leader) };
                PartitionInfo { partition: rd_kafka_TopicPartitionInfo_partition(info), leader: (leader >= 0).then_some(leader) }
            };
            let topic = |topic| {
                let id = rd_kafka_TopicDescription_topic_id(topic);
                let id = if id.is_null() { null() } else { rd_kafka_Uuid_base64str(id) };
                TopicDescription {
                    name: text(rd_kafka_TopicDescription_name(topic)),
                    // Kafka itself writes the URL-safe alphabet.
                    topic_id: text(id).replace('+', "-").replace('/', "_"),
                    partitions: array(topic, rd_kafka_TopicDescription_partitions).into_iter().map(partition).collect(),
                    error: self.check(rd_kafka_TopicDescription_error(topic)).err().and_then(|e| e.code()),
                    may_read: may_read(topic, rd_kafka_TopicDescription_authorized_operations),
                }
            };
            Ok(array(result, rd_kafka_DescribeTopics_result_topics).into_iter().map(topic).collect())
        }
    }

    pub(super) fn group(&self) -> Result<GroupDescription, AdminError> {
        let result = self.result(rd_kafka_event_DescribeConsumerGroups_result)?;
        // SAFETY: as in `cluster`; a member is asked for by an index below the count.
        unsafe {
            let groups = array(result, rd_kafka_DescribeConsumerGroups_result_groups);
            let group = *groups.first().ok_or_else(|| self.malformed())?;
            self.check(rd_kafka_ConsumerGroupDescription_error(group))?;
            let members = 0..rd_kafka_ConsumerGroupDescription_member_count(group);
            let member = |member| GroupMember {
                client_id: text(rd_kafka_MemberDescription_client_id(member)),
                host: text(rd_kafka_MemberDescription_host(member)),
                instance_id: Some(text(rd_kafka_MemberDescription_group_instance_id(member))).filter(|id| !id.is_empty()),
            };
            Ok(GroupDescription {
                state: rd_kafka_ConsumerGroupDescription_state(group).into(),
                may_read: may_read(group, rd_kafka_ConsumerGroupDescription_authorized_operations),
                members: members.map(|i| member(rd_kafka_ConsumerGroupDescription_member(group, i))).collect(),
            })
        }
    }

    pub(super) fn is_listed(&self) -> Result<bool, AdminError> {
        match self {
            Self::Listed(Ok(found)) => Ok(*found),
            Self::Listed(Err(code)) => Err(AdminError::Kafka { call: self.name(), code: *code, detail: String::new() }),
            Self::Event { .. } => Err(self.malformed()),
        }
    }

    pub(super) fn committed(&self) -> Result<BTreeMap<TopicPartition, CommittedOffset>, AdminError> {
        let result = self.result(rd_kafka_event_ListConsumerGroupOffsets_result)?;
        // SAFETY: as in `cluster`.
        let rows = unsafe { self.rows(array(result, rd_kafka_ListConsumerGroupOffsets_result_groups))? };
        let committed = |Row { at, offset, leader_epoch, metadata, error }| {
            let offset = (offset >= 0).then_some(offset);
            (at, CommittedOffset { offset, leader_epoch, metadata, error: self.code(error) })
        };
        Ok(rows.into_iter().map(committed).collect())
    }

    pub(super) fn altered(&self) -> Result<HashMap<TopicPartition, Result<(), KafkaCode>>, AdminError> {
        let result = self.result(rd_kafka_event_AlterConsumerGroupOffsets_result)?;
        // SAFETY: as in `cluster`.
        let rows = unsafe { self.rows(array(result, rd_kafka_AlterConsumerGroupOffsets_result_groups))? };
        Ok(rows.into_iter().map(|row| (row.at, self.code(row.error).map_or(Ok(()), Err))).collect())
    }

    pub(super) fn listed(&self) -> Result<HashMap<TopicPartition, Result<ListedOffset, KafkaCode>>, AdminError> {
        let result = self.result(rd_kafka_event_ListOffsets_result)?;
        let listed = |info| {
            // SAFETY: as in `cluster`; every info has its partition.
            let (row, timestamp) = unsafe {
                let element = rd_kafka_ListOffsetsResultInfo_topic_partition(info);
                (row(element), rd_kafka_ListOffsetsResultInfo_timestamp(info))
            };
            let answer = match (self.code(row.error), row.offset) {
                (Some(code), _) => Err(code),
                // librdkafka's "invalid" (-1001) under error 0: it had no answer in time.
                (None, ..-1) => Err(KafkaCode::TIMED_OUT),
                (None, offset) => Ok(ListedOffset { offset, timestamp, leader_epoch: row.leader_epoch }),
            };
            (row.at, answer)
        };
        // SAFETY: as in `cluster`.
        Ok(unsafe { array(result, rd_kafka_ListOffsets_result_infos) }.into_iter().map(listed).collect())
    }

    /// The partitions of the one group that was asked about.
    ///
    /// # Safety
    /// The pointers are group results of the event in `self`.
    unsafe fn rows(&self, groups: Vec<*const rd_kafka_group_result_t>) -> Result<Vec<Row>, AdminError> {
        let group = *groups.first().ok_or_else(|| self.malformed())?;
        // SAFETY: as promised by the caller; a list is null or has `cnt` elements.
        unsafe {
            self.check(rd_kafka_group_result_error(group))?;
            let list = rd_kafka_group_result_partitions(group);
            let count = if list.is_null() { 0 } else { usize::try_from((*list).cnt).unwrap_or(0) };
            Ok((0..count).map(|i| row((*list).elems.add(i))).collect())
        }
    }
}

/// One partition of an answer, copied.
struct Row {
    at: TopicPartition,
    offset: i64,
    leader_epoch: Option<i32>,
    metadata: String,
    error: i32,
}

/// # Safety
/// `element` is live.
unsafe fn row(element: *const Element) -> Row {
    // SAFETY: as promised by the caller. Metadata is `metadata_size` bytes or null. The error is a 32-bit C enum, read through its
    // address and never as the binding's enum.
    unsafe {
        let epoch = rd_kafka_topic_partition_get_leader_epoch(element);
        let (bytes, size) = ((*element).metadata.cast::<u8>(), (*element).metadata_size);
        let metadata = if bytes.is_null() { &[] } else { std::slice::from_raw_parts(bytes, size) };
        Row {
            at: TopicPartition { topic: text((*element).topic), partition: (*element).partition },
            offset: (*element).offset,
            leader_epoch: (epoch >= 0).then_some(epoch),
            metadata: String::from_utf8_lossy(metadata).into_owned(),
            error: (&raw const (*element).err).cast::<i32>().read(),
        }
    }
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
unsafe fn array<R, T>(of: *const R, get: unsafe extern "C" fn(*const R, *mut usize) -> *mut *const T) -> Vec<*const T> {
    let mut count = 0;
    // SAFETY: as promised by the caller.
    unsafe {
        let first = get(of, &mut count);
        if first.is_null() { Vec::new() } else { std::slice::from_raw_parts(first, count).to_vec() }
    }
}

/// Whether Read is among the operations that `get` returns for `of`; None where the broker does not say.
///
/// # Safety
/// As [`array`], of numbers.
unsafe fn may_read<R>(of: *const R, get: unsafe extern "C" fn(*const R, *mut usize) -> *const i32) -> Option<bool> {
    let mut count = 0;
    // SAFETY: as promised by the caller.
    let operations = unsafe {
        let first = get(of, &mut count);
        if first.is_null() { &[] } else { std::slice::from_raw_parts(first, count) }
    };
    (!operations.is_empty()).then(|| operations.contains(&READ))
}

pub(super) fn argument(call: &'static str, reason: &str) -> AdminError {
    AdminError::Argument { call, reason: reason.to_owned() }
}

pub(super) fn cstring(call: &'static str, value: &str) -> Result<CString, AdminError> {
    CString::new(value).map_err(|_| argument(call, "a NUL character in a name"))
}
