//! What is decided, sentence by sentence. No server: the real `decide` on made-up observations.

mod chunks;
mod outdated;
mod run_state;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::api::ObjectMeta;
use serde_json::{Value, json};

use super::decide;
use crate::api::{
    BackendIdentity, OffsetResetRecord, OffsetResetRecordSpec, OffsetResetRecordStatus, Phase, PipelineRef, Reason, RecordPhase, Stage,
    StreamPipeline, Writer,
};
use crate::domain::{
    Activity, Answer, Cause, Commit, Committed, Decision, Desired, Leftover, Log, Now, Observation, Plan, PlanState, Progress, Quiet,
    Reading, RecordLook, Step, Switches, Timing, Topic, TopicPartition, Verdict,
};

pub(super) fn timing() -> Timing {
    let s = Duration::from_secs;
    Timing {
        send_window: s(5),
        chunk_size: 5000,
        call_deadline: s(10),
        late_bound: s(20),
        recheck_waiting: s(3),
        recheck_idle: s(30),
        max_backoff: s(60),
        list_interval: s(15),
        pause_warning: s(43_200),
        slow_stop: s(300),
        finalizer_deadline: s(600),
    }
}

/// 2026-01-01T12:00:00Z, a minute after "the beginning".
fn now() -> Now {
    Now { mono: *BEGINNING + Duration::from_secs(60), wall: "2026-01-01T12:00:00Z".parse().unwrap() }
}

static BEGINNING: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

fn pipeline(reset: Value, status: Value) -> StreamPipeline {
    let mut object = json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline",
        "metadata": { "name": "p", "namespace": "n", "uid": "u", "generation": 2 },
        "spec": { "kafka": { "bootstrapServers": ["b:9092"], "consumerGroup": "g" } }
    });
    if !reset.is_null() {
        object["spec"]["offsetReset"] = reset;
    }
    if !status.is_null() {
        object["status"] = status;
    }
    serde_json::from_value(object).unwrap()
}

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

/// Commits 7 and 8 on a topic whose logs are 0 to 10.
fn committed(offsets: &[i64]) -> Committed {
    (0..).zip(offsets).map(|(p, offset)| (at(p), Commit { offset: *offset, ..Commit::default() })).collect()
}

fn topics() -> BTreeMap<String, Option<Topic>> {
    BTreeMap::from([("t".to_owned(), Some(Topic { id: "topic-id".to_owned(), partitions: BTreeMap::from([(0, true), (1, true)]) }))])
}

/// An Empty, quiet group and everything readable.
fn ready() -> Observation {
    let log = Log { start: 0, end: 10, high_watermark: 10, ..Log::default() };
    Observation {
        identity: Reading::Read(cluster("c")),
        activity: Reading::Read(Activity::Inactive(Phase::Stopped, "Empty".to_owned())),
        committed: Reading::Read(committed(&[7, 8])),
        quiet: Quiet { since: Some(Duration::from_secs(11)), moved: None },
        topics: Reading::Read(topics()),
        log: Reading::Read(BTreeMap::from([(at(0), log), (at(1), log)])),
        record: Reading::Read(None),
        rivals: Reading::Read(vec![]),
        wanted: Reading::Read(true),
        ..Observation::default()
    }
}

fn cluster(id: &str) -> BackendIdentity {
    BackendIdentity::Kafka { cluster_id: id.to_owned(), consumer_group: "g".to_owned() }
}

fn active() -> Activity {
    Activity::Active(Cause::new(Reason::GroupActive, "2 members: turbine-1 (10.0.3.7), turbine-2 (10.0.3.7)"))
}

fn known() -> Value {
    json!({ "observedUID": "u", "observedGeneration": 1 })
}

fn earliest() -> Value {
    json!({ "id": "r1", "to": { "position": "Earliest" } })
}

fn run(reset: Value, status: Value, seen: &Observation) -> Decision {
    let object = pipeline(reset, status);
    decide(&Desired::of(&object, now().wall).unwrap(), &Progress::of(&object), seen, &timing(), now())
}

fn stands(decision: &Decision) -> Option<(Stage, Reason)> {
    match &decision.verdict {
        Verdict::Request(ending) => Some((ending.stage, ending.cause.reason)),
        Verdict::Keep | Verdict::Nothing | Verdict::LeftPaused(_) => None,
    }
}

