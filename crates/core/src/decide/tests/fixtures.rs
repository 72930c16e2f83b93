//! An Empty group of which everything can be read, and short names for what is decided about it. Shared by the tests of `decide` and those
//! that ask it about what a platform really says.

pub use std::collections::BTreeMap;
pub use std::time::{Duration, Instant};

pub use jiff::Timestamp;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
pub use serde_json::{Value, json};

pub use stream_pipeline_api::{
    BackendIdentity, OffsetResetRecord, OffsetResetRecordSpec, OffsetResetRecordStatus, Phase, PipelineRef, Reason, RecordPhase,
    RunStateBefore, StreamPipeline, Writer,
};
pub use stream_pipeline_core::decide::decide;
pub use stream_pipeline_core::{
    Activity, Cause, Commit, Committed, Decision, Desired, LogBounds, Now, Observation, Observed, OlderPipeline, Plan, PlanState,
    PriorStatus, Quiet, RecordView, Report, RunState, RunStateCalls, SendOutcome, Step, SupersededRecord, Timing, Topic, TopicPartition,
};

pub fn timing() -> Timing {
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
pub fn now() -> Now {
    Now { mono: *BEGINNING + Duration::from_secs(60), wall: "2026-01-01T12:00:00Z".parse().unwrap() }
}

pub static BEGINNING: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

pub fn pipeline(reset: Value, status: Value) -> StreamPipeline {
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

pub fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

/// Commits 7 and 8 on a topic whose logs are 0 to 10.
pub fn committed(offsets: &[i64]) -> Committed {
    (0..).zip(offsets).map(|(p, offset)| (at(p), Commit { offset: *offset, ..Commit::default() })).collect()
}

pub fn topics() -> BTreeMap<String, Option<Topic>> {
    BTreeMap::from([("t".to_owned(), Some(Topic { id: "topic-id".to_owned(), partitions: BTreeMap::from([(0, true), (1, true)]) }))])
}

/// An Empty, quiet group and everything readable.
pub fn ready() -> Observation {
    let log = LogBounds { start: 0, end: 10, high_watermark: 10, ..LogBounds::default() };
    Observation {
        identity: Observed::Read(cluster("c")),
        activity: Observed::Read(Activity::Inactive(Phase::Stopped, "Empty".to_owned())),
        committed: Observed::Read(committed(&[7, 8])),
        quiet: Quiet { since: Some(Duration::from_secs(11)), moved: None },
        topics: Observed::Read(topics()),
        log: Observed::Read(BTreeMap::from([(at(0), log), (at(1), log)])),
        record: Observed::Read(None),
        conflicting_records: Observed::Read(vec![]),
        wanted: Observed::Read(true),
        ..Observation::default()
    }
}

pub fn cluster(id: &str) -> BackendIdentity {
    BackendIdentity::Kafka { cluster_id: id.to_owned(), consumer_group: "g".to_owned() }
}

pub fn pipeline_on_enos() -> BackendIdentity {
    BackendIdentity::Enos { org_id: "o1".to_owned(), pipeline_id: "id".to_owned() }
}

/// A pipeline of EnOS that ran before, all of it readable.
pub fn seen_on_enos(run_state: Observed<RunState>, activity: Observed<Activity>, record: Option<RecordView>) -> Observation {
    Observation {
        identity: Observed::Read(pipeline_on_enos()),
        activity,
        run_state,
        before: Observed::Read(RunStateBefore { running: true, ..RunStateBefore::default() }),
        committed: Observed::Read(Committed::new()),
        topics: Observed::Read(BTreeMap::new()),
        record: Observed::Read(record),
        conflicting_records: Observed::Read(vec![]),
        wanted: Observed::Read(true),
        needing_resume: Observed::Read(vec![]),
        ..Observation::default()
    }
}

pub fn active() -> Activity {
    Activity::Active(Cause::new(Reason::GroupActive, "2 members: turbine-1 (10.0.3.7), turbine-2 (10.0.3.7)"))
}

pub fn known() -> Value {
    json!({ "observedUID": "u", "observedGeneration": 1 })
}

pub fn earliest() -> Value {
    json!({ "id": "r1", "to": { "position": "Earliest" } })
}

pub fn run(reset: Value, status: Value, seen: &Observation) -> Decision {
    let object = pipeline(reset, status);
    decide(&Desired::of(&object, crate::facts_of, now().wall).unwrap(), &PriorStatus::of(&object), seen, &timing(), now())
}

/// The recorded plan that `ready` leads to, in this state.
pub fn record(state: PlanState) -> RecordView {
    let Some(Step::WriteAhead { plan, deadline, .. }) = run(earliest(), known(), &ready()).step else { panic!("a plan is made") };
    let mut look = RecordView::new(bare_record(&plan, deadline), state, RunStateCalls::default());
    if matches!(look.state, PlanState::Absent) {
        (look.object.spec.plan, look.object.spec.writer) = (None, None);
    }
    look
}

pub fn bare_record(plan: &Plan, deadline: Timestamp) -> OffsetResetRecord {
    let request = *pipeline(earliest(), Value::Null).spec.offset_reset.unwrap();
    let metadata = ObjectMeta { name: Some("p-1".to_owned()), creation_timestamp: Some(Time(now().wall)), ..ObjectMeta::default() };
    let spec = OffsetResetRecordSpec {
        pipeline: PipelineRef { name: "p".to_owned(), uid: "u".to_owned() },
        request,
        target: String::new(),
        backend: cluster("c"),
        run_state_before: None,
        created_at: now().wall,
        deadline,
        writer: Some(Writer { incarnation: "i".to_owned(), number: 1, attempt: 1, chunk: 1 }),
        plan: Some(plan.to_record()),
    };
    OffsetResetRecord { metadata, spec, status: None }
}

pub fn unsent(age: u64) -> PlanState {
    PlanState::OursUnsent { loaded_at: now().mono - Duration::from_secs(age), intact: true, dead: false }
}

pub fn sent(refused: &[(i32, i32)], age: u64, tries: u32) -> PlanState {
    let refused = refused.iter().map(|(partition, code)| (at(*partition), *code)).collect();
    PlanState::OursSent { loaded_at: now().mono - Duration::from_secs(age), tries, answer: SendOutcome::Answered { refused } }
}

pub fn with(look: RecordView, offsets: &[i64]) -> Observation {
    Observation { record: Observed::Read(Some(look)), committed: Observed::Read(committed(offsets)), ..ready() }
}

/// The status with which the operator closes this record, for the plan that the record holds.
pub fn closing(look: &RecordView, phase: RecordPhase, reason: Reason, attempt: i32) -> OffsetResetRecordStatus {
    let plan_digest = look.object.spec.plan.as_ref().map(|plan| plan.digest());
    OffsetResetRecordStatus { attempt, plan_digest, ..OffsetResetRecordStatus::new(phase, reason, now().wall) }
}
