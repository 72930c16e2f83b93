//! The calls of the API, and the log of those that came.

use std::sync::Mutex;
use std::time::SystemTime;

use serde::{Deserialize, Serialize, Serializer};

use super::answer::Answer;
use super::request::Request;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    TokenGet,
    TokenRefresh,
    List,
    Details,
    Lag,
    Reset,
    Release,
    Start,
    Pause,
    Stop,
    Save,
    StageStateGet,
    StageStateDelete,
    /// No call of the API that is simulated.
    Other,
}

impl Call {
    pub(super) fn is_token(self) -> bool {
        matches!(self, Self::TokenGet | Self::TokenRefresh)
    }
}

/// A call that came, and what was answered.
#[derive(Clone, Debug, Serialize)]
pub struct Received {
    pub call: Call,
    pub method: String,
    pub path: String,
    /// As it came, escaped.
    pub query: String,
    pub body: String,
    pub org: Option<String>,
    pub pipeline: Option<String>,
    /// `apim-accesstoken`, as it came.
    pub token: Option<String>,
    /// `apim-signature`, as it came.
    pub signature: Option<String>,
    /// None: no answer yet, or the connection was closed without one.
    pub status: Option<u16>,
    /// `code`, or `status` of the token service; None where the answer has neither.
    pub code: Option<i64>,
    /// Whether it changed a pipeline, or gave a token.
    pub effect: bool,
    #[serde(serialize_with = "millis")]
    pub at: SystemTime,
    /// When it was done with, an answer or not.
    #[serde(serialize_with = "some_millis")]
    pub until: Option<SystemTime>,
}

fn millis<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    some_millis(&Some(*at), to)
}

fn some_millis<S: Serializer>(at: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
    at.map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis()).serialize(to)
}

#[derive(Default)]
pub(super) struct Log(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    next: u64,
    received: Vec<(u64, Received)>,
    in_flight: usize,
    max_in_flight: usize,
}

impl Log {
    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().expect("no panic under this lock")
    }

    pub fn begin(&self, request: &Request) -> InFlight<'_> {
        let mut kept = self.kept();
        let id = kept.next;
        kept.next += 1;
        kept.in_flight += 1;
        kept.max_in_flight = kept.max_in_flight.max(kept.in_flight);
        let received = Received {
            call: request.call,
            method: request.method.to_string(),
            path: request.path.clone(),
            query: request.raw_query.clone(),
            body: String::from_utf8_lossy(&request.body).into_owned(),
            org: request.param("orgId").map(str::to_owned),
            pipeline: request.pipeline.clone(),
            token: request.header("apim-accesstoken").map(str::to_owned),
            signature: request.header("apim-signature").map(str::to_owned),
            status: None,
            code: None,
            effect: false,
            at: SystemTime::now(),
            until: None,
        };
        kept.received.push((id, received));
        InFlight { log: self, id }
    }

    pub fn calls(&self) -> Vec<Received> {
        self.kept().received.iter().map(|(_, r)| r.clone()).collect()
    }

    pub fn clear(&self) {
        let mut kept = self.kept();
        kept.received.clear();
        kept.max_in_flight = kept.in_flight;
    }

    pub fn max_in_flight(&self) -> usize {
        self.kept().max_in_flight
    }
}

/// A call that has not been answered.
pub(super) struct InFlight<'a> {
    log: &'a Log,
    id: u64,
}

impl InFlight<'_> {
    fn note(&self, write: impl FnOnce(&mut Received)) {
        // It may have been cleared away meanwhile.
        if let Some((_, received)) = self.log.kept().received.iter_mut().find(|(id, _)| *id == self.id) {
            write(received);
        }
    }

    /// At once: a test looks while the answer is held back.
    pub fn took_effect(&self) {
        self.note(|r| r.effect = true);
    }

    pub fn answered(&self, answer: &Answer) {
        self.note(|r| {
            r.status = answer.sent_status();
            r.code = answer.code;
            r.until = Some(SystemTime::now());
        });
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.log.kept().in_flight -= 1;
    }
}
