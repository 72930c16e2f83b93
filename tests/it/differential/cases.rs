//! Random logs, and random groups that are to be moved on them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fastrand::Rng;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use stream_pipeline_core::TopicPartition;
use testbed::kafka::{self, OpenTransaction};

use crate::support::world::{FIRST_RECORD_TIME, World};

const HOUR: i64 = 3_600_000;

/// Topics with what can be known of their logs.
pub struct Logs {
    /// Start and end of each partition.
    bounds: BTreeMap<TopicPartition, (i64, i64)>,
    by_topic: BTreeMap<String, i32>,
}

impl Logs {
    pub async fn make(world: &World, random: &mut Rng) -> Self {
        let (mut bounds, mut by_topic) = (BTreeMap::new(), BTreeMap::new());
        for _ in 0..8 {
            let (topic, partitions) = (world.unique("t"), random.i32(1..=4));
            kafka::create_topic(&world.bootstrap, &topic, partitions, &[]).await;
            for partition in 0..partitions {
                fill(world, &topic, partition, random).await;
                let at = TopicPartition::new(&topic, partition);
                bounds.insert(at, kafka::watermarks(&world.bootstrap, &topic, partition).await);
            }
            by_topic.insert(topic, partitions);
        }
        Self { bounds, by_topic }
    }

    fn topic(&self, random: &mut Rng) -> String {
        self.by_topic.keys().nth(random.usize(..self.by_topic.len())).expect("a topic").clone()
    }
}

/// Empty; in order, equal, out of order, or of the last days; with the gaps that transactions leave; with its beginning deleted.
async fn fill(world: &World, topic: &str, partition: i32, random: &mut Rng) {
    let (count, now, mut times) = (random.i64(1..=40), Timestamp::now().as_millisecond(), Rng::with_seed(random.u64(..)));
    let stamps: Vec<i64> = match random.u8(0..6) {
        0 => return,
        1 => vec![FIRST_RECORD_TIME; usize::try_from(count).expect("few")],
        2 => (0..count).map(|_| FIRST_RECORD_TIME + times.i64(0..60) * 1000).collect(),
        3 | 4 => (0..count).map(|n| now - (count - n) * HOUR - HOUR / 2).collect(),
        _ => (0..count).map(|n| FIRST_RECORD_TIME + n * 1000).collect(),
    };
    kafka::produce(&world.bootstrap, topic, partition, count, move |n| stamps[usize::try_from(n).expect("in range")]).await;
    if random.u8(0..4) == 0 {
        let transaction = OpenTransaction::begin(&world.bootstrap, topic, partition, random.i64(1..=5)).await;
        if random.bool() { transaction.commit().await } else { transaction.abort().await }
    }
    if random.u8(0..3) == 0 {
        let (_, end) = kafka::watermarks(&world.bootstrap, topic, partition).await;
        kafka::delete_records(&world.bootstrap, &[(topic, partition, random.i64(0..=end))]).await;
    }
}

