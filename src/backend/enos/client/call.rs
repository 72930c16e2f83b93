//! One call from start to judged answer: permit, token, turn, signature, exchange, judgement.

use crate::backend::enos::operation::Operation;
use reqwest::Method;
use serde_json::json;

use super::*;

impl Inner {
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Envelope, Failure> {
        let class = match call.name {
            _ if call.not_after.is_some() => CallClass::Change,
            Operation::List => CallClass::List,
            _ => CallClass::Read,
        };
        let until = call.not_after.unwrap_or_else(|| mono() + self.call_deadline);
        let not_admitted = |why| not_admitted(call.name, class, why);
        let _place = self.limits.begin(class, until).await.map_err(not_admitted)?;
        let mut repeated = false;
        loop {
            let token = self.tokens.get(self).await?;
            let turn = self.limits.acquire(class, until).await.map_err(not_admitted)?;
            // In a poll only the first page finds this unset.
            call.began.inspect(|began| _ = began.set(mono()));
            let answered = self.send(&call, &token).await;
            drop(turn);
            match answered {
                Ok(envelope) => {
                    self.tokens.accepted();
                    return Ok(envelope);
                }
                Err(failure) if failure.kind != FailureKind::Unauthorized || failure.effect != Effect::Refused => return Err(failure),
                Err(failure) if repeated => {
                    if !call.optional {
                        self.tokens.refused(&failure).await;
                    }
                    return Err(failure);
                }
                Err(_) => self.tokens.discard(&token).await,
            }
            repeated = true;
        }
    }

    async fn send(&self, call: &Call<'_>, token: &Token) -> Result<Envelope, Failure> {
        let timestamp = self.stamps.next(self.clock.wall().as_millisecond());
        let signature = sign::signature(token.value(), call.query, call.body.unwrap_or_default(), timestamp, self.credentials.secret());
        let secrets = [token.value(), &signature];
        let out = HttpRequest {
            method: call.method.clone(),
            path: call.path,
            query: call.query,
            headers: vec![
                ("apim-accesstoken", token.value().to_owned()),
                ("apim-signature", signature.clone()),
                ("apim-timestamp", timestamp.to_string()),
            ],
            body: call.body.map(<[u8]>::to_vec),
            content_type: JSON,
            limit: call.limit,
            not_after: call.not_after,
        };
        match self.http.exchange(out).await {
            Ok(answer) => self.judged(call.name, answer, &secrets),
            Err(broken) => Err(self.broken(call.name, broken, &secrets)),
        }
    }

    fn judged(&self, name: Operation, answer: HttpResponse, secrets: &[&str]) -> Result<Envelope, Failure> {
        self.limits.on_response(answer.http, answer.retry_after, mono());
        // If the body is not a JSON object, a failing HTTP status explains the failure; a successful one proves nothing.
        let (envelope, not_json) = Envelope::decode(&answer.body).map_or_else(|_| (Envelope::default(), true), |e| (e, false));
        let Some((kind, effect)) = judge(answer.http, envelope.code(), envelope.apim_status()) else { return Ok(envelope) };
        let kind = if not_json && kind == FailureKind::BadAnswer { FailureKind::NotJson } else { kind };
        let failure = Failure { code: envelope.code(), ..Failure::new(name, kind, effect, "") };
        Err(self.with_words(failure, &envelope, &answer, secrets))
    }

    /// Adds the answer's own text to the failure.
    fn with_words(&self, failure: Failure, envelope: &Envelope, answer: &HttpResponse, secrets: &[&str]) -> Failure {
        let said = match envelope.message() {
            said if !said.is_empty() => said,
            _ if answer.content_type.is_empty() => format!("{} bytes", answer.body.len()),
            _ => format!("{} bytes of {}", answer.body.len(), answer.content_type),
        };
        let clock_gap = answer.date.filter(|_| failure.kind == FailureKind::Unauthorized).map(|date| date - self.clock.wall().as_second());
        Failure { http: Some(answer.http), retry_after: answer.retry_after, clock_gap, text: self.clean(&said, secrets), ..failure }
    }

