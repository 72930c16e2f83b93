//! How many requests the servers have answered, by their own counts.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::Client;
use kube::api::ListParams;

/// By what was asked.
pub type Counts = BTreeMap<String, f64>;

/// Of the API server, about what an operator reads and writes: "POST offsetresetrecords", "PUT streampipelines/status".
pub async fn api(client: &Client) -> Result<Counts> {
    // A list of nothing in particular is a plain GET.
    let request = kube::core::Request::new("/metrics").list(&ListParams::default()).context("a request")?;
    let mut text = client.request_text(request.clone()).await;
    for _ in 0..3 {
        if text.is_ok() {
            break;
        }
        // It is a long answer, and the server is under load.
        tokio::time::sleep(Duration::from_secs(1)).await;
        text = client.request_text(request.clone()).await;
    }
    let text = text.context("reading the API server's metrics")?;
    let mut counts = Counts::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("apiserver_request_total{")) {
        let Some((labels, value)) = line.rsplit_once("} ") else { continue };
        let label = |name: &str| {
            let from = labels.find(&format!("{name}=\""))? + name.len() + 2;
            labels[from..].split('"').next()
        };
        let (Some(verb), Some(resource)) = (label("verb"), label("resource")) else { continue };
        // The control plane reads and writes others.
        if !["streampipelines", "offsetresetrecords", "events", "secrets", "configmaps", "horizontalpodautoscalers"].contains(&resource) {
            continue;
        }
        let subresource = label("subresource").filter(|name| !name.is_empty()).map(|name| format!("/{name}")).unwrap_or_default();
        *counts.entry(format!("{verb} {resource}{subresource}")).or_default() += value.parse::<f64>().unwrap_or_default();
    }
    Ok(counts)
}

/// Of a broker, about clients; not what it asks of itself.
pub async fn broker(pid: u32) -> Result<Counts> {
    let class = Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/Requests.java");
    let mut command = Command::new("java");
    command.arg("-XX:TieredStopAtLevel=1").arg(class).arg(pid.to_string()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = run(command).await?;
    let of_itself = ["Fetch", "Broker", "Controller", "Vote", "BeginQuorum", "EndQuorum", "AllocateProducerIds"];
    let pairs = output.lines().filter_map(|line| line.split_once(' '));
    let clients = pairs.filter(|(name, _)| !of_itself.iter().any(|own| name.starts_with(own)));
    let mut counts = Counts::new();
    for (name, count) in clients {
        *counts.entry(name.to_owned()).or_default() += count.parse::<f64>().unwrap_or_default();
    }
    ensure!(!counts.is_empty(), "the broker told nothing of its requests: {output}");
    Ok(counts)
}

/// What a program that ends with this one writes.
pub async fn run(command: Command) -> Result<String> {
    let work = move || -> Result<String> {
        let shown = format!("{:?}", command.get_program());
        let output = testbed::spawn(command).and_then(std::process::Child::wait_with_output).with_context(|| format!("running {shown}"))?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(output.status.success(), "{shown}: {} {}", said(&output.stderr), said(&output.stdout));
        Ok(said(&output.stdout))
    };
    tokio::task::spawn_blocking(work).await.context("a program's run does not panic")?
}

/// What came between two counts; nothing that did not change.
pub fn between(before: &Counts, after: &Counts) -> Counts {
    let more = |(name, count): (&String, &f64)| (name.clone(), count - before.get(name).copied().unwrap_or_default());
    after.iter().map(more).filter(|(_, count)| *count > 0.0).collect()
}

pub fn add(to: &mut Counts, more: &Counts) {
    for (name, count) in more {
        *to.entry(name.clone()).or_default() += count;
    }
}

/// Those whose name begins with one of these verbs.
pub fn sum(counts: &Counts, verbs: &[&str]) -> f64 {
    counts.iter().filter(|(name, _)| verbs.iter().any(|verb| name.starts_with(verb))).map(|(_, count)| count).sum()
}

pub const WRITES: [&str; 5] = ["POST ", "PUT ", "PATCH ", "APPLY ", "DELETE"];
pub const READS: [&str; 2] = ["GET ", "LIST "];

/// "POST events 1, GET offsetresetrecords 2.5", each divided by so many.
pub fn each(counts: &Counts, by: f64) -> String {
    let words: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {}", crate::report::figure(count / by))).collect();
    words.join(", ")
}
