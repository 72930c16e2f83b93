//! Requests over TCP and TLS: HTTP/1.1, no redirects, no proxies, no retries, no cookies, no compression. A change gets a new connection:
//! the server cannot have closed it meanwhile, and nothing is sent on it twice.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::{Request, Response, redirect, retry};

use super::dial::{self, FilteredResolver, Gate, GateLayer};
use super::{FailureKind, Transport, TransportError, innermost};
use crate::endpoints::EndpointPolicy;

pub(super) struct SocketTransport {
    tls: rustls::ClientConfig,
    resolver: Arc<FilteredResolver>,
    connect_deadline: Duration,
    reads: reqwest::Client,
}

impl SocketTransport {
    pub(super) fn new(
        ca_pem: Option<&[u8]>,
        encrypted: bool,
        (policy, port): (Arc<EndpointPolicy>, u16),
        connect_deadline: Duration,
    ) -> Result<Self, (FailureKind, String)> {
        let tls = dial::tls(ca_pem, encrypted).map_err(|text| (FailureKind::BadCa, text))?;
        let resolver = Arc::new(FilteredResolver(policy, port));
        let build = builder(&tls, &resolver, connect_deadline).pool_idle_timeout(Duration::from_secs(20)).pool_max_idle_per_host(4);
        let reads = build.build().map_err(|e| (FailureKind::BadEndpoint, innermost(&e)))?;
        Ok(Self { tls, resolver, connect_deadline, reads })
    }

    fn client(&self, gate: Arc<Gate>) -> Result<reqwest::Client, reqwest::Error> {
        if !gate.is_guarded() {
            return Ok(self.reads.clone());
        }
        let build = builder(&self.tls, &self.resolver, self.connect_deadline).pool_max_idle_per_host(0);
        build.connector_layer(GateLayer(gate)).build()
    }
}

impl Transport for SocketTransport {
    fn send(&self, request: Request, gate: Arc<Gate>) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            let unsent = |e: reqwest::Error| TransportError { kind: FailureKind::BadEndpoint, connected: false, text: innermost(&e) };
            let client = self.client(gate).map_err(unsent)?;
            client.execute(request).await.map_err(transport_error)
        })
    }
}

/// How a connection failed, before or during the answer.
pub(super) fn transport_error(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    let (kind, text) = dial::explain(&error);
    TransportError { kind, connected: !error.is_connect(), text }
}

fn builder(tls: &rustls::ClientConfig, resolver: &Arc<FilteredResolver>, connect_deadline: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .dns_resolver(Arc::clone(resolver))
        .connect_timeout(connect_deadline)
        .http1_only()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .user_agent(concat!("stream-pipeline-operator/", env!("CARGO_PKG_VERSION")))
}
