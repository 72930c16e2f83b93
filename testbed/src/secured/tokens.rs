//! A service that gives tokens to clients (OAuth 2.0, client credentials), over HTTP and over TLS.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::certificates::{Authority, Validity};
use super::jwt::Signer;
use super::token_server;

/// What the tokens say, and the broker expects.
pub const ISSUER: &str = "https://issuer.testbed.example";
pub const AUDIENCE: &str = "kafka";

/// The client, and the user that it is to the broker. Both want encoding, in a form and in a header.
pub const CLIENT_ID: &str = "offset operator/1";
pub const CLIENT_SECRET: &str = "s3cr+t/=&%:\u{fc}";

/// What goes wrong instead of an answer, or in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// This HTTP status, with JSON that tells of no token.
    Status(u16),
    /// 401, as for a wrong secret.
    InvalidClient,
    /// No answer, until the client gives up.
    Hang,
    /// The connection ends without an answer.
    Close,
    /// 200, and the page of somebody else.
    Html,
    /// 200, and JSON without a token.
    NoToken,
    /// 302 to this address.
    Redirect(String),
    /// A token without `expires_in` beside it.
    NoExpiry,
    /// A token for somebody else than the broker.
    WrongAudience,
    /// A token whose time is over.
    Expired,
    /// A token that was signed with a key of nobody's.
    UnknownKey,
}

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    pub tls: bool,
    /// The credentials were in the header, else in the form.
    pub basic: bool,
    /// The form without the secret.
    pub form: Vec<(String, String)>,
    pub status: Option<u16>,
}

/// A token as [`TokenService::issue`] gives it.
#[derive(Clone, Debug)]
pub struct Issued {
    pub token: String,
    pub subject: String,
    pub expires: SystemTime,
}

pub(super) struct Inner {
    pub(super) signer: Signer,
    unknown: Signer,
    state: Mutex<State>,
}

struct State {
    life: Duration,
    faults: VecDeque<(TokenFault, usize)>,
    requests: Vec<TokenRequest>,
    jwks_calls: usize,
    serial: u64,
}

/// Ends with its owner.
pub struct TokenService {
    inner: Arc<Inner>,
    http: u16,
    https: u16,
    ca: Authority,
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl TokenService {
    /// On a thread of its own.
    pub fn start() -> Result<Self> {
        let state = State { life: Duration::from_secs(300), faults: VecDeque::new(), requests: Vec::new(), jwks_calls: 0, serial: 0 };
        let inner =
            Arc::new(Inner { signer: Signer::new("testbed-1")?, unknown: Signer::new("testbed-unknown")?, state: Mutex::new(state) });
        let ca = Authority::new("testbed token authority")?;
        let tls = token_server::acceptor(&ca.server(None, Validity::Now)?)?;
        let (end, ended) = watch::channel(false);
        let (ports, result) = std::sync::mpsc::channel();
        let of_thread = Arc::clone(&inner);
        let thread = std::thread::spawn(move || token_server::run(of_thread, tls, ended, &ports));
        let (http, https) = result.recv().context("the thread of the token service")??;
        Ok(Self { inner, http, https, ca, end, thread: Some(thread) })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/token", self.http)
    }

    pub fn tls_url(&self) -> String {
        format!("https://localhost:{}/token", self.https)
    }

    /// The authority of [`Self::tls_url`], which is not the broker's.
    pub fn ca_pem(&self) -> &str {
        self.ca.pem()
    }

    /// Where the broker finds the key.
    pub fn jwks_url(&self) -> String {
        format!("http://127.0.0.1:{}/jwks", self.http)
    }

    /// Of tokens given from now on; five minutes at first.
    pub fn set_life(&self, life: Duration) {
        self.inner.state().life = life;
    }

    /// The next calls go wrong in this way, after those of an earlier fault; `usize::MAX` of them until [`Self::heal`].
    pub fn fail(&self, fault: TokenFault, calls: usize) {
        self.inner.state().faults.push_back((fault, calls));
    }

    pub fn heal(&self) {
        self.inner.state().faults.clear();
    }

    /// Those that asked for a token, refused ones included.
    pub fn calls(&self) -> usize {
        self.inner.state().requests.len()
    }

    pub fn requests(&self) -> Vec<TokenRequest> {
        self.inner.state().requests.clone()
    }

    /// How often the broker fetched the key.
    pub fn jwks_calls(&self) -> usize {
        self.inner.state().jwks_calls
    }

    /// Without a request.
    pub fn issue(&self, subject: &str, life: Duration) -> Result<Issued> {
        self.inner.issue(subject, "", Some(life), None)
    }

    /// One that is wrong in the way of the fault.
    pub fn issue_wrong(&self, subject: &str, fault: &TokenFault) -> Result<Issued> {
        self.inner.issue(subject, "", None, Some(fault))
    }
}

impl Drop for TokenService {
    fn drop(&mut self) {
        let _ = self.end.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(super) fn jwks(&self) -> Value {
        self.state().jwks_calls += 1;
        self.signer.jwks()
    }

    /// Notes the request and returns its number, with the fault it meets.
    pub(super) fn begin(&self, request: TokenRequest) -> (usize, Option<TokenFault>) {
        let mut state = self.state();
        state.requests.push(request);
        let number = state.requests.len() - 1;
        let Some((fault, left)) = state.faults.front_mut() else { return (number, None) };
        let fault = fault.clone();
        *left = left.saturating_sub(usize::from(*left != usize::MAX));
        if *left == 0 {
            state.faults.pop_front();
        }
        (number, Some(fault))
    }

    pub(super) fn answered(&self, number: usize, status: u16) {
        if let Some(request) = self.state().requests.get_mut(number) {
            request.status = Some(status);
        }
    }

    pub(super) fn life(&self) -> Duration {
        self.state().life
    }

    pub(super) fn issue(&self, subject: &str, scope: &str, life: Option<Duration>, fault: Option<&TokenFault>) -> Result<Issued> {
        let (life, serial) = {
            let mut state = self.state();
            state.serial += 1;
            (life.unwrap_or(state.life), state.serial)
        };
        let mut now = SystemTime::now();
        if fault == Some(&TokenFault::Expired) {
            now -= life + Duration::from_secs(60);
        }
        let expires = now + life;
        let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let audience = if fault == Some(&TokenFault::WrongAudience) { "somebody-else" } else { AUDIENCE };
        let mut claims = json!({
            "iss": ISSUER, "aud": audience, "sub": subject, "iat": seconds(now), "exp": seconds(expires), "jti": serial.to_string(),
        });
        // Kafka refuses a token with an empty one.
        if !scope.is_empty() {
            claims["scope"] = scope.into();
        }
        let signer = if fault == Some(&TokenFault::UnknownKey) { &self.unknown } else { &self.signer };
        Ok(Issued { token: signer.sign(&claims)?, subject: subject.to_owned(), expires })
    }
}
