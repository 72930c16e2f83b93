//! The protocol broken on purpose, one rule at a time: by what a process is given, never by changes to the product's code.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;
use stream_pipeline_api::{OffsetResetRecordStatus, Reason, RecordPhase, RecordedPlan, Stage};
use stream_pipeline_core::decide::decide as truly;
use stream_pipeline_core::{
    Activity, Aim, Commit, Decision, Observation, Observed, PartitionPlan, Plan, PlanState, RecordView, Report, RunState, SendOutcome,
    Step, SupersededRecord, Timing, Topic, TopicPartition,
};
use stream_pipeline_operator::context::Decide;
use stream_pipeline_operator::process_state::ProcessState;
use strum::EnumIter;

use crate::api_server::{Key, Reply, Request};
use crate::process::Process;
use crate::random::Random;
use crate::world::{Shared, World, lock};

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter)]
pub enum Break {
    /// A record exists only some time after its write was answered.
    SendBeforeTheRecord,
    /// After a restart a process still knows its plans.
    RestartedProcessSends,
    NoSecondLook,
    /// Whether the request is still wanted is not read.
    NotAskedAgain,
    /// Commits are deleted before the others are sent.
    DeletesFirst,
    /// The second look does not see where partitions are whose commits are deleted.
    DeletesWhatMoved,
    /// An undo leads one offset past where its record's reset started from.
    UndoesElsewhere,
    NoWaitBeforeJudging,
    NoSendWindow,
    TwoInDoubtAtOnce,
    NoReadBack,
    VersionsIgnored,
    RestoredRecordActedUpon,
    BroughtBackUnseen,
    /// The pipeline of a held request stays stopped even if nobody asks for the request any more.
    HeldAndForgotten,
    NoDeadline,
    JudgedByHope,
    UnloadedInDoubt,
    ToldBeforeItIsClosed,
    /// A commit that was given up stays in its old client and is sent when the broker is back.
    ClientOutlivesItsDeadline,
    /// If a client's process ended, it is taken to have sent nothing.
    DeadClientTakenForSilent,
    /// A close counts as done without a look at whether it was written.
    CloseTakenAsDone,
    RetryUnasked,
    /// The plan is not compared with the one that was announced.
    ExchangedPlanSentAgain,
    /// The next chunk is announced and sent whatever became of the one before.
    ChunkBeforeReadBack,
    RecreatedTopicTakenForTheSame,
    /// `whenCreated: Skip` is ignored.
    RunsAtCreation,
    /// An unclear answer of the platform is taken for a refusal.
    UnclearTakenForRefused,
    /// Reported as done because the platform accepted it, without comparing positions.
    SaidDoneUncompared,
    /// What other resets of the pipeline may have moved counts as moved by this one.
    OtherResetsUnseen,
}

fn broken(world: &Shared) -> Option<Break> {
    lock(world).breaks
}

pub fn incarnation(world: &Shared, name: char, life: u64) -> String {
    let life = if broken(world) == Some(Break::RestartedProcessSends) { 0 } else { life };
    let mut random: Random = lock(world).random.of("incarnation", life * 256 + u64::from(u32::from(name)));
    format!("{:016x}", random.next())
}

pub fn timing(world: &Shared, process: &Process) -> Timing {
    let timing = lock(world).timing;
    match broken(world) {
        Some(Break::NoWaitBeforeJudging) if process.life > 0 || process.name.starts_with('B') => {
            Timing { send_window: Duration::ZERO, call_deadline: Duration::from_secs(1), late_bound: Duration::ZERO, ..timing }
        }
        Some(Break::NoSendWindow) => Timing { send_window: Duration::from_secs(120), ..timing },
        _ => timing,
    }
}

/// What a process knows when it starts: nothing, unless that is the break.
pub fn remember(world: &Shared, process: &Process, process_state: &ProcessState) {
    if broken(world) != Some(Break::RestartedProcessSends) {
        return;
    }
    let now = stream_pipeline_operator::clock::mono();
    let world = lock(world);
    let last = world.api.all("offsetresetrecords").filter(|(_, o)| o["spec"]["writer"]["incarnation"] == process.incarnation.as_str());
    let Some((number, attempt, plan)) = last
        .filter_map(|(_, o)| {
            Some((o["spec"]["writer"]["number"].as_i64()?, o["spec"]["writer"]["attempt"].as_i64()?, o["spec"]["plan"].clone()))
        })
        .max_by_key(|(number, ..)| *number)
    else {
        return;
    };
    let Ok(plan) = serde_json::from_value::<RecordedPlan>(plan) else { return };
    for _ in 0..number {
        process_state.register_plan(i32::try_from(attempt).expect("one or two"), &plan, now);
    }
}

