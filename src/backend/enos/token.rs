//! The access token of one client: fetched when first needed, refreshed before its end, dropped when refused. One token call at a time;
//! those who wait share its failure. Other holders of the same key, and a second replica, may get, refresh and thereby end the same
//! token: a refused token is dropped only if it is still the one in use.
//!
//! Timestamps of a client strictly increase, so that no token call repeats an `encryption` (code 1001); another holder of the key may
//! still collide, and then it is asked once more. After a refusal of the credentials nothing is asked for a while (1 s, doubling up to
//! a minute): callers get the same refusal from memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::codes::REPEATED_REQUEST;
use super::failure::{Failure, FailureKind};
use crate::clock::mono;
use stream_pipeline_core::backoff;

/// Refreshed so long before its end, or at half of its life where that is later.
const MARGIN: Duration = Duration::from_secs(600);

/// The life of a token whose answer does not tell.
const UNTOLD: i64 = 600;

/// A life longer than this is not believed.
const LONGEST: i64 = 86_400;

/// Between two failed refreshes of a token that still lives.
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
    /// `asked`: when it was asked for. `life`: seconds, where the answer told.
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
    /// The last failure to get one.
    failed: Option<(Instant, Failure)>,
    /// Until then credentials count as refused.
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

    /// `before`: refusals since the last accepted call. Whether this is one more; calls in flight together count as one.
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

/// What asks the token service: `refresh` is the token to refresh, None to get one.
pub(super) trait TokenService {
    fn ask(&self, refresh: Option<&str>) -> impl Future<Output = Result<Token, Failure>> + Send;
}

#[derive(Default)]
pub(super) struct Tokens {
    state: Mutex<State>,
    /// Refusals since the last accepted call; beside the lock, which is held over a token call.
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
                // The service could not be asked; the old token is good for some minutes yet.
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

    /// Forgets `used`, if it is still the one in use.
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
