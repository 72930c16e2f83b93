//! The world of one history: the servers, the clock, the log, and the way of each call to the servers. A call is served by a task of its
//! own, so that it goes on if its caller gives up, stands still or ends.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};
use jiff::{SignedDuration, Timestamp};
use stream_pipeline_core::Timing;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, sleep};

use crate::api_server::ApiServer;
use crate::breaks::Break;
use crate::broker::Broker;
use crate::environment::Act;
use crate::faults::{Fault, Twist};
use crate::oracle::Oracle;
use crate::platform::Platform;
use crate::process::Process;
use crate::random::Random;

pub type Shared = Arc<Mutex<World>>;

pub struct World {
    pub random: Random,
    start: Instant,
    pub api: ApiServer,
    pub broker: Broker,
    /// The platform that the pipeline runs on, if it is not a consumer group.
    pub platform: Option<Platform>,
    pub oracle: Oracle,
    pub breaks: Option<Break>,
    /// By the number of the call.
    pub faults: BTreeMap<usize, Vec<Fault>>,
    /// Every call of the operator, in order.
    pub calls: Vec<String>,
    /// What happened, in words; None: nobody will read it.
    pub history: Option<Vec<(Duration, String)>>,
    /// What others are going to do; of acts at the same time the one planned first comes first.
    pub agenda: BTreeMap<(Duration, u64), Act>,
    acts_planned: u64,
    pub changed: Arc<Notify>,
    pub planned: Arc<Notify>,
    /// From now on no call is disturbed any more.
    pub healed: bool,
    /// The timing that a process is started with.
    pub timing: Timing,
}

pub fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().expect("no test panics while it holds the world")
}

/// When every history begins, in seconds since 1970: 2026-03-01.
const BEGIN: i64 = 1_772_323_200;

impl World {
    pub fn new(seed: u64, breaks: Option<Break>, timing: Timing, told: bool) -> Self {
        Self {
            random: Random::new(seed),
            start: Instant::now(),
            api: ApiServer::default(),
            broker: Broker::new(),
            platform: None,
            oracle: Oracle::default(),
            breaks,
            faults: BTreeMap::new(),
            calls: Vec::new(),
            history: told.then(Vec::new),
            agenda: BTreeMap::new(),
            acts_planned: 0,
            changed: Arc::default(),
            planned: Arc::default(),
            healed: false,
            timing,
        }
    }

    /// Time since the beginning.
    pub fn at(&self) -> Duration {
        self.start.elapsed()
    }

    /// The true time, which is the API server's.
    pub fn wall(&self) -> Timestamp {
        Timestamp::constant(BEGIN, 0) + SignedDuration::try_from(self.at()).expect("a short time")
    }

    /// Adds a line to the history, if somebody will read it.
    pub fn say(&mut self, text: impl FnOnce() -> String) {
        let at = self.at();
        if let Some(history) = &mut self.history {
            history.push((at, text()));
        }
    }

    pub fn violation(&mut self, text: String) {
        self.say(|| format!("VIOLATION: {text}"));
        self.oracle.violations.push(text);
    }

    pub fn plan(&mut self, after: Duration, act: Act) {
        let at = self.at() + after;
        self.acts_planned += 1;
        self.agenda.insert((at, self.acts_planned), act);
        self.planned.notify_one();
    }

    pub fn told(&self) -> String {
        let mut text = String::new();
        for (at, line) in self.history.iter().flatten() {
            let _ = writeln!(text, "  {:>9.3} s  {line}", at.as_secs_f64());
        }
        text
    }
}

/// One process's access to the servers.
#[derive(Clone)]
pub struct Link {
    pub world: Shared,
    pub process: Arc<Process>,
    pub connection: Arc<Connection>,
}

/// One connection, which may be cut for a while.
#[derive(Default)]
pub struct Connection(Mutex<Option<Instant>>, watch::Sender<bool>);

impl Connection {
    fn cut(&self, by: Duration) {
        *self.0.lock().expect("no panic under this lock") = Some(Instant::now() + by);
    }

    /// The process at its other end ends.
    fn die(&self) {
        self.1.send_replace(true);
    }

    pub async fn died(&self) {
        // Cannot fail: the sender lives as long as this.
        let _ = self.1.subscribe().wait_for(|dead| *dead).await;
    }

    pub fn dead_until(&self) -> Option<Instant> {
        *self.0.lock().expect("no panic under this lock")
    }
}

#[derive(Default)]
struct Journey {
    travel: Duration,
    back: Duration,
    twice: bool,
    lost: bool,
    fails_before: bool,
    fails_after: bool,
    unanswered: bool,
    dies_after: Option<Duration>,
    around: (Vec<Act>, Vec<Act>),
    twist: Twist,
}

