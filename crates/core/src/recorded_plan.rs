//! Converts a plan to the form in its record, a table of columns per topic, and back.

use super::{Aim, Commit, OffsetAndMetadata, PartitionPlan, Plan, TopicPartition};
use stream_pipeline_api::{Action, RecordedPlan, TargetReason, TopicPlan};

/// Stands for "no number" in a column.
const NONE: i64 = -1;
const NO_EPOCH: i32 = -1;

impl Plan {
    /// A column without any information is left out.
    pub fn to_record(&self) -> RecordedPlan {
        let mut topics: Vec<TopicPlan> = Vec::new();
        for row in &self.rows {
            if topics.last().is_none_or(|t| t.name != row.at.topic) {
                let topic_id = self.topic_ids.get(&row.at.topic).cloned().unwrap_or_default();
                topics.push(TopicPlan { name: row.at.topic.clone(), topic_id, ..TopicPlan::default() });
            }
            if let Some(topic) = topics.last_mut() {
                push(topic, row);
            }
        }
        topics.iter_mut().for_each(leave_out);
        let totals = self.call.is_none().then(|| self.totals());
        let chunk_size = self.chunk_size.map(|size| i32::try_from(size).unwrap_or(i32::MAX));
        RecordedPlan { topics, totals, time: self.time, call: self.call.clone(), chunk_size, warnings: self.warnings.clone() }
    }

    /// The inverse of [`Plan::to_record`]. Missing entries of a column count as no information.
    pub fn of_record(recorded: &RecordedPlan) -> Self {
        let mut plan = Plan {
            call: recorded.call.clone(),
            time: recorded.time,
            chunk_size: recorded.chunk_size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0),
            average_rate: recorded.totals.as_ref().map_or(0.0, |t| t.average_rate),
            catch_up: recorded.totals.as_ref().and_then(|t| t.catch_up.clone()),
            warnings: recorded.warnings.clone(),
            ..Plan::default()
        };
        for topic in &recorded.topics {
            plan.topic_ids.insert(topic.name.clone(), topic.topic_id.clone());
            plan.rows.extend((0..topic.partition.len()).map(|i| row(topic, i)));
        }
        plan
    }
}

fn push(topic: &mut TopicPlan, row: &PartitionPlan) {
    let (action, to) = match &row.aim {
        Aim::Commit(to) => (Action::Commit, Some(to)),
        Aim::Keep => (Action::Keep, None),
        Aim::Delete => (Action::Delete, None),
    };
    topic.partition.push(row.at.partition);
    topic.from.push(row.from.as_ref().map_or(NONE, |c| c.offset));
    topic.from_leader_epoch.push(row.from.as_ref().and_then(|c| c.leader_epoch).unwrap_or(NO_EPOCH));
    topic.from_metadata.push(row.from.as_ref().map(|c| c.metadata.clone()).unwrap_or_default());
    topic.action.push(action);
    topic.to.push(to.map_or(NONE, |to| to.offset));
    topic.to_leader_epoch.push(to.and_then(|to| to.leader_epoch).unwrap_or(NO_EPOCH));
    topic.to_metadata.push(to.map(|to| to.metadata.clone()).unwrap_or_default());
    topic.found_time.push(row.found_time.unwrap_or(NONE));
    topic.log_start.push(row.log_start);
    topic.log_end.push(row.log_end);
    topic.high_watermark.push(row.high_watermark);
    topic.why.push(row.why);
}

fn leave_out(t: &mut TopicPlan) {
    clear_if(&mut t.from_leader_epoch, |&e| e == NO_EPOCH);
    clear_if(&mut t.from_metadata, String::is_empty);
    clear_if(&mut t.action, |&a| a == Action::Commit);
    clear_if(&mut t.to_leader_epoch, |&e| e == NO_EPOCH);
    clear_if(&mut t.to_metadata, String::is_empty);
    clear_if(&mut t.found_time, |&f| f == NONE);
    clear_if(&mut t.why, |&w| w == TargetReason::Target);
    if t.high_watermark == t.log_end {
        t.high_watermark.clear();
    }
}

fn clear_if<T>(column: &mut Vec<T>, nothing: impl Fn(&T) -> bool) {
    if column.iter().all(nothing) {
        column.clear();
    }
}

