//! What a replica does: the reads of `observe`, the memory of `memory` and the order of `perform` and `ledger`, with the real
//! `decide` in the middle. Memory is mirrored in a few lines, for the real one cannot be copied with a state.

use crate::breaks::Break;
use crate::real::{Act, Mind, Sight, Ticks};
use crate::world::{Answer, Commit, Look, Ours, PARTS, Parts, PlanState, Record, Sent, Stage, What, World, Write};
use crate::world::{FirstSeen, Offsets};

/// What a history shows that must not be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Violation {
    /// (1) A target took effect twice.
    AppliedTwice,
    /// (2) Closed as Verified, and a target was never in force.
    NotInForce,
    /// (3) Sent to a partition that moved before the second look.
    SentOverAMove,
    /// (4) Sent while something else of the group, as far as its namespace goes, was under way.
    TwoAtATime,
    /// (4) Closed while something of it could still land.
    ClosedTooEarly,
    /// Closed as Abandoned, and something of it was in force.
    AbandonedAfterAHit,
    /// (5) Nothing leads to an end any more.
    DeadEnd,
}

/// One replica working on one pipeline of one world.
pub struct Actor<'a> {
    pub mind: &'a mut Mind,
    pub ticks: Ticks,
    pub broken: Option<Break>,
    pub process: usize,
    pub pipeline: usize,
}

