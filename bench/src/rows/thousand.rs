//! A thousand pipelines at rest that ask for a reset at once: from the first patch to the last condition that a watch sees.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use testbed::kafka;

use crate::bare::broker::Broker;
use crate::bare::objects::{Templates, Writer};
use crate::bed::{Bed, CLIENTS, Running, ask, patch, pipeline, position};
use crate::counts::{self, Counts};
use crate::report::{Row, figure};
use crate::stats::{Spread, ms};
use crate::watching::Watching;
use crate::{process, say, tool};

pub const NAME: &str = "1,000 at once";
const PARTITIONS: i32 = 3;
const RECORDS: i64 = 100;
const LIMIT: Duration = Duration::from_secs(600);
/// After the first of the thousand, one asks in another namespace.
const LATER: Duration = Duration::from_secs(1);

struct Many<'a> {
    bed: &'a Bed,
    /// Of the thousand, of the one beside them, and of the bare writes.
    namespaces: [String; 3],
    tools: Vec<String>,
}

type Used = BTreeMap<String, f64>;

/// Adds what was used since.
fn add_used(used: &mut Used, before: &BTreeMap<String, Duration>) {
    for (program, time) in process::all() {
        let since = time.saturating_sub(before.get(&program).copied().unwrap_or_default());
        *used.entry(program).or_default() += since.as_secs_f64();
    }
}

/// A run's part of it, the most first.
fn of_a_run(used: &Used, runs: usize) -> String {
    let mut used: Vec<_> = used.iter().map(|(program, seconds)| (seconds / runs as f64, program)).filter(|(s, _)| *s >= 0.05).collect();
    used.sort_by(|a, b| b.0.total_cmp(&a.0));
    used.iter().map(|(seconds, program)| format!("{program} {}", figure(*seconds))).collect::<Vec<_>>().join(", ")
}

#[derive(Default)]
struct Figures {
    ours: Vec<f64>,
    elsewhere: Vec<f64>,
    tool: Vec<f64>,
    bare: Vec<f64>,
    cpu: Vec<f64>,
    /// Of all programs, seconds; and the same while the bare writes are made.
    used: Used,
    used_bare: Used,
    peak: Vec<f64>,
    dropped: Vec<f64>,
    api: Counts,
    broker: Counts,
}

pub async fn run(bed: &Bed) -> Result<Vec<Row>> {
    let many = set_up(bed).await?;
    let mut figures = Figures::default();
    let (count, runs) = (bed.settings.count, bed.settings.runs);
    let operator = many.operator().await?;
    let writer = Writer::new(bed, &many.namespaces[2], many.templates().await?);
    for run in 0..runs {
        say(&format!("{NAME}: run {} of {runs}", run + 1));
        many.ours(&operator, run, &mut figures).await?;
        figures.tool.push(tool::reset(bed.testbed, &bed.testbed.bootstrap(), &many.tools, position(run)).await?.as_secs_f64());
        let live = writer.all().await?;
        let (used, begun) = (process::all(), Instant::now());
        writer.write_all(live, &format!("r{run}")).await?;
        figures.bare.push(begun.elapsed().as_secs_f64());
        add_used(&mut figures.used_bare, &used);
    }
    Ok(figures.rows(count, runs))
}

async fn set_up(bed: &Bed) -> Result<Many<'_>> {
    let (bootstrap, count) = (bed.testbed.bootstrap(), bed.settings.count);
    say(&format!("{NAME}: making {count} pipelines and their groups"));
    let topic = "bench-many".to_owned();
    kafka::create_topic(&bootstrap, &topic, PARTITIONS, &[]).await;
    for partition in 0..PARTITIONS {
        kafka::produce(&bootstrap, &topic, partition, RECORDS, |_| jiff::Timestamp::now().as_millisecond()).await;
    }
    let offsets = (0..PARTITIONS).map(|partition| ((topic.clone(), partition), RECORDS / 2)).collect();
    let ours: Vec<_> = (0..count).map(|n| format!("bench-many-{n}")).collect();
    let tools: Vec<_> = (0..count).map(|n| format!("bench-tool-{n}")).collect();
    let beside = "bench-beside".to_owned();
    let mut broker = Broker::connect(&bootstrap).await?;
    for groups in [&ours, &tools, &vec![beside.clone()]] {
        broker.commit_many(groups, &offsets).await?;
    }
    let namespaces = ["bench-many", "bench-beside", "bench-many-bare"].map(|name| bed.namespace(name));
    bed.create(&namespaces[0], ours.iter().enumerate().map(|(n, group)| bed.kafka_pipeline(&format!("p{n}"), group))).await?;
    bed.create(&namespaces[1], [bed.kafka_pipeline("p", &beside)]).await?;
    let nowhere = |n: usize| json!({ "kafka": { "bootstrapServers": ["192.0.2.1:9092"], "consumerGroup": format!("bare-{n}") } });
    bed.create(&namespaces[2], (0..count).map(|n| pipeline(&format!("p{n}"), nowhere(n)))).await?;
    Ok(Many { bed, namespaces, tools })
}

