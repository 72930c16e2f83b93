//! Who knows the true history, and says when a promise of the protocol is broken. What protocol.md lists under "What remains
//! possible" is none: a second look counts where it was read, not where the commit lands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use stream_pipeline_operator::api::{OffsetResetRecord, RecordPhase, Stage, StreamPipeline, Writer};
use stream_pipeline_operator::backend::kafka::admin_types::{KafkaCode, OffsetCommit, TopicPartition};
use stream_pipeline_operator::domain::{Commit, Goal, Plan};
use stream_pipeline_operator::memory::is_closed;

use crate::api_server::{Key, Reply, Request};
use crate::environment::{GROUP, workload};
use crate::process::{Process, TIMING};
use crate::world::World;

/// Seconds between the times of a record, above which it was restored.
const RESTORED: i64 = 60;

#[derive(Default)]
pub struct Oracle {
    pub violations: Vec<String>,
    pub counts: BTreeMap<&'static str, u64>,
    /// Offsets before the operator's last commit.
    pub before_last: BTreeMap<TopicPartition, Commit>,
    /// Pipelines whose status somebody forged.
    pub forged: BTreeSet<String>,
    pub scaled_by_others: bool,
    /// Records (by uid) that somebody deleted before any status told of them: a stated residual.
    pardoned: BTreeSet<String>,
    /// With the record goes what is known of a pause.
    pub records_deleted: bool,
    plans: Vec<PlanWritten>,
    sends: Vec<Send>,
    /// How often each attempt of a request moved each partition; requests by the name of their record.
    effects: BTreeMap<(String, i32, TopicPartition), u32>,
    verified: BTreeSet<String>,
    /// What each process read last, by incarnation.
    offsets_read: BTreeMap<(String, TopicPartition), (Duration, Option<Commit>)>,
    pipelines_read: BTreeMap<(String, String), (Duration, Value)>,
    records_listed: BTreeMap<String, Duration>,
    /// What the operator scaled last: the process, to what.
    last_scale: Option<(String, i64)>,
}

struct PlanWritten {
    record: String,
    uid: String,
    writer: Writer,
    plan: Plan,
    at: Duration,
}

struct Send {
    plan: Option<usize>,
    record: String,
    at: Duration,
    done: bool,
}

impl Oracle {
    pub fn count(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_default() += 1;
    }

    fn moved(&self, record: &str) -> bool {
        self.effects.iter().any(|((name, ..), times)| name == record && *times > 0)
    }
}

fn record_of(object: &Value) -> Option<OffsetResetRecord> {
    serde_json::from_value(object.clone()).ok()
}

fn name(record: &OffsetResetRecord) -> String {
    record.metadata.name.clone().unwrap_or_default()
}

fn uid(record: &OffsetResetRecord) -> String {
    record.metadata.uid.clone().unwrap_or_default()
}

fn gap(record: &OffsetResetRecord) -> i64 {
    let made = record.metadata.creation_timestamp.as_ref().map_or(0, |t| t.0.as_second());
    (made - record.spec.created_at.as_second()).abs()
}

fn reaches(now: Option<&Commit>, goal: &Goal, from: Option<&Commit>) -> bool {
    let epoch = |c: &Commit| goal.leader_epoch.is_none() || c.leader_epoch == goal.leader_epoch || now == from;
    now.is_some_and(|c| c.offset == goal.offset && epoch(c))
}

impl World {
    /// One call to the API server, seen by the oracle.
    pub fn serve(&mut self, process: &Process, request: &Request) -> Reply {
        let key = request.key();
        let now = self.wall();
        if !request.is_write() {
            let reply = self.serve_broken(process, request, now);
            self.saw(process, request, &reply.1);
            return reply;
        }
        let before = key.as_ref().and_then(|key| self.api.get(key)).cloned();
        let reply = self.serve_broken(process, request, now);
        if let Some(key) = key.filter(|_| reply.0 < 300) {
            let after = self.api.get(&key).cloned();
            if after != before {
                self.wrote(process, &key, before.as_ref(), after.as_ref());
                self.changed.notify_waiters();
            }
        }
        reply
    }

