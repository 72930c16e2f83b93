//! The shared Kafka clients: one per namespace, brokers and credentials, replaced when retired, closed when idle.
//! Time is an argument; whoever owns a [`Clients`] calls `sweep` now and then.

pub mod client;
mod connection;
mod driver;
#[cfg(test)]
mod driver_tests;
mod places;
pub mod renewed;
mod shared;
mod spawn;
mod weight;

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::admin_port::Admin;
use super::admin_types::{AdminError, Failure};
use super::security::Security;
use crate::backend::endpoints::EndpointPolicy;
use crate::metrics::Metrics;
use client::AdminClient;
use places::Places;
use spawn::Spawner;
use weight::Scales;

/// A client that nobody asked for this long is closed.
const IDLE: Duration = Duration::from_secs(300);

/// After the first refusal; doubled after each further one.
const FIRST_HOLD: Duration = Duration::from_millis(500);

const CLIENT_ID: &str = "stream-pipeline-operator";

/// Who may share a client: the same namespace, the same brokers in any order, the same credentials byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientKey {
    namespace: String,
    bootstrap: Vec<String>,
    security: [u8; 32],
}

impl ClientKey {
    pub fn new(namespace: &str, bootstrap: &[String], security: &Security) -> Self {
        let mut bootstrap = bootstrap.to_vec();
        bootstrap.sort();
        bootstrap.dedup();
        Self { namespace: namespace.to_owned(), bootstrap, security: security.digest() }
    }
}

struct Shared {
    client: Arc<dyn Admin>,
    since: Instant,
    last_used: Instant,
    /// How many before it failed one after the other, and why the last one did.
    failed: u32,
    why: Option<AdminError>,
}

impl Shared {
    /// What the others are told while somebody tries once more: brokers that were silent twice would keep each of them waiting.
    /// Once may be a slow moment.
    fn tried(&self) -> Option<AdminError> {
        let tried = self.failed > 1 && !self.client.has_answered() && Arc::strong_count(&self.client) > 1;
        self.why.clone().filter(|_| tried)
    }

    /// How long after its failure no other is made. What is silent may answer again at any time.
    fn hold(&self, why: &AdminError, longest: Duration) -> Duration {
        match why {
            AdminError::Refused(_) | AdminError::ClientGone { .. } => {
                FIRST_HOLD.saturating_mul(2u32.saturating_pow(self.failed.min(16))).min(longest)
            }
            _ => Duration::ZERO,
        }
    }
}

pub struct Clients {
    /// A wrong password must not lock an account out, however many pipelines have it.
    max_hold: Duration,
    plain_sasl: bool,
    shared: Mutex<HashMap<ClientKey, Shared>>,
    open: Open,
}

/// How much there may be of all clients' processes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// So many at once.
    pub most: usize,
    /// Bytes of memory of their own that they may take together; none: without end.
    pub memory: Option<u64>,
}

/// What all clients' processes share. `policy`: where they may connect to, brokers as given and as advertised.
pub struct Processes {
    spawner: Spawner,
    places: Arc<Places>,
    scales: Arc<Scales>,
    policy: Arc<EndpointPolicy>,
    metrics: Arc<Metrics>,
    open_doors_told: AtomicBool,
}

