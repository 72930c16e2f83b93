//! A proxy in front of any HTTP server that does to each call what a script says: it passes it on, spoils it on either side
//! of its effect, repeats it, answers from the past, or stops it so that the test can kill the caller.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::body::Body;
use axum::http::{Method, Response};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::scratch::Scratch;

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    Pass,
    /// An error of the server instead of the effect; or after it.
    ErrorBefore,
    ErrorAfter,
    /// No answer ever, without the effect; or after it.
    HangBefore,
    HangAfter,
    /// The connection is closed, without the effect; or after it.
    DropBefore,
    DropAfter,
    /// Carried out twice; the second answer counts.
    Twice,
    /// Carried out after so long, when the caller has given up.
    Late(Duration),
    /// The server's answer to the same call of an earlier phase, where there was one.
    Stale,
}

/// A call as the script sees it.
#[derive(Clone, Debug)]
pub struct Passing {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub body: String,
}

/// The word on each call, and the phase it falls into.
pub type Script = dyn Fn(&Passing) -> (Fate, usize) + Send + Sync;

#[derive(Clone)]
enum Upstream {
    /// An API server, with the rights of a kubeconfig.
    Kube(kube::Client),
    /// `host:port`.
    Plain(String),
}

/// A call, its phase, and the answer.
type Past = (String, usize, (u16, Bytes));

struct Inner {
    upstream: Upstream,
    script: Arc<Script>,
    /// Answers to reads, by call and phase.
    past: Mutex<Vec<Past>>,
    /// Counts the calls that are never answered, once they are on their side of the effect.
    stopped: watch::Sender<u32>,
}

/// Ends with its test.
pub struct Wire {
    address: String,
    inner: Arc<Inner>,
    dir: Option<Scratch>,
}

impl Wire {
    /// In front of the API server: plain HTTP on this side, the operator's own rights on the other.
    pub async fn to_api_server(operator_kubeconfig: &Path, script: Arc<Script>) -> Result<Self> {
        let config = kube::config::Kubeconfig::read_from(operator_kubeconfig)?;
        let mut config = kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default()).await?;
        config.default_retry = false;
        let (address, inner) = serve(Upstream::Kube(kube::Client::try_from(config)?), script).await?;
        let dir = Scratch::new("wire")?;
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: proxy\nclusters: [{{name: proxy, cluster: {{server: \"http://{address}\"}}}}]\nusers: [{{name: proxy, user: {{}}}}]\ncontexts: [{{name: proxy, context: {{cluster: proxy, user: proxy}}}}]\n"
        );
        std::fs::write(dir.path().join("kubeconfig"), text).context("writing a kubeconfig")?;
        Ok(Self { address, inner, dir: Some(dir) })
    }

    /// In front of `http://host:port`.
    pub async fn to(endpoint: &str, script: Arc<Script>) -> Result<Self> {
        let upstream = endpoint.strip_prefix("http://").context("plain http")?.to_owned();
        let (address, inner) = serve(Upstream::Plain(upstream), script).await?;
        Ok(Self { address, inner, dir: None })
    }

    /// How many calls hang for ever.
    pub fn stopped(&self) -> u32 {
        *self.inner.stopped.borrow()
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// # Panics
    /// When it is not in front of an API server.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.as_ref().expect("it is in front of an API server").path().join("kubeconfig")
    }
}

async fn serve(upstream: Upstream, script: Arc<Script>) -> Result<(String, Arc<Inner>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let inner = Arc::new(Inner { upstream, script, past: Mutex::default(), stopped: watch::Sender::new(0) });
    let served = Arc::clone(&inner);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let inner = Arc::clone(&served);
            tokio::spawn(async move {
                let service = service_fn(move |request| pass_on(Arc::clone(&inner), request));
                // It fails when a caller goes away, and when a call is dropped.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok((address, inner))
}

async fn hang(inner: &Inner) -> io::Result<Response<Body>> {
    inner.stopped.send_modify(|n| *n += 1);
    std::future::pending().await
}

fn closed() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

async fn pass_on(inner: Arc<Inner>, request: hyper::Request<Incoming>) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(Body::new(body), 16 << 20).await.map_err(|_| closed())?;
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let seen = Passing {
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        query: query.clone(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let (fate, phase) = (inner.script)(&seen);
    let parts = Arc::new(parts);
    let forward = || {
        let (inner, parts, body) = (Arc::clone(&inner), Arc::clone(&parts), body.clone());
        async move { send(&inner.upstream, &parts, body).await }
    };
    if query.contains("watch=") {
        return forward().await;
    }
    let call = format!("{} {}?{query}", seen.method, seen.path);
    match fate {
        Fate::Pass => {
            let (status, bytes) = whole(forward().await?).await?;
            if seen.method == Method::GET {
                let mut past = inner.past.lock().expect("no panic under this lock");
                past.retain(|(c, p, _)| !(*c == call && *p == phase));
                past.push((call, phase, (status, bytes.clone())));
            }
            Ok(answer(status, bytes))
        }
        Fate::Stale => {
            let past = inner.past.lock().expect("no panic under this lock").clone();
            let earlier = past.into_iter().rev().find(|(c, p, _)| *c == call && *p < phase);
            match earlier {
                Some((_, _, (status, bytes))) => Ok(answer(status, bytes)),
                None => forward().await,
            }
        }
        Fate::ErrorBefore => Ok(error()),
        Fate::ErrorAfter => forward().await.map(|_| error()),
        Fate::HangBefore => hang(&inner).await,
        Fate::HangAfter => {
            forward().await?;
            hang(&inner).await
        }
        Fate::DropBefore => Err(closed()),
        Fate::DropAfter => {
            forward().await?;
            Err(closed())
        }
        Fate::Twice => {
            forward().await?;
            forward().await
        }
        Fate::Late(after) => {
            let call = forward();
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                drop(call.await);
            });
            std::future::pending().await
        }
    }
}

async fn whole(response: Response<Body>) -> io::Result<(u16, Bytes)> {
    let status = response.status().as_u16();
    Ok((status, axum::body::to_bytes(response.into_body(), 16 << 20).await.map_err(|_| closed())?))
}

fn answer(status: u16, bytes: Bytes) -> Response<Body> {
    let response = Response::builder().status(status).header("content-type", "application/json;charset=UTF-8");
    response.body(Body::from(bytes)).expect("a valid response")
}

/// As an API server and as a gateway say it.
fn error() -> Response<Body> {
    let body = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"made up","reason":"InternalError","code":500}"#;
    answer(500, Bytes::from_static(body.as_bytes()))
}

async fn send(upstream: &Upstream, parts: &axum::http::request::Parts, body: Bytes) -> io::Result<Response<Body>> {
    let mut request = axum::http::Request::builder().method(parts.method.clone()).uri(parts.uri.clone());
    for (name, value) in parts.headers.iter().filter(|(name, _)| *name != "host") {
        request = request.header(name, value);
    }
    match upstream {
        Upstream::Kube(client) => {
            let request = request.body(kube::client::Body::from(body.to_vec())).map_err(io::Error::other)?;
            client.send(request).await.map(|answer| answer.map(Body::new)).map_err(io::Error::other)
        }
        Upstream::Plain(host) => {
            let stream = TcpStream::connect(host).await?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake::<_, Body>(TokioIo::new(stream)).await.map_err(io::Error::other)?;
            tokio::spawn(connection);
            let request = request.header("host", host).body(Body::from(body)).map_err(io::Error::other)?;
            let answer = sender.send_request(request).await.map_err(io::Error::other)?;
            Ok(answer.map(Body::new))
        }
    }
}
