//! The calls of one tenant on one endpoint. Each is sent once. Only if the credentials were refused, and the call was certainly not carried
//! out, it is sent once more with a new token. Answers are judged by `codes`; nothing else is decided.
//!
//! If the future of a change is dropped, the change may still be carried out: let it run to its end.

mod call;

use super::operation::Operation;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde::Serialize;

use super::credentials::Credentials;
use super::failure::{Effect, Failure, FailureKind};
use super::judge::judge;
use super::limits::{CallClass, ClientLimits, EndpointLimits, NotAdmitted};
use super::list::{Began, PAGE_SIZE, Pipelines, Polls, read_all};
use super::sign;
use super::token::{Stamps, Token, TokenService, Tokens};
use super::wire::answers::{Details, LagPoint, Page};
use super::wire::{Envelope, Undecodable, answers};
use crate::backend::http::{ExchangeError, HttpClient, HttpConfig, HttpPolicy, HttpRequest, HttpResponse, Transport};
use crate::clock::{Clock, mono};
use crate::fair::Fair;
use stream_pipeline_core::words::cut;

/// The vendor's own clients send this.
const JSON: &str = "application/json;charset=UTF-8";

const MAX_BODY: usize = 1 << 20;
const MAX_PAGE_BODY: usize = 4 << 20;
const MAX_TEXT: usize = 200;
const MAX_ID: usize = 256;

const PIPELINES: [&str; 4] = ["streaming", "v2.0", "streaming", "pipelines"];
const PIPELINE: [&str; 4] = ["streaming", "v2.0", "streaming", "pipeline"];
const TOKEN: [&str; 3] = ["apim-token-service", "v2.0", "token"];

/// What a client is made of.
#[derive(Clone)]
pub struct Settings {
    /// `https://gateway`, with a port or a path if need be.
    pub endpoint: String,
    pub credentials: Credentials,
    /// PEM of the only CA to trust; None: the system's.
    pub ca_pem: Option<Vec<u8>>,
    pub policy: HttpPolicy,
    /// For name look-up, TCP and TLS together.
    pub connect_deadline: Duration,
    /// For one exchange, connecting included; also the longest that a read waits for its turn.
    pub call_deadline: Duration,
    /// The source of timestamps, which the gateway compares with its own clock.
    pub clock: Clock,
    /// None: TCP and TLS.
    pub transport: Option<Arc<dyn Transport>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settings(…)")
    }
}

/// The body of start. Source: "Start Pipeline"; both numbers are mandatory there.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StartBody {
    /// 0 standalone, 1 cluster.
    pub execution_mode: i64,
    /// Records per second; the documented default is 1000.
    pub kafka_rate: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_config: Option<serde_json::Value>,
}

/// One tenant's client of one endpoint; cheap to clone.
#[derive(Clone)]
pub struct EnosClient {
    inner: Arc<Inner>,
    polls: Arc<Polls>,
}

struct Inner {
    http: HttpClient,
    credentials: Credentials,
    limits: ClientLimits,
    tokens: Tokens,
    stamps: Stamps,
    call_deadline: Duration,
    clock: Clock,
}

/// A business call, before it is signed.
struct Call<'a> {
    name: Operation,
    method: Method,
    path: &'a [&'a str],
    query: &'a [(&'a str, &'a str)],
    body: Option<&'a [u8]>,
    limit: usize,
    /// For a change: when it must no longer be sent.
    not_after: Option<Instant>,
    /// Set right before the call is sent, unless it is set already.
    began: Option<&'a Began>,
    /// Nothing depends on the answer, so a refusal of this call alone does not count against the credentials.
    optional: bool,
}

/// A change, by its path below the pipeline's.
struct Change<'a> {
    name: Operation,
    below: &'a [&'a str],
    action: Option<&'a str>,
    body: Option<&'a [u8]>,
    not_after: Instant,
}

impl EnosClient {
    /// A client with limits that it shares with no other; see [`EnosClient::sharing`].
    pub fn new(settings: Settings) -> Result<Self, Failure> {
        Self::sharing(settings, |_| Arc::default())
    }

    /// `limits` gives the limits that an endpoint's clients share, by "host:port". Nothing is connected yet.
    pub fn sharing(settings: Settings, limits: impl FnOnce(&str) -> Arc<EndpointLimits>) -> Result<Self, Failure> {
        let Settings { endpoint, credentials, ca_pem, policy, connect_deadline, call_deadline, clock, transport } = settings;
        if credentials.is_empty() {
            return Err(Failure::unsent(Operation::Connect, FailureKind::BadCredentials, "the access key or the secret key is empty"));
        }
        let ca_pem = ca_pem.as_deref();
        let config = HttpConfig { endpoint: &endpoint, ca_pem, policy, connect_deadline, call_deadline, transport };
        let http = HttpClient::new(config).map_err(|(kind, text)| Failure::unsent(Operation::Connect, kind, cut(&text, MAX_TEXT)))?;
        let limits = ClientLimits::new(limits(&http.authority()));
        let inner = Inner { http, credentials, limits, tokens: Tokens::default(), stamps: Stamps::default(), call_deadline, clock };
        Ok(Self { inner: Arc::new(inner), polls: Arc::default() })
    }

