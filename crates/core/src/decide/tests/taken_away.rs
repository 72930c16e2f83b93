//! Whatever is taken away at whichever step, a pipeline that was stopped for a reset runs again, or a person is told what to do: each way
//! to the platform, each right, each CRD, in each state of the record, for each way out.

use super::*;
use crate::{Outdated, RunState, RunStateCall};
use stream_pipeline_api::{FINALIZER, RunStateBefore, ScaledWorkload};

/// What is taken away, and the reason with which that shows.
const GONE: [(&str, Reason); 10] = [
    ("Secret", Reason::SecretNotFound),
    ("CA ConfigMap", Reason::SecretNotFound),
    ("password", Reason::AuthenticationFailed),
    ("broker", Reason::BrokerUnreachable),
    ("DNS name", Reason::BrokerUnreachable),
    ("allow-list after a restart", Reason::EndpointNotAllowed),
    ("ACL", Reason::PermissionMissing),
    ("topic", Reason::PartitionNotFound),
    ("CRD version", Reason::CRDOutdated),
    ("rights on the workload", Reason::PermissionMissing),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    BeforePlan,
    PlanRecorded,
    InDoubt,
    Held,
    ToBeBroughtBack,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum WayOut {
    Deadline,
    IdRemoved,
    Deleted,
}

#[derive(Debug, PartialEq)]
enum Outcome {
    BroughtBack,
    /// Kept stopped until a person acts, as for any held request.
    Held(String),
    /// Not brought back, with this message.
    Told(String),
}

/// A pipeline whose Deployment of two the operator has scaled to 0.
struct World {
    gone: (&'static str, Reason),
    way_out: WayOut,
    look: RecordView,
    up: bool,
    seconds: u64,
}

impl World {
    fn new(gone: (&'static str, Reason), when: When, way_out: WayOut) -> Self {
        let mut look = record(match when {
            When::BeforePlan => PlanState::Absent,
            When::PlanRecorded => PlanState::OursUnsent { loaded_at: now().mono, intact: true, dead: false },
            When::InDoubt => PlanState::InDoubt { since: now().mono },
            When::Held | When::ToBeBroughtBack => PlanState::Closed,
        });
        let scaled = ScaledWorkload { api_version: "apps/v1".to_owned(), kind: "Deployment".to_owned(), name: "d".to_owned(), replicas: 2 };
        look.object.spec.run_state_before = Some(RunStateBefore { running: true, workloads: vec![scaled], ..RunStateBefore::default() });
        look.object.spec.request = *pipeline(asked(), Value::Null).spec.offset_reset.unwrap();
        look.object.spec.deadline = now().wall + jiff::SignedDuration::from_secs(300);
        let closed = |phase, reason| OffsetResetRecordStatus { attempt: 1, ..OffsetResetRecordStatus::new(phase, reason, now().wall) };
        look.object.status = match when {
            When::Held => Some(closed(RecordPhase::Held, Reason::OutcomeUnknown)),
            When::ToBeBroughtBack => Some(closed(RecordPhase::Verified, Reason::ResetVerified)),
            _ => None,
        };
        let stop = Some(RunStateCall { last: now().mono, tries: 1, under_way: false, failure: None });
        look.calls = RunStateCalls { first_seen: Some(now().mono), stop, was_down: true, ..RunStateCalls::default() };
        Self { gone, way_out, look, up: false, seconds: 0 }
    }

    fn cause(&self) -> Cause {
        Cause::new(self.gone.1, format!("{} is gone", self.gone.0))
    }

    /// What `observe` would read.
    fn seen(&self) -> Observation {
        let platform = matches!(self.gone.0, "Secret" | "CA ConfigMap" | "password" | "broker" | "DNS name" | "allow-list after a restart");
        let rights = self.gone.0 == "rights on the workload";
        fn or<T>(unreadable: bool, cause: Cause, value: T) -> Observed<T> {
            if unreadable { Observed::Unreadable(cause) } else { Observed::Read(value) }
        }
        let activity = if self.up { active() } else { Activity::Inactive(Phase::Stopped, "Empty".to_owned()) };
        let committed = or(platform || self.gone.0 == "ACL", self.cause(), committed(&[7, 8]));
        let run_state = or(rights, self.cause(), if self.up { RunState::Running } else { RunState::Stopped });
        let reads_run_state = matches!(self.look.state, PlanState::Absent | PlanState::Closed);
        let mut seen = Observation {
            identity: or(platform, self.cause(), cluster("c")),
            needing_resume: Observed::Read(self.look.needs_resume().then(|| "p-1".to_owned()).into_iter().collect()),
            outdated: (self.gone.0 == "CRD version").then(|| Outdated { cause: self.cause(), asked: false }),
            ..ready()
        };
        if self.gone.0 == "topic" {
            seen.topics = Observed::Read(BTreeMap::from([("t".to_owned(), None)]));
        }
        if self.way_out == WayOut::Deadline {
            let early = platform && matches!(self.look.state, PlanState::Absent);
            seen.activity = if early { Observed::Unread } else { or(platform || rights || self.gone.0 == "ACL", self.cause(), activity) };
            seen.run_state = if reads_run_state && !early { run_state } else { Observed::Unread };
            (seen.committed, seen.record) = (committed, Observed::Read(Some(self.look.clone())));
            return seen;
        }
        let judged = matches!(self.look.state, PlanState::InDoubt { .. });
        let superseded = SupersededRecord {
            record: self.look.clone(),
            committed: if judged { committed } else { Observed::Unread },
            activity: Observed::Unread,
            run_state: if reads_run_state { run_state } else { Observed::Unread },
        };
        Observation { needing_resume: seen.needing_resume, outdated: seen.outdated, superseded: Some(superseded), ..Observation::default() }
    }

    fn object(&self) -> StreamPipeline {
        let stage = if self.look.object.status.as_ref().is_some_and(|s| s.phase == RecordPhase::Held) { "Held" } else { "Sending" };
        let status = json!({
            "observedUID": "u", "observedGeneration": 2, "acknowledgedID": "r1",
            "offsetReset": { "id": "r1", "stage": stage, "pausedByOperator": now().wall.to_string() }
        });
        let reset = if self.way_out == WayOut::Deadline { asked() } else { Value::Null };
        let mut object = pipeline(reset, status);
        object.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
        if self.way_out == WayOut::Deleted {
            object.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now().wall));
        }
        object
    }

    fn play(mut self) -> Outcome {
        let mut told = String::new();
        while self.seconds < 1_000 {
            let (passed, object) = (Duration::from_secs(self.seconds), self.object());
            let now = Now { mono: now().mono + passed, wall: now().wall + passed };
            let decision =
                decide(&Desired::of(&object, crate::facts_of, now.wall).unwrap(), &PriorStatus::of(&object), &self.seen(), &timing(), now);
            match &decision.report {
                Report::LeftPaused(cause) => return Outcome::Told(cause.message.clone()),
                Report::Outstanding(cause) => told.clone_from(&cause.message),
                Report::Request(ending) => told.clone_from(&ending.owed.as_ref().unwrap_or(&ending.cause).message),
                Report::Unchanged | Report::Settled { .. } | Report::NotRequested => {}
            }
            match decision.step {
                Some(Step::Close(status)) => (self.look.object.status, self.look.state) = (Some(status), PlanState::Closed),
                Some(Step::DropPlan) => {
                    (self.look.object.spec.plan, self.look.object.spec.writer, self.look.state) = (None, None, PlanState::Absent);
                }
                Some(Step::Resume) => {
                    self.up = true;
                    self.look.calls.start = Some(RunStateCall { last: now.mono, tries: 1, under_way: false, failure: None });
                }
                Some(Step::MarkResumed) => {
                    return if self.up { Outcome::BroughtBack } else { Outcome::Told("noted while down".to_owned()) };
                }
                // Only what is taken away keeps it from being reset.
                Some(Step::Send { .. } | Step::WriteAhead { .. }) => return Outcome::Told("it is reset".to_owned()),
                Some(step) => return Outcome::Told(format!("{step:?}")),
                None => self.seconds += decision.recheck.as_secs().clamp(1, 30),
            }
            if self.look.object.status.as_ref().is_some_and(|s| s.phase == RecordPhase::Held) && self.way_out == WayOut::Deadline {
                return Outcome::Held(self.look.object.status.map(|s| s.message).unwrap_or_default());
            }
        }
        Outcome::Told(told)
    }
}

fn asked() -> Value {
    json!({ "id": "r1", "to": { "position": "Earliest" }, "whenActive": "Pause", "waitTimeout": "5m" })
}

fn with_workload(mut object: StreamPipeline) -> StreamPipeline {
    let workloads = json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "d" }]);
    object.spec.kafka.as_mut().unwrap().workloads = serde_json::from_value(workloads).unwrap();
    object
}

