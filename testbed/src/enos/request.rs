//! An HTTP request, and which call of the API it is.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};

use super::call::Call;

pub(super) struct Request {
    pub call: Call,
    pub method: Method,
    pub path: String,
    pub raw_query: String,
    /// Unescaped, in the order they came.
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub pipeline: Option<String>,
}

impl Request {
    pub fn new(parts: Parts, body: Vec<u8>) -> Self {
        let raw_query = parts.uri.query().unwrap_or_default().to_owned();
        let query: Vec<_> = form_urlencoded::parse(raw_query.as_bytes()).into_owned().collect();
        let path = parts.uri.path().to_owned();
        let action = query.iter().find(|(name, _)| name == "action").map(|(_, value)| value.as_str());
        let (call, pipeline) = route(&parts.method, &path, action);
        Self { call, method: parts.method, path, raw_query, query, headers: parts.headers, body, pipeline }
    }

    /// The first of this name.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn org(&self) -> &str {
        self.param("orgId").unwrap_or_default()
    }

    pub fn pipeline(&self) -> &str {
        self.pipeline.as_deref().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

fn route(method: &Method, path: &str, action: Option<&str>) -> (Call, Option<String>) {
    if let Some(token) = path.strip_prefix("/apim-token-service/v2.0/token/") {
        let call = match (method.as_str(), token) {
            ("POST", "get") => Call::TokenGet,
            ("POST", "refresh") => Call::TokenRefresh,
            _ => Call::Other,
        };
        return (call, None);
    }
    if path == "/streaming/v2.0/stage-state" && method == Method::POST {
        let call = match action {
            Some("get") => Call::StageStateGet,
            Some("delete") => Call::StageStateDelete,
            _ => Call::Other,
        };
        return (call, None);
    }
    let Some(rest) = path.strip_prefix("/streaming/v2.0/streaming/") else { return (Call::Other, None) };
    let segments: Vec<_> = rest.split('/').collect();
    let (call, id) = match (method.as_str(), segments.as_slice()) {
        ("GET", ["pipelines"]) => (Call::List, None),
        ("GET", ["pipeline", id]) => (Call::Details, Some(id)),
        ("GET", ["pipeline", id, "offset-lag"]) => (Call::Lag, Some(id)),
        ("POST", ["pipeline", id, "offset"]) => (Call::Reset, Some(id)),
        ("POST", ["pipeline", id]) => match action {
            Some("release") => (Call::Release, Some(id)),
            Some("start") => (Call::Start, Some(id)),
            Some("pause") => (Call::Pause, Some(id)),
            Some("stop") => (Call::Stop, Some(id)),
            Some("save") => (Call::Save, Some(id)),
            _ => (Call::Other, Some(id)),
        },
        _ => (Call::Other, None),
    };
    (call, id.map(|id| unescape(id)))
}

fn unescape(segment: &str) -> String {
    // In a path a plus stands for itself.
    let query = segment.replace('+', "%2B");
    form_urlencoded::parse(query.as_bytes()).next().map_or_else(String::new, |(text, _)| text.into_owned())
}
