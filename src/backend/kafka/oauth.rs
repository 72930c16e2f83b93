//! Tokens for SASL OAUTHBEARER, by OAuth 2 client credentials (RFC 6749, section 4.4; client authentication by section 2.3.1).
//! librdkafka says when it needs a token, and gets the one that is fetched here.

use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::backend::http::{FailureKind, HttpClient, HttpConfig, HttpPolicy, HttpRequest};
use stream_pipeline_core::words::cut;

const MAX_BODY: usize = 1 << 20;

/// Where tokens come from.
#[derive(Clone)]
pub struct TokenSource {
    pub endpoint: String,
    pub client_id: String,
    pub client_secret: SecretString,
    pub scope: Option<String>,
    pub ca_pem: Option<Vec<u8>>,
    pub policy: HttpPolicy,
    pub deadline: Duration,
}

/// A token and how long it lives.
pub struct Token {
    pub value: SecretString,
    pub life: Duration,
    /// The principal, as far as the client needs one: Kafka takes it from the token.
    pub principal: String,
}

/// Why there is no token, as a person reads it; it holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token endpoint {endpoint} {what}")]
pub struct NoToken {
    endpoint: String,
    what: String,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Body {
    access_token: String,
    expires_in: Option<serde_json::Value>,
    error: String,
    error_description: String,
}

impl TokenSource {
    /// What distinguishes one source from another.
    pub(super) fn parts(&self) -> Vec<SecretString> {
        let ca = self.ca_pem.as_deref().map(|pem| String::from_utf8_lossy(pem).into_owned()).unwrap_or_default();
        let open = [self.endpoint.clone(), self.client_id.clone(), self.scope.clone().unwrap_or_default(), ca];
        open.into_iter().map(SecretString::from).chain([self.client_secret.clone()]).collect()
    }

    pub(super) fn ends_with_newline(&self) -> bool {
        self.client_secret.expose_secret().ends_with(['\n', '\r'])
    }

    /// # Errors
    /// The endpoint is not allowed, does not answer, or refuses.
    pub async fn fetch(&self) -> Result<Token, NoToken> {
        let no = |what: String| NoToken { endpoint: cut(&self.endpoint, 120), what };
        let config = HttpConfig {
            endpoint: &self.endpoint,
            ca_pem: self.ca_pem.as_deref(),
            policy: self.policy.clone(),
            connect_deadline: self.deadline / 2,
            call_deadline: self.deadline,
            transport: None,
        };
        let http = HttpClient::new(config).map_err(|(kind, text)| no(told(kind, &text)))?;
        let escape = |text: &str| url_encoded(text);
        let mut form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            escape(&self.client_id),
            escape(self.client_secret.expose_secret())
        );
        if let Some(scope) = &self.scope {
            form += &format!("&scope={}", escape(scope));
        }
        let out = HttpRequest {
            method: Method::POST,
            path: &[],
            query: &[],
            headers: vec![],
            body: Some(form.into_bytes()),
            content_type: "application/x-www-form-urlencoded",
            limit: MAX_BODY,
            not_after: None,
        };
        let answer = http.exchange(out).await.map_err(|broken| no(told(broken.kind, &broken.text)))?;
        let Ok(body) = serde_json::from_slice::<Body>(&answer.body) else {
            return Err(no(format!("answers with something that is no token (HTTP {}); check spec.kafka.sasl.tokenEndpoint", answer.http)));
        };
        if body.access_token.is_empty() {
            let why = [body.error.as_str(), body.error_description.as_str()].join(" ");
            let why = cut(&without(why.trim(), self.client_secret.expose_secret()), 160);
            return Err(no(format!(
                "refuses the client (HTTP {}: {why}); check spec.kafka.sasl.clientID, scope and the Secret's clientSecret",
                answer.http
            )));
        }
        // If the answer does not say how long the token lives, a minute is assumed, so that the next one is fetched soon.
        let seconds = body.expires_in.as_ref().and_then(|v| v.as_u64().or_else(|| v.as_str()?.parse().ok())).unwrap_or(60);
        Ok(Token {
            value: body.access_token.into(),
            life: Duration::from_secs(seconds.clamp(1, 24 * 3600)),
            principal: self.client_id.clone(),
        })
    }
}

fn told(kind: FailureKind, said: &str) -> String {
    let what = match kind {
        FailureKind::EndpointNotAllowed => "is not one the operator may connect to",
        FailureKind::PlainHttpNotAllowed => "is plain http, which would show the secret to everybody on the way",
        FailureKind::BadEndpoint => "is no address",
        FailureKind::BadCa => "cannot be verified by a CA (one can be named in spec.kafka.sasl.ca)",
        FailureKind::Tls => "shows a certificate that does not verify (a private CA goes into spec.kafka.sasl.ca)",
        FailureKind::Dns => "has no address",
        _ => "does not answer",
    };
    if said.is_empty() { what.to_owned() } else { format!("{what}: {said}") }
}

fn without(text: &str, secret: &str) -> String {
    if secret.is_empty() { text.to_owned() } else { text.replace(secret, "…") }
}

/// Encodes text as in a form (WHATWG URL, application/x-www-form-urlencoded).
fn url_encoded(text: &str) -> String {
    let mut url = reqwest::Url::parse("http://x").ok();
    let pairs = url.as_mut().map(|url| {
        url.query_pairs_mut().append_key_only(text);
        url.query().unwrap_or_default().to_owned()
    });
    pairs.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::url_encoded;

    #[test]
    fn a_form_keeps_every_byte_of_a_secret() {
        assert_eq!(url_encoded("a b&c=d+é"), "a+b%26c%3Dd%2B%C3%A9");
    }
}