#[test]
fn whatever_is_taken_away_at_whichever_step_of_a_pause_it_is_brought_back_or_told() {
    let mut cells = 0;
    for gone in GONE {
        for when in [When::BeforePlan, When::PlanRecorded, When::InDoubt, When::Held, When::ToBeBroughtBack] {
            for way_out in [WayOut::Deadline, WayOut::IdRemoved, WayOut::Deleted] {
                let cell = format!("{} is gone, {when:?}, {way_out:?}", gone.0);
                let outcome = World::new(gone, when, way_out).play();
                cells += 1;
                match (way_out, when, gone.0) {
                    // A person decides, as always: what was taken away changes nothing about that.
                    (WayOut::Deadline, When::Held | When::InDoubt, _) => {
                        let Outcome::Held(message) = &outcome else { panic!("{cell}: {outcome:?}") };
                        assert!(when == When::Held || message.contains("Nothing more is sent"), "{cell}: {message}");
                    }
                    (_, _, "rights on the workload") => {
                        let Outcome::Told(message) = &outcome else { panic!("{cell}: {outcome:?}") };
                        for part in ["rights on the workload is gone", "scale it by hand: Deployment d to 2"] {
                            assert!(message.contains(part), "{cell}: {message}");
                        }
                    }
                    // Only a topic is gone and nothing was planned: the request is told so and ends at once.
                    _ => assert_eq!(outcome, Outcome::BroughtBack, "{cell}"),
                }
            }
        }
    }
    assert_eq!(cells, 150);
}