    fn broken(&self, call: Operation, broken: ExchangeError, secrets: &[&str]) -> Failure {
        let effect = if broken.handed_over { Effect::Unknown } else { Effect::NotSent };
        Failure { http: broken.http, ..Failure::new(call, broken.kind, effect, self.clean(&broken.text, secrets)) }
    }

    /// Secrets are removed before the text is cut, so that no part of one is left at the end.
    fn clean(&self, text: &str, secrets: &[&str]) -> String {
        cut(&self.credentials.scrub(text, secrets), MAX_TEXT)
    }

    /// One page of the list; the first sets when the poll began.
    pub(super) async fn page(&self, org: &str, number: usize, began: &Began) -> Result<Page, Failure> {
        let (number, size) = (number.to_string(), PAGE_SIZE.to_string());
        let query = [("orgId", org), ("pageSize", &size), ("pageNo", &number), ("isSystem", "false"), ("ifReleased", "true")];
        let call = Call {
            name: Operation::List,
            method: Method::GET,
            path: &PIPELINES,
            query: &query,
            body: None,
            limit: MAX_PAGE_BODY,
            not_after: None,
            began: Some(began),
            optional: false,
        };
        let envelope = self.call(call).await?;
        answers::page(&envelope).map_err(|e| undecodable(Operation::List, &e))
    }
}

impl TokenService for Inner {
    async fn ask(&self, refresh: Option<&str>) -> Result<Token, Failure> {
        let (name, action) = if refresh.is_some() { (Operation::RefreshToken, "refresh") } else { (Operation::GetToken, "get") };
        let asked = mono();
        let until = asked + self.call_deadline;
        let _turn = self.limits.acquire(CallClass::Token, until).await.map_err(|why| not_admitted(name, CallClass::Token, why))?;
        let timestamp = self.stamps.next(self.clock.wall().as_millisecond());
        let encryption = sign::encryption(self.credentials.access_key(), timestamp, self.credentials.secret());
        let mut body = json!({ "appKey": self.credentials.access_key(), "encryption": encryption, "timestamp": timestamp });
        if let Some(token) = refresh {
            body["accessToken"] = token.into();
        }
        let secrets = [encryption.as_str(), refresh.unwrap_or_default()];
        let path = [&TOKEN[..], &[action]].concat();
        let body = Some(body.to_string().into_bytes());
        let out = HttpRequest {
            method: Method::POST,
            path: &path,
            query: &[],
            headers: vec![],
            body,
            content_type: JSON,
            limit: MAX_BODY,
            not_after: None,
        };
        let answer = self.http.exchange(out).await.map_err(|broken| self.broken(name, broken, &secrets))?;
        self.limits.on_response(answer.http, answer.retry_after, mono());
        let (envelope, is_json) = Envelope::decode(&answer.body).map_or_else(|_| (Envelope::default(), false), |e| (e, true));
        let status = envelope.status();
        // The published sample misspells `status`, so a token without one counts as well.
        let judged = match (answers::token(&envelope), judge(answer.http, status.or(Some(0)), None)) {
            (Some((value, life)), None) => return Ok(Token::new(value, life, asked)),
            (_, judged) => judged,
        };
        let (kind, effect) = match status {
            Some(status) if status != 0 => judged.unwrap_or((FailureKind::BadAnswer, Effect::Unknown)),
            _ if (200..300).contains(&answer.http) && !is_json => (FailureKind::NotJson, Effect::Unknown),
            _ => judge(answer.http, None, None).unwrap_or((FailureKind::BadAnswer, Effect::Unknown)),
        };
        let code = status.filter(|status| *status != 0);
        Err(self.with_words(Failure { code, ..Failure::new(name, kind, effect, "") }, &envelope, &answer, &secrets))
    }
}

fn not_admitted(call: Operation, class: CallClass, why: NotAdmitted) -> Failure {
    match why {
        NotAdmitted::Paused(left) => Failure {
            retry_after: Some(left),
            ..Failure::unsent(call, FailureKind::RateLimited, "the gateway asked for a pause that is not over")
        },
        NotAdmitted::Late if class == CallClass::Change => {
            Failure::unsent(call, FailureKind::WindowPassed, "the time to send it passed while it waited for its turn")
        }
        NotAdmitted::Late => Failure::unsent(call, FailureKind::Busy, "no turn within the deadline"),
    }
}
