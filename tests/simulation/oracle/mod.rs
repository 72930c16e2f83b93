//! Knows the true history, and says when a promise of the protocol is broken. What how-it-stays-safe.md lists under "What remains possible"
//! does not count: a second look is judged by when it was read, not by when the commit lands.

mod ends;
mod enos;
mod kafka;
mod pauses;
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use stream_pipeline_api::{OffsetResetRecord, Reason, StreamPipeline, Writer};
use stream_pipeline_core::{Aim, Commit, PartitionPlan, Plan};
use stream_pipeline_operator::backend::kafka::admin::TopicPartition;

use crate::api_server::{Key, Reply, Request};
use crate::process::{NAMESPACE, Process};
use crate::world::World;

/// If a record's two creation times are more than this many seconds apart, it was restored.
const RESTORED: i64 = 60;

#[derive(Default)]
pub struct Oracle {
    pub violations: Vec<String>,
    /// When the call that is served now was made.
    called_at: Duration,
    pub counts: BTreeMap<&'static str, u64>,
    /// The offsets before the operator's last commit.
    pub before_last: BTreeMap<TopicPartition, Commit>,
    /// Pipelines whose status somebody forged.
    pub forged: BTreeSet<String>,
    /// Object (uid) and id of requests that existed when the object was created and must not run then.
    pub not_to_run: BTreeSet<(String, String)>,
    /// Workloads whose replicas somebody else set.
    pub scaled_by_others: BTreeSet<String>,
    /// Records (by uid) that somebody deleted before any status mentioned them: one of the stated limits.
    pardoned: BTreeSet<String>,
    /// All records (by uid) that somebody deleted: nobody can know any more that they were in doubt, or that a start was due.
    deleted: BTreeSet<String>,
    /// How many work at once, without a Lease.
    pub replicas: usize,
    /// Until then the watches of one of them stand still.
    pub watches_stale_until: Duration,
    /// Workloads that were stopped for one of these.
    pub unknown_pauses: BTreeSet<String>,
    /// Deleted records that only a status still mentions: its object, and the record's name and uid.
    told_by_status: Vec<(String, String, String)>,
    plans: Vec<PlanWritten>,
    sends: Vec<Send>,
    /// How often each attempt of a request moved each partition; requests are given by their record's name.
    effects: BTreeMap<(String, i32, TopicPartition), u32>,
    verified: BTreeSet<String>,
    /// By incarnation.
    reads: BTreeMap<String, Reads>,
    platform: enos::OnPlatform,
    /// The replicas that the operator last set for each workload.
    last_scale: BTreeMap<String, i64>,
    /// The longest time from a write that announces a plan or a chunk to its send.
    pub longest_to_send: Duration,
}

/// What one process read last, and when.
#[derive(Default)]
struct Reads {
    /// In the order in which they were read, by name: a look at all of a group may be of a pass for another StreamPipeline of it, and
    /// proves nothing about a plan.
    offsets: BTreeMap<TopicPartition, Vec<(Duration, Option<Commit>)>>,
    /// By name, with the topic id.
    topics: BTreeMap<String, (Duration, Option<String>)>,
    pipelines: BTreeMap<String, (Duration, Asked)>,
    /// When a StreamPipeline was last asked for; a second look asks for the group's records right after it.
    asked_for: BTreeMap<String, Duration>,
    /// Each list of a group's records: when it was asked for, and when it was made.
    records_listed: Vec<(Duration, Duration)>,
    /// The status of the pipeline on the platform, from the list.
    status: Option<(Duration, String)>,
    /// When the platform last showed a position.
    lag: Option<Duration>,
}

/// What a StreamPipeline asks for.
#[derive(PartialEq)]
struct Asked {
    uid: String,
    id: Option<String>,
    deleted: bool,
}

/// A plan or a chunk that was announced.
struct PlanWritten {
    record: String,
    uid: String,
    writer: Writer,
    plan: Plan,
    at: Duration,
}

impl PlanWritten {
    fn chunk(&self) -> usize {
        usize::try_from(self.writer.chunk).unwrap_or(1).max(1)
    }
}

struct Send {
    plan: Option<usize>,
    record: String,
    at: Duration,
    landed: Option<Duration>,
    accepted: BTreeSet<TopicPartition>,
}

impl Oracle {
    pub fn count(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_default() += 1;
    }

