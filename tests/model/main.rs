//! The reset protocol, explored completely: small worlds with replicas, partitions, a consumer, another tool, a user, and messages that are
//! lost, late or half done. Every process decides with the real `decide`. The invariants are checked in every state of every world.
//!
//! Written by hand and not with a library, because three things matter: few states (capped ages, renamed writers, interchangeable
//! replicas), access to the graph for the question whether every state leads to an end, and histories in words. That is most of the code
//! here; the search itself is a page.
//!
//! What a StreamPipeline's status says beyond "the group was read" is left out, because it can only prevent something; and even that is
//! there only where pipelines act in turn. Deadlines of requests are left out too.

mod answers;
mod breaks;
mod events;
mod explore;
mod graph;
mod messages;
mod mind;
mod moves;
mod objects;
mod process;
mod scenarios;
mod spelling;
mod steps;
mod violation;
mod world;

use std::time::Instant;

use explore::explore;
use objects::Ticks;
use scenarios::{BROKEN, LARGE, SCENARIOS};

/// Only the order in which the waits end matters, and that is the same as with the real durations.
const TICKS: Ticks = Ticks { window: 2, deadline: 1, late: 1 };

#[test]
fn no_history_breaks_the_protocol() {
    let all = std::env::var("MODEL").is_ok_and(|v| v == "all");
    let only = std::env::var("MODEL_ONLY").ok();
    let (mut states, mut violations, mut count) = (0, 0, 0);
    let begun = Instant::now();
    for scenario in SCENARIOS.iter().chain(LARGE.iter().filter(|_| all)) {
        if only.as_ref().is_some_and(|o| !scenario.name.contains(o.as_str())) {
            continue;
        }
        let begun = Instant::now();
        let outcome = explore(scenario, TICKS, None);
        println!("{:>9} states in {:>5.1} s: {}", outcome.states, begun.elapsed().as_secs_f64(), scenario.name);
        (states, count) = (states + outcome.states, count + 1);
        if let Some((violation, history)) = outcome.found {
            violations += 1;
            println!("{violation:?}:\n    {}", history.join("\n    "));
        }
    }
    println!("model: {count} scenarios, {states} states, {violations} violations, {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(violations, 0);
}

#[test]
fn each_rule_left_out_is_found() {
    let mut missed = Vec::new();
    for (broken, scenario) in BROKEN {
        let outcome = explore(scenario, TICKS, Some(*broken));
        match outcome.found {
            Some((violation, history)) => {
                println!("{broken:?} ({} states): {violation:?}\n    {}", outcome.states, history.join("\n    "));
            }
            None => missed.push(format!("{broken:?} ({} states)", outcome.states)),
        }
    }
    println!("model: {} rules left out, {} not missed", BROKEN.len(), missed.len());
    assert!(missed.is_empty(), "left out, and nothing was found: {missed:?}");
}
