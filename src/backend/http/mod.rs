//! One HTTP exchange: who is connected to, on which connection, within which bounds, and whether a failed request can have been sent.
//!
//! For a change the time is checked once more when its connection stands, right before the request is written. Tokens, envelopes and codes
//! are not known here.
//! nothing of tokens, envelopes or codes.

mod dial;
mod kind;
mod sockets;

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use futures::future::BoxFuture;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Request, Response, Url};

use crate::endpoints::EndpointPolicy;
pub use dial::{Gate, TooLate, has_system_cas};
pub use kind::FailureKind;
use sockets::{SocketTransport, transport_error};
use stream_pipeline_core::words::cut;

/// How many bytes of the connection's own error text are kept.
const MAX_TEXT: usize = 200;

/// The longest pause that a gateway can ask for.
pub(in crate::backend) const MAX_PAUSE: Duration = Duration::from_secs(60);

/// What the operator permits for every HTTP connection.
#[derive(Clone)]
pub struct HttpPolicy {
    pub endpoints: Arc<EndpointPolicy>,
    /// Allows `http://`, where everything that is sent can be read on the way.
    pub allow_plain_http: bool,
}

/// How an endpoint is reached.
pub(in crate::backend) struct HttpConfig<'a> {
    pub(in crate::backend) endpoint: &'a str,
    /// PEM; None: the system's.
    pub(in crate::backend) ca_pem: Option<&'a [u8]>,
    pub(in crate::backend) policy: HttpPolicy,
    pub(in crate::backend) connect_deadline: Duration,
    pub(in crate::backend) call_deadline: Duration,
    /// None: TCP and TLS.
    pub(in crate::backend) transport: Option<Arc<dyn Transport>>,
}

/// Carries a request to its endpoint and returns the answer, whose body may still be arriving. The gate is passed once the connection
/// stands, right before the request is written.
pub trait Transport: Send + Sync {
    fn send(&self, request: Request, gate: Arc<Gate>) -> BoxFuture<'_, Result<Response, TransportError>>;
}

/// There is no answer, or only a part of it.
#[derive(Debug)]
pub struct TransportError {
    pub kind: FailureKind,
    /// False only if there was no connection to send the request on.
    pub connected: bool,
    pub text: String,
}

impl From<TooLate> for TransportError {
    fn from(late: TooLate) -> Self {
        Self { kind: FailureKind::WindowPassed, connected: false, text: late.to_string() }
    }
}

pub(in crate::backend) struct HttpClient {
    base: Url,
    call_deadline: Duration,
    transport: Arc<dyn Transport>,
}

/// A request. Query and body are sent exactly as they were signed.
pub(in crate::backend) struct HttpRequest<'a> {
    pub(in crate::backend) method: Method,
    /// The path below the endpoint's; each segment is escaped.
    pub(in crate::backend) path: &'a [&'a str],
    pub(in crate::backend) query: &'a [(&'a str, &'a str)],
    pub(in crate::backend) headers: Vec<(&'static str, String)>,
    pub(in crate::backend) body: Option<Vec<u8>>,
    pub(in crate::backend) content_type: &'static str,
    /// The most bytes of the answer's body that are read.
    pub(in crate::backend) limit: usize,
    /// For a change, which gets a connection of its own: when it must no longer be sent.
    pub(in crate::backend) not_after: Option<Instant>,
}

/// A complete answer.
pub(in crate::backend) struct HttpResponse {
    pub(in crate::backend) http: u16,
    pub(in crate::backend) body: Vec<u8>,
    /// At most [`MAX_PAUSE`].
    pub(in crate::backend) retry_after: Option<Duration>,
    /// Epoch seconds by the gateway's clock.
    pub(in crate::backend) date: Option<i64>,
    /// Cut and cleaned; empty where there is none.
    pub(in crate::backend) content_type: String,
}

/// No complete answer.
#[derive(Debug)]
pub(in crate::backend) struct ExchangeError {
    pub(in crate::backend) kind: FailureKind,
    /// False only if the request certainly never left.
    pub(in crate::backend) handed_over: bool,
    /// The HTTP status, if its line arrived.
    pub(in crate::backend) http: Option<u16>,
    pub(in crate::backend) text: String,
}

impl ExchangeError {
    fn unsent(kind: FailureKind, text: impl Into<String>) -> Self {
        Self { kind, handed_over: false, http: None, text: text.into() }
    }
}

impl HttpClient {
    /// Checks everything that can be checked without connecting.
    pub(in crate::backend) fn new(config: HttpConfig<'_>) -> Result<Self, (FailureKind, String)> {
        let base = base(config.endpoint, config.policy.allow_plain_http)?;
        let host = base.host_str().unwrap_or_default();
        let port = base.port_or_known_default().unwrap_or_default();
        let endpoints = config.policy.endpoints;
        endpoints.permits_host(host, port).map_err(|e| (FailureKind::EndpointNotAllowed, e.to_string()))?;
        let transport = match config.transport {
            Some(transport) => transport,
            None => Arc::new(SocketTransport::new(config.ca_pem, base.scheme() == "https", (endpoints, port), config.connect_deadline)?),
        };
        Ok(Self { base, call_deadline: config.call_deadline, transport })
    }

    /// Host and port: clients with the same ones share limits.
    pub(in crate::backend) fn authority(&self) -> String {
        format!("{}:{}", self.base.host_str().unwrap_or_default(), self.base.port_or_known_default().unwrap_or_default())
    }

