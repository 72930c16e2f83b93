//! Tokens, and the signatures made with them, by the manual's formulas.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use testbed::enos::{encryption, signature};

use super::{ACCESS_KEY, Answer, Call, Now, SECRET_KEY, Setup};

#[derive(Default)]
pub struct Tokens {
    /// The valid tokens: each one's number, and until when it is valid.
    good: BTreeMap<String, (u64, Duration)>,
    given: u64,
    encryptions: BTreeSet<String>,
}

impl Tokens {
    pub fn revoke(&mut self) {
        self.good.clear();
    }

    /// Answers token/get and token/refresh.
    pub fn answer(&mut self, call: &Call, now: Now, setup: &Setup) -> Answer {
        let life = setup.token_life;
        let refused = |status: i64| (200, json!({ "status": status, "msg": "refused", "business": "apim-token-service", "data": null }));
        let Ok(body) = serde_json::from_slice::<Value>(&call.body) else { return refused(1004) };
        let (Some(key), Some(sent), Some(at)) = (body["appKey"].as_str(), body["encryption"].as_str(), body["timestamp"].as_i64()) else {
            return refused(1202);
        };
        if key != ACCESS_KEY {
            return refused(1002);
        }
        if self.encryptions.contains(sent) {
            return refused(1001);
        }
        if sent != encryption(key, &at.to_string(), SECRET_KEY) || is_off(at, now) {
            return refused(1003);
        }
        self.encryptions.insert(sent.to_owned());
        // The last token is the one in use.
        let last = self.good.iter().max_by_key(|(_, (number, _))| *number);
        let live = last.filter(|(_, (_, until))| *until > now.at).map(|(token, (_, until))| (token.clone(), *until - now.at));
        let given = |token: &str, left: Duration| {
            let data = json!({ "accessToken": token, "expire": left.as_secs() });
            (200, json!({ "status": 0, "msg": "SUCCESS", "business": "apim-token-service", "data": data }))
        };
        let old = body["accessToken"].as_str();
        match live {
            Some((token, left)) if old.is_none() => given(&token, left),
            live if old.is_some_and(|old| live.as_ref().is_none_or(|(token, _)| token != old)) => refused(1204),
            _ => {
                self.given += 1;
                let token = format!("token-{}", self.given);
                if setup.refresh_kills_old {
                    self.good.clear();
                }
                self.good.insert(token.clone(), (self.given, now.at + life));
                given(&token, life)
            }
        }
    }

    /// Whether a call has a valid token and was signed with it.
    pub fn have_signed(&self, call: &Call, now: Now) -> bool {
        let header = |name: &str| call.headers.get(name).map_or("", String::as_str);
        let (token, signed, at) = (header("apim-accesstoken"), header("apim-signature"), header("apim-timestamp"));
        let good = self.good.get(token).is_some_and(|(_, until)| *until > now.at) && at.parse().is_ok_and(|at| !is_off(at, now));
        good && signed == signature(token, &call.query, &call.body, at, SECRET_KEY)
    }
}

/// Whether a time is off by more than a quarter of an hour.
fn is_off(at: i64, now: Now) -> bool {
    now.ms.abs_diff(at) > 15 * 60 * 1000
}
