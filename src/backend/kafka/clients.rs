//! The shared Kafka clients: one per namespace, brokers and credentials, replaced when retired, closed when idle.
//! Time is an argument; whoever owns a [`Clients`] calls `sweep` now and then.

pub mod client;
mod poller;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::admin_types::AdminError;
use super::security::Security;
use crate::backend::endpoints::EndpointPolicy;
use client::AdminClient;

/// A client that nobody asked for this long is closed.
const IDLE: Duration = Duration::from_secs(300);

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
    client: Arc<AdminClient>,
    last_used: Instant,
}

pub struct Clients {
    shared: Mutex<HashMap<ClientKey, Shared>>,
    policy: Arc<EndpointPolicy>,
}

impl Clients {
    /// `policy`: where clients may connect to, brokers as given and as advertised.
    pub fn new(policy: Arc<EndpointPolicy>) -> Self {
        Self { shared: Mutex::default(), policy }
    }

    /// The client for `key`, or a new one. `group` becomes the name of a new client's dummy group, which it never joins: librdkafka
    /// looks its coordinator up, so it should be a group the principal may describe.
    pub fn get(&self, key: &ClientKey, group: &str, security: &Security, now: Instant) -> Result<Arc<AdminClient>, AdminError> {
        let mut shared = self.lock();
        if let Some(known) = shared.get_mut(key)
            && !known.client.is_retired()
        {
            known.last_used = now;
            return Ok(Arc::clone(&known.client));
        }
        let client = Arc::new(AdminClient::new(&key.bootstrap, group, CLIENT_ID, security, Arc::clone(&self.policy))?);
        let fresh = Shared { client: Arc::clone(&client), last_used: now };
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
            !known.client.is_retired() && !idle
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
