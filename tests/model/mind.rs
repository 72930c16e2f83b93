//! The real looks and the real `decide`, given what a process of the model sees. Answers are cached, because the same question comes often.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::mem;

use stream_pipeline_api::{Reason, RecordPhase, Stage};
use stream_pipeline_core::decide::{Found, Look, LookKind, decide, looks, note};
use stream_pipeline_core::{Decision, Desired, Observation, Observed, Plan, PriorStatus, RecordView, Report, Step};

use crate::breaks::Break;
use crate::explore::Mix;
use crate::objects::{Asking, Ticks, aim, cluster, now, pipeline, record_view, request_of, timing};
use crate::world::{BEFORE, NONE, Noted, Offsets, Parts, Pipeline, PlanState, Record, Word, target};

/// What stays the same throughout a world.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub partitions: usize,
    /// Each pipeline is in a namespace of its own.
    pub apart: bool,
    /// Of a namespace's pipelines only the oldest acts. Switched off where records of two are to meet: it could only prevent that.
    pub in_turn: bool,
    /// `whenActive: Fail`.
    pub fails_when_active: bool,
    /// Request 1 is an undo that deletes a commit.
    pub undoes: bool,
}

impl Setting {
    /// Whether a record is in the namespace of the pipeline of this name.
    pub fn is_beside(&self, name: u8, record: &Record) -> bool {
        !self.apart || record.pipeline == name
    }
}

/// What a pass can see.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sight {
    /// The StreamPipeline from the watch cache, with which the pass began.
    pub pipeline: Pipeline,
    pub name: u8,
    /// The records, by request, and their plans' state in the eyes of this process.
    pub records: [Option<(Record, PlanState)>; 2],
    /// The watch of records has not yet delivered the record of an earlier request, or of another StreamPipeline.
    pub late: bool,
    /// The StreamPipeline as it is now.
    pub live: Pipeline,
    /// The other StreamPipeline of the group, where there is one.
    pub beside: Option<Beside>,
    pub group: (Offsets, bool),
    /// In the second look: the results of its live reads.
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

/// The step that the model performs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    Nothing,
    WriteAhead(Offsets),
    Send(Parts),
    DropPlan,
    Close(Word),
    Retry,
}

#[derive(Clone, Copy, Debug)]
pub struct Decided {
    pub act: Act,
    /// The request that the step is about.
    pub about: u8,
    /// The request of the StreamPipeline is reported as ended.
    pub ends: bool,
    /// A status is written even if there was none before.
    pub tells: bool,
    /// Which records were read, by request.
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

    pub fn is(&self, which: Break) -> bool {
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

    /// The second look's live reads: whether no other record goes first, and whether the request is still wanted.
    pub fn note(&mut self, sight: Sight) -> (bool, bool) {
        if let Some(noted) = self.noted.get(&sight) {
            return *noted;
        }
        let own = self.own(&sight);
        let group =
            Look::GroupRecords { backend: cluster(), but: own.as_ref().map_or_else(String::new, |own| own.name().to_owned()), live: true };
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

    /// Like `observe`: makes looks until nothing is left to look at; then decides.
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
                    // The result was noted when the second look read it.
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

    pub fn view(&self, request: u8, record: &Record, state: PlanState) -> RecordView {
        record_view(&self.setting, request, record, state)
    }

    pub fn asking(&self, name: u8, pipeline: Pipeline) -> Asking {
        Asking { name, pipeline, fails_when_active: self.setting.fails_when_active, undoes: self.setting.undoes }
    }

    pub fn desired(&self, sight: &Sight) -> Desired {
        let object = pipeline(&self.asking(sight.name, sight.pipeline));
        Desired::of(&object, stream_pipeline_operator::backend::facts, now().wall).expect("it has a backend")
    }

    fn ends(&self, decision: &Decision) -> bool {
        let Report::Request(told) = &decision.report else { return false };
        // An end that `until_done` withholds until the record is closed.
        let withheld = told.stage == Stage::Waiting && matches!(decision.step, Some(Step::Close(_)));
        told.owed.is_none() && (told.stage.is_final() || withheld && self.is(Break::EndToldBefore))
    }

    fn act(&self, request: u8, step: Option<Step>) -> Act {
        match step {
            None => Act::Nothing,
            Some(Step::WriteAhead { plan, .. }) => Act::WriteAhead(self.snapshot(request, &plan)),
            Some(Step::Send { only, .. }) => Act::Send(only.iter().fold(0, |set, at| set | 1 << at.partition)),
            Some(Step::DropPlan) => Act::DropPlan,
            Some(Step::Close(status)) => Act::Close(match (status.phase, status.reason) {
                (RecordPhase::Verified, _) => Word::Verified,
                (RecordPhase::Held, Reason::OutcomeUnknown) => Word::OutcomeUnknown,
                (RecordPhase::Held, Reason::OffsetsMoved) => Word::OffsetsMoved,
                (RecordPhase::Held, Reason::PartlyApplied) => Word::PartlyApplied,
                (RecordPhase::Abandoned, _) => Word::Abandoned,
                other => panic!("a close the model does not know: {other:?}"),
            }),
            Some(Step::Retry) => Act::Retry,
            Some(other) => panic!("a step the model does not know: {other:?}"),
        }
    }

    fn snapshot(&self, request: u8, plan: &Plan) -> Offsets {
        let mut from = [BEFORE; 2];
        for row in plan.changes() {
            let p = row.at.partition as usize;
            assert_eq!(row.aim, aim(target(request, p, self.setting.undoes)), "the target is what was asked for");
            from[p] = row.from.as_ref().map_or(NONE, |c| c.offset as u8);
        }
        assert_eq!(plan.changes().count(), self.setting.partitions);
        from
    }
}
