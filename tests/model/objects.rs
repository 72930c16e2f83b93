//! Makes the objects of the real code from those of a world.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ObjectMeta;
use serde_json::{Value, json};
use stream_pipeline_api::{
    BackendIdentity, OffsetResetRecord, OffsetResetRecordSpec, OffsetResetRecordStatus, Phase, PipelineRef, Reason, RecordPhase,
    StreamPipeline, TargetReason, Writer,
};
use stream_pipeline_core::{
    Activity, Aim, Cause, Commit, Now, PartitionPlan, Plan, PlanState as RealState, RecordView, RunStateCalls, SendOutcome, Timing,
    TopicPartition,
};

use crate::mind::Setting;
use crate::world::{Answer, Closed, END, NONE, Pipeline, PlanState, Record, SETTLED, START, Word, target};

/// The waits in ticks; one tick is a second for the real code.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    pub window: u8,
    pub deadline: u8,
    pub late: u8,
}

impl Ticks {
    pub fn wait(self) -> u8 {
        self.window + 2 * self.deadline + self.late
    }

    /// A commit is lost after this many ticks. One more than deadline and late bound: a tick stands for all the time before the next one,
    /// so what is sent in the last tick of the window may be sent at its very end.
    pub fn life(self) -> u8 {
        2 * self.deadline + self.late + 1
    }
}

static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

pub fn timing(ticks: Ticks) -> Timing {
    let s = |n: u8| Duration::from_secs(n.into());
    let far = Duration::from_secs(10_000);
    Timing {
        send_window: s(ticks.window),
        call_deadline: s(ticks.deadline),
        late_bound: s(ticks.late),
        recheck_waiting: s(3),
        recheck_idle: s(30),
        max_backoff: s(60),
        list_interval: s(15),
        pause_warning: far,
        slow_stop: far,
        finalizer_deadline: far,
        // One chunk: a plan of several chunks is judged by the same code.
        chunk_size: usize::MAX,
    }
}

pub fn record_view(setting: &Setting, request: u8, record: &Record, state: PlanState) -> RecordView {
    let ago = |age: u8| now().mono.checked_sub(Duration::from_secs(age.into())).expect("after the beginning");
    let state = match state {
        PlanState::Absent => RealState::Absent,
        PlanState::Closed => RealState::Closed,
        PlanState::Unsent { age, dead } => RealState::OursUnsent { loaded_at: ago(age), intact: true, dead },
        PlanState::InDoubt(age) => RealState::InDoubt { since: ago(age) },
        PlanState::Sent { age, tries, answer } => {
            let answer = match answer {
                Answer::Refused(parts) => SendOutcome::Answered {
                    refused: (0..setting.partitions).filter(|p| parts & 1 << p != 0).map(|p| (at(p), 25)).collect(),
                },
                Answer::None(age) => SendOutcome::Unanswered { ended: ago(age), cause: Cause::new(Reason::OutcomeUnknown, "no answer") },
            };
            RealState::OursSent { loaded_at: ago(age), tries: tries.into(), answer }
        }
    };
    RecordView::new(object(setting, request, record), state, RunStateCalls::default())
}

fn object(setting: &Setting, request: u8, record: &Record) -> OffsetResetRecord {
    let asked = Pipeline { exists: true, uid: record.uid, request, retry: false, looked: false, age: SETTLED };
    let asking =
        pipeline(&Asking { name: record.pipeline, pipeline: asked, fails_when_active: setting.fails_when_active, undoes: setting.undoes });
    let plan = record.plan.map(|from| Plan {
        rows: (0..setting.partitions)
            .map(|p| PartitionPlan {
                at: at(p),
                from: commit(from[p]),
                aim: aim(target(request, p, setting.undoes)),
                found_time: None,
                log_start: START.into(),
                log_end: END.into(),
                high_watermark: END.into(),
                why: TargetReason::Target,
            })
            .collect(),
        topic_ids: BTreeMap::from([("t".to_owned(), "topic-id".to_owned())]),
        ..Plan::default()
    });
    let writer =
        record.plan.map(|_| Writer { incarnation: "i".to_owned(), number: record.writer.into(), attempt: record.attempt.into(), chunk: 1 });
    let status = record.closed.map(|closed| {
        let (phase, reason) = match closed.word {
            Word::Verified => (RecordPhase::Verified, Reason::ResetVerified),
            Word::OutcomeUnknown => (RecordPhase::Held, Reason::OutcomeUnknown),
            Word::OffsetsMoved => (RecordPhase::Held, Reason::OffsetsMoved),
            Word::PartlyApplied => (RecordPhase::Held, Reason::PartlyApplied),
            Word::Abandoned => (RecordPhase::Abandoned, Reason::NoLongerRequested),
        };
        let plan_digest = plan.as_ref().map(|p| p.to_record().digest());
        OffsetResetRecordStatus { attempt: closed.attempt.into(), plan_digest, ..OffsetResetRecordStatus::new(phase, reason, now().wall) }
    });
    let metadata = ObjectMeta { name: Some(format!("r{request}")), creation_timestamp: Some(Time(now().wall)), ..ObjectMeta::default() };
    let spec = OffsetResetRecordSpec {
        pipeline: PipelineRef { name: asking.metadata.name.unwrap_or_default(), uid: asking.metadata.uid.unwrap_or_default() },
        request: *asking.spec.offset_reset.expect("it asks"),
        target: String::new(),
        backend: cluster(),
        run_state_before: None,
        created_at: now().wall,
        deadline: "2026-01-02T12:00:00Z".parse().expect("a time"),
        writer,
        plan: plan.map(|p| p.to_record()),
    };
    OffsetResetRecord { metadata, spec, status }
}

