//! Everything that can happen next: steps of the replicas, messages that land or do not, time, and what others do.

use std::fmt;

use crate::breaks::Break;
use crate::process::{Actor, Violation};
use crate::real::{Mind, Ticks};
use crate::world::{
    Answer, BEFORE, CHANGE_ID, Closed, DELETE, ELSEWHERE, Left, PARTS, Parts, Pipeline, PlanState, RECREATE, REMOVE_ID, RETRY, Record,
    Sent, Stage, What, Word, World, Write, target,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    Tick,
    Pass { process: u8, pipeline: u8, late: bool },
    LookApi { process: u8 },
    LookGroup { process: u8 },
    Fire { process: u8 },
    Watch { process: u8 },
    WriteLands { request: u8, what: What, applied: bool },
    WriteLost { request: u8 },
    WriteGivenUp { request: u8 },
    CommitLands { request: u8, refused: Parts, told: bool },
    CommitLost { request: u8 },
    CommitGivenUp { process: u8 },
    Crash { process: u8 },
    Join,
    Leave,
    Move { partition: u8, to: u8 },
    Edit(u8),
}

/// `fault`: nothing that has to happen, so nothing to rely on for an end.
pub struct Move {
    pub event: Event,
    pub fault: bool,
    pub result: Result<World, Violation>,
}

pub struct Rules<'a> {
    pub mind: &'a mut Mind,
    pub ticks: Ticks,
    pub broken: Option<Break>,
}

