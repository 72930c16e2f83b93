//! What is concluded from look-ups at a log that changes while it is looked at: the real look-ups on a log in memory, on which
//! something happens before each question in turn.

use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;

use crate::backend::kafka::Kafka;
use crate::backend::kafka::admin::Admin;
use crate::backend::kafka::admin::{
    AdminError, BrokerError, ClusterDescription, CommittedOffset, Failure, GroupIdentity, IsolationLevel, ListedOffset, OffsetCommit,
    OffsetSpec, PerPartition, TopicDescription,
};
use crate::backend::kafka::pool::ClientPool;
use crate::backend::kafka::security::Security;
use crate::fixtures::*;
use stream_pipeline_api::{Stage, TargetReason};
use stream_pipeline_core::{KafkaGroup, PartitionPlan};

/// 2026-01-01T00:00:00Z; ten records a second apart are there from the beginning.
const FIRST: i64 = 1_767_225_600_000;
/// The time asked for: half a second after the last of them.
const TIME: i64 = FIRST + 9_500;

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A record with this time is produced.
    Produce(i64),
    /// A record with this time is produced in a transaction, which stays open.
    Begin(i64),
    End,
    /// The log start moves up; the deleted records stay in their segments.
    Delete(i64),
}

/// One partition, as a broker holds it.
#[derive(Clone, Default)]
struct Moving {
    times: Vec<i64>,
    start: i64,
    unstable: Option<i64>,
    /// What happens before the n-th question.
    events: Vec<(usize, Event)>,
    /// Untrue answers to the n-th look-up by time.
    lies: Vec<Option<ListedOffset>>,
    asked: usize,
    looked: usize,
}

impl Moving {
    fn new() -> Self {
        Self { times: (0..10).map(|n| FIRST + n * 1000).collect(), ..Self::default() }
    }

    fn end(&self) -> i64 {
        i64::try_from(self.times.len()).unwrap()
    }

    fn records(&self) -> impl Iterator<Item = (i64, i64)> {
        (0..).zip(self.times.iter().copied())
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Produce(time) => self.times.push(time),
            Event::Begin(time) => {
                self.unstable.get_or_insert(i64::try_from(self.times.len()).unwrap());
                self.times.push(time);
            }
            Event::End => self.unstable = None,
            Event::Delete(to) => self.start = self.start.max(to),
        }
    }

    fn answer(&mut self, spec: OffsetSpec, isolation: IsolationLevel) -> ListedOffset {
        let due: Vec<_> = self.events.iter().filter(|(n, _)| *n == self.asked).map(|(_, event)| *event).collect();
        due.into_iter().for_each(|event| self.apply(event));
        self.asked += 1;
        let listed = |offset, timestamp| ListedOffset { offset, timestamp, leader_epoch: None };
        let found = |record: Option<(i64, i64)>| record.map_or(listed(-1, -1), |(offset, time)| listed(offset, time));
        match spec {
            OffsetSpec::Earliest => listed(self.start, -1),
            OffsetSpec::Latest if isolation == IsolationLevel::ReadCommitted => listed(self.unstable.unwrap_or(self.end()), -1),
            OffsetSpec::Latest => listed(self.end(), -1),
            // Brokers search all that is in their files, deleted records too.
            OffsetSpec::MaxTimestamp => found(self.records().max_by_key(|(offset, time)| (*time, -offset))),
            OffsetSpec::Timestamp(time) => {
                if time == TIME {
                    self.looked += 1;
                    if let Some(Some(lie)) = self.lies.get(self.looked - 1) {
                        return lie.clone();
                    }
                }
                found(self.records().find(|(offset, at)| *offset >= self.start && *at >= time))
            }
        }
    }
}

struct Broker(Mutex<Moving>);

type Call<'a, T> = BoxFuture<'a, Result<T, AdminError>>;

