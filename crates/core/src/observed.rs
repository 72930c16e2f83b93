//! A failed read is a value, never an early return, so that the status can always be written.

use super::Cause;

/// The result of one read.
#[derive(Clone, Debug, Default)]
pub enum Observed<T> {
    /// Not needed in this pass.
    #[default]
    Unread,
    Read(T),
    Unreadable(Cause),
}

impl<T> Observed<T> {
    pub fn get(&self) -> Option<&T> {
        match self {
            Observed::Read(value) => Some(value),
            _ => None,
        }
    }

    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Observed<U> {
        match self {
            Observed::Unread => Observed::Unread,
            Observed::Read(value) => Observed::Read(change(value)),
            Observed::Unreadable(cause) => Observed::Unreadable(cause),
        }
    }

    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Observed::Unreadable(cause) => Some(cause),
            _ => None,
        }
    }
}

impl<T> From<Result<T, Cause>> for Observed<T> {
    fn from(result: Result<T, Cause>) -> Self {
        match result {
            Ok(value) => Observed::Read(value),
            Err(cause) => Observed::Unreadable(cause),
        }
    }
}
