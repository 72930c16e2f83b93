//! What a request waits for, put into words in one place.

use jiff::Timestamp;

use super::{Cause, words};

/// See the module's own comment.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// What is in the way; [`Cause::remedy`] says what a person may do about it.
    pub for_what: Cause,
    /// When the request is given up.
    pub until: Option<Timestamp>,
}

impl Waiting {
    /// The cause with a message for people.
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

    /// The same, appended to another message.
    pub fn beside(&self, told: &str) -> String {
        let said = self.for_what.remedy.map_or_else(|| self.for_what.message.clone(), |remedy| words::and(&self.for_what.message, remedy));
        format!("{told} (Retry waits: {said})")
    }
}
