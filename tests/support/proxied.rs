//! An operator whose every call, to brokers and to the API server, goes through proxies with one log, and can be stopped there.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::json;
use stream_pipeline_operator::api::{OffsetResetRecord, RecordPhase, Stage, StreamPipelineStatus};
use testbed::proxy::{ApiProxy, KafkaProxy, OFFSET_COMMIT};
use testbed::trap::{Side, Traps};
use testbed::{Broker, Operator, kafka, offsets_topic};

use crate::support::world::{EXE, World, flags, says};

/// So many tests, all told, can stop calls to the one broker that they share: none gives its line back.
const LINES: usize = 64;
/// Where the group of a [`Wired`] stands at first.
pub const START: [i64; 3] = [7, 8, 9];

/// A broker with many listeners; in front of each a socket that is one test's proxy.
struct Lines {
    broker: Broker,
    free: Mutex<Vec<(TcpListener, String)>>,
}

pub fn sockets(count: usize) -> (Vec<TcpListener>, Vec<String>) {
    let sockets: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let addresses = sockets.iter().map(|s| s.local_addr().expect("an address").to_string()).collect();
    (sockets, addresses)
}

async fn lines() -> &'static Lines {
    static ONCE: OnceLock<Lines> = OnceLock::new();
    let testbed = testbed::start().await;
    let start = || {
        let (sockets, addresses) = sockets(LINES);
        let broker = Broker::start_behind(&testbed.parts, &addresses).expect("a broker starts");
        let free = sockets.into_iter().enumerate().map(|(n, socket)| (socket, broker.behind(n))).collect();
        Lines { broker, free: Mutex::new(free) }
    };
    tokio::task::spawn_blocking(move || ONCE.get_or_init(start)).await.expect("the broker starts")
}

/// A world whose calls to broker and API server go through proxies.
pub struct Wired {
    pub world: World,
    pub traps: Arc<Traps>,
    pub api: ApiProxy,
    /// Of the pipeline, its topic of three partitions with ten records each, and its group.
    pub name: String,
    pub topic: String,
    pub group: String,
    pub operator: Option<Operator>,
}

impl Wired {
    /// With an operator that knows the pipeline `p`.
    pub async fn new(test: &str) -> Self {
        let mut wired = Self::without_operator(test).await;
        wired.restart_with(&[]);
        wired.fresh("p").await;
        wired
    }

    pub async fn without_operator(test: &str) -> Self {
        let lines = lines().await;
        let (socket, behind) = lines.free.lock().expect("no panic under this lock").pop().expect("enough lines");
        let mut world = World::without_operator(test).await;
        world.bootstrap = lines.broker.bootstrap();
        Self::between(world, vec![(socket, behind)]).await
    }

    /// On a broker of its own, which may end and come back.
    pub async fn with_broker(test: &str) -> (Self, Arc<Broker>) {
        let mut world = World::without_operator(test).await;
        let (mut socket, addresses) = sockets(1);
        let parts = &world.testbed.parts;
        let start = move || Broker::start_behind(parts, &addresses);
        let broker = tokio::task::spawn_blocking(start).await.expect("no panic").expect("a broker starts");
        world.bootstrap = broker.bootstrap();
        let wired = Self::between(world, vec![(socket.remove(0), broker.second())]).await;
        (wired, Arc::new(broker))
    }

    /// With a socket in front of each of these listeners.
    pub async fn between(mut world: World, lines: Vec<(TcpListener, String)>) -> Self {
        let traps: Arc<Traps> = Arc::default();
        let mut named = Vec::new();
        for (socket, behind) in lines {
            let (proxy, listener) = KafkaProxy::on(socket, Arc::clone(&traps)).expect("a proxy listens");
            named.push(proxy.address.clone());
            proxy.serve(listener, behind);
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
        self.world.apply(&self.name, &self.group, json!({ "id": id, "quietPeriod": "0s", "to": { "position": position } })).await;
    }

    /// Kills the operator where it stands; what was stopped stays so.
    pub fn kill(&mut self) {
        self.operator.as_mut().expect("an operator").kill();
        self.traps.disarm();
    }

    /// Kills the processes of the operator's Kafka clients where they stand.
    pub fn kill_clients(&mut self) {
        let operator = self.operator.as_ref().expect("an operator");
        assert!(operator.kill_children() > 0, "it has a Kafka client");
        self.traps.disarm();
    }

    /// Kills the operator where it stands, and starts another.
    pub fn crash(&mut self) {
        self.kill();
        self.restart_with(&[]);
    }

    /// Commits that left an operator.
    pub fn commits(&self) -> usize {
        self.traps.seen().iter().filter(|call| *call == OFFSET_COMMIT).count()
    }

    /// Commits that a broker answered.
    pub fn answered(&self) -> usize {
        self.traps.log().iter().filter(|p| p.side == Side::After && p.call == OFFSET_COMMIT).count()
    }

    pub async fn offsets(&self) -> Vec<Option<i64>> {
        kafka::offsets(&self.world.bootstrap, &self.group, &self.topic, 3).await
    }

    /// Every commit of the group that landed, as the broker's own log has them, after the one it began with.
    pub async fn landed(&self) -> Vec<Vec<i64>> {
        let all = offsets_topic::landed(&self.world.bootstrap, &self.group).await;
        let by_partition: BTreeMap<i32, Vec<i64>> = all.into_iter().map(|((_, partition), offsets)| (partition, offsets)).collect();
        assert!(by_partition.values().zip(START).all(|(offsets, first)| offsets[0] == first), "{by_partition:?}");
        let count = by_partition.values().map(Vec::len).max().unwrap_or_default();
        (1..count).map(|n| by_partition.values().filter_map(|offsets| offsets.get(n)).copied().collect()).collect()
    }

    pub async fn held(&self) -> StreamPipelineStatus {
        let status = self.world.reaches(&self.name, "r1", Stage::Held, "OutcomeUnknown").await;
        assert_eq!(says(&status, "OffsetsReset").0, "Unknown");
        assert_eq!(says(&status, "Stalled").0, "True");
        let message = says(&status, "Ready").2;
        assert!(
            message.contains("0 of 3 partitions at their target, 3 as before, 0 elsewhere") && message.contains("onUnknownOutcome: Retry"),
            "{message}"
        );
        assert!(self.landed().await.is_empty(), "nothing was sent");
        status
    }

    /// Verified, by one commit.
    pub async fn verified(&self) {
        let status = self.world.verified(&self.name, "r1").await;
        assert_eq!(self.landed().await, [[0, 0, 0]], "sent once");
        assert_eq!(self.world.record(&status).await.status.map(|s| s.phase), Some(RecordPhase::Verified));
        let of_pipeline = |r: &OffsetResetRecord| r.spec.pipeline.name == self.name;
        assert_eq!(self.world.all_records().await.into_iter().filter(of_pipeline).count(), 1);
    }
}

/// A second operator, with a way of its own to the API server.
pub struct Replica {
    pub traps: Arc<Traps>,
    pub operator: Operator,
    _api: ApiProxy,
}

impl Replica {
    pub async fn start(wired: &Wired, extra: &[&str]) -> Self {
        let api = ApiProxy::start(&wired.world.testbed.cluster.operator_kubeconfig()).await.expect("a proxy starts");
        let operator = Operator::start_with(&api.kubeconfig(), Path::new(EXE), wired.world.namespace.name(), &flags(extra));
        Self { traps: Arc::clone(&api.traps), operator, _api: api }
    }
}

pub fn records(call: &str, method: &str) -> bool {
    call.starts_with(method) && call.contains("/offsetresetrecords")
}
