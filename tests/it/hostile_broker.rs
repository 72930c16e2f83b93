//! A broker that is hostile, beside one that is not: it ends nobody else's work, and nobody is told what is not so (F23).

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use stream_pipeline_operator::api::{Reason, RecordPhase, StreamPipelineStatus};
use stream_pipeline_operator::domain::Plan;
use stream_pipeline_operator::domain::words::is_unseen;
use testbed::hostile_broker::{Attack, HostileBroker, Options};
use testbed::{Operator, http_get, kafka, offsets_topic};
use tokio::time::{sleep, timeout};

use crate::wired::sockets;
use crate::world::{EXE, LIMIT, Own, World, condition, flags, reset};

/// How long one request of the attacked pipeline is waited for; then another is asked for.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long a reset beside it may take, on a busy machine.
const HEALTHY: Duration = Duration::from_secs(20);
/// Of the operator's memory, since its first seconds under attack.
const GROWTH_KIB: u64 = 32 * 1024;
/// As of [`crate::world::FAST`].
const DEADLINE: Duration = Duration::from_secs(3);
/// Partitions of a topic, first to be kept and end: no target is 0, and none is another's.
const LOGS: [(i64, i64); 3] = [(10, 40), (11, 50), (12, 60)];

fn setting(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or)
}

struct Pipeline<'a> {
    world: &'a World,
    name: &'static str,
    servers: String,
    topic: String,
    group: String,
}

impl<'a> Pipeline<'a> {
    /// Known to the operator, with a topic and a group of its own; the broker is found at `servers`.
    async fn new(world: &'a World, name: &'static str, servers: &str) -> Self {
        let topic = world.topic(&LOGS.map(|(_, end)| end)).await;
        let before: Vec<_> = (0..).zip(LOGS).map(|(partition, (start, _))| (topic.as_str(), partition, start)).collect();
        kafka::delete_records(&world.bootstrap, &before).await;
        let group = world.group(&topic, &[20, 21, 22]).await;
        let new = Self { world, name, servers: servers.to_owned(), topic, group };
        new.apply(Value::Null).await;
        world.wait(name, "the operator to see the object", |s| s.observed_uid.is_some()).await;
        new
    }

    async fn apply(&self, request: Value) {
        let mut spec = json!({ "kafka": { "bootstrapServers": [self.servers], "consumerGroup": self.group } });
        if !request.is_null() {
            spec["offsetReset"] = request;
        }
        self.world.apply_spec(self.name, spec).await.expect("the API server takes it");
    }

    async fn ask(&self, id: &str, latest: bool, dry: bool) {
        let position = if latest { "Latest" } else { "Earliest" };
        self.apply(json!({ "id": id, "quietPeriod": "0s", "dryRun": dry, "to": { "position": position } })).await;
    }

    /// As a client sees it that has nothing to do with the operator, nor with the hostile broker.
    async fn stands(&self) -> Vec<Option<i64>> {
        self.world.offsets(&self.group, &self.topic, 3).await
    }

    async fn reset_to(&self, id: &str, latest: bool) -> Duration {
        let begun = Instant::now();
        self.ask(id, latest, false).await;
        self.world.verified(self.name, id).await;
        let took = begun.elapsed();
        let expected = LOGS.map(|(start, end)| Some(if latest { end } else { start }));
        assert_eq!(self.stands().await, expected, "{} {id}", self.name);
        took
    }

    /// Again and again.
    async fn resets(&self, until: Instant) -> Vec<Duration> {
        let mut took = Vec::new();
        while Instant::now() < until {
            let n = took.len();
            let reset = timeout(HEALTHY, self.reset_to(&format!("during-{n}"), n % 2 == 0)).await;
            took.push(reset.unwrap_or_else(|_| panic!("{}: reset {n} beside a hostile broker took more than {HEALTHY:?}", self.name)));
            sleep(Duration::from_millis(100)).await;
        }
        took
    }

