//! A deterministic simulation: the real `reconcile` against an API server and a broker in memory, on a clock that the seed controls. There
//! are no sockets, and one thread per history, so that tokio's paused time is exact. What other simulators replace below the clients is
//! replaced here at the clients' own interfaces.
//!
//! `make simulate SEEDS=1000 FROM=0` runs histories; each seed is one history, and always prints the same.

mod api_server;
mod breaks;
mod broker;
mod conformance;
mod console;
mod environment;
mod faults;
mod gateway;
mod oracle;
mod platform;
mod process;
mod random;
mod run;
mod scenario;
mod watch;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use strum::IntoEnumIterator;

use breaks::Break;
use scenario::Scenario;

/// How many histories run side by side.
const THREADS: usize = 2;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Hands out seeds one by one until `work` returns that it is enough.
fn side_by_side(from: u64, seeds: u64, work: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(from);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds || !work(seed) {
                        next.fetch_add(seeds, Ordering::Relaxed);
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn histories_keep_every_promise() {
    let (from, seeds) = (number("FROM", 0), number("SEEDS", 1000));
    let total = Mutex::new((0u64, 0usize, BTreeMap::<&str, u64>::new(), Vec::<u64>::new()));
    side_by_side(from, seeds, |seed| {
        let (_, outcome) = run::of_seed(seed, None, false);
        let mut total = total.lock().expect("no panic under this lock");
        total.0 += 1;
        total.1 += outcome.steps;
        for (kind, count) in outcome.counts {
            *total.2.entry(kind).or_default() += count;
        }
        if !outcome.violations.is_empty() {
            println!("seed {seed}: {}", outcome.violations.join("; "));
            total.3.push(seed);
        }
        total.3.len() < 5
    });
    let (ran, steps, faults, mut failed) = total.into_inner().expect("no panic under this lock");
    failed.sort_unstable();
    for seed in &failed {
        let (scenario, _) = run::of_seed(*seed, None, false);
        let (scenario, outcome) = run::shorten(scenario, None);
        println!("seed {seed}: {scenario:?}\n{}", outcome.told);
    }
    let faults: Vec<String> = faults.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    println!("{ran} seeds from {from}, {steps} calls; faults: {}; {} seeds with violations", faults.join(", "), failed.len());
    assert!(failed.is_empty(), "violations in seeds {failed:?}");
}

#[test]
fn one_seed_is_one_history() {
    for seed in [3, 17] {
        let told = || run::of_seed(seed, None, true).1.told;
        assert_eq!(told(), told(), "seed {seed}");
    }
}

#[test]
fn a_plan_of_many_chunks_is_sent_without_a_pause() {
    for pods in [vec![], vec![1], vec![1, 2]] {
        let outcome = run::run(&Scenario::in_chunks(40, pods.clone()), None, true);
        assert_eq!((&outcome.violations, &outcome.stages), (&Vec::new(), &vec!["Verified".to_owned()]), "{pods:?}\n{}", outcome.told);
        let second = |what: &str| -> f64 {
            let line = outcome.told.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}\n{}", outcome.told));
            line.split_whitespace().next().and_then(|at| at.parse().ok()).expect("a line begins with its time")
        };
        let took = second("as Verified") - second("writes a plan");
        assert!(took < 5.0, "{pods:?}: 40 chunks took {took} s\n{}", outcome.told);
        assert!(outcome.longest_to_send < Duration::from_millis(500), "{pods:?}: {:?}\n{}", outcome.longest_to_send, outcome.told);
    }
}

#[test]
fn o08_of_two_in_one_apply_exactly_one_is_reset() {
    let seeds = number("SEEDS", 1000).min(100);
    let both = |elders: bool| -> Vec<(u64, run::Outcome)> {
        let ran = (0..seeds).map(|seed| (seed, run::run(&Scenario::in_one_apply(seed, elders), None, false)));
        ran.filter(|(_, outcome)| outcome.resets != 1 || !outcome.violations.is_empty()).collect()
    };
    if let Some((seed, outcome)) = both(true).first() {
        let told = run::run(&Scenario::in_one_apply(*seed, true), None, true).told;
        panic!("seed {seed}: {} resets, {:?}, {:?}\n{told}", outcome.resets, outcome.stages, outcome.violations);
    }
    let without = both(false);
    assert!(without.iter().filter(|(_, outcome)| outcome.resets == 2).count() as u64 > seeds / 2, "without the rule both are");
}

#[test]
fn o20_a_plan_exchanged_in_a_held_record_is_not_sent_once_more() {
    let mut scenario = Scenario::exchanged();
    let calls = run::run(&scenario, None, false).calls;
    let sends = calls.iter().position(|call| call.contains("Alter")).expect("it is sent");
    scenario.faults.push((sends, faults::Fault::LostRequest));
    let outcome = run::run(&scenario, None, true);
    assert_eq!((&outcome.violations, &outcome.stages), (&Vec::new(), &vec!["Held".to_owned()]), "{}", outcome.told);
    let broken = run::run(&scenario, Some(Break::ExchangedPlanSentAgain), true);
    assert!(broken.violations.iter().any(|v| v.contains("with another plan than was announced")), "{}", broken.told);
}

#[test]
fn a_commit_that_goes_after_its_undo_was_planned_is_not_deleted_by_that_plan() {
    let mut scenario = Scenario::deletes();
    let calls = run::run(&scenario, None, false).calls;
    let planned = calls.iter().rposition(|call| call == "POST offsetresetrecords").expect("it is recorded");
    scenario.faults.push((planned, faults::Fault::After(environment::Act::DropCommit)));
    let outcome = run::run(&scenario, None, true);
    assert_eq!((&outcome.violations, outcome.told.matches("drops the plan").count()), (&Vec::new(), 1), "{}", outcome.told);
    let broken = run::run(&scenario, Some(Break::DeletesWhatMoved), true);
    assert!(broken.violations.iter().any(|v| v.contains("did not see events-1 as it must stand")), "{}", broken.told);
}

#[test]
fn of_two_resets_between_two_samples_none_is_proven_by_what_the_other_moved() {
    let of = |done: [bool; 2], broken| {
        let mut scenario = Scenario::two_between_samples();
        let calls = run::run(&scenario, None, false).calls;
        let resets: Vec<usize> = (0..calls.len()).filter(|n| calls[*n] == "enos reset").collect();
        assert_eq!(resets.len(), 2, "{calls:?}");
        let answered = resets.into_iter().zip(done).map(|(at, done)| (at, faults::Fault::Answered { code: 0, done }));
        scenario.faults.extend(answered.filter(|(_, fault)| matches!(fault, faults::Fault::Answered { done: false, .. })));
        run::run(&scenario, broken, true)
    };
    for done in [[true, true], [true, false], [false, true]] {
        let outcome = of(done, None);
        let unproven = outcome.told.matches("as Sent (Unproven)").count();
        assert_eq!((&outcome.violations, unproven), (&Vec::new(), 2), "{done:?}\n{}", outcome.told);
        let broken = of(done, Some(Break::OtherResetsUnseen));
        let found = broken.violations.iter().any(|v| v.contains("itself has reset nothing"));
        assert_eq!(found, done.contains(&false), "{done:?}\n{}", broken.told);
    }
}

#[test]
fn every_break_of_the_protocol_is_found() {
    let only = std::env::var("BREAK").ok();
    let mut missed = Vec::new();
    // These need a history of their own each, which are above.
    let own = |b: &Break| matches!(b, Break::ExchangedPlanSentAgain | Break::DeletesWhatMoved | Break::OtherResetsUnseen);
    let drawn = Break::iter().filter(|b| !own(b));
    for broken in drawn.filter(|b| only.as_ref().is_none_or(|name| *name == format!("{b:?}"))) {
        let found = Mutex::new(None::<(u64, Vec<String>)>);
        side_by_side(0, 1000, |seed| {
            let (_, outcome) = run::of_seed(seed, Some(broken), false);
            let mut found = found.lock().expect("no panic under this lock");
            if !outcome.violations.is_empty() && found.as_ref().is_none_or(|(first, _)| seed < *first) {
                *found = Some((seed, outcome.violations));
            }
            found.is_none()
        });
        match found.into_inner().expect("no panic under this lock") {
            Some((seed, violations)) => println!("{broken:?}: seed {seed}: {}", violations.first().map_or("", String::as_str)),
            None => missed.push(broken),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
