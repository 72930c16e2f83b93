//! A point between the operator and a server at which a call is stopped: before it reaches the server, or after the
//! server has done it and before the answer comes back. The test then kills the operator, waits it out, or lets it go on.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;

/// On which side of the server the call is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Before,
    After,
}

/// What stops: a call is named "POST /apis/…" or by Kafka's API key, "8".
type Rule = (Side, Box<dyn Fn(&str) -> bool + Send>);

/// The traps and the counters of one proxy.
pub struct Traps {
    armed: Mutex<Option<Rule>>,
    sprung: watch::Sender<bool>,
    /// Counts the times that stopped calls were let go.
    released: watch::Sender<u32>,
    seen: Mutex<Vec<String>>,
}

impl Default for Traps {
    fn default() -> Self {
        Self { armed: Mutex::default(), sprung: watch::Sender::new(false), released: watch::Sender::new(0), seen: Mutex::default() }
    }
}

impl Traps {
    /// The first call from now on that matches is stopped, and every later one with it.
    pub fn arm(&self, side: Side, matches: impl Fn(&str) -> bool + Send + 'static) {
        self.sprung.send_replace(false);
        *self.armed.lock().expect("no panic under this lock") = Some((side, Box::new(matches)));
    }

    /// Stops no call any more; what was stopped stays stopped.
    pub fn disarm(&self) {
        *self.armed.lock().expect("no panic under this lock") = None;
    }

    /// Lets go on what was stopped, and stops no call any more.
    pub fn release(&self) {
        self.disarm();
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

    /// Every call that came, in order.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic under this lock").clone()
    }

    pub(crate) fn note(&self, call: &str) {
        self.seen.lock().expect("no panic under this lock").push(call.to_owned());
    }

    /// Returns at once, or, where the call is to be stopped here, when it is let go.
    pub(crate) async fn pass(&self, side: Side, call: &str) {
        let stop = self.armed.lock().expect("no panic under this lock").as_ref().is_some_and(|(at, matches)| *at == side && matches(call));
        if stop {
            let mut released = self.released.subscribe();
            self.sprung.send_replace(true);
            // The sender lives as long as this.
            let _ = released.changed().await;
        }
    }
}
