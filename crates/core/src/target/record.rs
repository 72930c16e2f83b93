//! `to.undo` and `approvedPlan`: what a record holds.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Aim, Cause, Found, Partition, Problem, Row, Target};
use crate::request::{Selection, differing, selection_of};
use crate::{Observed, OffsetAndMetadata, PartitionPlan, Plan, TopicPartition, Topics, words};
use stream_pipeline_api::{
    BackendIdentity, NoCommittedOffset, OffsetReset, OffsetResetRecord, OutOfRange, Reason, RecordPhase, TargetReason,
};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub name: String,
    purpose: Purpose,
    /// None: to be read first.
    rows: Option<Rows>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Back to where its reset started from.
    Undo,
    /// What its dry run has shown.
    Approved,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rows {
    made_at: Timestamp,
    topic_ids: BTreeMap<String, String>,
    found: BTreeMap<TopicPartition, Found>,
}

pub(super) const UNDO: Row = Row {
    read: |to, _| to.undo.as_ref().map(|record| Ok(Target::Record(Recorded::of(&record.name, Purpose::Undo)))),
    no_committed_offset: |_| NoCommittedOffset::Target,
    in_words: |to| to.undo.as_ref().map(|record| format!("undo of {}", record.name)),
};

impl Recorded {
    pub(crate) fn approved(name: &str) -> Self {
        Self::of(name, Purpose::Approved)
    }

    fn of(name: &str, purpose: Purpose) -> Self {
        Self { name: name.to_owned(), purpose, rows: None }
    }

    pub(super) fn is_read(&self) -> bool {
        self.rows.is_some()
    }

    /// With the rows of its record. `place`: the group of the request, `asked`: what the request asks for.
    ///
    /// # Errors
    /// `InvalidTarget`, for an approved plan `PlanChanged`: it is not a record for this request. A record that is still open may be one
    /// later, so it counts as one that could not be read.
    pub(super) fn read(
        &self,
        record: Option<&OffsetResetRecord>,
        place: &BackendIdentity,
        asked: &OffsetReset,
    ) -> Observed<Result<Self, Cause>> {
        let is_open = |record: &OffsetResetRecord| !record.spec.request.is_dry_run() && record.status.is_none();
        if let (Purpose::Undo, true) = (self.purpose, record.is_some_and(is_open)) {
            let text = format!("record {} is still open; this request goes on by itself once that is closed", self.name);
            return Observed::Unreadable(Cause::new(Reason::AnotherResetOpen, text));
        }
        let rows = record.ok_or_else(|| "is not in this namespace".to_owned()).and_then(|record| self.rows_of(record, place, asked));
        Observed::Read(rows.map(|rows| Self { rows: Some(rows), ..self.clone() }).map_err(|told| self.refused(&told)))
    }

    /// Else what is wrong with the record, after its name.
    fn rows_of(&self, record: &OffsetResetRecord, place: &BackendIdentity, asked: &OffsetReset) -> Result<Rows, String> {
        let spec = &record.spec;
        if spec.backend != *place {
            return Err(format!("is of {}, not of {}", words::place(&spec.backend), words::place(place)));
        }
        match self.purpose {
            Purpose::Undo if spec.request.is_dry_run() => return Err("is of a dry run, which moved nothing".to_owned()),
            Purpose::Undo if record.status.as_ref().is_some_and(|status| status.phase == RecordPhase::Abandoned) => {
                let restored = record.status.as_ref().is_some_and(|status| status.reason == Reason::Restored);
                return Err(if restored {
                    "came from a backup, so nothing is done from it; its numbers can be given as to.offsets".to_owned()
                } else {
                    "was given up before anything was sent, so there is nothing to undo".to_owned()
                });
            }
            Purpose::Approved if !spec.request.is_dry_run() => return Err("is not of a dry run".to_owned()),
            Purpose::Undo | Purpose::Approved => {}
        }
        let plan = spec.plan.as_ref().map(Plan::of_record);
        let plan = plan.ok_or("does not hold its table of offsets any more, which was removed to save room")?;
        if plan.call.is_some() {
            return Err("holds no offsets: the platform does not tell where the pipeline was".to_owned());
        }
        let found = match self.purpose {
            Purpose::Undo => plan.changes().map(|row| (row.at.clone(), before(row))).collect(),
            Purpose::Approved => match differing(asked, &spec.request).as_slice() {
                [] => plan.rows.iter().map(|row| (row.at.clone(), as_shown(row))).collect(),
                fields => return Err(format!("was asked for with another {}", fields.join(", "))),
            },
        };
        Ok(Rows { made_at: spec.created_at, topic_ids: plan.topic_ids, found })
    }

