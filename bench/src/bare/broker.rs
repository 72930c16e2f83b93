//! The calls of a reset to one broker, one after another on one connection that is open already.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use kafka_protocol::messages::describe_groups_request::DescribeGroupsRequest;
use kafka_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{ApiKey, BrokerId, GroupId, RequestHeader, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Offsets by topic and partition.
pub type Offsets = BTreeMap<(String, i32), i64>;

/// Topics, and how many partitions each has.
pub type Topics = [(String, i32)];

const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

pub struct Broker {
    stream: TcpStream,
    correlation: i32,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

fn fine(code: i16, what: &str) -> Result<()> {
    ensure!(code == 0, "{what}: Kafka's error {code}");
    Ok(())
}

impl Broker {
    pub async fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("connecting to the broker")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, correlation: 0 })
    }

    async fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        self.send(request, version).await?;
        self.answer::<R>(version).await
    }

    async fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<()> {
        self.correlation += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_static_str("bare")));
        let mut bytes = vec![0; 4];
        header.encode(&mut bytes, R::header_version(version))?;
        request.encode(&mut bytes, version)?;
        let length = i32::try_from(bytes.len() - 4)?;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        self.stream.write_all(&bytes).await.context("asking the broker")
    }

    async fn answer<R: Request>(&mut self, version: i16) -> Result<R::Response> {
        let size = self.stream.read_i32().await.context("the broker's answer")?;
        let mut bytes = vec![0; usize::try_from(size)?];
        self.stream.read_exact(&mut bytes).await?;
        let mut rest = bytes.as_slice();
        ResponseHeader::decode(&mut rest, R::Response::header_version(version))?;
        R::Response::decode(&mut rest, version).with_context(|| format!("decoding an answer of {:?}", ApiKey::try_from(R::KEY)))
    }

    /// Where the group is kept, and whether it is there without members.
    pub async fn look_at_group(&mut self, group: &str) -> Result<()> {
        let found = self.call(&FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]), 4).await?;
        found.coordinators.iter().try_for_each(|c| fine(c.error_code, "finding the coordinator"))?;
        let described = self.call(&DescribeGroupsRequest::default().with_groups(vec![GroupId(text(group))]), 5).await?;
        described.groups.iter().try_for_each(|g| {
            ensure!(g.members.is_empty(), "the group has members");
            fine(g.error_code, "describing the group")
        })
    }

    pub async fn committed(&mut self, group: &str, topics: &Topics) -> Result<Offsets> {
        let of = |(name, partitions): &(String, i32)| {
            OffsetFetchRequestTopics::default().with_name(topic(name)).with_partition_indexes((0..*partitions).collect())
        };
        let asked = OffsetFetchRequestGroup::default().with_group_id(GroupId(text(group))).with_member_epoch(-1);
        let asked = asked.with_topics(Some(topics.iter().map(of).collect()));
        let found = self.call(&OffsetFetchRequest::default().with_groups(vec![asked]).with_require_stable(true), 9).await?;
        let mut offsets = Offsets::new();
        for group in found.groups {
            fine(group.error_code, "reading offsets")?;
            for topic in group.topics {
                for row in topic.partitions {
                    fine(row.error_code, "reading offsets")?;
                    offsets.insert((topic.name.to_string(), row.partition_index), row.committed_offset);
                }
            }
        }
        Ok(offsets)
    }

    pub async fn metadata(&mut self, topics: &Topics) -> Result<()> {
        let of = |(name, _): &(String, i32)| MetadataRequestTopic::default().with_name(Some(topic(name)));
        let found = self.call(&MetadataRequest::default().with_topics(Some(topics.iter().map(of).collect())), 12).await?;
        found.topics.iter().try_for_each(|t| fine(t.error_code, "reading metadata"))
    }

    /// One end of every log, as a reader of committed records sees it.
    async fn end(&mut self, topics: &Topics, time: i64) -> Result<Offsets> {
        let row = |partition| ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(time);
        let of = |(name, partitions): &(String, i32)| {
            ListOffsetsTopic::default().with_name(topic(name)).with_partitions((0..*partitions).map(row).collect())
        };
        let asked = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_isolation_level(1);
        let found = self.call(&asked.with_topics(topics.iter().map(of).collect()), 7).await?;
        let mut offsets = Offsets::new();
        for topic in found.topics {
            for row in topic.partitions {
                fine(row.error_code, "looking up an offset")?;
                offsets.insert((topic.name.to_string(), row.partition_index), row.offset);
            }
        }
        Ok(offsets)
    }

    /// Log starts and log ends.
    pub async fn bounds(&mut self, topics: &Topics) -> Result<(Offsets, Offsets)> {
        Ok((self.end(topics, EARLIEST).await?, self.end(topics, LATEST).await?))
    }

    pub async fn commit(&mut self, group: &str, offsets: &Offsets) -> Result<()> {
        self.send(&commit_of(group, offsets), 9).await?;
        self.committed_all().await
    }

    /// Commits of many groups, without waiting for each.
    pub async fn commit_many(&mut self, groups: &[String], offsets: &Offsets) -> Result<()> {
        for part in groups.chunks(64) {
            for group in part {
                self.send(&commit_of(group, offsets), 9).await?;
            }
            for _ in part {
                self.committed_all().await?;
            }
        }
        Ok(())
    }

    async fn committed_all(&mut self) -> Result<()> {
        let answer = self.answer::<OffsetCommitRequest>(9).await?;
        answer.topics.iter().flat_map(|t| &t.partitions).try_for_each(|row| fine(row.error_code, "committing offsets"))
    }

    /// The looks before a reset: what is needed to tell a target for each partition. Returns the target.
    pub async fn look(&mut self, group: &str, topics: &Topics, position: &str) -> Result<Offsets> {
        self.look_at_group(group).await?;
        self.committed(group, topics).await?;
        self.metadata(topics).await?;
        let (start, end) = self.bounds(topics).await?;
        Ok(if position == "Earliest" { start } else { end })
    }

    /// The look after it.
    pub async fn read_back(&mut self, group: &str, topics: &Topics, target: &Offsets) -> Result<()> {
        let found = self.committed(group, topics).await?;
        ensure!(found == *target, "the offsets are not where they were put");
        Ok(())
    }
}

fn commit_of(group: &str, offsets: &Offsets) -> OffsetCommitRequest {
    let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
    for ((name, partition), offset) in offsets {
        let row = OffsetCommitRequestPartition::default().with_partition_index(*partition).with_committed_offset(*offset);
        let row = row.with_committed_metadata(Some(StrBytes::new()));
        match topics.last_mut().filter(|last| last.name.as_str() == name) {
            Some(last) => last.partitions.push(row),
            None => topics.push(OffsetCommitRequestTopic::default().with_name(topic(name)).with_partitions(vec![row])),
        }
    }
    OffsetCommitRequest::default().with_group_id(GroupId(text(group))).with_generation_id_or_member_epoch(-1).with_topics(topics)
}
