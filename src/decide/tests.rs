//! What is decided, sentence by sentence. No server: the real `decide` on made-up observations.

mod chunks;
mod examples;
mod lookups;
mod messages;
mod numbers;
mod once;
mod outdated;
mod records;
mod requests;
mod run_state;
mod taken_away;

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
    Activity, Answer, Cause, Commit, Committed, Decision, Desired, Elder, Leftover, Log, Now, Observation, Plan, PlanState, Progress,
    Quiet, Reading, RecordLook, Step, Switches, Timing, Topic, TopicPartition, Verdict,
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
        Verdict::Keep | Verdict::Stays { .. } | Verdict::Nothing | Verdict::Owes(_) | Verdict::LeftPaused(_) => None,
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

/// As the operator closes it: with what stands for the plan that is there.
fn closing(look: &RecordLook, phase: RecordPhase, reason: Reason, attempt: i32) -> OffsetResetRecordStatus {
    let plan_digest = look.object.spec.plan.as_ref().map(|plan| plan.digest());
    OffsetResetRecordStatus { attempt, plan_digest, ..OffsetResetRecordStatus::new(phase, reason, now().wall) }
}

fn closes_as(decision: &Decision) -> Option<(RecordPhase, Reason)> {
    match &decision.step {
        Some(Step::Close(status)) => Some((status.phase, status.reason)),
        _ => None,
    }
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
