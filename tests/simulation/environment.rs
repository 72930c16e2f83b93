//! Everybody but the operator: the user, the consumers and their pods, other tools, backups. Each act is one step and takes no time.

use std::time::Duration;

use serde_json::{Value, json};
use stream_pipeline_core::Commit;
use stream_pipeline_operator::backend::kafka::admin::TopicPartition;

use crate::api_server::Key;
use crate::console::Console;
use crate::platform;
use crate::process::NAMESPACE;
use crate::world::World;

pub const GROUP: &str = "turbine";
pub const TOPIC: &str = "events";
const APPLICATION: &str = "application";
/// The rate that manifests say, in records a second.
pub const KAFKA_RATE: i64 = 1000;

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
    fn name(&self) -> String {
        format!("r{}", self.id)
    }

    /// An undo is one of the newest record.
    fn to_json(&self, world: &World) -> Value {
        let mut to = self.to.clone();
        if to["undo"].is_object() {
            let newest = world.api.all("offsetresetrecords").max_by_key(|(_, o)| o["metadata"]["creationTimestamp"].to_string());
            to["undo"]["name"] = json!(newest.map_or("none", |(key, _)| key.2.as_str()));
        }
        json!({
            "id": self.name(), "to": to, "quietPeriod": format!("{}s", self.quiet),
            "whenActive": if self.pauses { "Pause" } else { "Wait" },
            "whenCreated": if self.runs_when_created { "Run" } else { "Skip" },
            "waitTimeout": format!("{}s", self.timeout),
            "onUnknownOutcome": if self.retries { "Retry" } else { "Hold" },
        })
    }
}

/// One act. Pipelines are given by number.
#[derive(Clone, Debug)]
pub enum Act {
    /// A consumer joins the group for this many seconds, and commits.
    Join(u64),
    Leave,
    /// A consumer that uses `assign()`, or another tool, moves the offsets by this much.
    Move(i64),
    /// The offsets return to where they were before the operator last moved them.
    BackToOld,
    DropCommit,
    /// A transaction holds the offsets for this many seconds.
    Transaction(u64),
    EndTransaction,
    /// The topic is deleted, and created again this many seconds later. Its commits are deleted too, if the coordinator notices by then.
    TopicRecreated {
        gone: u64,
        commits_kept: bool,
    },
    MakeTopic(Vec<(i64, i64)>),
    AddPartition,
    Create(usize, Option<Ask>),
    Request(usize, Ask),
    Withdraw(usize),
    SetRetry(usize),
    Delete(usize),
    DropStatus(usize),
    ForgeStatus(usize, &'static str),
    DeleteRecords,
    /// Somebody exchanges the plans of held records, and asks for them to be sent once more.
    Exchange,
    /// A backup: taken now, restored this many seconds later.
    Backup(u64),
    Restore(Vec<(Key, Value)>),
    /// Somebody sets the replicas of a workload.
    Scale(usize, i64),
    /// The number of pods becomes the number that is asked for.
    Pods,
    /// The members of the group read on.
    Consume,
    /// Somebody acts on the platform.
    Console(Console),
}

pub fn pipeline(number: usize) -> Key {
    ("streampipelines".to_owned(), NAMESPACE.to_owned(), format!("p{number}"))
}

pub fn workload(number: usize) -> Key {
    ("deployments".to_owned(), NAMESPACE.to_owned(), format!("consumers-{number}"))
}

impl Act {
    pub fn kind(&self) -> &'static str {
        match self {
            Act::Join(_) | Act::Leave | Act::Consume => "consumer",
            Act::Move(_) | Act::BackToOld | Act::DropCommit => "offsets moved",
            Act::Transaction(_) | Act::EndTransaction => "transaction",
            Act::TopicRecreated { .. } | Act::MakeTopic(_) => "topic recreated",
            Act::AddPartition => "partition added",
            Act::Create(..) | Act::Request(..) | Act::Withdraw(_) | Act::SetRetry(_) | Act::Delete(_) => "user",
            Act::DropStatus(_) | Act::ForgeStatus(..) => "status lost or forged",
            Act::DeleteRecords | Act::Exchange | Act::Backup(_) | Act::Restore(_) => "record deleted, changed or restored",
            Act::Scale(..) | Act::Pods => "workload",
            Act::Console(Console::RevokeTokens) => "tokens revoked",
            Act::Console(_) => "console",
        }
    }

    fn is_quiet(&self) -> bool {
        matches!(self, Act::Pods | Act::Consume | Act::EndTransaction)
    }

