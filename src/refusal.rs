//! What the API server refuses, in words that say who refuses: a right that is missing, a quota, a webhook, a policy and a
//! namespace that ends are answered with the same number, and none of them is put right like another. The one place.

use std::time::Duration;

use kube::core::Status;

use crate::api::Reason;
use crate::domain::Cause;

/// Why a call to the API server failed. `right`: what gives the operator's account the right to it.
pub fn cause(what: &str, error: &kube::Error, right: &str) -> Cause {
    match error {
        kube::Error::Api(status) => refused(what, status, right),
        other => Cause::new(Reason::APIServerError, format!("{what}: {other}")),
    }
}

/// It did not answer.
pub fn silent(what: &str, deadline: Duration) -> Cause {
    Cause::new(Reason::APIServerError, format!("{what}: no answer from the API server within {} s", deadline.as_secs()))
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
        () if has("failed calling webhook") => by("an admission webhook of the cluster does not answer", ask),
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
        () => Cause::new(Reason::APIServerError, format!("{what}: {said}")),
    };
    // A right is not the backend's to name.
    let backend_code = (cause.reason != Reason::PermissionMissing).then(|| i32::from(status.code));
    Cause { backend_code, ..cause }
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
