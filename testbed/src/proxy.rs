//! Two proxies that count calls and can stop one: in front of a broker, and in front of the API server.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::serve::ListenerExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::scratch::Scratch;
use crate::trap::{Side, Traps};

/// Kafka's API key of OffsetCommit.
pub const OFFSET_COMMIT: &str = "8";

/// Kafka's API key of OffsetDelete.
pub const OFFSET_DELETE: &str = "47";

/// In front of a broker. The broker must advertise this address on the listener that is behind it.
pub struct KafkaProxy {
    pub traps: Arc<Traps>,
    pub address: String,
}

impl KafkaProxy {
    /// Listens first, so that the broker can be told the address; then [`KafkaProxy::serve`].
    pub async fn bind() -> Result<(Self, TcpListener)> {
        Self::on(std::net::TcpListener::bind("127.0.0.1:0")?, Arc::default())
    }

    /// With traps that other proxies have, too.
    pub fn on(listener: std::net::TcpListener, traps: Arc<Traps>) -> Result<(Self, TcpListener)> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        Ok((Self { traps, address }, TcpListener::from_std(listener)?))
    }

    pub fn serve(&self, listener: TcpListener, broker: String) {
        let traps = Arc::clone(&self.traps);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (traps, broker) = (Arc::clone(&traps), broker.clone());
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(broker).await else { return };
                    // A request would wait 40 ms for the acknowledgement of the one before.
                    if client.set_nodelay(true).and(server.set_nodelay(true)).is_err() {
                        return;
                    }
                    let calls: Calls = Arc::default();
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::select! {
                        _ = requests(from_client, to_server, &traps, &calls) => {}
                        _ = answers(from_server, to_client, &traps, &calls) => {}
                    }
                });
            }
        });
    }
}

/// API key by correlation id.
type Calls = Arc<Mutex<HashMap<[u8; 4], String>>>;

async fn frame(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let size = from.read_i32().await?;
    let mut bytes = vec![0; usize::try_from(size).map_err(std::io::Error::other)?];
    from.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn forward(to: &mut OwnedWriteHalf, bytes: &[u8]) -> std::io::Result<()> {
    let size = i32::try_from(bytes.len()).map_err(std::io::Error::other)?;
    to.write_all(&[&size.to_be_bytes(), bytes].concat()).await
}

/// A request begins with API key, version and correlation id.
async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, traps: &Traps, calls: &Calls) -> std::io::Result<()> {
    loop {
        let bytes = frame(&mut from).await?;
        if let (Some(key), Some(id)) = (bytes.first_chunk::<2>(), bytes.get(4..8).and_then(|id| id.first_chunk::<4>())) {
            let key = i16::from_be_bytes(*key).to_string();
            calls.lock().expect("no panic under this lock").insert(*id, key.clone());
            traps.pass(Side::Before, &key).await;
        }
        forward(&mut to, &bytes).await?;
    }
}

/// An answer begins with the correlation id.
async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, traps: &Traps, calls: &Calls) -> std::io::Result<()> {
    loop {
        let bytes = frame(&mut from).await?;
        let key = bytes.first_chunk::<4>().and_then(|id| calls.lock().expect("no panic under this lock").remove(id));
        if let Some(key) = key {
            traps.pass(Side::After, &key).await;
        }
        forward(&mut to, &bytes).await?;
    }
}

/// In front of the API server: plain HTTP on this side, the operator's own rights on the other.
pub struct ApiProxy {
    pub traps: Arc<Traps>,
    ahead: Arc<AtomicI64>,
    dir: Scratch,
}

#[derive(Clone)]
struct Upstream {
    client: kube::Client,
    traps: Arc<Traps>,
    /// Seconds by which the API server's clock is ahead, as seen through here.
    ahead: Arc<AtomicI64>,
}

impl ApiProxy {
    pub async fn start(operator_kubeconfig: &Path) -> Result<Self> {
        Self::start_with(operator_kubeconfig, Arc::default()).await
    }

