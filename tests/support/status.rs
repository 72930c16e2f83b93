//! What a status says.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use stream_pipeline_api::{OffsetResetStatus, StreamPipelineStatus};

/// The condition of this type, where there is one.
pub fn condition<'a>(status: &'a StreamPipelineStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|c| c.type_ == kind)
}

/// Whether the condition of this type is there, with this reason.
pub fn has_reason(status: &StreamPipelineStatus, kind: &str, reason: &str) -> bool {
    condition(status, kind).is_some_and(|c| c.reason == reason)
}

/// Whether the condition of this type is there, with this status.
pub fn is(status: &StreamPipelineStatus, kind: &str, value: &str) -> bool {
    condition(status, kind).is_some_and(|c| c.status == value)
}

/// Status, reason and message of a condition that must be there.
pub fn says<'a>(status: &'a StreamPipelineStatus, kind: &str) -> (&'a str, &'a str, &'a str) {
    let c = condition(status, kind).unwrap_or_else(|| panic!("expected a condition {kind}, found {:?}", status.conditions));
    (&c.status, &c.reason, &c.message)
}

/// The message of the condition `Ready`, which must be there.
pub fn message(status: &StreamPipelineStatus) -> &str {
    says(status, "Ready").2
}

/// What the status says of the request, which it must speak of.
pub fn reset(status: &StreamPipelineStatus) -> &OffsetResetStatus {
    status.offset_reset.as_ref().unwrap_or_else(|| panic!("expected the status to speak of a request: {status:?}"))
}

/// Whether the request has ended and nothing is left to do for it.
pub fn is_over(status: &StreamPipelineStatus) -> bool {
    status.offset_reset.as_ref().is_some_and(|r| r.stage.is_final()) && condition(status, "Reconciling").is_none()
}

/// Fails unless the text has each of these parts.
#[track_caller]
pub fn assert_has(text: impl AsRef<str>, parts: &[&str]) {
    let text = text.as_ref();
    let missing: Vec<_> = parts.iter().filter(|part| !text.contains(**part)).collect();
    assert!(missing.is_empty(), "expected {missing:?} in: {text}");
}

/// Fails unless the request was skipped because it came with the new object, and the status says how it would run.
#[track_caller]
pub fn assert_skipped(status: &StreamPipelineStatus) {
    let (ready, reason, message) = says(status, "Ready");
    assert_eq!((ready, reason), ("True", "SkippedAtCreation"), "the condition Ready");
    let (reset, why, _) = says(status, "OffsetsReset");
    assert_eq!((reset, why), ("False", "SkippedAtCreation"), "the condition OffsetsReset");
    for kind in ["Stalled", "Reconciling"] {
        assert!(condition(status, kind).is_none(), "expected no condition {kind}: {:?}", status.conditions);
    }
    assert_has(message, &["set a new spec.offsetReset.id", "whenCreated: Run", "expiresAt"]);
    assert!(status.offset_reset.as_ref().is_some_and(|r| r.record_ref.is_none()), "expected no record: {:?}", status.offset_reset);
}
