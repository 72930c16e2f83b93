//! Requests as they come over the wire.

use std::collections::BTreeMap;

/// A request as it came over the wire.
pub struct Call {
    pub method: String,
    /// The path below the gateway's.
    pub path: Vec<String>,
    pub query: Vec<(String, String)>,
    /// The headers that begin with `apim-`.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Call {
    pub fn param(&self, name: &str) -> &str {
        self.query.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value.as_str())
    }

    /// Which call of the API it is.
    pub fn named(&self) -> &'static str {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        match (self.method.as_str(), path.as_slice()) {
            ("POST", ["apim-token-service", "v2.0", "token", "get"]) => "token/get",
            ("POST", ["apim-token-service", "v2.0", "token", "refresh"]) => "token/refresh",
            ("GET", ["streaming", "v2.0", "streaming", "pipelines"]) => "list",
            ("GET", ["streaming", "v2.0", "streaming", "pipeline", _]) => "details",
            ("GET", ["streaming", "v2.0", "streaming", "pipeline", _, "offset-lag"]) => "offset-lag",
            ("POST", ["streaming", "v2.0", "streaming", "pipeline", _, "offset"]) => "reset",
            ("POST", ["streaming", "v2.0", "streaming", "pipeline", _]) => match self.param("action") {
                "start" => "start",
                "pause" => "pause",
                "stop" => "stop",
                _ => "",
            },
            _ => "",
        }
    }

    pub fn pipeline(&self) -> &str {
        self.path.get(4).map_or("", String::as_str)
    }
}
