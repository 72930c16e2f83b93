//! What a seed stands for: who takes part, what people do and when, and which faults hit which call of the operator.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::console::{Console, answered};
use crate::environment::{Act, Ask};
use crate::faults::Fault;
use crate::platform::Setup;
use crate::random::Random;

#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub partitions: u64,
    /// The group has no commit for its last partition.
    pub one_uncommitted: bool,
    pub pipelines: usize,
    /// Seconds by which each replica's wall clock is off.
    pub replicas: Vec<i64>,
    /// The replicas of each workload.
    pub pods: Vec<i64>,
    /// The most partitions in one commit.
    pub chunk_size: usize,
    /// The pipeline runs on this platform, not as a consumer group.
    pub platform: Option<Setup>,
    /// Whether StreamPipelines see each other, so that only the oldest acts.
    pub elders: bool,
    pub acts: Vec<(Duration, Act)>,
    /// By the number of the call; drawn once a run has shown which calls there are.
    pub faults: Vec<(usize, Fault)>,
}

impl Scenario {
    /// The scenario of a seed, without faults.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed).of("scenario", 0);
        let pipelines = if random.one_in(4) { 2 } else { 1 };
        let platform = random.one_in(4).then(|| Setup::of(random.of("platform", 0)));
        let workloads = if platform.is_none() && random.one_in(3) { random.between(1, 2) } else { 0 };
        let may_pause = platform.is_some() || workloads > 0;
        let pods: Vec<i64> = (0..workloads).map(|_| i64::try_from(random.between(0, 2)).expect("few")).collect();
        let two = random.one_in(3);
        let mut skew = || if random.one_in(24) { 75 } else { 0 };
        let replicas = if two { vec![skew(), skew()] } else { vec![skew()] };
        let partitions = random.between(1, 4);
        let chunk_size = random.pick(&[1, 2, 5000, 5000]);
        let one_uncommitted = partitions > 1 && random.one_in(4);
        let mut acts = Vec::new();
        let mut id = 0;
        if platform.is_none() && pipelines == 1 && random.one_in(5) {
            let (acts, partitions) = (undone(&mut random), partitions.max(2));
            let one_uncommitted = true;
            return Self {
                seed,
                partitions,
                one_uncommitted,
                pipelines,
                replicas,
                pods,
                chunk_size,
                platform,
                elders: false,
                acts,
                faults: Vec::new(),
            };
        }
        for number in 0..pipelines {
            let mut ask = |random: &mut Random, at_creation: bool| {
                id += 1;
                Ask {
                    id,
                    to: if platform.is_some() { Value::Null } else { target(random) },
                    pauses: may_pause && !random.one_in(3),
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
                    _ => other(&mut random, platform.is_some()),
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
        Self { seed, partitions, one_uncommitted, pipelines, replicas, pods, chunk_size, platform, elders: false, acts, faults: Vec::new() }
    }

    /// One request in a world without faults, with a plan of this many chunks.
    pub fn in_chunks(chunks: u64, pods: Vec<i64>) -> Self {
        let ask = Ask {
            id: 1,
            to: json!({ "shiftBy": -20 }),
            pauses: !pods.is_empty(),
            quiet: 0,
            runs_when_created: false,
            retries: false,
            timeout: 90,
        };
        let acts = vec![(Duration::ZERO, Act::Create(0, None)), (Duration::from_secs(1), Act::Request(0, ask))];
        Self {
            seed: 0,
            partitions: chunks,
            one_uncommitted: false,
            pipelines: 1,
            replicas: vec![0],
            pods,
            chunk_size: 1,
            platform: None,
            elders: true,
            acts,
            faults: Vec::new(),
        }
    }

    /// A commit is lost and its request held; then its plan is exchanged, and asked to be sent once more.
    pub fn exchanged() -> Self {
        let ask =
            Ask { id: 1, to: json!({ "shiftBy": -20 }), pauses: false, quiet: 0, runs_when_created: false, retries: false, timeout: 150 };
        let at = Duration::from_secs;
        let acts = vec![(at(0), Act::Create(0, None)), (at(1), Act::Request(0, ask)), (at(110), Act::Exchange)];
        Self { acts, partitions: 2, chunk_size: 5000, ..Self::in_chunks(1, Vec::new()) }
    }

    /// A reset, and an undo that is to delete the commit of the last partition, which had none before.
    pub fn deletes() -> Self {
        let ask = |id: u64, to: Value| {
            let (pauses, quiet, runs_when_created, retries, timeout) = (false, 0, false, false, 150);
            Ask { id, to, pauses, quiet, runs_when_created, retries, timeout }
        };
        let asked = [json!({ "position": "Latest" }), json!({ "undo": {} })].into_iter().zip(1..);
        let requests = asked.map(|(to, n)| (Duration::from_secs(10 * n), Act::Request(0, ask(n, to))));
        let acts = [(Duration::ZERO, Act::Create(0, None))].into_iter().chain(requests).collect();
        Self { acts, partitions: 2, one_uncommitted: true, chunk_size: 5000, ..Self::in_chunks(1, Vec::new()) }
    }

    /// Two StreamPipelines for one pipeline of a platform that samples its position less often than one reset follows the other.
    pub fn two_between_samples() -> Self {
        let setup = Setup {
            status: "RUNNING",
            resets_to_latest: false,
            transition: Duration::ZERO,
            sample_every: Duration::from_secs(30),
            lag_empty: true,
            as_documented: true,
            token_life: Duration::from_secs(7200),
            refresh_kills_old: false,
            backlog: 0,
            input_per_second: 0,
        };
        let ask = |id| Ask { id, to: Value::Null, pauses: true, quiet: 0, runs_when_created: true, retries: false, timeout: 150 };
        let mut acts = [(0, 1), (1, 2)].map(|(number, id)| (Duration::from_secs(id), Act::Create(number, Some(ask(id))))).to_vec();
        // Until then the history goes on, so that both are compared.
        acts.push((Duration::from_secs(120), Act::Console(Console::RevokeTokens)));
        Self { acts, pipelines: 2, platform: Some(setup), elders: false, ..Self::in_chunks(1, Vec::new()) }
    }

    /// Two StreamPipelines for one group, created at almost the same time, both to run at once; watches stand still for a while.
    pub fn in_one_apply(seed: u64, elders: bool) -> Self {
        let mut random = Random::new(seed).of("one apply", 0);
        let ask = |id: u64| Ask {
            id,
            to: json!({ "shiftBy": -20 }),
            pauses: false,
            quiet: 0,
            runs_when_created: true,
            retries: false,
            timeout: 60,
        };
        let first = Duration::from_millis(random.between(0, 1500));
        let apart = if random.one_in(2) { random.between(0, 60) } else { random.between(0, 1500) };
        let names = if random.one_in(2) { [0, 1] } else { [1, 0] };
        let acts = [first, first + Duration::from_millis(apart)].into_iter().zip(names);
        let acts = acts.map(|(at, number)| (at, Act::Create(number, Some(ask(number as u64 + 1))))).collect();
        let replicas = if random.one_in(2) { vec![0, 0] } else { vec![0] };
        let frozen = |random: &mut Random| Fault::StaleWatch(Duration::from_millis(random.between(100, 9000)));
        let faults = (0..random.between(0, 2)).map(|_| (random.between(0, 30) as usize, frozen(&mut random))).collect();
        let (partitions, pods) = (1, Vec::new());
        Self {
            seed,
            partitions,
            one_uncommitted: false,
            pipelines: 2,
            replicas,
            pods,
            chunk_size: 5000,
            platform: None,
            elders,
            acts,
            faults,
        }
    }

    /// Draws the faults, given the calls of a run without any.
    pub fn with_faults(mut self, calls: &[String]) -> Self {
        let mut random = Random::new(self.seed).of("faults", 0);
        let enos = self.platform.is_some();
        let sends = |c: &str| c.contains("Alter") || c.contains("Delete") || c == "enos reset";
        let changes = |c: &str| c.starts_with("PATCH") || c.starts_with("POST") || c.starts_with("PUT") || sends(c);
        let reads = |c: &str| c.starts_with("GET") || c.starts_with("enos list") || c.starts_with("enos token");
        let last_write = calls.iter().rposition(|c| changes(c));
        let end = last_write.map_or(calls.len(), |last| (last + 20).min(calls.len())).max(1);
        let all = |is: &dyn Fn(&str) -> bool| -> Vec<usize> { (0..calls.len()).filter(|&i| is(&calls[i])).collect() };
        let (near_send, closes) = (all(&sends), all(&|c| c == "PATCH offsetresetrecords/status"));
        let writes: Vec<usize> = (0..end).filter(|&i| !reads(&calls[i])).collect();
        for _ in 0..random.between(1, 4) {
            let close = !near_send.is_empty() && random.one_in(2);
            // A call near a send, or a close.
            if close && random.one_in(2) {
                let of = if random.one_in(3) && !closes.is_empty() { &closes } else { &near_send };
                let at = random.pick(of);
                let answered_so = enos && sends(&calls[at]) && random.one_in(2);
                let fault = if answered_so { answered(&mut random, &calls[at]) } else { under_way(&mut random) };
                self.faults.push((at, fault));
                continue;
            }
            let at = match random.between(0, 1) {
                _ if close => {
                    let at = random.pick(&near_send);
                    (at + usize::try_from(random.between(0, 14)).expect("small")).saturating_sub(8)
                }
                0 if !writes.is_empty() => random.pick(&writes),
                _ => usize::try_from(random.between(0, end as u64 - 1)).expect("an index"),
            };
            let call = calls.get(at).map_or("", String::as_str);
            // Acts of others do most harm between the plan and its close.
            let fault = if close && random.one_in(2) { around(&mut random, enos) } else { fault(&mut random, call, enos) };
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

/// A reset is done and then undone, and perhaps the undo too; things happen around it.
fn undone(random: &mut Random) -> Vec<(Duration, Act)> {
    let mut acts = vec![(Duration::ZERO, Act::Create(0, None))];
    let mut at = Duration::from_millis(random.between(500, 3000));
    let first = if random.one_in(2) { json!({ "position": "Earliest" }) } else { json!({ "position": "Latest" }) };
    for (id, to) in (1..).zip([first, json!({ "undo": {} }), json!({ "undo": {} })]) {
        let (retries, timeout) = (random.one_in(3), random.pick(&[60, 90, 150]));
        let ask = Ask { id, to, pauses: false, quiet: random.pick(&[0, 0, 3]), runs_when_created: false, retries, timeout };
        acts.push((at, Act::Request(0, ask)));
        at += Duration::from_millis(if random.one_in(4) { random.between(100, 5000) } else { random.between(5000, 60_000) });
        if random.one_in(3) {
            acts.push((at, other(random, false)));
        }
    }
    acts
}

fn target(random: &mut Random) -> Value {
    match random.between(0, 5) {
        5 => json!({ "undo": {} }),
        0 => json!({ "position": "Earliest" }),
        1 => json!({ "position": "Latest" }),
        2 => json!({ "timestamp": "2026-01-01T00:00:40Z" }),
        3 => json!({ "shiftBy": -20 }),
        _ => json!({ "shiftBy": 15 }),
    }
}

/// Faults that leave a commit in doubt.
fn under_way(random: &mut Random) -> Fault {
    let mut seconds = |low: u64, high: u64| Duration::from_millis(random.between(low * 1000, high * 1000));
    match seconds(0, 9).as_secs() {
        0 => Fault::Late(seconds(1, 29)),
        1 => Fault::CrashUnderWay(seconds(0, 10), seconds(0, 19)),
        2 => Fault::LostAnswer,
        3 => Fault::BrokerDown(seconds(8, 40)),
        // Some last longer than it takes to judge.
        4 => Fault::ConnectionDown(seconds(8, 40)),
        5 => Fault::ConnectionDown(seconds(66, 120)),
        6 => Fault::LostRequest,
        7 => Fault::ClientDies(Some(seconds(0, 19))),
        _ => Fault::CrashAfter(seconds(0, 60)),
    }
}

fn around(random: &mut Random, enos: bool) -> Fault {
    let act = match random.between(0, 7) {
        0 | 1 | 3 | 7 if enos => Act::Console(Console::of(random)),
        0 => Act::Move(i64::try_from(random.between(1, 9)).expect("small")),
        1 => Act::BackToOld,
        2 => random.pick(&[Act::Withdraw(0), Act::Delete(0), Act::SetRetry(0)]),
        3 => recreated(random),
        7 => Act::DropCommit,
        _ => other(random, enos),
    };
    if random.one_in(2) { Fault::Before(act) } else { Fault::After(act) }
}

/// Acts of others.
fn other(random: &mut Random, enos: bool) -> Act {
    match random.between(0, 13) {
        0..=8 | 12.. if enos => Act::Console(Console::of(random)),
        0 | 1 => Act::Join(random.between(1, 20)),
        2 | 3 => Act::Move(i64::try_from(random.between(1, 9)).expect("small")),
        4 | 5 => Act::BackToOld,
        6 => Act::Transaction(random.between(1, 20)),
        7 => recreated(random),
        8 => Act::AddPartition,
        9 => Act::DropStatus(0),
        10 => Act::ForgeStatus(0, random.pick(&["Waiting", "Verified", "Sending", "Held"])),
        11 => Act::DeleteRecords,
        12 => Act::Scale(usize::try_from(random.between(0, 1)).expect("small"), i64::try_from(random.between(0, 3)).expect("small")),
        _ => Act::DropCommit,
    }
}

fn recreated(random: &mut Random) -> Act {
    let gone = if random.one_in(2) { 0 } else { random.between(1, 20) };
    Act::TopicRecreated { gone, commits_kept: random.one_in(2) }
}

fn fault(random: &mut Random, call: &str, enos: bool) -> Fault {
    let seconds = |random: &mut Random, low: u64, high: u64| Duration::from_millis(random.between(low * 1000, high * 1000));
    let kafka = call.starts_with("kafka");
    if call.starts_with("enos") && random.one_in(3) {
        return answered(random, call);
    }
    match random.between(0, 20) {
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
        17 => Fault::Before(other(random, enos)),
        18 if kafka && random.one_in(2) => Fault::ClientDies(if random.one_in(2) { None } else { Some(seconds(random, 0, 19)) }),
        18 => Fault::ConnectionDown(seconds(random, 1, 120)),
        _ => Fault::After(other(random, enos)),
    }
}
