//! How far a request is. Why it stands there is its [`Reason`](crate::Reason).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{EnumIter, IntoStaticStr};

/// Where a request stands (column RESET).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, EnumIter, IntoStaticStr)]
pub enum Stage {
    /// Accepted; something has to change first, and the reset then starts by itself.
    Waiting,
    /// The operator stops the pipeline first; nothing is planned yet.
    Pausing,
    /// The plan is recorded; it is being sent, read back or judged, or the pipeline is being brought back.
    Sending,
    /// Accepted by a platform that shows the new position only after the pipeline's next start.
    Sent,
    /// A dry run: the plan is recorded, nothing was sent.
    Planned,
    /// Sent, read back and as planned.
    Verified,
    /// Not run, on purpose; the id is used up.
    Skipped,
    /// Not run: nothing was sent. A new id asks again.
    Failed,
    /// Something was or may have been sent and is not proven; a person decides.
    Held,
    /// A word that this version does not know: nothing is begun, nor taken for ended, because of it.
    #[serde(other)]
    #[schemars(skip)]
    OfAnotherVersion,
}

impl Stage {
    /// Whether nothing more happens under this id by itself.
    pub fn is_final(self) -> bool {
        !matches!(self, Stage::Waiting | Stage::Pausing | Stage::Sending | Stage::OfAnotherVersion)
    }

    /// Whether this id never runs any more, should it be asked for again after another one.
    pub fn uses_up_its_id(self) -> bool {
        !matches!(self, Stage::Waiting | Stage::Planned)
    }
}
