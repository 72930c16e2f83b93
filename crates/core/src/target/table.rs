//! `to.offset`, `to.offsets` and `to.offsetsFrom`: numbers that a person writes.

use std::collections::BTreeMap;

use super::{Aim, Found, Partition, Problem, Row, Target};
use crate::request::{Selection, selection_of};
use crate::{TopicPartition, words};
use stream_pipeline_api::{self as api, ConfigMapKeyReference, NoCommittedOffset, OutOfRange, Reason};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Table {
    /// The same in every selected partition.
    One(i64),
    /// The partitions that are named, and no others.
    Each(BTreeMap<TopicPartition, Written>),
    /// The same, to be read first.
    File(ConfigMapKeyReference),
}

/// An offset, and in which line it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub offset: i64,
    pub line: Option<u64>,
}

const ANY: fn(&api::Target) -> NoCommittedOffset = |_| NoCommittedOffset::Target;

pub(super) const OFFSET: Row = Row {
    read: |to, _| to.offset.map(|offset| Ok(Target::Table(Table::One(offset)))),
    no_committed_offset: ANY,
    in_words: |to| to.offset.map(|offset| format!("offset {}", words::number(offset))),
};

pub(super) const OFFSETS: Row = Row {
    read: |to, _| to.offsets.as_ref().map(|rows| Ok(Target::Table(Table::Each(rows.iter().map(row).collect())))),
    no_committed_offset: ANY,
    in_words: |to| to.offsets.as_ref().map(|rows| words::many(rows.len(), "offset")),
};

pub(super) const OFFSETS_FROM: Row = Row {
    read: |to, _| to.offsets_from.as_ref().map(|from| Ok(Target::Table(Table::File(from.config_map_key_ref.clone())))),
    no_committed_offset: ANY,
    in_words: |to| to.offsets_from.as_ref().map(|from| format!("offsets of ConfigMap {}", from.config_map_key_ref.name)),
};

fn row(row: &api::PartitionOffset) -> (TopicPartition, Written) {
    (TopicPartition::new(&row.topic, row.partition), Written { offset: row.offset, line: None })
}

impl Table {
    pub(super) fn names(&self) -> Option<Selection> {
        let Table::Each(rows) = self else { return None };
        Some(selection_of(rows.keys()))
    }

    pub(super) fn line(&self, at: &TopicPartition) -> Option<u64> {
        if let Table::Each(rows) = self { rows.get(at)?.line } else { None }
    }

    pub(super) fn in_partition(&self, partition: &Partition, out_of_range: OutOfRange) -> Result<Found, Problem> {
        let wanted = match self {
            Table::One(offset) => Some(*offset),
            Table::Each(rows) => rows.get(partition.at).map(|written| written.offset),
            Table::File(_) => None,
        };
        let wanted = wanted.ok_or_else(|| (Reason::InvalidTarget, "has no offset of its own".to_owned()))?;
        let (offset, why) = partition.within_log(wanted, out_of_range)?;
        Ok(Found::new(Aim::commit(offset, None), why))
    }
}
