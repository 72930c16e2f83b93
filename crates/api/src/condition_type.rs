//! The conditions of a StreamPipeline.

use strum::IntoStaticStr;

/// `status.conditions[].type`. Ready, Reconciling and Stalled are kstatus's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
pub enum ConditionType {
    Ready,
    Reconciling,
    Stalled,
    /// The result of the request.
    OffsetsReset,
    PipelineInactive,
    BackendReachable,
    PauseLimitNear,
}

impl ConditionType {
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
