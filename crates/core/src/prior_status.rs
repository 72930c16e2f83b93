//! What the object's own status tells of the past: enough to prevent an action or to start a clock, never to cause one.

use stream_pipeline_api::{BackendIdentity, ConditionType, OffsetResetStatus, Reason, StreamPipeline, StreamPipelineStatus};

/// The past of this very object.
#[derive(Clone, Debug, Default)]
pub struct PriorStatus {
    /// A status of this very object exists: it was seen before.
    pub seen_before: bool,
    pub acknowledged_id: Option<String>,
    pub last: Option<OffsetResetStatus>,
    /// Earlier requests that are over.
    pub ended_ids: Vec<String>,
    /// Why OffsetsReset says what it says.
    pub last_reason: Option<Reason>,
    pub pinned_cluster: Option<String>,
    pub pinned_pipeline: Option<String>,
    /// The spec changed since that status.
    pub spec_changed: bool,
    /// It tells of something that is still to be done, also for a request that has ended.
    pub under_way: bool,
}

impl PriorStatus {
    /// A status of another uid (restored, copied, forged) counts as none.
    pub fn of(pipeline: &StreamPipeline) -> Self {
        let uid = pipeline.metadata.uid.as_deref();
        let own = |s: &&StreamPipelineStatus| uid.is_some() && s.observed_uid.as_deref() == uid;
        let Some(status) = pipeline.status.as_ref().filter(own) else { return Self { spec_changed: true, ..Self::default() } };
        Self {
            seen_before: true,
            acknowledged_id: status.acknowledged_id.clone(),
            last: status.offset_reset.clone(),
            ended_ids: status.ended_ids.clone(),
            last_reason: status
                .conditions
                .iter()
                .find(|c| c.type_ == ConditionType::OffsetsReset.as_str())
                .and_then(|c| c.reason.parse().ok()),
            pinned_cluster: status.cluster_id.clone(),
            pinned_pipeline: status.pipeline_id.clone(),
            spec_changed: status.observed_generation != pipeline.metadata.generation,
            under_way: status.conditions.iter().any(|c| c.type_ == ConditionType::Reconciling.as_str()),
        }
    }

    /// The cluster seen first, where this is another one.
    pub fn pinned_elsewhere(&self, identity: &BackendIdentity) -> Option<&str> {
        match identity {
            BackendIdentity::Kafka { cluster_id, .. } => self.pinned_cluster.as_deref().filter(|first| first != cluster_id),
            BackendIdentity::Enos { .. } => None,
        }
    }

    /// Whether the request `id` is over, and another one came after it.
    pub fn has_ended(&self, id: &str) -> bool {
        self.ended_ids.iter().any(|ended| ended == id)
    }

    /// What became of the request `id`, if this object has acknowledged it. A dry run and a reset under one id are two.
    pub fn of_request(&self, id: &str, dry_run: bool) -> Option<&OffsetResetStatus> {
        self.last.as_ref().filter(|last| last.id == id && last.is_dry_run() == dry_run)
    }

    /// Whether a reset under this id would run nothing any more.
    pub fn is_used_up(&self, id: &str) -> bool {
        self.has_ended(id) || self.of_request(id, false).is_some_and(|last| last.stage.uses_up_its_id())
    }
}
