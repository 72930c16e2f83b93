//! The simulator from a shell, below `/simulator/`, for whoever reaches the port.
//!
//! ```text
//! POST pipelines        a pipeline: {"org":"…","id":"…","name":"…","status":"RUNNING"}
//! GET  pipelines/{id}   its status, resets, starts and position
//! PUT  pipelines/{id}   {"status":"PAUSED"} and/or {"produce":1000}
//! POST faults           {"call":"reset","when":"before","kind":{"code":[61168,null]},"times":1}
//! GET  calls            what came, and what was answered
//! ```

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answer::Answer;
use super::fault::Fault;
use super::pipeline::Pipeline;
use super::request::Request;
use super::{Inner, Status};

pub(super) async fn answer(sim: &Inner, request: &Request, path: &str) -> Answer {
    let segments: Vec<_> = path.split('/').collect();
    let done = match (request.method.as_str(), segments.as_slice()) {
        ("POST", ["pipelines"]) => body::<Pipeline>(request).and_then(|p| sim.add(p).map(|()| Value::Null).map_err(|e| e.to_string())),
        ("POST", ["faults"]) => body::<Fault>(request).map(|fault| {
            sim.faults.add(fault);
            Value::Null
        }),
        ("GET", ["calls"]) => serde_json::to_value(sim.log.calls()).map_err(|e| e.to_string()),
        ("GET", ["pipelines", id]) => match show(sim, id).await {
            Some(shown) => Ok(shown),
            None => return missing(),
        },
        ("PUT", ["pipelines", id]) => match sim.status(id) {
            Some(_) => body::<Value>(request).map(|change| {
                if let Some(status) = change["status"].as_str() {
                    sim.set_status(id, status);
                }
                if let Some(count) = change["produce"].as_i64() {
                    sim.produce(id, count);
                }
                Value::Null
            }),
            None => return missing(),
        },
        _ => return missing(),
    };
    match done {
        Ok(Value::Null) => Answer::json(200, &json!({})),
        Ok(value) => Answer::json(200, &value),
        Err(error) => Answer::json(400, &json!({ "error": error })),
    }
}

fn missing() -> Answer {
    Answer::json(404, &json!({ "error": "not found" }))
}

fn body<T: DeserializeOwned>(request: &Request) -> Result<T, String> {
    serde_json::from_slice(&request.body).map_err(|e| e.to_string())
}

async fn show(sim: &Inner, id: &str) -> Option<Value> {
    let Status { status, resets, refused_resets, starts } = sim.status(id)?;
    let (offset, lag) = sim.position(id).await.ok().unzip();
    Some(json!({
        "status": status, "resets": resets, "refusedResets": refused_resets, "starts": starts, "offset": offset, "lag": lag,
    }))
}
