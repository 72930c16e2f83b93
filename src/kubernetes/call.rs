//! One call to the API server: under its deadline, and its failure in words.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kube::api::{PatchParams, PostParams};

use super::refusal;
use stream_pipeline_api::OPERATOR;
use stream_pipeline_core::Cause;

/// How long a call about our own objects takes these days, in microseconds: one for the process, as there is one API server.
static TAKES: AtomicU64 = AtomicU64::new(0);

/// How long a call about our own objects takes these days. Each new one counts for an eighth.
pub fn pace() -> Duration {
    Duration::from_micros(TAKES.load(Ordering::Relaxed))
}

/// Not for calls about what belongs to tenants: their webhooks may be slow, and must not slow down everybody.
pub fn note_pace(took: Duration) {
    let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let average = |last: u64| Some(last - last / 8 + took / 8);
    // The closure never refuses.
    let _ = TAKES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, average);
}

/// `what`: the beginning of a sentence about the call ("reading the record").
///
/// # Errors
/// The API server did not answer by the deadline, or refused.
pub async fn call<T>(what: &str, deadline: Duration, call: impl Future<Output = kube::Result<T>>) -> Result<T, Cause> {
    call_or(what, deadline, call, |error| refusal::cause(what, error, refusal::CHART)).await
}

/// As [`call`], where a refusal needs another text than elsewhere.
///
/// # Errors
/// As [`call`], with a refusal worded by `refused`.
pub async fn call_or<T>(
    what: &str,
    deadline: Duration,
    call: impl Future<Output = kube::Result<T>>,
    refused: impl FnOnce(&kube::Error) -> Cause,
) -> Result<T, Cause> {
    match tokio::time::timeout(deadline, call).await {
        Ok(answer) => answer.map_err(|error| refused(&error)),
        Err(_) => Err(refusal::silent(what, deadline)),
    }
}

/// Parameters of a patch in the operator's name.
pub fn patch() -> PatchParams {
    PatchParams { field_manager: Some(OPERATOR.to_owned()), ..PatchParams::default() }
}

/// Parameters of a creation or a replacement in the operator's name.
pub fn post() -> PostParams {
    PostParams { field_manager: Some(OPERATOR.to_owned()), ..PostParams::default() }
}
