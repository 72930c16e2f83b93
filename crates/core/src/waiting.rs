//! What a request waits for, printed in one place.

use jiff::Timestamp;

use super::{Cause, words};

/// See the module.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// What is in the way, and who; [`Cause::remedy`] says what a person may do about it.
    pub for_what: Cause,
    /// Then it is given up.
    pub until: Option<Timestamp>,
}

impl Waiting {
    /// The cause in the words that a person reads.
    pub fn told(self) -> Cause {
        let Waiting { mut for_what, until } = self;
        if let Some(remedy) = for_what.remedy {
            for_what.message = words::and(&for_what.message, remedy);
        }
        if let Some(until) = until {
            for_what.message = words::and(&for_what.message, &format!("Waits until {}", words::second(until)));
        }
        for_what
    }

    /// The same beside something else that is told.
    pub fn beside(&self, told: &str) -> String {
        let said = self.for_what.remedy.map_or_else(|| self.for_what.message.clone(), |remedy| words::and(&self.for_what.message, remedy));
        format!("{told} (Retry waits: {said})")
    }
}
