//! How many calls may be in flight, and how fast they may follow each other.
//!
//! Tenants share an endpoint but must not slow each other down. So pace and queue are kept per client (one namespace, endpoint and pair of
//! keys): 8 reads, 2 lists and 4 changes in flight, 20 calls a second; a 429 or a Retry-After slows that client only. All clients of an
//! endpoint host share a ceiling (32 reads, 8 lists, 16 changes, 80 calls a second) that protects the gateway. A permit of it is taken
//! last, first come first served, and held only while a call is on the wire: a client that waits for a token, its pace or a pause holds
//! none. A client with refused credentials sends one token call per pause (see `token`). Changes have permits of their own, so that an
//! urgent reset does not queue behind a thousand reads; and so has the list, which all share and each looks at once more right before its
//! reset. Both go before the client's own reads at its pace, too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::backend::http::MAX_PAUSE;
use crate::clock::mono;
use crate::fair::Fair;

/// The pause after a 429 without a Retry-After.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest interval that a client is slowed down to.
const SLOWEST: Duration = Duration::from_secs(2);

/// How many calls may follow each other at once after a rest.
const BURST: u32 = 8;

/// Plans of a client on record that are not sent yet: with the list read twice meanwhile they take about half a send window at its pace.
const PLANS: usize = 32;

/// Of so many turns one is for a read, where reads wait.
const SHARE: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallClass {
    /// Details, offset and lag.
    Read,
    /// A page of the list.
    List,
    /// Reset, start, pause, stop.
    Change,
    /// Token calls; a client makes only one at a time.
    Token,
}

/// Why a call may not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAdmitted {
    /// The client's pause outlasts the deadline; how long the pause still is.
    Paused(Duration),
    /// The deadline came first.
    Late,
}

struct InFlight {
    reads: Arc<Semaphore>,
    lists: Arc<Semaphore>,
    changes: Arc<Semaphore>,
}

impl InFlight {
    fn new(reads: usize, lists: usize, changes: usize) -> Self {
        let [reads, lists, changes] = [reads, lists, changes].map(|most| Arc::new(Semaphore::new(most)));
        Self { reads, lists, changes }
    }

    async fn take(&self, class: CallClass, until: Instant) -> Result<OwnedSemaphorePermit, NotAdmitted> {
        let in_flight = match class {
            CallClass::Change => &self.changes,
            CallClass::List => &self.lists,
            CallClass::Read | CallClass::Token => &self.reads,
        };
        match tokio::time::timeout_at(until.into(), Arc::clone(in_flight).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphores are never closed.
            Ok(Err(_)) | Err(_) => Err(NotAdmitted::Late),
        }
    }
}

/// Spreads calls over time. A turn that is given but not used is lost.
struct Pacer {
    state: Mutex<Pace>,
    /// The read that is next: one after the other, or of those that look out for a turn some would find none.
    reading: tokio::sync::Mutex<()>,
    /// The interval between two calls at the normal pace.
    normal: Duration,
}

#[derive(Clone, Copy)]
struct Pace {
    next: Option<Instant>,
    /// When the last read had its turn.
    read: Option<Instant>,
    interval: Duration,
}

impl Pacer {
    fn new(per_second: u32) -> Self {
        let normal = Duration::from_secs(1) / per_second.max(1);
        let state = Mutex::new(Pace { next: None, read: None, interval: normal });
        Self { state, reading: tokio::sync::Mutex::default(), normal }
    }

    /// When the next call may go. None: only after `until`; then no turn is taken.
    fn next_turn(&self, now: Instant, until: Instant) -> Option<Instant> {
        let mut pace = self.state.lock();
        let saved = now.checked_sub(pace.interval * BURST).unwrap_or(now);
        let at = pace.next.unwrap_or(saved).max(saved);
        let go = at.max(now);
        if go > until {
            return None;
        }
        pace.next = Some(at + pace.interval);
        Some(go)
    }

    fn slower(&self) {
        let mut pace = self.state.lock();
        pace.interval = (pace.interval * 2).min(SLOWEST).max(self.normal);
    }

    /// Shortens the interval by a twentieth, down to the normal one.
    fn faster(&self) {
        let mut pace = self.state.lock();
        pace.interval = (pace.interval - pace.interval / 20).max(self.normal);
    }

    /// Gives no turn before `at`, and no burst then.
    fn not_before(&self, at: Instant) {
        let mut pace = self.state.lock();
        pace.next = pace.next.max(Some(at));
    }

    /// One after the other.
    async fn in_turn(&self, until: Instant) -> Result<(), NotAdmitted> {
        let go = self.next_turn(mono(), until).ok_or(NotAdmitted::Late)?;
        tokio::time::sleep_until(go.into()).await;
        Ok(())
    }