    /// With traps that other proxies have, too.
    pub async fn start_with(operator_kubeconfig: &Path, traps: Arc<Traps>) -> Result<Self> {
        let config = kube::config::Kubeconfig::read_from(operator_kubeconfig)?;
        let mut config = kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default()).await?;
        // What the operator would not be told is not to be hidden here either.
        config.default_retry = false;
        let ahead: Arc<AtomicI64> = Arc::default();
        let upstream = Upstream { client: kube::Client::try_from(config)?, traps: Arc::clone(&traps), ahead: Arc::clone(&ahead) };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let dir = Scratch::new("api-proxy")?;
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: proxy\nclusters: [{{name: proxy, cluster: {{server: \"http://{}\"}}}}]\nusers: [{{name: proxy, user: {{}}}}]\ncontexts: [{{name: proxy, context: {{cluster: proxy, user: proxy}}}}]\n",
            listener.local_addr()?
        );
        std::fs::write(dir.path().join("kubeconfig"), text).context("writing a kubeconfig")?;
        let app = axum::Router::new().fallback(pass_on).with_state(upstream);
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { traps, ahead, dir })
    }

    /// From now on the API server's clock is so many seconds ahead, by what its answers say; those to watches leave as they are.
    pub fn set_ahead(&self, seconds: i64) {
        self.ahead.store(seconds, Ordering::Relaxed);
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }
}

async fn pass_on(State(upstream): State<Upstream>, request: Request) -> Response {
    // As the API server calls it in its audit log: a watch is another verb.
    let watch = request.uri().query().is_some_and(|query| query.contains("watch="));
    let verb = if watch { "WATCH" } else { request.method().as_str() };
    let call = format!("{verb} {}", request.uri().path());
    upstream.traps.pass(Side::Before, &call).await;
    let (mut parts, body) = request.into_parts();
    parts.headers.remove("host");
    let failed = |status: u16, text: String| Response::builder().status(status).body(Body::from(text)).expect("a valid response");
    let body = match axum::body::to_bytes(body, 16 << 20).await {
        Ok(bytes) => kube::client::Body::from(bytes.to_vec()),
        Err(error) => return failed(400, error.to_string()),
    };
    let answer = upstream.client.send(axum::http::Request::from_parts(parts, body)).await;
    upstream.traps.pass(Side::After, &call).await;
    match (answer, upstream.ahead.load(Ordering::Relaxed)) {
        (Ok(answer), 0) => answer.map(Body::new),
        (Ok(answer), ahead) => shifted(answer.map(Body::new), ahead, watch).await.unwrap_or_else(|text| failed(502, text)),
        (Err(error), _) => failed(502, error.to_string()),
    }
}

/// An answer as of an API server whose clock is so many seconds ahead: its date, and the times it stamps objects with.
async fn shifted(answer: Response, ahead: i64, watch: bool) -> Result<Response, String> {
    const KEY: &str = "\"creationTimestamp\":\"";
    let by = jiff::SignedDuration::from_secs(ahead);
    let (mut head, body) = answer.into_parts();
    let date = head.headers.get("date").and_then(|date| date.to_str().ok()).ok_or("an answer without a date")?;
    let date = jiff::fmt::rfc2822::parse(date).map_err(|e| e.to_string())?.timestamp() + by;
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).map_err(|e| e.to_string())?;
    head.headers.insert("date", date.parse().map_err(|_| "a date is no header")?);
    if watch {
        return Ok(Response::from_parts(head, body));
    }
    let bytes = axum::body::to_bytes(body, 16 << 20).await.map_err(|e| e.to_string())?;
    let text = String::from_utf8(bytes.to_vec()).map_err(|e| e.to_string())?;
    let mut parts = text.split(KEY);
    let mut said = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (time, rest) = part.split_once('"').ok_or("a time without an end")?;
        let time = time.parse::<jiff::Timestamp>().map_err(|e| e.to_string())? + by;
        said += &format!("{KEY}{time}\"{rest}");
    }
    // It is whole now, and hyper says how long it is.
    head.headers.remove("transfer-encoding");
    head.headers.remove("content-length");
    Ok(Response::from_parts(head, Body::from(said)))
}
