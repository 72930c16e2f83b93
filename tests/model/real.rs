//! The real `decide`, asked with what a process of the model sees. Answers are kept: the same question is asked often.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ObjectMeta;
use serde_json::{Value, json};
use stream_pipeline_api::{
    BackendIdentity, OffsetResetRecord, OffsetResetRecordSpec, OffsetResetRecordStatus, Phase, PipelineRef, Reason, RecordPhase,
    StreamPipeline, TargetReason, Writer,
};
use stream_pipeline_core::decide::decide;
use stream_pipeline_core::{
    self, Activity, Aim, Cause, Commit, Committed, Desired, LogBounds, Now, Observation, Observed, PartitionPlan, Plan, PriorStatus,
    RecordView, RunStateCalls, Step, SupersededRecord, Timing, Topic, TopicPartition,
};

use crate::world::{Answer, BEFORE, END, Offsets, Parts, Pipeline, PlanState, Record, START, Word, target};

/// The waits in ticks; a tick is a second to the real code.
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

    /// A commit lives on no longer. One more than deadline and late bound: a tick stands for all that is before the next one,
    /// so what is sent in the last tick of the window may be sent at its very end.
    pub fn life(self) -> u8 {
        2 * self.deadline + self.late + 1
    }
}

/// What a pass knows when it decides.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sight {
    pub pipeline: Pipeline,
    pub name: u8,
    pub subject: Option<(u8, Record, PlanState)>,
    /// The subject is of an earlier request of the pipeline.
    pub superseded: bool,
    pub group: Option<(Offsets, bool)>,
    pub alone: Option<bool>,
    pub wanted: Option<bool>,
}

/// The step, as the model performs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    Nothing,
    WriteAhead(Offsets),
    Send(Parts),
    Unload,
    Close(Word),
    Rearm,
}

pub struct Mind {
    ticks: Ticks,
    pub partitions: usize,
    /// The pipelines are in namespaces of their own.
    pub apart: bool,
    known: HashMap<Sight, Act>,
}