pub fn request_of(record: &OffsetResetRecord) -> u8 {
    if record.spec.request.id == "r1" { 1 } else { 2 }
}

/// 2026-01-01T12:00:00Z, long after "the beginning".
pub fn now() -> Now {
    Now { mono: *BEGINNING + Duration::from_secs(1000), wall: "2026-01-01T12:00:00Z".parse().expect("a time") }
}

pub fn at(p: usize) -> TopicPartition {
    TopicPartition::new("t", p as i32)
}

pub fn commit(offset: u8) -> Option<Commit> {
    (offset != NONE).then(|| Commit { offset: offset.into(), ..Commit::default() })
}

pub fn aim(target: u8) -> Aim {
    if target == NONE { Aim::Delete } else { Aim::commit(target.into(), None) }
}

/// The record that an undo names: the group was where the undo puts it.
pub fn undone(setting: &Setting) -> OffsetResetRecord {
    let before = [START, NONE];
    let record = Record {
        pipeline: 0,
        uid: 0,
        plan: Some(before),
        writer: 9,
        attempt: 1,
        closed: Some(Closed { attempt: 1, word: Word::Verified }),
    };
    object(&Setting { undoes: false, ..*setting }, 2, &record)
}

pub fn cluster() -> BackendIdentity {
    BackendIdentity::Kafka { cluster_id: "c".to_owned(), consumer_group: "g".to_owned() }
}

pub fn activity(member: bool) -> Activity {
    if member {
        Activity::Active(Cause::new(Reason::GroupActive, "1 member"))
    } else {
        Activity::Inactive(Phase::Stopped, "Empty".to_owned())
    }
}

/// A StreamPipeline of a world, with what its spec says.
pub struct Asking {
    pub name: u8,
    pub pipeline: Pipeline,
    pub fails_when_active: bool,
    pub undoes: bool,
}

/// Its status says only that the group was read: anything more could only prevent something, so without it more is possible. Both pipelines
/// were created in the same second; one that is created again gets a later second.
pub fn pipeline(asking: &Asking) -> StreamPipeline {
    let Asking { name, pipeline: asked, fails_when_active, undoes } = asking;
    let uid = format!("{name}.{}", asked.uid);
    let ago = if asked.age < SETTLED { asked.age.into() } else { 60 - i64::from(asked.uid) };
    let made = now().wall - SignedDuration::from_secs(ago);
    let mut object = json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline",
        "metadata": {
            "name": format!("p{name}"), "namespace": "n", "uid": uid, "generation": 1, "creationTimestamp": made.to_string()
        },
        "spec": { "kafka": { "bootstrapServers": ["b:9092"], "consumerGroup": "g" } }
    });
    if asked.looked {
        object["status"] = json!({ "observedUID": uid, "clusterID": "c", "phase": "Stopped" });
    }
    if asked.request != 0 {
        let to = match asked.request {
            1 if *undoes => json!({ "undo": { "name": "old" } }),
            1 => json!({ "position": "Earliest" }),
            _ => json!({ "position": "Latest" }),
        };
        let mut reset = json!({ "id": format!("r{}", asked.request), "to": to, "quietPeriod": "0s", "whenCreated": "Run" });
        if asked.retry {
            reset["onUnknownOutcome"] = Value::from("Retry");
        }
        if *fails_when_active {
            reset["whenActive"] = Value::from("Fail");
        }
        object["spec"]["offsetReset"] = reset;
    }
    serde_json::from_value(object).expect("a StreamPipeline")
}