    pub fn apply(&self, world: &mut World) {
        if !self.is_quiet() {
            world.say(|| format!("others: {self:?}"));
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
            Act::TopicRecreated { gone, commits_kept } => {
                let Some(topic) = world.broker.topics.remove(TOPIC) else { return };
                if !commits_kept {
                    world.broker.group(GROUP).offsets.retain(|at, _| at.topic != TOPIC);
                }
                let again = Act::MakeTopic(topic.logs);
                if *gone == 0 { again.apply(world) } else { world.plan(Duration::from_secs(*gone), again) }
            }
            Act::MakeTopic(logs) => world.broker.make_topic(TOPIC, logs.clone()),
            Act::AddPartition => {
                if let Some(topic) = world.broker.topics.get_mut(TOPIC) {
                    topic.logs.push((0, 10));
                }
            }
            Act::Create(number, ask) => {
                let mut spec = if world.platform.is_some() { on_platform(*number) } else { in_group(world) };
                if let Some(ask) = ask {
                    spec["offsetReset"] = ask.to_json(world);
                }
                let object = json!({ "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline", "metadata": {}, "spec": spec });
                let now = world.wall();
                let (code, made) = world.api.create(pipeline(*number), object, now);
                if let Some(ask) = ask.as_ref().filter(|ask| code == 200 && !ask.runs_when_created) {
                    let uid = made["metadata"]["uid"].as_str().unwrap_or_default();
                    world.oracle.not_to_run.insert((uid.to_owned(), ask.name()));
                }
            }
            Act::Request(number, ask) => {
                let reset = ask.to_json(world);
                change(world, *number, |o| o["spec"]["offsetReset"] = reset);
            }
            Act::Withdraw(number) => change(world, *number, |o| o["spec"]["offsetReset"] = Value::Null),
            Act::SetRetry(number) => change(world, *number, |o| {
                if o["spec"]["offsetReset"].is_object() {
                    o["spec"]["offsetReset"]["onUnknownOutcome"] = json!("Retry");
                }
            }),
            Act::Delete(number) => {
                let now = world.wall();
                world.status_lost(&pipeline(*number).2);
                world.api.delete(&pipeline(*number), now);
            }
            Act::DropStatus(number) => {
                world.status_lost(&pipeline(*number).2);
                change(world, *number, |o| drop(o.as_object_mut().expect("an object").remove("status")));
            }
            Act::ForgeStatus(number, stage) => {
                world.status_lost(&pipeline(*number).2);
                change(world, *number, |o| {
                    if o["status"]["offsetReset"].is_object() {
                        o["status"]["offsetReset"]["stage"] = json!(stage);
                    }
                });
                world.oracle.forged.insert(pipeline(*number).2);
            }
            Act::DeleteRecords => {
                for (key, object) in records(world) {
                    world.record_deleted(&object);
                    let now = world.wall();
                    world.api.delete(&key, now);
                }
            }
            Act::Exchange => {
                for (key, object) in records(world) {
                    if object["status"]["phase"] == "Held" && object["spec"]["plan"]["topics"][0]["to"][0].is_i64() {
                        world.api.change(&key, |o| {
                            let to = &mut o["spec"]["plan"]["topics"][0]["to"][0];
                            *to = json!(to.as_i64().unwrap_or(0) + 1);
                        });
                    }
                }
                Act::SetRetry(0).apply(world);
            }
            Act::Backup(seconds) => {
                let copies = records(world);
                world.plan(Duration::from_secs(*seconds), Act::Restore(copies));
            }
            Act::Restore(copies) => {
                for (key, object) in copies {
                    let now = world.wall();
                    if let Some(replaced) = world.api.get(key).cloned() {
                        world.record_deleted(&replaced);
                        world.api.delete(key, now);
                    }
                    let mut fresh = object.clone();
                    fresh.as_object_mut().expect("an object").remove("status");
                    world.api.create(key.clone(), fresh, now);
                }
            }
            Act::Scale(number, count) => {
                let key = workload(*number);
                world.api.change(&key, |o| o["spec"]["replicas"] = json!(count));
                world.oracle.scaled_by_others.insert(key.2);
                world.plan(Duration::from_millis(700), Act::Pods);
            }
            Act::Pods => pods(world),
            Act::Console(act) => act.apply(world),
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

fn in_group(world: &World) -> Value {
    let mut kafka = json!({ "bootstrapServers": ["broker:9092"], "consumerGroup": GROUP });
    let references = world.api.all("deployments");
    let references: Vec<Value> =
        references.map(|(key, _)| json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": key.2 })).collect();
    if !references.is_empty() {
        kafka["workloads"] = json!(references);
    }
    json!({ "kafka": kafka })
}

/// Names the first pipeline by its name, the second by its id.
fn on_platform(number: usize) -> Value {
    let mut enos = json!({
        "endpoint": "https://gateway.example", "orgID": platform::ORG, "credentialsSecretRef": { "name": APPLICATION },
        "start": { "executionMode": "Standalone", "kafkaRate": KAFKA_RATE },
    });
    if number == 0 {
        enos["pipelineName"] = json!(platform::NAME);
    } else {
        enos["pipelineID"] = json!(platform::ID);
    }
    json!({ "enos": enos })
}

/// The Secret of the platform's application.
pub fn application() -> (Key, Value) {
    let value = |text: &str| k8s_openapi::ByteString(text.as_bytes().to_vec());
    let data = json!({ "accessKey": value(platform::ACCESS_KEY), "secretKey": value(platform::SECRET_KEY) });
    let key = ("secrets".to_owned(), NAMESPACE.to_owned(), APPLICATION.to_owned());
    (key, json!({ "apiVersion": "v1", "kind": "Secret", "metadata": {}, "data": data }))
}

fn records(world: &World) -> Vec<(Key, Value)> {
    world.api.all("offsetresetrecords").map(|(key, object)| (key.clone(), object.clone())).collect()
}

fn change(world: &mut World, number: usize, change: impl FnOnce(&mut Value)) {
    world.api.change(&pipeline(number), change);
}

/// Moves every partition's offset on by this much, but not out of its log.
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
    let workloads = world.api.all("deployments");
    let counts: Vec<(Key, i64)> = workloads.map(|(key, o)| (key.clone(), o["spec"]["replicas"].as_i64().unwrap_or(0))).collect();
    let members: Vec<String> = counts.iter().flat_map(|(key, count)| (0..*count).map(move |n| format!("pod-{}-{n}", key.2))).collect();
    for (key, count) in counts {
        world.api.change(&key, |o| o["status"] = json!({ "replicas": count, "readyReplicas": count }));
    }
    let consumes = !members.is_empty();
    let group = world.broker.group(GROUP);
    group.members.retain(|member| !member.starts_with("pod-"));
    group.members.extend(members);
    if consumes && !world.agenda.values().any(|act| matches!(act, Act::Consume)) {
        world.plan(Duration::from_secs(2), Act::Consume);
    }
}
