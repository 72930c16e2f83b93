//! The handle, and the calls it takes. Nothing here retries or decides.
//!
//! Two rules keep librdkafka 2.12 from ending or hanging the process: its own request time-outs never pass (they are an hour, and
//! deadlines are shorter than any of its own), and the handle is of the consumer type (never subscribed). The handle is never destroyed:
//! the process ends.

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::{self, null, null_mut};
use std::time::Duration;

use super::answer::Event;
use super::callbacks::{Callbacks, Wake, connect_if_permitted, name_the_fault, note_throttling, resolve_name, wake_up};
use super::ffi::*;
use crate::backend::kafka::admin::{AdminError, IsolationLevel, KafkaCode, OffsetCommit, OffsetSpec, TopicPartition};

const REQUEST_TIMEOUT_MS: c_int = 3_600_000;

/// Stack size of a thread, in bytes. librdkafka has a thread for each broker, and reserved stacks count against the process's memory limit:
/// with the default of 8 MiB each, a cluster of forty brokers would exceed it.
const STACK: usize = 256 << 10;

/// These win over all other settings: the process depends on them, and `client` on the socket time-out. No answer may be larger than what
/// fits into the process: 16 MiB are the offsets of half a million partitions.
const FIXED: [(&str, &str); 10] = [
    ("allow.auto.create.topics", "false"),
    ("enable.auto.commit", "false"),
    ("enable.metrics.push", "false"),
    // Nothing is fetched, but this must not exceed the largest answer.
    ("fetch.max.bytes", "1048576"),
    ("log.queue", "true"),
    ("receive.message.max.bytes", "16777216"),
    ("reconnect.backoff.ms", "10"),
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.nagle.disable", "true"),
    ("socket.timeout.ms", "300000"),
];

/// For threads that are created from now on, except Rust's, which set a size of their own.
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

/// One call in flight. librdkafka carries the id as its opaque, a number and never a pointer, so a late answer just finds no call.
pub struct Ticket {
    pub call: &'static str,
    /// Never 0, which is the id in events that answer no call.
    pub id: usize,
}

/// The handle and its main queue, on which answers, errors and logs arrive. Both live as long as the process.
pub struct Handle {
    rk: *mut rd_kafka_t,
    queue: *mut rd_kafka_queue_t,
}

