//! Explores all states breadth first, so that the first violation found has a shortest history; then checks the graph.

use std::hash::{BuildHasherDefault, Hasher};

use indexmap::IndexSet;

use crate::breaks::Break;
use crate::events::Event;
use crate::graph::Graph;
use crate::mind::Mind;
use crate::moves::Rules;
use crate::objects::Ticks;
use crate::scenarios::Scenario;
use crate::violation::Violation;
use crate::world::World;

pub struct Outcome {
    pub states: usize,
    pub found: Option<(Violation, Vec<String>)>,
}

/// A fast hash; collisions do no harm, because states are compared in full.
#[derive(Default)]
pub struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.write_u64(n as u64);
    }
}

const NONE: u32 = u32::MAX;

pub fn explore(scenario: &Scenario, ticks: Ticks, broken: Option<Break>) -> Outcome {
    let mut mind = Mind::new(ticks, scenario.setting(), broken);
    let mut rules = Rules { mind: &mut mind, ticks, broken };
    let first = scenario.world().spelled();
    // Each world is held once: memory limits how large the worlds can be.
    let mut worlds: IndexSet<World, BuildHasherDefault<Mix>> = IndexSet::from_iter([first]);
    let mut came = vec![NONE];
    let mut graph = Graph::default();
    graph.add_state();
    let mut ends = Vec::new();
    let mut at = 0;
    while at < worlds.len() {
        let world = worlds[at].clone();
        if scenario.is_end(&world) {
            ends.push(at);
        }
        let is_behind = world.processes.iter().any(|process| process.view != world.pipelines);
        for step in rules.moves(&world) {
            let next = match step.result.map(World::spelled) {
                Ok(next) => next,
                Err(violation) => {
                    let told = history(&mut rules, scenario.world(), &path(&worlds, &came, at), Some(violation));
                    return Outcome { states: worlds.len(), found: Some((violation, told)) };
                }
            };
            if next == world {
                continue;
            }
            let (to, is_new) = worlds.insert_full(next);
            if is_new {
                came.push(at as u32);
                graph.add_state();
            }
            if !step.fault {
                graph.add(at, to, is_behind || step.event == Event::Tick);
            }
        }
        at += 1;
    }
    let mut to_there = |at: usize| history(&mut rules, scenario.world(), &path(&worlds, &came, at), None);
    let circling = graph.circling();
    let found = if let Some(at) = graph.stuck(ends) {
        let mut told = to_there(at);
        told.push("from here nothing leads to an end; as it may go on:".to_owned());
        told.extend(onward(&mut rules, worlds[at].clone(), |_| true));
        Some((Violation::DeadEnd, told))
    } else if let Some(at) = circling.iter().position(|circles| *circles) {
        let mut told = to_there(at);
        told.push("and from here it may come to where it was, again and again:".to_owned());
        told.extend(onward(&mut rules, worlds[at].clone(), |next| worlds.get_index_of(next).is_some_and(|at| circling[at])));
        Some((Violation::Circle, told))
    } else {
        None
    };
    Outcome { states: worlds.len(), found }
}

fn path<'a>(worlds: &'a IndexSet<World, BuildHasherDefault<Mix>>, came: &[u32], mut at: usize) -> Vec<&'a World> {
    let mut path = Vec::new();
    while at != 0 {
        path.push(&worlds[at]);
        at = came[at] as usize;
    }
    path.reverse();
    path
}

/// Follows steps to new states, without faults and without time passing. Returns the steps, and the state they end in.
fn onward(rules: &mut Rules, mut world: World, goes: impl Fn(&World) -> bool) -> Vec<String> {
    let (mut told, mut seen) = (Vec::new(), vec![world.clone()]);
    loop {
        let moves = rules.moves(&world).into_iter().filter(|m| !m.fault && m.event != Event::Tick);
        let mut nexts = moves.filter_map(|m| Some((m.event, m.result.ok()?.spelled())));
        let Some((event, next)) = nexts.find(|(_, next)| !seen.contains(next) && goes(next)) else { break };
        told.push(event.to_string());
        seen.push(next.clone());
        world = next;
    }
    told.push(format!("{world:?}"));
    told
}

/// The history in words. It is replayed from the beginning, so that each replica keeps its own name.
fn history(rules: &mut Rules, mut world: World, path: &[&World], last: Option<Violation>) -> Vec<String> {
    let mut told = Vec::new();
    for next in path {
        let same = |result: &Result<World, Violation>| result.as_ref().is_ok_and(|w| w.clone().spelled() == **next);
        let step = rules.moves(&world).into_iter().find(|m| same(&m.result)).expect("each state of a path follows from the one before");
        told.push(step.event.to_string());
        world = step.result.expect("it is a state").tidied();
    }
    let end = last.and_then(|v| rules.moves(&world).into_iter().find(|m| m.result == Err(v)));
    told.extend(end.map(|m| m.event.to_string()));
    told
}
