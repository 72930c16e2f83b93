//! An operator whose every call, to brokers and to the API server, goes through proxies with one log, and can be stopped there.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use stream_pipeline_api::{RecordPhase, Stage, StreamPipelineStatus};
use testbed::proxy::{ApiProxy, KafkaProxy};
use testbed::trap::{Side, Traps};
use testbed::{Broker, Operator, kafka, offsets_topic};

use crate::support::brokers;
use crate::support::calls::is_commit;
use crate::support::requests::ask;
use crate::support::sockets::ports;
use crate::support::status::{assert_has, says};
use crate::support::world::{EXE, World, flags};

/// So many tests, all told, can stop calls to the one broker that they share: none gives its listener back.
const LISTENERS: usize = 96;
/// Where the group of a [`ProxiedWorld`] stands at first.
pub const START: [i64; 3] = [7, 8, 9];

/// A broker that all tests share, with a listener for each; in front of each listener a socket for that test's proxy.
struct SharedBroker {
    broker: Broker,
    free: Mutex<Vec<(TcpListener, String)>>,
}

async fn shared_broker() -> &'static SharedBroker {
    static ONCE: OnceLock<SharedBroker> = OnceLock::new();
    let testbed = testbed::start().await;
    let start = || {
        let (sockets, addresses) = ports(LISTENERS);
        let broker = Broker::start_behind(&testbed.parts, &addresses).expect("a broker starts");
        let free = sockets.into_iter().enumerate().map(|(n, socket)| (socket, broker.behind(n))).collect();
        SharedBroker { broker, free: Mutex::new(free) }
    };
    tokio::task::spawn_blocking(move || ONCE.get_or_init(start)).await.expect("the broker starts")
}

/// A world whose calls to broker and API server go through proxies.
pub struct ProxiedWorld {
    pub world: World,
    pub traps: Arc<Traps>,
    pub api: ApiProxy,
    /// Of the pipeline, its topic of three partitions with ten records each, and its group.
    pub name: String,
    pub topic: String,
    pub group: String,
    pub operator: Option<Operator>,
}

impl ProxiedWorld {
    /// With an operator that knows the pipeline `p`.
    pub async fn new(test: &str) -> Self {
        Self::with_flags(test, &[]).await
    }

    /// The same, whose operator has these flags too.
    pub async fn with_flags(test: &str, extra: &[&str]) -> Self {
        let mut proxied = Self::without_operator(test).await;
        proxied.restart_with(extra);
        proxied.fresh("p").await;
        proxied
    }

    pub async fn without_operator(test: &str) -> Self {
        let shared = shared_broker().await;
        let listener = shared.free.lock().expect("no panic under this lock").pop().expect("LISTENERS are enough for all tests");
        let mut world = World::without_operator(test).await;
        world.bootstrap = shared.broker.bootstrap();
        Self::behind(world, vec![listener]).await
    }

    /// On a broker of its own, which may end and come back.
    pub async fn with_broker(test: &str) -> (Self, Arc<Broker>) {
        let mut world = World::without_operator(test).await;
        let (mut socket, addresses) = ports(1);
        let parts = &world.testbed.parts;
        let broker = brokers::start(move || Broker::start_behind(parts, &addresses)).await;
        world.bootstrap = broker.bootstrap();
        let proxied = Self::behind(world, vec![(socket.remove(0), broker.second())]).await;
        (proxied, Arc::new(broker))
    }

    /// With a proxy on each of these sockets, in front of the listener beside it.
    pub async fn behind(mut world: World, listeners: Vec<(TcpListener, String)>) -> Self {
        let traps: Arc<Traps> = Arc::default();
        let mut named = Vec::new();
        for (socket, listener) in listeners {
            let (proxy, accepts) = KafkaProxy::on(socket, Arc::clone(&traps)).expect("a proxy listens");
            named.push(proxy.address.clone());
            proxy.serve(accepts, listener);
        }
        world.named = Some(named);
        let operator = world.testbed.cluster.operator_kubeconfig();
        let api = ApiProxy::start_with(&operator, Arc::clone(&traps)).await.expect("a proxy starts");
        let [name, topic, group] = [const { String::new() }; 3];
        Self { world, traps, api, name, topic, group, operator: None }
    }

    pub fn restart_with(&mut self, extra: &[&str]) {
        self.operator = None;
        self.operator = Some(Operator::start_with(&self.api.kubeconfig(), Path::new(EXE), self.world.namespace.name(), &flags(extra)));
    }

    /// A pipeline with a topic and a group of its own, known to the operator.
    pub async fn fresh(&mut self, name: &str) {
        self.name = name.to_owned();
        self.topic = self.world.topic(&[10, 10, 10]).await;
        self.group = self.world.group(&self.topic, &START).await;
        self.world.known(name, &self.group).await;
    }

    pub async fn ask(&self) {
        self.ask_for("r1", "Earliest").await;
    }

    pub async fn ask_for(&self, id: &str, position: &str) {
        self.world.apply(&self.name, &self.group, ask(id, position)).await;
    }

