//! `/livez`, `/readyz` and `/metrics`. Liveness says nothing about the cluster: restarting makes no CRD appear.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Set once the caches are filled.
pub type Ready = Arc<AtomicBool>;

/// Listens, and serves until `shutdown`.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(listen: SocketAddr, metrics: Arc<Metrics>, ready: Ready, shutdown: CancellationToken) -> Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen} (--listen)"))?;
    tracing::info!(address = %listener.local_addr()?, "Listening for probes and metrics");
    let readyz = move || async move {
        if ready.load(Ordering::Acquire) {
            (StatusCode::OK, "ok")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "waiting for the CRDs and the first list of objects")
        }
    };
    let text = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    let app = Router::new()
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(async move || (text, metrics.text())));
    axum::serve(listener, app).with_graceful_shutdown(shutdown.cancelled_owned()).await.context("serving probes and metrics")
}
