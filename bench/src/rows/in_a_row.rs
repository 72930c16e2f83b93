//! Thousands of resets in a row: does the operator grow?

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use testbed::kafka;

use crate::bare::broker::Broker;
use crate::bed::{Bed, CLIENTS, Running, ask, patch, position};
use crate::report::Row;
use crate::stats::Spread;
use crate::watching::Watching;
use crate::{process, say};

pub const NAME: &str = "5,000 in a row";
const PIPELINES: usize = 50;
/// After so many resets everything that is kept by pipeline or by client is there.
const FIRST: usize = 500;
const LIMIT: Duration = Duration::from_secs(120);

pub async fn run(bed: &Bed) -> Result<Vec<Row>> {
    let bootstrap = bed.testbed.bootstrap();
    let topic = "bench-row".to_owned();
    kafka::create_topic(&bootstrap, &topic, 3, &[]).await;
    for partition in 0..3 {
        kafka::produce(&bootstrap, &topic, partition, 100, |_| jiff::Timestamp::now().as_millisecond()).await;
    }
    let groups: Vec<_> = (0..PIPELINES).map(|n| format!("bench-row-{n}")).collect();
    let offsets = (0..3).map(|partition| ((topic.clone(), partition), 50)).collect();
    Broker::connect(&bootstrap).await?.commit_many(&groups, &offsets).await?;
    let namespace = bed.namespace("bench-row");
    bed.create(&namespace, groups.iter().enumerate().map(|(n, group)| bed.kafka_pipeline(&format!("p{n}"), group))).await?;
    let operator = bed.operator(&[&namespace], &[]).await?;
    operator.settled(bed, PIPELINES).await?;
    let (api, mut watching) = (bed.pipelines(&namespace), Watching::start(bed.pipelines(&namespace)).await);
    let rounds = bed.settings.row.div_ceil(PIPELINES);
    let (mut first, mut done) = (None, 0);
    for round in 0..rounds {
        let id = format!("r{round}");
        let request = ask(&id, &json!({ "position": position(round) }));
        let asked: HashMap<_, _> = (0..PIPELINES).map(|n| (format!("p{n}"), id.clone())).collect();
        stream::iter(asked.keys()).map(|name| patch(&api, name, &request)).buffer_unordered(CLIENTS).try_collect::<()>().await?;
        watching.all_succeeded(&asked, LIMIT).await?;
        done += PIPELINES;
        if done >= FIRST && first.is_none() {
            first = Some(resident(&operator).await);
        }
        if done.is_multiple_of(10 * PIPELINES) {
            say(&format!("{NAME}: {done}, {:.1} MiB", process::resident(&operator.family())));
        }
    }
    let (first, last) = (first.unwrap_or(f64::NAN), resident(&operator).await);
    let once = |value: f64| Spread::of(&[value]);
    let note = format!("from {first:.1} MiB after {FIRST} resets of {PIPELINES} pipelines to {last:.1} MiB after {done}, once");
    Ok(vec![
        Row::new(format!("{NAME}: growth of memory"), "MiB", once(last - first)).at_most(4.0).note(note),
        Row::new(format!("{NAME}: peak memory"), "MiB", once(process::peak(&operator.family()))),
    ])
}

/// The middle of what it has over some seconds in which nothing is asked for.
async fn resident(operator: &Running) -> f64 {
    let mut seen = Vec::new();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        seen.push(process::resident(&operator.family()));
    }
    Spread::of(&seen).median
}
