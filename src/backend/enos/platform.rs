//! What all EnOS pipelines share: the clients, and the starts under way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::adapter::Enos;
use super::cause::cause;
use super::pool::ClientPool;
use super::starts::Starts;
use super::{Credentials, Settings};
use crate::backend::http::{HttpPolicy, Transport};
use crate::clock::Clock;
use stream_pipeline_api::Reason;
use stream_pipeline_core::{Cause, EnosPipeline};

/// See the module's own comment.
pub struct EnosPlatform {
    clients: ClientPool,
    starts: Arc<Starts>,
    policy: HttpPolicy,
    deadline: Duration,
    clock: Clock,
    transport: Option<Arc<dyn Transport>>,
}

impl EnosPlatform {
    /// `deadline`: of one call, connecting included.
    pub fn new(policy: HttpPolicy, deadline: Duration, clock: Clock) -> Self {
        Self { clients: ClientPool::default(), starts: Arc::default(), policy, deadline, clock, transport: None }
    }

    /// Replaces TCP and TLS by another transport.
    #[must_use]
    pub fn with_transport(self, transport: Arc<dyn Transport>) -> Self {
        Self { transport: Some(transport), ..self }
    }

    /// A pipeline, through the client that its namespace, endpoint and credentials share. Nothing is connected yet.
    ///
    /// # Errors
    /// The endpoint is not allowed, or the credentials or the CA cannot be used.
    pub fn connect(
        &self,
        namespace: &str,
        pipeline: &EnosPipeline,
        (access_key, secret_key): (&[u8], &[u8]),
        ca_pem: Option<Vec<u8>>,
        now: Instant,
    ) -> Result<Enos, Cause> {
        let spec = &pipeline.spec;
        let text = |key: &str, value: &[u8]| {
            String::from_utf8(value.to_vec()).map_err(|_| {
                let text = format!("the value of {key} in Secret {} is not text", spec.credentials_secret_ref.name);
                Cause::new(Reason::AuthenticationFailed, text)
            })
        };
        let credentials = Credentials::new(text("accessKey", access_key)?, text("secretKey", secret_key)?);
        let broken = credentials.ends_with_newline();
        let settings = Settings {
            endpoint: spec.endpoint.clone(),
            credentials,
            ca_pem,
            policy: self.policy.clone(),
            connect_deadline: self.deadline / 2,
            call_deadline: self.deadline,
            clock: self.clock.clone(),
            transport: self.transport.clone(),
        };
        let client = self.clients.get(namespace, settings, now).map_err(|f| cause(&f, spec, broken))?;
        Ok(Enos::new(client, pipeline.clone(), Arc::clone(&self.starts), self.deadline, broken))
    }

    /// Closes idle clients.
    pub fn sweep(&self, now: Instant) {
        self.clients.sweep(now);
    }

    pub fn count(&self) -> usize {
        self.clients.count()
    }
}
