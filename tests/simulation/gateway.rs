//! How a process calls the platform: it replaces the sockets below the operator's own HTTP client, which signs, repeats and decodes.

use std::sync::Arc;
use std::time::Duration;

use axum::http;
use futures::future::BoxFuture;
use reqwest::{Request, Response};
use stream_pipeline_operator::backend::http::{FailureKind, Gate, Transport, TransportError};
use stream_pipeline_operator::clock;
use tokio::time::timeout;

use crate::faults::Twist;
use crate::platform::{self, Answer, Call};
use crate::world::{Link, World, lock};

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

pub struct ToGateway(pub Link);

impl Transport for ToGateway {
    fn send(&self, request: Request, gate: Arc<Gate>) -> BoxFuture<'_, Result<Response, TransportError>> {
        Box::pin(async move {
            let connected = self.0.process.connected(Arc::clone(&self.0.connection));
            if timeout(CONNECT_DEADLINE, connected).await.is_err() {
                let text = "no connection within the deadline".to_owned();
                return Err(TransportError { kind: FailureKind::Connect, connected: false, text });
            }
            gate.pass(clock::mono())?;
            let call = read(&request);
            let named = call.named();
            let process = Arc::clone(&self.0.process);
            let sent = lock(&self.0.world).calls_platform(&process, &call);
            let serve = move |world: &mut World, twist: Twist| Ok(world.answer(&process, sent, &call, twist));
            let lost = |_| Err(TransportError { kind: FailureKind::ConnectionLost, connected: true, text: "connection reset".to_owned() });
            let Ok(answer) = self.0.carry(format!("enos {named}"), serve, lost, None).await else { return std::future::pending().await };
            answer.map(response)
        })
    }
}

fn read(request: &Request) -> Call {
    let url = request.url();
    let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())).filter(|(name, _)| name.starts_with("apim-"))
    };
    Call {
        method: request.method().to_string(),
        path: url.path_segments().into_iter().flatten().map(str::to_owned).collect(),
        query: url.query_pairs().into_owned().collect(),
        headers: request.headers().iter().filter_map(text).collect(),
        body: request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default().to_vec(),
    }
}

fn response((status, body): Answer) -> Response {
    let response = http::Response::builder().status(status).header("content-type", "application/json;charset=UTF-8");
    let response = if status == 429 { response.header("retry-after", "2") } else { response };
    response.body(body.to_string().into_bytes()).expect("a response").into()
}

impl World {
    fn platform_now(&self) -> platform::Now {
        platform::Now { at: self.at(), ms: self.wall().as_millisecond() }
    }

    /// Answers a call, with or without carrying it out, truthfully or not.
    fn answer(&mut self, process: &crate::process::Process, sent: Option<usize>, call: &Call, twist: Twist) -> Answer {
        let now = self.platform_now();
        let (told, done) = match twist {
            Twist::Answered { code, done } => (Some(code), done),
            Twist::None | Twist::RefuseLast => (None, true),
        };
        let Some(platform) = self.platform.as_mut().filter(|_| done) else {
            self.landed_on_platform(sent, false);
            return told.map_or((503, serde_json::Value::Null), say);
        };
        let before = platform.resets();
        let truly = platform.serve(call, now);
        let effect = platform.resets() > before;
        self.landed_on_platform(sent, effect);
        let answer = told.map_or(truly, say);
        self.saw_platform(process, call, &answer);
        answer
    }

    pub fn at_console(&mut self, act: impl FnOnce(&mut platform::Platform, platform::Now)) {
        let now = self.platform_now();
        if let Some(platform) = &mut self.platform {
            act(platform, now);
        }
    }
}

/// An answer with a code of the platform or, below 1000, with an HTTP status of the gateway.
fn say(code: i64) -> Answer {
    match u16::try_from(code) {
        Ok(0) => (200, serde_json::json!({ "code": 0, "msg": "OK", "data": "" })),
        Ok(status) if status < 1000 => (status, serde_json::json!({ "message": "from the gateway" })),
        _ => platform::code(code, "from the platform"),
    }
}
