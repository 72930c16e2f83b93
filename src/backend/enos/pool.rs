//! The clients in use: one per namespace, endpoint, credentials and CA, so that rotated credentials get a new one. Idle clients are closed.
//! Time is an argument; the owner of a [`ClientPool`] calls `sweep` now and then.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::client::{EnosClient, Settings};
use super::failure::Failure;
use super::limits::EndpointLimits;

/// A client that was not asked for this long is closed.
const IDLE: Duration = Duration::from_secs(300);

/// What callers must have in common to share a client. Namespaces never share one, even with the same keys.
#[derive(Clone, PartialEq, Eq, Hash)]
struct PoolKey {
    namespace: String,
    endpoint: String,
    credentials: [u8; 32],
    ca: Option<[u8; 32]>,
}

struct PooledClient {
    client: EnosClient,
    last_used: Instant,
}

#[derive(Default)]
pub struct ClientPool {
    /// No operation under these locks leaves a map half changed.
    shared: Mutex<HashMap<PoolKey, PooledClient>>,
    /// By "host:port"; an entry lives as long as one of its clients.
    endpoints: Mutex<HashMap<String, Weak<EndpointLimits>>>,
}

impl ClientPool {
    /// The client for these settings, or a new one. Policy, deadlines and plain http are the operator's own and do not change.
    pub fn get(&self, namespace: &str, settings: Settings, now: Instant) -> Result<EnosClient, Failure> {
        let key = PoolKey {
            namespace: namespace.to_owned(),
            endpoint: settings.endpoint.clone(),
            credentials: settings.credentials.digest(),
            ca: settings.ca_pem.as_deref().map(|pem| Sha256::digest(pem).into()),
        };
        let mut shared = self.shared.lock();
        if let Some(known) = shared.get_mut(&key) {
            known.last_used = now;
            return Ok(known.client.clone());
        }
        let client = EnosClient::sharing(settings, |endpoint| self.limits(endpoint))?;
        shared.insert(key, PooledClient { client: client.clone(), last_used: now });
        Ok(client)
    }

    /// Closes clients that were not asked for lately. A call in flight keeps its own client until the call ends.
    pub fn sweep(&self, now: Instant) {
        self.shared.lock().retain(|_, known| now.saturating_duration_since(known.last_used) < IDLE);
        self.endpoints.lock().retain(|_, limits| limits.strong_count() > 0);
    }

    pub fn count(&self) -> usize {
        self.shared.lock().len()
    }

    fn limits(&self, endpoint: &str) -> Arc<EndpointLimits> {
        let mut endpoints = self.endpoints.lock();
        if let Some(limits) = endpoints.get(endpoint).and_then(Weak::upgrade) {
            return limits;
        }
        let limits = Arc::new(EndpointLimits::default());
        endpoints.insert(endpoint.to_owned(), Arc::downgrade(&limits));
        limits
    }
}
