//! F25: a hostile broker beside an honest one: it disturbs no other pipeline, and no status says what is not true.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::future::{join_all, select_all};
use futures::{FutureExt, StreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use stream_pipeline_api::{RecordPhase, StreamPipelineStatus};
use stream_pipeline_core::Plan;
use testbed::hostile_broker::{Attack, HostileBroker, Options};
use testbed::{Operator, kafka, offsets_topic};
use tokio::time::{sleep, timeout};

use super::broker_report::{attacks, client_ends, listed, median_and_most, unfit};
use crate::support::process::{Memory, ended};
use crate::support::settings;
use crate::support::sockets::ports;
use crate::support::status::{condition, is, reset};
use crate::support::world::{EXE, OwnServers, World, flags};

/// So many pipelines are attacked, each by a hostile broker of its own.
const ATTACKED: usize = 3;

/// How long one request of the attacked pipeline is waited for; then another is asked for.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long a reset beside it may take, on a busy machine.
const HEALTHY: Duration = Duration::from_secs(20);
/// How much memory may grow since the first seconds under attack, and for each reset: the operator keeps what its record is found by.
const GROWTH_KIB: u64 = 32 * 1024;
const OF_A_RESET_KIB: u64 = 12;
/// As of [`FAST`].
const DEADLINE: Duration = Duration::from_secs(3);
/// First offset and end of each partition: no target is 0, and no two are the same.
const LOGS: [(i64, i64); 3] = [(10, 40), (11, 50), (12, 60)];

struct Pipeline<'a> {
    world: &'a World,
    name: String,
    servers: String,
    topic: String,
    group: String,
}

impl<'a> Pipeline<'a> {
    /// Known to the operator, with a topic and a group of its own; the broker is found at `servers`.
    async fn new(world: &'a World, name: &str, servers: &str) -> Self {
        let topic = world.topic(&LOGS.map(|(_, end)| end)).await;
        let before: Vec<_> = (0..).zip(LOGS).map(|(partition, (start, _))| (topic.as_str(), partition, start)).collect();
        kafka::delete_records(&world.bootstrap, &before).await;
        let group = world.group(&topic, &[20, 21, 22]).await;
        let new = Self { world, name: name.to_owned(), servers: servers.to_owned(), topic, group };
        new.apply(Value::Null).await;
        world.is_seen(name).await;
        new
    }

    async fn apply(&self, request: Value) {
        let mut spec = json!({ "kafka": { "bootstrapServers": [self.servers], "consumerGroup": self.group } });
        if !request.is_null() {
            spec["offsetReset"] = request;
        }
        self.world.apply_spec(&self.name, spec).await.expect("the API server takes it");
    }

    async fn ask(&self, id: &str, latest: bool, dry: bool) {
        let position = if latest { "Latest" } else { "Earliest" };
        self.apply(json!({ "id": id, "quietPeriod": "0s", "dryRun": dry, "to": { "position": position } })).await;
    }

    /// The offsets as an independent client sees them.
    async fn stands(&self) -> Vec<Option<i64>> {
        self.world.offsets(&self.group, &self.topic, 3).await
    }

    async fn reset_to(&self, id: &str, latest: bool) -> Duration {
        let begun = Instant::now();
        self.ask(id, latest, false).await;
        self.world.verified(&self.name, id).await;
        let took = begun.elapsed();
        let expected = LOGS.map(|(start, end)| Some(if latest { end } else { start }));
        assert_eq!(self.stands().await, expected, "{} {id}", self.name);
        took
    }

    /// Resets it again and again until then, and returns how long each took.
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

    /// Fails unless the group is where the plan of this status says.
    async fn is_true(&self, status: &StreamPipelineStatus) {
        let record = self.world.record(status).await;
        let plan = Plan::of_record(record.spec.plan.as_ref().expect("a plan"));
        let goals: BTreeMap<_, _> = plan.changes().map(|row| ((row.at.topic.clone(), row.at.partition), row.aim.offset())).collect();
        let stands = (0..).zip(self.stands().await).map(|(partition, offset)| ((self.topic.clone(), partition), offset));
        let stands: BTreeMap<_, _> = stands.filter(|(at, _)| goals.contains_key(at)).collect();
        assert!(
            !goals.is_empty() && goals == stands,
            "a reset is claimed that was not made: {goals:?} planned, {stands:?} found; {status:?}"
        );
    }