    fn saw(&mut self, process: &Process, request: &Request, object: &Value) {
        let at = self.at();
        match request.key() {
            Some(key) if key.0 == "streampipelines" => {
                self.oracle.pipelines_read.insert((process.incarnation.clone(), key.2), (at, object.clone()));
            }
            None if request.path.contains("offsetresetrecords") && request.query.contains("backend") => {
                self.oracle.records_listed.insert(process.incarnation.clone(), at);
            }
            _ => {}
        }
    }

    pub fn saw_offsets(&mut self, process: &Process, group: &str, partitions: Option<&[TopicPartition]>) {
        let at = self.at();
        let offsets = self.broker.group(group).offsets.clone();
        let read: BTreeSet<TopicPartition> = partitions.map_or_else(|| offsets.keys().cloned().collect(), |p| p.iter().cloned().collect());
        for partition in read {
            let value = offsets.get(&partition).cloned();
            self.oracle.offsets_read.insert((process.incarnation.clone(), partition), (at, value));
        }
    }

    fn wrote(&mut self, process: &Process, key: &Key, before: Option<&Value>, after: Option<&Value>) {
        match key.0.as_str() {
            "offsetresetrecords" => {
                let (was, is) = (before.and_then(record_of), after.and_then(record_of));
                if let Some(is) = is {
                    self.wrote_record(process, was.as_ref(), &is);
                }
            }
            "streampipelines" => {
                let parse = |o: Option<&Value>| o.and_then(|o| serde_json::from_value::<StreamPipeline>(o.clone()).ok());
                if let (was, Some(is)) = (parse(before), parse(after)) {
                    self.wrote_status(process, was.as_ref(), &is);
                }
            }
            "deployments" => self.scaled(process, before, after),
            _ => {}
        }
    }

    fn wrote_record(&mut self, process: &Process, was: Option<&OffsetResetRecord>, is: &OffsetResetRecord) {
        let (at, record, who) = (self.at(), name(is), process.name.clone());
        let writer_before = was.and_then(|r| r.spec.writer.clone());
        let plan_before = was.and_then(|r| r.spec.plan.clone());
        if let (Some(plan), Some(writer)) = (&is.spec.plan, &is.spec.writer)
            && writer_before.as_ref() != Some(writer)
        {
            self.say(format!("{who} writes a plan into {record} (attempt {}, plan {})", writer.attempt, writer.number));
            if was.is_some() && gap(is) > RESTORED {
                self.violation(format!("{who} put a plan into the restored record {record}"));
            }
            if was.is_none_or(|r| r.spec.plan.is_none()) && self.oracle.moved(&record) {
                self.violation(format!("{record} is planned anew although it moved offsets"));
            }
            if writer.attempt > 1 {
                let asked =
                    self.api.get(&("streampipelines".to_owned(), crate::process::NAMESPACE.to_owned(), is.spec.pipeline.name.clone()));
                let retry = asked.is_some_and(|o| o["spec"]["offsetReset"]["onUnknownOutcome"] == "Retry");
                let read = self.oracle.forged.is_empty();
                if writer.attempt > 2 || !retry && read && !self.retry_was_asked(process, is) {
                    self.violation(format!("{who} retries {record} (attempt {}) and nobody asked for it", writer.attempt));
                }
            }
            let plan = Plan::of_record(plan);
            self.oracle.plans.push(PlanWritten { record: record.clone(), uid: uid(is), writer: writer.clone(), plan, at });
        }
        if plan_before.is_some() && is.spec.plan.is_none() {
            self.say(format!("{who} drops the plan of {record}"));
            let own = |s: &Send| s.plan.is_some_and(|plan| self.oracle.plans[plan].uid == uid(is));
            let sent = |s: &Send| own(s) && !s.done;
            if self.oracle.sends.iter().any(sent) || self.oracle.moved(&record) {
                self.violation(format!("{who} drops the plan of {record} although it was sent"));
            }
        }
        let phase = is.status.as_ref().map(|s| (s.phase, s.attempt));
        if phase != was.and_then(|r| r.status.as_ref()).map(|s| (s.phase, s.attempt))
            && let Some((phase, _)) = phase
        {
            let reason = is.status.as_ref().map(|s| s.reason);
            self.say(format!("{who} closes {record} as {phase:?} ({reason:?})"));
            if phase == RecordPhase::Verified {
                self.oracle.verified.insert(record.clone());
                self.check_verified(process, is);
            }
            if phase == RecordPhase::Abandoned && self.oracle.moved(&record) && gap(is) <= RESTORED {
                self.violation(format!("{record} is closed as Abandoned although it moved offsets"));
            }
        }
    }