impl Rules<'_> {
    pub fn moves(&mut self, world: &World) -> Vec<Move> {
        let mut found = Vec::new();
        self.processes(world, &mut found);
        self.writes(world, &mut found);
        self.commits(world, &mut found);
        others(world, self.mind.partitions, &mut found);
        let next = self.tick(world);
        found.push(Move { event: Event::Tick, fault: false, result: Ok(next) });
        found
    }

    fn processes(&mut self, world: &World, found: &mut Vec<Move>) {
        for process in 0..world.processes.len() {
            for pipeline in 0..world.pipelines.len() {
                let mut actor = Actor { mind: self.mind, ticks: self.ticks, broken: self.broken, process, pipeline };
                let (a, p) = (process as u8, pipeline as u8);
                let mut add = |event, result| found.push(Move { event, fault: false, result });
                for late in [false, true] {
                    if let Some(result) = actor.begin(world, late) {
                        add(Event::Pass { process: a, pipeline: p, late }, result);
                    }
                }
                if let Some(next) = actor.look_api(world) {
                    add(Event::LookApi { process: a }, Ok(next));
                }
                if let Some(next) = actor.look_group(world) {
                    add(Event::LookGroup { process: a }, Ok(next));
                }
                if let Some(result) = actor.fire(world) {
                    add(Event::Fire { process: a }, result);
                }
                if world.processes[process].view[pipeline] != world.pipelines[pipeline] {
                    let mut next = world.clone();
                    next.processes[process].view[pipeline] = world.pipelines[pipeline];
                    add(Event::Watch { process: a }, Ok(next));
                }
                if let Stage::Sending { writer, .. } = world.processes[process].stage[pipeline] {
                    let waits = Some((a, p));
                    let alive = world.commits.iter().any(|c| c.waits == waits);
                    if alive && world.left.commits == 0 {
                        continue;
                    }
                    let mut next = world.clone();
                    next.left.commits -= u8::from(alive);
                    for commit in next.commits.iter_mut().filter(|c| c.waits == waits) {
                        (commit.waits, commit.life) = (None, commit.life.min(self.ticks.late));
                    }
                    answer(&mut next, process, pipeline, writer, Answer::None(0));
                    found.push(Move { event: Event::CommitGivenUp { process: a }, fault: alive, result: Ok(next) });
                }
            }
            if world.left.crashes > 0 {
                found.push(Move { event: Event::Crash { process: process as u8 }, fault: true, result: Ok(self.crash(world, process)) });
            }
        }
    }

    fn crash(&self, world: &World, process: usize) -> World {
        let mut next = world.clone();
        next.left.crashes -= 1;
        let dead = &mut next.processes[process];
        dead.ours.clear();
        dead.seen.clear();
        dead.stage.iter_mut().for_each(|s| *s = Stage::Idle);
        dead.view.clone_from(&world.pipelines);
        let of_it = |waits: Option<(u8, u8)>| waits.is_some_and(|(p, _)| usize::from(p) == process);
        for write in next.writes.iter_mut().filter(|w| of_it(w.waits)) {
            write.waits = None;
        }
        for commit in next.commits.iter_mut().filter(|c| of_it(c.waits)) {
            (commit.waits, commit.life) = (None, commit.life.min(self.ticks.late));
        }
        next
    }

    fn writes(&self, world: &World, found: &mut Vec<Move>) {
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
            matches!((self.broken, what), (Some(Break::UnloadUnguarded), What::Unload) | (Some(Break::CloseUnguarded), What::Close(..)));
        let record = match (world.record(request).copied(), what) {
            (None, What::Create(record)) => record,
            (Some(_), What::Create(_)) | (None, _) => return (false, Ok(world)),
            (Some(record), _) if !(fresh || unguarded && record.plan.is_some() && !record.is_closed()) => return (false, Ok(world)),
            (Some(record), What::Put { plan, writer }) => Record { plan: Some(plan), writer, attempt: 1, ..record },
            (Some(record), What::Unload) => {
                // The closed first attempt would stand in the way of what this leaves out.
                let closed = record.closed.filter(|_| self.broken != Some(Break::UnloadTheRetry));
                Record { plan: None, writer: 0, attempt: 0, closed, ..record }
            }
            (Some(record), What::Rearm { writer }) => Record { writer, attempt: record.attempt + 1, ..record },
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
        let all: Parts = (1 << self.mind.partitions) - 1;
        let truth = *world.truth(request);
        match word {
            Word::Verified if truth.in_force & all != all => Err(Violation::NotInForce),
            Word::Abandoned if truth.hits != [[0; PARTS]; 2] => Err(Violation::AbandonedAfterAHit),
            _ => Ok(()),
        }
    }

    fn commits(&self, world: &World, found: &mut Vec<Move>) {
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
                        answer(&mut next, process, pipeline, writer, Answer::Refused(refused));
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

    fn tick(&self, world: &World) -> World {
        let mut next = world.clone();
        let (wait, window) = (self.ticks.wait(), self.ticks.window);
        let older = |age: &mut u8, cap: u8| *age = (*age + 1).min(cap);
        for process in &mut next.processes {
            for ours in &mut process.ours {
                older(&mut ours.age, window);
                if let Sent::Yes { answer: Answer::None(age), .. } = &mut ours.sent {
                    older(age, wait);
                }
            }
            process.seen.iter_mut().for_each(|s| older(&mut s.age, wait));
            for stage in &mut process.stage {
                if let Stage::Looking(look) = stage
                    && let PlanState::Unsent { age, .. } = &mut look.state
                {
                    older(age, window);
                }
            }
        }
        for commit in &mut next.commits {
            commit.life -= 1;
        }
        next.commits.retain(|c| c.life > 0);
        next
    }
}

fn answer(world: &mut World, process: usize, pipeline: usize, writer: u8, said: Answer) {
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
        world.set_offset(p, target(request));
        let hits = &mut world.truth(request).hits[usize::from(attempt.clamp(1, 2)) - 1][p];
        *hits += 1;
        if *hits > 1 {
            return Err(Violation::AppliedTwice);
        }
    }
    Ok(())
}

/// For [`Break::WindowFromAnswer`]: the answer to a plan's write comes some time after it was applied, and sets the clock.
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