/// A look at logs only lists offsets: any other call fails the test.
fn not_asked<'a, T: Send + 'a>(call: &'static str) -> Call<'a, T> {
    Box::pin(std::future::ready(Err(AdminError::Argument { call, reason: "this broker answers ListOffsets only".to_owned() })))
}

impl Admin for Broker {
    fn is_retired(&self) -> bool {
        false
    }
    fn failure(&self) -> Option<Failure> {
        None
    }
    fn has_answered(&self) -> bool {
        true
    }
    fn retire(&self) {}
    fn last_broker_error(&self) -> Option<BrokerError> {
        None
    }
    fn process_ended(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
    fn describe_cluster(&self, _: Duration) -> Call<'_, ClusterDescription> {
        not_asked("DescribeCluster")
    }
    fn describe_topics<'a>(&'a self, _: &'a [String], _: Duration) -> Call<'a, Vec<TopicDescription>> {
        not_asked("DescribeTopics")
    }
    fn identify_group<'a>(&'a self, _: &'a str, _: Duration) -> Call<'a, GroupIdentity> {
        not_asked("DescribeConsumerGroups")
    }
    fn list_consumer_group_offsets<'a>(
        &'a self,
        _: &'a str,
        _: Option<&'a [TopicPartition]>,
        _: bool,
        _: Duration,
    ) -> Call<'a, BTreeMap<TopicPartition, CommittedOffset>> {
        not_asked("ListConsumerGroupOffsets")
    }
    fn list_offsets<'a>(
        &'a self,
        wanted: &'a [(TopicPartition, OffsetSpec)],
        isolation: IsolationLevel,
        _: Duration,
    ) -> Call<'a, PerPartition<ListedOffset>> {
        let answers = wanted.iter().map(|(at, spec)| (at.clone(), Ok(self.0.lock().unwrap().answer(*spec, isolation)))).collect();
        Box::pin(std::future::ready(Ok(answers)))
    }
    fn alter_consumer_group_offsets<'a>(&'a self, _: &'a str, _: &'a [OffsetCommit], _: Duration) -> Call<'a, PerPartition<()>> {
        not_asked("AlterConsumerGroupOffsets")
    }
    fn delete_consumer_group_offsets<'a>(&'a self, _: &'a str, _: &'a [TopicPartition], _: Duration) -> Call<'a, PerPartition<()>> {
        not_asked("DeleteConsumerGroupOffsets")
    }
}

/// The log as the look saw it, and as it is afterwards.
async fn look(moving: Moving, time: Option<i64>) -> (LogBounds, Moving) {
    let broker = Arc::new(Broker(Mutex::new(moving)));
    let opened = Arc::clone(&broker);
    let clients = ClientPool::opened_by(Box::new(move |_, _, _| Ok(Arc::clone(&opened) as Arc<dyn Admin>)), Duration::ZERO);
    let group = KafkaGroup { bootstrap: vec!["b:9092".to_owned()], group: "g".to_owned(), tls: None, sasl: None, workloads: vec![] };
    let kafka = Kafka::connect(&Arc::new(clients), "n", &group, &Security { tls: None, sasl: None }, Duration::from_secs(10), now().mono);
    let time = time.map(|time| Timestamp::from_millisecond(time).unwrap());
    let logs = kafka.expect("a client").log(&[at(0)], time, now().wall).await.expect("answers");
    let after = broker.0.lock().unwrap().clone();
    (logs[&at(0)], after)
}

/// What is decided from this log.
fn decided(log: LogBounds, to: &Value, commit: i64) -> Result<PartitionPlan, (Stage, Reason, String)> {
    let mut seen = ready();
    seen.committed = Observed::Read(committed(&[commit]));
    let topic = Topic { id: "topic-id".to_owned(), partitions: BTreeMap::from([(0, true)]) };
    seen.topics = Observed::Read(BTreeMap::from([("t".to_owned(), Some(topic))]));
    seen.log = Observed::Read(BTreeMap::from([(at(0), log)]));
    let decision = run(json!({ "id": "r1", "to": to }), known(), &seen);
    match (decision.step, decision.report) {
        (Some(Step::WriteAhead { plan, .. }), _) => Ok(plan.rows[0].clone()),
        (_, Report::Request(ending)) => Err((ending.stage, ending.cause.reason, ending.cause.message)),
        other => panic!("{other:?}"),
    }
}

fn by_time() -> Value {
    json!({ "timestamp": Timestamp::from_millisecond(TIME).unwrap().to_string() })
}

/// All that may happen before any two questions of a look.
fn histories(questions: usize) -> Vec<Vec<(usize, Event)>> {
    use Event::*;
    let events = [Produce(TIME + 5), Produce(TIME - 200), Begin(TIME + 7), Begin(TIME - 300), End, Delete(4), Delete(10), Delete(11)];
    let mut all = Vec::new();
    for first in 0..=questions {
        for second in first..=questions {
            for a in events {
                for b in events {
                    all.push(vec![(first, a), (second, b)]);
                }
            }
        }
    }
    all
}

