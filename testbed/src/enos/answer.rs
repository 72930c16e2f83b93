//! Answers: the envelopes of the two services, the gateway's own, and the documented texts of the codes.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::call::Call;

pub(super) struct Answer {
    pub status: u16,
    pub header: Option<(&'static str, String)>,
    pub content_type: &'static str,
    pub body: Payload,
    /// `code`, or `status` of the token service.
    pub code: Option<i64>,
    pub effect: bool,
}

pub(super) enum Payload {
    Whole(Vec<u8>),
    /// Announced whole, sent by half.
    Half(Vec<u8>),
    /// The connection is closed instead.
    Nothing,
}

impl Answer {
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, header: None, content_type, body: Payload::Whole(body.into()), code: None, effect: false }
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json;charset=UTF-8", body.to_string())
    }

    /// What the gateway says itself, in the form of Kong.
    pub fn gateway(status: u16, message: &str) -> Self {
        Self::json(status, &json!({ "message": message }))
    }

    pub fn unauthorized() -> Self {
        Self::gateway(401, "Invalid authentication credentials")
    }

    pub fn apim_status(status: i64) -> Self {
        Self::json(200, &json!({ "apim_status": status, "apim_refreshtoken": "simulated-refresh-token" }))
    }

    pub fn ok(data: Value) -> Self {
        Self { code: Some(0), ..Self::json(200, &json!({ "code": 0, "msg": "OK", "data": data })) }
    }

    /// Success without `data`, as in the sample of the reset.
    pub fn done() -> Self {
        Self { code: Some(0), effect: true, ..Self::json(200, &json!({ "code": 0, "msg": "OK" })) }
    }

    pub fn business(http: u16, code: i64, text: &str) -> Self {
        Self { code: Some(code), ..Self::json(http, &json!({ "code": code, "msg": text, "data": null })) }
    }

    pub fn token(token: &str, expire: u64) -> Self {
        let data = json!({ "accessToken": token, "expire": expire });
        let body = json!({ "status": 0, "msg": "SUCCESS", "business": "apim-token-service", "data": data });
        Self { code: Some(0), effect: true, ..Self::json(200, &body) }
    }

    pub fn token_refused(code: i64, text: &str) -> Self {
        let body = json!({ "status": code, "msg": text, "business": "apim-token-service", "data": null });
        Self { code: Some(code), ..Self::json(200, &body) }
    }

    /// None: closed without one.
    pub fn sent_status(&self) -> Option<u16> {
        (!matches!(self.body, Payload::Nothing)).then_some(self.status)
    }

    pub fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// The documented text; `state` stands where the text carries the pipeline's status.
pub(super) fn text(code: i64, call: Call, state: &str) -> String {
    let fixed = match code {
        1001 => "repeated request",
        1002 => "appKey does not exist",
        1003 => "encryption is not valid",
        1004 => "invalid parameter",
        1005 => "internal service exception",
        1202 => "parameter is empty",
        1203 => "access token expired",
        1204 => "refresh failed",
        61100 => "The Stream configuration JSON is invalid.",
        61102 => return format!("Missing param {state}"),
        61105 => "Too many points",
        61106 => "Wrong pipelineId or OU has no privilege",
        // [sic]; the English page of the reset alone has "stream processing pipeline" for "Stream processing job".
        61108 if call != Call::Lag => "Stream processing job does not exit.",
        61108 => "Stream processing job does not exist.",
        61112 => "Failed to save the stream configuration.",
        61115 => "Failed to get stream processing jobs.",
        61121 => "Another user in the organization is starting a stream processing job. Please try again later.",
        61122 => "Failed to stop the stream processing pipeline.",
        61128 => "Your organization has not requested stream processing resource. Please request it first.",
        61152 => {
            let to = if call == Call::Pause { "Paused" } else { "Stopped" };
            return format!("Status of the stream processing job cannot be changed from [{state}] to {to}.");
        }
        61165 => return format!("Stream processing job with status [{state}] cannot be started."),
        61168 => "Failed to get the Kafka average rate.",
        61169 => "Failed to release the stream processing pipeline because it is not stopped or paused.",
        61176 => "Param must be positive.",
        61199 => return state.to_owned(),
        99000 => "Internal Server Error.",
        99400 => "invalid argument",
        99403 => return format!("Denied resource: orgId {state}"),
        99404 => "not found",
        99500 => "internal error",
        _ => "unknown error",
    };
    fixed.to_owned()
}
