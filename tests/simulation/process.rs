//! An operator process: the real `reconcile` for each pipeline, driven as the controller does it. The process may stand still while time
//! goes on, and it may end between any two of its steps.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;

use futures::future::join_all;
use jiff::SignedDuration;
use kube::Client;
use kube::runtime::events::Reporter;
use stream_pipeline_api::FINALIZER;
use stream_pipeline_core::Timing;
use stream_pipeline_operator::backend::Platforms;
use stream_pipeline_operator::backend::enos::EnosPlatform;
use stream_pipeline_operator::backend::http::HttpPolicy;
use stream_pipeline_operator::backend::kafka::pool::ClientPool;
use stream_pipeline_operator::clock::Clock;
use stream_pipeline_operator::context::Context;
use stream_pipeline_operator::endpoints::EndpointPolicy;
use stream_pipeline_operator::fair::Queued;
use stream_pipeline_operator::kubernetes::crds::Definitions;
use stream_pipeline_operator::kubernetes::secrets::Secrets;
use stream_pipeline_operator::kubernetes::workloads::Kinds;
use stream_pipeline_operator::pipelines::Pipelines;
use stream_pipeline_operator::process_state::ProcessState;
use stream_pipeline_operator::reconcile::reconcile;
use stream_pipeline_operator::record_store::RecordStore;
use stream_pipeline_operator::records::Records;
use stream_pipeline_operator::report::Events;
use stream_pipeline_operator::running::Running;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::breaks;
use crate::gateway::ToGateway;
use crate::watch::{Cache, watch};
use crate::wire::{ToApiServer, ToBrokers};
use crate::world::{Connection, Link, Shared, lock};

pub const NAMESPACE: &str = "wind";

pub const TIMING: Timing = Timing {
    send_window: Duration::from_secs(5),
    call_deadline: Duration::from_secs(10),
    late_bound: Duration::from_secs(20),
    recheck_waiting: Duration::from_secs(3),
    recheck_idle: Duration::from_secs(8),
    max_backoff: Duration::from_secs(60),
    list_interval: Duration::from_secs(15),
    pause_warning: Duration::from_secs(12 * 3600),
    slow_stop: Duration::from_secs(300),
    finalizer_deadline: Duration::from_secs(600),
    // Replaced by what the seed draws.
    chunk_size: 5000,
};

pub struct Process {
    pub name: String,
    pub incarnation: String,
    /// How many processes this replica had before.
    pub life: u64,
    /// Seconds by which its wall clock is off.
    pub skew: i64,
    state: Mutex<State>,
    died: Notify,
    reconnected: Notify,
}

#[derive(Default)]
struct State {
    dead: Option<Duration>,
    stalled_until: Option<Instant>,
    watch_until: Option<Instant>,
    cut_until: Option<Instant>,
    waker: Option<Waker>,
}