impl Actor<'_> {
    fn is(&self, which: Break) -> bool {
        self.broken == Some(which)
    }

    /// Reads the record, and goes on as far as nothing of interest could come between. `late`: the watch of records has not
    /// delivered a leftover yet. None: this pass would change nothing.
    pub fn begin(&mut self, world: &World, late: bool) -> Option<Result<World, Violation>> {
        let view = world.processes[self.process].view[self.pipeline];
        if !view.exists || world.processes[self.process].stage[self.pipeline] != Stage::Idle {
            return None;
        }
        let of_this = |request: u8| world.record(request).filter(|r| usize::from(r.pipeline) == self.pipeline);
        let superseded = [1, 2].into_iter().find(|r| *r != view.request && of_this(*r).is_some_and(|r| !r.is_closed()));
        if late && superseded.is_none() {
            return None;
        }
        let superseded = superseded.filter(|_| !late);
        let mut next = world.clone();
        let request = superseded.unwrap_or(view.request);
        if request == 0 {
            return None;
        }
        let found = of_this(request).copied();
        let state = found.map(|record| self.look(&mut next, request, &record));
        let mut sight = Sight {
            pipeline: view,
            name: self.pipeline as u8,
            subject: found.zip(state).map(|(record, state)| (request, record, state)),
            superseded: superseded.is_some(),
            group: None,
            alone: None,
            wanted: None,
        };
        match (found, state) {
            (Some(record), Some(state @ PlanState::Unsent { .. })) if superseded.is_none() => {
                let look = Look { request, record, fresh: true, state, api: None, group: None };
                next.processes[self.process].stage[self.pipeline] = Stage::Looking(look);
                return Some(Ok(next));
            }
            (_, Some(PlanState::Closed)) if !view.retry => return None,
            _ => {}
        }
        let due = match state {
            Some(PlanState::InDoubt(age) | PlanState::Sent { answer: Answer::None(age), .. }) => age >= self.ticks.wait(),
            _ => true,
        };
        sight.group = due.then_some((next.offsets, next.member));
        if matches!(state, None | Some(PlanState::Absent | PlanState::Closed)) && superseded.is_none() {
            sight.alone = Some(self.alone(&mut next, request));
        }
        let act = self.decide(sight);
        let result = self.perform(next, sight, act, true);
        match &result {
            Ok(after) if after == world => None,
            _ => Some(result),
        }
    }

    /// `memory::Memory::look`.
    fn look(&self, world: &mut World, request: u8, record: &Record) -> PlanState {
        let process = &mut world.processes[self.process];
        if record.is_closed() {
            process.ours.retain(|o| o.writer != record.writer);
            process.seen.retain(|s| s.request != request);
            return PlanState::Closed;
        }
        if record.plan.is_none() {
            return PlanState::Absent;
        }
        let writer = record.writer;
        // Counted by record is counted without regard to the writer.
        let named = if self.is(Break::WaitPerRecord) { 0 } else { writer };
        let known = process.seen.iter().find(|s| s.request == request && s.writer == named);
        let age = known.map_or(0, |s| s.age);
        if known.is_none() {
            process.seen.push(FirstSeen { request, writer: named, age });
        }
        let Some(ours) = process.ours.iter().find(|o| o.writer == writer) else {
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

    /// `ledger::Ledger::rivals`.
    fn alone(&self, world: &mut World, request: u8) -> bool {
        if self.mind.apart {
            return true;
        }
        let other = 3 - request;
        let Some(found) = world.record(other).copied() else { return true };
        let state = self.look(world, other, &found);
        // A record without a plan goes after one that is there; without pausing there is none older than ours.
        let after = state == PlanState::Absent && world.record(request).is_some() && request < other;
        state == PlanState::Closed || after
    }

    /// The read of StreamPipeline and list, of the second look.
    pub fn look_api(&self, world: &World) -> Option<World> {
        let Stage::Looking(look) = world.processes[self.process].stage[self.pipeline] else { return None };
        if look.api.is_some() {
            return None;
        }
        let mut next = world.clone();
        let (view, live) = (world.processes[self.process].view[self.pipeline], world.pipelines[self.pipeline]);
        let wanted = live.exists && live.uid == view.uid && live.request == look.request;
        let alone = self.alone(&mut next, look.request);
        let api = Some((alone || self.is(Break::NotAlone), wanted));
        next.processes[self.process].stage[self.pipeline] = Stage::Looking(Look { api, ..look });
        Some(next)
    }

    /// The read of the group, of the second look.
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
        let (Some((alone, wanted)), Some(group)) = (look.api, look.group) else { return None };
        let sight = Sight {
            pipeline: world.processes[self.process].view[self.pipeline],
            name: self.pipeline as u8,
            subject: Some((look.request, look.record, look.state)),
            superseded: false,
            group: Some(group),
            alone: Some(alone),
            wanted: Some(wanted),
        };
        let act = self.decide(sight);
        let mut next = world.clone();
        next.processes[self.process].stage[self.pipeline] = Stage::Idle;
        Some(self.perform(next, sight, act, look.fresh))
    }

    fn decide(&mut self, mut sight: Sight) -> Act {
        if let Some((_, record, state)) = &mut sight.subject {
            match state {
                PlanState::Unsent { age, .. } if self.is(Break::NoWindow) => *age = 0,
                PlanState::Sent { age, answer: Answer::Refused(_), .. } if self.is(Break::ResendLater) => *age = 0,
                PlanState::Unsent { .. } if self.is(Break::NoSecondLook) => {
                    sight.group = Some((record.plan.unwrap_or_default(), false));
                }
                PlanState::InDoubt(_) if self.is(Break::UnloadAfterRestart) && record.attempt == 1 => return Act::Unload,
                _ => {}
            }
            let again = record.attempt == 2 && matches!(state, PlanState::Unsent { .. });
            let act = self.mind.decide(sight);
            return if again && self.is(Break::UnloadTheRetry) && matches!(act, Act::Close(_)) { Act::Unload } else { act };
        }
        self.mind.decide(sight)
    }

    /// `perform`: memory first, then the one call.
    fn perform(&mut self, mut world: World, sight: Sight, act: Act, fresh: bool) -> Result<World, Violation> {
        let waits = Some((self.process as u8, self.pipeline as u8));
        let (request, record) = match sight.subject {
            Some((request, record, _)) => (request, Some(record)),
            None => (sight.pipeline.request, None),
        };
        let what = match act {
            Act::Nothing => return Ok(world),
            Act::Send(parts) => return self.send(world, sight, parts),
            Act::WriteAhead(plan) => {
                let writer = self.register_plan(&mut world);
                match record {
                    Some(_) => What::Put { plan, writer },
                    None => What::Create(Record {
                        pipeline: self.pipeline as u8,
                        uid: sight.pipeline.uid,
                        plan: Some(plan),
                        writer,
                        attempt: 1,
                        closed: None,
                    }),
                }
            }
            Act::Rearm => What::Rearm { writer: self.register_plan(&mut world) },
            Act::Unload => {
                self.abandon_plan(&mut world, record);
                What::Unload
            }
            Act::Close(word) => {
                self.abandon_plan(&mut world, record);
                What::Close(word, record.map_or(0, |r| r.attempt))
            }
        };
        world.processes[self.process].stage[self.pipeline] = Stage::Writing;
        world.writes.push(Write { request, what, fresh, waits });
        if let (Act::WriteAhead(_), true) = (act, self.is(Break::SendFirst)) {
            let all = (1 << self.mind.partitions) - 1;
            world.commits.push(Commit { request, attempt: 1, parts: all, life: self.ticks.life(), waits: None });
            if let Some(ours) = world.processes[self.process].ours.last_mut() {
                ours.sent = Sent::Yes { tries: 1, answer: Answer::None(0) };
            }
        }
        Ok(world)
    }

    fn register_plan(&self, world: &mut World) -> u8 {
        let writer = world.new_writer();
        world.processes[self.process].ours.push(Ours { writer, age: 0, sent: Sent::No });
        writer
    }

    fn abandon_plan(&self, world: &mut World, record: Option<Record>) {
        let writer = record.map_or(0, |r| r.writer);
        let found = world.processes[self.process].ours.iter_mut().find(|o| o.writer == writer && o.sent == Sent::No);
        if let Some(ours) = found.filter(|_| !self.is(Break::ForgetDead)) {
            ours.sent = Sent::Dead;
        }
    }

    /// The window once more, the one right to send, then the socket.
    fn send(&self, mut world: World, sight: Sight, parts: Parts) -> Result<World, Violation> {
        let Some((request, record, state)) = sight.subject else { return Ok(world) };
        let unchecked = matches!(self.broken, Some(Break::NoWindow | Break::RestartedSends | Break::ResendLater));
        let window = self.ticks.window;
        let process = &mut world.processes[self.process];
        if self.is(Break::RestartedSends) && !process.ours.iter().any(|o| o.writer == record.writer) {
            process.ours.push(Ours { writer: record.writer, age: 0, sent: Sent::No });
        }
        let Some(ours) = process.ours.iter_mut().find(|o| o.writer == record.writer) else { return Ok(world) };
        if ours.age >= window && !unchecked {
            return Ok(world);
        }
        let tries = match ours.sent {
            Sent::No => 1,
            Sent::Yes { tries, answer: Answer::Refused(refused) } if refused != 0 => tries + 1,
            Sent::Yes { .. } | Sent::Dead => return Ok(world),
        };
        // Taken as unanswered until the answer is noted.
        ours.sent = Sent::Yes { tries, answer: Answer::None(0) };
        let writer = ours.writer;
        let looked: Offsets = match (sight.group, state) {
            (Some((offsets, _)), _) if !self.is(Break::NoSecondLook) => offsets,
            _ => world.offsets,
        };
        let moved = |p: usize| parts & 1 << p != 0 && record.plan.is_some_and(|from| from[p] != looked[p]);
        if (0..PARTS).any(moved) {
            return Err(Violation::SentOverAMove);
        }
        // What another namespace sends is waited for by nobody.
        if world.commits.iter().any(|c| c.request == request || !self.mind.apart) {
            return Err(Violation::TwoAtATime);
        }
        let waits = Some((self.process as u8, self.pipeline as u8));
        world.processes[self.process].stage[self.pipeline] = Stage::Sending { request, writer };
        world.commits.push(Commit { request, attempt: record.attempt, parts, life: self.ticks.life(), waits });
        Ok(world)
    }
}
