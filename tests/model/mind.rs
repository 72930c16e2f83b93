//! The real looks and the real `decide`, asked with what a process of the model sees. Answers are kept: the same question is asked
//! often.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::mem;

use stream_pipeline_api::{Reason, RecordPhase, Stage};
use stream_pipeline_core::decide::{Found, Look, LookKind, decide, looks, note};
use stream_pipeline_core::{
    Decision, Desired, LogBounds, Observation, Observed, OlderPipeline, Plan, PriorStatus, RecordView, Report, Step, Topic,
};

use crate::breaks::Break;
use crate::explore::Mix;
use crate::objects::{Asking, Ticks, activity, at, cluster, commit, now, pipeline, record_view, request_of, timing};
use crate::world::{BEFORE, END, Noted, Offsets, Parts, Pipeline, PlanState, Record, START, Word, target};

/// What does not change in a world.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub partitions: usize,
    /// The pipelines are in namespaces of their own.
    pub apart: bool,
    /// Of the pipelines of a namespace only the oldest acts. Left out where records of two are to meet: it can only prevent.
    pub in_turn: bool,
    /// `whenActive: Fail`.
    pub fails_when_active: bool,
}

impl Setting {
    /// Whether a record is of the namespace of the pipeline of this name.
    pub fn is_beside(&self, name: u8, record: &Record) -> bool {
        !self.apart || record.pipeline == name
    }
}

/// What a pass can see.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sight {
    /// The copy of the StreamPipeline that the pass began with.
    pub pipeline: Pipeline,
    pub name: u8,
    /// The records, by request, and what this process takes them for.
    pub records: [Option<(Record, PlanState)>; 2],
    /// The watch of records has not delivered an earlier request's yet.
    pub late: bool,
    /// The StreamPipeline as it is now.
    pub live: Pipeline,
    /// The other StreamPipeline of the group, where there is one.
    pub beside: Option<Beside>,
    pub group: (Offsets, bool),
    /// In the second look: what its live reads told.
    pub noted: Option<Noted>,
}

impl Sight {
    pub fn record(&self, request: u8) -> Option<(Record, PlanState)> {
        self.records.get(usize::from(request).wrapping_sub(1)).copied().flatten()
    }
}

/// A StreamPipeline as the watch delivered it, and as it is now.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Beside {
    pub copy: Pipeline,
    pub live: Pipeline,
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

#[derive(Clone, Copy, Debug)]
pub struct Decided {
    pub act: Act,
    /// The request that the step is about.
    pub about: u8,
    /// It is told that the request of the StreamPipeline has ended.
    pub ends: bool,
    /// A status is written even if there was none.
    pub tells: bool,
    /// Which records were looked at, by request.
    pub read: [bool; 2],
}

pub struct Mind {
    ticks: Ticks,
    pub setting: Setting,
    broken: Option<Break>,
    decided: HashMap<Sight, Decided, BuildHasherDefault<Mix>>,
    noted: HashMap<Sight, (bool, bool), BuildHasherDefault<Mix>>,
}

impl Mind {
    pub fn new(ticks: Ticks, setting: Setting, broken: Option<Break>) -> Self {
        Self { ticks, setting, broken, decided: HashMap::default(), noted: HashMap::default() }
    }

    fn is(&self, which: Break) -> bool {
        self.broken == Some(which)
    }

    pub fn decide(&mut self, sight: Sight) -> Decided {
        if let Some(decided) = self.decided.get(&sight) {
            return *decided;
        }
        let decided = self.pass(&sight);
        self.decided.insert(sight, decided);
        decided
    }

    /// The second look's reads of StreamPipeline and records: whether nothing comes before, and whether it is still wanted.
    pub fn note(&mut self, sight: Sight) -> (bool, bool) {
        if let Some(noted) = self.noted.get(&sight) {
            return *noted;
        }
        let own = self.own(&sight);
        let group = Look::GroupRecords { backend: cluster(), but: own.as_ref().map_or_else(String::new, |own| own.name().to_owned()) };
        let (desired, mut seen) = (self.desired(&sight), Observation { record: Observed::Read(own), ..Observation::default() });
        for look in [group, Look::Live] {
            let found = self.look(&look, &sight, &seen, &mut [false; 2]);
            self.take_in(&mut seen, &desired, &look, found);
        }
        let alone = seen.conflicting_records.get().is_some_and(Vec::is_empty);
        let wanted = matches!(seen.wanted, Observed::Read(true)) || self.is(Break::NotAskedAgain);
        self.noted.insert(sight, (alone, wanted));
        (alone, wanted)
    }