impl World {
    pub fn serve_broken(&mut self, process: &Process, request: &Request, now: Timestamp) -> Reply {
        let is_record = request.path.contains("offsetresetrecords");
        match self.breaks {
            Some(Break::VersionsIgnored) => self.api.ignores_versions = is_record,
            Some(Break::SendBeforeTheRecord) if is_record => return self.serve_early(process, request, now),
            _ => {}
        }
        self.api.serve(request, now)
    }

    /// Plans are written to a copy that only their writer sees, and that is lost with its process.
    fn serve_early(&mut self, process: &Process, request: &Request, now: Timestamp) -> Reply {
        let Some(key) = request.key() else { return self.api.serve(request, now) };
        let of = |key: &Key| ("early-".to_owned() + &process.incarnation, key.1.clone(), key.2.clone());
        let has_plan = request.is_write() && request.body["spec"]["plan"].is_object();
        if request.method == "POST" && has_plan && self.api.get(&key).is_none() {
            let (code, object) = self.api.create(of(&key), request.body.clone(), now);
            return (if code == 200 { 201 } else { code }, object);
        }
        if let Some(early) = self.api.get(&of(&key)).cloned() {
            if !request.is_write() {
                return (200, early);
            }
            // With its close the copy becomes the record.
            self.api.delete(&of(&key), now);
            self.api.create(key.clone(), early.clone(), now);
            let version = self.api.get(&key).map(|o| o["metadata"]["resourceVersion"].clone()).unwrap_or(Value::Null);
            let mut body = request.body.clone();
            body["metadata"]["resourceVersion"] = version;
            let request = Request {
                body,
                method: request.method.clone(),
                path: request.path.clone(),
                query: String::new(),
                accept: String::new(),
                called_at: request.called_at,
            };
            return self.api.serve(&request, now);
        }
        self.api.serve(request, now)
    }
}

pub fn decide(world: &Shared) -> Decide {
    let Some(broken) = broken(world) else { return Box::new(truly) };
    let closed = Mutex::new(BTreeMap::new());
    Box::new(move |desired, prior, seen, timing, now| {
        let (mut seen, mut prior, mut now) = (seen.clone(), prior.clone(), now);
        match broken {
            Break::NoDeadline => now.wall = Timestamp::UNIX_EPOCH,
            Break::RunsAtCreation => prior.seen_before = true,
            Break::CloseTakenAsDone => believe(&closed, &mut seen),
            _ => lie(broken, &mut seen),
        }
        let mut decision = truly(desired, &prior, &seen, timing, now);
        spoil(broken, &seen, &mut decision);
        if let (Some(Step::Close(status)), Some(record)) = (&decision.step, own(&mut seen)) {
            let writer = (record.object.metadata.uid.clone(), record.attempt());
            closed.lock().expect("no panic under this lock").insert(writer, status.clone());
        }
        decision
    })
}

type Closed = Mutex<BTreeMap<(Option<String>, i32), OffsetResetRecordStatus>>;

/// A record that was to be closed counts as closed.
fn believe(closed: &Closed, seen: &mut Observation) {
    let Some(record) = own(seen) else { return };
    let writer = (record.object.metadata.uid.clone(), record.attempt());
    if let Some(status) = closed.lock().expect("no panic under this lock").get(&writer) {
        record.object.status.get_or_insert_with(|| status.clone());
        record.state = PlanState::Closed;
    }
}

fn own(seen: &mut Observation) -> Option<&mut RecordView> {
    match &mut seen.record {
        Observed::Read(Some(record)) => Some(record),
        _ => None,
    }
}

fn as_before(plan: &Plan) -> stream_pipeline_core::Committed {
    plan.rows.iter().filter_map(|row| Some((row.at.clone(), row.from.clone()?))).collect()
}

/// The commit that would be there if the plan's row had been done.
fn there(row: &PartitionPlan) -> Option<(TopicPartition, Commit)> {
    let Aim::Commit(to) = row.aim.clone() else { return None };
    Some((row.at.clone(), Commit { offset: to.offset, leader_epoch: to.leader_epoch, metadata: to.metadata, pending: false }))
}