impl Processes {
    /// `program`: the operator's own binary. To be called inside of a runtime.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn new(program: PathBuf, bounds: Bounds, policy: Arc<EndpointPolicy>, metrics: Arc<Metrics>) -> std::io::Result<Arc<Self>> {
        let spawner = Spawner::new(program)?;
        let (places, scales) = (Places::new(bounds.most), Scales::new(bounds.memory));
        Ok(Arc::new(Self { spawner, places, scales, policy, metrics, open_doors_told: AtomicBool::new(false) }))
    }

    /// Tells once what this system cannot keep a client's process from.
    fn note_open_doors(&self, open: &[String]) {
        self.metrics.kafka_open_doors.set(i64::try_from(open.len()).unwrap_or(i64::MAX));
        if !open.is_empty() && !self.open_doors_told.swap(true, Ordering::Relaxed) {
            let open = crate::domain::words::cut(&open.join("; "), 1000);
            tracing::warn!(open, "The processes of Kafka clients are less confined than they could be on this system");
        }
    }

    /// Counts an end that nobody here wanted.
    fn note_end(&self, status: Option<ExitStatus>) {
        let how = match status.map(|s| (s.signal(), s.code())) {
            Some((Some(signal), _)) => format!("signal {signal}"),
            Some((None, _)) => "exit".to_owned(),
            None => "killed".to_owned(),
        };
        self.metrics.kafka_client_ended(&how);
    }
}

/// Makes a client: for which namespace and brokers, with which dummy group.
pub type Open = Box<dyn Fn((&str, &[String]), &str, &Security) -> Result<Arc<dyn Admin>, AdminError> + Send + Sync>;

impl Clients {
    /// `max_hold`: longest pause after refusals.
    pub fn new(processes: Arc<Processes>, max_hold: Duration) -> Self {
        let open = move |at: (&str, &[String]), group: &str, security: &Security| {
            let client = AdminClient::new(at, group, CLIENT_ID, security, Arc::clone(&processes))?;
            Ok(Arc::new(client) as Arc<dyn Admin>)
        };
        Self::opened_by(Box::new(open), max_hold)
    }

    /// With clients of another make.
    pub fn opened_by(open: Open, max_hold: Duration) -> Self {
        Self { open, max_hold, plain_sasl: false, shared: Mutex::default() }
    }

    /// Whether a password or a token may be sent where it can be read on the way.
    #[must_use]
    pub fn allowing_plain_sasl(self, allow: bool) -> Self {
        Self { plain_sasl: allow, ..self }
    }

    pub fn allows_plain_sasl(&self) -> bool {
        self.plain_sasl
    }

    /// The client for `key`, or a new one. `group` becomes the name of a new client's dummy group, which it never joins: librdkafka
    /// looks its coordinator up, so it should be a group the principal may describe.
    pub fn get(&self, key: &ClientKey, group: &str, security: &Security, now: Instant) -> Result<Arc<dyn Admin>, AdminError> {
        let mut shared = self.lock();
        let (mut failed, mut last) = (0, None);
        if let Some(known) = shared.get_mut(key) {
            known.last_used = now;
            if !known.client.is_retired() {
                return known.tried().map_or_else(|| Ok(Arc::clone(&known.client)), Err);
            }
            if let Some(Failure { at, why }) = known.client.failure() {
                if now < at + known.hold(&why, self.max_hold) {
                    return Err(why);
                }
                // One that did its work for long has nothing to do with those before it.
                let lived = at.saturating_duration_since(known.since) > self.max_hold;
                let before = if lived && known.client.has_answered() { 0 } else { known.failed };
                (failed, last) = (before.saturating_add(1), Some(why));
            }
        }
        let client = (self.open)((&key.namespace, &key.bootstrap), group, security)?;
        let fresh = Shared { client: Arc::clone(&client), since: now, last_used: now, failed, why: last };
        shared.insert(key.clone(), fresh);
        Ok(client)
    }

    /// Lets go of clients that are retired, or that nobody holds and nobody asked for lately.
    pub fn sweep(&self, now: Instant) {
        self.lock().retain(|_, known| {
            if Arc::strong_count(&known.client) > 1 {
                known.last_used = now;
            }
            let idle = now.saturating_duration_since(known.last_used) >= IDLE;
            // What is known of a failure outlives its client.
            let kept = !known.client.is_retired() || known.client.failure().is_some();
            kept && !idle
        });
    }

    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientKey, Shared>> {
        // Nothing under this lock leaves the map half changed, so a panic elsewhere does not make it unusable.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
