//! What arrives on a handle's queue, copied into plain values.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::ptr::null;

use super::ffi::*;
use crate::backend::kafka::admin::*;

/// What arrives on a handle's queue: an answer, a complaint about a connection, a line of the log.
pub struct Event(pub(super) Owned<rd_kafka_event_t>);

impl Event {
    pub fn id(&self) -> usize {
        // SAFETY: the event is live; for events that carry no opaque the result is null, which is no call's id.
        unsafe { rd_kafka_event_opaque(self.0.0) }.addr()
    }

    pub fn answer_to(self, call: &'static str) -> AdminReply {
        AdminReply::Event { event: self, call, moved: Cell::new(false) }
    }

    /// A client that authenticates by OAUTHBEARER needs a token.
    pub fn asks_for_token(&self) -> bool {
        // SAFETY: the event is live.
        unsafe { rd_kafka_event_type(self.0.0) == RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH }
    }

    /// A complaint about a connection. Of the log lines only those count that say what no other event says.
    pub fn broker_error(&self) -> Option<BrokerError> {
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
                    // Only the log says what is wrong with a certificate, and that a broker hung up.
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

pub enum AdminReply {
    Event { event: Event, call: &'static str, moved: Cell<bool> },
    Listed(Result<bool, KafkaCode>),
}

impl AdminReply {
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

    /// Valid only after the answer has been read.
    pub fn coordinator_moved(&self) -> bool {
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

    pub fn cluster(&self) -> Result<ClusterDescription, AdminError> {
        let result = self.result(rd_kafka_event_DescribeCluster_result)?;
        // SAFETY: `result` and all it points to live as long as the event in `self`. The same for every answer below.
        Ok(ClusterDescription { cluster_id: unsafe { text(rd_kafka_DescribeCluster_result_cluster_id(result)) } })
    }

    pub fn topics(&self) -> Result<Vec<TopicDescription>, AdminError> {
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
                    rights: rights(topic, rd_kafka_TopicDescription_authorized_operations),
                }
            };
            Ok(array(result, rd_kafka_DescribeTopics_result_topics).into_iter().map(topic).collect())
        }
    }

    pub fn group(&self) -> Result<GroupDescription, AdminError> {
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
                rights: rights(group, rd_kafka_ConsumerGroupDescription_authorized_operations),
                members: members.map(|i| member(rd_kafka_ConsumerGroupDescription_member(group, i))).collect(),
            })
        }
    }

    pub fn is_listed(&self) -> Result<bool, AdminError> {
        match self {
            Self::Listed(Ok(found)) => Ok(*found),
            Self::Listed(Err(code)) => Err(AdminError::Kafka { call: self.name(), code: *code, detail: String::new() }),
            Self::Event { .. } => Err(self.malformed()),
        }
    }

    pub fn committed(&self) -> Result<BTreeMap<TopicPartition, CommittedOffset>, AdminError> {
        let result = self.result(rd_kafka_event_ListConsumerGroupOffsets_result)?;
        // SAFETY: as in `cluster`.
        let rows = unsafe { self.rows(array(result, rd_kafka_ListConsumerGroupOffsets_result_groups))? };
        let committed = |Row { at, offset, leader_epoch, metadata, error }| {
            let offset = (offset >= 0).then_some(offset);
            (at, CommittedOffset { offset, leader_epoch, metadata, error: self.code(error) })
        };
        Ok(rows.into_iter().map(committed).collect())
    }

    pub fn altered(&self) -> Result<HashMap<TopicPartition, Result<(), KafkaCode>>, AdminError> {
        let result = self.result(rd_kafka_event_AlterConsumerGroupOffsets_result)?;
        // SAFETY: as in `cluster`.
        let rows = unsafe { self.rows(array(result, rd_kafka_AlterConsumerGroupOffsets_result_groups))? };
        Ok(rows.into_iter().map(|row| (row.at, self.code(row.error).map_or(Ok(()), Err))).collect())
    }

    pub fn deleted(&self) -> Result<HashMap<TopicPartition, Result<(), KafkaCode>>, AdminError> {
        let result = self.result(rd_kafka_event_DeleteConsumerGroupOffsets_result)?;
        // SAFETY: as in `cluster`.
        let rows = unsafe { self.rows(array(result, rd_kafka_DeleteConsumerGroupOffsets_result_groups))? };
        Ok(rows.into_iter().map(|row| (row.at, self.code(row.error).map_or(Ok(()), Err))).collect())
    }

    pub fn listed(&self) -> Result<HashMap<TopicPartition, Result<ListedOffset, KafkaCode>>, AdminError> {
        let result = self.result(rd_kafka_event_ListOffsets_result)?;
        let listed = |info| {
            // SAFETY: as in `cluster`; every info has its partition.
            let (row, timestamp) = unsafe {
                let element = rd_kafka_ListOffsetsResultInfo_topic_partition(info);
                (row(element), rd_kafka_ListOffsetsResultInfo_timestamp(info))
            };
            let answer = match (self.code(row.error), row.offset) {
                (Some(code), _) => Err(code),
                // librdkafka's "invalid" (-1001) without an error code means that it got no answer in time.
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