fn row(t: &TopicPlan, i: usize) -> PartitionPlan {
    let known = |column: &[i64]| column.get(i).copied().filter(|&n| n >= 0);
    let epoch = |column: &[i32]| column.get(i).copied().filter(|&n| n >= 0);
    let text = |column: &[String]| column.get(i).cloned().unwrap_or_default();
    let to = known(&t.to).map(|offset| {
        let (leader_epoch, metadata) = (epoch(&t.to_leader_epoch), text(&t.to_metadata));
        OffsetAndMetadata { offset, leader_epoch, metadata }
    });
    let log_end = t.log_end.get(i).copied().unwrap_or_default();
    PartitionPlan {
        at: TopicPartition::new(&t.name, t.partition.get(i).copied().unwrap_or_default()),
        from: known(&t.from).map(|offset| {
            let (leader_epoch, metadata) = (epoch(&t.from_leader_epoch), text(&t.from_metadata));
            Commit { offset, leader_epoch, metadata, pending: false }
        }),
        aim: match (t.action.get(i), to) {
            (Some(Action::Delete), _) => Aim::Delete,
            (Some(Action::Commit) | None, Some(to)) => Aim::Commit(to),
            // In older records, which have no column of actions, no target means that the partition is left alone.
            (Some(Action::Keep), _) | (_, None) => Aim::Keep,
        },
        found_time: known(&t.found_time),
        log_start: t.log_start.get(i).copied().unwrap_or_default(),
        log_end,
        high_watermark: t.high_watermark.get(i).copied().unwrap_or(log_end),
        why: t.why.get(i).copied().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(aims: &[Aim]) -> Plan {
        let rows = (0..).zip(aims).map(|(partition, aim)| PartitionPlan {
            at: TopicPartition::new("t", partition),
            from: Some(Commit { offset: 7, leader_epoch: Some(3), metadata: "before".to_owned(), pending: false }),
            aim: aim.clone(),
            found_time: None,
            log_start: 0,
            log_end: 10,
            high_watermark: 10,
            why: TargetReason::Target,
        });
        Plan { rows: rows.collect(), topic_ids: [("t".to_owned(), "id".to_owned())].into(), ..Plan::default() }
    }

    #[test]
    fn each_action_is_recorded_in_a_column_of_its_own_and_read_back() {
        let commit = Aim::Commit(OffsetAndMetadata { offset: 4, leader_epoch: Some(2), metadata: "theirs".to_owned() });
        let made = plan(&[commit, Aim::Keep, Aim::Delete, Aim::commit(0, None)]);
        let recorded = made.to_record();
        let topic = &recorded.topics[0];
        assert_eq!(topic.action, [Action::Commit, Action::Keep, Action::Delete, Action::Commit]);
        assert_eq!((topic.to.as_slice(), topic.to_metadata[0].as_str()), ([4, -1, -1, 0].as_slice(), "theirs"));
        assert_eq!(Plan::of_record(&recorded), made);
        let totals = made.totals();
        assert_eq!((totals.partitions, totals.left_alone, totals.replayed), (3, 1, 3 + 7));
    }

    #[test]
    fn where_all_are_committed_the_columns_say_nothing_and_are_left_out() {
        let topic = &plan(&[Aim::commit(1, None), Aim::commit(2, None)]).to_record().topics[0];
        assert!(topic.action.is_empty() && topic.to_metadata.is_empty());
    }

    #[test]
    fn a_record_from_before_there_were_actions_leaves_alone_what_has_no_target() {
        let mut recorded = plan(&[Aim::commit(4, None), Aim::Keep]).to_record();
        recorded.topics[0].action.clear();
        let aims: Vec<_> = Plan::of_record(&recorded).rows.into_iter().map(|row| row.aim).collect();
        assert_eq!(aims, [Aim::commit(4, None), Aim::Keep]);
    }

    #[test]
    fn a_partition_whose_commit_is_deleted_is_read_back_as_having_none() {
        let made = plan(&[Aim::Delete, Aim::Delete, Aim::Delete]);
        let as_before = made.rows[1].from.clone().expect("a commit");
        let committed = [(made.rows[1].at.clone(), as_before), (made.rows[2].at.clone(), Commit { offset: 9, ..Commit::default() })].into();
        let found = made.read_back(&committed);
        let one = |n: usize| [made.rows[n].at.clone()].into();
        assert_eq!((found.at_target, found.as_before, found.elsewhere), (one(0), one(1), one(2)));
    }

    #[test]
    fn metadata_counts_where_the_plan_has_some() {
        let commit = |metadata: &str| Aim::Commit(OffsetAndMetadata { offset: 4, leader_epoch: None, metadata: metadata.to_owned() });
        let reached = |aim: Aim| {
            let made = plan(&[aim]);
            let now = Commit { offset: 4, metadata: "theirs".to_owned(), ..Commit::default() };
            made.read_back(&[(made.rows[0].at.clone(), now)].into()).at_target.len()
        };
        assert_eq!([reached(commit("")), reached(commit("theirs")), reached(commit("other"))], [1, 1, 0]);
    }
}
