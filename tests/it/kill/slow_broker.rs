//! F26: a broker that stands still for about as long as a call may take, while many pipelines ask: its answers come just before or
//! just after the operator gives up. librdkafka once crashed in this case.

use std::time::Duration;

use serde_json::json;
use stream_pipeline_api::Stage;

use crate::support::metrics::metrics;
use crate::support::proxied::ProxiedWorld;
use crate::support::settings;

const PIPELINES: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn f26_a_broker_that_stands_still_about_the_deadline_ends_nobody() {
    let (mut proxied, broker) = ProxiedWorld::with_broker("f26").await;
    // Without the proxy, as in production.
    proxied.world.named = None;
    let (stops, deadline, flags): (u64, u64, &[&str]) =
        if settings::long() { (20, 10_000, &["--max-backoff=3s"]) } else { (4, 1_500, &[]) };
    let by = format!("--call-deadline={deadline}ms");
    let flags: Vec<_> = flags.iter().copied().chain([by.as_str()]).collect();
    proxied.restart_with(&flags);
    proxied.fresh("p").await;
    let operator = proxied.operator.as_ref().expect("an operator").pid();
    let world = &proxied.world;
    for n in 0..PIPELINES {
        world.known(&format!("p{n}"), &proxied.group).await;
    }
    for stop in 0..stops {
        let id = format!("r{stop}");
        for n in 0..PIPELINES {
            let ask = json!({ "id": id, "dryRun": true, "quietPeriod": "0s", "to": { "position": "Earliest" } });
            world.apply(&format!("p{n}"), &proxied.group, ask).await;
        }
        broker.pause();
        // From a little under the deadline to a little over it. The length of the pause is what is tried here.
        tokio::time::sleep(Duration::from_millis(deadline * (98 + 12 * stop / stops) / 100)).await;
        broker.resume();
        for n in 0..PIPELINES {
            world.reaches(&format!("p{n}"), &id, Stage::Planned, "PlanReady").await;
        }
    }
    let running = proxied.operator.as_mut().expect("an operator");
    assert!(running.is_running() && running.pid() == operator, "the operator must still be the same process");
    let metrics = metrics(running).await;
    let ends: Vec<_> = metrics.lines().filter(|l| l.contains("kafka_client_ends_total{")).collect();
    println!("f26: {stops} stops of about {deadline} ms under {PIPELINES} that ask; ends of clients that nobody wanted: {ends:?}");
    // What the process said last names the line of librdkafka.
    let log = running.log();
    let said: Vec<_> = log.lines().filter(|l| l.contains("The process of a Kafka client")).collect();
    assert!(ends.is_empty(), "expected no client to have ended unasked: {ends:?}; {said:?}");
}