    /// The spec that the process acted on may be a little older than what the user wrote since.
    fn retry_was_asked(&self, _: &Process, record: &OffsetResetRecord) -> bool {
        self.api.changes.iter().any(|(key, object, _)| {
            key.0 == "streampipelines"
                && key.2 == record.spec.pipeline.name
                && object["spec"]["offsetReset"]["id"] == record.spec.request.id.as_str()
                && object["spec"]["offsetReset"]["onUnknownOutcome"] == "Retry"
        })
    }

    fn check_verified(&mut self, process: &Process, record: &OffsetResetRecord) {
        let Some(written) = self.oracle.plans.iter().rev().find(|p| p.uid == uid(record)) else {
            return self.violation(format!("{} is Verified without a plan", name(record)));
        };
        let since = written.at;
        let wrong = written.plan.moves().find_map(|(row, goal)| {
            let read = self.oracle.offsets_read.get(&(process.incarnation.clone(), row.at.clone()));
            let good = read.is_some_and(|(at, value)| *at >= since && reaches(value.as_ref(), &goal, row.from.as_ref()));
            (!good).then(|| format!("{} was not read back at {} (read: {read:?})", row.at, goal.offset))
        });
        if let Some(wrong) = wrong {
            self.violation(format!("{} is Verified by {}, but {wrong}", name(record), process.name));
        }
    }

    fn wrote_status(&mut self, process: &Process, was: Option<&StreamPipeline>, is: &StreamPipeline) {
        let told = |p: &StreamPipeline| p.status.as_ref().and_then(|s| s.offset_reset.as_ref()).map(|r| (r.id.clone(), r.stage));
        let now = told(is);
        if now == was.and_then(told) {
            return;
        }
        let name = is.metadata.name.clone().unwrap_or_default();
        let reason = is.status.as_ref().and_then(|s| s.conditions.iter().find(|c| c.type_ == "Ready")).map(|c| c.reason.clone());
        self.say(format!("{} tells on {name}: {now:?} ({})", process.name, reason.unwrap_or_default()));
        let record = is.status.as_ref().and_then(|s| s.offset_reset.as_ref()).and_then(|r| r.record_ref.as_ref()).map(|r| r.name.clone());
        let Some((id, stage)) = now else { return };
        if stage == Stage::Verified && !record.as_ref().is_some_and(|r| self.oracle.verified.contains(r)) {
            self.violation(format!("{name} is told to be Verified ({id}), and no record says so"));
        }
        let Some(record) = record else { return };
        if stage == Stage::Failed && self.oracle.moved(&record) && reason_of(is).as_deref() != Some("Restored") {
            self.violation(format!("{name} is told to have failed unsent ({id}), although {record} moved offsets"));
        }
    }

    fn scaled(&mut self, process: &Process, before: Option<&Value>, after: Option<&Value>) {
        let count = |o: Option<&Value>| o.and_then(|o| o["spec"]["replicas"].as_i64()).unwrap_or(0);
        let (from, to) = (count(before), count(after));
        self.say(format!("{} scales {from} to {to}", process.name));
        self.oracle.last_scale = Some((process.name.clone(), to));
        self.plan(Duration::from_millis(800), crate::environment::Act::Pods);
        let records: Vec<OffsetResetRecord> = self.api.all("offsetresetrecords").filter_map(|(_, o)| record_of(o)).collect();
        let asked = |r: &OffsetResetRecord| {
            let before = r.spec.run_state_before.as_ref().filter(|b| b.running);
            let recorded = before.and_then(|b| b.workloads.first()).map(|w| i64::from(w.replicas));
            let open = if to == 0 { !is_closed(r) && recorded == Some(from) } else { recorded == Some(to) };
            open && gap(r) <= RESTORED
        };
        if !records.iter().any(asked) {
            self.violation(format!("{} scales {from} to {to}, and no record asks for it", process.name));
        }
    }

