//! Many pipelines of one application that ask at once: more than its pace lets through within a send window.

use futures::future::join_all;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};
use stream_pipeline_api::{Stage, StreamPipeline};
use testbed::enos::{Call, Options};
use testbed::eventually;

use crate::support::enos::{EnosWorld, id, numbered};
use crate::support::status::has_reason;
use crate::support::world::LIMIT;

/// At 20 calls a second, two for each and the list between them.
const MANY: usize = 100;

/// Of these the request is taken back at once.
const TAKEN_BACK: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn many_that_ask_at_once_are_planned_in_turn_each_once_and_one_taken_back_does_not_wait_for_its_turn() {
    let enos =
        EnosWorld::with_flags("crowd", Options::default(), &["--list-interval=10s", "--call-deadline=10s", "--concurrency=64"]).await;
    let names: Vec<_> = (1..=MANY).map(|n| format!("p{n}")).collect();
    for (n, name) in (1..).zip(&names) {
        enos.sim.add(numbered(n, "PAUSED"));
        enos.apply(name, &id(n), Value::Null).await;
    }
    join_all(names.iter().map(|name| enos.world.is_seen(name))).await;
    enos.sim.clear_calls();
    // One client has so many places that the last of them wait for a while.
    join_all((1..).zip(&names).map(async |(n, name)| enos.apply(name, &id(n), json!({ "id": "r1" })).await)).await;
    let (waiting, others) = names.split_at(MANY - TAKEN_BACK);
    let back = waiting.len() + 1;
    join_all((back..).zip(others).map(async |(n, name)| enos.apply(name, &id(n), Value::Null).await)).await;
    join_all(others.iter().map(|name| enos.world.nothing_requested(name))).await;
    let all = enos.world.pipelines().list(&ListParams::default()).await.expect("the API server lists them");
    let is_sent = |p: &StreamPipeline| p.status.as_ref().and_then(|s| s.offset_reset.as_ref()).is_some_and(|r| r.stage == Stage::Sent);
    let left = all.iter().filter(|p| waiting.contains(&p.name_any()) && !is_sent(p)).count();
    assert!(left > 0, "who took a request back waited until all others were served");
    eventually("one that waits for its turn to say so", LIMIT, async || {
        let all = enos.world.pipelines().list(&ListParams::default()).await.map_err(|e| e.to_string())?;
        let says = |p: &StreamPipeline| p.status.as_ref().is_some_and(|s| has_reason(s, "Ready", "RateLimited"));
        if all.iter().any(says) { Ok(()) } else { Err("none does".to_owned()) }
    })
    .await;
    join_all(waiting.iter().map(|name| enos.sent(name, "r1"))).await;
    // A plan that was dropped would have been made again, from another reading.
    for n in 1..back {
        let calls = [Call::Lag, Call::Reset].map(|call| enos.calls_for(call, &id(n)));
        assert_eq!(calls, [1, 1], "readings and resets of p{n}");
    }
    assert!(enos.reset_calls() <= MANY, "{}", enos.reset_calls());
    // Its turn is given back: another one comes.
    enos.apply("p1", &id(1), json!({ "id": "r2" })).await;
    enos.sent("p1", "r2").await;
}
