//! One state of the modelled world: small, cloneable, hashable. Times are kept as ages, which stop growing once nothing depends on them.

/// The most partitions.
pub const PARTS: usize = 2;
/// Where the group stands at first, and where somebody else may move it to.
pub const BEFORE: u8 = 5;
pub const ELSEWHERE: u8 = 6;
/// Both logs start here (the target of request 1) and end there (the target of request 2).
pub const START: u8 = 0;
pub const END: u8 = 9;
/// Nothing is committed.
pub const NONE: u8 = 255;

pub type Offsets = [u8; PARTS];
/// A set of partitions.
pub type Parts = u8;

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct World {
    pub offsets: Offsets,
    pub member: bool,
    pub pipelines: Vec<Pipeline>,
    /// The pipeline that changed last: the watch delivers changes in order.
    pub changed_last: u8,
    /// By request, 1 and 2.
    pub records: [Option<Record>; 2],
    pub processes: Vec<Process>,
    pub writes: Vec<Write>,
    pub commits: Vec<Commit>,
    pub left: Left,
    /// Request 1 is an undo: it commits for the first partition, and deletes the commit of the second.
    pub undoes: bool,
    /// Used by the invariants only.
    pub truth: [Truth; 2],
}

/// What the adversary, the other tool, the consumer and the user may still do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Left {
    pub crashes: u8,
    /// API writes that are lost, or that are given up and arrive at any later time.
    pub writes: u8,
    /// Commits that are lost, arrive late, or lose their answer.
    pub commits: u8,
    pub partial: u8,
    pub joins: u8,
    pub moves: u8,
    pub edits: Edits,
}

/// What the user may still do, each once, as bits.
pub type Edits = u8;
pub const CHANGE_ID: Edits = 1;
pub const REMOVE_ID: Edits = 2;
pub const RETRY: Edits = 4;
pub const DELETE: Edits = 8;
pub const RECREATE: Edits = 16;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Pipeline {
    pub exists: bool,
    pub uid: u8,
    /// 0: nothing is asked for.
    pub request: u8,
    pub retry: bool,
    /// Its status says that the operator has read its group. Only where pipelines act in turn.
    pub looked: bool,
    /// Ticks since it was made, up to [`SETTLED`].
    pub age: u8,
}

/// At this age no other StreamPipeline can appear any more that counts as created in the same second.
pub const SETTLED: u8 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Record {
    pub pipeline: u8,
    pub uid: u8,
    /// The snapshot the plan was made from; the target follows from the request.
    pub plan: Option<Offsets>,
    /// Names one plan of one process; 0 without a plan.
    pub writer: u8,
    pub attempt: u8,
    pub closed: Option<Closed>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Closed {
    pub attempt: u8,
    pub word: Word,
}

/// Phase and reason, as far as anything depends on them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Word {
    Verified,
    OutcomeUnknown,
    OffsetsMoved,
    PartlyApplied,
    Abandoned,
}

impl Record {
    pub fn is_closed(&self) -> bool {
        self.closed.is_some_and(|c| c.attempt >= self.attempt)
    }
}

/// A replica. A crash loses what it has in memory.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Process {
    /// The StreamPipelines as its watch last delivered them.
    pub view: Vec<Pipeline>,
    pub ours: Vec<Ours>,
    pub seen: Vec<FirstSeen>,
    /// What it is doing, by pipeline.
    pub stage: Vec<Stage>,
}

/// A plan this process wrote.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ours {
    pub writer: u8,
    pub age: u8,
    pub sent: Sent,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Sent {
    No,
    Dead,
    Yes { tries: u8, answer: Answer },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Answer {
    Refused(Parts),
    /// There is no answer; how long ago the last of it could have left the process.
    None(u8),
}

/// When this process first saw this very plan.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FirstSeen {
    pub request: u8,
    pub writer: u8,
    pub age: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Stage {
    Idle,
    /// In the middle of the second look, or right after it.
    Looking(Look),
    /// Waits for the API server.
    Writing,
    /// Waits for the broker's answer to this.
    Sending {
        request: u8,
        writer: u8,
    },
}

/// The record was read; the other reads may come in any order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Look {
    /// The StreamPipeline from the watch cache, with which the pass began.
    pub pipeline: Pipeline,
    pub record: Record,
    /// The record is unchanged since it was read, so its resourceVersion is still valid.
    pub fresh: bool,
    pub state: PlanState,
    pub api: Option<Noted>,
    pub group: Option<(Offsets, bool)>,
}