    /// As `observe` does it: looks until nothing is left to look at, and then decides.
    fn pass(&self, sight: &Sight) -> Decided {
        let object = pipeline(&self.asking(sight.name, sight.pipeline));
        let (desired, prior, timing, now) = (self.desired(sight), PriorStatus::of(&object), timing(self.ticks), now());
        let mut seen = Observation::default();
        let mut read = [false; 2];
        loop {
            let next = looks(&desired, &prior, &seen, &timing, now);
            if next.is_empty() {
                break;
            }
            for look in &next {
                match (look, sight.noted) {
                    // Taken in when it was read.
                    (Look::GroupRecords { .. }, Some(noted)) => {
                        seen.conflicting_records = Observed::Read(if noted.alone { vec![] } else { vec!["n/other".to_owned()] });
                        seen.looked.insert(LookKind::from(look));
                    }
                    (Look::Live, Some(noted)) => {
                        seen.wanted = Observed::Read(noted.wanted);
                        seen.looked.insert(LookKind::from(look));
                    }
                    _ => {
                        let found = self.look(look, sight, &seen, &mut read);
                        self.take_in(&mut seen, &desired, look, found);
                    }
                }
            }
        }
        let decision = decide(&desired, &prior, &seen, &timing, now);
        let about = seen.subject().map_or(sight.pipeline.request, |record| request_of(&record.object));
        let tells = matches!(decision.report, Report::NotRequested | Report::Request(_));
        Decided { ends: self.ends(&decision), tells, act: self.act(sight.pipeline.request, decision.step), about, read }
    }

    fn take_in(&self, seen: &mut Observation, desired: &Desired, look: &Look, found: Found) {
        let hides = self.is(Break::NobodyGoesAfter) && matches!(look, Look::GroupRecords { .. });
        let own = hides.then(|| mem::take(&mut seen.record));
        note(seen, desired, look, found);
        seen.record = own.unwrap_or_else(|| mem::take(&mut seen.record));
    }

    fn look(&self, look: &Look, sight: &Sight, seen: &Observation, read: &mut [bool; 2]) -> Found {
        let (offsets, member) = sight.group;
        let all = || (0..self.setting.partitions).map(at);
        let committed = || Ok(all().map(|at| (at.clone(), commit(offsets[at.partition as usize]))).collect());
        match look {
            Look::OpenRecords => {
                let open = |(_, record, _): &(u8, Record, PlanState)| record.pipeline == sight.name && !record.is_closed();
                let open: Vec<_> = self.records(sight).filter(|found| !sight.late && open(found)).collect();
                open.iter().for_each(|(request, ..)| read[usize::from(*request) - 1] = true);
                Found::OpenRecords(open.into_iter().map(|(request, record, state)| self.view(request, &record, state)).collect(), None)
            }
            Look::Record(names) => {
                // Where one was left behind its successor is looked for, which the model does not have.
                let own = self.own(sight).filter(|_| seen.record_name.is_none());
                read[usize::from(sight.pipeline.request) - 1] |= own.is_some();
                Found::Record { name: names.name.clone(), record: Ok(own) }
            }
            Look::GroupRecords { .. } => {
                let others = self.others(sight);
                others.iter().for_each(|other| read[usize::from(request_of(&other.object)) - 1] = true);
                Found::GroupRecords(Ok(others))
            }
            Look::Orphan(others) => {
                let own = format!("p{}", sight.name);
                let is_there = |name: &str| if name == own { sight.live.exists } else { sight.beside.is_some_and(|b| b.live.exists) };
                let is_orphan = |other: &&RecordView| !is_there(&other.object.spec.pipeline.name) && !self.is(Break::OrphanLeft);
                Found::Orphan(others.iter().find(is_orphan).cloned())
            }
            Look::OlderPipeline => Found::OlderPipeline(Ok(self.older(sight, sight.pipeline, |beside| beside.copy))),
            Look::OlderPipelineLive => {
                let created = self.desired(sight).created.filter(|_| self.setting.in_turn && !self.is(Break::YoungActs));
                let young = created.and_then(|created| OlderPipeline::may_come(created, now().wall));
                let beside = || self.older(sight, sight.live, |beside| beside.live).filter(|_| !self.is(Break::CopiesOnly));
                Found::OlderPipeline(Ok(young.or_else(beside)))
            }
            Look::Live => Found::Live(Ok(sight.live.exists.then(|| pipeline(&self.asking(sight.name, sight.live))))),
            Look::Elsewhere => Found::Elsewhere(Vec::new()),
            Look::Identity { .. } => Found::Identity(Ok(cluster())),
            Look::Place => Found::Place(Ok(cluster())),
            Look::Activity { .. } => Found::Activity { activity: Ok(activity(member)), committed: committed(), quiet: None },
            Look::ActivityAlone => Found::ActivityAlone(Ok(activity(member))),
            Look::Committed(_) => Found::Committed(committed()),
            Look::Topics(_) => {
                let topic =
                    Topic { id: "topic-id".to_owned(), partitions: (0..self.setting.partitions as i32).map(|p| (p, true)).collect() };
                Found::Topics(Ok(BTreeMap::from([("t".to_owned(), Some(topic))])))
            }
            Look::Logs { .. } => {
                let log = LogBounds { start: START.into(), end: END.into(), high_watermark: END.into(), ..LogBounds::default() };
                Found::Logs(Ok(all().map(|at| (at, log)).collect()))
            }
            other => panic!("a look the model does not know: {other:?}"),
        }
    }

