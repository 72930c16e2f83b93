//! What goes wrong.

use std::time::Duration;

use crate::environment::Act;

/// What may happen to one call, or around it.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Refused; nothing is done.
    Error,
    /// Done, but answered as if it had failed.
    ErrorAfter,
    LostRequest,
    LostAnswer,
    /// Done this much later, and never answered.
    Late(Duration),
    /// Done at once, but answered this much later.
    Slow(Duration),
    /// Delivered twice; the second answer is the one that counts.
    Duplicate,
    /// The process ends before the call is sent, during it, or after it is done; another process starts this much later.
    CrashBefore(Duration),
    CrashUnderWay(Duration, Duration),
    CrashAfter(Duration),
    /// The process stands still for this long once the call is sent.
    Stall(Duration),
    /// The process's watches deliver nothing for this long.
    StaleWatch(Duration),
    /// The process has no connection to the brokers for this long.
    BrokerDown(Duration),
    /// The connection of this call is cut for this long; other connections can be made.
    ConnectionDown(Duration),
    /// The process of this call's Kafka client ends; the call is lost, or arrives this much later.
    ClientDies(Option<Duration>),
    /// The broker refuses the last partition.
    RefuseLast,
    /// The platform answers this code, or its gateway this HTTP status, whether or not it carried out the call.
    Answered {
        code: i64,
        done: bool,
    },
    /// Somebody else acts just before the call is served, or just after.
    Before(Act),
    After(Act),
}

impl Fault {
    /// The name under which the fault is counted.
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

/// How a call is served if not as usual.
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