/// The recorded plan that `ready` leads to, in this state.
fn record(state: PlanState) -> RecordLook {
    let Some(Step::WriteAhead { plan, deadline, .. }) = run(earliest(), known(), &ready()).step else { panic!("a plan is made") };
    let mut look = RecordLook { object: bare_record(&plan, deadline), state, switches: Switches::default() };
    if matches!(look.state, PlanState::Absent) {
        (look.object.spec.plan, look.object.spec.writer) = (None, None);
    }
    look
}

fn bare_record(plan: &Plan, deadline: Timestamp) -> OffsetResetRecord {
    let request = pipeline(earliest(), Value::Null).spec.offset_reset.unwrap();
    let metadata = ObjectMeta {
        name: Some("p-1".to_owned()),
        creation_timestamp: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now().wall)),
        ..ObjectMeta::default()
    };
    let spec = OffsetResetRecordSpec {
        pipeline: PipelineRef { name: "p".to_owned(), uid: "u".to_owned() },
        request,
        backend: cluster("c"),
        run_state_before: None,
        created_at: now().wall,
        deadline,
        writer: Some(Writer { incarnation: "i".to_owned(), number: 1, attempt: 1, chunk: 1 }),
        plan: Some(plan.to_record()),
    };
    OffsetResetRecord { metadata, spec, status: None }
}

fn unsent(age: u64) -> PlanState {
    PlanState::OursUnsent { loaded_at: now().mono - Duration::from_secs(age), intact: true, dead: false }
}

fn sent(refused: &[(i32, i32)], age: u64, tries: u32) -> PlanState {
    let refused = refused.iter().map(|(partition, code)| (at(*partition), *code)).collect();
    PlanState::OursSent { loaded_at: now().mono - Duration::from_secs(age), tries, answer: Answer::Definite { refused } }
}

fn with(look: RecordLook, offsets: &[i64]) -> Observation {
    Observation { record: Reading::Read(Some(look)), committed: Reading::Read(committed(offsets)), ..ready() }
}

fn closes_as(decision: &Decision) -> Option<(RecordPhase, Reason)> {
    match &decision.step {
        Some(Step::Close(status)) => Some((status.phase, status.reason)),
        _ => None,
    }
}

