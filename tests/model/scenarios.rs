//! The worlds that are explored, each as small as its purpose allows.

use crate::breaks::Break;
use crate::mind::Setting;
use crate::world::{
    BEFORE, CHANGE_ID, DELETE, Left, NONE, PARTS, Pipeline, Process, RECREATE, REMOVE_ID, RETRY, Record, SETTLED, Stage, Truth, World,
};

#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub partitions: usize,
    pub replicas: usize,
    pub pipelines: usize,
    /// Each pipeline in a namespace of its own.
    pub apart: bool,
    /// Of two pipelines in one namespace the older acts.
    pub in_turn: bool,
    /// The first pipeline by name does not exist yet, and the second was created a moment ago.
    pub young: bool,
    pub fails_when_active: bool,
    /// Request 1 is an undo that deletes a commit: its group has one commit, and is left with another.
    pub undoes: bool,
    pub left: Left,
}

const NOTHING: Left = Left { crashes: 0, writes: 0, commits: 0, partial: 0, joins: 0, moves: 0, edits: 0 };
const ONE: Scenario = Scenario {
    name: "",
    partitions: 1,
    replicas: 1,
    pipelines: 1,
    apart: false,
    in_turn: false,
    young: false,
    fails_when_active: false,
    undoes: false,
    left: NOTHING,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "nothing goes wrong", ..ONE },
    Scenario {
        name: "one replica, two crashes, lost and late messages",
        left: Left { crashes: 2, writes: 1, commits: 1, moves: 1, ..NOTHING },
        ..ONE
    },
    Scenario { name: "a consumer comes and goes", left: Left { crashes: 1, writes: 1, joins: 2, moves: 1, ..NOTHING }, ..ONE },
    Scenario { name: "two replicas", replicas: 2, left: Left { crashes: 1, commits: 1, moves: 1, ..NOTHING }, ..ONE },
    Scenario { name: "two replicas, late writes", replicas: 2, left: Left { writes: 1, joins: 1, ..NOTHING }, ..ONE },
    Scenario {
        name: "two partitions, refused one by one",
        partitions: 2,
        left: Left { crashes: 1, commits: 1, partial: 2, moves: 1, ..NOTHING },
        ..ONE
    },
    Scenario {
        name: "two replicas, two partitions",
        partitions: 2,
        replicas: 2,
        left: Left { crashes: 1, partial: 1, moves: 1, ..NOTHING },
        ..ONE
    },
    Scenario { name: "Retry", left: Left { crashes: 1, commits: 1, moves: 1, joins: 1, edits: RETRY, ..NOTHING }, ..ONE },
    Scenario { name: "Retry, two replicas", replicas: 2, left: Left { crashes: 1, commits: 1, edits: RETRY, ..NOTHING }, ..ONE },
    Scenario {
        name: "the user changes and removes the id",
        left: Left { crashes: 1, commits: 1, moves: 1, edits: CHANGE_ID | REMOVE_ID, ..NOTHING },
        ..ONE
    },
    Scenario { name: "the id changes, two replicas", replicas: 2, left: Left { commits: 1, edits: CHANGE_ID, ..NOTHING }, ..ONE },
    Scenario {
        name: "deleted and created again",
        left: Left { crashes: 1, commits: 1, writes: 1, edits: DELETE | RECREATE, ..NOTHING },
        ..ONE
    },
    Scenario { name: "two pipelines of one group", pipelines: 2, left: Left { crashes: 1, commits: 1, ..NOTHING }, ..ONE },
    Scenario {
        name: "two pipelines of one group, in two namespaces",
        pipelines: 2,
        apart: true,
        left: Left { crashes: 1, commits: 1, ..NOTHING },
        ..ONE
    },
    Scenario {
        name: "two pipelines of one namespace, the older deleted and made again",
        pipelines: 2,
        in_turn: true,
        left: Left { commits: 1, edits: DELETE | RECREATE, ..NOTHING },
        ..ONE
    },
    Scenario {
        name: "two pipelines of one namespace, the older deleted for good",
        pipelines: 2,
        in_turn: true,
        left: Left { crashes: 1, commits: 1, edits: DELETE, ..NOTHING },
        ..ONE
    },
    Scenario {
        name: "two pipelines of one namespace, the first by name made a moment later",
        pipelines: 2,
        in_turn: true,
        young: true,
        left: Left { crashes: 1, commits: 1, joins: 1, edits: RECREATE, ..NOTHING },
        ..ONE
    },
    Scenario {
        name: "given up where a consumer comes",
        fails_when_active: true,
        left: Left { crashes: 1, writes: 1, joins: 1, ..NOTHING },
        ..ONE
    },
    Scenario {
        name: "an undo that deletes a commit, refused one by one",
        partitions: 2,
        undoes: true,
        left: Left { crashes: 1, commits: 1, partial: 2, moves: 1, ..NOTHING },
        ..ONE
    },
    Scenario {
        name: "an undo that deletes a commit, and the id changes",
        partitions: 2,
        undoes: true,
        left: Left { crashes: 1, commits: 1, joins: 1, edits: CHANGE_ID, ..NOTHING },
        ..ONE
    },
    Scenario {
        name: "an undo that deletes a commit, two replicas",
        partitions: 2,
        replicas: 2,
        undoes: true,
        left: Left { crashes: 1, commits: 1, ..NOTHING },
        ..ONE
    },
];