impl Link {
    /// Carries one call. `serve` gets the twist; `fail` makes a failure's answer, and gets whether the call was done. A call without a
    /// connection waits for one, unless `given_up` comes first.
    pub fn carry<T: Send + 'static>(
        &self,
        name: String,
        serve: impl Fn(&mut World, Twist) -> T + Send + 'static,
        fail: impl Fn(bool) -> T + Send + 'static,
        given_up: Option<BoxFuture<'static, ()>>,
    ) -> oneshot::Receiver<T> {
        let (tx, rx) = oneshot::channel();
        let journey = self.journey(&name);
        let (world, process, connection) = (Arc::clone(&self.world), Arc::clone(&self.process), Arc::clone(&self.connection));
        let Some(journey) = journey else {
            // The call was never sent.
            std::mem::forget(tx);
            return rx;
        };
        tokio::spawn(async move {
            if let Some(given_up) = given_up
                && !process.connected(connection).await_or(given_up).await
            {
                std::future::pending::<()>().await;
            }
            let bound = lock(&world).timing.late_bound;
            let rest = bound.min(journey.travel);
            let dead = Box::pin(async {
                process.died().await;
                sleep(rest).await;
            });
            // After a crash, what was already sent arrives within the late bound.
            select(Box::pin(sleep(journey.travel)), dead).await;
            let answer = {
                let mut world = lock(&world);
                journey.around.0.iter().for_each(|act| act.apply(&mut world));
                let answer = if journey.lost || journey.fails_before {
                    fail(false)
                } else {
                    let mut answer = serve(&mut world, journey.twist);
                    if journey.twice {
                        answer = serve(&mut world, journey.twist);
                    }
                    if journey.fails_after { fail(true) } else { answer }
                };
                journey.around.1.iter().for_each(|act| act.apply(&mut world));
                answer
            };
            if let Some(restart) = journey.dies_after {
                process.kill(restart);
            }
            if journey.lost || journey.unanswered {
                let _kept = tx;
                std::future::pending::<()>().await;
            } else {
                sleep(journey.back).await;
                // Fails only if the caller has gone.
                let _ = tx.send(answer);
            }
        });
        rx
    }

    /// Counts the call and draws what happens to it; None: it is never sent.
    fn journey(&self, name: &str) -> Option<Journey> {
        let mut world = lock(&self.world);
        let world = &mut *world;
        let number = world.calls.len();
        world.calls.push(name.to_owned());
        let mut random = world.random.of("way", number as u64);
        let millis = |random: &mut Random| Duration::from_millis(random.between(1, 3));
        let mut journey = Journey { travel: millis(&mut random), back: millis(&mut random), ..Journey::default() };
        let faults = if world.healed { Vec::new() } else { world.faults.get(&number).cloned().unwrap_or_default() };
        for fault in faults {
            world.say(|| format!("{} calls {name} (call {number}): {fault:?}", self.process.name));
            world.oracle.count(fault.kind());
            match fault {
                Fault::Error => journey.fails_before = true,
                Fault::ErrorAfter => journey.fails_after = true,
                Fault::LostRequest => journey.lost = true,
                Fault::LostAnswer => journey.unanswered = true,
                Fault::Late(by) => (journey.travel, journey.unanswered) = (by, true),
                Fault::Slow(by) => journey.back = by,
                Fault::Duplicate => journey.twice = true,
                Fault::CrashBefore(restart) => {
                    self.process.kill(restart);
                    return None;
                }
                Fault::CrashUnderWay(restart, land) => {
                    self.process.kill(restart);
                    journey.travel = land;
                }
                Fault::CrashAfter(restart) => journey.dies_after = Some(restart),
                Fault::Stall(by) => self.process.stall(by),
                Fault::StaleWatch(by) => {
                    self.process.freeze_watch(by);
                    world.oracle.watches_stale_until = world.at() + by;
                }
                Fault::BrokerDown(by) => self.process.cut_broker(by),
                Fault::ConnectionDown(by) => self.connection.cut(by),
                Fault::ClientDies(lands) => {
                    self.connection.die();
                    journey.unanswered = true;
                    match lands {
                        Some(by) => journey.travel = by,
                        None => journey.lost = true,
                    }
                }
                Fault::RefuseLast => journey.twist = Twist::RefuseLast,
                Fault::Answered { code, done } => journey.twist = Twist::Answered { code, done },
                Fault::Before(act) => journey.around.0.push(act),
                Fault::After(act) => journey.around.1.push(act),
            }
        }
        Some(journey)
    }
}

/// Waits for one future or another.
pub trait AwaitOr {
    /// Whether it resolved before the other.
    fn await_or(self, other: BoxFuture<'static, ()>) -> BoxFuture<'static, bool>;
}

impl<F: Future<Output = ()> + Send + 'static> AwaitOr for F {
    fn await_or(self, other: BoxFuture<'static, ()>) -> BoxFuture<'static, bool> {
        Box::pin(async move { matches!(select(Box::pin(self), other).await, Either::Left(_)) })
    }
}
