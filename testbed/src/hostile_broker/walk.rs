//! Which fields each answer has, in the order in which they are sent.

use kafka_protocol::messages::{
    ApiVersionsResponse, ConsumerGroupDescribeResponse, DescribeGroupsResponse, FindCoordinatorResponse, ListGroupsResponse,
    ListOffsetsResponse, MetadataResponse, OffsetCommitResponse, OffsetFetchResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::fields::{Field, See, Walk};

fn maybe(text: &mut Option<StrBytes>, see: See<'_>) {
    if let Some(text) = text {
        see(Field::Text(text));
    }
}

impl Walk for ApiVersionsResponse {
    fn walk(&mut self, _: i16, see: See<'_>) {
        see(Field::Code(&mut self.error_code));
        see(Field::List(&mut self.api_keys));
        for api in &mut self.api_keys {
            see(Field::Version(&mut api.api_key));
            see(Field::Version(&mut api.min_version));
            see(Field::Version(&mut api.max_version));
        }
    }
}

impl Walk for MetadataResponse {
    fn walk(&mut self, _: i16, see: See<'_>) {
        see(Field::Number(&mut self.throttle_time_ms));
        see(Field::List(&mut self.brokers));
        for broker in &mut self.brokers {
            see(Field::Number(&mut broker.node_id.0));
            see(Field::Text(&mut broker.host));
            see(Field::Number(&mut broker.port));
            maybe(&mut broker.rack, see);
        }
        maybe(&mut self.cluster_id, see);
        see(Field::Number(&mut self.controller_id.0));
        see(Field::List(&mut self.topics));
        for topic in &mut self.topics {
            see(Field::Code(&mut topic.error_code));
            if let Some(name) = &mut topic.name {
                see(Field::Topic(&mut name.0));
            }
            see(Field::List(&mut topic.partitions));
            for partition in &mut topic.partitions {
                see(Field::Code(&mut partition.error_code));
                see(Field::Partition(&mut partition.partition_index));
                see(Field::Number(&mut partition.leader_id.0));
                see(Field::Number(&mut partition.leader_epoch));
                for nodes in [&mut partition.replica_nodes, &mut partition.isr_nodes, &mut partition.offline_replicas] {
                    see(Field::List(nodes));
                }
            }
            see(Field::Number(&mut topic.topic_authorized_operations));
        }
    }
}

impl Walk for FindCoordinatorResponse {
    fn walk(&mut self, version: i16, see: See<'_>) {
        see(Field::Number(&mut self.throttle_time_ms));
        if version < 4 {
            see(Field::Code(&mut self.error_code));
            maybe(&mut self.error_message, see);
            see(Field::Number(&mut self.node_id.0));
            see(Field::Text(&mut self.host));
            see(Field::Number(&mut self.port));
            return;
        }
        see(Field::List(&mut self.coordinators));
        for found in &mut self.coordinators {
            see(Field::Group(&mut found.key));
            see(Field::Number(&mut found.node_id.0));
            see(Field::Text(&mut found.host));
            see(Field::Number(&mut found.port));
            see(Field::Code(&mut found.error_code));
            maybe(&mut found.error_message, see);
        }
    }
}

impl Walk for ListOffsetsResponse {
    fn walk(&mut self, _: i16, see: See<'_>) {
        see(Field::Number(&mut self.throttle_time_ms));
        see(Field::List(&mut self.topics));
        for topic in &mut self.topics {
            see(Field::Topic(&mut topic.name.0));
            see(Field::List(&mut topic.partitions));
            for partition in &mut topic.partitions {
                see(Field::Partition(&mut partition.partition_index));
                see(Field::Code(&mut partition.error_code));
                see(Field::Offset(&mut partition.offset));
                see(Field::Number(&mut partition.leader_epoch));
            }
        }
    }
}

impl Walk for OffsetCommitResponse {
    fn walk(&mut self, _: i16, see: See<'_>) {
        see(Field::Number(&mut self.throttle_time_ms));
        see(Field::List(&mut self.topics));
        for topic in &mut self.topics {
            see(Field::Topic(&mut topic.name.0));
            see(Field::List(&mut topic.partitions));
            for partition in &mut topic.partitions {
                see(Field::Partition(&mut partition.partition_index));
                see(Field::Code(&mut partition.error_code));
            }
        }
    }
}

impl Walk for OffsetFetchResponse {
    fn walk(&mut self, version: i16, see: See<'_>) {
        see(Field::Number(&mut self.throttle_time_ms));
        if version < 8 {
            see(Field::List(&mut self.topics));
            for topic in &mut self.topics {
                see(Field::Topic(&mut topic.name.0));
                see(Field::List(&mut topic.partitions));
                for partition in &mut topic.partitions {
                    see(Field::Partition(&mut partition.partition_index));
                    see(Field::Offset(&mut partition.committed_offset));
                    see(Field::Number(&mut partition.committed_leader_epoch));
                    maybe(&mut partition.metadata, see);
                    see(Field::Code(&mut partition.error_code));
                }
            }
            see(Field::Code(&mut self.error_code));
            return;
        }
        see(Field::List(&mut self.groups));
        for group in &mut self.groups {
            see(Field::Group(&mut group.group_id.0));
            see(Field::List(&mut group.topics));
            for topic in &mut group.topics {
                see(Field::Topic(&mut topic.name.0));
                see(Field::List(&mut topic.partitions));
                for partition in &mut topic.partitions {
                    see(Field::Partition(&mut partition.partition_index));
                    see(Field::Offset(&mut partition.committed_offset));
                    see(Field::Number(&mut partition.committed_leader_epoch));
                    maybe(&mut partition.metadata, see);
                    see(Field::Code(&mut partition.error_code));
                }
            }
            see(Field::Code(&mut group.error_code));
        }
    }
}

impl Walk for DescribeGroupsResponse {
    fn walk(&mut self, _: i16, see: See<'_>) {
        see(Field::Number(&mut self.throttle_time_ms));
        see(Field::List(&mut self.groups));
        for group in &mut self.groups {
            see(Field::Code(&mut group.error_code));
            see(Field::Group(&mut group.group_id.0));
            see(Field::Text(&mut group.group_state));
            see(Field::Text(&mut group.protocol_type));
            see(Field::Text(&mut group.protocol_data));
            see(Field::List(&mut group.members));
            see(Field::Number(&mut group.authorized_operations));
        }
    }
}

impl Walk for ListGroupsResponse {
    fn walk(&mut self, _: i16, see: See<'_>) {
        see(Field::Number(&mut self.throttle_time_ms));
        see(Field::Code(&mut self.error_code));
        see(Field::List(&mut self.groups));
        for group in &mut self.groups {
            see(Field::Group(&mut group.group_id.0));
            see(Field::Text(&mut group.protocol_type));
            see(Field::Text(&mut group.group_state));
        }
    }
}

impl Walk for ConsumerGroupDescribeResponse {
    fn walk(&mut self, _: i16, see: See<'_>) {
        see(Field::Number(&mut self.throttle_time_ms));
        see(Field::List(&mut self.groups));
        for group in &mut self.groups {
            see(Field::Code(&mut group.error_code));
            maybe(&mut group.error_message, see);
            see(Field::Group(&mut group.group_id.0));
            see(Field::Text(&mut group.group_state));
            see(Field::Number(&mut group.group_epoch));
            see(Field::Text(&mut group.assignor_name));
            see(Field::List(&mut group.members));
            see(Field::Number(&mut group.authorized_operations));
        }
    }
}
