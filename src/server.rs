//! `/livez`, `/readyz` and `/metrics`. Liveness does not depend on the cluster: a restart would not create a missing CRD. Anybody who
//! reaches the port may connect, so a connection ends after ten seconds at the latest, and their number is limited.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

use crate::running::Running;

/// Listens, and serves until the process has nothing left to do: one that does not answer while it finishes would be killed as if it hung.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(listen: SocketAddr, running: Running, drained: CancellationToken) -> Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen} (--listen)"))?;
    tracing::info!(address = %listener.local_addr()?, "Listening for probes and metrics");
    let metrics = Arc::clone(&running.metrics);
    let readyz = async move || {
        if running.is_ready() {
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
    axum::serve(BoundedListener::new(listener), app)
        .with_graceful_shutdown(drained.cancelled_owned())
        .await
        .context("serving probes and metrics")
}

/// A probe takes a second, and a scrape no longer than Prometheus' default time-out.
const LIFETIME: Duration = Duration::from_secs(10);

/// They take about 32 MiB. Further connections are closed at once.
const MAX_CONNECTIONS: usize = 2048;

/// A listener whose connections end by themselves.
struct BoundedListener {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    lifetime: Duration,
}

impl BoundedListener {
    fn new(listener: TcpListener) -> Self {
        Self { listener, permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)), lifetime: LIFETIME }
    }
}

impl Listener for BoundedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // axum's own accept waits while there are no file descriptors left.
            let (stream, address) = Listener::accept(&mut self.listener).await;
            if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                let end = Box::pin(sleep(self.lifetime));
                return (Connection { stream, end, _permit: permit }, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection whose reads and writes fail once its time is over.
struct Connection {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn poll_end(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Error> {
        ready!(self.end.as_mut().poll(cx));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(over) = self.poll_end(cx) {
            return Poll::Ready(Err(over));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(over) = self.poll_end(cx) {
            return Poll::Ready(Err(over));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn serving(lifetime: Duration, most: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounded = BoundedListener { listener, permits: Arc::new(Semaphore::new(most)), lifetime };
        tokio::spawn(async move { axum::serve(bounded, Router::new().route("/livez", get(async || "ok"))).await });
        address
    }

    async fn rest(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        // Closed either way, by end of file or by an error.
        let _ = stream.read_to_string(&mut text).await;
        text
    }

    #[tokio::test]
    async fn who_connects_and_says_nothing_or_goes_on_for_ever_is_hung_up_on() {
        let address = serving(Duration::from_millis(300), 8).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
        let mut kept = TcpStream::connect(address).await.unwrap();
        kept.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert_eq!(rest(&mut silent).await, "");
        assert_eq!(rest(&mut slow).await, "");
        assert!(rest(&mut kept).await.ends_with("ok"), "answered, and then its time was over");
    }

    #[tokio::test]
    async fn there_are_so_many_at_most_and_a_place_comes_back() {
        let address = serving(Duration::from_millis(300), 1).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert_eq!(rest(&mut second).await, "", "closed at once");
        assert_eq!(rest(&mut first).await, "");
        let mut third = TcpStream::connect(address).await.unwrap();
        third.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        assert!(rest(&mut third).await.ends_with("ok"));
    }
}
