//! What the operator reads from the brokers and sends to them.

use std::collections::BTreeSet;
use std::time::Duration;

use stream_pipeline_core::{Aim, Commit, PartitionPlan};
use stream_pipeline_operator::backend::kafka::admin::{PerPartition, TopicDescription, TopicPartition};
use stream_pipeline_operator::process_state::is_closed;

use super::{PlanWritten, RESTORED, Send, gap, name, reaches, record_of, uid};
use crate::breaks::Break;
use crate::broker::Broker;
use crate::process::{Process, TIMING};
use crate::world::World;

impl World {
    pub fn saw_offsets(&mut self, process: &Process, group: &str, partitions: &[TopicPartition]) {
        let at = self.at();
        let offsets = &self.broker.group(group).offsets;
        let values: Vec<_> = partitions.iter().map(|partition| (offsets.get(partition).cloned(), partition.clone())).collect();
        let reads = self.oracle.reads_of(process);
        for (value, partition) in values {
            reads.offsets.entry(partition).or_default().push((at, value));
        }
    }

    pub fn saw_topics(&mut self, process: &Process, topics: &[TopicDescription]) {
        let at = self.at();
        let found = topics.iter().map(|t| (t.name.clone(), (at, t.error.is_none().then(|| t.topic_id.clone()))));
        self.oracle.reads_of(process).topics.extend(found);
    }

    /// The operator hands commits, or deletions (None), to its client. Returns the number under which they are noted when they land.
    pub fn sends(&mut self, process: &Process, group: &str, changes: &[(TopicPartition, Option<i64>)]) -> usize {
        let at = self.at();
        self.oracle.called_at = at;
        let who = &process.name;
        self.say(|| {
            let told =
                |(at, to): &(TopicPartition, Option<i64>)| to.map_or_else(|| format!("{at} to nothing"), |to| format!("{at} to {to}"));
            let offsets: Vec<_> = changes.iter().map(told).collect();
            format!("{who} sends {}", offsets.join(", "))
        });
        let judge = |plan: usize| {
            let written = &self.oracle.plans[plan];
            let mut wrong = self.check_wanted(process, written, at);
            wrong.extend(self.check_second_look(process, Some(plan), written, changes));
            if changes.iter().any(|(_, to)| to.is_none()) {
                wrong.extend(self.check_commits_before(process, written));
            }
            (Some(plan), wrong)
        };
        // The plans of two records may have the same numbers: then it is for the one of which it is right.
        let mut judged: Vec<_> = self.plans_of(process, changes).into_iter().map(judge).collect();
        judged.sort_by_key(|(_, wrong)| !wrong.is_empty());
        let nowhere = || (None, vec![format!("{who} sends to {group} what it has written into no record")]);
        let (plan, wrong) = judged.into_iter().next().unwrap_or_else(nowhere);
        self.sent(process, plan, wrong)
    }

    /// The plans of this process that these changes may be of: of each record the newest, and the newest of all first.
    fn plans_of(&self, process: &Process, changes: &[(TopicPartition, Option<i64>)]) -> Vec<usize> {
        let covers = |written: &PlanWritten| {
            let row = |(at, to): &(TopicPartition, Option<i64>)| written.plan.changes().any(|row| row.at == *at && row.aim.offset() == *to);
            written.writer.incarnation == process.incarnation && changes.iter().all(row)
        };
        let mut records = BTreeSet::new();
        let newest_first = self.oracle.plans.iter().enumerate().rev().filter(|(_, written)| covers(written));
        newest_first.filter(|(_, written)| records.insert(&written.uid)).map(|(plan, _)| plan).collect()
    }

    /// A break: commits are not sent where deletions follow.
    pub fn holds_back(&self, process: &Process, changes: &[(TopicPartition, Option<i64>)]) -> bool {
        let deletes = |plan: usize| self.oracle.plans[plan].plan.changes().any(|row| row.aim == Aim::Delete);
        self.breaks == Some(Break::DeletesFirst) && self.plans_of(process, changes).first().copied().is_some_and(deletes)
    }