#[derive(Clone, Debug)]
pub enum Scope {
    /// All topics that the group has commits for.
    All,
    Topics(Vec<String>),
    Partitions(String, Vec<i32>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Earliest,
    Latest,
    Current,
    Time(i64),
    /// In hours.
    Lookback(i64),
    Shift(i64),
    Offset(i64),
    /// The tool reads the same from a file.
    Offsets,
    OffsetsFrom,
}

/// One group, and where it is to go.
#[derive(Clone, Debug)]
pub struct Case {
    pub number: u64,
    pub name: String,
    pub group: String,
    pub scope: Scope,
    pub target: Target,
    pub commits: BTreeMap<TopicPartition, i64>,
    /// Start and end of all logs.
    pub bounds: BTreeMap<TopicPartition, (i64, i64)>,
    /// What a file or a manifest names.
    table: BTreeMap<TopicPartition, i64>,
    with_group: bool,
    pub carried_out: bool,
}

impl Case {
    pub fn new(number: u64, logs: &Logs, random: &mut Rng, world: &World) -> Self {
        let topics: BTreeSet<String> = (0..random.usize(1..=3)).map(|_| logs.topic(random)).collect();
        let of_topics: Vec<_> = logs.bounds.iter().filter(|(at, _)| topics.contains(&at.topic)).collect();
        let offset = |random: &mut Rng, (start, end): (i64, i64)| match random.u8(0..8) {
            0 => (start - random.i64(1..=5)).max(0),
            1 => end + random.i64(1..=5),
            _ => random.i64(start..=end.max(start)),
        };
        let some = |random: &mut Rng, one_in: u8| {
            let chosen: Vec<_> = of_topics.iter().filter(|_| random.u8(0..one_in) != 0).copied().collect();
            if chosen.is_empty() { vec![of_topics[0]] } else { chosen }
        };
        let numbers = |random: &mut Rng, one_in: u8| -> BTreeMap<TopicPartition, i64> {
            some(random, one_in).into_iter().map(|(at, bounds)| (at.clone(), offset(random, *bounds))).collect()
        };
        let commits = numbers(random, 4);
        let scope = match random.u8(0..3) {
            0 => Scope::All,
            1 => Scope::Topics(topics.iter().cloned().collect()),
            _ => {
                let topic = topics.first().expect("a topic").clone();
                let all: Vec<i32> = (0..logs.by_topic[&topic]).collect();
                let chosen: Vec<i32> = all.iter().copied().filter(|_| random.bool()).collect();
                Scope::Partitions(topic, if chosen.is_empty() { all } else { chosen })
            }
        };
        let target = match number % 9 {
            0 => Target::Earliest,
            1 => Target::Latest,
            2 => Target::Current,
            3 => Target::Time(FIRST_RECORD_TIME + random.i64(-10..70) * 1000 + random.i64(0..1000)),
            4 => Target::Lookback(random.i64(1..=60)),
            5 => Target::Shift(random.i64(1..=20) * if random.bool() { 1 } else { -1 }),
            6 => Target::Offset(random.i64(0..=45)),
            7 => Target::Offsets,
            _ => Target::OffsetsFrom,
        };
        let table = numbers(random, 2);
        let (name, group) = (format!("c{number}"), world.unique("g"));
        let (with_group, carried_out) = (random.bool(), number % 10 == 3);
        Self { number, name, group, scope, target, commits, bounds: logs.bounds.clone(), table, with_group, carried_out }
    }

    pub fn id(&self) -> &'static str {
        "r1"
    }

    /// The partitions that are meant, where the scope names them.
    pub fn is_meant(&self, at: &TopicPartition) -> bool {
        match (&self.target, &self.scope) {
            (Target::Offsets | Target::OffsetsFrom, _) => self.table.contains_key(at),
            (_, Scope::All) => self.commits.contains_key(at),
            (_, Scope::Topics(topics)) => topics.contains(&at.topic),
            (_, Scope::Partitions(topic, partitions)) => *topic == at.topic && partitions.contains(&at.partition),
        }
    }

    /// Whether the group began within this log.
    pub fn is_inside(&self, at: &TopicPartition) -> bool {
        let (Some(from), Some((start, end))) = (self.commits.get(at), self.bounds.get(at)) else { return true };
        (*start..=*end).contains(from)
    }

    pub async fn prepare(&self, world: &World) {
        self.commit(world, &self.group).await;
        if self.target == Target::OffsetsFrom {
            let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": self.name }, "data": { "offsets.csv": self.csv(&self.group) } });
            let apply = (PatchParams::apply("test").force(), Patch::Apply(map));
            world.api::<ConfigMap>().patch(&self.name, &apply.0, &apply.1).await.expect("the ConfigMap is taken");
        }
    }

    pub async fn commit(&self, world: &World, group: &str) {
        let commits: Vec<_> = self.commits.iter().map(|(at, offset)| (at.topic.as_str(), at.partition, *offset, "theirs")).collect();
        kafka::commit(&world.bootstrap, group, &commits).await;
    }

    /// What a group has committed in all topics of the case.
    pub async fn committed(&self, world: &World, group: &str) -> BTreeMap<TopicPartition, (i64, String)> {
        let topics: BTreeSet<&String> = self.bounds.keys().map(|at| &at.topic).collect();
        let mut all = BTreeMap::new();
        for topic in topics {
            let partitions = self.bounds.keys().filter(|at| at.topic == **topic).count();
            let found = kafka::committed(&world.bootstrap, group, topic, i32::try_from(partitions).expect("few")).await;
            all.extend(found.into_iter().map(|(partition, commit)| (TopicPartition::new(topic, partition), commit)));
        }
        all
    }

