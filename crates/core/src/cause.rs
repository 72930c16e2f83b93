//! Why something could not be read, done or accepted.

use super::words;
use stream_pipeline_api::Reason;

/// Why something could not be read, done or accepted: the reason of the condition and what a person needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub reason: Reason,
    /// Cleaned: much of it may be text from brokers, platforms and group members.
    pub message: String,
    /// The backend's own error code (Kafka's, or the HTTP status of the API server).
    pub backend_code: Option<i32>,
    /// The platform's code, where it answered with one.
    pub code: Option<i32>,
    /// What a person may do while the operator waits, or why there is nothing to do.
    pub remedy: Option<&'static str>,
}

impl Cause {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: words::clean(&message.into()), backend_code: None, code: None, remedy: usual_remedy(reason) }
    }

    /// The code people see: the platform's own, or the one this reason is documented under.
    pub fn code(&self) -> Option<i32> {
        self.code.or(self.reason.code())
    }
}

fn usual_remedy(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::GroupActive => Some("Stop them; the reset starts by itself"),
        Reason::PipelineActive => Some("Pause or stop it; the reset starts by itself"),
        Reason::OffsetsMoving => Some("Stop it; the reset starts by itself"),
        _ => None,
    }
}
