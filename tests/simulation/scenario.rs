//! What a seed stands for: who is there, what people do when, and what happens to which call of the operator.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::environment::{Act, Ask};
use crate::random::Random;
use crate::world::Fault;

#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub partitions: u64,
    pub pipelines: usize,
    /// Seconds each replica's wall clock is off.
    pub replicas: Vec<i64>,
    pub pods: Option<i64>,
    pub acts: Vec<(Duration, Act)>,
    /// By the number of the call; drawn once a run has shown what calls there are.
    pub faults: Vec<(usize, Fault)>,
}

impl Scenario {
    /// Without faults.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed).of("scenario", 0);
        let pipelines = if random.one_in(4) { 2 } else { 1 };
        let pods = random.one_in(3).then(|| i64::try_from(random.between(0, 2)).expect("few"));
        let two = random.one_in(3);
        let mut skew = || if random.one_in(24) { 75 } else { 0 };
        let replicas = if two { vec![skew(), skew()] } else { vec![skew()] };
        let partitions = random.between(1, 3);
        let mut acts = Vec::new();
        let mut id = 0;
        for number in 0..pipelines {
            let mut ask = |random: &mut Random, at_creation: bool| {
                id += 1;
                Ask {
                    id,
                    to: target(random),
                    pauses: pods.is_some() && !random.one_in(3),
                    quiet: random.pick(&[0, 0, 3, 10]),
                    runs_when_created: at_creation && !random.one_in(6),
                    retries: random.one_in(3),
                    timeout: random.pick(&[60, 90, 150]),
                }
            };
            let mut at = Duration::from_millis(random.between(0, 2000));
            if random.one_in(3) {
                acts.push((at, Act::Create(number, Some(ask(&mut random, true)))));
            } else {
                acts.push((at, Act::Create(number, None)));
                at += Duration::from_millis(random.between(500, 5000));
                acts.push((at, Act::Request(number, ask(&mut random, false))));
            }
            for _ in 0..random.between(0, 3) {
                at += Duration::from_millis(if random.one_in(2) { random.between(50, 5000) } else { random.between(1000, 50_000) });
                let act = match random.between(0, 8) {
                    0 | 1 => Act::Request(number, ask(&mut random, false)),
                    2 => Act::Withdraw(number),
                    3 | 4 => Act::SetRetry(number),
                    5 => Act::Delete(number),
                    6 => Act::Backup(random.between(62, 75)),
                    _ => other(&mut random),
                };
                let deleted = matches!(act, Act::Delete(_));
                acts.push((at, act));
                if deleted {
                    at += Duration::from_millis(random.between(200, 60_000));
                    let mut again = ask(&mut random, true);
                    again.id = random.pick(&[1, again.id]);
                    acts.push((at, Act::Create(number, Some(again))));
                }
            }
        }
        acts.sort_by_key(|(at, _)| *at);
        Self { seed, partitions, pipelines, replicas, pods, acts, faults: Vec::new() }
    }

    /// Draws what happens, from the calls of a run without.
    pub fn with_faults(mut self, calls: &[String]) -> Self {
        let mut random = Random::new(self.seed).of("faults", 0);
        let telling = |call: &String| !call.starts_with("GET") || call.contains("records/") || call.contains("Alter");
        let last_write =
            calls.iter().rposition(|c| c.starts_with("PATCH") || c.starts_with("POST") || c.starts_with("PUT") || c.contains("Alter"));
        let end = last_write.map_or(calls.len(), |last| (last + 20).min(calls.len())).max(1);
        let near_send: Vec<usize> = calls.iter().enumerate().filter(|(_, c)| c.contains("Alter")).map(|(i, _)| i).collect();
        let writes: Vec<usize> = (0..end).filter(|&i| telling(&calls[i])).collect();
        for _ in 0..random.between(1, 4) {
            let close = !near_send.is_empty() && random.one_in(2);
            let at = match random.between(0, 1) {
                // The send itself.
                _ if close && random.one_in(4) => {
                    let at = random.pick(&near_send);
                    self.faults.push((at, under_way(&mut random)));
                    continue;
                }
                _ if close => {
                    let at = random.pick(&near_send);
                    (at + usize::try_from(random.between(0, 14)).expect("small")).saturating_sub(8)
                }
                0 if !writes.is_empty() => random.pick(&writes),
                _ => usize::try_from(random.between(0, end as u64 - 1)).expect("an index"),
            };
            let call = calls.get(at).map_or("", String::as_str);
            // What others do hurts most between the plan and its close.
            let fault = if close && random.one_in(2) { around(&mut random) } else { fault(&mut random, call) };
            self.faults.push((at, fault));
        }
        self
    }

    pub fn by_call(&self) -> BTreeMap<usize, Vec<Fault>> {
        let mut by_call: BTreeMap<usize, Vec<Fault>> = BTreeMap::new();
        for (at, fault) in &self.faults {
            by_call.entry(*at).or_default().push(fault.clone());
        }
        by_call
    }
}