impl Process {
    pub fn new(name: String, incarnation: String, life: u64, skew: i64) -> Self {
        Self { name, incarnation, life, skew, state: Mutex::default(), died: Notify::new(), reconnected: Notify::new() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }

    fn wake(&self) {
        let waker = self.state().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ends the process at once; another one starts this much later.
    pub fn kill(&self, restart: Duration) {
        self.state().dead.get_or_insert(restart);
        self.died.notify_waiters();
        self.reconnected.notify_waiters();
        self.wake();
    }

    pub fn stall(self: &Arc<Self>, by: Duration) {
        self.state().stalled_until = Some(Instant::now() + by);
        let process = Arc::clone(self);
        tokio::spawn(async move {
            sleep(by).await;
            process.wake();
        });
    }

    /// When its watches go on after standing still.
    pub fn watches_from(&self) -> Option<Instant> {
        self.state().watch_until
    }

    pub fn freeze_watch(&self, by: Duration) {
        self.state().watch_until = Some(Instant::now() + by);
    }

    pub fn cut_broker(&self, by: Duration) {
        self.state().cut_until = Some(Instant::now() + by);
    }

    pub fn died(self: &Arc<Self>) -> impl Future<Output = ()> + Send + use<> {
        let process = Arc::clone(self);
        async move {
            loop {
                let died = process.died.notified();
                if process.state().dead.is_some() {
                    return;
                }
                died.await;
            }
        }
    }

    /// Resolves when this connection to the brokers stands; never, if the process ended while it did not.
    pub fn connected(self: &Arc<Self>, connection: Arc<Connection>) -> impl Future<Output = ()> + Send + use<> {
        let process = Arc::clone(self);
        async move {
            loop {
                let (cut, dead) = {
                    let state = process.state();
                    let until = state.cut_until.max(connection.dead_until());
                    (until.filter(|until| *until > Instant::now()), state.dead.is_some())
                };
                match cut {
                    None => return,
                    // What was in the process's memory is lost.
                    Some(_) if dead => std::future::pending().await,
                    Some(until) => {
                        let _ = timeout(until.saturating_duration_since(Instant::now()), process.reconnected.notified()).await;
                    }
                }
            }
        }
    }
}

/// Polls the process's work only while the process is alive and does not stand still.
struct Gate<F> {
    process: Arc<Process>,
    inner: Option<Pin<Box<F>>>,
}

impl<F: Future<Output = ()>> Future for Gate<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<()> {
        {
            let mut state = self.process.state();
            state.waker = Some(task.waker().clone());
            if state.dead.is_some() {
                drop(state);
                self.inner = None;
                return Poll::Ready(());
            }
            if state.stalled_until.is_some_and(|until| until > Instant::now()) {
                return Poll::Pending;
            }
        }
        let polled = self.inner.as_mut().map_or(Poll::Ready(()), |inner| inner.as_mut().poll(task));
        // A call made in this step may have ended the process.
        if self.process.state().dead.is_some() {
            self.inner = None;
            return Poll::Ready(());
        }
        polled
    }
}

/// A replica: one process after another.
pub async fn replica(world: Shared, name: char, skew: i64, pipelines: Vec<String>) {
    for life in 0.. {
        let incarnation = breaks::incarnation(&world, name, life);
        let process = Arc::new(Process::new(format!("{name}{life}"), incarnation, life, skew));
        lock(&world).say(|| format!("{name}{life} starts"));
        let work = operate(world.clone(), Arc::clone(&process), pipelines.clone());
        Gate { process: Arc::clone(&process), inner: Some(Box::pin(work)) }.await;
        let restart = process.state().dead.unwrap_or_default();
        lock(&world).say(|| format!("{name}{life} has ended; another starts in {restart:?}"));
        sleep(restart).await;
    }
}

async fn operate(world: Shared, process: Arc<Process>, pipelines: Vec<String>) {
    let link = Link { world: world.clone(), process: Arc::clone(&process), connection: Arc::default() };
    let client = Client::new(ToApiServer(link.clone()), NAMESPACE);
    let (records, writer) = Records::empty();
    let (beside, elders) = Pipelines::empty();
    let elders = (!lock(&world).api.hides_elders).then_some(elders);
    let timing = breaks::timing(&world, &process);
    let endpoints = Arc::new(EndpointPolicy::parse::<&str>(&[], &[]).expect("a policy"));
    let http = HttpPolicy { endpoints, allow_plain_http: false };
    let process_state = Arc::new(ProcessState::new(process.incarnation.clone()));
    breaks::remember(&world, &process, &process_state);
    let to_brokers = link.clone();
    let to_platform = Arc::new(ToGateway(Link { connection: Arc::default(), ..link.clone() }));
    let ctx = Context {
        record_store: RecordStore::new(client.clone(), timing.call_deadline),
        records,
        pipelines: beside,
        process_state,
        platforms: Platforms {
            client: client.clone(),
            secrets: Secrets::new(client.clone(), timing.call_deadline),
            kinds: Kinds::default(),
            kafka: Arc::new(ClientPool::opened_by(
                Box::new(move |_, _, _| Ok(Arc::new(ToBrokers::new(to_brokers.clone())))),
                timing.max_backoff,
            )),
            enos: Arc::new(EnosPlatform::new(http.clone(), timing.call_deadline, clock(&link)).with_transport(to_platform)),
            http,
            deadline: timing.call_deadline,
        },
        definitions: Definitions::default(),
        timing,
        clock: clock(&link),
        decide: breaks::decide(&world),
        events: Events::new(client.clone(), Reporter { controller: "operator".to_owned(), instance: Some(process.incarnation.clone()) }),
        running: Running::named(process.incarnation.clone()),
        client,
    };
    let cache: Cache = Cache::default();
    let changes: BTreeMap<String, Arc<Notify>> = pipelines.iter().map(|name| (name.clone(), Arc::default())).collect();
    let workers = join_all(changes.iter().map(|(name, changed)| work(&ctx, name, &cache, changed)));
    futures::join!(watch(&link, &cache, (writer, elders), &changes), workers);
}

fn clock(link: &Link) -> Clock {
    let (world, skew, looks) = (link.world.clone(), link.process.skew, AtomicU64::new(0));
    Clock::new(move || {
        let world = lock(&world);
        // The last digits differ at each reading, as those of a real clock do.
        let noise = world.random.of("clock", looks.fetch_add(1, Ordering::Relaxed)).next() % 1000;
        world.wall() + SignedDuration::new(skew, i32::try_from(noise).expect("below a thousand"))
    })
}

/// Looks at one pipeline whenever it changes, and at the time that the last pass asked for.
async fn work(ctx: &Context, name: &str, cache: &Cache, changed: &Notify) {
    loop {
        let pipeline = cache.lock().expect("no panic under this lock").get(name).cloned();
        let again = match pipeline {
            Some(p) if p.metadata.deletion_timestamp.is_some() && !p.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER) => None,
            // There are fewer pipelines than places.
            Some(p) => reconcile(ctx, &p, &mut Queued::default()).await,
            None => None,
        };
        match again {
            Some(again) => drop(timeout(again, changed.notified()).await),
            None => changed.notified().await,
        }
        sleep(Duration::from_millis(50)).await;
    }
}
