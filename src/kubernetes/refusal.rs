//! What the API server refuses, in words that say who refuses. A missing right, a quota, a webhook, a policy and a namespace that is being
//! deleted all give the same HTTP status, but each needs another remedy. All these texts are made here.

use std::time::Duration;

use kube::core::Status;

use stream_pipeline_api::Reason;
use stream_pipeline_core::Cause;

/// What gives the operator's account most of its rights.
pub const CHART: &str = "the rights in the chart's ClusterRole are needed";

/// The end of a message where nothing in the object has to be corrected.
const AGAIN: &str = "It is tried again; if it stays, look at the API server";

/// Why a call to the API server failed. `right`: what gives the operator's account the right to it.
pub fn cause(what: &str, error: &kube::Error, right: &str) -> Cause {
    match error {
        kube::Error::Api(status) => refused(what, status, right),
        other => Cause::new(Reason::APIServerError, format!("{what}: {other}. {AGAIN}")),
    }
}

/// As [`cause`], for a watch, whose errors wrap those of its calls.
pub fn of_watch(what: &str, error: &(dyn std::error::Error + 'static)) -> Cause {
    let chain = std::iter::successors(Some(error), |error| error.source());
    for error in chain {
        if let Some(error) = error.downcast_ref::<kube::Error>() {
            return cause(what, error, CHART);
        }
        let boxed = error.downcast_ref::<Box<Status>>().map(AsRef::as_ref);
        if let Some(status) = boxed.or_else(|| error.downcast_ref::<Status>()) {
            return refused(what, status, CHART);
        }
    }
    Cause::new(Reason::APIServerError, format!("{what}: {error}"))
}

/// The API server did not answer.
pub fn silent(what: &str, deadline: Duration) -> Cause {
    Cause::new(Reason::APIServerError, format!("{what}: no answer from the API server within {} s. {AGAIN}", deadline.as_secs()))
}

fn refused(what: &str, status: &Status, right: &str) -> Cause {
    let said = status.message.trim_end_matches('.');
    let has = |part: &str| said.contains(part);
    let ends = status.details.iter().flat_map(|d| &d.causes).any(|c| c.reason == "NamespaceTerminating");
    let by = |who: &str, way_out: &str| Cause::new(Reason::AdmissionRefused, format!("{what}: {who}: {said}. {way_out}"));
    let ask = "Ask whoever runs it to let the operator's account do this; it is tried again";
    let cause = match () {
        () if ends || has("because it is being terminated") => {
            by("the namespace is being deleted, and nothing new can be made in it", "Nothing is to be done")
        }
        () if has("admission webhook") && has("denied the request") => by("an admission webhook of the cluster refuses it", ask),
        () if has("failed calling webhook") => {
            by("an admission webhook of the cluster does not answer", "Ask whoever runs it to bring it back; it is tried again")
        }
        () if has("AdmissionPolicy") && (has("denied request") || has("denied the request")) => {
            by("an admission policy of the cluster refuses it", ask)
        }
        () if status.code == 403 && ["exceeded quota", "failed quota", "status unknown for quota"].into_iter().any(has) => {
            by("a quota of the namespace refuses it", "Raise it or make room; it is tried again")
        }
        () if status.code == 403 && has(" cannot ") && has(" resource ") => {
            Cause::new(Reason::PermissionMissing, format!("{what}: {said}; {right}"))
        }
        () if status.code == 403 => by("the cluster's admission refuses it", ask),
        () => Cause::new(Reason::APIServerError, format!("{what}: the API server answers: {said}. {AGAIN}")),
    };
    // A missing right is not the backend's error, so it gets no backend code.
    let backend_code = (cause.reason != Reason::PermissionMissing).then(|| i32::from(status.code));
    Cause { backend_code, ..cause }
}

/// How each kind of refusal is reported, with what leads to it: for the page of all messages.
#[cfg(test)]
pub(crate) fn messages() -> Vec<(String, Cause)> {
    let of = |code: u16, said: &str| {
        let status = Status { code, message: said.to_owned(), ..Status::default() };
        cause("creating the record", &kube::Error::Api(Box::new(status)), CHART)
    };
    let record = "offsetresetrecords.streampipeline.io";
    vec![
        ("the API server is silent".to_owned(), silent("creating the record", Duration::from_secs(10))),
        ("the API server fails".to_owned(), of(500, "etcdserver: request timed out")),
        (
            "the operator lacks a right".to_owned(),
            of(
                403,
                &format!(
                    "{record} is forbidden: User \"system:serviceaccount:s:o\" cannot create resource \"offsetresetrecords\" in API group \"streampipeline.io\" in the namespace \"n\""
                ),
            ),
        ),
        (
            "somebody's webhook refuses".to_owned(),
            of(403, "admission webhook \"freeze.example.com\" denied the request: a freeze until Monday"),
        ),
        (
            "somebody's webhook is away".to_owned(),
            of(500, "Internal error occurred: failed calling webhook \"freeze.example.com\": failed to call webhook: connection refused"),
        ),
        (
            "somebody's policy refuses".to_owned(),
            of(
                422,
                &format!(
                    "{record} \"p-1\" is forbidden: ValidatingAdmissionPolicy 'freeze' with binding 'freeze' denied request: a freeze until Monday"
                ),
            ),
        ),
        (
            "a quota is used up".to_owned(),
            of(
                403,
                &format!(
                    "{record} \"p-1\" is forbidden: exceeded quota: q, requested: count/{record}=1, used: count/{record}=9, limited: count/{record}=9"
                ),
            ),
        ),
        (
            "the namespace is being deleted".to_owned(),
            of(403, &format!("{record} \"p-1\" is forbidden: unable to create new content in namespace n because it is being terminated")),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the words of the API server's source (1.37).
    #[test]
    fn each_refusal_is_told_by_who_refuses() {
        for (code, said, reason, part) in [
            (
                403,
                r#"deployments.apps "d" is forbidden: User "system:serviceaccount:s:o" cannot patch resource "deployments/scale" in API group "apps" in the namespace "n""#,
                Reason::PermissionMissing,
                "add the rule",
            ),
            (
                403,
                r#"offsetresetrecords.streampipeline.io "p-1" is forbidden: exceeded quota: q, requested: count/x=1, used: count/x=1, limited: count/x=1"#,
                Reason::AdmissionRefused,
                "a quota",
            ),
            (
                403,
                r#"admission webhook "freeze.example.com" denied the request: a freeze until Monday"#,
                Reason::AdmissionRefused,
                "a freeze until Monday",
            ),
            (
                400,
                r#"admission webhook "freeze.example.com" denied the request: a user cannot change a resource now"#,
                Reason::AdmissionRefused,
                "webhook",
            ),
            (
                422,
                r#"deployments.apps "d" is forbidden: ValidatingAdmissionPolicy 'freeze' with binding 'freeze' denied request: no scaling"#,
                Reason::AdmissionRefused,
                "policy",
            ),
            (
                500,
                r#"Internal error occurred: failed calling webhook "w.example.com": failed to call webhook: connection refused"#,
                Reason::AdmissionRefused,
                "does not answer",
            ),
            (
                403,
                r#"events "e" is forbidden: unable to create new content in namespace n because it is being terminated"#,
                Reason::AdmissionRefused,
                "being deleted",
            ),
            (403, r#"pods "x" is forbidden: violates PodSecurity "restricted:latest""#, Reason::AdmissionRefused, "admission"),
            (409, "the object has been modified", Reason::APIServerError, "modified"),
        ] {
            let status = Status { code, message: said.to_owned(), reason: String::new(), ..Status::default() };
            let cause = cause("scaling", &kube::Error::Api(Box::new(status)), "add the rule");
            assert_eq!(cause.reason, reason, "{said}");
            assert!(cause.message.contains(part) && cause.message.contains(said), "{}", cause.message);
            assert_eq!(cause.message.contains("add the rule"), reason == Reason::PermissionMissing, "{}", cause.message);
        }
    }
}