    /// The operator hands a commit to its client. What comes back is named when it lands.
    pub fn sends(&mut self, process: &Process, group: &str, commits: &[OffsetCommit]) -> usize {
        let at = self.at();
        let who = &process.name;
        let offsets: Vec<_> = commits.iter().map(|c| format!("{}-{} to {}", c.topic, c.partition, c.offset)).collect();
        self.say(format!("{who} sends {}", offsets.join(", ")));
        let rows = |plan: &Plan| -> BTreeMap<TopicPartition, Goal> { plan.moves().map(|(row, goal)| (row.at.clone(), goal)).collect() };
        let covers = |written: &PlanWritten| {
            let rows = rows(&written.plan);
            written.writer.incarnation == process.incarnation
                && commits.iter().all(|c| rows.get(&TopicPartition::new(&c.topic, c.partition)).is_some_and(|g| g.offset == c.offset))
        };
        let plan = self.oracle.plans.iter().rposition(covers);
        let mut wrong = Vec::new();
        let record = plan.map(|i| self.oracle.plans[i].record.clone()).unwrap_or_default();
        match plan.map(|i| &self.oracle.plans[i]) {
            None => wrong.push(format!("{who} sends to {group} what it has written into no record")),
            Some(written) => {
                wrong.extend(self.check_send(process, written, commits, at));
            }
        }
        let under_way = TIMING.call_deadline + TIMING.late_bound;
        for other in self.oracle.sends.iter().filter(|s| !s.done && s.record != record && at < s.at + under_way) {
            wrong.push(format!("{who} sends for {record} while what was sent for {} may still land", other.record));
        }
        wrong.into_iter().for_each(|text| self.violation(text));
        self.oracle.sends.push(Send { plan, record, at, done: false });
        self.oracle.sends.len() - 1
    }

