//! How a call failed, and whether it can have had an effect. It never contains a secret, key, token or signature.

use super::operation::Operation;
use std::fmt;
use std::time::Duration;

pub use crate::backend::http::FailureKind;

/// What is certain about the effect of a call that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    /// It certainly never left this process.
    NotSent,
    /// The gateway or the platform refused it instead of doing it.
    Refused,
    /// It may have been carried out.
    Unknown,
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// "reset", "list", "token/get"...: the call that failed, which may be one that had to be made before the actual call.
    pub call: Operation,
    pub kind: FailureKind,
    pub effect: Effect,
    /// The platform's own code.
    pub code: Option<i64>,
    /// The HTTP status, where an answer came.
    pub http: Option<u16>,
    /// The text of the platform or of the connection; at most 200 bytes. May be empty.
    pub text: String,
    /// How long the gateway asked to wait, or how long the client pauses by itself; at most 60 s.
    pub retry_after: Option<Duration>,
    /// Seconds by which the gateway's clock is ahead of ours, where credentials were refused and its answer had a date.
    pub clock_gap: Option<i64>,
}

impl Failure {
    pub(super) fn new(call: Operation, kind: FailureKind, effect: Effect, text: impl Into<String>) -> Self {
        Self { call, kind, effect, code: None, http: None, text: text.into(), retry_after: None, clock_gap: None }
    }

    /// A failure before anything was sent.
    pub(super) fn unsent(call: Operation, kind: FailureKind, text: impl Into<String>) -> Self {
        Self::new(call, kind, Effect::NotSent, text)
    }

    /// The failure of a preparing call: the actual call was then never sent.
    pub(super) fn before(self) -> Self {
        Self { effect: Effect::NotSent, ..self }
    }

    pub fn certainly_not_done(&self) -> bool {
        self.effect != Effect::Unknown
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.kind.as_str())?;
        if let Some(code) = self.code {
            write!(f, ", code {code}")?;
        }
        if let Some(http) = self.http {
            write!(f, ", HTTP {http}")?;
        }
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        Ok(())
    }
}