/// The results of the live reads of StreamPipeline and records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Noted {
    /// No other record goes before this one.
    pub alone: bool,
    pub wanted: bool,
    /// Used by the invariants only: the StreamPipeline, as it was read, asks for this.
    pub asks: bool,
}

/// `domain::PlanState`, with ages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum PlanState {
    Absent,
    Unsent { age: u8, dead: bool },
    Sent { age: u8, tries: u8, answer: Answer },
    InDoubt(u8),
    Closed,
}

/// A write to a record on its way to the API server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Write {
    pub request: u8,
    pub what: What,
    pub fresh: bool,
    /// Who waits for its answer: process and pipeline.
    pub waits: Option<(u8, u8)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum What {
    Create(Record),
    Put { plan: Offsets, writer: u8 },
    DropPlan,
    Close(Word, u8),
    Retry { writer: u8 },
}

/// A commit on its way to the broker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Commit {
    pub request: u8,
    pub attempt: u8,
    pub parts: Parts,
    /// What is sent by the same process once this is answered and nothing of it was refused.
    pub then: Parts,
    /// Ticks after which it is lost.
    pub life: u8,
    pub waits: Option<(u8, u8)>,
}

/// What really happened to a request; no process knows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Truth {
    /// How often each partition's target took effect, per attempt.
    pub hits: [[u8; PARTS]; 2],
    /// Partitions whose target was in force at some time since the plan was written ahead.
    pub in_force: Parts,
}

pub fn target(request: u8, partition: usize, undoes: bool) -> u8 {
    match (request, partition) {
        (1, 1) if undoes => NONE,
        (1, _) => START,
        _ => END,
    }
}

impl World {
    pub fn record(&self, request: u8) -> Option<&Record> {
        self.records.get(usize::from(request).wrapping_sub(1)).and_then(Option::as_ref)
    }

    pub fn truth(&mut self, request: u8) -> &mut Truth {
        &mut self.truth[usize::from(request) - 1]
    }

    /// The other StreamPipeline, if it goes before the one of this name and uid: the older one goes first, and of two created in the same
    /// second the first by name. A pipeline that is created again is younger.
    pub fn older_beside(&self, pipeline: usize, uid: u8) -> Option<&Pipeline> {
        let name = 1_usize.checked_sub(pipeline)?;
        self.pipelines.get(name).filter(|other| other.exists && (other.uid, name) < (uid, pipeline))
    }

    /// Moves one partition, for whoever does it.
    pub fn set_offset(&mut self, p: usize, to: u8) {
        self.offsets[p] = to;
        self.note_in_force();
    }

    pub fn note_in_force(&mut self) {
        for (i, record) in self.records.iter().enumerate() {
            if record.is_some_and(|r| r.plan.is_some()) {
                let at = (0..PARTS).filter(|p| self.offsets[*p] == target(i as u8 + 1, *p, self.undoes)).fold(0, |set, p| set | 1 << p);
                self.truth[i].in_force |= at;
            }
        }
    }

    /// Writes the record: whatever was read or decided with an older version becomes stale.
    pub fn replace(&mut self, request: u8, record: Record) {
        self.records[usize::from(request) - 1] = Some(record);
        for write in self.writes.iter_mut().filter(|w| w.request == request) {
            write.fresh = false;
        }
        for stage in self.processes.iter_mut().flat_map(|p| &mut p.stage) {
            if let Stage::Looking(look) = stage
                && look.pipeline.request == request
            {
                look.fresh = false;
            }
        }
        self.note_in_force();
    }
}
