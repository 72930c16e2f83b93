//! Makes the same calls to the stand-in of EnOS and to the testbed's simulator, which was written from the manual.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use testbed::enos::{NotRunning, Options, Pipeline, ResetTo, Simulator, encryption, signature};

use crate::platform::{ACCESS_KEY, Answer, Call, ID, NAME, Now, ORG, Platform, SECRET_KEY, Setup};

/// What is called: the token service, or the streaming service with a signature and with a token that was given before or another one.
enum Do {
    /// Asks for a token with this key; `encryption` is right, wrong, or the same as the last time.
    Token(&'static str, &'static str),
    /// Refreshes this token: the last one, or another.
    Refresh(&'static str),
    /// Method, path below the pipelines, query, body, and the token.
    Call(Method, &'static str, &'static str, Value, &'static str),
}

/// A running pipeline's position differs from look to look, so the two servers' are not compared.
const MOVING: &str = "its position";

fn table() -> Vec<(&'static str, Do)> {
    let get = |path, query| Do::Call(Method::GET, path, query, Value::Null, "last");
    let post = |path, query| Do::Call(Method::POST, path, query, Value::Null, "last");
    let start = |body| Do::Call(Method::POST, "pipeline/s1", "action=start", body, "last");
    let list = || get("pipelines", "pageSize=50&pageNo=1&isSystem=false&ifReleased=true");
    let good = || json!({ "executionMode": 0, "kafkaRate": 1000 });
    vec![
        ("no token", Do::Call(Method::GET, "pipelines", "", Value::Null, "none")),
        ("a token nobody gave", Do::Call(Method::GET, "pipelines", "", Value::Null, "made up")),
        ("an unknown key", Do::Token("nobody", "right")),
        ("encrypted wrongly", Do::Token(ACCESS_KEY, "wrong")),
        ("a token", Do::Token(ACCESS_KEY, "right")),
        ("the same request again", Do::Token(ACCESS_KEY, "repeated")),
        ("the live token again", Do::Token(ACCESS_KEY, "right")),
        ("the list", list()),
        ("a page that does not exist", get("pipelines", "pageSize=50&pageNo=2&ifReleased=true")),
        ("no page", get("pipelines", "pageSize=0&pageNo=1")),
        ("details", get("pipeline/s1", "ifReleased=true")),
        ("details of nothing", get("pipeline/s9", "ifReleased=true")),
        ("a reset of nothing", post("pipeline/s9/offset", "")),
        ("the position of what is paused", get("pipeline/s1/offset-lag", "")),
        ("a reset while paused", post("pipeline/s1/offset", "")),
        ("paused twice", post("pipeline/s1", "action=pause")),
        ("a start without a rate", start(json!({ "executionMode": 0 }))),
        ("a start", start(good())),
        ("it runs", list()),
        ("started twice", start(good())),
        (MOVING, get("pipeline/s1/offset-lag", "")),
        ("a reset while it runs", post("pipeline/s1/offset", "")),
        ("a pause", post("pipeline/s1", "action=pause")),
        ("paused", list()),
        ("stopped", post("pipeline/s1", "action=stop")),
        ("stopped twice", post("pipeline/s1", "action=stop")),
        ("paused once stopped", post("pipeline/s1", "action=pause")),
        ("a reset while stopped", post("pipeline/s1/offset", "")),
        ("a refresh of another token", Do::Refresh("made up")),
        ("a refresh", Do::Refresh("last")),
        ("with the new token", list()),
        ("no such route", get("nothing", "")),
    ]
}

/// One caller, with the tokens it was given.
#[derive(Default)]
struct Caller {
    stamp: i64,
    tokens: Vec<String>,
    last_encryption: String,
    last_stamp: i64,
}

impl Caller {
    fn stamp(&mut self) -> i64 {
        self.stamp = (self.stamp + 1).max(Timestamp::now().as_millisecond());
        self.stamp
    }

    fn call(&mut self, what: &Do) -> Call {
        let stamp = self.stamp();
        let last = self.tokens.last().cloned().unwrap_or_default();
        let token_call = |action: &str, body: Value| Call {
            method: "POST".to_owned(),
            path: ["apim-token-service", "v2.0", "token", action].map(str::to_owned).to_vec(),
            query: Vec::new(),
            headers: BTreeMap::new(),
            body: body.to_string().into_bytes(),
        };
        match what {
            Do::Token(_, "repeated") => {
                let body = json!({ "appKey": ACCESS_KEY, "encryption": self.last_encryption, "timestamp": self.last_stamp });
                token_call("get", body)
            }
            Do::Token(key, how) => {
                let secret = if *how == "wrong" { "another" } else { SECRET_KEY };
                (self.last_encryption, self.last_stamp) = (encryption(key, &stamp.to_string(), secret), stamp);
                token_call("get", json!({ "appKey": key, "encryption": self.last_encryption, "timestamp": stamp }))
            }
            Do::Refresh(which) => {
                let token = if *which == "last" { last } else { (*which).to_owned() };
                let encrypted = encryption(ACCESS_KEY, &stamp.to_string(), SECRET_KEY);
                token_call("refresh", json!({ "appKey": ACCESS_KEY, "encryption": encrypted, "timestamp": stamp, "accessToken": token }))
            }
            Do::Call(method, path, query, body, which) => {
                let token = match *which {
                    "last" => last,
                    "none" => String::new(),
                    other => other.to_owned(),
                };
                let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
                let query: Vec<(String, String)> =
                    pairs.chain([("orgId", ORG)]).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
                let signed = signature(&token, &query, &body, &stamp.to_string(), SECRET_KEY);
                let headers = [("apim-accesstoken", token), ("apim-signature", signed), ("apim-timestamp", stamp.to_string())];
                let headers = headers.into_iter().filter(|(_, value)| !value.is_empty());
                Call {
                    method: method.to_string(),
                    path: format!("streaming/v2.0/streaming/{path}").split('/').map(str::to_owned).collect(),
                    query,
                    headers: headers.map(|(name, value)| (name.to_owned(), value)).collect(),
                    body,
                }
            }
        }
    }

    /// The part of an answer that must be equal: numbers, states and positions, not texts and times; of a token, whether it is new.
    fn essence(&mut self, what: &str, call: &Call, (status, body): &Answer) -> Value {
        if call.named().starts_with("token") {
            let token = body["data"]["accessToken"].as_str().map(str::to_owned);
            let another = token.as_ref().is_some_and(|token| self.tokens.last() != Some(token));
            self.tokens.extend(token.filter(|_| another));
            return json!({ "http": status, "status": body["status"], "another token": another, "expire": body["data"]["expire"].is_u64() });
        }
        let is_list = body["data"].is_array();
        let data = if is_list { &body["data"][0] } else { &body["data"] };
        let pipelines: Option<Vec<Value>> =
            data["pipelines"].as_array().map(|all| all.iter().map(|p| json!([p["pipelineId"], p["pipelineName"], p["status"]])).collect());
        let points = data["lagAndOffset"].as_array();
        let newest = points.and_then(|points| points.iter().max_by_key(|p| p["ts"].as_i64())).map(|p| {
            match (number(&p["offset"]), number(&p["lag"])) {
                (Some(offset), Some(lag)) if what == MOVING => json!([p["offset"].is_string(), p["lag"].is_string(), offset + lag]),
                _ => json!([p["offset"], p["lag"]]),
            }
        });
        json!({
            "http": status, "code": body["code"], "list": is_list, "count": data["count"], "pipelines": pipelines, "newest": newest,
            "points": points.is_some(), "id": data["pipelineId"], "name": data["pipelineName"],
        })
    }
}

/// A string as documented, or a number as in the manual's own sample.
fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

async fn really(client: &reqwest::Client, endpoint: &str, call: &Call) -> Answer {
    let mut url = reqwest::Url::parse(endpoint).expect("a URL");
    url.set_path(&call.path.join("/"));
    url.query_pairs_mut().extend_pairs(&call.query);
    let mut request = client.request(call.method.parse().expect("a method"), url).body(call.body.clone());
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let body = response.bytes().await.expect("a body");
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_platform_answers_as_the_testbeds_simulator() {
    // Fails if another test came first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    for (as_documented, lag_empty, resets_to_latest) in [(false, false, true), (true, true, false)] {
        let to = if resets_to_latest { ResetTo::Latest } else { ResetTo::Earliest };
        let pipeline = Pipeline::new(ORG, ID, NAME, "PAUSED").series(1_000_000, 1_000_500).reset_to(to);
        let simulator = Simulator::start(Options {
            data_as_list: as_documented,
            lag_as_strings: as_documented,
            lag_when_not_running: if lag_empty { NotRunning::Empty } else { NotRunning::Code },
            ..Options::default()
        })
        .await;
        simulator.add(pipeline);
        let setup = Setup {
            status: "PAUSED",
            resets_to_latest,
            transition: Duration::ZERO,
            sample_every: Duration::ZERO,
            lag_empty,
            as_documented,
            token_life: Duration::from_secs(7200),
            refresh_kills_old: false,
            backlog: 500,
            input_per_second: 0,
        };
        let (mut ours, client) = (Platform::new(setup), reqwest::Client::new());
        let (mut to_real, mut to_ours) = (Caller::default(), Caller::default());
        for (what, call) in table() {
            let (theirs, mine) = (to_real.call(&call), to_ours.call(&call));
            let real = really(&client, &simulator.endpoint(), &theirs).await;
            let answer = ours.serve(&mine, Now { at: Duration::ZERO, ms: Timestamp::now().as_millisecond() });
            let (expected, found) = (to_real.essence(what, &theirs, &real), to_ours.essence(what, &mine, &answer));
            assert_eq!(found, expected, "{what}\nreal: {}\nours: {}", real.1, answer.1);
        }
        simulator.end().await;
    }
}