/// Explored with MODEL=all only.
pub const LARGE: &[Scenario] = &[
    Scenario {
        name: "Retry, late writes",
        left: Left { crashes: 1, commits: 1, writes: 1, moves: 1, joins: 1, edits: RETRY, ..NOTHING },
        ..ONE
    },
    Scenario {
        name: "two pipelines of one group, and somebody else",
        pipelines: 2,
        left: Left { crashes: 1, commits: 1, moves: 1, ..NOTHING },
        ..ONE
    },
    Scenario {
        name: "two pipelines of one group, in two namespaces, and somebody else",
        pipelines: 2,
        apart: true,
        left: Left { crashes: 1, commits: 1, moves: 1, ..NOTHING },
        ..ONE
    },
    Scenario {
        name: "two pipelines of one group, in two namespaces, late writes",
        pipelines: 2,
        apart: true,
        left: Left { commits: 1, writes: 1, ..NOTHING },
        ..ONE
    },
    Scenario { name: "two replicas, two late writes", replicas: 2, left: Left { writes: 2, joins: 1, ..NOTHING }, ..ONE },
    Scenario {
        name: "two replicas, two crashes, lost and late messages",
        replicas: 2,
        left: Left { crashes: 2, writes: 1, commits: 1, moves: 1, ..NOTHING },
        ..ONE
    },
    Scenario { name: "two pipelines, two replicas, lost answers", replicas: 2, pipelines: 2, left: Left { commits: 1, ..NOTHING }, ..ONE },
    Scenario {
        name: "two pipelines of one namespace, two replicas, a crash",
        replicas: 2,
        pipelines: 2,
        in_turn: true,
        left: Left { crashes: 1, ..NOTHING },
        ..ONE
    },
];

impl Scenario {
    pub fn setting(&self) -> Setting {
        let Scenario { partitions, apart, in_turn, fails_when_active, undoes, .. } = *self;
        Setting { partitions, apart, in_turn, fails_when_active, undoes }
    }

    pub fn world(&self) -> World {
        let pipeline = |request: usize| Pipeline {
            exists: !self.young || request == 2,
            uid: 0,
            request: request as u8,
            retry: false,
            looked: false,
            age: if self.young && request == 2 { 0 } else { SETTLED },
        };
        let pipelines: Vec<_> = (1..=self.pipelines).map(pipeline).collect();
        let stage = vec![Stage::Idle; self.pipelines];
        let process = Process { view: pipelines.clone(), stage, ..Process::default() };
        World {
            offsets: if self.undoes { [NONE, BEFORE] } else { [BEFORE; PARTS] },
            member: false,
            pipelines,
            changed_last: 0,
            records: [None; 2],
            processes: vec![process; self.replicas],
            writes: Vec::new(),
            commits: Vec::new(),
            left: self.left,
            undoes: self.undoes,
            truth: [Truth::default(); 2],
        }
    }

