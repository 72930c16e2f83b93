//! The clients in use: one per namespace, endpoint, credentials and CA, so that rotated credentials make a new one; closed when idle.
//! Time is an argument; whoever owns a [`Clients`] calls `sweep` now and then.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use sha2::{Digest, Sha256};

use super::client::{EnosClient, Settings};
use super::failure::Failure;
use super::limits::EndpointLimits;

/// A client that nobody asked for this long is closed.
const IDLE: Duration = Duration::from_secs(300);

/// Who may share a client. Namespaces never do, even with the same keys.
#[derive(Clone, PartialEq, Eq, Hash)]
struct ClientKey {
    namespace: String,
    endpoint: String,
    credentials: [u8; 32],
    ca: Option<[u8; 32]>,
}

struct Shared {
    client: EnosClient,
    last_used: Instant,
}

#[derive(Default)]
pub struct Clients {
    shared: Mutex<HashMap<ClientKey, Shared>>,
    /// By "host:port"; they live as long as a client of theirs.
    endpoints: Mutex<HashMap<String, Weak<EndpointLimits>>>,
}

impl Clients {
    /// The client for these settings, or a new one. Policy, deadlines and plain http are the operator's own and do not change.
    pub fn get(&self, namespace: &str, settings: Settings, now: Instant) -> Result<EnosClient, Failure> {
        let key = ClientKey {
            namespace: namespace.to_owned(),
            endpoint: settings.endpoint.clone(),
            credentials: settings.credentials.digest(),
            ca: settings.ca_pem.as_deref().map(|pem| Sha256::digest(pem).into()),
        };
        let mut shared = lock(&self.shared);
        if let Some(known) = shared.get_mut(&key) {
            known.last_used = now;
            return Ok(known.client.clone());
        }
        let client = EnosClient::sharing(settings, |endpoint| self.limits(endpoint))?;
        shared.insert(key, Shared { client: client.clone(), last_used: now });
        Ok(client)
    }

    /// Lets go of clients that nobody asked for lately. A call in flight keeps its own client until it ends.
    pub fn sweep(&self, now: Instant) {
        lock(&self.shared).retain(|_, known| now.saturating_duration_since(known.last_used) < IDLE);
        lock(&self.endpoints).retain(|_, limits| limits.strong_count() > 0);
    }

    pub fn count(&self) -> usize {
        lock(&self.shared).len()
    }

    fn limits(&self, endpoint: &str) -> Arc<EndpointLimits> {
        let mut endpoints = lock(&self.endpoints);
        if let Some(limits) = endpoints.get(endpoint).and_then(Weak::upgrade) {
            return limits;
        }
        let limits = Arc::new(EndpointLimits::default());
        endpoints.insert(endpoint.to_owned(), Arc::downgrade(&limits));
        limits
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks leaves a map half changed, so a panic elsewhere does not make it unusable.
    mutex.lock()
}
