//! What the vendor's own client sends. `vendor.json` was recorded between `enos-poseidon` 0.2.0 (PyPI), driven by the functions of the
//! vendor's samples (github.com/EnvisionIot/sample-code-python, `streamprocessing`, commit 41f1e00; `resourceConfig=None` for one start),
//! and this simulator with `--accept-sdk-header`: method, path, query, names of headers and body, byte for byte; `code` is what has to be
//! answered. The values are the simulator's own, no secrets. Its token (made anew for each call) and answers are not kept.

use reqwest::Method;
use serde::Deserialize;
use testbed::enos::{Call, Options, Pipeline, SECRET_KEY, Simulator, signature};

use crate::client::{Caller, ORG, json_of, now};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    method: String,
    path: String,
    query: String,
    headers: Vec<String>,
    content_type: String,
    token_length: usize,
    body: String,
    code: i64,
}

fn recorded() -> Vec<Sent> {
    serde_json::from_str(include_str!("vendor.json")).expect("what was recorded")
}

/// Replays all of it in order on the simulator as `make enos-simulator` starts it.
async fn replay(accept_sdk_header: bool, signed: bool) {
    let simulator = Simulator::start(Options { accept_sdk_header, ..Options::default() }).await;
    for (n, status) in [(1, "RUNNING"), (2, "PAUSED"), (3, "STOPPED")] {
        simulator.add(Pipeline::new(ORG, &format!("565c0114-0000-4372-86d1-00000000000{n}"), "demo", status).series(400, 1000));
    }
    let caller = Caller::new(&simulator).await;
    let calls = recorded();
    for Sent { method, path, query, content_type, token_length, body, code, .. } in &calls {
        let url = format!("{}{path}?{query}", caller.endpoint);
        let request = caller.http.request(Method::from_bytes(method.as_bytes()).unwrap(), url).header("content-type", content_type);
        let request = if signed {
            let (at, pairs) = (now().to_string(), form_urlencoded::parse(query.as_bytes()).into_owned().collect::<Vec<_>>());
            let signature = signature(&caller.token, &pairs, body.as_bytes(), &at, SECRET_KEY);
            request.header("apim-accesstoken", &caller.token).header("apim-signature", signature).header("apim-timestamp", at)
        } else {
            request.header("apim-accesstoken", "A".repeat(*token_length))
        };
        let answer = request.body(body.clone()).send().await.expect("an answer");
        assert_eq!((answer.status().as_u16(), &json_of(answer).await["code"]), (200, &(*code).into()), "{method} {path}?{query} {body}");
    }
    let known: Vec<_> = simulator.calls().into_iter().filter(|c| c.call != Call::TokenGet).collect();
    assert_eq!((known.len(), known.iter().filter(|c| c.call == Call::Other).count()), (calls.len(), 0));
    assert_eq!(simulator.status("565c0114-0000-4372-86d1-000000000001"), "RUNNING");
    let starts = simulator.starts("565c0114-0000-4372-86d1-000000000001");
    assert!(starts.len() == 2 && starts[0]["resourceConfig"].is_null(), "{starts:?}");
}

#[tokio::test]
async fn d6_what_the_vendors_client_sends_is_taken_as_it_sends_it() {
    replay(true, false).await;
}

#[tokio::test]
async fn d6_the_same_calls_are_taken_under_the_documented_signature() {
    replay(false, true).await;
}

/// So that it stays clear why the operator does not copy it.
#[test]
fn it_signs_nothing_and_sends_the_secret_along() {
    for sent in recorded() {
        assert_eq!(sent.token_length, 344, "{}", sent.path);
        assert!(!sent.headers.iter().any(|h| h == "apim-signature" || h == "apim-timestamp"), "{:?}", sent.headers);
    }
}