fn target(random: &mut Random) -> Value {
    match random.between(0, 4) {
        0 => json!({ "position": "Earliest" }),
        1 => json!({ "position": "Latest" }),
        2 => json!({ "timestamp": "2026-01-01T00:00:40Z" }),
        3 => json!({ "shiftBy": -20 }),
        _ => json!({ "shiftBy": 15 }),
    }
}

/// What leaves a commit in doubt.
fn under_way(random: &mut Random) -> Fault {
    let mut seconds = |low: u64, high: u64| Duration::from_millis(random.between(low * 1000, high * 1000));
    match seconds(0, 4).as_secs() {
        0 => Fault::Late(seconds(1, 29)),
        1 => Fault::CrashUnderWay(seconds(0, 10), seconds(0, 19)),
        2 => Fault::LostAnswer,
        3 => Fault::BrokerDown(seconds(8, 40)),
        _ => Fault::CrashAfter(seconds(0, 60)),
    }
}

fn around(random: &mut Random) -> Fault {
    let act = match random.between(0, 5) {
        0 => Act::Move(i64::try_from(random.between(1, 9)).expect("small")),
        1 => Act::BackToOld,
        2 => random.pick(&[Act::Withdraw(0), Act::Delete(0), Act::SetRetry(0)]),
        _ => other(random),
    };
    if random.one_in(2) { Fault::Before(act) } else { Fault::After(act) }
}

/// What others do.
fn other(random: &mut Random) -> Act {
    match random.between(0, 13) {
        0 | 1 => Act::Join(random.between(1, 20)),
        2 | 3 => Act::Move(i64::try_from(random.between(1, 9)).expect("small")),
        4 | 5 => Act::BackToOld,
        6 => Act::Transaction(random.between(1, 20)),
        7 => Act::RecreateTopic,
        8 => Act::AddPartition,
        9 => Act::DropStatus(0),
        10 => Act::ForgeStatus(0, random.pick(&["Waiting", "Verified", "Sending", "Held"])),
        11 => Act::DeleteRecords,
        12 => Act::Scale(i64::try_from(random.between(0, 3)).expect("small")),
        _ => Act::DropCommit,
    }
}

fn fault(random: &mut Random, call: &str) -> Fault {
    let seconds = |random: &mut Random, low: u64, high: u64| Duration::from_millis(random.between(low * 1000, high * 1000));
    let kafka = call.starts_with("kafka");
    match random.between(0, 19) {
        0 => Fault::Error,
        1 => Fault::ErrorAfter,
        2 => Fault::LostRequest,
        3 | 4 => Fault::LostAnswer,
        5 | 6 => Fault::Late(seconds(random, 1, 29)),
        7 => Fault::Slow(seconds(random, 1, 9)),
        8 if !kafka => Fault::Duplicate,
        8 => Fault::RefuseLast,
        9 => Fault::CrashBefore(seconds(random, 0, 60)),
        10 | 11 => Fault::CrashUnderWay(seconds(random, 0, 60), seconds(random, 0, 19)),
        12 => Fault::CrashAfter(seconds(random, 0, 60)),
        13 | 14 => Fault::Stall(seconds(random, 1, 90)),
        15 => Fault::StaleWatch(seconds(random, 1, 60)),
        16 => Fault::BrokerDown(seconds(random, 1, 40)),
        17 => Fault::Before(other(random)),
        _ => Fault::After(other(random)),
    }
}