    fn check_send(&self, process: &Process, written: &PlanWritten, commits: &[OffsetCommit], at: Duration) -> Vec<String> {
        let (who, record) = (&process.name, &written.record);
        let mut wrong = Vec::new();
        if at - written.at >= TIMING.send_window {
            wrong.push(format!("{who} sends for {record} after the window ({:?} after the plan)", at - written.at));
        }
        let live = self.api.all("offsetresetrecords").find(|(key, _)| key.2 == *record).and_then(|(_, o)| record_of(o));
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
            let wanted = self.oracle.pipelines_read.get(&(process.incarnation.clone(), live.spec.pipeline.name.clone()));
            let good = wanted.is_some_and(|(read, object)| {
                let same =
                    object["metadata"]["uid"] == live.spec.pipeline.uid.as_str() && !object["metadata"]["deletionTimestamp"].is_string();
                *read >= written.at && same && object["spec"]["offsetReset"]["id"] == live.spec.request.id.as_str()
            });
            if !good {
                wrong.push(format!("{who} sends for {record}, and did not see that it is still wanted"));
            }
        }
        let listed = self.oracle.records_listed.get(&process.incarnation).copied().unwrap_or_default();
        for (_, other) in self.api.all("offsetresetrecords").filter(|(key, _)| key.2 != *record) {
            let Some(other) = record_of(other) else { continue };
            let since = self.oracle.plans.iter().rev().find(|p| p.uid == uid(&other)).map(|p| p.at);
            let in_doubt = !is_closed(&other) && other.spec.plan.is_some() && gap(&other) <= RESTORED;
            if in_doubt && since.is_some_and(|since| since < listed) {
                wrong.push(format!("{who} sends for {record} while {} was in doubt", name(&other)));
            }
        }
        for commit in commits {
            let partition = TopicPartition::new(&commit.topic, commit.partition);
            let Some(row) = written.plan.rows.iter().find(|row| row.at == partition) else { continue };
            let read = self.oracle.offsets_read.get(&(process.incarnation.clone(), partition.clone()));
            let as_planned = |value: Option<&Commit>| {
                value == row.from.as_ref()
                    || written.writer.attempt > 1 && row.to.is_some_and(|goal| reaches(value, &goal, row.from.as_ref()))
            };
            if !read.is_some_and(|(when, value)| *when >= written.at && as_planned(value.as_ref())) {
                wrong.push(format!(
                    "{who} sends for {record} to {partition}, which it did not see as in the snapshot after the plan (saw {read:?})"
                ));
            }
        }
        wrong
    }

    /// A commit of the operator reaches the broker.
    pub fn lands(&mut self, send: usize, group: &str, commits: &[OffsetCommit]) -> Vec<(TopicPartition, Result<(), KafkaCode>)> {
        let before = self.broker.group(group).offsets.clone();
        let results = self.broker.alter(group, commits);
        let after = self.broker.group(group).offsets.clone();
        let accepted: Vec<_> = results.iter().filter(|(_, r)| r.is_ok()).map(|(at, _)| at.clone()).collect();
        self.say(format!("a commit lands: {} of {} accepted", accepted.len(), results.len()));
        self.oracle.sends[send].done = true;
        if accepted.is_empty() {
            return results;
        }
        let (record, at, plan) = (self.oracle.sends[send].record.clone(), self.oracle.sends[send].at, self.oracle.sends[send].plan);
        let Some(plan) = plan else { return results };
        let (attempt, uid_written) = (self.oracle.plans[plan].writer.attempt, self.oracle.plans[plan].uid.clone());
        if self.oracle.pardoned.contains(&uid_written) {
            return results;
        }
        for partition in accepted {
            if before.get(&partition) == after.get(&partition) {
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
        let live = self.api.all("offsetresetrecords").find(|(key, _)| key.2 == record).and_then(|(_, o)| record_of(o));
        if live.is_some_and(|r| uid(&r) == uid_written && is_closed(&r)) {
            self.violation(format!("what was sent for {record} lands after it was judged"));
        }
        if self.oracle.sends.iter().any(|s| s.record != record && s.at > at) {
            self.violation(format!("what was sent for {record} lands after a later request was sent"));
        }
        results
    }

    /// Somebody deletes a record: a status that tells of it still prevents a second run; otherwise it is a stated residual.
    pub fn record_deleted(&mut self, object: &Value) {
        let Some(record) = record_of(object) else { return };
        let key = ("streampipelines".to_owned(), crate::process::NAMESPACE.to_owned(), record.spec.pipeline.name.clone());
        let told = self.api.get(&key).is_some_and(|p| {
            p["status"]["offsetReset"]["id"] == record.spec.request.id.as_str()
                && !matches!(p["status"]["offsetReset"]["stage"].as_str(), Some("Waiting") | None)
        });
        if !told {
            self.oracle.pardoned.insert(uid(&record));
            self.oracle.effects.retain(|(of, ..), _| *of != name(&record));
        }
    }

    /// What is not over yet; empty at the end of a good history.
    pub fn open_ends(&self) -> Vec<String> {
        let mut open = Vec::new();
        for (key, object) in self.api.all("offsetresetrecords") {
            let Some(record) = record_of(object) else { continue };
            let parent = ("streampipelines".to_owned(), key.1.clone(), record.spec.pipeline.name.clone());
            // Nobody looks after the record of an object that is gone.
            if !is_closed(&record) && self.api.get(&parent).is_some() {
                open.push(format!("record {} is not closed", key.2));
            }
        }
        for (key, object) in self.api.all("streampipelines") {
            let asked = &object["spec"]["offsetReset"]["id"];
            let stage = &object["status"]["offsetReset"];
            let is_final = !matches!(stage["stage"].as_str(), None | Some("Waiting" | "Pausing" | "Sending"));
            if object["metadata"]["deletionTimestamp"].is_string() {
                open.push(format!("{} is not gone", key.2));
            } else if asked.is_string() && !(stage["id"] == *asked && is_final) {
                open.push(format!("{} has not ended: {stage}", key.2));
            } else if !asked.is_string() && !object["status"]["observedUID"].is_string() {
                open.push(format!("{} was not seen", key.2));
            }
        }
        if let Some(deployment) = self.api.get(&workload())
            && self.oracle.last_scale.as_ref().is_some_and(|(_, to)| *to == 0)
            && !self.oracle.scaled_by_others
            && deployment["spec"]["replicas"] == 0
        {
            let held = |(_, object): (&Key, &Value)| {
                record_of(object).is_some_and(|r| {
                    r.spec.run_state_before.as_ref().is_some_and(|b| b.running)
                        && r.status.as_ref().is_some_and(|s| s.phase == RecordPhase::Held)
                })
            };
            if !self.oracle.records_deleted && !self.api.all("offsetresetrecords").any(held) {
                open.push(format!("the consumers of {GROUP} stay stopped, and nothing is held"));
            }
        }
        open
    }
}

fn reason_of(pipeline: &StreamPipeline) -> Option<String> {
    pipeline.status.as_ref()?.conditions.iter().find(|c| c.type_ == "Ready").map(|c| c.reason.clone())
}
