//! A thousand pipelines of one organization of EnOS, simulated, that are paused and ask for a reset at once.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PostParams};
use serde_json::json;
use testbed::enos::{ACCESS_KEY, Call, ORGANISATION, Options, Pipeline, SECRET_KEY, Simulator};

use crate::bed::{Bed, CLIENTS, patch, pipeline};
use crate::counts::{self, Counts};
use crate::report::Row;
use crate::stats::Spread;
use crate::watching::Watching;
use crate::{process, say};

pub const NAME: &str = "1,000 EnOS pipelines of one organization";
const LIMIT: Duration = Duration::from_secs(600);
const FLAGS: [&str; 1] = ["--allow-plain-http"];

pub async fn run(bed: &Bed) -> Result<Vec<Row>> {
    let count = bed.settings.count;
    say(&format!("{NAME}: making {count} of them"));
    let simulator = Simulator::start_in_thread(Options::default())?;
    let id = |n: usize| format!("565c0114-0000-4372-86d1-{n:012}");
    for n in 0..count {
        simulator.add(Pipeline::new(ORGANISATION, &id(n), &format!("p{n}"), "PAUSED").series(400_000, 1_000_000));
    }
    let namespace = bed.namespace("bench-enos");
    let secrets: Api<Secret> = Api::namespaced(bed.client.clone(), &namespace);
    let values = [("accessKey", ACCESS_KEY), ("secretKey", SECRET_KEY)].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut secret = Secret { string_data: Some(BTreeMap::from(values)), ..Secret::default() };
    secret.metadata.name = Some("app".to_owned());
    secrets.create(&PostParams::default(), &secret).await.context("creating the Secret")?;
    let spec = |n: usize| {
        json!({ "enos": {
            "endpoint": simulator.endpoint(), "orgID": ORGANISATION, "pipelineID": id(n), "credentialsSecretRef": { "name": "app" },
            "start": { "executionMode": "Standalone", "kafkaRate": 1000 }
        } })
    };
    bed.create(&namespace, (0..count).map(|n| pipeline(&format!("p{n}"), spec(n)))).await?;
    let operator = bed.operator(&[&namespace], &FLAGS).await?;
    operator.settled(bed, count).await?;
    let (api, mut watching) = (bed.pipelines(&namespace), Watching::start(bed.pipelines(&namespace)).await);
    let (mut calls, mut lists) = (Counts::new(), 0.0);
    say(&format!("{NAME}: all ask"));
    simulator.clear_calls();
    let request = Patch::Merge(json!({ "spec": { "offsetReset": { "id": "r" } } }));
    let asked: HashMap<_, _> = (0..count).map(|n| (format!("p{n}"), "r".to_owned())).collect();
    let begun = Instant::now();
    stream::iter(asked.keys()).map(|name| patch(&api, name, &request)).buffer_unordered(CLIENTS).try_collect::<()>().await?;
    let done = watching.all_succeeded(&asked, LIMIT).await?;
    let last = done.values().max().context("there is one at least")?;
    for call in simulator.calls() {
        match call.call {
            Call::List => lists += 1.0,
            other => counts::add(&mut calls, &Counts::from([(format!("{other:?}"), 1.0)])),
        }
    }
    let (resets, once) = (count as f64, |value: f64| Spread::of(&[value]));
    let shared = format!("{}; and {lists} calls for the list that all share; {count} pipelines, once", counts::each(&calls, resets));
    Ok(vec![
        Row::new(format!("{NAME}: calls for each reset"), "", once(counts::sum(&calls, &[""]) / resets)).at_most(2.0).note(shared),
        Row::new(format!("{NAME}: all accepted by the platform"), "s", once((*last - begun).as_secs_f64())),
        Row::new(format!("{NAME}: peak memory"), "MiB", once(process::peak(&operator.family()))),
    ])
}
