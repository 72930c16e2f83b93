//! The protocol with one rule left out at a time: each must be found, or the model proves nothing.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Break {
    /// The commit leaves along with the record, not after it.
    SendFirst,
    /// A process that finds a plan in a record sends it.
    RestartedSends,
    NoSecondLook,
    NoWait,
    /// One tick less.
    WaitTooShort,
    NoWindow,
    /// The window begins when the record's write is answered.
    WindowFromAnswer,
    /// A process that finds a plan in a record drops it.
    DropAfterRestart,
    /// Plans are dropped without regard to the resourceVersion.
    DropUnguarded,
    /// Records are closed without regard to the resourceVersion.
    CloseUnguarded,
    DropTheRetry,
    NotAlone,
    /// What is given up is not dead in memory.
    ForgetDead,
    /// The wait is counted since the record was first seen, not the plan.
    WaitPerRecord,
    /// Refused partitions are sent again also outside the window.
    ResendLater,
    /// Whether the StreamPipeline still asks for it is not asked again.
    NotAskedAgain,
    /// An end is told along with the step that leads to it.
    EndToldBefore,
    /// Of two records without a plan each waits for the other.
    NobodyGoesAfter,
    /// Of two records without a plan none waits for the other.
    EverybodyGoesAfter,
    /// The later record goes after, also one with a plan.
    PlanGoesAfter,
    /// A StreamPipeline acts although an older one is there.
    NotInTurn,
    /// An older StreamPipeline that was not looked at yet is waited for by nobody.
    UnreadIsNone,
    /// A StreamPipeline acts although another one of the same second may still come.
    YoungActs,
    /// An older StreamPipeline is looked for among the copies only.
    CopiesOnly,
    /// The open record of a StreamPipeline that is gone is left alone.
    OrphanLeft,
    /// Of two StreamPipelines of one second each takes the other for the older.
    TiesLost,
}
