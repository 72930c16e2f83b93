//! Tokens and signatures, by the manual's formulas.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::answer::{Answer, text};
use super::call::Call;
use super::options::{Application, ExpiredToken, Options};
use super::request::Request;

fn sha256(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hex::encode(hash.finalize())
}

/// `encryption` of a token request.
pub fn encryption(access_key: &str, timestamp: &str, secret_key: &str) -> String {
    sha256(&[access_key.as_bytes(), timestamp.as_bytes(), secret_key.as_bytes()])
}

/// `apim-signature` of a call; the query is unescaped, of a repeated name the first counts.
pub fn signature(token: &str, query: &[(String, String)], body: &[u8], timestamp: &str, secret_key: &str) -> String {
    let mut sorted: Vec<_> = query.iter().collect();
    // A stable sort keeps the first of a repeated name first.
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    sorted.dedup_by(|later, earlier| later.0 == earlier.0);
    let query: String = sorted.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]).collect();
    sha256(&[token.as_bytes(), query.as_bytes(), body, timestamp.as_bytes(), secret_key.as_bytes()])
}

fn skew(timestamp: i64) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX).abs_diff(timestamp))
}

struct Token {
    text: String,
    access_key: String,
    expires: Instant,
}

#[derive(Default)]
pub(super) struct Tokens(Mutex<Given>);

#[derive(Default)]
struct Given {
    /// The live one of an access key is its last.
    tokens: Vec<Token>,
    encryptions: HashSet<String>,
}

impl Given {
    fn live(&self, access_key: &str) -> Option<&Token> {
        self.tokens.iter().rfind(|t| t.access_key == access_key).filter(|t| t.expires > Instant::now())
    }

    fn give(&mut self, access_key: &str, life: Duration) -> Answer {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let text = sha256(&[access_key.as_bytes(), &now.as_nanos().to_be_bytes(), &self.tokens.len().to_be_bytes()]);
        self.tokens.push(Token { text: text.clone(), access_key: access_key.to_owned(), expires: Instant::now() + life });
        Answer::token(&text, life.as_secs())
    }
}

impl Tokens {
    fn given(&self) -> std::sync::MutexGuard<'_, Given> {
        self.0.lock().expect("no panic under this lock")
    }

    pub fn expire(&self) {
        self.given().tokens.iter_mut().for_each(|t| t.expires = Instant::now());
    }

    pub fn revoke(&self) {
        self.given().tokens.clear();
    }

    /// token/get and token/refresh.
    pub fn answer(&self, options: &Options, request: &Request) -> Answer {
        let refused = |code| Answer::token_refused(code, &text(code, request.call, ""));
        let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(&request.body) else { return refused(1004) };
        let field = |name: &str| match body.get(name) {
            None | Some(Value::Null) => Err(1202),
            Some(Value::String(text)) if text.is_empty() => Err(1202),
            Some(Value::String(text)) => Ok(text.clone()),
            // The manual says Long, the vendor's SDK sends a string.
            Some(Value::Number(number)) if name == "timestamp" => Ok(number.to_string()),
            Some(_) => Err(1004),
        };
        let taken = || -> Result<_, i64> {
            let (access_key, sent, timestamp) = (field("appKey")?, field("encryption")?, field("timestamp")?);
            let old = if request.call == Call::TokenRefresh { Some(field("accessToken")?) } else { None };
            Ok((access_key, sent, timestamp.parse::<i64>().map_err(|_| 1004_i64)?, old))
        };
        let (access_key, sent, timestamp, old) = match taken() {
            Ok(fields) => fields,
            Err(code) => return refused(code),
        };
        let Some(application) = options.applications.iter().find(|a| a.access_key == access_key) else { return refused(1002) };
        let mut given = self.given();
        if given.encryptions.contains(&sent) {
            return refused(1001);
        }
        let expected = encryption(&access_key, &timestamp.to_string(), &application.secret_key);
        if sent != expected || skew(timestamp) > options.clock_skew_limit {
            return refused(1003);
        }
        given.encryptions.insert(sent);
        match (given.live(&access_key), old) {
            (Some(live), None) => Answer::token(&live.text, live.expires.saturating_duration_since(Instant::now()).as_secs()),
            (None, None) => given.give(&access_key, options.token_life),
            (Some(live), Some(old)) if live.text == old => {
                if options.refresh_kills_old {
                    given.tokens.retain(|t| t.text != old);
                }
                given.give(&access_key, options.token_life)
            }
            (_, Some(_)) => refused(1204),
        }
    }

    /// Who calls; or how the gateway refuses. None: the vendor's SDK, which nobody here can tell apart.
    pub fn check<'a>(&self, options: &'a Options, request: &Request) -> Result<Option<&'a Application>, Answer> {
        let token = request.header("apim-accesstoken").ok_or_else(Answer::unauthorized)?;
        let (signed, at) = (request.header("apim-signature"), request.header("apim-timestamp"));
        if options.accept_sdk_header && signed.is_none() && at.is_none() && looks_like_sdk(token) {
            return Ok(None);
        }
        let (signed, at) = signed.zip(at).ok_or_else(Answer::unauthorized)?;
        let given = self.given();
        let found = given.tokens.iter().find(|t| t.text == token).ok_or_else(Answer::unauthorized)?;
        let application =
            options.applications.iter().find(|a| a.access_key == found.access_key).expect("tokens are given to applications only");
        let late = at.parse().map_or(true, |at| skew(at) > options.clock_skew_limit);
        if late || signed != signature(token, &request.query, &request.body, at, &application.secret_key) {
            return Err(Answer::unauthorized());
        }
        if found.expires <= Instant::now() {
            return Err(match options.expired_token {
                ExpiredToken::Http401 => Answer::unauthorized(),
                ExpiredToken::Code1203 => Answer::business(options.business_errors_http, 1203, &text(1203, request.call, "")),
                ExpiredToken::ApimStatus(status) => Answer::apim_status(status),
            });
        }
        Ok(Some(application))
    }
}

