//! Signs and sends, and takes answers apart.

use std::sync::Once;
use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use testbed::enos::{ACCESS_KEY, ORGANISATION, Options, Pipeline, SECRET_KEY, Simulator, encryption, signature};

pub const ORG: &str = ORGANISATION;
pub const ID: &str = "565c0114-0000-4372-86d1-000000000000";

pub struct Caller {
    pub http: Client,
    pub endpoint: String,
    pub token: String,
}

pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

pub fn http() -> reqwest::ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none())
}

/// With one pipeline of this status.
pub async fn simulator(options: Options, status: &str) -> (Simulator, Caller) {
    let simulator = Simulator::start(options).await;
    simulator.add(Pipeline::new(ORG, ID, "demo", status).series(400, 1000));
    let caller = Caller::new(&simulator).await;
    (simulator, caller)
}

pub async fn json_of(answer: Response) -> Value {
    serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
}

impl Caller {
    pub async fn new(simulator: &Simulator) -> Self {
        let mut caller = Self { http: http().build().unwrap(), endpoint: simulator.endpoint(), token: String::new() };
        let answer = caller.token_get(now()).await;
        caller.token = answer["data"]["accessToken"].as_str().expect("a token").to_owned();
        caller
    }

    pub async fn token(&self, what: &str, body: Value) -> Value {
        let url = format!("{}/apim-token-service/v2.0/token/{what}", self.endpoint);
        json_of(self.http.post(url).header("content-type", "application/json").body(body.to_string()).send().await.unwrap()).await
    }

    pub async fn token_get(&self, at: i64) -> Value {
        let encryption = encryption(ACCESS_KEY, &at.to_string(), SECRET_KEY);
        self.token("get", json!({ "appKey": ACCESS_KEY, "encryption": encryption, "timestamp": at })).await
    }

    pub async fn send_at(&self, method: Method, path: &str, query: &[(&str, &str)], body: &str, at: i64) -> reqwest::Result<Response> {
        let pairs: Vec<_> = query.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let signed = signature(&self.token, &pairs, body.as_bytes(), &at.to_string(), SECRET_KEY);
        let query: Vec<_> = query.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let url = format!("{}/streaming/v2.0/streaming/{path}?{}", self.endpoint, query.join("&"));
        let request = self.http.request(method, url).header("apim-accesstoken", &self.token).header("apim-signature", signed);
        request.header("apim-timestamp", at.to_string()).body(body.to_owned()).send().await
    }

    pub async fn send(&self, method: Method, path: &str, query: &[(&str, &str)], body: &str) -> reqwest::Result<Response> {
        self.send_at(method, path, query, body, now()).await
    }

    pub async fn json(&self, method: Method, path: &str, query: &[(&str, &str)], body: &str) -> (StatusCode, Value) {
        let answer = self.send(method, path, query, body).await.expect("an answer");
        (answer.status(), json_of(answer).await)
    }

    pub async fn try_reset(&self) -> reqwest::Result<Response> {
        self.send(Method::POST, &format!("pipeline/{ID}/offset"), &[("orgId", ORG)], "").await
    }

    pub async fn reset(&self) -> Value {
        self.json(Method::POST, &format!("pipeline/{ID}/offset"), &[("orgId", ORG)], "").await.1
    }

    pub async fn operate(&self, id: &str, action: &str, body: &str) -> Value {
        self.json(Method::POST, &format!("pipeline/{id}"), &[("action", action), ("orgId", ORG)], body).await.1
    }

    pub async fn start(&self, id: &str) -> Value {
        self.operate(id, "start", r#"{"executionMode":0,"kafkaRate":500}"#).await
    }

    pub async fn lag(&self) -> Value {
        self.json(Method::GET, &format!("pipeline/{ID}/offset-lag"), &[("orgId", ORG)], "").await.1
    }

    pub async fn list(&self, more: &[(&str, &str)]) -> Value {
        let query: Vec<_> = [("orgId", ORG), ("ifReleased", "true")].iter().chain(more).copied().collect();
        self.json(Method::GET, "pipelines", &query, "").await.1
    }
}

pub fn ids(list: &Value) -> Vec<&str> {
    list["data"]["pipelines"].as_array().expect("pipelines").iter().map(|p| p["pipelineId"].as_str().expect("an id")).collect()
}
