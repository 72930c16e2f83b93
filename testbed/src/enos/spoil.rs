//! The answers that faults make of right ones.

use serde_json::{Value, json};

use super::Inner;
use super::answer::{Answer, Payload, text};
use super::fault::{Fault, Kind};
use super::request::Request;

const DEPTH: usize = 10_000;
const BIG: usize = 10 << 20;
const PAGE: &str = "<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>";

/// `right` is None where the fault came before the effect.
pub(super) fn spoil(sim: &Inner, fault: Fault, request: &Request, right: Option<Answer>) -> Answer {
    let effect = right.as_ref().is_some_and(|a| a.effect);
    let or_ok = |right: Option<Answer>| right.unwrap_or_else(|| Answer::ok(json!("")));
    let answer = match fault.kind {
        // These have waited already.
        Kind::Delay(_) | Kind::Hang => or_ok(right),
        Kind::Drop => Answer { body: Payload::Nothing, ..or_ok(right) },
        Kind::CutBody => halved(or_ok(right)),
        Kind::Code(code, given) => {
            let text = given.unwrap_or_else(|| text(code, request.call, "XX"));
            match request.call.is_token() {
                true => Answer::token_refused(code, &text),
                false => Answer::business(sim.options.business_errors_http, code, &text),
            }
        }
        Kind::Http(status, message) => Answer::gateway(status, &message),
        Kind::RetryAfter(seconds) => {
            let header = Some(("retry-after", seconds.to_string()));
            Answer { header, ..Answer::gateway(429, "API rate limit exceeded") }
        }
        Kind::Html(status) => Answer::new(status, "text/html", PAGE),
        Kind::BigBody => Answer::json(200, &json!({ "code": 0, "status": 0, "msg": "x".repeat(BIG), "data": "" })),
        Kind::DeepJson => {
            let body = format!(r#"{{"code":0,"status":0,"msg":"OK","data":{}{}}}"#, "[".repeat(DEPTH), "]".repeat(DEPTH));
            Answer::new(200, "application/json;charset=UTF-8", body)
        }
        Kind::Redirect(to) => Answer { header: Some(("location", to)), ..Answer::new(307, "text/html", "") },
        Kind::ApimStatus(status) => Answer::apim_status(status),
        Kind::OddStatus(word) => odd(or_ok(right), &word, fault.pipeline.as_deref()),
        Kind::ShiftPages => {
            sim.world().shift(request.org());
            or_ok(right)
        }
    };
    Answer { effect, ..answer }
}

fn halved(answer: Answer) -> Answer {
    match answer.body {
        Payload::Whole(bytes) => Answer { body: Payload::Half(bytes), ..answer },
        _ => answer,
    }
}

/// Another status of this pipeline, or of all.
fn odd(answer: Answer, word: &str, pipeline: Option<&str>) -> Answer {
    let Payload::Whole(bytes) = &answer.body else { return answer };
    let Ok(mut body) = serde_json::from_slice::<Value>(bytes) else { return answer };
    let data = if body["data"].is_array() { &mut body["data"][0] } else { &mut body["data"] };
    for item in data.get_mut("pipelines").and_then(Value::as_array_mut).into_iter().flatten() {
        if pipeline.is_none_or(|id| item["pipelineId"] == id) {
            item["status"] = json!(word);
        }
    }
    Answer { body: Payload::Whole(body.to_string().into_bytes()), ..answer }
}