    /// Sends once and reads the whole answer. If the future is dropped early, the request may have been sent.
    pub(in crate::backend) async fn exchange(&self, out: HttpRequest<'_>) -> Result<HttpResponse, ExchangeError> {
        let gate = Arc::new(Gate::new(out.not_after));
        let limit = out.limit;
        let request = self.request(out)?;
        let mut http = None;
        let sent = self.transport.send(request, Arc::clone(&gate));
        let whole = tokio::time::timeout(self.call_deadline, receive(sent, limit, &mut http)).await;
        // Dropping the future cancels a pending connect, so from here on the gate no longer changes.
        let opened = gate.opened();
        let handed_over = |by_error: bool| opened.unwrap_or(by_error);
        match whole {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(ReadError::TooLarge)) => {
                Err(ExchangeError { kind: FailureKind::TooLarge, handed_over: true, http, text: format!("more than {limit} bytes") })
            }
            // A read has no gate, and nothing depends on whether it was sent.
            Ok(Err(ReadError::Transport(TransportError { kind, connected, text }))) => {
                Err(ExchangeError { kind, handed_over: handed_over(connected), http, text })
            }
            Err(_) => {
                let text = format!("no complete answer within {:?}", self.call_deadline);
                Err(ExchangeError { kind: FailureKind::Timeout, handed_over: handed_over(true), http, text })
            }
        }
    }

    fn request(&self, out: HttpRequest<'_>) -> Result<Request, ExchangeError> {
        let bad = |text: &str| ExchangeError::unsent(FailureKind::BadArgument, text);
        let mut url = self.base.clone();
        url.path_segments_mut().map_err(|()| bad("no path"))?.pop_if_empty().extend(out.path);
        // With no pairs this would append a bare `?`.
        if !out.query.is_empty() {
            url.query_pairs_mut().extend_pairs(out.query);
        }
        let is_read = out.method == Method::GET;
        let mut request = Request::new(out.method, url);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(out.content_type));
        for (name, value) in out.headers {
            let mut value = HeaderValue::from_str(&value).map_err(|_| bad("the token cannot be sent in a header"))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        let body = out.body.unwrap_or_default();
        if body.is_empty() && !is_read {
            // Some gateways answer 411 to a POST without a length.
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if !is_read {
            *request.body_mut() = Some(body.into());
        }
        Ok(request)
    }
}

enum ReadError {
    TooLarge,
    Transport(TransportError),
}

async fn receive(
    sent: impl Future<Output = Result<Response, TransportError>>,
    limit: usize,
    http: &mut Option<u16>,
) -> Result<HttpResponse, ReadError> {
    let mut response = sent.await.map_err(ReadError::Transport)?;
    *http = Some(response.status().as_u16());
    let header = |name: HeaderName| response.headers().get(name).and_then(|v| v.to_str().ok());
    let date = header(DATE).and_then(epoch);
    let mut answer = HttpResponse {
        http: response.status().as_u16(),
        body: Vec::new(),
        retry_after: header(RETRY_AFTER).and_then(|v| pause(v, date)),
        date,
        content_type: header(CONTENT_TYPE).map(|v| cut(v, 64)).unwrap_or_default(),
    };
    while let Some(chunk) = response.chunk().await.map_err(|e| ReadError::Transport(transport_error(e)))? {
        if answer.body.len() + chunk.len() > limit {
            return Err(ReadError::TooLarge);
        }
        answer.body.extend_from_slice(&chunk);
    }
    Ok(answer)
}

/// Epoch seconds of an HTTP date.
fn epoch(date: &str) -> Option<i64> {
    let since = httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// Retry-After: seconds, or a date by the gateway's clock (`now`), which is not ours.
fn pause(text: &str, now: Option<i64>) -> Option<Duration> {
    let seconds = text.trim().parse().ok().or_else(|| Some(epoch(text)? - now?))?;
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()).min(MAX_PAUSE))
}

/// Parses the endpoint: scheme, host, and possibly a port and a path.
fn base(endpoint: &str, allow_plain_http: bool) -> Result<Url, (FailureKind, String)> {
    let bad = |text: &str| (FailureKind::BadEndpoint, text.to_owned());
    // The endpoint may hold a password, so it is not repeated in the error.
    let url = Url::parse(endpoint.trim()).map_err(|e| bad(&e.to_string()))?;
    match url.scheme() {
        "https" => {}
        "http" if allow_plain_http => {}
        "http" => return Err((FailureKind::PlainHttpNotAllowed, "use https://".to_owned())),
        _ => return Err(bad("neither https:// nor http://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("no user or password may be in it"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("no query and no fragment may be in it"));
    }
    if url.host_str().is_none_or(str::is_empty) || url.port() == Some(0) {
        return Err(bad("there is no host or no port in it"));
    }
    Ok(url)
}

/// The innermost error's text, without a URL.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut inner = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    cut(&inner.to_string(), MAX_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_seconds_or_a_date_and_bounded() {
        let now = epoch("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(now, Some(784_111_777));
        for (text, now, seconds) in [
            ("7", None, Some(7)),
            (" 0 ", None, Some(0)),
            ("86400", None, Some(60)),
            ("-5", None, Some(0)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", now, Some(10)),
            ("Sun, 06 Nov 1994 08:49:27 GMT", now, Some(0)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", None, None),
            ("soon", now, None),
        ] {
            assert_eq!(pause(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