    fn refused(&self, told: &str) -> Cause {
        let (field, remedy) = match self.purpose {
            Purpose::Undo => ("to.undo", "Name another record (kubectl get osr), or move the group by another target"),
            Purpose::Approved => ("approvedPlan", "Let a dry run of this very request show its plan, and name that record"),
        };
        let text = format!("spec.offsetReset.{field}: record {} {told}. Nothing was sent. {remedy}, with a new id", self.name);
        Cause::new(self.reason(Reason::InvalidTarget), text)
    }

    /// What was approved is done as it was shown, or not at all.
    fn policy(&self, out_of_range: OutOfRange) -> OutOfRange {
        match self.purpose {
            Purpose::Undo => out_of_range,
            Purpose::Approved => OutOfRange::Fail,
        }
    }

    /// What an approval shows does not hold any more, whatever the reason.
    fn reason(&self, else_: Reason) -> Reason {
        match self.purpose {
            Purpose::Undo => else_,
            Purpose::Approved => Reason::PlanChanged,
        }
    }

    /// These partitions do not exist any more.
    pub(super) fn gone(&self, missing: &[String]) -> Cause {
        let told = format!("has partitions that do not exist on this cluster any more: {}", words::some_of(missing));
        Cause { reason: self.reason(Reason::PartitionNotFound), ..self.refused(&told) }
    }

    /// An offset of a topic means nothing in another one of the same name.
    pub(super) fn made_anew(&self, topics: &Topics) -> Option<Cause> {
        let rows = self.rows.as_ref()?;
        let differs = |(name, topic): &(&String, &Option<crate::Topic>)| {
            let before = rows.topic_ids.get(*name).filter(|id| !id.is_empty());
            topic.as_ref().zip(before).is_some_and(|(topic, before)| topic.id != *before)
        };
        let anew: Vec<_> = topics.iter().filter(differs).map(|(name, _)| name).collect();
        let told = || format!("is of topics that were deleted and made anew since: {}", words::some_of(&anew));
        (!anew.is_empty()).then(|| Cause { reason: self.reason(Reason::TopicRecreated), ..self.refused(&told()) })
    }

    pub(super) fn names(&self) -> Option<Selection> {
        self.rows.as_ref().map(|rows| selection_of(rows.found.keys()))
    }

    /// Whether the group's commit of one of these partitions is deleted.
    pub(super) fn deletes(&self, is_committed: impl Fn(&TopicPartition) -> bool) -> bool {
        let deletes = |(at, found): (&TopicPartition, &Found)| found.aim == Aim::Delete && is_committed(at);
        self.rows.as_ref().is_some_and(|rows| rows.found.iter().any(deletes))
    }

    pub(super) fn in_partition(&self, partition: &Partition, out_of_range: OutOfRange) -> Result<Found, Problem> {
        let found = self.rows.as_ref().and_then(|rows| rows.found.get(partition.at));
        let found = found.ok_or_else(|| (Reason::InvalidTarget, format!("is not in record {}", self.name)))?;
        match &found.aim {
            Aim::Delete if partition.committed.is_none() => Ok(Found::new(Aim::Keep, TargetReason::NoCommitSkipped)),
            Aim::Keep | Aim::Delete => Ok(found.clone()),
            Aim::Commit(to) => match partition.held_within_log(to.offset, self.policy(out_of_range)) {
                Ok((offset, _)) if offset == to.offset => Ok(found.clone()),
                Ok((offset, why)) => Ok(Found::new(Aim::commit(offset, None), why)),
                Err((reason, told)) => Err((self.reason(reason), told)),
            },
        }
    }

    pub(super) fn caveat(&self) -> Option<String> {
        let made_at = words::second(self.rows.as_ref()?.made_at);
        Some(match self.purpose {
            Purpose::Undo => format!("back to where record {} of {made_at} started from", self.name),
            Purpose::Approved => format!("the numbers of the dry run {} of {made_at}", self.name),
        })
    }
}

/// Where the partition was before the reset, to the byte.
fn before(row: &PartitionPlan) -> Found {
    let commit = |from: &crate::Commit| {
        Aim::Commit(OffsetAndMetadata { offset: from.offset, leader_epoch: from.leader_epoch, metadata: from.metadata.clone() })
    };
    Found::new(row.from.as_ref().map_or(Aim::Delete, commit), TargetReason::Target)
}

fn as_shown(row: &PartitionPlan) -> Found {
    Found { aim: row.aim.clone(), why: row.why, found_time: row.found_time }
}
