//! The protocol with one rule left out at a time. The model must find a violation for each, or it proves nothing.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Break {
    /// The commit is sent together with the write of the record, not after it.
    SendFirst,
    /// A process that finds a plan in a record sends it.
    RestartedSends,
    NoSecondLook,
    NoWait,
    /// The wait is one tick too short.
    WaitTooShort,
    NoWindow,
    /// The window begins when the record's write is answered.
    WindowFromAnswer,
    /// A process that finds a plan in a record drops it.
    DropAfterRestart,
    /// Plans are dropped without comparing the resourceVersion.
    DropUnguarded,
    /// Records are closed without comparing the resourceVersion.
    CloseUnguarded,
    DropTheRetry,
    NotAlone,
    /// The second look knows of no other record than the watch has told of.
    ToldOnly,
    /// A process forgets that it gave up a plan.
    ForgetDead,
    /// The wait counts since the record was first seen, not since this plan was.
    WaitPerRecord,
    /// Refused partitions are sent again even outside the window.
    ResendLater,
    /// The second look does not ask whether the StreamPipeline still wants the request.
    NotAskedAgain,
    /// An end is reported together with the step that leads to it.
    EndToldBefore,
    /// Of two records without a plan each waits for the other.
    NobodyGoesAfter,
    /// Of two records without a plan none waits for the other.
    EverybodyGoesAfter,
    /// The later record goes after the earlier one even if it has a plan.
    PlanGoesAfter,
    /// A StreamPipeline acts although an older one exists.
    NotInTurn,
    /// An older StreamPipeline that was not looked at yet is not waited for.
    UnreadIsNone,
    /// A StreamPipeline acts although another one of the same second may still appear.
    YoungActs,
    /// An older StreamPipeline is looked for in the watch cache only.
    CopiesOnly,
    /// The open record of a StreamPipeline that is gone is left alone.
    OrphanLeft,
    /// Commits are deleted before the others are in place.
    DeletesFirst,
    /// The second look does not ask where the partitions are whose commits are deleted.
    DeletesWhatMoved,
    /// Of two StreamPipelines created in the same second each takes the other for the older.
    TiesLost,
}
