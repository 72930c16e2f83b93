//! The shared Kafka clients: one per namespace, brokers and credentials, replaced when retired, closed when idle. Time is an argument; the
//! owner of a [`ClientPool`] calls `sweep` now and then.

pub(super) mod renewing;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::admin::{Admin, AdminError, Failure};
use super::client::{AdminClient, Processes};
use super::security::Security;
use stream_pipeline_core::backoff;

/// A client that was not asked for this long is closed.
const IDLE: Duration = Duration::from_secs(300);

/// The pause after the first refusal; doubled after each further one.
const FIRST_HOLD: Duration = Duration::from_millis(500);

const CLIENT_ID: &str = "stream-pipeline-operator";

/// What callers must have in common to share a client: the namespace, the brokers in any order, the credentials byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolKey {
    namespace: String,
    bootstrap: Vec<String>,
    security: [u8; 32],
}

impl PoolKey {
    pub fn new(namespace: &str, bootstrap: &[String], security: &Security) -> Self {
        let mut bootstrap = bootstrap.to_vec();
        bootstrap.sort();
        bootstrap.dedup();
        Self { namespace: namespace.to_owned(), bootstrap, security: security.digest() }
    }
}

struct PooledClient {
    client: Arc<dyn Admin>,
    since: Instant,
    last_used: Instant,
    /// How many clients before it failed in a row, and why the last one did.
    failed: u32,
    why: Option<AdminError>,
}

impl PooledClient {
    /// The last failure, for all other callers while one tries again: after two silent clients in a row, each of them would wait until its
    /// deadline. One time-out is not yet an outage.
    fn failure_while_tried(&self) -> Option<AdminError> {
        let tried = self.failed > 1 && !self.client.has_answered() && Arc::strong_count(&self.client) > 1;
        self.why.clone().filter(|_| tried)
    }

    /// How long after this failure no new client is made. Silent brokers may answer again at any time, so for them there is no pause.
    fn hold(&self, why: &AdminError, longest: Duration) -> Duration {
        match why {
            AdminError::Refused(_) | AdminError::ClientGone { .. } => backoff(FIRST_HOLD, self.failed, longest),
            _ => Duration::ZERO,
        }
    }
}

pub struct ClientPool {
    /// A wrong password must not lock an account out, however many pipelines have it.
    max_hold: Duration,
    plain_sasl: bool,
    /// No operation under this lock leaves the map half changed.
    shared: Mutex<HashMap<PoolKey, PooledClient>>,
    open: Open,
}

/// Makes a client: for which namespace and brokers, with which dummy group.
pub type Open = Box<dyn Fn((&str, &[String]), &str, &Security) -> Result<Arc<dyn Admin>, AdminError> + Send + Sync>;

impl ClientPool {
    /// `max_hold`: the longest pause after refusals.
    pub fn new(processes: Arc<Processes>, max_hold: Duration) -> Self {
        let open = move |at: (&str, &[String]), group: &str, security: &Security| {
            let client = AdminClient::new(at, group, CLIENT_ID, security, Arc::clone(&processes))?;
            Ok(Arc::new(client) as Arc<dyn Admin>)
        };
        Self::opened_by(Box::new(open), max_hold)
    }

    /// A pool whose clients are made by `open`.
    pub fn opened_by(open: Open, max_hold: Duration) -> Self {
        Self { open, max_hold, plain_sasl: false, shared: Mutex::default() }
    }

    /// Whether a password or token may be sent where it can be read on the way.
    #[must_use]
    pub fn allowing_plain_sasl(self, allow: bool) -> Self {
        Self { plain_sasl: allow, ..self }
    }

    pub fn allows_plain_sasl(&self) -> bool {
        self.plain_sasl
    }

    /// The client for `key`, or a new one. `group` becomes the name of a new client's dummy group, which it never joins: librdkafka
    /// looks its coordinator up, so it should be a group the principal may describe.
    pub fn get(&self, key: &PoolKey, group: &str, security: &Security, now: Instant) -> Result<Arc<dyn Admin>, AdminError> {
        let mut shared = self.shared.lock();
        let (mut failed, mut last) = (0, None);
        if let Some(known) = shared.get_mut(key) {
            known.last_used = now;
            if !known.client.is_retired() {
                return known.failure_while_tried().map_or_else(|| Ok(Arc::clone(&known.client)), Err);
            }
            if let Some(Failure { at, why }) = known.client.failure() {
                if now < at + known.hold(&why, self.max_hold) {
                    return Err(why);
                }
                // A client that worked for long ends the series of failures before it.
                let lived = at.saturating_duration_since(known.since) > self.max_hold;
                let before = if lived && known.client.has_answered() { 0 } else { known.failed };
                (failed, last) = (before.saturating_add(1), Some(why));
            }
        }
        let client = (self.open)((&key.namespace, &key.bootstrap), group, security)?;
        let fresh = PooledClient { client: Arc::clone(&client), since: now, last_used: now, failed, why: last };
        shared.insert(key.clone(), fresh);
        Ok(client)
    }

    /// Removes clients that are retired, or that nobody holds and nobody asked for lately.
    pub fn sweep(&self, now: Instant) {
        self.shared.lock().retain(|_, known| {
            if Arc::strong_count(&known.client) > 1 {
                known.last_used = now;
            }
            let idle = now.saturating_duration_since(known.last_used) >= IDLE;
            // A failure is remembered longer than its client.
            let kept = !known.client.is_retired() || known.client.failure().is_some();
            kept && !idle
        });
    }

    pub fn count(&self) -> usize {
        self.shared.lock().len()
    }
}
