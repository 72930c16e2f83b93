//! What must never happen.

/// What went wrong in a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Violation {
    /// (1) A target took effect twice.
    AppliedTwice,
    /// (2) Closed as Verified, although a target was never in force.
    NotInForce,
    /// (3) Sent to a partition that moved before the second look.
    SentOverAMove,
    /// The group lost its last commit, although its plan leaves it one.
    Emptied,
    /// Sent although the second look read that the StreamPipeline was gone, was another object, or asked for something else.
    SentUnasked,
    /// (4) Sent while something else of the group was under way in the same namespace.
    TwoAtATime,
    /// (4) Closed while something of it could still land.
    ClosedTooEarly,
    /// Closed as Abandoned, although something of it was in force.
    AbandonedAfterAHit,
    /// A request was reported as ended while its record existed and was not closed.
    EndToldTooEarly,
    /// A first plan was written for a StreamPipeline while an older one of the namespace existed, or had acted.
    OutOfTurn,
    /// (5) No end can be reached any more.
    DeadEnd,
    /// (5) Steps are undone again and again, although no time passes, no watch lags and nothing goes wrong.
    Circle,
}