    /// What a claimed reset is compared with.
    async fn is_true(&self, status: &StreamPipelineStatus) {
        let record = self.world.record(status).await;
        let plan = Plan::of_record(record.spec.plan.as_ref().expect("a plan"));
        let goals: BTreeMap<_, _> = plan.moves().map(|(row, goal)| ((row.at.topic.clone(), row.at.partition), Some(goal.offset))).collect();
        let stands = (0..).zip(self.stands().await).map(|(partition, offset)| ((self.topic.clone(), partition), offset));
        let stands: BTreeMap<_, _> = stands.filter(|(at, _)| goals.contains_key(at)).collect();
        assert!(
            !goals.is_empty() && goals == stands,
            "a reset is claimed that was not made: {goals:?} planned, {stands:?} found; {status:?}"
        );
    }

    /// Asks for one thing after the other; what becomes of each.
    async fn attacked(&self, until: Instant, ends: &Mutex<BTreeMap<String, usize>>) {
        for n in 0.. {
            let (id, asked) = (format!("attacked-{n}"), Instant::now());
            self.ask(&id, n % 4 < 2, n % 3 == 2).await;
            let end = loop {
                let status = self.world.pipelines().get(self.name).await.expect("it is there").status.unwrap_or_default();
                let of_this = status.offset_reset.as_ref().filter(|r| r.id == id);
                if of_this.is_some() && condition(&status, "OffsetsReset").is_some_and(|c| c.status == "True") {
                    self.is_true(&status).await;
                }
                let over = of_this.is_some_and(|r| r.stage.is_final());
                if over || asked.elapsed() > PATIENCE || Instant::now() > until {
                    let reason = condition(&status, "Ready").map(|c| c.reason.as_str()).unwrap_or_default();
                    break of_this.map_or_else(|| format!("not taken up, {reason}"), |r| format!("{:?} {reason}", r.stage));
                }
                sleep(Duration::from_millis(50)).await;
            };
            *ends.lock().expect("no panic under this lock").entry(end).or_default() += 1;
            if Instant::now() > until {
                break;
            }
        }
    }

    /// Every status it ever has: ends with the first that nobody should read.
    async fn misled(&self, seen: &Mutex<usize>) -> String {
        let of_this = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        let mut stream = watcher(self.world.pipelines(), of_this).default_backoff().applied_objects().boxed();
        while let Some(object) = stream.next().await {
            // It is watched anew after an error.
            let Some(status) = object.ok().and_then(|pipeline| pipeline.status) else { continue };
            *seen.lock().expect("no panic under this lock") += 1;
            if let Some(why) = unfit(&status) {
                return format!("{why}: {}", json!(status));
            }
        }
        "the watch ended".to_owned()
    }
}

/// What is wrong with the words of a status.
fn unfit(status: &StreamPipelineStatus) -> Option<String> {
    let of_error = status.offset_reset.as_ref().and_then(|r| r.error.as_ref()).map(|e| e.message.as_str());
    let messages = status.conditions.iter().map(|c| c.message.as_str()).chain(of_error);
    let raw = |text: &str| {
        ["Some(", "None)", "Ok(", "Err(", "\\u{", "\\x", "\\n", "panicked", "AdminError"].iter().any(|dump| text.contains(dump))
    };
    for message in messages {
        if message.is_empty() || message.len() > 8192 || message.contains(is_unseen) || raw(message) {
            return Some(format!("a message that is not fit to read: {message:?}"));
        }
    }
    let known = |reason: &str| reason.parse::<Reason>().is_ok_and(|known| known != Reason::OfAnotherVersion);
    status.conditions.iter().find(|c| !known(&c.reason)).map(|c| format!("a reason that nobody knows: {}", c.reason))
}

fn memory(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or_default()
}

/// Memory of the operator in KiB.
#[derive(Default)]
struct Memory {
    first: u64,
    most: u64,
    last: u64,
}