    /// Lists and changes one after the other. A read goes when nobody else does, and every fourth turn at the latest: a thousand reads may
    /// wait, and what was recorded has to be sent within its window.
    async fn wait(&self, class: CallClass, until: Instant) -> Result<(), NotAdmitted> {
        if class != CallClass::Read {
            return self.in_turn(until).await;
        }
        let _next = tokio::time::timeout_at(until.into(), self.reading.lock()).await.map_err(|_| NotAdmitted::Late)?;
        loop {
            let now = mono();
            let Pace { next, read, interval } = *self.state.lock();
            let due = read.is_none_or(|last| last + SHARE * interval <= next.unwrap_or(now).max(now));
            if let Some(go) = self.next_turn(now, if due { until } else { now }) {
                self.state.lock().read = Some(go);
                tokio::time::sleep_until(go.into()).await;
                return Ok(());
            }
            let next = next.filter(|next| !due && *next <= until).ok_or(NotAdmitted::Late)?;
            tokio::time::sleep_until(next.into()).await;
        }
    }
}

/// The ceiling of one endpoint host, shared by all its clients.
pub struct EndpointLimits {
    in_flight: InFlight,
    pacer: Pacer,
}

impl Default for EndpointLimits {
    fn default() -> Self {
        Self { in_flight: InFlight::new(32, 8, 16), pacer: Pacer::new(80) }
    }
}

/// One client's own limits, below its endpoint's.
pub(super) struct ClientLimits {
    /// Who may have a plan on record that is not sent yet. More than these would wait for their call for longer than the send window.
    line: Arc<Fair>,
    endpoint: Arc<EndpointLimits>,
    in_flight: InFlight,
    pacer: Pacer,
    paused: Mutex<Option<Instant>>,
}

impl ClientLimits {
    pub(super) fn new(endpoint: Arc<EndpointLimits>) -> Self {
        Self { line: Fair::new(PLANS), endpoint, in_flight: InFlight::new(8, 2, 4), pacer: Pacer::new(20), paused: Mutex::new(None) }
    }

    pub(super) fn line(&self) -> Arc<Fair> {
        Arc::clone(&self.line)
    }

    /// Half as fast, half as many plans.
    fn adapt(&self) {
        let interval = self.pacer.state.lock().interval;
        let most = PLANS as u128 * self.pacer.normal.as_nanos() / interval.as_nanos().max(1);
        self.line.set_limit(usize::try_from(most).unwrap_or(PLANS));
    }

    /// A permit for one call in flight; taken first, and held while the call waits for token and pace and until it ends.
    pub(super) async fn begin(&self, class: CallClass, until: Instant) -> Result<OwnedSemaphorePermit, NotAdmitted> {
        self.check_pause(mono(), until)?;
        self.in_flight.take(class, until).await
    }

    /// A turn to send one request now; held until its answer is read.
    pub(super) async fn acquire(&self, class: CallClass, until: Instant) -> Result<OwnedSemaphorePermit, NotAdmitted> {
        self.check_pause(mono(), until)?;
        self.pacer.wait(class, until).await?;
        // A pause may have begun while this call waited.
        self.check_pause(mono(), until)?;
        let resume = *self.paused.lock();
        if let Some(resume) = resume {
            tokio::time::sleep_until(resume.into()).await;
        }
        let permit = self.endpoint.in_flight.take(class, until).await?;
        // Among tenants nobody goes before others.
        self.endpoint.pacer.in_turn(until).await?;
        Ok(permit)
    }

    /// Adapts the pace to an answer. `now`: when the answer came.
    pub(super) fn on_response(&self, http: u16, retry_after: Option<Duration>, now: Instant) {
        match (http, retry_after) {
            (429, _) | (503, Some(_)) => {
                let pause = retry_after.unwrap_or(PAUSE).clamp(PAUSE, MAX_PAUSE);
                self.pacer.slower();
                self.adapt();
                self.pacer.not_before(now + pause);
                let mut paused = self.paused.lock();
                *paused = (*paused).max(Some(now + pause));
            }
            (200..300, _) => {
                self.pacer.faster();
                self.adapt();
            }
            _ => {}
        }
    }

