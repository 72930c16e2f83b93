//! What goes wrong.

use std::time::Duration;

use crate::environment::Act;

/// What may happen to one call, or around it.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Refused, and nothing done.
    Error,
    /// Done, and answered as if it were not.
    ErrorAfter,
    LostRequest,
    LostAnswer,
    /// Done so much later, and never answered.
    Late(Duration),
    /// Done at once, answered so much later.
    Slow(Duration),
    /// Delivered twice; the second answer counts.
    Duplicate,
    /// The process ends before the call leaves, while it is under way, or after it is done; another starts so much later.
    CrashBefore(Duration),
    CrashUnderWay(Duration, Duration),
    CrashAfter(Duration),
    /// The process stands still for so long once the call has left.
    Stall(Duration),
    /// Its watches show nothing new for so long.
    StaleWatch(Duration),
    /// It has no connection to the brokers for so long.
    BrokerDown(Duration),
    /// The connection it is made on is dead for so long; others can be made.
    ConnectionDown(Duration),
    /// The process of the Kafka client that it is made on ends; the call is lost, or there so much later.
    ClientDies(Option<Duration>),
    /// The broker refuses the last partition.
    RefuseLast,
    /// The platform answers this code, or its gateway this HTTP status, and does what it was asked, or not.
    Answered {
        code: i64,
        done: bool,
    },
    /// Somebody else acts just before it is served, or just after.
    Before(Act),
    After(Act),
}

impl Fault {
    /// By what it is counted as.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Error => "error",
            Fault::ErrorAfter => "error after it was done",
            Fault::LostRequest => "lost request",
            Fault::LostAnswer => "lost answer",
            Fault::Late(_) => "late",
            Fault::Slow(_) => "slow answer",
            Fault::Duplicate => "duplicate",
            Fault::CrashBefore(_) | Fault::CrashUnderWay(..) | Fault::CrashAfter(_) => "crash",
            Fault::Stall(_) => "stall",
            Fault::StaleWatch(_) => "stale watch",
            Fault::BrokerDown(_) => "broker unreachable",
            Fault::ConnectionDown(_) => "connection dead",
            Fault::ClientDies(_) => "client dead",
            Fault::RefuseLast => "partition refused",
            Fault::Answered { .. } => "answered with a code",
            Fault::Before(act) | Fault::After(act) => act.kind(),
        }
    }
}

/// How a call is served that is not to be served as it should.
#[derive(Clone, Copy, Default)]
pub enum Twist {
    #[default]
    None,
    RefuseLast,
    Answered {
        code: i64,
        done: bool,
    },
}
