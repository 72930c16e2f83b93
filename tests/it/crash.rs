//! O10 to O22: the operator is killed at each point where that matters, at the very call, by a proxy that stops it.

use std::path::Path;

use serde_json::json;
use stream_pipeline_operator::api::{RecordPhase, Stage, StreamPipelineStatus};
use testbed::consumer::Consumer;
use testbed::proxy::{ApiProxy, KafkaProxy, OFFSET_COMMIT};
use testbed::trap::Side;
use testbed::{Broker, Operator, kafka};

use crate::world::{EXE, World, flags, reset, says};

const SIGTERM: i32 = 15;

/// A world whose calls to broker and API server go through proxies.
pub struct Wired {
    pub world: World,
    pub kafka: KafkaProxy,
    pub api: ApiProxy,
    pub topic: String,
    pub group: String,
    operator: Option<Operator>,
    pub broker: Broker,
}

impl Wired {
    pub async fn new(test: &str) -> Self {
        let mut world = World::without_operator(test).await;
        let (kafka, listener) = KafkaProxy::bind().await.expect("a port");
        let address = kafka.address.clone();
        let testbed = world.testbed;
        let start = move || Broker::start_with(&testbed.parts, |_| Some(address.clone()));
        let broker = tokio::task::spawn_blocking(start).await.expect("no panic").expect("a broker starts");
        kafka.serve(listener, broker.second());
        world.bootstrap = broker.bootstrap();
        let topic = world.topic(&[10, 10, 10]).await;
        let group = world.group(&topic, &[7, 8, 9]).await;
        world.bootstrap = kafka.address.clone();
        let api = ApiProxy::start(&world.testbed.cluster.operator_kubeconfig()).await.expect("a proxy starts");
        let mut wired = Self { world, kafka, api, topic, group, operator: None, broker };
        wired.start_operator();
        wired.world.known("p", &wired.group).await;
        wired
    }

    fn start_operator(&mut self) {
        self.restart_with(&[]);
    }

    pub fn restart_with(&mut self, extra: &[&str]) {
        let args = flags(extra);
        self.operator = None;
        self.operator = Some(Operator::start_with(&self.api.kubeconfig(), Path::new(EXE), self.world.namespace.name(), &args));
    }

    pub async fn ask(&self) {
        self.world.apply("p", &self.group, json!({ "id": "r1", "quietPeriod": "0s", "to": { "position": "Earliest" } })).await;
    }

    /// Kills the operator where it stands, and starts another.
    pub fn crash(&mut self) {
        self.operator.as_mut().expect("an operator").kill();
        self.kafka.traps.disarm();
        self.api.traps.disarm();
        self.start_operator();
    }

    pub fn commits(&self) -> usize {
        self.kafka.traps.seen().iter().filter(|call| *call == OFFSET_COMMIT).count()
    }

    pub async fn offsets(&self) -> Vec<Option<i64>> {
        kafka::offsets(&self.world.bootstrap, &self.group, &self.topic, 3).await
    }

    async fn held(&self) -> StreamPipelineStatus {
        let status = self.world.reaches("p", "r1", Stage::Held, "OutcomeUnknown").await;
        assert_eq!(says(&status, "OffsetsReset").0, "Unknown");
        assert_eq!(says(&status, "Stalled").0, "True");
        let message = says(&status, "Ready").2;
        assert!(
            message.contains("0 of 3 partitions at their target, 3 as before, 0 elsewhere") && message.contains("onUnknownOutcome: Retry"),
            "{message}"
        );
        assert_eq!(self.offsets().await, [Some(7), Some(8), Some(9)], "nothing was sent");
        status
    }

    /// Verified, by one commit.
    async fn verified(&self) {
        let status = self.world.verified("p", "r1").await;
        assert_eq!(self.offsets().await, [Some(0), Some(0), Some(0)]);
        assert_eq!(self.commits(), 1, "sent once");
        assert_eq!(self.world.record(&status).await.status.map(|s| s.phase), Some(RecordPhase::Verified));
        assert_eq!(self.world.all_records().await.len(), 1);
    }
}