/// Ends only when the operator does.
async fn ended(operator: &mut Operator, begun: Instant, first: Duration, seen: &Mutex<Memory>) -> (ExitStatus, Duration) {
    loop {
        if let Some(status) = operator.ended() {
            return (status, begun.elapsed());
        }
        // 0 between its end and now.
        let now = memory(operator.pid());
        if now > 0 {
            let mut seen = seen.lock().expect("no panic under this lock");
            (seen.most, seen.last) = (seen.most.max(now), now);
            if seen.first == 0 && begun.elapsed() >= first {
                seen.first = now;
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn median_and_most(took: &[Duration]) -> String {
    let mut sorted = took.to_vec();
    sorted.sort();
    format!("{} resets, median {:.2?}, most {:.2?}", sorted.len(), sorted[sorted.len() / 2], sorted[sorted.len() - 1])
}

fn listed<T: std::fmt::Display>(counts: &BTreeMap<T, usize>) -> String {
    counts.iter().map(|(what, n)| format!("{what} {n}")).collect::<Vec<_>>().join(", ")
}

fn attacks(hostile: &HostileBroker) -> String {
    let (mut by_attack, mut by_api): (BTreeMap<String, usize>, BTreeMap<String, usize>) = Default::default();
    let struck = hostile.struck();
    for one in &struck {
        *by_attack.entry(one.attack.to_string()).or_default() += 1;
        *by_api.entry(one.api.map_or_else(|| "a new connection".to_owned(), |api| format!("{api:?}"))).or_default() += 1;
    }
    let answers = hostile.answers().into_iter().map(|((api, known), n)| (api + if known { "" } else { " (unknown)" }, n)).collect();
    format!("{} attacks: {}\n  on {}\n  of answers {}", struck.len(), listed(&by_attack), listed(&by_api), listed(&answers))
}

/// How client processes ended, where clients are processes.
async fn client_ends(operator: &Operator) -> String {
    let log = operator.log();
    let Some(address) = log.lines().find_map(|l| l.split("probes and metrics address=").nth(1)) else { return "not told".to_owned() };
    let metrics = timeout(LIMIT, http_get(address.trim(), "/metrics")).await.expect("an answer");
    let ends: Vec<_> = metrics.lines().filter(|l| l.contains("kafka_client_ends") && !l.starts_with('#')).collect();
    if ends.is_empty() { "not counted".to_owned() } else { ends.join(", ") }
}

#[tokio::test(flavor = "multi_thread")]
async fn f23_a_hostile_broker_ends_nobody_elses_work() {
    let (seed, seconds) = (setting("HOSTILE_SEED", 1), setting("HOSTILE_SECONDS", 60));
    let only = std::env::var("HOSTILE_ONLY").unwrap_or_default();
    let only = only.split(',').filter(|name| !name.is_empty()).map(|name| Attack::named(name).expect("the name of an attack")).collect();
    let (mut socket, addresses) = sockets(1);
    let own = Own::start(addresses.clone()).await;
    let (a, b) = (World::on(own.0, "f23-a").await, World::on(own.0, "f23-b").await);
    let mut operator = Operator::start_everywhere(own.0, Path::new(EXE), &flags(&[]));
    let pid = operator.pid();
    let options = Options { seed, only, deadline: DEADLINE };
    let hostile = HostileBroker::serve(socket.remove(0), own.0.broker.second(), options, true).expect("a proxy listens");
    let beside = Pipeline::new(&a, "beside", &a.bootstrap).await;
    let elsewhere = Pipeline::new(&b, "elsewhere", &b.bootstrap).await;
    let attacked = Pipeline::new(&a, "attacked", &addresses[0]).await;
    let mut usual = Vec::new();
    for n in 0..10 {
        usual.push([&beside, &elsewhere][n % 2].reset_to(&format!("before-{n}"), n % 4 < 2).await);
    }
    attacked.reset_to("before", true).await;

    hostile.set_honest(false);
    let begun = Instant::now();
    let until = begun + Duration::from_secs(seconds);
    let first = Duration::from_secs(seconds.min(30) / 3);
    let (rss, ends, statuses) = (Mutex::new(Memory::default()), Mutex::default(), Mutex::new(0));
    let under_attack = async {
        let took = tokio::join!(beside.resets(until), elsewhere.resets(until), attacked.attacked(until, &ends));
        hostile.set_honest(true);
        (took.0, took.1)
    };
    let and_then = async {
        let took = under_attack.await;
        let back = attacked.reset_to("after", false).await;
        beside.reset_to("after", false).await;
        (took, back)
    };
    let report = |what: &str| {
        let (ends, rss) = (ends.lock().expect("no panic under this lock"), rss.lock().expect("no panic under this lock"));
        let text = format!(
            "hostile broker: seed {seed}, {:.1} s: {what}\n  {}\n  the attacked: {}; {} statuses\n  memory {} KiB after {first:?}, at most {}, {} at the end; usual {}\n",
            begun.elapsed().as_secs_f32(),
            attacks(&hostile),
            listed(&ends),
            statuses.lock().expect("no panic under this lock"),
            rss.first,
            rss.most,
            rss.last,
            median_and_most(&usual),
        );
        println!("{text}");
        if let Ok(file) = std::env::var("HOSTILE_COUNTS") {
            std::fs::write(file, &text).expect("the counts are written");
        }
    };
    let ((same, other), back) = tokio::select! {
        (status, after) = ended(&mut operator, begun, first, &rss) => {
            let how = status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"));
            let struck = hostile.struck();
            let last: Vec<_> = struck.iter().rev().take(5).map(|s| format!("{s} at {:.2} s", (s.at - begun).as_secs_f32())).collect();
            let attack = struck.last().map_or_else(|| "no attack".to_owned(), |s| format!("attack {s}"));
            let what = format!("the operator ended by {how} after {:.1} s, seed {seed}, {attack}", after.as_secs_f32());
            report(&what);
            panic!("{what}; the last attacks, latest first: {}", last.join(", "));
        }
        why = attacked.misled(&statuses) => {
            report(&why);
            panic!("seed {seed}: {why}");
        }
        took = and_then => took,
    };
    let clients = client_ends(&operator).await;
    report(&format!(
        "beside it {}; in another namespace {}; the attacked was back {back:.2?} after the last attack; ends of clients: {clients}",
        median_and_most(&same),
        median_and_most(&other),
    ));
    assert!(operator.is_running() && operator.pid() == pid, "seed {seed}: it was not started again");
    assert!(!operator.log().contains("panicked"), "seed {seed}: a panic");
    let rss = rss.into_inner().expect("no panic under this lock");
    assert!(rss.last <= rss.first + GROWTH_KIB, "seed {seed}: {} KiB after {first:?}, {} KiB at the end", rss.first, rss.last);
    assert!(hostile.answers().keys().all(|(_, known)| *known), "seed {seed}: answers of an unknown schema: {:?}", hostile.answers());
    assert!(!hostile.struck().is_empty(), "seed {seed}: nothing was attacked");
    // Whatever a record says was verified did land.
    let landed = offsets_topic::landed(&a.bootstrap, &attacked.group).await;
    for record in a.all_records().await {
        let verified = record.status.as_ref().is_some_and(|s| s.phase == RecordPhase::Verified);
        if record.spec.pipeline.name != attacked.name || !verified {
            continue;
        }
        let plan = Plan::of_record(record.spec.plan.as_ref().expect("a plan"));
        for (row, goal) in plan.moves() {
            let at = (row.at.topic.clone(), row.at.partition);
            assert!(landed.get(&at).is_some_and(|all| all.contains(&goal.offset)), "seed {seed}: {at:?} {goal:?} never landed; {record:?}");
        }
    }
    assert_eq!(reset(&a.pipelines().get("attacked").await.expect("it is there").status.expect("a status")).id, "after");
}
