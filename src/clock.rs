//! Where a pass gets its time from. Waits are measured on tokio's clock, which is the system's monotonic clock unless a test pauses it.
//! Times that people see are the API server's: the `Date` of its answers corrects this process's own clock where the two cannot both be
//! right.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::http::{Request, Response, header};
use jiff::{SignedDuration, Timestamp};
use tower::{Layer, Service};

use stream_pipeline_core::Now;

/// Differences up to this are ignored: clocks are never quite the same, and `Date` has no fractions.
const TOLERATED: i64 = 5_000;

/// See the module's own comment. Clones share what they learn.
#[derive(Clone)]
pub struct Clock {
    own: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Milliseconds by which the API server is ahead; 0 where the clocks agree.
    ahead: Arc<AtomicI64>,
}

impl Clock {
    pub fn new(own: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { own: Arc::new(own), ahead: Arc::default() }
    }

    pub fn now(&self) -> Now {
        Now { mono: mono(), wall: self.wall() }
    }

    pub fn wall(&self) -> Timestamp {
        let own = (self.own)();
        own.checked_add(SignedDuration::from_millis(self.ahead.load(Ordering::Relaxed))).unwrap_or(own)
    }

    /// Seconds by which the API server is ahead of this process's own clock; None: they agree.
    pub fn gap(&self) -> Option<i64> {
        Some(self.ahead.load(Ordering::Relaxed) / 1000).filter(|gap| *gap != 0)
    }

    /// The API server wrote `date` between these two times of our clock, so the estimate is off by the round-trip time at most. An earlier
    /// estimate stays as long as it agrees with this answer.
    fn learn(&self, date: Timestamp, sent: Timestamp, received: Timestamp) {
        let ms = Timestamp::as_millisecond;
        let (least, most) = (ms(date) - ms(received), ms(date) + 999 - ms(sent));
        // Our clock was set meanwhile.
        if least > most {
            return;
        }
        let known = self.ahead.load(Ordering::Relaxed);
        let closest = known.clamp(least, most);
        let ahead = if closest.abs() > TOLERATED { closest } else { 0 };
        if self.ahead.swap(ahead, Ordering::Relaxed) == ahead {
            return;
        }
        match self.gap() {
            Some(gap) => tracing::warn!(gap, "The operator's clock is {}; the API server's time counts", words(gap)),
            None => tracing::info!("The operator's clock agrees with the API server's again"),
        }
    }
}

/// "600 s behind the API server's".
pub fn words(gap: i64) -> String {
    format!("{} s {} the API server's", gap.abs(), if gap > 0 { "behind" } else { "ahead of" })
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(Timestamp::now)
    }
}

/// Wraps a client of the API server, so that the clock learns from each answer.
impl<S> Layer<S> for Clock {
    type Service = Learning<S>;

    fn layer(&self, inner: S) -> Learning<S> {
        Learning { inner, clock: self.clone() }
    }
}

#[derive(Clone)]
pub struct Learning<S> {
    inner: S,
    clock: Clock,
}

impl<S, A, B> Service<Request<A>> for Learning<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (clock, sent) = (self.clock.clone(), (self.clock.own)());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok());
            let date = date.and_then(|date| httpdate::parse_http_date(date).ok()).and_then(|date| Timestamp::try_from(date).ok());
            if let Some(date) = date {
                clock.learn(date, sent, (clock.own)());
            }
            Ok(answer)
        })
    }
}

pub fn mono() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f22_the_clock_is_corrected_by_no_more_than_the_answers_prove() {
        let at = |ms: i64| Timestamp::from_millisecond(1_767_225_600_000 + ms).unwrap();
        let clock = Clock::new(move || at(0));
        let answers = [
            ("clocks that agree", 0, -3, 2, None),
            ("a second and a bit is not worth a word", 2_000, 0, 5, None),
            ("an answer that took a minute proves nothing", 0, -1_000, 60_000, None),
            ("ten minutes behind", 600_000, 0, 5, Some(599)),
            ("it stays as long as answers agree with it", 600_000, -200, 700, Some(599)),
            ("a slow answer that proves nothing changes nothing", 570_000, -60_000, 100, Some(599)),
            ("the own clock was set while the call was under way", 600_000, 600_000, -600_000, Some(599)),
            ("ten minutes ahead", -600_000, 0, 5, Some(-599)),
            ("set right", 0, 0, 5, None),
        ];
        for (sentence, date, sent, received, gap) in answers {
            clock.learn(at(date), at(sent), at(received));
            assert_eq!(clock.gap(), gap, "{sentence}");
            let corrected = clock.wall().as_second() - at(0).as_second();
            assert!((corrected - gap.unwrap_or(0)).abs() <= 1, "{sentence}: {corrected}");
        }
    }
}
