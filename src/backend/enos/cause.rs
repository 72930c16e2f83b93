//! Turns a failed call into what a person needs: what failed, what the platform said, what to check. All messages are made here.

use super::codes::{self, Done};
use super::operation::Operation;
use super::{Failure, FailureKind};
use crate::endpoints::API_SERVER;
use stream_pipeline_api::{EnosBackend, Reason};
use stream_pipeline_core::{Cause, words};

/// Why a call failed. `broken_secret`: a value of the Secret ends with a line break, which is sent along.
pub fn cause(failure: &Failure, spec: &EnosBackend, broken_secret: bool) -> Cause {
    let said = words::cut(failure.text.trim_end_matches(['.', ' ']), 200);
    let said = if said.is_empty() { said } else { format!(": {said}") };
    let named = failure.call.name();
    // If there is no code, a successful HTTP status does not explain the failure.
    let row = failure.code.map_or_else(|| failure.http.filter(|http| *http >= 400).and_then(codes::of_status), codes::find);
    let (reason, text) = match (failure.kind, row) {
        // The caller adds what this means for the request: a reset that may have been done is not simply tried again.
        (_, Some(row)) if row.done == Done::Unknown && failure.call == Operation::Reset => {
            (row.reason, format!("{named} was answered{}", said))
        }
        (_, Some(row)) if row.done == Done::Unknown => (row.reason, format!("{named} was answered{}. {}", said, row.help)),
        (_, Some(row)) => (row.reason, format!("{named} was refused{}. {}", said, row.help)),
        (_, None) if failure.code.is_some() => (
            Reason::PlatformError,
            format!("{named} was answered with a code that is not documented{said}. Ask EnOS support what it means"),
        ),
        (kind, None) => by_kind(kind, named, &said, failure, spec),
    };
    let text = match failure.clock_gap.filter(|gap| gap.abs() > 60) {
        Some(gap) => format!("{text} The gateway's clock is {gap} s ahead of the operator's"),
        None => text,
    };
    let text = if broken_secret && reason == Reason::AuthenticationFailed {
        format!(
            "{text}. A value in Secret {} ends with a line break: write it without (printf, not echo)",
            spec.credentials_secret_ref.name
        )
    } else {
        text
    };
    // An undocumented code is shown too; an undocumented HTTP status is not.
    let code = failure.code.map_or_else(|| row.map(|row| row.number), |code| i32::try_from(code).ok());
    Cause { code, ..Cause::new(reason, text) }
}

/// Several pipelines have the name.
pub fn ambiguous(name: &str, organization: &str, ids: &[impl AsRef<str>]) -> Cause {
    let text = format!(
        "{} pipelines of organization {organization} are named {name}: {}. Name one by spec.enos.pipelineID, in a new object",
        ids.len(),
        words::some_of(ids)
    );
    Cause::new(Reason::PipelineNameAmbiguous, text)
}

fn by_kind(kind: FailureKind, named: &str, said: &str, failure: &Failure, spec: &EnosBackend) -> (Reason, String) {
    use FailureKind as K;
    let at = words::cut(&spec.endpoint, 120);
    let secret = &spec.credentials_secret_ref.name;
    match kind {
        K::BadEndpoint => (
            Reason::EndpointNotAllowed,
            format!("spec.enos.endpoint {at} is no address of a gateway{said}. It has to be https:// and a host, with a port if need be"),
        ),
        K::PlainHttpNotAllowed => (
            Reason::EndpointNotAllowed,
            format!(
                "spec.enos.endpoint {at} is plain http, which would show the token to everybody on the way: use https://, or have the operator started with --allow-plain-http"
            ),
        ),
        K::EndpointNotAllowed if said.contains(API_SERVER) => (
            Reason::EndpointNotAllowed,
            format!("the operator connects to {at} for no StreamPipeline{said}. Correct spec.enos.endpoint; not a byte was sent"),
        ),
        K::EndpointNotAllowed => (
            Reason::EndpointNotAllowed,
            format!("the operator may not connect to {at}{said}. Whoever runs it can allow it by --allowed-endpoints; not a byte was sent"),
        ),
        K::BadCa if spec.ca.is_none() => {
            (Reason::TlsFailed, format!("spec.enos names no CA{said}: no certificate could be verified. Name the CA in spec.enos.ca"))
        }
        K::BadCa => (Reason::TlsFailed, format!("the CA of spec.enos.ca cannot be used{said}. It must be PEM certificates")),
        K::BadCredentials => {
            (Reason::AuthenticationFailed, format!("Secret {secret} cannot be used{said}. It needs accessKey and secretKey"))
        }
        K::BadArgument => (Reason::RequestRejected, format!("{named} cannot be called{said}. Check spec.enos.orgID and pipelineID")),
        K::Tls if failure.text.contains("InvalidContentType") => {
            (Reason::TlsFailed, format!("{at} does not speak TLS{said}. Check the port of spec.enos.endpoint"))
        }
        K::Tls => (
            Reason::TlsFailed,
            format!("the certificate of {at} does not verify{said}. Check its host name and dates; a private CA goes into spec.enos.ca"),
        ),
        K::Dns => (Reason::EndpointUnreachable, format!("the host of {at} has no address{said}. Check spec.enos.endpoint and DNS")),
        K::Connect => {
            (Reason::EndpointUnreachable, format!("no connection to {at}{said}. Check spec.enos.endpoint, the port and the network"))
        }
        K::Timeout | K::ConnectionLost => {
            (Reason::EndpointUnreachable, format!("{named} was not answered{said}. Check the network and the gateway {at}"))
        }
        K::Unauthorized => (
            Reason::AuthenticationFailed,
            format!(
                "the gateway refuses the credentials{said}. Check accessKey and secretKey in Secret {secret}, and the operator's clock"
            ),
        ),
        K::Forbidden => {
            (Reason::PermissionMissing, format!("{named} is forbidden{said}. Authorize the application for organization {}", spec.org_id))
        }
        K::RateLimited | K::Busy => {
            (Reason::RateLimited, format!("{named} waits: too many calls to {at}{said}. The operator goes on by itself"))
        }
        K::WindowPassed => (Reason::PlanRecorded, format!("{named} could not be sent in time; it was not sent")),
        K::TooLarge | K::NotJson | K::BadAnswer | K::Redirected | K::TooManyPages => {
            let status = failure.http.map(|h| format!(" (HTTP {h})")).unwrap_or_default();
            let what = match kind {
                K::TooLarge => "an answer larger than any of the platform's",
                K::NotJson => "something that is not JSON",
                K::TooManyPages => "a list that does not end",
                K::Redirected => "a redirect, which is never followed",
                _ => "an answer of another shape than documented",
            };
            (
                Reason::UnexpectedAnswer,
                format!("{named} was answered with {what}{status}{said}. Check that spec.enos.endpoint {at} is the API gateway"),
            )
        }
        K::Http if matches!(failure.http, Some(404 | 405)) => (
            Reason::UnexpectedAnswer,
            format!("{at} does not know {named}{said}. Check that spec.enos.endpoint is the API gateway, without a path"),
        ),
        K::Platform | K::Http | K::Interrupted => {
            let status = failure.http.map(|h| format!(" (HTTP {h})")).unwrap_or_default();
            let next = if failure.call == Operation::Reset {
                ""
            } else {
                ". It is tried again; if it stays, look at the gateway or ask EnOS support"
            };
            (Reason::PlatformError, format!("{named} failed{status}{said}{next}"))
        }
    }
}

