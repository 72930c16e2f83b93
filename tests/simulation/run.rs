//! One history: the scenario of a seed, run on a clock that advances only when nothing is left to do. Everything is in memory and on one
//! thread, so the same seed gives the same history, to the millisecond.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use stream_pipeline_core::{Commit, Timing};
use stream_pipeline_operator::backend::kafka::admin::TopicPartition;
use tokio::time::{sleep, timeout};

use crate::breaks::Break;
use crate::environment::{Act, GROUP, TOPIC, application, workload};
use crate::platform::Platform;
use crate::process::{TIMING, replica};
use crate::scenario::Scenario;
use crate::world::{Shared, World, lock};

/// From this time on nothing is disturbed any more.
const HEALED: Duration = Duration::from_secs(240);
/// By this time everything must have come to an end.
const LIMIT: Duration = Duration::from_secs(240 + 900);
/// The history is over once nothing happened for this long. Longer than anything can be under way.
const CALM: Duration = Duration::from_secs(35);

pub struct Outcome {
    pub violations: Vec<String>,
    pub told: String,
    pub steps: usize,
    pub calls: Vec<String>,
    pub counts: std::collections::BTreeMap<&'static str, u64>,
    /// The stage that each pipeline's status ends with.
    pub stages: Vec<String>,
    /// The longest time from a write that announces a plan or a chunk to its send.
    pub longest_to_send: Duration,
    /// How many requests were sent.
    pub resets: usize,
}

pub fn run(scenario: &Scenario, breaks: Option<Break>, told: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(history(scenario, breaks, told))
}

/// The history of a seed, with faults where a run without faults has shown worthwhile calls.
pub fn of_seed(seed: u64, breaks: Option<Break>, told: bool) -> (Scenario, Outcome) {
    let bare = Scenario::of(seed);
    let outcome = run(&bare, breaks, false);
    if !outcome.violations.is_empty() {
        return (bare, outcome);
    }
    let scenario = bare.with_faults(&outcome.calls);
    let faulty = run(&scenario, breaks, told);
    (scenario, faulty)
}

/// Leaves out whatever the violation does not need.
pub fn shorten(mut scenario: Scenario, breaks: Option<Break>) -> (Scenario, Outcome) {
    let mut outcome = run(&scenario, breaks, true);
    loop {
        let fewer = |scenario: &Scenario| {
            let mut smaller = Vec::new();
            for i in 0..scenario.faults.len() {
                let mut one = scenario.clone();
                one.faults.remove(i);
                smaller.push(one);
            }
            for i in 1..scenario.acts.len() {
                let mut one = scenario.clone();
                one.acts.remove(i);
                smaller.push(one);
            }
            smaller
        };
        let found = fewer(&scenario).into_iter().find_map(|one| {
            let outcome = run(&one, breaks, true);
            (!outcome.violations.is_empty()).then_some((one, outcome))
        });
        match found {
            Some(smaller) => (scenario, outcome) = smaller,
            None => return (scenario, outcome),
        }
    }
}

async fn history(scenario: &Scenario, breaks: Option<Break>, told: bool) -> Outcome {
    let timing = Timing { chunk_size: scenario.chunk_size, ..TIMING };
    let world: Shared = Arc::new(Mutex::new(World::new(scenario.seed, breaks, timing, told)));
    let names: Vec<String> = (0..scenario.pipelines).map(|n| format!("p{n}")).collect();
    {
        let mut world = lock(&world);
        world.faults = scenario.by_call();
        world.api.hides_elders = !scenario.elders;
        world.oracle.replicas = scenario.replicas.len();
        let partitions = usize::try_from(scenario.partitions).expect("few");
        world.broker.make_topic(TOPIC, vec![(5, 100); partitions]);
        for partition in 0..i32::try_from(partitions - usize::from(scenario.one_uncommitted)).expect("few") {
            let commit = Commit { offset: 60 + i64::from(partition), leader_epoch: Some(0), ..Commit::default() };
            world.broker.group(GROUP).offsets.insert(TopicPartition::new(TOPIC, partition), commit);
        }
        for (number, pods) in scenario.pods.iter().enumerate() {
            let now = world.wall();
            world.api.create(
                workload(number),
                json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {}, "spec": { "replicas": pods } }),
                now,
            );
        }
        Act::Pods.apply(&mut world);
        if let Some(setup) = &scenario.platform {
            world.platform = Some(Platform::new(setup.clone()));
            let ((key, secret), now) = (application(), world.wall());
            world.api.create(key, secret, now);
        }
        for (at, act) in &scenario.acts {
            world.plan(*at, act.clone());
        }
    }
    let others = tokio::spawn(agenda(world.clone()));
    let replicas: Vec<_> =
        ('A'..).zip(&scenario.replicas).map(|(name, skew)| tokio::spawn(replica(world.clone(), name, *skew, names.clone()))).collect();
    let mut calm = Duration::ZERO;
    let step = Duration::from_secs(5);
    loop {
        sleep(step).await;
        let mut world = lock(&world);
        if world.at() >= HEALED && !world.healed {
            world.healed = true;
            world.say(|| "the world is left to itself".to_owned());
        }
        let busy = world.agenda.values().any(|act| !matches!(act, Act::Consume | Act::Pods));
        let open = if busy { Vec::new() } else { world.open_ends() };
        calm = if busy || !open.is_empty() { Duration::ZERO } else { calm + step };
        let enough = if scenario.faults.is_empty() { step } else { CALM };
        if !world.oracle.violations.is_empty() || calm >= enough {
            break;
        }
        if world.at() >= LIMIT {
            world.violation(format!("it does not end: {}", open.join("; ")));
            break;
        }
    }
    others.abort();
    replicas.iter().for_each(tokio::task::JoinHandle::abort);
    let mut world = lock(&world);
    let stage = |(_, object): (_, &Value)| object["status"]["offsetReset"]["stage"].as_str().unwrap_or_default().to_owned();
    Outcome {
        stages: world.api.all("streampipelines").map(stage).collect(),
        longest_to_send: world.oracle.longest_to_send,
        resets: world.oracle.resets(),
        violations: std::mem::take(&mut world.oracle.violations),
        told: world.told(),
        steps: world.calls.len(),
        calls: std::mem::take(&mut world.calls),
        counts: std::mem::take(&mut world.oracle.counts),
    }
}

/// Carries out what others have planned, when it is due.
async fn agenda(world: Shared) {
    loop {
        let (due, planned) = {
            let world = lock(&world);
            (world.agenda.keys().next().map(|(at, _)| at.saturating_sub(world.at())), Arc::clone(&world.planned))
        };
        match due {
            Some(Duration::ZERO) => {
                let mut world = lock(&world);
                if let Some((_, act)) = world.agenda.pop_first() {
                    act.apply(&mut world);
                }
            }
            Some(left) => drop(timeout(left, planned.notified()).await),
            None => planned.notified().await,
        }
    }
}