/// Changes what `decide` is told.
fn lie(broken: Break, seen: &mut Observation) {
    let record = own(seen).cloned();
    let (state, plan) = (record.as_ref().map(|r| r.state.clone()), record.as_ref().and_then(RecordView::plan));
    let unsent = matches!(state, Some(PlanState::OursUnsent { .. }));
    match broken {
        Break::NoSecondLook if unsent => {
            seen.committed = Observed::Read(as_before(plan.unwrap_or(&Plan::default())));
            seen.activity = Observed::Read(Activity::Inactive(stream_pipeline_api::Phase::Stopped, "Empty".to_owned()));
        }
        Break::DeletesWhatMoved if unsent => {
            if let (Observed::Read(committed), Some(plan)) = (&mut seen.committed, plan) {
                let before = |row: &PartitionPlan| Some((row.at.clone(), row.from.clone()?));
                committed.extend(plan.changes().filter(|row| row.aim == Aim::Delete).filter_map(before));
            }
        }
        Break::OtherResetsUnseen => seen.other_reset = Observed::Read(None),
        Break::NotAskedAgain if unsent => seen.wanted = Observed::Read(true),
        Break::ExchangedPlanSentAgain => {
            if let Some(record) = own(seen)
                && let (Some(plan), Some(status)) = (&record.object.spec.plan, &mut record.object.status)
            {
                status.plan_digest = Some(plan.digest());
            }
        }
        Break::TwoInDoubtAtOnce => seen.conflicting_records = Observed::Read(Vec::new()),
        Break::NoReadBack => {
            if let (Some(PlanState::OursSent { answer: SendOutcome::Answered { .. }, .. }), Some(plan)) = (state, plan) {
                seen.committed = Observed::Read(plan.changes().filter_map(there).collect());
            }
        }
        Break::RestoredRecordActedUpon => {
            if let Some(record) = own(seen) {
                record.object.metadata.creation_timestamp = Some(Time(record.object.spec.created_at));
            }
        }
        Break::ChunkBeforeReadBack if unsent => {
            if let (Observed::Read(committed), Some(plan), Some(record)) = (&mut seen.committed, plan, &record) {
                let before = plan.changes().take(plan.rows_before(record.chunk()));
                committed.extend(before.filter_map(there));
            }
        }
        Break::RecreatedTopicTakenForTheSame if unsent => {
            let topics = plan.map(|plan| plan.topic_ids.clone()).unwrap_or_default().into_iter();
            seen.topics = Observed::Read(topics.map(|(name, id)| (name, Some(Topic { id, partitions: BTreeMap::new() }))).collect());
        }
        Break::HeldAndForgotten => {
            let held = |left: &mut SupersededRecord| left.record.object.status.as_ref().is_some_and(|s| s.phase == RecordPhase::Held);
            seen.superseded.take_if(held);
        }
        Break::BroughtBackUnseen if matches!(state, Some(PlanState::Closed)) && matches!(seen.run_state, Observed::Read(_)) => {
            seen.run_state = Observed::Read(RunState::ChangedExternally("up".to_owned()));
        }
        _ => {}
    }
}

/// Changes what was decided.
fn spoil(broken: Break, seen: &Observation, decision: &mut Decision) {
    match (broken, &mut decision.step) {
        (Break::JudgedByHope, Some(Step::Close(status))) if status.phase == RecordPhase::Held => {
            (status.phase, status.reason) = (RecordPhase::Verified, Reason::ResetVerified);
        }
        (Break::UndoesElsewhere, Some(Step::WriteAhead { plan, .. })) if seen.with_numbers.get().is_some() => {
            if let Some(Aim::Commit(to)) = plan.rows.iter_mut().map(|row| &mut row.aim).find(|aim| aim.offset().is_some()) {
                to.offset += 1;
            }
        }
        (Break::UnloadedInDoubt, step) => {
            let state = seen.record.get().and_then(Option::as_ref).map(|r| &r.state);
            if matches!(state, Some(PlanState::InDoubt { .. } | PlanState::OursSent { answer: SendOutcome::Unanswered { .. }, .. })) {
                *step = Some(Step::DropPlan);
            }
        }
        (Break::SaidDoneUncompared, Some(Step::Close(status))) if status.phase == RecordPhase::Sent => {
            (status.phase, status.reason) = (RecordPhase::Verified, Reason::ResetVerified);
        }
        (Break::UnclearTakenForRefused, step) => {
            let state = seen.record.get().and_then(Option::as_ref).map(|r| &r.state);
            if matches!(state, Some(PlanState::OursSent { answer: SendOutcome::Ambiguous(_), .. })) {
                *step = Some(Step::DropPlan);
            }
        }
        (Break::RetryUnasked, step @ None) => {
            let record = seen.record.get().and_then(Option::as_ref);
            let status = record.and_then(|r| r.object.status.as_ref()).filter(|s| s.attempt == 1);
            if status.is_some_and(|s| s.phase == RecordPhase::Held && s.reason == Reason::OutcomeUnknown) {
                *step = Some(Step::Retry);
            }
        }
        (Break::ChunkBeforeReadBack, step) => {
            let record = seen.record.get().and_then(Option::as_ref);
            if let Some(RecordView { state: PlanState::OursSent { .. }, .. }) = record
                && let Some(chunk) = record.map(RecordView::chunk)
                && chunk < record.and_then(RecordView::plan).map_or(1, |plan| plan.chunks())
            {
                *step = Some(Step::StartChunk { chunk: chunk + 1 });
            }
        }
        (Break::ToldBeforeItIsClosed, None) => {
            if let Report::Request(ending) = &mut decision.report
                && ending.stage == Stage::Sending
            {
                ending.stage = Stage::Verified;
            }
        }
        _ => {}
    }
}