impl Handle {
    /// `wake` is called whenever events may have arrived; it must not block, panic or use this handle. With OAUTHBEARER among the
    /// settings, events ask for tokens.
    pub fn new(settings: &[(&str, &str)], wake: Wake, callbacks: Callbacks) -> Result<Self, AdminError> {
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
            let callbacks = Box::into_raw(Box::new(callbacks));
            rd_kafka_conf_set_opaque(conf, callbacks.cast());
            rd_kafka_conf_set_connect_cb(conf, Some(connect_if_permitted));
            rd_kafka_conf_set_resolve_cb(conf, Some(resolve_name));
            rd_kafka_conf_set_throttle_cb(conf, Some(note_throttling));
            rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG | RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH);
            let kind = rd_kafka_type_t::RD_KAFKA_CONSUMER;
            let rk = rd_kafka_new(kind, conf, why.as_mut_ptr(), why.len());
            if rk.is_null() {
                rd_kafka_conf_destroy(conf);
                drop(Box::from_raw(callbacks));
                return Err(AdminError::Config(text(why.as_ptr())));
            }
            let queue = rd_kafka_queue_get_main(rk);
            let waker = Box::into_raw(Box::new(wake));
            // The result is 0: the log queue was asked for in the configuration.
            rd_kafka_set_log_queue(rk, queue);
            rd_kafka_queue_cb_event_enable(queue, Some(wake_up), waker.cast());
            // For events that arrived before the callback was set.
            (*waker)();
            Ok(Self { rk, queue })
        }
    }

    pub fn poll(&mut self) -> Option<Event> {
        // SAFETY: the queue is live; with time-out 0 it returns at once, null when it is empty.
        let event = unsafe { rd_kafka_queue_poll(self.queue, 0) };
        (!event.is_null()).then(|| Event(Owned(event, rd_kafka_event_destroy)))
    }

    /// Hands over the token that an event asked for. `expires`: ms since 1970.
    pub fn set_token(&self, token: &str, expires: i64, principal: &str) -> Result<(), AdminError> {
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
    pub fn no_token(&self, why: &str) {
        let Ok(why) = cstring("OAUTHBEARER token", why) else { return };
        // SAFETY: rk is live; the string is NUL-terminated and copied.
        unsafe { rd_kafka_oauthbearer_set_token_failure(self.rk, why.as_ptr()) };
    }

    pub fn describe_cluster(&self, ticket: &Ticket) -> Result<(), AdminError> {
        let options = self.options(rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER, ticket)?;
        // SAFETY: rk and queue are live for as long as `self`; the options are copied. The same for every call below.
        unsafe { rd_kafka_DescribeCluster(self.rk, options.0, self.queue) };
        Ok(())
    }

    pub fn describe_topics(&self, ticket: &Ticket, names: &[CString]) -> Result<(), AdminError> {
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

    pub fn describe_group(&self, ticket: &Ticket, group: &CStr) -> Result<(), AdminError> {
        let options = self.options_with_rights(rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, ticket)?;
        // SAFETY: the group's name outlives this function and is copied.
        unsafe { rd_kafka_DescribeConsumerGroups(self.rk, [group.as_ptr()].as_mut_ptr(), 1, options.0, self.queue) };
        Ok(())
    }

    /// `None`: every partition with a commit.
    pub fn list_committed(
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

    pub fn list_offsets(
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

    pub fn alter_committed(&self, ticket: &Ticket, group: &CStr, commits: &[OffsetCommit]) -> Result<(), AdminError> {
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

    pub fn delete_committed(&self, ticket: &Ticket, group: &CStr, partitions: &[TopicPartition]) -> Result<(), AdminError> {
        let options = self.options(rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS, ticket)?;
        let list = list_of(partitions.len());
        for at in partitions {
            add(&list, ticket.call, &at.topic, at.partition, RD_KAFKA_OFFSET_INVALID.into())?;
        }
        // SAFETY: as in `alter_committed`.
        unsafe {
            let mut what = [rd_kafka_DeleteConsumerGroupOffsets_new(group.as_ptr(), list.0)];
            rd_kafka_DeleteConsumerGroupOffsets(self.rk, what.as_mut_ptr(), 1, options.0, self.queue);
            rd_kafka_DeleteConsumerGroupOffsets_destroy(what[0]);
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

    /// Options that also ask what the principal may do there (KIP-430).
    fn options_with_rights(&self, op: rd_kafka_admin_op_t, ticket: &Ticket) -> Result<Owned<rd_kafka_AdminOptions_t>, AdminError> {
        let options = self.options(op, ticket)?;
        // SAFETY: the options are live and of an operation that takes this; an error, which may be null, is destroyed here.
        unsafe { rd_kafka_error_destroy(rd_kafka_AdminOptions_set_include_authorized_operations(options.0, 1)) };
        Ok(options)
    }

    /// librdkafka has only a blocking form of this call, so it gets a thread.
    /// `done` is told whether any broker lists a group of this name, of whatever type.
    pub fn list_groups(
        &self,
        ticket: &Ticket,
        group: CString,
        left: Duration,
        done: impl FnOnce(Result<bool, KafkaCode>) + Send + 'static,
    ) -> Result<(), AdminError> {
        struct SharedHandle(*mut rd_kafka_t);
        // SAFETY: librdkafka's handles may be used from any thread; this one is never destroyed.
        unsafe impl Send for SharedHandle {}
        // A little longer than the deadline, so that the call misses its deadline like any other.
        let timeout = c_int::try_from(left.as_millis() + 20).unwrap_or(c_int::MAX);
        let handle = SharedHandle(self.rk);
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
                // A group found on one broker exists, whatever the others answer.
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