/// The consumer, the other tool and the user.
fn others(world: &World, partitions: usize, found: &mut Vec<Move>) {
    let mut add = |event, fault, next: World| found.push(Move { event, fault, result: Ok(next) });
    if world.member {
        add(Event::Leave, false, World { member: false, ..world.clone() });
    } else if world.left.joins > 0 {
        let mut next = World { member: true, ..world.clone() };
        next.left.joins -= 1;
        add(Event::Join, true, next);
    }
    if world.left.moves > 0 {
        for (partition, to) in (0..partitions).flat_map(|p| [(p, BEFORE), (p, ELSEWHERE)]) {
            if world.offsets[partition] != to {
                let mut next = world.clone();
                next.left.moves -= 1;
                next.set_offset(partition, to);
                add(Event::Move { partition: partition as u8, to }, true, next);
            }
        }
    }
    for edit in [CHANGE_ID, REMOVE_ID, RETRY, DELETE, RECREATE].into_iter().filter(|e| world.left.edits & e != 0) {
        let now = world.pipelines[0];
        let changed = match edit {
            CHANGE_ID if now.exists && now.request == 1 => Pipeline { request: 2, ..now },
            REMOVE_ID if now.exists && now.request != 0 => Pipeline { request: 0, ..now },
            RETRY if now.exists => Pipeline { retry: true, ..now },
            DELETE if now.exists => Pipeline { exists: false, ..now },
            RECREATE if !now.exists => Pipeline { exists: true, uid: now.uid + 1, ..now },
            _ => continue,
        };
        let mut next = world.clone();
        next.left.edits &= !edit;
        next.pipelines[0] = changed;
        // One that was deleted is made again: whoever deletes it for good is left to what the scenario says of that.
        add(Event::Edit(edit), edit != RECREATE, next);
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |process: &u8| if *process == 0 { 'A' } else { 'B' };
        match self {
            Event::Tick => write!(f, "a tick passes"),
            Event::Pass { process, pipeline, late } => {
                let late = if *late { ", not knowing of the earlier record" } else { "" };
                write!(f, "{} makes a pass for pipeline {pipeline}{late}", who(process))
            }
            Event::LookApi { process } => write!(f, "{} reads StreamPipeline and list", who(process)),
            Event::LookGroup { process } => write!(f, "{} reads the group", who(process)),
            Event::Fire { process } => write!(f, "{} decides on its second look", who(process)),
            Event::Watch { process } => write!(f, "{}'s watch delivers the StreamPipeline", who(process)),
            Event::WriteLands { request, what, applied } => {
                let what = match what {
                    What::Create(_) => "the record with its plan",
                    What::Put { .. } => "the plan",
                    What::Unload => "the unload",
                    What::Rearm { .. } => "the retry",
                    What::Close(word, _) => return write!(f, "request {request}: closed as {word:?}: {}", landed(*applied)),
                };
                write!(f, "request {request}: {what}: {}", landed(*applied))
            }
            Event::WriteLost { request } => write!(f, "request {request}: a write to the record is lost"),
            Event::WriteGivenUp { request } => write!(f, "request {request}: a write to the record is given up and still under way"),
            Event::CommitLands { request, refused, told } => {
                let told = if *told { "" } else { ", nobody is told" };
                write!(f, "request {request}: the commit lands (refused: {refused:02b}){told}")
            }
            Event::CommitLost { request } => write!(f, "request {request}: the commit is lost"),
            Event::CommitGivenUp { process } => write!(f, "{} gives the commit up", who(process)),
            Event::Crash { process } => write!(f, "{} crashes and starts again", who(process)),
            Event::Join => write!(f, "a consumer joins"),
            Event::Leave => write!(f, "the consumer leaves"),
            Event::Move { partition, to } => write!(f, "somebody else moves partition {partition} to {to}"),
            Event::Edit(edit) => write!(
                f,
                "the user {}",
                match *edit {
                    CHANGE_ID => "changes the id",
                    REMOVE_ID => "removes the id",
                    RETRY => "sets Retry",
                    DELETE => "deletes the StreamPipeline",
                    _ => "creates it again",
                }
            ),
        }
    }
}

fn landed(applied: bool) -> &'static str {
    if applied { "written" } else { "refused, it is not the newest" }
}