    fn check_pause(&self, now: Instant, until: Instant) -> Result<(), NotAdmitted> {
        let paused = *self.paused.lock();
        match paused {
            Some(resume) if resume > until && resume > now => Err(NotAdmitted::Paused(resume - now)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Duration = Duration::from_secs(3600);

    #[test]
    fn calls_are_spread_after_a_burst() {
        let (pacer, now) = (Pacer::new(20), Instant::now());
        let turns: Vec<_> = (0..12).map(|_| pacer.next_turn(now, now + FAR).unwrap().duration_since(now).as_millis()).collect();
        assert_eq!(turns, [0, 0, 0, 0, 0, 0, 0, 0, 0, 50, 100, 150]);
        assert_eq!(pacer.next_turn(now, now + Duration::from_millis(100)), None, "too late takes no turn");
        assert_eq!(pacer.next_turn(now, now + FAR).unwrap().duration_since(now).as_millis(), 200);
    }

    #[test]
    fn a_429_slows_down_and_successes_bring_the_pace_back() {
        let (limits, now) = (ClientLimits::new(Arc::default()), Instant::now());
        limits.on_response(429, Some(Duration::from_secs(7)), now);
        let interval = || limits.pacer.state.lock().interval;
        assert_eq!((interval(), limits.line().limit()), (Duration::from_millis(100), 16));
        assert_eq!(limits.check_pause(now, now + Duration::from_secs(5)), Err(NotAdmitted::Paused(Duration::from_secs(7))));
        assert_eq!(limits.check_pause(now, now + Duration::from_secs(8)), Ok(()));
        assert!(limits.pacer.next_turn(now, now + FAR).unwrap() >= now + Duration::from_secs(7));
        (0..20).for_each(|_| limits.on_response(200, None, now));
        assert_eq!((interval(), limits.line().limit()), (Duration::from_millis(50), 32));
    }

    #[test]
    fn a_pause_is_bounded() {
        let (limits, now) = (ClientLimits::new(Arc::default()), Instant::now());
        limits.on_response(503, Some(Duration::from_secs(86_400)), now);
        assert_eq!(limits.check_pause(now, now), Err(NotAdmitted::Paused(MAX_PAUSE)));
        for _ in 0..20 {
            limits.on_response(429, None, now);
        }
        assert_eq!((limits.pacer.state.lock().interval, limits.line().limit()), (SLOWEST, 1));
    }

    #[tokio::test]
    async fn one_clients_pause_is_not_anothers() {
        let endpoint = Arc::new(EndpointLimits::default());
        let (one, other) = (ClientLimits::new(Arc::clone(&endpoint)), ClientLimits::new(endpoint));
        one.on_response(429, Some(Duration::from_secs(30)), Instant::now());
        let until = Instant::now() + Duration::from_secs(5);
        assert!(matches!(one.acquire(CallClass::Read, until).await, Err(NotAdmitted::Paused(_))));
        assert!(other.acquire(CallClass::Read, until).await.is_ok());
    }

    /// A thousand may read; what is recorded has to be sent within seconds.
    #[tokio::test(start_paused = true)]
    async fn lists_and_changes_go_before_the_reads_that_wait() {
        let pacer = Arc::new(Pacer::new(20));
        let until = mono() + Duration::from_secs(60);
        for _ in 0..BURST + 1 {
            pacer.wait(CallClass::Read, until).await.unwrap();
        }
        let went = Arc::new(Mutex::new(Vec::new()));
        let classes = [vec![CallClass::Read; 100], vec![CallClass::List; 3], vec![CallClass::Change; 2]].concat();
        let calls = classes.into_iter().map(|class| {
            let (pacer, went) = (Arc::clone(&pacer), Arc::clone(&went));
            tokio::spawn(async move {
                pacer.wait(class, until).await.unwrap();
                went.lock().push(class);
            })
        });
        futures::future::join_all(calls.collect::<Vec<_>>()).await;
        let went = went.lock().clone();
        let last = went.iter().rposition(|class| *class != CallClass::Read).unwrap();
        assert!(went.len() == 105 && last <= 8, "the last of the five that are urgent is number {last}: {went:?}");
        assert_eq!(pacer.wait(CallClass::Read, mono()).await, Err(NotAdmitted::Late));
    }

    #[tokio::test(start_paused = true)]
    async fn reads_have_their_share_however_much_is_sent() {
        let pacer = Arc::new(Pacer::new(20));
        let until = mono() + Duration::from_secs(60);
        let sender = Arc::clone(&pacer);
        let sends = tokio::spawn(async move { while sender.wait(CallClass::Change, until).await.is_ok() {} });
        let begun = mono();
        for _ in 0..20 {
            pacer.wait(CallClass::Read, until).await.unwrap();
        }
        let took = mono() - begun;
        assert!(took > Duration::from_secs(2) && took < Duration::from_secs(5), "20 reads took {took:?}");
        sends.abort();
    }

    #[tokio::test]
    async fn neither_changes_nor_the_list_stand_behind_reads() {
        let limits = ClientLimits::new(Arc::default());
        let soon = || Instant::now() + Duration::from_millis(50);
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(limits.begin(CallClass::Read, soon()).await.unwrap());
        }
        assert_eq!(limits.begin(CallClass::Read, soon()).await.unwrap_err(), NotAdmitted::Late);
        assert!(limits.begin(CallClass::Change, soon()).await.is_ok());
        assert!(limits.begin(CallClass::List, soon()).await.is_ok());
    }
}