    /// Makes one request after the other, and counts how they end.
    async fn attacked(&self, until: Instant, ends: &Mutex<BTreeMap<String, usize>>) {
        for n in 0.. {
            let (id, asked) = (format!("attacked-{n}"), Instant::now());
            self.ask(&id, n % 4 < 2, n % 3 == 2).await;
            let end = loop {
                let status = self.world.pipelines().get(&self.name).await.expect("it is there").status.unwrap_or_default();
                let of_this = status.offset_reset.as_ref().filter(|r| r.id == id);
                if of_this.is_some() && is(&status, "OffsetsReset", "True") {
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

    /// Fails unless every commit of a verified record landed at some time.
    async fn all_landed(&self, seed: u64) {
        let landed = offsets_topic::landed(&self.world.bootstrap, &self.group).await;
        for record in self.world.all_records().await {
            if record.spec.pipeline.name != self.name || record.status.as_ref().is_none_or(|s| s.phase != RecordPhase::Verified) {
                continue;
            }
            let plan = Plan::of_record(record.spec.plan.as_ref().expect("a plan"));
            for row in plan.changes() {
                let to = row.aim.offset().expect("a target");
                let at = (row.at.topic.clone(), row.at.partition);
                let found = landed.get(&at).is_some_and(|all| all.contains(&to));
                assert!(found, "seed {seed}: {at:?} {to:?} never landed; {record:?}");
            }
        }
        let last = self.world.pipelines().get(&self.name).await.expect("it is there").status.expect("a status");
        assert_eq!(reset(&last).id, "after");
    }

    /// Watches every status, and returns the first that is unfit to be read.
    async fn misled(&self, seen: &Mutex<usize>) -> String {
        let of_this = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        let mut stream = watcher(self.world.pipelines(), of_this).default_backoff().applied_objects().boxed();
        while let Some(object) = stream.next().await {
            // After an error the watch begins anew.
            let Some(status) = object.ok().and_then(|pipeline| pipeline.status) else { continue };
            *seen.lock().expect("no panic under this lock") += 1;
            if let Some(why) = unfit(&status) {
                return format!("{why}: {}", json!(status));
            }
        }
        "the watch ended".to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f25_a_hostile_broker_ends_nobody_elses_work() {
    let (seed, seconds) = (settings::number("HOSTILE_SEED", 1), settings::number("HOSTILE_SECONDS", 60));
    let only = std::env::var("HOSTILE_ONLY").unwrap_or_default();
    let named = |name: &str| Attack::named(name).unwrap_or_else(|| panic!("no attack is named {name}: {:?}", Attack::ALL));
    let only: Vec<_> = only.split(',').filter(|name| !name.is_empty()).map(named).collect();
    let (sockets, addresses) = ports(ATTACKED);
    let own = OwnServers::start(addresses.clone()).await;
    let (a, b) = (World::on(own.0, "f25-a").await, World::on(own.0, "f25-b").await);
    let mut operator = Operator::start_everywhere(own.0, Path::new(EXE), &flags(&[]));
    let pid = operator.pid();
    let beside = Pipeline::new(&a, "beside", &a.bootstrap).await;
    let elsewhere = Pipeline::new(&b, "elsewhere", &b.bootstrap).await;
    let (mut hostile, mut attacked) = (Vec::new(), Vec::new());
    for (n, socket) in sockets.into_iter().enumerate() {
        let options = Options { seed: seed.wrapping_add((n as u64) << 32), only: only.clone(), deadline: DEADLINE };
        hostile.push(HostileBroker::serve(socket, own.0.broker.behind(n), options, true).expect("it listens"));
        attacked.push(Pipeline::new(&a, &format!("attacked-{n}"), &addresses[n]).await);
    }
    let mut usual = Vec::new();
    for n in 0..10 {
        usual.push([&beside, &elsewhere][n % 2].reset_to(&format!("before-{n}"), n % 4 < 2).await);
    }
    join_all(attacked.iter().map(|one| one.reset_to("before", true))).await;

    hostile.iter().for_each(|one| one.set_honest(false));
    let begun = Instant::now();
    let until = begun + Duration::from_secs(seconds);
    let first = Duration::from_secs(seconds.min(30) / 3);
    let (rss, ends, statuses) = (Mutex::new(Memory::default()), Mutex::default(), Mutex::new(0));
    let resets = async {
        let under_attack = join_all(attacked.iter().map(|one| one.attacked(until, &ends)));
        let (same, other, _) = tokio::join!(beside.resets(until), elsewhere.resets(until), under_attack);
        hostile.iter().for_each(|one| one.set_honest(true));
        let back = join_all(attacked.iter().map(|one| one.reset_to("after", false))).await;
        beside.reset_to("after", false).await;
        (same, other, back)
    };
    let misled = select_all(attacked.iter().map(|one| one.misled(&statuses).boxed_local()));
    let report = |what: &str| {
        let (ends, rss) = (ends.lock().expect("no panic under this lock"), rss.lock().expect("no panic under this lock"));
        let Memory { first: early, most, last } = *rss;
        let text = format!(
            "hostile broker: seed {seed}, {:.1} s: {what}\n  {}\n  the attacked: {}; {} statuses\n  \
             memory {early} KiB after {first:?}, at most {most}, {last} at the end; usual {}\n",
            begun.elapsed().as_secs_f32(),
            attacks(&hostile),
            listed(&ends),
            statuses.lock().expect("no panic under this lock"),
            median_and_most(&usual),
        );
        println!("{text}");
        settings::write_counts(&text);
    };
    let (same, other, back) = tokio::select! {
        (status, after) = ended(&mut operator, begun, first, &rss) => {
            let how = status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"));
            let mut struck: Vec<_> = hostile.iter().flat_map(HostileBroker::struck).collect();
            struck.sort_by_key(|one| std::cmp::Reverse(one.at));
            let last: Vec<_> = struck.iter().take(5).map(|one| format!("{one} at {:.2} s", (one.at - begun).as_secs_f32())).collect();
            let attack = struck.first().map_or_else(|| "no attack".to_owned(), |one| format!("attack {one}"));
            let what = format!("the operator ended by {how} after {:.1} s, seed {seed}, {attack}", after.as_secs_f32());
            report(&what);
            panic!("{what}; the last attacks, latest first: {}", last.join(", "));
        }
        (why, ..) = misled => {
            report(&why);
            panic!("seed {seed}: {why}");
        }
        made = AssertUnwindSafe(resets).catch_unwind() => made.unwrap_or_else(|panic| {
            report("a check failed");
            resume_unwind(panic)
        }),
    };
    let clients = client_ends(&operator).await;
    report(&format!(
        "beside it {}; in another namespace {}; the attacked back after it {back:.2?}; ends of clients: {clients}",
        median_and_most(&same),
        median_and_most(&other),
    ));
    assert!(operator.is_running() && operator.pid() == pid, "seed {seed}: it was not started again");
    assert!(!operator.log().contains("panicked"), "seed {seed}: a panic");
    let Memory { first: early, last, .. } = *rss.lock().expect("no panic under this lock");
    let resets = (same.len() + other.len()) as u64;
    assert!(last <= early + GROWTH_KIB + OF_A_RESET_KIB * resets, "seed {seed}: {early} KiB after {first:?}, {last} KiB at the end");
    for one in &hostile {
        let answers = one.answers();
        assert!(answers.keys().all(|(api, _)| answers.contains_key(&(api.clone(), true))), "seed {seed}: an unknown schema: {answers:?}");
        assert!(!one.struck().is_empty(), "seed {seed}: nothing was attacked");
    }
    for one in &attacked {
        one.all_landed(seed).await;
    }
}