    /// Where a request waits before its plan is made.
    pub fn line(&self) -> Arc<Fair> {
        self.inner.limits.line()
    }

    /// The organization's released pipelines, read at or after `since`; all callers share one poll.
    pub async fn pipelines(&self, org: &str, since: Instant) -> Result<Arc<Pipelines>, Failure> {
        check(Operation::List, org)?;
        let read = |began: Began| {
            let (inner, org) = (Arc::clone(&self.inner), org.to_owned());
            async move { read_all(&began, |number| inner.page(&org, number, &began)).await }
        };
        self.polls.get(org, since, read).await
    }

    /// `released`: the released side of a pipeline, or the one in design.
    pub async fn details(&self, org: &str, id: &str, released: bool) -> Result<Details, Failure> {
        let query = [("orgId", org), ("ifReleased", if released { "true" } else { "false" })];
        let envelope = self.read(Operation::Details, org, id, &[], &query).await?;
        let details = answers::details(&envelope).map_err(|e| undecodable(Operation::Details, &e))?;
        if !details.id.is_empty() && details.id != id {
            return Err(undecodable(Operation::Details, &Undecodable::Shape("the answer is about another pipeline".to_owned())));
        }
        Ok(details)
    }

    /// The newest point, None where the platform has none. Documented for running pipelines only.
    pub async fn offset_lag(&self, org: &str, id: &str) -> Result<Option<LagPoint>, Failure> {
        let envelope = self.read(Operation::OffsetLag, org, id, &["offset-lag"], &[("orgId", org)]).await?;
        answers::lag(&envelope, id).map_err(|e| undecodable(Operation::OffsetLag, &e))
    }

    /// Resets the position, if it can be sent by `not_after`. Allowed by the platform while paused or stopped.
    pub async fn reset(&self, org: &str, id: &str, not_after: Instant) -> Result<(), Failure> {
        self.change(org, id, Change { name: Operation::Reset, below: &["offset"], action: None, body: None, not_after }).await
    }

    /// Starts it, if that can be sent by `not_after`. Only one at a time may start in an organization (61121).
    pub async fn start(&self, org: &str, id: &str, body: &StartBody, not_after: Instant) -> Result<(), Failure> {
        let body = serde_json::to_vec(body).map_err(|e| Failure::unsent(Operation::Start, FailureKind::BadArgument, e.to_string()))?;
        self.change(org, id, Change { name: Operation::Start, below: &[], action: Some("start"), body: Some(&body), not_after }).await
    }

    /// Pauses it, if that can be sent by `not_after`.
    pub async fn pause(&self, org: &str, id: &str, not_after: Instant) -> Result<(), Failure> {
        self.change(org, id, Change { name: Operation::Pause, below: &[], action: Some("pause"), body: None, not_after }).await
    }

    async fn read(&self, name: Operation, org: &str, id: &str, below: &[&str], query: &[(&str, &str)]) -> Result<Envelope, Failure> {
        check(name, org)?;
        check(name, id)?;
        let path = [&PIPELINE, &[id][..], below].concat();
        let optional = name == Operation::OffsetLag;
        let call =
            Call { name, method: Method::GET, path: &path, query, body: None, limit: MAX_BODY, not_after: None, began: None, optional };
        self.inner.call(call).await
    }

    async fn change(&self, org: &str, id: &str, change: Change<'_>) -> Result<(), Failure> {
        let Change { name, below, action, body, not_after } = change;
        check(name, org)?;
        check(name, id)?;
        let path = [&PIPELINE, &[id][..], below].concat();
        let query: Vec<_> = action.map(|a| ("action", a)).into_iter().chain([("orgId", org)]).collect();
        let not_after = Some(not_after);
        let call =
            Call { name, method: Method::POST, path: &path, query: &query, body, limit: MAX_BODY, not_after, began: None, optional: false };
        self.inner.call(call).await.map(|_| ())
    }
}

impl fmt::Debug for EnosClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnosClient(…)")
    }
}

/// Checks an id before it goes into a query or a path. The platform takes `null` for "create a pipeline".
fn check(call: Operation, id: &str) -> Result<(), Failure> {
    let odd = id.is_empty() || id.len() > MAX_ID || matches!(id, "." | ".." | "null") || id.chars().any(|c| c.is_control() || c == ' ');
    let text = "the organization or pipeline id cannot be one";
    if odd { Err(Failure::unsent(call, FailureKind::BadArgument, text)) } else { Ok(()) }
}

/// For reads only: the answer to a change is not decoded.
fn undecodable(call: Operation, error: &Undecodable) -> Failure {
    Failure::new(call, FailureKind::BadAnswer, Effect::Unknown, cut(&error.to_string(), MAX_TEXT))
}