    /// Notes that something is sent now.
    pub(super) fn sent(&mut self, process: &Process, plan: Option<usize>, mut wrong: Vec<String>) -> usize {
        let (at, who) = (self.at(), &process.name);
        let record = plan.map(|i| self.oracle.plans[i].record.clone()).unwrap_or_default();
        let under_way = TIMING.call_deadline + TIMING.late_bound;
        let may_land = |s: &&Send| s.landed.is_none() && at < s.at + under_way && !self.oracle.is_deleted(s);
        for other in self.oracle.sends.iter().filter(may_land) {
            wrong.push(format!("{who} sends for {record} while what was sent for {} may still land", other.record));
        }
        if let Some(plan) = plan {
            let waited = at - self.oracle.plans[plan].at;
            self.oracle.longest_to_send = self.oracle.longest_to_send.max(waited);
        }
        wrong.into_iter().for_each(|text| self.violation(text));
        self.oracle.sends.push(Send { plan, record, at, landed: None, accepted: BTreeSet::new() });
        self.oracle.sends.len() - 1
    }

    /// Checks a send: in time, from a record that holds this plan, still wanted, and alone in doubt.
    pub(super) fn check_wanted(&self, process: &Process, written: &PlanWritten, at: Duration) -> Vec<String> {
        let (who, record) = (&process.name, &written.record);
        let mut wrong = Vec::new();
        if at - written.at >= TIMING.send_window {
            wrong.push(format!("{who} sends for {record} after the window ({:?} after the plan)", at - written.at));
        }
        let reads = self.oracle.reads.get(&process.incarnation);
        let live = self.api.all("offsetresetrecords").find(|(key, _)| key.2 == *record).and_then(|(_, o)| record_of(o));
        let pipeline = live.as_ref().map(|live| live.spec.pipeline.name.clone());
        if let Some(live) = live.filter(|live| uid(live) == written.uid) {
            if is_closed(&live) || live.spec.writer.as_ref() != Some(&written.writer) {
                wrong.push(format!("{who} sends for {record}, which does not hold this plan open any more"));
            }
            if gap(&live) > RESTORED {
                wrong.push(format!("{who} sends from the restored record {record}"));
            }
            let own_clock = self.wall().as_second() + process.skew;
            if own_clock > live.spec.deadline.as_second() {
                wrong.push(format!("{who} sends for {record} after its deadline"));
            }
            let wanted = reads.and_then(|reads| reads.pipelines.get(&live.spec.pipeline.name));
            let good = wanted.is_some_and(|(read, asked)| {
                let same = asked.uid == live.spec.pipeline.uid && !asked.deleted;
                *read >= written.at && same && asked.id.as_deref() == Some(live.spec.request.id.as_str())
            });
            if !good {
                wrong.push(format!("{who} sends for {record}, and did not see that it is still wanted"));
            }
        }
        // A list names no pass: it is the one that was asked for together with the StreamPipeline, or the last one.
        let listed = reads.and_then(|reads| {
            let asked = pipeline.and_then(|name| reads.asked_for.get(&name).copied());
            let of_this = asked.and_then(|asked| reads.records_listed.iter().find(|(called, _)| *called >= asked));
            of_this.or(reads.records_listed.last()).map(|(_, made)| *made)
        });
        let listed = listed.unwrap_or_default();
        for (_, other) in self.api.all("offsetresetrecords").filter(|(key, _)| key.2 != *record) {
            let Some(other) = record_of(other) else { continue };
            let since = self.oracle.plans.iter().rev().find(|p| p.uid == uid(&other)).map(|p| p.at);
            let in_doubt = !is_closed(&other) && other.spec.plan.is_some() && gap(&other) <= RESTORED;
            if in_doubt && since.is_some_and(|since| since < listed) {
                wrong.push(format!("{who} sends for {record} while {} was in doubt", name(&other)));
            }
        }
        wrong
    }