    /// Asks for a reset, and waits until a call of it is stopped: before the server gets it, or before its answer comes back.
    pub async fn ask_and_stop(&self, side: Side, call: impl Fn(&str) -> bool + Send + 'static) {
        self.traps.arm(side, call);
        self.ask().await;
        self.traps.sprung().await;
    }

    /// Kills the operator where it stands; calls that were stopped stay so.
    pub fn kill(&mut self) {
        self.operator.as_mut().expect("an operator").kill();
        self.traps.disarm();
    }

    /// Kills the processes of the operator's Kafka clients where they stand.
    pub fn kill_clients(&mut self) {
        let operator = self.operator.as_ref().expect("an operator");
        assert!(operator.kill_children() > 0, "expected the operator to have a Kafka client");
        self.traps.disarm();
    }

    /// Kills the operator where it stands, and starts another.
    pub fn crash(&mut self) {
        self.kill();
        self.restart_with(&[]);
    }

    /// Commits that left an operator.
    pub fn commits(&self) -> usize {
        self.traps.seen().iter().filter(|call| is_commit(call)).count()
    }

    /// Commits that a broker answered.
    pub fn answered(&self) -> usize {
        self.traps.log().iter().filter(|p| p.side == Side::After && is_commit(&p.call)).count()
    }

    pub async fn offsets(&self) -> Vec<Option<i64>> {
        kafka::offsets(&self.world.bootstrap, &self.group, &self.topic, 3).await
    }

    /// Every commit of the group that landed, as the broker's own log has them, after the one it began with.
    pub async fn landed(&self) -> Vec<Vec<i64>> {
        let all = offsets_topic::landed(&self.world.bootstrap, &self.group).await;
        let by_partition: BTreeMap<i32, Vec<i64>> = all.into_iter().map(|((_, partition), offsets)| (partition, offsets)).collect();
        let begins = by_partition.values().zip(START).all(|(offsets, first)| offsets[0] == first);
        assert!(begins, "expected each partition to begin at {START:?}: {by_partition:?}");
        let count = by_partition.values().map(Vec::len).max().unwrap_or_default();
        (1..count).map(|n| by_partition.values().filter_map(|offsets| offsets.get(n)).copied().collect()).collect()
    }

    /// Waits until `r1` is held, of which nothing landed.
    pub async fn held(&self) -> StreamPipelineStatus {
        let status = self.world.reaches(&self.name, "r1", Stage::Held, "OutcomeUnknown").await;
        assert_eq!((says(&status, "OffsetsReset").0, says(&status, "Stalled").0), ("Unknown", "True"), "OffsetsReset and Stalled");
        let counts = "0 of 3 partitions at their target, 3 as before, 0 elsewhere";
        assert_has(says(&status, "Ready").2, &[counts, "onUnknownOutcome: Retry"]);
        assert_eq!(self.landed().await, Vec::<Vec<i64>>::new(), "commits that landed, where nothing was sent");
        status
    }

    /// Waits until `r1` is verified, by one commit and under one record.
    pub async fn verified(&self) {
        let status = self.world.verified(&self.name, "r1").await;
        assert_eq!(self.landed().await, [[0, 0, 0]], "commits that landed, where one was sent");
        assert_eq!(self.world.record(&status).await.status.map(|s| s.phase), Some(RecordPhase::Verified), "the phase of the record");
        let count = self.world.all_records().await.into_iter().filter(|r| r.spec.pipeline.name == self.name).count();
        assert_eq!(count, 1, "records of {}", self.name);
    }

    /// Waits for the end, which must be what the broker's log says: verified by one commit, or held with at most one.
    pub async fn honest_end(&self) -> Stage {
        let over = |s: &StreamPipelineStatus| s.offset_reset.as_ref().is_some_and(|r| matches!(r.stage, Stage::Verified | Stage::Held));
        let status = self.world.wait(&self.name, "the reset to end", over).await;
        let stage = status.offset_reset.as_ref().expect("it has ended").stage;
        let (landed, reason) = (self.landed().await, says(&status, "Ready").1);
        match stage {
            Stage::Verified => assert_eq!((landed.as_slice(), reason), (&[vec![0; 3]][..], "ResetVerified"), "what landed, and the reason"),
            _ => assert!(
                landed.len() <= 1 && reason == "OutcomeUnknown",
                "expected at most one commit and OutcomeUnknown: {landed:?} {status:?}"
            ),
        }
        let phase = if stage == Stage::Verified { RecordPhase::Verified } else { RecordPhase::Held };
        assert_eq!(self.world.record(&status).await.status.map(|s| s.phase), Some(phase), "the phase of the record");
        stage
    }
}

/// An operator whose calls to the API server alone go through a proxy, one of its own.
pub struct ProxiedOperator {
    pub traps: Arc<Traps>,
    pub operator: Operator,
    _api: ApiProxy,
}

impl ProxiedOperator {
    pub async fn start(world: &World, extra: &[&str]) -> Self {
        let api = ApiProxy::start(&world.testbed.cluster.operator_kubeconfig()).await.expect("a proxy starts");
        let operator = Operator::start_with(&api.kubeconfig(), Path::new(EXE), world.namespace.name(), &flags(extra));
        Self { traps: Arc::clone(&api.traps), operator, _api: api }
    }
}
