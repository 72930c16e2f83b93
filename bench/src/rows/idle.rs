//! Ten thousand pipelines at rest: what looking at them costs, and how soon an operator that starts anew is of use.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use testbed::kafka;

use crate::bare::broker::Broker;
use crate::bed::{Bed, Running, ask, patch};
use crate::counts;
use crate::report::Row;
use crate::stats::{Spread, ms};
use crate::watching::Watching;
use crate::{process, say};

pub const IDLE: &str = "idle";
pub const RESTART: &str = "restart";
const MINUTE: Duration = Duration::from_secs(60);
/// Among younger objects the first request waits for one more list of its namespace: the watch may lag behind what was just created.
const YOUNG: Duration = Duration::from_secs(610);
/// Connections that commit an offset for each group.
const COMMITTERS: usize = 8;

pub async fn run(bed: &Bed, idle: bool, restart: bool) -> Result<Vec<Row>> {
    let count = bed.settings.idle;
    let namespace = set_up(bed, count).await?;
    let (mut rows, begun) = (Vec::new(), Instant::now());
    let operator = bed.operator(&[&namespace], &[]).await?;
    operator.settled(bed, count).await?;
    say(&format!("{IDLE}: all looked at after {:.0} s", begun.elapsed().as_secs_f64()));
    if idle {
        rows.extend(rest(bed, &operator, count).await?);
    }
    if restart {
        say(&format!("{RESTART}: waiting until the objects are ten minutes old"));
        tokio::time::sleep(YOUNG.saturating_sub(begun.elapsed())).await;
        drop(operator);
        rows.extend(anew(bed, &namespace, count).await?);
    }
    Ok(rows)
}

async fn set_up(bed: &Bed, count: usize) -> Result<String> {
    let bootstrap = bed.testbed.bootstrap();
    say(&format!("{IDLE}: making {count} pipelines and their groups"));
    let topic = "bench-idle".to_owned();
    kafka::create_topic(&bootstrap, &topic, 1, &[]).await;
    kafka::produce(&bootstrap, &topic, 0, 100, |_| jiff::Timestamp::now().as_millisecond()).await;
    let offsets = [((topic, 0), 50)].into();
    let groups: Vec<_> = (0..count).map(|n| format!("bench-idle-{n}")).collect();
    let commit = |part: &[String]| {
        let (part, bootstrap, offsets) = (part.to_vec(), bootstrap.clone(), &offsets);
        async move { Broker::connect(&bootstrap).await?.commit_many(&part, offsets).await }
    };
    stream::iter(groups.chunks(count.div_ceil(COMMITTERS))).map(commit).buffer_unordered(COMMITTERS).try_collect::<()>().await?;
    let namespace = bed.namespace("bench-idle");
    bed.create(&namespace, groups.iter().enumerate().map(|(n, group)| bed.kafka_pipeline(&format!("p{n}"), group))).await?;
    Ok(namespace)
}

async fn rest(bed: &Bed, operator: &Running, count: usize) -> Result<Vec<Row>> {
    let seconds = bed.settings.idle_seconds;
    say(&format!("{IDLE}: watching them for {seconds} s"));
    let pid = bed.testbed.broker.pid().context("the broker runs")?;
    let before = (counts::api(&bed.client).await?, counts::broker(pid).await?);
    let (cpu, begun, mut resident) = (process::cpu(&operator.family()), Instant::now(), Vec::new());
    let end = begun + Duration::from_secs(seconds);
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_secs(1).min(end - Instant::now())).await;
        resident.push(process::resident(&operator.family()));
    }
    let (cpu, passed) = (process::cpu(&operator.family()) - cpu, begun.elapsed());
    let api = counts::between(&before.0, &counts::api(&bed.client).await?);
    let broker = counts::between(&before.1, &counts::broker(pid).await?);
    let (once, minutes) = (|value: f64| Spread::of(&[value]), passed.as_secs_f64() / 60.0);
    let name = |what: &str| format!("{IDLE}: {what}");
    let note = format!("{count} objects over {seconds} s, once");
    Ok(vec![
        Row::new(name("memory"), "MiB", Spread::of(&resident)).at_most(64.0).note(note),
        Row::new(name("processor"), "% of a core", once(100.0 * cpu.as_secs_f64() / passed.as_secs_f64())).at_most(1.0),
        Row::new(name("writes to the API server"), "", once(counts::sum(&api, &counts::WRITES))).at_most(0.0),
        Row::new(name("reads from the API server, a minute"), "", once(counts::sum(&api, &counts::READS) / minutes))
            .note(counts::each(&api, minutes)),
        Row::new(name("requests to the broker, a minute"), "", once(counts::sum(&broker, &[""]) / minutes))
            .note(counts::each(&broker, minutes)),
    ])
}

async fn anew(bed: &Bed, namespace: &str, count: usize) -> Result<Vec<Row>> {
    say(&format!("{RESTART}: an operator starts among {count} pipelines at rest"));
    let before = counts::api(&bed.client).await?;
    let operator = bed.operator(&[namespace], &[]).await?;
    let api = bed.pipelines(namespace);
    // In the middle, where it may come late in any order.
    let asked = format!("p{}", count / 2);
    let mut watching = Watching::of_one(api.clone(), &asked).await;
    let begun = Instant::now();
    patch(&api, &asked, &ask("after-restart", &json!({ "position": "Earliest" }))).await?;
    let first = watching.succeeded(&asked, "after-restart").await? - begun;
    drop(watching);
    tokio::time::sleep(MINUTE.saturating_sub(begun.elapsed())).await;
    let mut between = counts::between(&before, &counts::api(&bed.client).await?);
    // The patch that asks for it.
    if let Some(patches) = between.get_mut("PATCH streampipelines") {
        *patches -= 1.0;
    }
    between.retain(|_, count| *count > 0.0);
    let once = |value: f64| Spread::of(&[value]);
    let name = |what: &str| format!("{RESTART}: {what}");
    let note = format!("among {count} objects at rest that are older than ten minutes, once");
    Ok(vec![
        Row::new(name("ready"), "s", once(operator.ready_after.as_secs_f64())).at_most(3.0).note(note),
        Row::new(name("writes in the minute after it"), "", once(counts::sum(&between, &counts::WRITES)))
            .at_most(4.0)
            .note(format!("a reset takes four; {}", counts::each(&between, 1.0))),
        Row::new(name("the first request"), "ms", once(ms(first))).at_most(1000.0),
        Row::new(name("peak memory"), "MiB", once(process::peak(&operator.family()))),
    ])
}