    /// For how many records something was sent.
    pub fn resets(&self) -> usize {
        self.sends.iter().map(|send| &send.record).collect::<BTreeSet<_>>().len()
    }

    fn moved(&self, record: &str) -> bool {
        self.effects.iter().any(|((name, ..), times)| name == record && *times > 0)
    }

    /// Whether this very record moved something, or any record of its name that nobody has deleted: what deleted ones did cannot be known.
    fn moved_by(&self, record: &str, uid: &str) -> bool {
        let by = |s: &Send| s.plan.map(|plan| self.plans[plan].uid.as_str());
        let all_deleted = || self.sends.iter().filter(|s| s.record == record).all(|s| by(s) != Some(uid) && self.is_deleted(s));
        self.moved(record) && !all_deleted()
    }

    /// Whether somebody has deleted the record of this send.
    fn is_deleted(&self, send: &Send) -> bool {
        send.plan.is_some_and(|plan| self.deleted.contains(&self.plans[plan].uid))
    }

    fn reads_of(&mut self, process: &Process) -> &mut Reads {
        if !self.reads.contains_key(&process.incarnation) {
            self.reads.insert(process.incarnation.clone(), Reads::default());
        }
        self.reads.get_mut(&process.incarnation).expect("just made")
    }

    /// What the process had last read of a partition, at `since` or later, when it made the call that is served now: a call may be served
    /// long after it was made, and the process may have read more by then.
    fn offset_read(&self, process: &Process, at: &TopicPartition, since: Duration) -> Option<&Option<Commit>> {
        let reads = self.reads.get(&process.incarnation)?.offsets.get(at)?;
        let (when, value) = reads.iter().rfind(|(when, _)| *when <= self.called_at)?;
        (*when >= since).then_some(value)
    }

    /// All that the process had read of the partition until then.
    fn offset_reads(&self, process: &Process, at: &TopicPartition, since: Duration) -> impl Iterator<Item = &Option<Commit>> {
        let reads = self.reads.get(&process.incarnation).and_then(|reads| reads.offsets.get(at));
        let until = self.called_at;
        reads.into_iter().flatten().filter(move |(when, _)| (since..=until).contains(when)).map(|(_, value)| value)
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

/// Whether this cluster is to bring back what the record stopped: the record was not restored, or its own maker judged it.
fn counts(record: &OffsetResetRecord) -> bool {
    gap(record) <= RESTORED || record.status.as_ref().is_some_and(|s| s.reason != Reason::Restored)
}

fn reaches(now: Option<&Commit>, row: &PartitionPlan) -> bool {
    match &row.aim {
        Aim::Keep => now == row.from.as_ref(),
        Aim::Delete => now.is_none(),
        Aim::Commit(to) => {
            let epoch = |c: &Commit| to.leader_epoch.is_none() || c.leader_epoch == to.leader_epoch || now == row.from.as_ref();
            now.is_some_and(|c| c.offset == to.offset && epoch(c))
        }
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

impl World {
    /// Serves one call to the API server, in sight of the oracle.
    pub fn serve(&mut self, process: &Process, request: &Request) -> Reply {
        let key = request.key();
        let now = self.wall();
        if !request.is_write() {
            let reply = self.serve_broken(process, request, now);
            self.saw(process, request, key, &reply.1);
            return reply;
        }
        self.oracle.called_at = request.called_at;
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

    fn saw(&mut self, process: &Process, request: &Request, key: Option<Key>, object: &Value) {
        let at = self.at();
        match key {
            Some(key) if key.0 == "streampipelines" => {
                let asked = Asked {
                    uid: text(&object["metadata"]["uid"]).unwrap_or_default(),
                    id: text(&object["spec"]["offsetReset"]["id"]),
                    deleted: object["metadata"]["deletionTimestamp"].is_string(),
                };
                let reads = self.oracle.reads_of(process);
                reads.asked_for.insert(key.2.clone(), request.called_at);
                reads.pipelines.insert(key.2, (at, asked));
            }
            None if request.path.contains("offsetresetrecords") && request.query.contains("backend") => {
                self.oracle.reads_of(process).records_listed.push((request.called_at, at));
            }
            _ => {}
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
            "deployments" => self.scaled(process, &key.2, before, after),
            _ => {}
        }
    }
}

fn pipeline_key(name: &str) -> Key {
    ("streampipelines".to_owned(), NAMESPACE.to_owned(), name.to_owned())
}
