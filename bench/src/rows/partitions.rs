//! One group of eight thousand partitions, on a broker of its own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::join_all;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::json;
use testbed::{Broker as Server, kafka};

use crate::bare::broker::Broker;
use crate::bed::{Bed, ask, patch, pipeline, position};
use crate::report::Row;
use crate::stats::Spread;
use crate::watching::Watching;
use crate::{process, say, tool};

pub const NAME: &str = "8,000 partitions";
const TOPICS: usize = 8;
const EACH: i32 = 1000;
const LIMIT: Duration = Duration::from_secs(60);

pub async fn run(bed: &Bed) -> Result<Vec<Row>> {
    say(&format!("{NAME}: starting a broker of its own, and making the topics"));
    let parts = &bed.testbed.parts;
    let server = tokio::task::spawn_blocking(|| Server::start_wide(parts)).await.context("the start does not panic")??;
    let bootstrap = server.bootstrap();
    let topics: Vec<_> = (0..TOPICS).map(|n| (format!("bench-wide-{n}"), EACH)).collect();
    join_all(topics.iter().map(|(topic, each)| kafka::create_topic(&bootstrap, topic, *each, &[]))).await;
    one_record_each(&bootstrap, &topics).await?;
    let groups = ["bench-wide-ours", "bench-wide-bare", "bench-wide-tool"].map(str::to_owned);
    let mut broker = Broker::connect(&bootstrap).await?;
    let latest = broker.look(&groups[0], &topics, "Latest").await?;
    broker.commit_many(&groups, &latest).await?;
    let namespace = bed.namespace("bench-wide");
    let spec = json!({ "kafka": { "bootstrapServers": [bootstrap], "consumerGroup": groups[0] } });
    bed.create(&namespace, [pipeline("p", spec)]).await?;
    let operator = bed.operator(&[&namespace], &[]).await?;
    operator.settled(bed, 1).await?;
    let (api, mut watching) = (bed.pipelines(&namespace), Watching::start(bed.pipelines(&namespace)).await);
    let (mut ours, mut tools, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..bed.settings.runs {
        say(&format!("{NAME}: run {} of {}", run + 1, bed.settings.runs));
        let (id, to) = (format!("r{run}"), position(run));
        let begun = Instant::now();
        patch(&api, "p", &ask(&id, &json!({ "position": to }))).await?;
        ours.push((watching.succeeded("p", &id).await? - begun).as_secs_f64());
        tools.push(tool::reset(bed.testbed, &bootstrap, &groups[2..], to).await?.as_secs_f64());
        let begun = Instant::now();
        let target = broker.look(&groups[1], &topics, to).await?;
        broker.commit(&groups[1], &target).await?;
        broker.read_back(&groups[1], &topics, &target).await?;
        bare.push(begun.elapsed().as_secs_f64());
    }
    let peak = process::peak(&operator.family());
    Ok(vec![
        Row::new(format!("{NAME}: verified"), "s", Spread::of(&ours))
            .beside("kafka-consumer-groups", Spread::of(&tools))
            .at_most_times(0.5),
        Row::new(format!("{NAME}: verified beside bare calls"), "s", Spread::of(&ours))
            .beside("bare calls to the broker alone", Spread::of(&bare)),
        Row::new(format!("{NAME}: peak memory"), "MiB", Spread::of(&[peak])).at_most(96.0),
    ])
}

/// So that a log's start is not its end.
async fn one_record_each(bootstrap: &str, topics: &[(String, i32)]) -> Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("linger.ms", "50");
    let topics = topics.to_vec();
    let work = move || -> Result<()> {
        let producer: BaseProducer = config.create()?;
        for (topic, each) in &topics {
            for partition in 0..*each {
                let record = BaseRecord::<str, str>::to(topic).partition(partition).payload("x");
                producer.send(record).map_err(|(error, _)| error)?;
            }
            producer.flush(LIMIT)?;
        }
        Ok(())
    };
    tokio::task::spawn_blocking(work).await.context("writing records")?
}