#[tokio::test(start_paused = true)]
async fn whatever_comes_or_goes_during_the_look_nothing_untrue_is_concluded() {
    let mut told = BTreeMap::new();
    for (what, to) in [("time", by_time()), ("latest", json!({ "position": "Latest" })), ("earliest", json!({ "position": "Earliest" }))] {
        for history in histories(9) {
            // Only records that exist can be deleted.
            let mut there = Moving::new();
            let possible = history.iter().all(|(_, event)| {
                there.apply(*event);
                there.start <= there.end()
            });
            if !possible {
                continue;
            }
            let time = (what == "time").then_some(TIME);
            let (log, after) = look(Moving { events: history.clone(), ..Moving::new() }, time).await;
            assert!(log.start <= log.end && log.end <= log.high_watermark, "{what} {history:?}: {log:?}");
            let row = decided(log, &to, 10).unwrap_or_else(|end| panic!("{what} {history:?}: {end:?} of {log:?}"));
            let goal = row.aim.offset().expect("a target");
            let transaction = history.iter().any(|(_, event)| matches!(event, Event::Begin(_)));
            if row.why == TargetReason::TransactionOpen || log.high_watermark > log.end {
                assert!(transaction, "{what} {history:?}: no transaction, yet {row:?}");
            }
            *told.entry((what, row.why.into())).or_insert(0) += 1;
            let _: &str = row.why.into();
            if what == "time" {
                let skipped: Vec<_> =
                    after.records().filter(|(offset, at)| *offset < goal && *at >= TIME && *offset >= after.start).collect();
                assert!(skipped.is_empty(), "{history:?}: {goal} skips {skipped:?}; {log:?}");
                // None of the records from the beginning is replayed.
                assert!(goal >= 10, "{history:?}: {row:?}");
            }
            if what == "latest" {
                assert!((10..=after.end()).contains(&goal), "{history:?}: {row:?}");
            }
        }
    }
    // Each conclusion was reached, so each could have been wrong.
    for expected in
        [("time", "Target"), ("time", "NoRecordLatest"), ("time", "TransactionOpen"), ("latest", "Target"), ("latest", "TransactionOpen")]
    {
        assert!(told.get(&expected).is_some_and(|n| *n > 10), "{expected:?}: {told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn k30_a_look_up_that_cannot_be_true_is_asked_again_and_at_last_not_believed() {
    let none = || Some(ListedOffset { offset: -1, timestamp: -1, leader_epoch: None });
    let named = |offset, timestamp| Some(ListedOffset { offset, timestamp, leader_epoch: None });
    let with = |lies: Vec<Option<ListedOffset>>| {
        let mut log = Moving { lies, ..Moving::new() };
        log.times.push(TIME + 5);
        log
    };
    // Untrue once or twice, then true.
    for lies in [vec![none()], vec![none(), none()], vec![named(3, FIRST + 3000)], vec![named(77, TIME + 9), none()]] {
        let (log, after) = look(with(lies.clone()), Some(TIME)).await;
        let row = decided(log, &by_time(), 3).unwrap_or_else(|end| panic!("{lies:?}: {end:?}"));
        assert_eq!((row.aim.offset(), row.why, after.looked), (Some(10), TargetReason::Target, lies.len() + 1), "{lies:?}");
    }
    // Always untrue: the look gives up.
    for (lie, said) in [
        (none(), "has no record since 2026-01-01T00:00:09.5Z by the look-up, yet its newest record is of 2026-01-01T00:00:09.505Z"),
        (named(3, FIRST + 3000), "at offset 3, yet that one is of 2026-01-01T00:00:03Z"),
        (named(77, TIME + 9), "at offset 77, yet its log ends at 11"),
        (named(i64::MAX, i64::MAX), "yet its log ends at 11"),
    ] {
        let (log, after) = look(with(vec![lie; 50]), Some(TIME)).await;
        let (stage, reason, message) = decided(log, &by_time(), 3).expect_err("not believed");
        assert_eq!((stage, reason, after.looked), (Stage::Failed, Reason::LookupInconsistent, 3), "{message}");
        assert!(message.contains(said), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_names_what_is_gone_ends_at_the_log_start() {
    let gone = Some(ListedOffset { offset: 2, timestamp: TIME + 1, leader_epoch: None });
    // The look-up always names a deleted record.
    let (log, after) = look(Moving { start: 5, lies: vec![gone; 50], ..Moving::new() }, Some(TIME)).await;
    let row = decided(log, &by_time(), 3).expect("a plan");
    assert_eq!((row.aim.offset(), row.why, row.found_time, after.looked), (Some(5), TargetReason::ClampedToStart, None, 3));
    // The newest record is a deleted one, as brokers may answer: it was stamped after the time asked for, but no remaining record was.
    let mut log = Moving { start: 6, ..Moving::new() };
    log.times[4] = TIME + 60_000;
    let (log, after) = look(log, Some(TIME)).await;
    let row = decided(log, &by_time(), 3).expect("a plan");
    assert_eq!((row.aim.offset(), row.why, after.looked), (Some(10), TargetReason::NoRecordLatest, 1));
}