#[test]
fn what_a_request_without_a_record_comes_to() {
    use Reason::*;
    use Stage::{Failed, Skipped, Waiting};
    let unreachable = || Reading::Unreadable(Cause::new(BrokerUnreachable, "no answer"));
    let unread_record = || Reading::Unreadable(Cause::new(APIServerError, "no answer"));
    let ask = |extra: Value| {
        let mut reset = earliest();
        for (key, value) in extra.as_object().unwrap() {
            reset[key] = value.clone();
        }
        reset
    };
    let set = |change: &dyn Fn(&mut Observation)| {
        let mut seen = ready();
        change(&mut seen);
        seen
    };
    let pending = BTreeMap::from([(at(0), Commit { pending: true, ..Commit::default() })]);
    let waiting = json!({ "observedUID": "u", "acknowledgedID": "r1", "offsetReset": { "id": "r1", "stage": "Waiting", "acceptedAt": "2025-12-30T00:00:00Z" } });
    type Row = (&'static str, Value, Value, Observation, Option<(Stage, Reason)>);
    let table: Vec<Row> = vec![
        ("O28 there when first seen: skipped, loudly", earliest(), Value::Null, ready(), Some((Skipped, SkippedAtCreation))),
        (
            "O25 a status of another uid counts as none",
            earliest(),
            json!({ "observedUID": "other" }),
            ready(),
            Some((Skipped, SkippedAtCreation)),
        ),
        ("O18 run at creation by whenCreated", ask(json!({ "whenCreated": "Run" })), Value::Null, ready(), Some((Waiting, PlanRecorded))),
        (
            "O18 run at creation by expiresAt",
            ask(json!({ "expiresAt": "2026-01-02T00:00:00Z" })),
            Value::Null,
            ready(),
            Some((Waiting, PlanRecorded)),
        ),
        (
            "O16 expiresAt that has passed does not run it",
            ask(json!({ "expiresAt": "2026-01-01T00:00:00Z" })),
            Value::Null,
            ready(),
            Some((Skipped, SkippedAtCreation)),
        ),
        (
            "P04 expired before it could start",
            ask(json!({ "expiresAt": "2026-01-01T00:00:00Z" })),
            known(),
            ready(),
            Some((Failed, Expired)),
        ),
        (
            "K06 a time in the future",
            json!({ "id": "r1", "to": { "timestamp": "2027-01-01T00:00:00Z" } }),
            known(),
            ready(),
            Some((Failed, InvalidTarget)),
        ),
        ("F09 an unknown field", ask(json!({ "dryrun": true })), known(), ready(), Some((Failed, UnknownField))),
        ("F01 brokers that do not answer", earliest(), known(), set(&|s| s.identity = unreachable()), Some((Waiting, BrokerUnreachable))),
        (
            "F13 another cluster than before",
            earliest(),
            json!({ "observedUID": "u", "clusterID": "d" }),
            ready(),
            Some((Waiting, ClusterChanged)),
        ),
        (
            "K18 no such group",
            earliest(),
            known(),
            set(&|s| {
                let missing = Activity::Missing(Cause::new(PipelineNotFound, "no such group"));
                (s.activity, s.committed) = (Reading::Read(missing), Reading::Read(Committed::new()));
            }),
            Some((Failed, PipelineNotFound)),
        ),
        (
            "K27 a share group",
            earliest(),
            known(),
            set(&|s| s.activity = Reading::Read(Activity::Unsupported(Cause::new(GroupTypeNotSupported, "a share group")))),
            Some((Failed, GroupTypeNotSupported)),
        ),
        ("A01 members", earliest(), known(), set(&|s| s.activity = Reading::Read(active())), Some((Waiting, GroupActive))),
        (
            "A03 members, and Fail",
            ask(json!({ "whenActive": "Fail" })),
            known(),
            set(&|s| s.activity = Reading::Read(active())),
            Some((Failed, GroupActive)),
        ),
        (
            "A15 not quiet for long enough",
            earliest(),
            known(),
            set(&|s| s.quiet.since = Some(Duration::from_secs(9))),
            Some((Waiting, QuietPeriod)),
        ),
        (
            "A06 moving without members",
            earliest(),
            known(),
            set(&|s| s.quiet = Quiet { since: Some(Duration::ZERO), moved: Some(Duration::ZERO) }),
            Some((Waiting, OffsetsMoving)),
        ),
        (
            "A07 an open transaction",
            earliest(),
            known(),
            set(&|s| s.committed = Reading::Read(pending.clone())),
            Some((Waiting, TransactionOpen)),
        ),
        (
            "O36 another reset of the group is open",
            earliest(),
            known(),
            set(&|s| s.rivals = Reading::Read(vec!["n/other".to_owned()])),
            Some((Waiting, AnotherResetOpen)),
        ),
        (
            "O08 an older StreamPipeline names the group",
            earliest(),
            known(),
            set(&|s| s.elder = Some("n/other".to_owned())),
            Some((Waiting, DuplicateGroup)),
        ),
        (
            "K10 a topic that does not exist",
            earliest(),
            known(),
            set(&|s| s.topics = Reading::Read(BTreeMap::from([("t".to_owned(), None)]))),
            Some((Failed, PartitionNotFound)),
        ),
        ("A14 the deadline", earliest(), waiting, set(&|s| s.activity = Reading::Read(active())), Some((Failed, WaitTimedOut))),
        ("nothing new is started on the way out", earliest(), known(), set(&|s| s.draining = true), None),
        (
            "O20 sent by its status, and the record gone",
            earliest(),
            json!({ "observedUID": "u", "acknowledgedID": "r1", "offsetReset": { "id": "r1", "stage": "Sending" } }),
            ready(),
            Some((Stage::Held, RecordMissing)),
        ),
        (
            "O24 an id that ended before another one, and its record pruned",
            earliest(),
            json!({ "observedUID": "u", "acknowledgedID": "r2", "endedIDs": ["r1"], "offsetReset": { "id": "r2", "stage": "Verified" } }),
            ready(),
            Some((Skipped, AlreadyHandled)),
        ),
        (
            "O24 the same, as a dry run whose id is then to run",
            earliest(),
            json!({ "observedUID": "u", "acknowledgedID": "r1", "endedIDs": ["r1"], "offsetReset": { "id": "r1", "stage": "Planned" } }),
            ready(),
            Some((Skipped, AlreadyHandled)),
        ),
        (
            "O24 its record is not read: not gone",
            earliest(),
            json!({ "observedUID": "u", "acknowledgedID": "r2", "endedIDs": ["r1"], "offsetReset": { "id": "r2", "stage": "Verified" } }),
            set(&|s| s.record = unread_record()),
            None,
        ),
        (
            "O25 ended ids of another uid count as none",
            earliest(),
            json!({ "observedUID": "other", "endedIDs": ["r1"] }),
            ready(),
            Some((Skipped, SkippedAtCreation)),
        ),
        (
            "O01 verified before: kept",
            earliest(),
            json!({ "observedUID": "u", "acknowledgedID": "r1", "offsetReset": { "id": "r1", "stage": "Verified" } }),
            ready(),
            None,
        ),
        ("O06 nothing asked", Value::Null, known(), ready(), None),
    ];
    for (sentence, reset, status, seen, expected) in table {
        let decision = run(reset, status, &seen);
        assert_eq!(stands(&decision), expected, "{sentence}: {decision:?}");
        let plans = matches!(decision.step, Some(Step::WriteAhead { .. }));
        assert_eq!(plans, expected == Some((Waiting, PlanRecorded)), "{sentence}: {:?}", decision.step);
    }
}

#[test]
fn k21_a_log_that_cannot_be_read_is_61168_and_waits() {
    let mut seen = ready();
    seen.log = Reading::Unreadable(Cause::new(Reason::AverageRateUnavailable, "no leader for t-1"));
    let decision = run(earliest(), known(), &seen);
    assert_eq!(stands(&decision), Some((Stage::Waiting, Reason::AverageRateUnavailable)));
    assert_eq!(Reason::AverageRateUnavailable.code(), Some(61168));
}

#[test]
fn k30_a_look_up_that_contradicts_the_newest_record_is_not_believed() {
    let mut seen = ready();
    let log = Log { start: 0, end: 10, high_watermark: 10, newest: Some(now().wall.as_millisecond()), ..Log::default() };
    seen.log = Reading::Read(BTreeMap::from([(at(0), log), (at(1), log)]));
    let decision = run(json!({ "id": "r1", "to": { "timestamp": "2026-01-01T00:00:00Z" } }), known(), &seen);
    assert_eq!(stands(&decision), Some((Stage::Failed, Reason::LookupInconsistent)));
    assert!(decision.step.is_none());
}

#[test]
fn the_second_look_sends_only_what_is_still_as_planned() {
    let decision = run(earliest(), known(), &with(record(unsent(1)), &[7, 8]));
    assert!(matches!(&decision.step, Some(Step::Send { only, .. }) if only.len() == 2), "{:?}", decision.step);
    let moved = |change: &dyn Fn(&mut Observation)| {
        let mut seen = with(record(unsent(1)), &[7, 8]);
        change(&mut seen);
        run(earliest(), known(), &seen)
    };
    let other =
        BTreeMap::from([("t".to_owned(), Some(Topic { id: "another".to_owned(), partitions: BTreeMap::from([(0, true), (1, true)]) }))]);
    let unloads: Vec<(&str, Decision)> = vec![
        ("the window passed", run(earliest(), known(), &with(record(unsent(6)), &[7, 8]))),
        ("the group moved", moved(&|s| s.committed = Reading::Read(committed(&[7, 9])))),
        ("a commit vanished", moved(&|s| s.committed = Reading::Read(committed(&[7])))),
        ("a member joined", moved(&|s| s.activity = Reading::Read(active()))),
        ("the id changed meanwhile", moved(&|s| s.wanted = Reading::Read(false))),
        ("the API server does not say", moved(&|s| s.wanted = Reading::Unreadable(Cause::new(Reason::APIServerError, "no answer")))),
        ("two in doubt at once", moved(&|s| s.rivals = Reading::Read(vec!["n/x".to_owned()]))),
        ("another cluster", moved(&|s| s.identity = Reading::Read(cluster("d")))),
        (
            "the record is not as written",
            moved(&|s| s.record = Reading::Read(Some(record(PlanState::OursUnsent { loaded_at: now().mono, intact: false, dead: false })))),
        ),
        (
            "given up before",
            moved(&|s| s.record = Reading::Read(Some(record(PlanState::OursUnsent { loaded_at: now().mono, intact: true, dead: true })))),
        ),
    ];
    let anew = moved(&|s| s.topics = Reading::Read(other.clone()));
    assert_eq!(closes_as(&anew), Some((RecordPhase::Abandoned, Reason::TopicRecreated)), "K26");
    let mut skewed = record(unsent(1));
    skewed.object.spec.created_at = "2026-01-01T11:50:00Z".parse().unwrap();
    let skewed = run(earliest(), known(), &with(skewed, &[7, 8]));
    assert_eq!(closes_as(&skewed), Some((RecordPhase::Abandoned, Reason::ClockSkew)), "F22");
    for (sentence, decision) in unloads {
        assert!(matches!(decision.step, Some(Step::Unload)), "{sentence}: {:?}", decision.step);
    }
}

#[test]
fn an_answer_is_read_back_and_never_believed() {
    use Reason::{OffsetsMoved, PartlyApplied, ResetVerified};
    let closed = |state: PlanState, offsets: &[i64]| closes_as(&run(earliest(), known(), &with(record(state), offsets)));
    assert_eq!(closed(sent(&[], 1, 1), &[0, 0]), Some((RecordPhase::Verified, ResetVerified)));
    assert_eq!(closed(sent(&[], 1, 1), &[0, 3]), Some((RecordPhase::Held, OffsetsMoved)), "O12");
    let all_refused = run(earliest(), known(), &with(record(sent(&[(0, 25), (1, 25)], 1, 1)), &[7, 8]));
    assert!(matches!(all_refused.step, Some(Step::Unload)), "A10: {:?}", all_refused.step);
    let some = run(earliest(), known(), &with(record(sent(&[(1, 29)], 1, 1)), &[0, 8]));
    assert!(matches!(&some.step, Some(Step::Send { only, .. }) if only.iter().eq([&at(1)])), "O13: {:?}", some.step);
    assert_eq!(closed(sent(&[(1, 29)], 1, 3), &[0, 8]), Some((RecordPhase::Held, PartlyApplied)), "twice at most");
    assert_eq!(closed(sent(&[(1, 29)], 6, 1), &[0, 8]), Some((RecordPhase::Held, PartlyApplied)), "inside the window only");
    assert_eq!(closed(sent(&[(1, 29)], 1, 1), &[0, 9]), Some((RecordPhase::Held, PartlyApplied)), "only what stands as before");
}

#[test]
fn f18_a_commit_refused_on_8000_partitions_is_told_briefly() {
    let at = |partition| TopicPartition::new(&"t".repeat(20), partition);
    let log = Log { start: 0, end: 10, high_watermark: 10, ..Log::default() };
    let all = |offset: i64| -> Committed { (0..8000).map(|p| (at(p), Commit { offset, ..Commit::default() })).collect() };
    let topic = Topic { id: "topic-id".to_owned(), partitions: (0..8000).map(|p| (p, true)).collect() };
    let mut seen = ready();
    seen.topics = Reading::Read(BTreeMap::from([("t".repeat(20), Some(topic))]));
    seen.log = Reading::Read((0..8000).map(|p| (at(p), log)).collect());
    seen.committed = Reading::Read(all(7));
    let Some(Step::WriteAhead { plan, deadline, .. }) = run(earliest(), known(), &seen).step else { panic!("a plan is made") };
    let answer = Answer::Definite { refused: (1..8000).map(|p| (at(p), 29)).collect() };
    let state = PlanState::OursSent { loaded_at: now().mono - Duration::from_secs(1), tries: 3, answer };
    seen.record = Reading::Read(Some(RecordLook { object: bare_record(&plan, deadline), state, switches: Switches::default() }));
    let mut standing = all(7);
    standing.insert(at(0), Commit::default());
    seen.committed = Reading::Read(standing);
    let decision = run(earliest(), known(), &seen);
    let Some(Step::Close(status)) = &decision.step else { panic!("it is closed: {:?}", decision.step) };
    assert_eq!((status.phase, status.reason), (RecordPhase::Held, Reason::PartlyApplied));
    assert!(status.failures.len() == 100 && status.message.len() <= 1024, "{} failures, {:?}", status.failures.len(), status.message);
    assert_eq!(status.verification.as_ref().map(|v| (v.at_target, v.as_before, v.elsewhere)), Some((1, 7999, 0)));
    let Verdict::Request(told) = &decision.verdict else { panic!("the request is told of: {:?}", decision.verdict) };
    let said = &told.cause.message;
    assert!(said.len() < 8 * 1024 && said.contains("refused 7,999 partitions") && said.contains(" and 7987 more"), "{said}");
}

#[test]
fn a_plan_in_doubt_is_judged_by_looking_after_the_wait() {
    let doubt = timing().doubt();
    let aged = |age: Duration| record(PlanState::InDoubt { since: now().mono.checked_sub(age).unwrap() });
    let early = run(earliest(), known(), &with(aged(doubt - Duration::from_secs(1)), &[0, 0]));
    assert!(early.step.is_none() && early.recheck == Duration::from_secs(1), "{early:?}");
    let judged = |offsets: &[i64]| closes_as(&run(earliest(), known(), &with(aged(doubt), offsets)));
    assert_eq!(judged(&[0, 0]), Some((RecordPhase::Verified, Reason::ResetVerified)));
    assert_eq!(judged(&[7, 8]), Some((RecordPhase::Held, Reason::OutcomeUnknown)));
    assert_eq!(judged(&[0, 8]), Some((RecordPhase::Held, Reason::OutcomeUnknown)));
    assert_eq!(judged(&[0, 9]), Some((RecordPhase::Held, Reason::OffsetsMoved)));
}

#[test]
fn o19_retry_sends_what_is_left_once_and_is_never_unloaded() {
    let retry = json!({ "id": "r1", "to": { "position": "Earliest" }, "onUnknownOutcome": "Retry" });
    let held = |reason: Reason, attempt: i32| {
        let mut look = record(PlanState::Closed);
        look.object.spec.writer.as_mut().unwrap().attempt = attempt;
        let status = OffsetResetRecordStatus::new(RecordPhase::Held, reason, now().wall);
        look.object.status = Some(OffsetResetRecordStatus { attempt, ..status });
        look
    };
    let rearms = |look: RecordLook, offsets: &[i64]| matches!(run(retry.clone(), known(), &with(look, offsets)).step, Some(Step::Rearm));
    assert!(rearms(held(Reason::OutcomeUnknown, 1), &[0, 8]));
    assert!(!rearms(held(Reason::OutcomeUnknown, 1), &[0, 9]), "only from target or snapshot");
    assert!(!rearms(held(Reason::OutcomeUnknown, 2), &[0, 8]), "once");
    assert!(!rearms(held(Reason::OffsetsMoved, 1), &[0, 8]), "never for what is known to have moved");
    let mut second = record(unsent(1));
    second.object.spec.writer.as_mut().unwrap().attempt = 2;
    let decision = run(retry.clone(), known(), &with(second.clone(), &[0, 8]));
    assert!(matches!(&decision.step, Some(Step::Send { only, .. }) if only.iter().eq([&at(1)])), "{:?}", decision.step);
    assert_eq!(closes_as(&run(retry.clone(), known(), &with(second, &[0, 9]))), Some((RecordPhase::Held, Reason::OutcomeUnknown)));
}

#[test]
fn a_record_nobody_asks_for_is_never_sent() {
    let leftover = |state: PlanState| Observation {
        leftover: Some(Leftover {
            look: record(state),
            committed: Reading::Read(committed(&[7, 8])),
            activity: Reading::Unread,
            run_state: Reading::Unread,
        }),
        ..ready()
    };
    let asked = json!({ "id": "r2", "to": { "position": "Latest" } });
    for (state, unload) in [(unsent(1), true), (PlanState::Absent, false)] {
        let decision = run(asked.clone(), known(), &leftover(state));
        let expected = if unload {
            matches!(decision.step, Some(Step::Unload))
        } else {
            closes_as(&decision) == Some((RecordPhase::Abandoned, Reason::NoLongerRequested))
        };
        assert!(expected, "O05: {:?}", decision.step);
        assert_eq!(stands(&decision), Some((Stage::Waiting, Reason::AnotherResetOpen)));
    }
    // First seen along with a leftover: what would be skipped must not become accepted by waiting for it.
    let decision = run(asked, Value::Null, &leftover(unsent(1)));
    assert_eq!(stands(&decision), None);
}

#[test]
fn a_record_without_a_plan_is_given_up_where_the_status_says_that_it_ended() {
    for stage in ["Verified", "Held", "Failed", "Skipped"] {
        let told = json!({ "observedUID": "u", "acknowledgedID": "r1", "offsetReset": { "id": "r1", "stage": stage } });
        let seen = Observation { record: Reading::Read(Some(record(PlanState::Absent))), ..ready() };
        let decision = run(earliest(), told, &seen);
        assert_eq!(closes_as(&decision), Some((RecordPhase::Abandoned, Reason::NoLongerRequested)), "{stage}");
    }
}

#[test]
fn o02_o30_records_of_other_objects_and_restored_ones_are_only_closed() {
    let mut other = record(PlanState::InDoubt { since: now().mono - timing().doubt() });
    other.object.spec.pipeline.uid = "older".to_owned();
    assert_eq!(closes_as(&run(earliest(), Value::Null, &with(other.clone(), &[7, 8]))), Some((RecordPhase::Held, Reason::OutcomeUnknown)));
    other.object.spec.created_at = "2026-01-01T11:00:00Z".parse().unwrap();
    assert_eq!(closes_as(&run(earliest(), Value::Null, &with(other, &[7, 8]))), Some((RecordPhase::Abandoned, Reason::Restored)));
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is asked of whatever log: each target lies in it, the totals add up, and the record gives back the plan.
        #[test]
        fn targets_lie_in_the_log(
            logs in prop::collection::vec((0i64..1000, 0i64..1000, prop::option::of(0i64..3000)), 1..20),
            shift in -2500i64..2500,
            kind in 0..3,
        ) {
            let to = match kind { 0 => json!({ "position": "Earliest" }), 1 => json!({ "position": "Latest" }), _ => json!({ "shiftBy": if shift == 0 { 1 } else { shift } }) };
            let mut seen = ready();
            let (mut commits, mut log, mut partitions) = (Committed::new(), BTreeMap::new(), BTreeMap::new());
            for (p, (start, length, commit)) in (0..).zip(&logs) {
                log.insert(at(p), Log { start: *start, end: start + length, high_watermark: start + length, ..Log::default() });
                partitions.insert(p, true);
                if let Some(offset) = commit {
                    commits.insert(at(p), Commit { offset: *offset, ..Commit::default() });
                }
            }
            prop_assume!(!commits.is_empty());
            seen.topics = Reading::Read(BTreeMap::from([("t".to_owned(), Some(Topic { id: "x".to_owned(), partitions }))]));
            seen.committed = Reading::Read(commits);
            seen.log = Reading::Read(log.clone());
            let policy = if kind == 2 { "Skip" } else { "Target" };
            let decision = run(json!({ "id": "r1", "to": to, "outOfRange": "Clamp", "noCommittedOffset": policy }), known(), &seen);
            let Some(Step::WriteAhead { plan, .. }) = decision.step else { panic!("a plan: {decision:?}") };
            prop_assert_eq!(&Plan::of_record(&plan.to_record()), &plan);
            let totals = plan.totals();
            prop_assert_eq!(totals.partitions + totals.left_alone, i64::try_from(logs.len()).unwrap());
            for (row, goal) in plan.moves() {
                let bounds = log[&row.at];
                prop_assert!((bounds.start..=bounds.end).contains(&goal.offset), "{:?} {:?}", row, bounds);
            }
            prop_assert!(totals.replayed >= 0 && totals.skipped >= 0 && totals.lag_after >= 0);
        }

        /// No text a platform or a person gives makes a message too long or breaks it.
        #[test]
        fn words_are_cut_clean(text in any::<String>(), limit in 3usize..200) {
            let cut = crate::domain::words::cut(&text, limit);
            prop_assert!(cut.len() <= limit.max(3) && !cut.contains(crate::domain::words::is_unseen));
        }
    }
}