pub fn records(call: &str, method: &str) -> bool {
    call.starts_with(method) && call.contains("/offsetresetrecords")
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_killed_after_the_record_nothing_was_sent_and_nothing_is() {
    let mut wired = Wired::new("o10a").await;
    wired.api.traps.arm(Side::After, |call| records(call, "POST"));
    wired.ask().await;
    wired.api.traps.sprung().await;
    wired.crash();
    wired.held().await;
    assert_eq!(wired.commits(), 0);
    // A person decides for a new id: the record is closed, so it runs.
    wired.world.apply("p", &wired.group, json!({ "id": "r2", "quietPeriod": "0s", "to": { "position": "Latest" } })).await;
    wired.world.verified("p", "r2").await;
    assert_eq!(wired.offsets().await, [Some(10), Some(10), Some(10)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_killed_between_plan_and_send_is_held_and_retry_sends_the_same_numbers_once() {
    let mut wired = Wired::new("o10b").await;
    wired.kafka.traps.arm(Side::Before, |call| call == OFFSET_COMMIT);
    wired.ask().await;
    wired.kafka.traps.sprung().await;
    wired.crash();
    let status = wired.held().await;
    assert_eq!(reset(&status).attempts, Some(1));
    wired
        .world
        .apply("p", &wired.group, json!({ "id": "r1", "quietPeriod": "0s", "to": { "position": "Earliest" }, "onUnknownOutcome": "Retry" }))
        .await;
    let status = wired.world.verified("p", "r1").await;
    assert_eq!(reset(&status).attempts, Some(2));
    assert_eq!(wired.offsets().await, [Some(0), Some(0), Some(0)]);
    assert_eq!(wired.commits(), 2, "the one that was stopped, and the retry");
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_killed_after_the_commit_is_verified_by_looking() {
    let mut wired = Wired::new("o10c").await;
    wired.kafka.traps.arm(Side::After, |call| call == OFFSET_COMMIT);
    wired.ask().await;
    wired.kafka.traps.sprung().await;
    wired.crash();
    wired.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_killed_before_the_close_is_verified_by_looking() {
    let mut wired = Wired::new("o10d").await;
    wired.api.traps.arm(Side::Before, |call| records(call, "PATCH") && call.ends_with("/status"));
    wired.ask().await;
    wired.api.traps.sprung().await;
    wired.crash();
    wired.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o12_another_tool_moves_the_group_between_plan_and_send_and_between_send_and_read_back() {
    let mut wired = Wired::new("o12").await;
    wired.restart_with(&["--call-deadline=60s"]);
    let direct = wired.broker.bootstrap();
    // The answer to the plan's write is stopped for a moment: the second look must see what happened meanwhile.
    wired.api.traps.arm(Side::After, |call| records(call, "POST"));
    wired.ask().await;
    wired.api.traps.sprung().await;
    kafka::commit(&direct, &wired.group, &[(&wired.topic, 1, 3, "")]).await;
    wired.api.traps.release();
    let status = wired.world.verified("p", "r1").await;
    assert_eq!(
        wired.world.record(&status).await.spec.plan.expect("a plan").topics[0].from,
        [7, 3, 9],
        "planned anew from where it was moved"
    );
    assert_eq!(wired.commits(), 1);
    // After the send: held, and not repeated.
    wired.kafka.traps.arm(Side::After, |call| call == OFFSET_COMMIT);
    wired.world.apply("p", &wired.group, json!({ "id": "r2", "quietPeriod": "0s", "to": { "position": "Latest" } })).await;
    wired.kafka.traps.sprung().await;
    kafka::commit(&direct, &wired.group, &[(&wired.topic, 1, 4, "")]).await;
    wired.kafka.traps.release();
    let status = wired.world.reaches("p", "r2", Stage::Held, "OffsetsMoved").await;
    assert!(
        says(&status, "Ready").2.contains("2 of 3 partitions at their target, 0 as before, 1 elsewhere"),
        "{}",
        says(&status, "Ready").2
    );
    assert_eq!(wired.offsets().await, [Some(10), Some(4), Some(10)]);
    assert_eq!(wired.commits(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_a_member_that_joins_after_the_second_look_is_refused_by_the_broker_and_nothing_is_half_done() {
    let mut wired = Wired::new("a10").await;
    wired.restart_with(&["--call-deadline=60s"]);
    let direct = wired.broker.bootstrap();
    wired.kafka.traps.arm(Side::Before, |call| call == OFFSET_COMMIT);
    wired.ask().await;
    wired.kafka.traps.sprung().await;
    let member = Consumer::classic(&direct, &wired.group, &wired.topic, "late-comer");
    member.wait().await;
    wired.kafka.traps.release();
    let status = wired.world.reaches("p", "r1", Stage::Waiting, "GroupActive").await;
    assert!(says(&status, "PipelineInactive").2.contains("late-comer") || says(&status, "Ready").2.contains("25"), "{status:?}");
    assert_eq!(wired.offsets().await, [Some(7), Some(8), Some(9)], "nothing was written");
    assert_eq!(wired.world.all_records().await[0].spec.plan, None, "the plan is unloaded");
    member.stop().await;
    wired.world.verified("p", "r1").await;
    assert_eq!(wired.offsets().await, [Some(0), Some(0), Some(0)]);
    assert_eq!(wired.world.all_records().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_after_the_send_reads_back_and_closes_before_the_end() {
    let mut wired = Wired::new("drain").await;
    wired.restart_with(&["--call-deadline=60s"]);
    wired.kafka.traps.arm(Side::After, |call| call == OFFSET_COMMIT);
    wired.ask().await;
    wired.kafka.traps.sprung().await;
    let operator = wired.operator.as_mut().expect("an operator");
    operator.signal(SIGTERM);
    wired.kafka.traps.release();
    let status = tokio::task::block_in_place(|| operator.terminate());
    assert!(status.success(), "{status}");
    // Nobody runs any more, and the record is closed.
    let records = wired.world.all_records().await;
    assert_eq!(records[0].status.as_ref().map(|s| s.phase), Some(RecordPhase::Verified));
    assert_eq!(wired.commits(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_of_one_reset_are_few_and_counted() {
    let wired = Wired::new("calls").await;
    let (before_kafka, before_api) = (wired.kafka.traps.seen().len(), wired.api.traps.seen().len());
    wired.ask().await;
    wired.verified().await;
    let writes = |calls: &[String]| -> Vec<String> { calls.iter().filter(|c| !c.starts_with("GET")).cloned().collect() };
    let api = wired.api.traps.seen().split_off(before_api);
    println!("API calls of one reset: {api:#?}");
    println!("broker requests of one reset, by API key: {:?}", &wired.kafka.traps.seen()[before_kafka..]);
    let writes = writes(&api);
    assert!(writes.len() <= 4, "record, its close, status, event: {writes:#?}");
}