/// How each way to fail is reported, with what leads to it: for the page of all messages.
#[cfg(test)]
pub(crate) fn messages() -> Vec<(String, Cause)> {
    use super::failure::Effect;
    let spec: EnosBackend = serde_json::from_value(serde_json::json!({
        "endpoint": "https://gw", "orgID": "o1", "pipelineID": "id", "credentialsSecretRef": { "name": "app" }
    }))
    .unwrap();
    let failed = |call: Operation, kind: FailureKind, text: &str| Failure::new(call, kind, Effect::NotSent, text);
    let mut all = Vec::new();
    for row in &codes::CODES {
        let http = row.source == codes::Source::Http;
        let call = match row.source {
            codes::Source::Token => Operation::GetToken,
            codes::Source::Streaming => match row.number {
                61100 | 61121 | 61128 | 61165 => Operation::Start,
                61122 | 61152 => Operation::Pause,
                61108 | 61168 => Operation::Reset,
                _ => Operation::List,
            },
            _ => Operation::List,
        };
        if call == Operation::Reset && row.done == Done::Unknown {
            // The request is held, and the caller words the message.
            continue;
        }
        let failure = failed(call, FailureKind::Platform, row.text);
        let number = i64::from(row.number);
        let failure =
            if http { Failure { http: u16::try_from(number).ok(), ..failure } } else { Failure { code: Some(number), ..failure } };
        let from = if http { "HTTP status" } else { "code" };
        all.push((format!("EnOS: {from} {number}"), cause(&failure, &spec, false)));
    }
    for (kind, text) in [
        (FailureKind::BadEndpoint, "no host"),
        (FailureKind::PlainHttpNotAllowed, ""),
        (FailureKind::EndpointNotAllowed, "127.0.0.1 is not allowed: it is a loopback address"),
        (FailureKind::BadCa, "no certificate in it"),
        (FailureKind::BadCredentials, "the access key or the secret key is empty"),
        (FailureKind::BadArgument, "the organization or pipeline id cannot be one"),
        (FailureKind::Tls, "certificate has expired"),
        (FailureKind::Dns, "no such host"),
        (FailureKind::Connect, "Connection refused"),
        (FailureKind::Timeout, "no complete answer within 10s"),
        (FailureKind::ConnectionLost, "connection closed before message completed"),
        (FailureKind::Unauthorized, ""),
        (FailureKind::Forbidden, ""),
        (FailureKind::RateLimited, ""),
        (FailureKind::TooLarge, "more than 1048576 bytes"),
        (FailureKind::NotJson, "154 bytes of text/html"),
        (FailureKind::BadAnswer, "a list is expected"),
        (FailureKind::Redirected, ""),
    ] {
        let named = kind.as_str();
        all.push((format!("EnOS: {named}"), cause(&failed(Operation::List, kind, text), &spec, false)));
    }
    all
}

/// The message for a call that was answered with this documented code.
#[cfg(test)]
pub(crate) fn said(call: Operation, number: i32) -> Cause {
    let text = codes::find(number.into()).unwrap().text;
    let failure =
        Failure { code: Some(i64::from(number)), ..Failure::new(call, FailureKind::Platform, super::failure::Effect::Refused, text) };
    let spec: EnosBackend = serde_json::from_value(serde_json::json!({
        "endpoint": "https://gw", "orgID": "o1", "pipelineID": "id", "credentialsSecretRef": { "name": "app" }
    }))
    .unwrap();
    cause(&failure, &spec, false)
}
