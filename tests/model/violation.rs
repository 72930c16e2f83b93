//! What must never be.

/// What a history shows that must not be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Violation {
    /// (1) A target took effect twice.
    AppliedTwice,
    /// (2) Closed as Verified, and a target was never in force.
    NotInForce,
    /// (3) Sent to a partition that moved before the second look.
    SentOverAMove,
    /// Sent although the StreamPipeline, as the second look read it, was gone, another object, or asked for something else.
    SentUnasked,
    /// (4) Sent while something else of the group, as far as its namespace goes, was under way.
    TwoAtATime,
    /// (4) Closed while something of it could still land.
    ClosedTooEarly,
    /// Closed as Abandoned, and something of it was in force.
    AbandonedAfterAHit,
    /// An end was told of a request whose record was there and not closed.
    EndToldTooEarly,
    /// A first plan was written ahead for a StreamPipeline while another one of the namespace came before it, or had acted.
    OutOfTurn,
    /// (5) Nothing leads to an end any more.
    DeadEnd,
    /// (5) What is done is undone again and again, though no time passes, no watch is behind and nothing goes wrong.
    Circle,
}