    fn csv(&self, group: &str) -> String {
        let before = if self.with_group { format!("{group},") } else { String::new() };
        self.table.iter().map(|(at, offset)| format!("{before}{},{},{offset}\n", at.topic, at.partition)).collect()
    }

    /// The tool's arguments; a file of offsets is written into this directory.
    pub fn arguments(&self, group: &str, how: &[&str], files: &Path) -> Vec<String> {
        let own = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        let mut args = own(&["--reset-offsets", "--group", group]);
        let time = |ms: i64| Timestamp::from_millisecond(ms).expect("a time").to_string();
        args.extend(match &self.target {
            Target::Earliest => own(&["--to-earliest"]),
            Target::Latest => own(&["--to-latest"]),
            Target::Current => own(&["--to-current"]),
            // The tool takes milliseconds with three digits, always.
            Target::Time(ms) => own(&["--to-datetime", &format!("{}.{:03}Z", &time(*ms)[..19], ms.rem_euclid(1000))]),
            Target::Lookback(hours) => own(&["--by-duration", &format!("PT{hours}H")]),
            Target::Shift(by) => own(&["--shift-by", &by.to_string()]),
            Target::Offset(to) => own(&["--to-offset", &to.to_string()]),
            Target::Offsets | Target::OffsetsFrom => {
                let file = files.join(format!("{group}.csv"));
                std::fs::write(&file, self.csv(group)).expect("a file");
                own(&["--from-file", &file.display().to_string()])
            }
        });
        if !matches!(self.target, Target::Offsets | Target::OffsetsFrom) {
            match &self.scope {
                Scope::All => args.push("--all-topics".to_owned()),
                Scope::Topics(topics) => topics.iter().for_each(|topic| args.extend(own(&["--topic", topic]))),
                Scope::Partitions(topic, partitions) => {
                    let partitions: Vec<_> = partitions.iter().map(i32::to_string).collect();
                    args.extend(own(&["--topic", &format!("{topic}:{}", partitions.join(","))]));
                }
            }
        }
        args.extend(own(how));
        args
    }

    /// The same, with the policies that mean what the tool does.
    pub fn request(&self) -> Value {
        let row = |(at, offset): (&TopicPartition, &i64)| json!({ "topic": at.topic, "partition": at.partition, "offset": offset });
        let to = match &self.target {
            Target::Earliest => json!({ "position": "Earliest" }),
            Target::Latest => json!({ "position": "Latest" }),
            Target::Current => json!({ "position": "Current" }),
            Target::Time(ms) => json!({ "timestamp": Timestamp::from_millisecond(*ms).expect("a time").to_string() }),
            Target::Lookback(hours) => json!({ "lookback": format!("{hours}h") }),
            Target::Shift(by) => json!({ "shiftBy": by }),
            Target::Offset(to) => json!({ "offset": to }),
            Target::Offsets => json!({ "offsets": self.table.iter().map(row).collect::<Vec<_>>() }),
            Target::OffsetsFrom => json!({ "offsetsFrom": { "configMapKeyRef": { "name": self.name, "key": "offsets.csv" } } }),
        };
        let mut request = json!({ "id": self.id(), "quietPeriod": "0s", "whenCreated": "Run", "to": to, "outOfRange": "Clamp" });
        if matches!(self.target, Target::Offsets | Target::OffsetsFrom) {
            return request;
        }
        match &self.scope {
            Scope::All => request["noCommittedOffset"] = json!("Skip"),
            Scope::Topics(topics) => request["topics"] = topics.iter().map(|name| json!({ "name": name })).collect(),
            Scope::Partitions(topic, partitions) => request["topics"] = json!([{ "name": topic, "partitions": partitions }]),
        }
        if self.target == Target::Current {
            request["noCommittedOffset"] = json!("Skip");
        }
        request
    }

    pub fn kind(&self) -> &'static str {
        match self.target {
            Target::Earliest => "Earliest",
            Target::Latest => "Latest",
            Target::Current => "Current",
            Target::Time(_) => "timestamp",
            Target::Lookback(_) => "lookback",
            Target::Shift(_) => "shiftBy",
            Target::Offset(_) => "offset",
            Target::Offsets => "offsets",
            Target::OffsetsFrom => "offsetsFrom",
        }
    }
}
