//! One reset of a pipeline at rest: from the patch of the id to the condition that a watch sees.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use testbed::kafka;

use crate::bare::broker::{Broker, Topics};
use crate::bare::objects::{Templates, Writer};
use crate::bed::{Bed, Running, ask, patch, pipeline, position};
use crate::counts::{self, Counts};
use crate::report::{Row, figure};
use crate::rows::landing;
use crate::stats::{Spread, ms};
use crate::watching::Watching;
use crate::{process, say, tool};

pub const NAME: &str = "one reset";
const PARTITIONS: i32 = 12;
const RECORDS: i64 = 100;
/// Between two resets, so that one does not begin in the last writes of another.
const PAUSE: Duration = Duration::from_millis(50);
/// Not measured.
const WARM: usize = 10;

struct Groups {
    topics: Vec<(String, i32)>,
    ours: String,
    bare: String,
    tools: String,
}

pub async fn run(bed: &Bed) -> Result<Vec<Row>> {
    let groups = groups(bed).await?;
    let (namespace, apart) = (bed.namespace("bench-one"), bed.namespace("bench-one-bare"));
    bed.create(&namespace, [bed.kafka_pipeline("p", &groups.ours)]).await?;
    let operator = bed.operator(&[&namespace], &[]).await?;
    operator.settled(bed, 1).await?;
    let mut watching = Watching::start(bed.pipelines(&namespace)).await;
    for n in 0..WARM {
        ours(bed, &namespace, &mut watching, &format!("warm-{n}"), n).await?;
    }
    let templates = Templates::of(bed, &namespace, "p").await?;
    let mut bare = Bare::new(bed, &apart, templates, &groups).await?;
    for n in 0..WARM {
        bare.reset(&format!("warm-{n}"), n).await?;
    }
    let mut figures = Figures::default();
    let each = bed.settings.resets.div_ceil(bed.settings.runs);
    let pid = bed.testbed.broker.pid().context("the broker runs")?;
    for run in 0..bed.settings.runs {
        say(&format!("{NAME}: run {} of {}", run + 1, bed.settings.runs));
        let before = (counts::api(&bed.client).await?, counts::broker(pid).await?, process::cpu(&operator.family()));
        let from = Instant::now();
        let mut times = Vec::new();
        for n in 0..each {
            times.push(ms(ours(bed, &namespace, &mut watching, &format!("r{run}-{n}"), n).await?));
            tokio::time::sleep(PAUSE).await;
        }
        figures.seconds += from.elapsed().as_secs_f64();
        figures.cpu.push(ms(process::cpu(&operator.family()) - before.2) / each as f64);
        counts::add(&mut figures.api, &counts::between(&before.0, &counts::api(&bed.client).await?));
        counts::add(&mut figures.broker, &counts::between(&before.1, &counts::broker(pid).await?));
        figures.ours.push(times);
        figures
            .tool
            .push(ms(tool::reset(bed.testbed, &bed.testbed.bootstrap(), std::slice::from_ref(&groups.tools), position(run)).await?));
        let mut times = Vec::new();
        for n in 0..each {
            times.push(bare.reset(&format!("r{run}-{n}"), n).await?.map(ms));
            tokio::time::sleep(PAUSE).await;
        }
        figures.bare.push(times);
    }
    let mut rows = figures.rows(&operator);
    rows.extend(landing::rows(bed, &namespace, &groups.ours, &groups.topics[0].0, WARM, &figures.part(COMMIT)).await?);
    Ok(rows)
}

async fn groups(bed: &Bed) -> Result<Groups> {
    let bootstrap = bed.testbed.bootstrap();
    let topic = "bench-one".to_owned();
    kafka::create_topic(&bootstrap, &topic, PARTITIONS, &[]).await;
    for partition in 0..PARTITIONS {
        kafka::produce(&bootstrap, &topic, partition, RECORDS, |_| jiff::Timestamp::now().as_millisecond()).await;
    }
    let groups = ["bench-one-ours", "bench-one-bare", "bench-one-tool"].map(str::to_owned);
    let offsets = (0..PARTITIONS).map(|partition| ((topic.clone(), partition), RECORDS / 2)).collect();
    Broker::connect(&bootstrap).await?.commit_many(&groups, &offsets).await?;
    let [ours, bare, tools] = groups;
    Ok(Groups { topics: vec![(topic, PARTITIONS)], ours, bare, tools })
}

/// How long it took from the patch to the condition.
async fn ours(bed: &Bed, namespace: &str, watching: &mut Watching, id: &str, n: usize) -> Result<Duration> {
    let api = bed.pipelines(namespace);
    let request = ask(id, &json!({ "position": position(n) }));
    let begun = Instant::now();
    patch(&api, "p", &request).await?;
    Ok(watching.succeeded("p", id).await? - begun)
}

