//! The token service's connections and answers.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{Method, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use super::certificates::Leaf;
use super::tokens::{CLIENT_ID, CLIENT_SECRET, Inner, TokenFault, TokenRequest};

const LARGEST: usize = 1 << 16;

pub(super) fn acceptor(leaf: &Leaf) -> Result<TlsAcceptor> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.certificate.der().clone()], PrivatePkcs8KeyDer::from(leaf.key.serialize_der()).into())
        .context("the token service's certificate")?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Until it is told to end; says on which ports it listens, without and with TLS.
pub(super) fn run(inner: Arc<Inner>, tls: TlsAcceptor, mut ended: watch::Receiver<bool>, ports: &Sender<Result<(u16, u16)>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ports.send(Err(error.into()))),
    };
    runtime.block_on(async {
        let (http, https) = match listen().await {
            Ok((http, https, numbers)) => {
                let _ = ports.send(Ok(numbers));
                (http, https)
            }
            Err(error) => return drop(ports.send(Err(error.into()))),
        };
        tokio::select! {
            _ = ended.changed() => {}
            () = serve(&inner, http, None) => {}
            () = serve(&inner, https, Some(tls)) => {}
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
}

async fn listen() -> io::Result<(TcpListener, TcpListener, (u16, u16))> {
    let (http, https) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
    let ports = (http.local_addr()?.port(), https.local_addr()?.port());
    Ok((http, https, ports))
}

async fn serve(inner: &Arc<Inner>, listener: TcpListener, tls: Option<TlsAcceptor>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let (inner, tls) = (Arc::clone(inner), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => connection(inner, false, stream).await,
                        Some(tls) => if let Ok(stream) = tls.accept(stream).await { connection(inner, true, stream).await },
                    }
                });
            }
        }
    }
}

async fn connection(inner: Arc<Inner>, tls: bool, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let inner = Arc::clone(&inner);
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(Body::new(body), LARGEST).await.map_err(io::Error::other)?;
            match parts.uri.path() {
                "/jwks" => json_answer(200, &inner.jwks()),
                "/token" => token(&inner, tls, &parts, &body).await,
                _ => json_answer(404, &json!({"error": "not found"})),
            }
        }
    });
    // It fails when a client goes away, and when a fault closes it.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn token(inner: &Inner, tls: bool, parts: &Parts, body: &[u8]) -> io::Result<Response<Body>> {
    let form: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    let field = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let basic = parts.headers.get(AUTHORIZATION).map(|v| basic(v.as_bytes()));
    let in_form = field("client_id").zip(field("client_secret"));
    let noted = form.iter().filter(|(name, _)| name != "client_secret").cloned().collect();
    let (number, fault) = inner.begin(TokenRequest { tls, basic: basic.is_some(), form: noted, status: None });
    let is_form = parts.headers.get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    let scope = field("scope").unwrap_or_default();
    let known = match &basic {
        Some(given) => given.as_ref().is_some_and(|(id, secret)| (id.as_str(), secret.as_str()) == (CLIENT_ID, CLIENT_SECRET)),
        None => in_form == Some((CLIENT_ID, CLIENT_SECRET)),
    };
    let answer = if let Some(fault) = &fault
        && let Some(answer) = instead(fault).await?
    {
        answer
    } else if parts.method != Method::POST {
        json_answer(405, &json!({"error": "invalid_request", "error_description": "POST is what this takes"}))?
    } else if !is_form || basic.is_some() && in_form.is_some() {
        json_answer(400, &json!({"error": "invalid_request"}))?
    } else if !known {
        invalid_client()?
    } else if field("grant_type") != Some("client_credentials") {
        json_answer(400, &json!({"error": "unsupported_grant_type"}))?
    } else {
        let issued = inner.issue(CLIENT_ID, scope, None, fault.as_ref()).map_err(io::Error::other)?;
        let mut answer = json!({"access_token": issued.token, "token_type": "Bearer", "scope": scope});
        if fault != Some(TokenFault::NoExpiry) {
            answer["expires_in"] = inner.life().as_secs().into();
        }
        json_answer(200, &answer)?
    };
    inner.answered(number, answer.status().as_u16());
    Ok(answer)
}

/// The answer of faults that give no token.
async fn instead(fault: &TokenFault) -> io::Result<Option<Response<Body>>> {
    Ok(Some(match fault {
        TokenFault::Status(status) => json_answer(*status, &json!({"error": "server_error", "error_description": "told to fail"}))?,
        TokenFault::InvalidClient => invalid_client()?,
        TokenFault::Hang => std::future::pending().await,
        TokenFault::Close => return Err(io::ErrorKind::ConnectionAborted.into()),
        TokenFault::Html => {
            let page = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in</body></html>";
            Response::builder().header(CONTENT_TYPE, "text/html").body(page.into()).map_err(io::Error::other)?
        }
        TokenFault::NoToken => json_answer(200, &json!({"token_type": "Bearer", "expires_in": 300}))?,
        TokenFault::Redirect(to) => Response::builder().status(302).header(LOCATION, to).body(Body::empty()).map_err(io::Error::other)?,
        TokenFault::NoExpiry | TokenFault::WrongAudience | TokenFault::Expired | TokenFault::UnknownKey => return Ok(None),
    }))
}

fn invalid_client() -> io::Result<Response<Body>> {
    let mut answer =
        json_answer(401, &json!({"error": "invalid_client", "error_description": "Invalid client or Invalid client credentials"}))?;
    answer.headers_mut().insert(WWW_AUTHENTICATE, axum::http::HeaderValue::from_static("Basic realm=\"testbed\""));
    Ok(answer)
}

fn json_answer(status: u16, body: &Value) -> io::Result<Response<Body>> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .header(CACHE_CONTROL, "no-store")
        .body(Body::from(body.to_string()))
        .map_err(io::Error::other)
}

/// Both halves are form-encoded before they are put together (RFC 6749, 2.3.1).
fn basic(header: &[u8]) -> Option<(String, String)> {
    let given = STANDARD.decode(std::str::from_utf8(header).ok()?.strip_prefix("Basic ")?).ok()?;
    let (id, secret) = std::str::from_utf8(&given).ok()?.split_once(':')?;
    let decoded = |text: &str| {
        let pair = format!("x={text}");
        form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    Some((decoded(id)?, decoded(secret)?))
}