#[test]
fn a_person_who_removes_the_id_is_told_that_it_is_still_stopped_and_why() {
    let world = World::new(GONE[9], When::Held, WayOut::IdRemoved);
    let object = world.object();
    let decision =
        decide(&Desired::of(&object, crate::facts_of, now().wall).unwrap(), &PriorStatus::of(&object), &world.seen(), &timing(), now());
    let Report::Outstanding(cause) = &decision.report else { panic!("{decision:?}") };
    for part in ["request r1 is not asked for any more", "still keeps its pipeline stopped", "p-1", "to be started again"] {
        assert!(cause.message.contains(part), "{}", cause.message);
    }
}

#[test]
fn one_that_comes_after_the_deadline_of_a_deleted_object_tries_once_before_it_lets_go() {
    let mut world = World::new(GONE[0], When::ToBeBroughtBack, WayOut::Deleted);
    // The operator was down for longer than the deadline.
    world.seconds = 900;
    world.look.calls = RunStateCalls { first_seen: Some(now().mono + Duration::from_secs(900)), ..RunStateCalls::default() };
    assert_eq!(world.play(), Outcome::BroughtBack);
}

/// Two groups whose consumers run in one Deployment.
#[test]
fn what_another_reset_keeps_stopped_is_waited_for_by_name_and_not_called_overridden() {
    let held = || Observed::Read(vec!["Deployment d (record q-1 of StreamPipeline q)".to_owned()]);
    let before = Observed::Read(RunStateBefore { running: true, ..RunStateBefore::default() });
    let ask = json!({ "id": "r1", "to": { "position": "Earliest" }, "whenActive": "Pause" });
    let mut object = with_workload(pipeline(ask, known()));
    object.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    let decided = |seen: &Observation| {
        decide(&Desired::of(&object, crate::facts_of, now().wall).unwrap(), &PriorStatus::of(&object), seen, &timing(), now())
    };
    let running = || Observation { activity: Observed::Read(active()), before: before.clone(), ..ready() };
    assert!(matches!(decided(&running()).step, Some(Step::RecordPause { .. })), "nobody else keeps it");
    assert!(matches!(decided(&ready()).step, Some(Step::WriteAhead { .. })), "nobody else keeps it");
    let mut recorded = World::new(GONE[0], When::BeforePlan, WayOut::Deadline).look;
    recorded.calls = RunStateCalls { first_seen: Some(now().mono), ..RunStateCalls::default() };
    let stopping = Observation { record: Observed::Read(Some(recorded)), run_state: Observed::Read(RunState::Running), ..running() };
    assert!(matches!(decided(&stopping).step, Some(Step::Stop)), "nobody else keeps it: {:?}", decided(&stopping));
    for seen in [running(), ready(), stopping] {
        let decision = decided(&Observation { shared_workloads: held(), ..seen });
        assert_eq!((stands(&decision), decision.step.is_none()), (Some((Stage::Waiting, Reason::AnotherResetOpen)), true));
        let Report::Request(ending) = &decision.report else { panic!("{decision:?}") };
        assert!(ending.cause.message.contains("Deployment d (record q-1 of StreamPipeline q)"), "{}", ending.cause.message);
    }
}

/// Promise 10 holds also for a recreated object: it starts the pipeline that an earlier object of its name left stopped.
#[test]
fn an_object_made_anew_without_a_request_starts_what_an_earlier_one_left_stopped() {
    let mut world = World::new(GONE[0], When::ToBeBroughtBack, WayOut::IdRemoved);
    world.look.object.spec.pipeline.uid = "an earlier one".to_owned();
    assert_eq!(world.play(), Outcome::BroughtBack);
}
