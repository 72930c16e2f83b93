//! Everything that can happen next: steps of the replicas, messages that arrive or do not, time, and what others do.

use crate::breaks::Break;
use crate::events::Event;
use crate::messages::answer;
use crate::mind::{Mind, Setting};
use crate::objects::Ticks;
use crate::process::Actor;
use crate::violation::Violation;
use crate::world::{
    Answer, BEFORE, CHANGE_ID, DELETE, ELSEWHERE, Pipeline, PlanState, RECREATE, REMOVE_ID, RETRY, SETTLED, Sent, Stage, World,
};

/// `fault`: this need not happen, so no end may depend on it.
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
        others(world, self.mind.setting, &mut found);
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
                if let Some(next) = actor.report(world) {
                    add(Event::Report { process: a, pipeline: p }, Ok(next));
                }
                if let Some(result) = actor.fire(world) {
                    add(Event::Fire { process: a }, result);
                }
                if let Some(next) = actor.watch(world) {
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

    fn tick(&self, world: &World) -> World {
        let mut next = world.clone();
        let (wait, window) = (self.ticks.wait(), self.ticks.window);
        let older = |age: &mut u8, cap: u8| *age = (*age + 1).min(cap);
        let settle = |pipeline: &mut Pipeline| {
            if pipeline.exists {
                pipeline.age = (pipeline.age + 1).min(SETTLED);
            }
        };
        next.pipelines.iter_mut().for_each(settle);
        for process in &mut next.processes {
            process.view.iter_mut().for_each(settle);
            for ours in &mut process.ours {
                older(&mut ours.age, window);
                if let Sent::Yes { answer: Answer::None(age), .. } = &mut ours.sent {
                    older(age, wait);
                }
            }
            process.seen.iter_mut().for_each(|s| older(&mut s.age, wait));
            for stage in &mut process.stage {
                if let Stage::Looking(look) = stage {
                    settle(&mut look.pipeline);
                    if let PlanState::Unsent { age, .. } = &mut look.state {
                        older(age, window);
                    }
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

/// Created again in the same second as the other one, or in a later one.
fn made_again(world: &World, before: Pipeline, setting: Setting) -> Pipeline {
    let same_second = world.pipelines.iter().any(|other| other.exists && other.age == 0);
    let age = if setting.in_turn { 0 } else { SETTLED };
    Pipeline { exists: true, uid: before.uid + u8::from(!same_second), looked: false, age, ..before }
}

/// What the consumer, the other tool and the user do.
fn others(world: &World, setting: Setting, found: &mut Vec<Move>) {
    let mut add = |event, fault, next: World| found.push(Move { event, fault, result: Ok(next) });
    if world.member {
        add(Event::Leave, false, World { member: false, ..world.clone() });
    } else if world.left.joins > 0 {
        let mut next = World { member: true, ..world.clone() };
        next.left.joins -= 1;
        add(Event::Join, true, next);
    }
    if world.left.moves > 0 {
        for (partition, to) in (0..setting.partitions).flat_map(|p| [(p, BEFORE), (p, ELSEWHERE)]) {
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
            DELETE if now.exists => Pipeline { exists: false, age: SETTLED, ..now },
            RECREATE if !now.exists => made_again(world, now, setting),
            _ => continue,
        };
        let mut next = world.clone();
        next.left.edits &= !edit;
        (next.pipelines[0], next.changed_last) = (changed, 0);
        // A deleted pipeline is always created again, unless the scenario says that it stays deleted.
        add(Event::Edit(edit), edit != RECREATE, next);
    }
}
