//! Connecting: TLS, the endpoint policy at that moment, the last check of the time, and what a failure to connect means.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tower::{Layer, Service};

use super::kind::FailureKind;
use crate::clock;
use crate::endpoints::{EndpointNotAllowed, EndpointPolicy};

type BoxError = Box<dyn Error + Send + Sync>;

/// TLS with the given CA only, or with the system's. `needed`: having no CA is an error.
pub(super) fn tls(ca_pem: Option<&[u8]>, needed: bool) -> Result<ClientConfig, String> {
    let roots = match ca_pem {
        Some(pem) => Arc::new(given(pem)?),
        None => system(),
    };
    if needed && roots.is_empty() {
        return Err("the system that the operator runs on has no CA certificates".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn given(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| "the CA is no PEM".to_owned())?;
        roots.add(certificate).map_err(|_| "the CA is no certificate".to_owned())?;
    }
    if roots.is_empty() { Err("there is no certificate in the CA".to_owned()) } else { Ok(roots) }
}

/// Whether a certificate can be verified when the spec names no CA.
pub fn has_system_cas() -> bool {
    !system().is_empty()
}

/// Read once: a new set of certificates comes with a new image, and so with a restart.
fn system() -> Arc<RootCertStore> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let load = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    };
    Arc::clone(SYSTEM.get_or_init(load))
}

/// Resolves a name, and keeps only addresses that the policy permits at this port. Literal addresses do not come here; they are judged with
/// the endpoint.
pub(super) struct FilteredResolver(pub(super) Arc<EndpointPolicy>, pub(super) u16);

#[derive(Debug, thiserror::Error)]
#[error("the name does not resolve: {0}")]
struct LookupFailed(String);

impl Resolve for FilteredResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, port) = (Arc::clone(&self.0), self.1);
        Box::pin(async move {
            let host = name.as_str();
            let found = tokio::net::lookup_host((host, port)).await.map_err(|e| LookupFailed(e.to_string()))?;
            let mut permitted: Vec<SocketAddr> = Vec::new();
            let mut refused = None;
            for address in found {
                match policy.permits(Some(host), address) {
                    Ok(()) => permitted.push(address),
                    Err(error) => refused = Some(error),
                }
            }
            match refused {
                Some(error) if permitted.is_empty() => Err(error.into()),
                None if permitted.is_empty() => Err(LookupFailed("no address".to_owned()).into()),
                _ => Ok(Box::new(permitted.into_iter()) as Addrs),
            }
        })
    }
}

/// Lets a request pass once the connection stands, if it is not too late by then. The request is written only after that, so while the gate
/// is closed nothing was sent.
pub struct Gate {
    not_after: Option<Instant>,
    state: AtomicU8,
}

const OPEN: u8 = 1;

#[derive(Debug, thiserror::Error)]
#[error("the time to send it passed while connecting")]
pub struct TooLate;

impl Gate {
    pub(super) fn new(not_after: Option<Instant>) -> Self {
        Self { not_after, state: AtomicU8::new(0) }
    }

    /// Whether the request may have been sent; None: a read, which is not guarded.
    pub(super) fn opened(&self) -> Option<bool> {
        self.not_after.map(|_| self.state.load(Ordering::Acquire) == OPEN)
    }

    /// Whether the request is a change, which must not be sent after some time.
    pub(super) fn is_guarded(&self) -> bool {
        self.not_after.is_some()
    }

    /// Lets the request into an established connection.
    ///
    /// # Errors
    /// The time to send it has passed.
    pub fn pass(&self, now: Instant) -> Result<(), TooLate> {
        if self.not_after.is_some_and(|end| now > end) {
            return Err(TooLate);
        }
        self.state.store(OPEN, Ordering::Release);
        Ok(())
    }
}

/// Puts a gate behind the connector (TCP and TLS).
#[derive(Clone)]
pub(super) struct GateLayer(pub(super) Arc<Gate>);

#[derive(Clone)]
pub(super) struct Gated<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S> Layer<S> for GateLayer {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, gate: Arc::clone(&self.0) }
    }
}

impl<S, R> Service<R> for Gated<S>
where
    S: Service<R, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, to: R) -> Self::Future {
        let (connecting, gate) = (self.inner.call(to), Arc::clone(&self.gate));
        Box::pin(async move {
            let connection = connecting.await?;
            gate.pass(clock::mono())?;
            Ok(connection)
        })
    }
}

/// What went wrong, and the innermost reason in the system's own text.
pub(super) fn explain(error: &reqwest::Error) -> (FailureKind, String) {
    let by_cause = find(error, &|e| {
        if e.is::<EndpointNotAllowed>() {
            Some(FailureKind::EndpointNotAllowed)
        } else if e.is::<TooLate>() {
            Some(FailureKind::WindowPassed)
        } else if e.is::<LookupFailed>() {
            Some(FailureKind::Dns)
        } else if e.is::<rustls::Error>() {
            Some(FailureKind::Tls)
        } else {
            None
        }
    });
    match by_cause {
        // An error after the handshake means that the connection broke, whichever layer reports it.
        Some((FailureKind::Tls, text)) if !error.is_connect() => (FailureKind::ConnectionLost, text),
        Some(found) => found,
        None if error.is_connect() && error.is_timeout() => (FailureKind::Connect, "no connection within the deadline".to_owned()),
        None if error.is_connect() => (FailureKind::Connect, super::innermost(error)),
        None if error.is_timeout() => (FailureKind::Timeout, super::innermost(error)),
        None if error.is_builder() || error.is_request() && error.source().is_none() => (FailureKind::BadArgument, super::innermost(error)),
        None => (FailureKind::ConnectionLost, super::innermost(error)),
    }
}

/// The first error of the chain that `known` recognises. `source` of an `io::Error` skips the error inside it.
fn find(error: &(dyn Error + 'static), known: &dyn Fn(&(dyn Error + 'static)) -> Option<FailureKind>) -> Option<(FailureKind, String)> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(kind) = known(error) {
            return Some((kind, stream_pipeline_core::words::cut(&error.to_string(), super::MAX_TEXT)));
        }
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
            && let Some(found) = find(inner, known)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}