/// The same calls one after another, without the operator.
struct Bare<'a> {
    writer: Writer,
    broker: Broker,
    group: &'a str,
    topics: &'a Topics,
}

impl<'a> Bare<'a> {
    async fn new(bed: &Bed, namespace: &str, templates: Templates, groups: &'a Groups) -> Result<Self> {
        let spec = json!({ "kafka": { "bootstrapServers": ["192.0.2.1:9092"], "consumerGroup": groups.bare } });
        bed.create(namespace, [pipeline("p", spec)]).await?;
        let broker = Broker::connect(&bed.testbed.bootstrap()).await?;
        Ok(Self { writer: Writer::new(bed, namespace, templates), broker, group: &groups.bare, topics: &groups.topics })
    }

    /// How long each part of it took, of [`PARTS`].
    async fn reset(&mut self, record: &str, n: usize) -> Result<[Duration; 6]> {
        let mut last = Instant::now();
        let mut part = || {
            let now = Instant::now();
            now - std::mem::replace(&mut last, now)
        };
        let live = self.writer.read("p").await?;
        let read = part();
        let target = self.broker.look(self.group, self.topics, position(n)).await?;
        let look = part();
        self.writer.record(record).await?;
        let plan = part();
        self.broker.commit(self.group, &target).await?;
        let commit = part();
        self.broker.read_back(self.group, self.topics, &target).await?;
        let back = part();
        self.writer.end(record, live).await?;
        Ok([read, look, plan, commit, back, part()])
    }
}

const PARTS: [&str; 6] = ["read", "looks at the broker", "record", "commit", "read back", "close, status and event"];
const COMMIT: usize = 3;

#[derive(Default)]
struct Figures {
    /// By run; milliseconds.
    ours: Vec<Vec<f64>>,
    bare: Vec<Vec<[f64; 6]>>,
    tool: Vec<f64>,
    cpu: Vec<f64>,
    api: Counts,
    broker: Counts,
    /// That our runs took.
    seconds: f64,
}

impl Figures {
    /// One part of the bare resets, by run.
    fn part(&self, part: usize) -> Vec<Vec<f64>> {
        self.bare.iter().map(|run| run.iter().map(|parts| parts[part]).collect()).collect()
    }

    fn parts(&self) -> String {
        let half = |part| figure(Spread::share_of_rounds(&self.part(part), 0.5).median);
        let words: Vec<_> = PARTS.iter().enumerate().map(|(n, name)| format!("{name} {}", half(n))).collect();
        format!("the bare calls: {} ms", words.join(", "))
    }

    fn rows(&mut self, operator: &Running) -> Vec<Row> {
        let resets = self.ours.iter().map(Vec::len).sum::<usize>() as f64;
        // The patches that ask for it.
        if let Some(patches) = self.api.get_mut("PATCH streampipelines") {
            *patches -= resets;
        }
        self.api.retain(|_, count| *count > 0.0);
        let once = |value: f64| Spread::of(&[value]);
        let half = Spread::share_of_rounds(&self.ours, 0.5);
        let bare: Vec<Vec<f64>> = self.bare.iter().map(|run| run.iter().map(|parts| parts.iter().sum()).collect()).collect();
        let bare = Spread::share_of_rounds(&bare, 0.5);
        let per = |counts: &Counts, verbs: &[&str]| once(counts::sum(counts, verbs) / resets);
        let over = format!("over {resets} resets in {:.0} s, the looks at a pipeline at rest in between included", self.seconds);
        vec![
            Row::new(format!("{NAME}: p50"), "ms", half).beside("kafka-consumer-groups", Spread::of(&self.tool)).at_most_times(1.0 / 40.0),
            Row::new(format!("{NAME}: p50 beside bare calls"), "ms", half).beside("bare calls", bare).at_most_times(1.2).note(self.parts()),
            Row::new(format!("{NAME}: p99 beside bare calls"), "ms", Spread::share_of_rounds(&self.ours, 0.99))
                .beside("bare calls, p50", bare)
                .at_most_times(3.0),
            Row::new(format!("{NAME}: writes to the API server"), "", per(&self.api, &counts::WRITES))
                .note(counts::each(&self.api, resets)),
            Row::new(format!("{NAME}: reads from the API server"), "", per(&self.api, &counts::READS)),
            Row::new(format!("{NAME}: requests to the broker"), "", per(&self.broker, &[""]))
                .note(format!("{}; {over}", counts::each(&self.broker, resets))),
            Row::new(format!("{NAME}: processor time"), "ms", Spread::of(&self.cpu)).note("of the operator and its Kafka client's process"),
            Row::new(format!("{NAME}: plans dropped"), "", once(operator.told("step=\"DropPlan\"") as f64)),
        ]
    }
}
