//! A point between the operator and a server at which a call is stopped: before it reaches the server, or after the
//! server has done it and before the answer comes back. The test then kills the operator, waits it out, or lets it go on.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// On which side of the server the call is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Before,
    After,
}

/// A call is named "POST /apis/…" or by Kafka's API key, "8".
type Rule = Box<dyn FnMut(Side, &str) -> bool + Send>;

/// What went by: a request, or the answer to one.
#[derive(Clone, Debug)]
pub struct Passed {
    pub at: Instant,
    pub side: Side,
    pub call: String,
}

/// The traps and the counters of one proxy, or of several that share them.
pub struct Traps {
    armed: Mutex<Option<Rule>>,
    sprung: watch::Sender<bool>,
    /// Counts the times that stopped calls were let go.
    released: watch::Sender<u32>,
    log: Mutex<Vec<Passed>>,
}

impl Default for Traps {
    fn default() -> Self {
        Self { armed: Mutex::default(), sprung: watch::Sender::new(false), released: watch::Sender::new(0), log: Mutex::default() }
    }
}

impl Traps {
    /// The first call from now on that matches is stopped, and every later one with it.
    pub fn arm(&self, side: Side, matches: impl Fn(&str) -> bool + Send + 'static) {
        self.arm_by(move |at, call| at == side && matches(call));
    }

    /// As [`Traps::arm`], by a rule that is shown every request and every answer.
    pub fn arm_by(&self, rule: impl FnMut(Side, &str) -> bool + Send + 'static) {
        self.sprung.send_replace(false);
        *self.armed.lock().expect("no panic under this lock") = Some(Box::new(rule));
    }

    /// Stops no call any more; what was stopped stays stopped.
    pub fn disarm(&self) {
        *self.armed.lock().expect("no panic under this lock") = None;
    }

    /// Lets go on what was stopped, and stops no call any more.
    pub fn release(&self) {
        self.disarm();
        self.let_go();
    }

    /// Lets go on what was stopped until now.
    pub fn let_go(&self) {
        self.released.send_modify(|n| *n += 1);
    }

    /// Waits until a call was stopped.
    pub async fn sprung(&self) {
        let mut sprung = self.sprung.subscribe();
        let wait = sprung.wait_for(|sprung| *sprung);
        tokio::time::timeout(Duration::from_secs(60), wait)
            .await
            .expect("a call to be stopped within 60 s")
            .expect("the sender lives as long as this");
    }

    pub fn has_sprung(&self) -> bool {
        *self.sprung.borrow()
    }

    /// Every call that came, in order.
    pub fn seen(&self) -> Vec<String> {
        self.log().into_iter().filter(|p| p.side == Side::Before).map(|p| p.call).collect()
    }

    /// Every request that came and every answer, in order.
    pub fn log(&self) -> Vec<Passed> {
        self.log.lock().expect("no panic under this lock").clone()
    }

    /// Returns at once, or, where the call is to be stopped here, when it is let go.
    pub(crate) async fn pass(&self, side: Side, call: &str) {
        self.log.lock().expect("no panic under this lock").push(Passed { at: Instant::now(), side, call: call.to_owned() });
        let stop = self.armed.lock().expect("no panic under this lock").as_mut().is_some_and(|rule| rule(side, call));
        if stop {
            let mut released = self.released.subscribe();
            self.sprung.send_replace(true);
            // The sender lives as long as this.
            let _ = released.changed().await;
        }
    }
}
