//! The access token of one client: fetched when first needed, refreshed before its end, dropped when refused. There is one token call at a
//! time; those who wait share its failure. Other holders of the same key, or a second replica, may refresh the same token and thereby end
//! it: a refused token is dropped only if it is still the one in use.
//!
//! Timestamps of a client strictly increase, so that no token call repeats an `encryption` (code 1001). Another holder of the key may still
//! send the same one; then the call is made once more. After refused credentials no token is asked for during a pause (1 s, doubling up to
//! a minute), and callers get the same refusal from memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::codes::REPEATED_REQUEST;
use super::failure::{Failure, FailureKind};
use crate::clock::mono;
use stream_pipeline_core::backoff;

/// A token is refreshed this long before its end, or after half of its life if that is later.
const MARGIN: Duration = Duration::from_secs(600);

/// The assumed life of a token if the answer does not say, in seconds.
const UNTOLD: i64 = 600;

/// A life longer than this is not believed.
const LONGEST: i64 = 86_400;

/// The pause between two failed refreshes while the old token is still good.
const REFRESH_PAUSE: Duration = Duration::from_secs(30);

const FIRST_PENALTY: Duration = Duration::from_secs(1);
const LAST_PENALTY: Duration = Duration::from_secs(60);

/// A token with its life, on the local clock.
pub(super) struct Token {
    value: SecretString,
    refresh_at: Instant,
    ends: Instant,
}

impl Token {
    /// `asked`: when the token was asked for. `life`: in seconds, where the answer has it.
    pub(super) fn new(value: String, life: Option<i64>, asked: Instant) -> Self {
        let life = Duration::from_secs(u64::try_from(life.unwrap_or(UNTOLD).clamp(0, LONGEST)).unwrap_or_default());
        Self { value: SecretString::from(value), refresh_at: asked + life - MARGIN.min(life / 2), ends: asked + life }
    }

    pub(super) fn value(&self) -> &str {
        self.value.expose_secret()
    }
}

/// The next thing to do.
enum Need {
    Use(Arc<Token>),
    Refresh(Arc<Token>),
    Get,
    Wait(Failure),
}

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    refresh_not_before: Option<Instant>,
    /// The last failure to get a token.
    failed: Option<(Instant, Failure)>,
    /// Until this time the credentials count as refused.
    penalty: Option<(Instant, Failure)>,
}

impl State {
    fn need(&self, now: Instant) -> Need {
        if let Some((until, failure)) = &self.penalty
            && now < *until
        {
            return Need::Wait(Failure { retry_after: Some(*until - now), ..failure.clone() });
        }
        match &self.token {
            Some(token) if now < token.refresh_at => Need::Use(Arc::clone(token)),
            Some(token) if now < token.ends => match self.refresh_not_before {
                Some(at) if now < at => Need::Use(Arc::clone(token)),
                _ => Need::Refresh(Arc::clone(token)),
            },
            _ => Need::Get,
        }
    }

    /// Notes a refusal; `before`: how many since the last accepted call. False: it counts as one with other calls in flight.
    fn refused(&mut self, failure: &Failure, before: u32, now: Instant) -> bool {
        self.token = None;
        if self.penalty.as_ref().is_some_and(|(until, _)| now < *until) {
            return false;
        }
        let penalty = backoff(FIRST_PENALTY, before, LAST_PENALTY);
        self.penalty = Some((now + penalty, failure.clone().before()));
        true
    }
}

/// Asks the token service: `refresh` is the token to refresh, None asks for a new one.
pub(super) trait TokenService {
    fn ask(&self, refresh: Option<&str>) -> impl Future<Output = Result<Token, Failure>> + Send;
}

#[derive(Default)]
pub(super) struct Tokens {
    state: Mutex<State>,
    /// Refusals since the last accepted call; not under the lock, because that is held during a token call.
    refusals: AtomicU32,
}

impl Tokens {
    /// A token to use now. A failure here means that the call which needs the token was not sent.
    pub(super) async fn get(&self, ask: &impl TokenService) -> Result<Arc<Token>, Failure> {
        let came = mono();
        let mut state = self.state.lock().await;
        if let Some((at, failure)) = &state.failed
            && *at >= came
        {
            return Err(failure.clone());
        }
        let refresh = match state.need(mono()) {
            Need::Use(token) => return Ok(token),
            Need::Wait(failure) => return Err(failure),
            Need::Refresh(token) => Some(token),
            Need::Get => None,
        };
        let mut answer = once_more(ask, refresh.as_deref().map(Token::value)).await;
        if let (Err(failure), Some(old)) = (&answer, refresh) {
            if failure.code.is_none() {
                // The service could not be reached; the old token is still good for some minutes.
                state.refresh_not_before = Some(mono() + REFRESH_PAUSE);
                return Ok(old);
            }
            answer = once_more(ask, None).await;
        }
        let now = mono();
        match answer {
            Ok(token) => {
                let token = Arc::new(token);
                *state = State { token: Some(Arc::clone(&token)), ..State::default() };
                Ok(token)
            }
            Err(failure) => {
                let failure = failure.before();
                if failure.kind == FailureKind::Unauthorized {
                    self.count(&mut state, &failure, now);
                }
                state.failed = Some((now, failure.clone()));
                Err(failure)
            }
        }
    }

    /// Forgets `used`, if that is still the token in use.
    pub(super) async fn discard(&self, used: &Arc<Token>) {
        let mut state = self.state.lock().await;
        if state.token.as_ref().is_some_and(|current| Arc::ptr_eq(current, used)) {
            state.token = None;
        }
    }

    /// A new token was refused as well.
    pub(super) async fn refused(&self, failure: &Failure) {
        self.count(&mut *self.state.lock().await, failure, mono());
    }

    /// A call was accepted.
    pub(super) fn accepted(&self) {
        self.refusals.store(0, Ordering::Release);
    }

    fn count(&self, state: &mut State, failure: &Failure, now: Instant) {
        let before = self.refusals.load(Ordering::Acquire);
        if state.refused(failure, before, now) {
            self.refusals.store(before.saturating_add(1), Ordering::Release);
        }
    }
}

async fn once_more(ask: &impl TokenService, refresh: Option<&str>) -> Result<Token, Failure> {
    match ask.ask(refresh).await {
        Err(failure) if failure.code == Some(REPEATED_REQUEST.into()) => ask.ask(refresh).await,
        answer => answer,
    }
}

/// Strictly increasing epoch milliseconds.
#[derive(Default)]
pub(super) struct Stamps(AtomicI64);

impl Stamps {
    pub(super) fn next(&self, now_ms: i64) -> i64 {
        let before = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(now_ms.max(last + 1)));
        now_ms.max(before.unwrap_or_else(|last| last) + 1)
    }
}

#[cfg(test)]
mod tests;
