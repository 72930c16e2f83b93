//! Which records lose their table of offsets: it is large, and only an undo or a retry needs it. The record itself stays, so that no id
//! ever runs twice.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use stream_pipeline_api::{OffsetResetRecord, RecordPhase};

/// What is known of a record without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub namespace: String,
    pub name: String,
    /// The StreamPipeline's name.
    pub pipeline: String,
    pub created_at: Timestamp,
}

/// How long tables are kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    pub plans_for: Duration,
    /// Of one StreamPipeline.
    pub plans: usize,
}

/// A StreamPipeline's records, the newest first, each with whether it is too old, or one of too many, to keep its table. Those of which
/// none is are left out. Which of them is the newest reset, and which have a table, tells only a look at them.
pub fn due<'a>(records: &'a [Listed], keep: &Keep, now: Timestamp) -> Vec<Vec<(&'a Listed, bool)>> {
    let mut by_pipeline: BTreeMap<(&str, &str), Vec<&Listed>> = BTreeMap::new();
    for record in records {
        by_pipeline.entry((&record.namespace, &record.pipeline)).or_default().push(record);
    }
    let old = |record: &Listed| Duration::try_from(now.duration_since(record.created_at)).is_ok_and(|age| age > keep.plans_for);
    let judged = |mut of_pipeline: Vec<&'a Listed>| {
        of_pipeline.sort_by(|a, b| (b.created_at, &b.name).cmp(&(a.created_at, &a.name)));
        of_pipeline.into_iter().enumerate().map(|(n, record)| (record, n >= keep.plans || old(record))).collect::<Vec<_>>()
    };
    by_pipeline.into_values().map(judged).filter(|records| records.iter().any(|(_, due)| *due)).collect()
}

/// Which of a StreamPipeline's records, the newest first, lose their table now.
#[derive(Debug, Default)]
pub struct Walk {
    /// When the newest reset was made. Times are of whole seconds, so whatever has the same may be newer.
    newest: Option<Timestamp>,
}

impl Walk {
    /// Whether the next record has to be read.
    pub fn reads(&self, due: bool) -> bool {
        due || self.newest.is_none()
    }

    /// Whether this record, which was read, loses its table.
    pub fn drops(&mut self, (listed, due): (&Listed, bool), record: &OffsetResetRecord) -> bool {
        let Some(status) = record.status.as_ref().filter(|_| record.spec.plan.as_ref().is_some_and(|plan| plan.call.is_none())) else {
            return false;
        };
        let sent = matches!(status.phase, RecordPhase::Verified | RecordPhase::Sent | RecordPhase::Held);
        if sent && self.newest.is_none_or(|newest| newest == listed.created_at) {
            self.newest = Some(listed.created_at);
            return false;
        }
        due && status.phase != RecordPhase::OfAnotherVersion
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::tests::fixtures::{closing, record};
    use crate::{PlanState, RecordView};
    use stream_pipeline_api::Reason;

    fn listed(name: &str, day: i64) -> Listed {
        let created_at = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * day);
        Listed { namespace: "n".to_owned(), name: name.to_owned(), pipeline: "p".to_owned(), created_at }
    }

    fn closed(phase: RecordPhase) -> OffsetResetRecord {
        let look: RecordView = record(PlanState::Closed);
        let status = closing(&look, phase, Reason::ResetVerified, 1);
        OffsetResetRecord { status: Some(status), ..look.object }
    }

    /// Names of those that lose their table, on day 100.
    fn names(records: &[(Listed, OffsetResetRecord)], days: u64, plans: usize) -> Vec<String> {
        let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * 100);
        let keep = Keep { plans_for: Duration::from_secs(24 * 3600 * days), plans };
        let all: Vec<Listed> = records.iter().map(|(listed, _)| listed.clone()).collect();
        let mut dropped = Vec::new();
        for of_pipeline in due(&all, &keep, now) {
            let mut walk = Walk::default();
            for (listed, due) in of_pipeline.into_iter() {
                let found = records.iter().find(|(other, _)| other == listed).expect("it is one of them");
                if walk.reads(due) && walk.drops((listed, due), &found.1) {
                    dropped.push(listed.name.clone());
                }
            }
        }
        dropped
    }

    #[test]
    fn p06_the_newest_reset_of_a_pipeline_keeps_its_table_however_old_it_is() {
        let verified = |name: &str, day: i64| (listed(name, day), closed(RecordPhase::Verified));
        let shown = |name: &str, day: i64| (listed(name, day), closed(RecordPhase::Planned));
        let given_up = |name: &str, day: i64| {
            let mut record = closed(RecordPhase::Abandoned);
            record.spec.plan = None;
            (listed(name, day), record)
        };
        assert_eq!(names(&[verified("a1", 1), verified("a2", 2), shown("a3", 3), given_up("a4", 4)], 10, 100), ["a3", "a1"]);
        assert!(names(&[verified("a1", 1), verified("a2", 2)], 99, 100).is_empty(), "none is older than that");
        assert!(names(&[verified("a1", 2), verified("a2", 2)], 10, 100).is_empty(), "of one second");
        let elsewhere = (Listed { namespace: "m".to_owned(), ..listed("b", 1) }, closed(RecordPhase::Verified));
        assert!(names(&[verified("a", 2), elsewhere], 10, 100).is_empty(), "each the newest of its namespace");
    }

    #[test]
    fn p06_of_many_the_oldest_lose_their_table_also_while_they_are_young() {
        let records: Vec<_> = (0..6).map(|n| (listed(&format!("r{n}"), 90 + n), closed(RecordPhase::Verified))).collect();
        assert_eq!(names(&records, 50, 3), ["r2", "r1", "r0"]);
        assert_eq!(names(&records, 50, 0), ["r4", "r3", "r2", "r1", "r0"], "never the newest");
        assert_eq!(names(&records, 7, 100), ["r2", "r1", "r0"]);
    }

    #[test]
    fn what_is_open_or_has_no_table_or_comes_from_another_version_is_left_alone() {
        let newest = || (listed("z", 99), closed(RecordPhase::Verified));
        let mut open = closed(RecordPhase::Verified);
        open.status = None;
        assert!(names(&[newest(), (listed("a", 1), open)], 10, 100).is_empty());
        assert!(names(&[newest(), (listed("a", 1), closed(RecordPhase::OfAnotherVersion))], 10, 100).is_empty());
        assert!(names(&[(listed("a", 200), closed(RecordPhase::Planned))], 1, 100).is_empty(), "made by a clock ahead");
    }
}
