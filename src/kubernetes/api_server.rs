//! Where the API server listens, so that no StreamPipeline can make the operator connect to it: the address that this process was given,
//! and the endpoints that the API server publishes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;

use super::call::call_or;
use super::refusal;
use crate::endpoints::EndpointPolicy;

/// Namespace and name of the EndpointSlice that every API server publishes.
const PUBLISHED: (&str, &str) = ("default", "kubernetes");
const READING: &str = "reading the EndpointSlice default/kubernetes";

/// A control plane rarely changes its addresses.
const INTERVAL: Duration = Duration::from_secs(60);

/// The sockets behind the address that this process was given.
pub async fn given(kubernetes: &kube::Config) -> Vec<SocketAddr> {
    let url = &kubernetes.cluster_url;
    let usual = if url.scheme_str() == Some("http") { 80 } else { 443 };
    let (Some(host), port) = (url.host(), url.port_u16().unwrap_or(usual)) else { return Vec::new() };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => found.collect(),
        Err(error) => {
            tracing::warn!(%error, "The API server's address is not known, so it is not kept from tenants; it should not resolve elsewhere either");
            Vec::new()
        }
    }
}

/// Keeps tenants away from the API server's sockets, both those `given` and those published.
pub struct ApiServer {
    pub client: Client,
    pub policy: Arc<EndpointPolicy>,
    pub given: Vec<SocketAddr>,
    pub deadline: Duration,
}

impl ApiServer {
    /// Asks once. Without an answer the known sockets stay. False: there was no answer.
    pub async fn learn(&self, told: bool) -> bool {
        let api: Api<EndpointSlice> = Api::namespaced(self.client.clone(), PUBLISHED.0);
        let refused = |error: &kube::Error| refusal::cause(READING, error, "the chart's Role in `default` allows it");
        match call_or(READING, self.deadline, api.get(PUBLISHED.1), refused).await {
            Ok(slice) => {
                let sockets: Vec<_> = self.given.iter().copied().chain(published(&slice)).collect();
                if self.policy.learn_api_server(&sockets) {
                    tracing::info!(?sockets, "The API server's addresses; no StreamPipeline may name them");
                }
                true
            }
            Err(cause) => {
                if !told {
                    tracing::warn!(
                        reason = %cause.reason,
                        "Of the API server's addresses only the one this process was given is kept from tenants: {}", cause.message
                    );
                }
                false
            }
        }
    }

    /// Asks again and again.
    pub async fn watch(self, mut known: bool, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
            // A failure is logged once, and again only after a success in between.
            known = self.learn(!known).await;
        }
    }
}

/// Every address at every port.
fn published(slice: &EndpointSlice) -> Vec<SocketAddr> {
    let ports: Vec<u16> = slice.ports.iter().flatten().filter_map(|p| u16::try_from(p.port?).ok()).collect();
    let addresses = slice.endpoints.iter().flat_map(|e| &e.addresses).filter_map(|a| a.parse().ok());
    addresses.flat_map(|ip| ports.iter().map(move |port| SocketAddr::new(ip, *port))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c3_every_published_address_counts_at_every_port() {
        let slice = serde_json::from_value(serde_json::json!({
            "addressType": "IPv4", "metadata": { "name": "kubernetes" },
            "endpoints": [{ "addresses": ["10.0.0.5"] }, { "addresses": ["10.0.0.6", "a.name"] }],
            "ports": [{ "name": "https", "port": 6443 }, { "name": "none" }],
        }));
        let sockets: Vec<String> = published(&slice.unwrap()).iter().map(ToString::to_string).collect();
        assert_eq!(sockets, ["10.0.0.5:6443", "10.0.0.6:6443"]);
    }
}