    fn records<'a>(&self, sight: &'a Sight) -> impl Iterator<Item = (u8, Record, PlanState)> + 'a {
        (1..).zip(sight.records).filter_map(|(request, found)| found.map(|(record, state)| (request, record, state)))
    }

    fn own(&self, sight: &Sight) -> Option<RecordView> {
        let is_own = |(request, record, _): &(u8, Record, PlanState)| *request == sight.pipeline.request && record.pipeline == sight.name;
        self.records(sight).find(is_own).map(|(request, record, state)| self.view(request, &record, state))
    }

    /// The list of the group's records in the namespace, but for the own one.
    fn others(&self, sight: &Sight) -> Vec<RecordView> {
        let is_other = |request: u8, record: &Record| request != sight.pipeline.request && self.setting.is_beside(sight.name, record);
        let others = self.records(sight).filter(|(request, record, _)| is_other(*request, record) && !self.is(Break::NotAlone));
        // Without a plan nothing of it counts.
        let counts = |state: PlanState| !(self.is(Break::EverybodyGoesAfter) && state == PlanState::Absent);
        let others = others.filter(|(.., state)| counts(*state));
        let taken_for = |state| if self.is(Break::PlanGoesAfter) && state != PlanState::Closed { PlanState::Absent } else { state };
        others.map(|(request, record, state)| self.view(request, &record, taken_for(state))).collect()
    }

    /// Who comes before among this one as it is `own` and the other one as it is read.
    fn older(&self, sight: &Sight, own: Pipeline, other: fn(Beside) -> Pipeline) -> Option<OlderPipeline> {
        let other = sight.beside.map(other).filter(|_| self.setting.in_turn && !self.is(Break::NotInTurn))?;
        let mut objects = Vec::new();
        for (name, at) in [(sight.name, own), (1 - sight.name, other)] {
            objects.extend(at.exists.then(|| pipeline(&self.asking(name, at))));
        }
        if self.is(Break::TiesLost) {
            let made = objects.first_mut().and_then(|own| own.metadata.creation_timestamp.as_mut());
            made.into_iter().for_each(|made| made.0 += jiff::SignedDuration::from_secs(1));
        }
        let older = OlderPipeline::among(objects.iter(), &self.desired(sight).object, &cluster());
        older.filter(|older| !(self.is(Break::UnreadIsNone) && matches!(older, OlderPipeline::NotLookedAt(_))))
    }

    fn view(&self, request: u8, record: &Record, state: PlanState) -> RecordView {
        record_view(&self.setting, request, record, state)
    }

    fn asking(&self, name: u8, pipeline: Pipeline) -> Asking {
        Asking { name, pipeline, fails_when_active: self.setting.fails_when_active }
    }

    fn desired(&self, sight: &Sight) -> Desired {
        let object = pipeline(&self.asking(sight.name, sight.pipeline));
        Desired::of(&object, stream_pipeline_operator::backend::facts, now().wall).expect("it has a backend")
    }

    fn ends(&self, decision: &Decision) -> bool {
        let Report::Request(told) = &decision.report else { return false };
        // What `until_done` leaves of an end.
        let withheld = told.stage == Stage::Waiting && matches!(decision.step, Some(Step::Close(_)));
        told.owed.is_none() && (told.stage.is_final() || withheld && self.is(Break::EndToldBefore))
    }

    fn act(&self, request: u8, step: Option<Step>) -> Act {
        match step {
            None => Act::Nothing,
            Some(Step::WriteAhead { plan, .. }) => Act::WriteAhead(self.snapshot(request, &plan)),
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
        assert_eq!(plan.changes().count(), self.setting.partitions);
        from
    }
}
