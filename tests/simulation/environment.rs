//! Everybody but the operator: the user, the consumers and their pods, other tools, backups. Each acts at once, in one step.

use std::time::Duration;

use serde_json::{Value, json};
use stream_pipeline_operator::backend::kafka::admin_types::TopicPartition;
use stream_pipeline_operator::domain::Commit;

use crate::api_server::Key;
use crate::process::NAMESPACE;
use crate::world::World;

pub const GROUP: &str = "turbine";
pub const TOPIC: &str = "events";
pub const WORKLOAD: &str = "consumers";

/// What one pipeline asks for.
#[derive(Clone, Debug)]
pub struct Ask {
    pub id: u64,
    pub to: Value,
    pub pauses: bool,
    pub quiet: u64,
    pub runs_when_created: bool,
    pub retries: bool,
    pub timeout: u64,
}

impl Ask {
    fn to_json(&self) -> Value {
        json!({
            "id": format!("r{}", self.id), "to": self.to, "quietPeriod": format!("{}s", self.quiet),
            "whenActive": if self.pauses { "Pause" } else { "Wait" },
            "whenCreated": if self.runs_when_created { "Run" } else { "Skip" },
            "waitTimeout": format!("{}s", self.timeout),
            "onUnknownOutcome": if self.retries { "Retry" } else { "Hold" },
        })
    }
}

/// One act. Pipelines by their number.
#[derive(Clone, Debug)]
pub enum Act {
    /// A consumer joins the group for so many seconds, and commits.
    Join(u64),
    Leave,
    /// A consumer that uses `assign()`, or another tool, moves the offsets by so much.
    Move(i64),
    /// The offsets come back to where they were before the operator moved them last.
    BackToOld,
    DropCommit,
    /// A transaction holds the offsets for so many seconds.
    Transaction(u64),
    EndTransaction,
    RecreateTopic,
    AddPartition,
    Create(usize, Option<Ask>),
    Request(usize, Ask),
    Withdraw(usize),
    SetRetry(usize),
    Delete(usize),
    DropStatus(usize),
    ForgeStatus(usize, &'static str),
    DeleteRecords,
    /// A backup: taken now, put back so many seconds later.
    Backup(u64),
    Restore(Vec<(Key, Value)>),
    Scale(i64),
    /// The pods are as many as they are to be.
    Pods,
    /// Those who are members read on.
    Consume,
}

pub fn pipeline(number: usize) -> Key {
    ("streampipelines".to_owned(), NAMESPACE.to_owned(), format!("p{number}"))
}

pub fn workload() -> Key {
    ("deployments".to_owned(), NAMESPACE.to_owned(), WORKLOAD.to_owned())
}

impl Act {
    pub fn kind(&self) -> &'static str {
        match self {
            Act::Join(_) | Act::Leave | Act::Consume => "consumer",
            Act::Move(_) | Act::BackToOld | Act::DropCommit => "offsets moved",
            Act::Transaction(_) | Act::EndTransaction => "transaction",
            Act::RecreateTopic | Act::AddPartition => "topic changed",
            Act::Create(..) | Act::Request(..) | Act::Withdraw(_) | Act::SetRetry(_) | Act::Delete(_) => "user",
            Act::DropStatus(_) | Act::ForgeStatus(..) => "status lost or forged",
            Act::DeleteRecords | Act::Backup(_) | Act::Restore(_) => "record deleted or restored",
            Act::Scale(_) | Act::Pods => "workload",
        }
    }

    fn is_quiet(&self) -> bool {
        matches!(self, Act::Pods | Act::Consume | Act::EndTransaction)
    }

