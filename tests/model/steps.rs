//! What a replica does: first in memory, then the one call, in the order of `perform` and of the record store.

use crate::breaks::Break;
use crate::mind::{Act, Decided, Sight};
use crate::process::Actor;
use crate::violation::Violation;
use crate::world::{Answer, Commit, NONE, Offsets, Ours, PARTS, Parts, Pipeline, Record, Sent, Stage, What, World, Write, target};

impl Actor<'_> {
    pub fn perform(&mut self, mut world: World, sight: &Sight, decided: Decided, fresh: bool) -> Result<World, Violation> {
        // The end is reported whether or not the step succeeds.
        let open = |r: &Record| usize::from(r.pipeline) == self.pipeline && !r.is_closed();
        if decided.ends && world.record(sight.pipeline.request).is_some_and(open) {
            return Err(Violation::EndToldTooEarly);
        }
        let waits = Some((self.process as u8, self.pipeline as u8));
        let (request, act) = (decided.about, decided.act);
        let record = sight.record(request).map(|(record, _)| record);
        let what = match act {
            Act::Nothing => return Ok(world),
            Act::Send(parts) => return self.send(world, sight, request, parts),
            Act::WriteAhead(plan) => {
                if record.is_none() && self.is_out_of_turn(&world, sight) {
                    return Err(Violation::OutOfTurn);
                }
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
            Act::Retry => What::Retry { writer: self.register_plan(&mut world) },
            Act::DropPlan => {
                self.abandon_plan(&mut world, record);
                What::DropPlan
            }
            Act::Close(word) => {
                self.abandon_plan(&mut world, record);
                What::Close(word, record.map_or(0, |r| r.attempt))
            }
        };
        world.processes[self.process].stage[self.pipeline] = Stage::Writing;
        world.writes.push(Write { request, what, fresh, waits });
        if let (Act::WriteAhead(_), true) = (act, self.is(Break::SendFirst)) {
            let all = (1 << self.mind.setting.partitions) - 1;
            world.commits.push(Commit { request, attempt: 1, parts: all, then: 0, life: self.ticks.life(), waits: None });
            if let Some(ours) = world.processes[self.process].ours.last_mut() {
                ours.sent = Sent::Yes { tries: 1, answer: Answer::None(0) };
            }
        }
        Ok(world)
    }

    fn is_out_of_turn(&self, world: &World, sight: &Sight) -> bool {
        let live = world.pipelines[self.pipeline];
        if !self.mind.setting.in_turn || !live.exists || live.uid != sight.pipeline.uid {
            return false;
        }
        let acted = |other: &&Pipeline| {
            other.request != live.request && other.exists && world.record(other.request).is_some_and(|r| r.uid == other.uid)
        };
        world.older_beside(self.pipeline, live.uid).is_some() || world.pipelines.iter().any(|other| acted(&other))
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

    /// Checks the window once more, takes the one right to send, and then sends.
    fn send(&self, mut world: World, sight: &Sight, request: u8, parts: Parts) -> Result<World, Violation> {
        let Some((record, _)) = sight.record(request) else { return Ok(world) };
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
        // Counts as unanswered until the answer is noted.
        ours.sent = Sent::Yes { tries, answer: Answer::None(0) };
        let writer = ours.writer;
        if sight.noted.is_some_and(|noted| !noted.asks) {
            return Err(Violation::SentUnasked);
        }
        let looked: Offsets = if self.is(Break::NoSecondLook) { world.offsets } else { sight.group.0 };
        let moved = |p: usize| parts & 1 << p != 0 && record.plan.is_some_and(|from| from[p] != looked[p]);
        if (0..PARTS).any(moved) {
            return Err(Violation::SentOverAMove);
        }
        // Sends of another namespace are not waited for.
        if world.commits.iter().any(|c| c.request == request || !self.mind.setting.apart) {
            return Err(Violation::TwoAtATime);
        }
        let waits = Some((self.process as u8, self.pipeline as u8));
        world.processes[self.process].stage[self.pipeline] = Stage::Sending { request, writer };
        let deleted =
            (0..PARTS).filter(|p| parts & 1 << p != 0 && target(request, *p, world.undoes) == NONE).fold(0, |set, p| set | 1 << p);
        let mut in_turn = [parts & !deleted, deleted];
        if self.is(Break::DeletesFirst) {
            in_turn.reverse();
        }
        let [parts, then] = if in_turn[0] == 0 { [in_turn[1], 0] } else { in_turn };
        world.commits.push(Commit { request, attempt: record.attempt, parts, then, life: self.ticks.life(), waits });
        Ok(world)
    }
}