    /// Checks that only the announced chunk is sent, and that after its announcement every partition and topic was seen to be as required.
    fn check_second_look(
        &self,
        process: &Process,
        plan: Option<usize>,
        written: &PlanWritten,
        changes: &[(TopicPartition, Option<i64>)],
    ) -> Vec<String> {
        let (who, record, chunk) = (&process.name, &written.record, written.chunk());
        let mut wrong = Vec::new();
        let sent: BTreeSet<TopicPartition> = changes.iter().map(|(at, _)| at.clone()).collect();
        let announced: BTreeSet<&TopicPartition> = written.plan.chunk(chunk).collect();
        if let Some(other) = sent.iter().find(|at| !announced.contains(at)) {
            wrong.push(format!("{who} sends {other} for {record}, which is not in the announced chunk {chunk}"));
        }
        // Refused partitions are sent again without another look at the others.
        let again = self.oracle.sends.iter().any(|s| s.plan == plan);
        let may_be_there = again || written.writer.attempt > 1;
        let before = written.plan.rows_before(chunk);
        for (n, row) in written.plan.changes().enumerate() {
            let as_it_must = |value: Option<&Commit>| {
                let reached = reaches(value, row);
                if n < before { reached } else { value == row.from.as_ref() || may_be_there && !sent.contains(&row.at) && reached }
            };
            if again && !sent.contains(&row.at) {
                continue;
            }
            let read = self.oracle.offset_read(process, &row.at, written.at);
            if !read.is_some_and(|value| as_it_must(value.as_ref())) {
                wrong.push(format!(
                    "{who} sends chunk {chunk} of {record}, and did not see {} as it must stand after the plan (saw {read:?})",
                    row.at
                ));
            }
        }
        let topics = self.oracle.reads.get(&process.incarnation).map(|reads| &reads.topics);
        for (topic, id) in &written.plan.topic_ids {
            let seen = topics.and_then(|topics| topics.get(topic)).filter(|(when, _)| *when >= written.at);
            if seen.is_none_or(|(_, found)| found.as_ref() != Some(id)) {
                wrong.push(format!(
                    "{who} sends for {record} to topic {topic}, which it did not see to be {id} after the plan (saw {seen:?})"
                ));
            }
        }
        wrong
    }

    /// Nothing is deleted before all commits of the plan, up to the chunk that is sent now, have been accepted or were seen in place.
    fn check_commits_before(&self, process: &Process, written: &PlanWritten) -> Option<String> {
        let (plan, chunk) = (&written.plan, written.chunk());
        let sends = || self.oracle.sends.iter().filter(|send| send.record == written.record);
        let is_there = |row: &&PartitionPlan| {
            let seen = self.oracle.offset_read(process, &row.at, Duration::ZERO);
            sends().any(|send| send.accepted.contains(&row.at)) || seen.is_some_and(|value| reaches(value.as_ref(), row))
        };
        let upto = plan.rows_before(chunk) + plan.chunk(chunk).count();
        let missing = plan.changes().take(upto).filter(|row| matches!(row.aim, Aim::Commit(_))).find(|row| !is_there(row));
        missing.map(|row| format!("{} deletes commits of {} before {} is committed", process.name, written.record, row.at))
    }

    /// What the operator has sent reaches the broker.
    pub fn lands(&mut self, send: usize, group: &str, change: impl FnOnce(&mut Broker) -> PerPartition<()>) -> PerPartition<()> {
        let before = self.broker.group(group).offsets.clone();
        let results = change(&mut self.broker);
        let at = self.at();
        let accepted: Vec<_> = results.iter().filter(|(_, r)| r.is_ok()).map(|(at, _)| at.clone()).collect();
        self.say(|| format!("it lands: {} of {} accepted", accepted.len(), results.len()));
        self.oracle.sends[send].landed = Some(at);
        self.oracle.sends[send].accepted.extend(accepted.iter().cloned());
        if accepted.is_empty() {
            return results;
        }
        let (record, plan) = (self.oracle.sends[send].record.clone(), self.oracle.sends[send].plan);
        let Some(plan) = plan else { return results };
        let (attempt, uid_written) = (self.oracle.plans[plan].writer.attempt, self.oracle.plans[plan].uid.clone());
        if self.oracle.pardoned.contains(&uid_written) {
            return results;
        }
        for partition in accepted {
            if before.get(&partition) == self.broker.group(group).offsets.get(&partition) {
                continue;
            }
            let times = self.oracle.effects.entry((record.clone(), attempt, partition.clone())).or_default();
            *times += 1;
            if *times > 1 {
                let times = *times;
                self.violation(format!("{record} moves {partition} {times} times"));
            }
        }
        self.oracle.before_last = before;
        self.check_landing(send, &uid_written);
        results
    }

    /// Checks that nothing lands once it was judged, nor after another request was sent.
    pub(super) fn check_landing(&mut self, send: usize, uid_written: &str) {
        let (record, at) = (self.oracle.sends[send].record.clone(), self.oracle.sends[send].at);
        let live = self.api.all("offsetresetrecords").find(|(key, _)| key.2 == record).and_then(|(_, o)| record_of(o));
        if live.is_some_and(|r| uid(&r) == uid_written && is_closed(&r)) {
            self.violation(format!("what was sent for {record} lands after it was judged"));
        }
        if !self.oracle.is_deleted(&self.oracle.sends[send]) && self.oracle.sends.iter().any(|s| s.record != record && s.at > at) {
            self.violation(format!("what was sent for {record} lands after a later request was sent"));
        }
    }
}