    pub fn apply(&self, world: &mut World) {
        if !self.is_quiet() {
            world.say(format!("others: {self:?}"));
        }
        match self {
            Act::Join(seconds) => {
                world.broker.group(GROUP).members.insert("guest".to_owned());
                consume(world, 3);
                world.plan(Duration::from_secs(*seconds), Act::Leave);
            }
            Act::Leave => drop(world.broker.group(GROUP).members.remove("guest")),
            Act::Move(by) => consume(world, *by),
            Act::BackToOld => {
                let old = world.oracle.before_last.clone();
                world.broker.group(GROUP).offsets.extend(old);
            }
            Act::DropCommit => drop(world.broker.group(GROUP).offsets.pop_last()),
            Act::Transaction(seconds) => {
                let first = TopicPartition::new(TOPIC, 0);
                world.broker.group(GROUP).pending.insert(first);
                world.plan(Duration::from_secs(*seconds), Act::EndTransaction);
            }
            Act::EndTransaction => {
                let group = world.broker.group(GROUP);
                let held = std::mem::take(&mut group.pending);
                if !held.is_empty() {
                    consume(world, 2);
                }
            }
            Act::RecreateTopic => {
                let logs = world.broker.topics.get(TOPIC).map(|t| t.logs.clone()).unwrap_or_default();
                world.broker.make_topic(TOPIC, logs);
            }
            Act::AddPartition => {
                if let Some(topic) = world.broker.topics.get_mut(TOPIC) {
                    topic.logs.push((0, 10));
                }
            }
            Act::Create(number, ask) => {
                let mut spec = json!({ "kafka": { "bootstrapServers": ["broker:9092"], "consumerGroup": GROUP } });
                if world.api.get(&workload()).is_some() {
                    spec["kafka"]["workloads"] = json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": WORKLOAD }]);
                }
                if let Some(ask) = ask {
                    spec["offsetReset"] = ask.to_json();
                }
                let object = json!({ "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": {}, "spec": spec });
                let now = world.wall();
                world.api.create(pipeline(*number), object, now);
            }
            Act::Request(number, ask) => change(world, *number, |o| o["spec"]["offsetReset"] = ask.to_json()),
            Act::Withdraw(number) => change(world, *number, |o| o["spec"]["offsetReset"] = Value::Null),
            Act::SetRetry(number) => change(world, *number, |o| {
                if o["spec"]["offsetReset"].is_object() {
                    o["spec"]["offsetReset"]["onUnknownOutcome"] = json!("Retry");
                }
            }),
            Act::Delete(number) => {
                let now = world.wall();
                world.api.delete(&pipeline(*number), now);
            }
            Act::DropStatus(number) => change(world, *number, |o| drop(o.as_object_mut().expect("an object").remove("status"))),
            Act::ForgeStatus(number, stage) => {
                change(world, *number, |o| {
                    if o["status"]["offsetReset"].is_object() {
                        o["status"]["offsetReset"]["stage"] = json!(stage);
                    }
                });
                world.oracle.forged.insert(pipeline(*number).2);
            }
            Act::DeleteRecords => {
                world.oracle.records_deleted = true;
                for (key, object) in records(world) {
                    world.record_deleted(&object);
                    let now = world.wall();
                    world.api.delete(&key, now);
                }
            }
            Act::Backup(seconds) => {
                let copies = records(world);
                world.plan(Duration::from_secs(*seconds), Act::Restore(copies));
            }
            Act::Restore(copies) => {
                for (key, object) in copies {
                    let now = world.wall();
                    world.api.delete(key, now);
                    let mut fresh = object.clone();
                    fresh.as_object_mut().expect("an object").remove("status");
                    world.api.create(key.clone(), fresh, now);
                }
            }
            Act::Scale(count) => {
                world.oracle.scaled_by_others = true;
                world.api.change(&workload(), |o| o["spec"]["replicas"] = json!(count));
                world.plan(Duration::from_millis(700), Act::Pods);
            }
            Act::Pods => pods(world),
            Act::Consume => {
                if !world.broker.group(GROUP).members.is_empty() && !world.healed {
                    consume(world, 4);
                    world.plan(Duration::from_secs(5), Act::Consume);
                }
            }
        }
        world.changed.notify_waiters();
    }
}

fn records(world: &World) -> Vec<(Key, Value)> {
    world.api.all("offsetresetrecords").map(|(key, object)| (key.clone(), object.clone())).collect()
}

fn change(world: &mut World, number: usize, change: impl FnOnce(&mut Value)) {
    world.api.change(&pipeline(number), change);
}

/// Every partition's offset goes on by so much, inside of its log.
fn consume(world: &mut World, by: i64) {
    let logs = world.broker.topics.get(TOPIC).map(|t| t.logs.clone()).unwrap_or_default();
    for (partition, (start, end)) in (0..).zip(logs) {
        let offsets = &mut world.broker.group(GROUP).offsets;
        if let Some(commit) = offsets.get_mut(&TopicPartition::new(TOPIC, partition)) {
            *commit = Commit { offset: (commit.offset + by).clamp(start, end), leader_epoch: Some(0), ..Commit::default() };
        }
    }
}

fn pods(world: &mut World) {
    let Some(count) = world.api.get(&workload()).map(|o| o["spec"]["replicas"].as_i64().unwrap_or(0)) else { return };
    world.api.change(&workload(), |o| o["status"] = json!({ "replicas": count, "readyReplicas": count }));
    let group = world.broker.group(GROUP);
    group.members.retain(|member| !member.starts_with("pod-"));
    group.members.extend((0..count).map(|n| format!("pod-{n}")));
    if count > 0 {
        world.plan(Duration::from_secs(2), Act::Consume);
    }
}