static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Mind {
    pub fn new(ticks: Ticks, partitions: usize, apart: bool) -> Self {
        Self { ticks, partitions, apart, known: HashMap::new() }
    }

    pub fn decide(&mut self, sight: Sight) -> Act {
        if let Some(act) = self.known.get(&sight) {
            return *act;
        }
        let act = self.ask(&sight);
        self.known.insert(sight, act);
        act
    }

    fn ask(&self, sight: &Sight) -> Act {
        let object = pipeline(sight);
        let now = now();
        let desired = Desired::of(&object, stream_pipeline_operator::backend::facts, now.wall).expect("it has a backend");
        let decision = decide(&desired, &PriorStatus::of(&object), &self.observation(sight), &self.timing(), now);
        match decision.step {
            None => Act::Nothing,
            Some(Step::WriteAhead { plan, .. }) => Act::WriteAhead(self.snapshot(sight.pipeline.request, &plan)),
            Some(Step::Send { only, .. }) => Act::Send(only.iter().fold(0, |set, at| set | 1 << at.partition)),
            Some(Step::DropPlan) => Act::Unload,
            Some(Step::Close(status)) => Act::Close(match (status.phase, status.reason) {
                (RecordPhase::Verified, _) => Word::Verified,
                (RecordPhase::Held, Reason::OutcomeUnknown) => Word::OutcomeUnknown,
                (RecordPhase::Held, Reason::OffsetsMoved) => Word::OffsetsMoved,
                (RecordPhase::Held, Reason::PartlyApplied) => Word::PartlyApplied,
                (RecordPhase::Abandoned, _) => Word::Abandoned,
                other => panic!("a close the model does not know: {other:?}"),
            }),
            Some(Step::Retry) => Act::Rearm,
            Some(other) => panic!("a step the model does not know: {other:?}"),
        }
    }

    fn snapshot(&self, request: u8, plan: &Plan) -> Offsets {
        let mut from = [BEFORE; 2];
        for row in plan.changes() {
            assert_eq!(row.aim.offset(), Some(target(request).into()), "the target is what was asked for");
            from[row.at.partition as usize] = row.from.as_ref().map_or(0, |c| c.offset as u8);
        }
        assert_eq!(plan.changes().count(), self.partitions);
        from
    }

    fn timing(&self) -> Timing {
        let s = |n: u8| Duration::from_secs(n.into());
        let far = Duration::from_secs(10_000);
        Timing {
            send_window: s(self.ticks.window),
            call_deadline: s(self.ticks.deadline),
            late_bound: s(self.ticks.late),
            recheck_waiting: s(3),
            recheck_idle: s(30),
            max_backoff: s(60),
            list_interval: s(15),
            pause_warning: far,
            slow_stop: far,
            finalizer_deadline: far,
            // One chunk: what a plan of several adds is judged by the same rows.
            chunk_size: usize::MAX,
        }
    }

    fn observation(&self, sight: &Sight) -> Observation {
        let log = LogBounds { start: START.into(), end: END.into(), high_watermark: END.into(), ..LogBounds::default() };
        let all: Vec<_> = (0..self.partitions).map(at).collect();
        let topic = Topic { id: "topic-id".to_owned(), partitions: (0..self.partitions as i32).map(|p| (p, true)).collect() };
        let committed = self.committed(sight);
        let look = sight.subject.map(|(request, record, state)| self.look(request, &record, state));
        let mut seen = Observation {
            identity: Observed::Read(cluster()),
            activity: sight.group.map_or(Observed::Unread, |(_, member)| Observed::Read(activity(member))),
            committed: committed.clone(),
            topics: Observed::Read(BTreeMap::from([("t".to_owned(), Some(topic))])),
            log: Observed::Read(all.into_iter().map(|at| (at, log)).collect()),
            conflicting_records: sight
                .alone
                .map_or(Observed::Unread, |a| Observed::Read(if a { vec![] } else { vec!["n/other".to_owned()] })),
            wanted: sight.wanted.map_or(Observed::Unread, Observed::Read),
            ..Observation::default()
        };
        if let (true, Some(look)) = (sight.superseded, look.clone()) {
            seen.superseded = Some(SupersededRecord { record: look, committed, activity: Observed::Unread, run_state: Observed::Unread });
        } else if sight.pipeline.request != 0 {
            seen.record = Observed::Read(look);
        }
        seen
    }

    fn committed(&self, sight: &Sight) -> Observed<Committed> {
        let of = |offsets: Offsets| (0..self.partitions).map(|p| (at(p), commit(offsets[p]))).collect();
        sight.group.map_or(Observed::Unread, |(offsets, _)| Observed::Read(of(offsets)))
    }

    fn look(&self, request: u8, record: &Record, state: PlanState) -> RecordView {
        let ago = |age: u8| now().mono.checked_sub(Duration::from_secs(age.into())).expect("after the beginning");
        let state = match state {
            PlanState::Absent => stream_pipeline_core::PlanState::Absent,
            PlanState::Closed => stream_pipeline_core::PlanState::Closed,
            PlanState::Unsent { age, dead } => stream_pipeline_core::PlanState::OursUnsent { loaded_at: ago(age), intact: true, dead },
            PlanState::InDoubt(age) => stream_pipeline_core::PlanState::InDoubt { since: ago(age) },
            PlanState::Sent { age, tries, answer } => {
                let answer = match answer {
                    Answer::Refused(parts) => stream_pipeline_core::SendOutcome::Answered {
                        refused: (0..self.partitions).filter(|p| parts & 1 << p != 0).map(|p| (at(p), 25)).collect(),
                    },
                    Answer::None(age) => stream_pipeline_core::SendOutcome::Unanswered {
                        ended: ago(age),
                        cause: Cause::new(Reason::OutcomeUnknown, "no answer"),
                    },
                };
                stream_pipeline_core::PlanState::OursSent { loaded_at: ago(age), tries: tries.into(), answer }
            }
        };
        RecordView::new(self.object(request, record), state, RunStateCalls::default())
    }

    fn object(&self, request: u8, record: &Record) -> OffsetResetRecord {
        let asked = Sight {
            pipeline: Pipeline { exists: true, uid: record.uid, request, retry: false },
            name: record.pipeline,
            subject: None,
            superseded: false,
            group: None,
            alone: None,
            wanted: None,
        };
        let plan = record.plan.map(|from| Plan {
            rows: (0..self.partitions)
                .map(|p| PartitionPlan {
                    at: at(p),
                    from: Some(commit(from[p])),
                    aim: Aim::commit(target(request).into(), None),
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
        let writer = record.plan.map(|_| Writer {
            incarnation: "i".to_owned(),
            number: record.writer.into(),
            attempt: record.attempt.into(),
            chunk: 1,
        });
        let status = record.closed.map(|closed| {
            let (phase, reason) = match closed.word {
                Word::Verified => (RecordPhase::Verified, Reason::ResetVerified),
                Word::OutcomeUnknown => (RecordPhase::Held, Reason::OutcomeUnknown),
                Word::OffsetsMoved => (RecordPhase::Held, Reason::OffsetsMoved),
                Word::PartlyApplied => (RecordPhase::Held, Reason::PartlyApplied),
                Word::Abandoned => (RecordPhase::Abandoned, Reason::NoLongerRequested),
            };
            let plan_digest = plan.as_ref().map(|p| p.to_record().digest());
            OffsetResetRecordStatus {
                attempt: closed.attempt.into(),
                plan_digest,
                ..OffsetResetRecordStatus::new(phase, reason, now().wall)
            }
        });
        let metadata =
            ObjectMeta { name: Some(format!("r{request}")), creation_timestamp: Some(Time(now().wall)), ..ObjectMeta::default() };
        let asking = pipeline(&asked);
        let spec = OffsetResetRecordSpec {
            pipeline: PipelineRef { name: format!("p{}", record.pipeline), uid: record.uid.to_string() },
            request: asking.spec.offset_reset.expect("it asks"),
            backend: cluster(),
            run_state_before: None,
            created_at: now().wall,
            deadline: "2026-01-02T12:00:00Z".parse().expect("a time"),
            writer,
            plan: plan.map(|p| p.to_record()),
        };
        OffsetResetRecord { metadata, spec, status }
    }
}

/// 2026-01-01T12:00:00Z, long after "the beginning".
fn now() -> Now {
    Now { mono: *BEGINNING + Duration::from_secs(1000), wall: "2026-01-01T12:00:00Z".parse().expect("a time") }
}

fn at(p: usize) -> TopicPartition {
    TopicPartition::new("t", p as i32)
}

fn commit(offset: u8) -> Commit {
    Commit { offset: offset.into(), ..Commit::default() }
}

fn cluster() -> BackendIdentity {
    BackendIdentity::Kafka { cluster_id: "c".to_owned(), consumer_group: "g".to_owned() }
}

fn activity(member: bool) -> Activity {
    if member {
        Activity::Active(Cause::new(Reason::GroupActive, "1 member"))
    } else {
        Activity::Inactive(Phase::Stopped, "Empty".to_owned())
    }
}

/// Its status is left out: it can only prevent, so that without one more is possible.
fn pipeline(sight: &Sight) -> StreamPipeline {
    let asked = sight.pipeline;
    let mut object = json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline",
        "metadata": { "name": format!("p{}", sight.name), "namespace": "n", "uid": asked.uid.to_string(), "generation": 1 },
        "spec": { "kafka": { "bootstrapServers": ["b:9092"], "consumerGroup": "g" } }
    });
    if asked.request != 0 {
        let position = if asked.request == 1 { "Earliest" } else { "Latest" };
        let mut reset =
            json!({ "id": format!("r{}", asked.request), "to": { "position": position }, "quietPeriod": "0s", "whenCreated": "Run" });
        if asked.retry {
            reset["onUnknownOutcome"] = Value::from("Retry");
        }
        object["spec"]["offsetReset"] = reset;
    }
    serde_json::from_value(object).expect("a StreamPipeline")
}