impl Many<'_> {
    /// One that has looked at all of them.
    async fn operator(&self) -> Result<Running> {
        let operator = self.bed.operator(&[&self.namespaces[0], &self.namespaces[1]], &[]).await?;
        operator.settled(self.bed, self.bed.settings.count + 1).await?;
        Ok(operator)
    }

    /// What the operator writes for a reset of so many partitions.
    async fn templates(&self) -> Result<Templates> {
        let beside = &self.namespaces[1];
        let mut watching = Watching::start(self.bed.pipelines(beside)).await;
        patch(&self.bed.pipelines(beside), "p", &ask("first", &json!({ "position": "Latest" }))).await?;
        watching.succeeded("p", "first").await?;
        Templates::of(self.bed, beside, "p").await
    }

    async fn ours(&self, operator: &Running, run: usize, figures: &mut Figures) -> Result<()> {
        let (bed, target) = (self.bed, json!({ "position": position(run) }));
        let pid = bed.testbed.broker.pid().context("the broker runs")?;
        let (api, other) = (bed.pipelines(&self.namespaces[0]), bed.pipelines(&self.namespaces[1]));
        let (mut watching, mut beside) = (Watching::start(api.clone()).await, Watching::start(other.clone()).await);
        let id = format!("r{run}");
        let asked: HashMap<_, _> = (0..bed.settings.count).map(|n| (format!("p{n}"), id.clone())).collect();
        let before = (counts::api(&bed.client).await?, counts::broker(pid).await?, process::cpu(&operator.family()));
        let dropped = operator.told("step=\"DropPlan\"");
        let (used, begun) = (process::all(), Instant::now());
        let request = ask(&id, &target);
        let all = async {
            stream::iter(asked.keys()).map(|name| patch(&api, name, &request)).buffer_unordered(CLIENTS).try_collect::<()>().await?;
            watching.all_succeeded(&asked, LIMIT).await
        };
        let one = async {
            tokio::time::sleep(LATER).await;
            let asked = Instant::now();
            patch(&other, "p", &request).await?;
            Ok::<_, anyhow::Error>(beside.succeeded("p", &id).await? - asked)
        };
        let (done, elsewhere) = tokio::try_join!(all, one)?;
        let last = done.values().max().context("there is one at least")?;
        figures.ours.push((*last - begun).as_secs_f64());
        figures.elsewhere.push(ms(elsewhere));
        add_used(&mut figures.used, &used);
        let family = operator.family();
        figures.cpu.push((process::cpu(&family) - before.2).as_secs_f64());
        figures.peak.push(process::peak(&family));
        figures.dropped.push((operator.told("step=\"DropPlan\"") - dropped) as f64);
        counts::add(&mut figures.api, &counts::between(&before.0, &counts::api(&bed.client).await?));
        counts::add(&mut figures.broker, &counts::between(&before.1, &counts::broker(pid).await?));
        Ok(())
    }
}

impl Figures {
    fn rows(&mut self, count: usize, runs: usize) -> Vec<Row> {
        let resets = ((count + 1) * runs) as f64;
        // The patches that ask for it.
        if let Some(patches) = self.api.get_mut("PATCH streampipelines") {
            *patches -= resets;
        }
        self.api.retain(|_, count| *count > 0.0);
        let (ours, once) = (Spread::of(&self.ours), |value: f64| Spread::of(&[value]));
        let per = |counts: &Counts, verbs: &[&str]| once(counts::sum(counts, verbs) / resets);
        let of = if count == 1000 { String::new() } else { format!("COUNT={count}") };
        let rate = format!("{} resets a second {of}", figure(count as f64 / ours.median));
        vec![
            Row::new(format!("{NAME}: all verified"), "s", ours)
                .beside("kafka-consumer-groups, one call", Spread::of(&self.tool))
                .at_most_times(2.0)
                .note(rate.trim()),
            Row::new(format!("{NAME}: all verified beside bare writes"), "s", ours)
                .beside("bare writes of 16 clients", Spread::of(&self.bare))
                .at_most_times(1.3),
            Row::new(format!("{NAME}: plans dropped"), "", Spread::of(&self.dropped)).at_most(0.0),
            Row::new(format!("{NAME}: one in another namespace, 1 s later"), "ms", Spread::of(&self.elsewhere)),
            Row::new(format!("{NAME}: processor time"), "s", Spread::of(&self.cpu)).note(format!(
                "seconds of processor time of all programs: {}; of the bare writes: {}",
                of_a_run(&self.used, runs),
                of_a_run(&self.used_bare, runs)
            )),
            Row::new(format!("{NAME}: peak memory"), "MiB", Spread::of(&self.peak)),
            Row::new(format!("{NAME}: writes to the API server, each"), "", per(&self.api, &counts::WRITES))
                .note(counts::each(&self.api, resets)),
            Row::new(format!("{NAME}: reads from the API server, each"), "", per(&self.api, &counts::READS)),
            Row::new(format!("{NAME}: requests to the broker, each"), "", per(&self.broker, &[""]))
                .note(counts::each(&self.broker, resets)),
        ]
    }
}
