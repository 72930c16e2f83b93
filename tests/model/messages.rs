//! Messages on their way: writes to the API server and commits to the broker, which arrive, arrive late, or never arrive.

use crate::breaks::Break;
use crate::events::Event;
use crate::moves::{Move, Rules};
use crate::violation::Violation;
use crate::world::{Answer, Closed, Commit, Left, NONE, PARTS, Parts, Record, Sent, Stage, What, Word, World, Write, target};

impl Rules<'_> {
    pub fn writes(&self, world: &World, found: &mut Vec<Move>) {
        for i in 0..world.writes.len() {
            let write = world.writes[i];
            let mut rest = world.clone();
            rest.writes.remove(i);
            if let Some((process, pipeline)) = write.waits {
                rest.processes[usize::from(process)].stage[usize::from(pipeline)] = Stage::Idle;
            }
            let (applied, mut result) = self.land(rest.clone(), write.request, write.what, write.fresh);
            if let (Some(Break::WindowFromAnswer), Ok(next)) = (self.broken, &mut result) {
                answered_later(next, write, applied);
            }
            let event = Event::WriteLands { request: write.request, what: write.what, applied };
            found.push(Move { event, fault: false, result });
            let waited = write.waits.is_some();
            if waited && world.left.writes == 0 {
                continue;
            }
            rest.left.writes -= u8::from(waited);
            if waited {
                let mut late = rest.clone();
                late.writes.push(Write { waits: None, ..write });
                found.push(Move { event: Event::WriteGivenUp { request: write.request }, fault: true, result: Ok(late) });
            }
            found.push(Move { event: Event::WriteLost { request: write.request }, fault: waited, result: Ok(rest) });
        }
    }

    fn land(&self, mut world: World, request: u8, what: What, fresh: bool) -> (bool, Result<World, Violation>) {
        let unguarded =
            matches!((self.broken, what), (Some(Break::DropUnguarded), What::DropPlan) | (Some(Break::CloseUnguarded), What::Close(..)));
        let record = match (world.record(request).copied(), what) {
            (None, What::Create(record)) => record,
            (Some(_), What::Create(_)) | (None, _) => return (false, Ok(world)),
            (Some(record), _) if !(fresh || unguarded && record.plan.is_some() && !record.is_closed()) => return (false, Ok(world)),
            (Some(record), What::Put { plan, writer }) => Record { plan: Some(plan), writer, attempt: 1, ..record },
            (Some(record), What::DropPlan) => {
                // The closed first attempt would hide what this break does.
                let closed = record.closed.filter(|_| self.broken != Some(Break::DropTheRetry));
                Record { plan: None, writer: 0, attempt: 0, closed, ..record }
            }
            (Some(record), What::Retry { writer }) => Record { writer, attempt: record.attempt + 1, ..record },
            (Some(record), What::Close(word, attempt)) => {
                if let Err(violation) = self.check_close(&mut world, request, word) {
                    return (true, Err(violation));
                }
                Record { closed: Some(Closed { attempt, word }), ..record }
            }
        };
        if let What::Put { .. } | What::Create(_) = what {
            world.truth(request).in_force = 0;
        }
        world.replace(request, record);
        (true, Ok(world))
    }

    fn check_close(&self, world: &mut World, request: u8, word: Word) -> Result<(), Violation> {
        if world.commits.iter().any(|c| c.request == request) {
            return Err(Violation::ClosedTooEarly);
        }
        let all: Parts = (1 << self.mind.setting.partitions) - 1;
        let truth = *world.truth(request);
        match word {
            Word::Verified if truth.in_force & all != all => Err(Violation::NotInForce),
            Word::Abandoned if truth.hits != [[0; PARTS]; 2] => Err(Violation::AbandonedAfterAHit),
            _ => Ok(()),
        }
    }

    pub fn commits(&self, world: &World, found: &mut Vec<Move>) {
        for i in 0..world.commits.len() {
            let commit = world.commits[i];
            let mut rest = world.clone();
            rest.commits.remove(i);
            let waited = commit.waits.is_some();
            let mut land = |refused: Parts, told: bool, fault: bool, left: Left| {
                let mut next = World { left, ..rest.clone() };
                let result = apply(&mut next, commit.request, commit.attempt, commit.parts & !refused);
                if let (true, Some((process, pipeline))) = (told, commit.waits) {
                    let (process, pipeline) = (usize::from(process), usize::from(pipeline));
                    if let Stage::Sending { writer, .. } = next.processes[process].stage[pipeline] {
                        let age = next.processes[process].ours.iter().find(|o| o.writer == writer).map_or(u8::MAX, |o| o.age);
                        if commit.then != 0 && refused == 0 && age < self.ticks.window {
                            next.commits.push(Commit { parts: commit.then, then: 0, life: self.ticks.life(), ..commit });
                        } else {
                            answer(&mut next, process, pipeline, writer, Answer::Refused(refused | commit.then));
                        }
                    }
                }
                let event = Event::CommitLands { request: commit.request, refused, told };
                found.push(Move { event, fault, result: result.map(|()| next) });
            };
            let refused = if world.member { commit.parts } else { 0 };
            land(refused, waited, false, world.left);
            if waited && world.left.commits > 0 {
                land(refused, false, true, Left { commits: world.left.commits - 1, ..world.left });
            }
            if !world.member && world.left.partial > 0 {
                let left = Left { partial: world.left.partial - 1, ..world.left };
                for refused in (1..=commit.parts).filter(|r| r & !commit.parts == 0) {
                    land(refused, waited, true, left);
                }
            }
            if waited && world.left.commits == 0 {
                continue;
            }
            rest.left.commits -= u8::from(waited);
            found.push(Move { event: Event::CommitLost { request: commit.request }, fault: waited, result: Ok(rest) });
        }
    }
}

pub fn answer(world: &mut World, process: usize, pipeline: usize, writer: u8, said: Answer) {
    let process = &mut world.processes[process];
    process.stage[pipeline] = Stage::Idle;
    for ours in process.ours.iter_mut().filter(|o| o.writer == writer) {
        if let Sent::Yes { answer, .. } = &mut ours.sent {
            *answer = said;
        }
    }
}

fn apply(world: &mut World, request: u8, attempt: u8, parts: Parts) -> Result<(), Violation> {
    for p in (0..PARTS).filter(|p| parts & 1 << p != 0) {
        world.set_offset(p, target(request, p, world.undoes));
        if world.offsets == [NONE; PARTS] {
            return Err(Violation::Emptied);
        }
        let hits = &mut world.truth(request).hits[usize::from(attempt.clamp(1, 2)) - 1][p];
        *hits += 1;
        if *hits > 1 {
            return Err(Violation::AppliedTwice);
        }
    }
    Ok(())
}

/// For [`Break::WindowFromAnswer`]: the answer to a plan's write arrives some time after the write was applied, and starts the window.
fn answered_later(world: &mut World, write: Write, applied: bool) {
    let (What::Create(Record { writer, .. }) | What::Put { writer, .. }, Some((process, pipeline))) = (write.what, write.waits) else {
        return;
    };
    let process = &mut world.processes[usize::from(process)];
    if applied {
        process.stage[usize::from(pipeline)] = Stage::Writing;
        world.writes.push(Write { fresh: false, ..write });
    } else {
        process.ours.iter_mut().filter(|o| o.writer == writer).for_each(|o| o.age = 0);
    }
}