    /// Nothing is under way, all records are closed, and each request has one unless its StreamPipeline waits for an older one. Open
    /// records of a deleted StreamPipeline do not count: they are closed once another one needs that.
    pub fn is_end(&self, world: &World) -> bool {
        let quiet = world.writes.is_empty() && world.commits.is_empty();
        let is_there = |r: &&Record| world.pipelines[usize::from(r.pipeline)].exists;
        let closed = world.records.iter().flatten().filter(is_there).all(|r| r.is_closed());
        let waits = |(i, p): (usize, &Pipeline)| self.in_turn && world.older_beside(i, p.uid).is_some();
        let mut asked = world.pipelines.iter().enumerate().filter(|(_, p)| p.exists && p.request != 0);
        quiet && closed && asked.all(|(i, p)| world.record(p.request).is_some() || waits((i, p)))
    }
}

/// Each broken rule, and the world in which that shows.
pub const BROKEN: &[(Break, Scenario)] = &[
    (Break::SendFirst, Scenario { left: Left { writes: 1, ..NOTHING }, ..ONE }),
    (Break::RestartedSends, Scenario { left: Left { crashes: 1, moves: 1, ..NOTHING }, ..ONE }),
    (Break::NoSecondLook, Scenario { left: Left { moves: 1, ..NOTHING }, ..ONE }),
    (Break::NoWait, Scenario { replicas: 2, ..ONE }),
    (Break::WaitTooShort, Scenario { replicas: 2, ..ONE }),
    (Break::NoWindow, Scenario { replicas: 2, ..ONE }),
    (Break::WindowFromAnswer, Scenario { replicas: 2, left: Left { writes: 1, ..NOTHING }, ..ONE }),
    (Break::DropAfterRestart, Scenario { left: Left { crashes: 1, moves: 1, ..NOTHING }, ..ONE }),
    (Break::DropUnguarded, Scenario { left: Left { writes: 1, joins: 1, moves: 1, commits: 1, ..NOTHING }, ..ONE }),
    (Break::CloseUnguarded, Scenario { replicas: 2, left: Left { writes: 1, joins: 1, ..NOTHING }, ..ONE }),
    (Break::DropTheRetry, Scenario { partitions: 2, left: Left { commits: 1, partial: 1, edits: RETRY, ..NOTHING }, ..ONE }),
    (Break::NotAlone, Scenario { pipelines: 2, ..ONE }),
    (Break::ToldOnly, Scenario { pipelines: 2, ..ONE }),
    (Break::NoSecondLook, Scenario { pipelines: 2, apart: true, ..ONE }),
    (Break::ForgetDead, Scenario { left: Left { writes: 1, joins: 1, moves: 1, ..NOTHING }, ..ONE }),
    (Break::WaitPerRecord, Scenario { replicas: 2, left: Left { joins: 1, ..NOTHING }, ..ONE }),
    (Break::NotAskedAgain, Scenario { left: Left { edits: REMOVE_ID, ..NOTHING }, ..ONE }),
    (Break::NotAskedAgain, Scenario { left: Left { edits: DELETE | RECREATE, ..NOTHING }, ..ONE }),
    (Break::EndToldBefore, Scenario { fails_when_active: true, left: Left { joins: 1, ..NOTHING }, ..ONE }),
    (Break::NobodyGoesAfter, Scenario { pipelines: 2, ..ONE }),
    (Break::EverybodyGoesAfter, Scenario { pipelines: 2, ..ONE }),
    (Break::PlanGoesAfter, Scenario { pipelines: 2, ..ONE }),
    (Break::NotInTurn, Scenario { pipelines: 2, in_turn: true, ..ONE }),
    (Break::UnreadIsNone, Scenario { pipelines: 2, in_turn: true, ..ONE }),
    (Break::YoungActs, Scenario { pipelines: 2, in_turn: true, young: true, left: Left { edits: RECREATE, ..NOTHING }, ..ONE }),
    (Break::CopiesOnly, Scenario { pipelines: 2, in_turn: true, young: true, left: Left { edits: RECREATE, ..NOTHING }, ..ONE }),
    (Break::OrphanLeft, Scenario { pipelines: 2, in_turn: true, left: Left { edits: DELETE, ..NOTHING }, ..ONE }),
    (Break::TiesLost, Scenario { pipelines: 2, in_turn: true, ..ONE }),
    (Break::DeletesFirst, Scenario { partitions: 2, undoes: true, ..ONE }),
    (Break::DeletesWhatMoved, Scenario { partitions: 2, undoes: true, left: Left { moves: 1, ..NOTHING }, ..ONE }),
    (Break::ResendLater, Scenario { partitions: 2, replicas: 2, left: Left { partial: 1, ..NOTHING }, ..ONE }),
];
