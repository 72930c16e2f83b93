//! What a replica sees and decides: the reads of `observe`, with the real looks and the real `decide`. The memory of a process is mirrored
//! in a few lines, because the real `ProcessState` cannot be copied with a state.

use crate::breaks::Break;
use crate::mind::{Act, Beside, Decided, Mind, Sight};
use crate::objects::Ticks;
use crate::violation::Violation;
use crate::world::{Answer, FirstSeen, Look, Noted, Pipeline, PlanState, Record, Sent, Stage, World};

/// One replica that works on one pipeline of one world.
pub struct Actor<'a> {
    pub mind: &'a mut Mind,
    pub ticks: Ticks,
    pub broken: Option<Break>,
    pub process: usize,
    pub pipeline: usize,
}

impl Actor<'_> {
    pub fn is(&self, which: Break) -> bool {
        self.broken == Some(which)
    }

    /// Reads the records, and goes on until something of interest could come between. `late`: the watch of records has not yet delivered
    /// that of an earlier request, or of another StreamPipeline. None: this pass would change nothing.
    pub fn begin(&mut self, world: &World, late: bool) -> Option<Result<World, Violation>> {
        let view = world.processes[self.process].view[self.pipeline];
        if !view.exists || world.processes[self.process].stage[self.pipeline] != Stage::Idle {
            return None;
        }
        let of_this = |request: u8| world.record(request).filter(|r| usize::from(r.pipeline) == self.pipeline);
        let superseded = [1, 2].into_iter().any(|r| r != view.request && of_this(r).is_some_and(|r| !r.is_closed()));
        let is_beside = |r: &Record| usize::from(r.pipeline) != self.pipeline && !r.is_closed();
        let overlooks = superseded || of_this(view.request).is_none() && world.records.iter().flatten().any(is_beside);
        if late && !overlooks || view.request == 0 && (late || !superseded) {
            return None;
        }
        if let Some(record) = of_this(view.request).filter(|_| late || !superseded) {
            match self.taken_for(world, view.request, record) {
                state @ PlanState::Unsent { .. } => {
                    let mut next = world.clone();
                    self.note_seen(&mut next, view.request);
                    let look = Look { pipeline: view, record: *record, fresh: true, state, api: None, group: None };
                    next.processes[self.process].stage[self.pipeline] = Stage::Looking(look);
                    return Some(Ok(next));
                }
                // A request that has ended is not looked at any more.
                PlanState::Closed if !view.retry => return None,
                _ => {}
            }
        }
        let sight = Sight { late, ..self.sight(world, view) };
        let decided = self.decide(sight);
        let mut next = world.clone();
        (1..).zip(decided.read).filter(|(_, read)| *read).for_each(|(request, _)| self.note_seen(&mut next, request));
        match self.perform(next, &sight, decided, true) {
            Ok(after) if after == *world => None,
            result => Some(result),
        }
    }

    /// Writes the first status of a StreamPipeline, at the end of a pass.
    pub fn report(&mut self, world: &World) -> Option<World> {
        let (view, live) = (world.processes[self.process].view[self.pipeline], world.pipelines[self.pipeline]);
        let due = view.exists && live.exists && view.uid == live.uid && !live.looked && self.mind.setting.in_turn;
        if !due || world.processes[self.process].stage[self.pipeline] != Stage::Idle || !self.decide(self.sight(world, view)).tells {
            return None;
        }
        let mut next = world.clone();
        next.pipelines[self.pipeline].looked = true;
        next.changed_last = self.pipeline as u8;
        Some(next)
    }

    /// The watch delivers this StreamPipeline, after everything that changed before it.
    pub fn watch(&self, world: &World) -> Option<World> {
        let last = usize::from(world.changed_last) == self.pipeline;
        let delivered = |pipeline: usize| last || pipeline == self.pipeline;
        if world.processes[self.process].view[self.pipeline] == world.pipelines[self.pipeline] {
            return None;
        }
        let mut next = world.clone();
        for (i, copy) in next.processes[self.process].view.iter_mut().enumerate().filter(|(i, _)| delivered(*i)) {
            *copy = world.pipelines[i];
        }
        Some(next)
    }

    /// All that can be seen now.
    fn sight(&self, world: &World, pipeline: Pipeline) -> Sight {
        let taken_for = |(request, record): (u8, &Option<Record>)| record.map(|r| (r, self.taken_for(world, request, &r)));
        let beside = |other: &Pipeline| Beside { copy: world.processes[self.process].view[1 - self.pipeline], live: *other };
        Sight {
            pipeline,
            name: self.pipeline as u8,
            records: [(1, &world.records[0]), (2, &world.records[1])].map(taken_for),
            late: false,
            live: world.pipelines[self.pipeline],
            beside: (world.pipelines.len() > 1).then(|| beside(&world.pipelines[1 - self.pipeline])),
            group: (world.offsets, world.member),
            noted: None,
        }
    }

    /// `ProcessState::look`, without the notes that it makes.
    fn taken_for(&self, world: &World, request: u8, record: &Record) -> PlanState {
        let process = &world.processes[self.process];
        if record.is_closed() {
            return PlanState::Closed;
        }
        if record.plan.is_none() {
            return PlanState::Absent;
        }
        let named = self.named(record);
        let age = process.seen.iter().find(|s| s.request == request && s.writer == named).map_or(0, |s| s.age);
        let Some(ours) = process.ours.iter().find(|o| o.writer == record.writer) else {
            return match self.broken {
                Some(Break::RestartedSends) if record.attempt == 1 => PlanState::Unsent { age: 0, dead: false },
                Some(Break::NoWait) => PlanState::InDoubt(self.ticks.wait()),
                Some(Break::WaitTooShort) => PlanState::InDoubt(if age + 1 >= self.ticks.wait() { self.ticks.wait() } else { age }),
                _ => PlanState::InDoubt(age),
            };
        };
        match ours.sent {
            Sent::No => PlanState::Unsent { age: ours.age, dead: false },
            Sent::Dead => PlanState::Unsent { age: ours.age, dead: true },
            Sent::Yes { tries, answer } => PlanState::Sent { age: ours.age, tries, answer },
        }
    }

    /// The notes that `ProcessState::look` makes.
    fn note_seen(&self, world: &mut World, request: u8) {
        let Some(record) = world.record(request).copied() else { return };
        let process = &mut world.processes[self.process];
        if record.is_closed() {
            process.ours.retain(|o| o.writer != record.writer);
            process.seen.retain(|s| s.request != request);
            return;
        }
        let named = self.named(&record);
        if record.plan.is_some() && !process.seen.iter().any(|s| s.request == request && s.writer == named) {
            process.seen.push(FirstSeen { request, writer: named, age: 0 });
        }
    }

    /// To count the wait by record, the writer is ignored.
    fn named(&self, record: &Record) -> u8 {
        if self.is(Break::WaitPerRecord) { 0 } else { record.writer }
    }

    /// The second look's reads of StreamPipeline and records.
    pub fn look_api(&mut self, world: &World) -> Option<World> {
        let Stage::Looking(look) = world.processes[self.process].stage[self.pipeline] else { return None };
        if look.api.is_some() {
            return None;
        }
        let mut next = world.clone();
        let live = world.pipelines[self.pipeline];
        let asks = live.exists && live.uid == look.record.uid && live.request == look.pipeline.request;
        // Its own record is the one that it read before.
        let mut sight = Sight { group: Default::default(), beside: None, ..self.sight(world, look.pipeline) };
        sight.records[usize::from(look.pipeline.request) - 1] = Some((look.record, look.state));
        let (alone, wanted) = self.mind.note(sight);
        let other = 3 - look.pipeline.request;
        if world.record(other).is_some_and(|record| self.mind.setting.is_beside(self.pipeline as u8, record)) {
            self.note_seen(&mut next, other);
        }
        let api = Some(Noted { alone, wanted, asks });
        next.processes[self.process].stage[self.pipeline] = Stage::Looking(Look { api, ..look });
        Some(next)
    }

    /// The second look's read of the group.
    pub fn look_group(&self, world: &World) -> Option<World> {
        let Stage::Looking(look) = world.processes[self.process].stage[self.pipeline] else { return None };
        if look.group.is_some() {
            return None;
        }
        let mut next = world.clone();
        next.processes[self.process].stage[self.pipeline] = Stage::Looking(Look { group: Some((world.offsets, world.member)), ..look });
        Some(next)
    }

    /// The second look is complete: decides and acts.
    pub fn fire(&mut self, world: &World) -> Option<Result<World, Violation>> {
        let Stage::Looking(look) = world.processes[self.process].stage[self.pipeline] else { return None };
        let (Some(noted), Some(group)) = (look.api, look.group) else { return None };
        let mut records = [None; 2];
        records[usize::from(look.pipeline.request) - 1] = Some((look.record, look.state));
        let sight = Sight {
            pipeline: look.pipeline,
            name: self.pipeline as u8,
            records,
            late: false,
            live: look.pipeline,
            beside: None,
            group,
            noted: Some(noted),
        };
        let decided = self.decide(sight);
        let mut next = world.clone();
        next.processes[self.process].stage[self.pipeline] = Stage::Idle;
        Some(self.perform(next, &sight, decided, look.fresh))
    }

    fn decide(&mut self, mut sight: Sight) -> Decided {
        for (record, state) in sight.records.iter_mut().flatten() {
            match state {
                PlanState::Unsent { age, .. } if self.is(Break::NoWindow) => *age = 0,
                PlanState::Sent { age, answer: Answer::Refused(_), .. } if self.is(Break::ResendLater) => *age = 0,
                PlanState::Unsent { .. } if self.is(Break::DeletesWhatMoved) => sight.group.0[1] = record.plan.unwrap_or_default()[1],
                PlanState::Unsent { .. } if self.is(Break::NoSecondLook) => sight.group = (record.plan.unwrap_or_default(), false),
                _ => {}
            }
        }
        let mut decided = self.mind.decide(sight);
        if let Some((record, state)) = sight.record(decided.about) {
            let again = record.attempt == 2 && matches!(state, PlanState::Unsent { .. });
            let in_doubt = matches!(state, PlanState::InDoubt(_)) && record.attempt == 1;
            if in_doubt && self.is(Break::DropAfterRestart) || again && self.is(Break::DropTheRetry) && matches!(decided.act, Act::Close(_))
            {
                decided.act = Act::DropPlan;
            }
        }
        decided
    }
}