/// Base64 of 256 bytes under RSA.
fn looks_like_sdk(token: &str) -> bool {
    token.len() == 344 && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "test-access-token-0001";
    const SECRET: &str = "66666666-7777-8888-9999-aaaaaaaaaaaa";

    fn signed(query: &[(&str, &str)], body: &str) -> String {
        let query: Vec<_> = query.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        signature(TOKEN, &query, body.as_bytes(), "1700000000000", SECRET)
    }

    #[test]
    fn the_vendors_own_example() {
        let query = ["k3=v3", "k1=v1", "k2=v2"].map(|p| p.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())).unwrap());
        let of = |body: &str| signature("xxxxaaaxxxx", &query, body.as_bytes(), "1572574909697", "xxxappSecretxxx");
        let chinese = "{\n  \"count\": 20,\n  \"page\": 1,\n  \"desc\": \"描述\"\n}";
        assert_eq!(of(chinese), "59828328f6c1f9771015dc74e4929ae30f518a35a3d2353972c2ea46556fc981");
        assert_eq!(of(&chinese.replace("描述", "description")), "ad6dc6fc97f4290f3724e94eab38168d8613c41c3a4569b4b8b0efbce96a816c");
    }

    #[test]
    fn made_up_values() {
        let org = ("orgId", "o15000000000001");
        let key = "11111111-2222-3333-4444-555555555555";
        assert_eq!(encryption(key, "1700000000000", SECRET), "ebb96fd0b35d66896e2eb80f1225e14778667c694a76268ce2bfb5c01b6da6e3");
        assert_eq!(signed(&[org], ""), "f2b332be74f9fa7a6f52bdc681c07da4f7bd1e917d6d0561a517ffbc3ae01972");
        let list = [("pageSize", "10"), org, ("pageNo", "1"), ("isSystem", "false"), ("ifReleased", "true")];
        assert_eq!(signed(&list, ""), "bdec0940000cc6a85b97709c54cd1896afd6066b3daff5035cce40540ae28af0");
        assert_eq!(signed(&[org, ("action", "pause")], ""), "115dd71db5028499fe344530eca9ad59ff51ffbef4317e0ca5350f3ad0606a9d");
        let body = r#"{"executionMode":0,"kafkaRate":1000,"resourceConfig":{"server":"1"}}"#;
        assert_eq!(signed(&[org, ("action", "start")], body), "35a8204ff6f1ff493f49b333a1aabd1365172421cae9a448b038cccc6e97e2bc");
    }

    #[test]
    fn of_a_repeated_name_the_first_counts() {
        assert_eq!(signed(&[("a", "1"), ("a", "2")], ""), signed(&[("a", "1")], ""));
    }
}
