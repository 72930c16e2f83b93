//! What the object's own status says of the past: it may prevent an action or start a wait, but never cause an action.

use stream_pipeline_api::{BackendIdentity, ConditionType, FINALIZER, OffsetResetStatus, Reason, StreamPipeline, StreamPipelineStatus};

/// The past of this very object.
#[derive(Clone, Debug, Default)]
pub struct PriorStatus {
    /// This very object has a status, so it was seen before.
    pub seen_before: bool,
    pub acknowledged_id: Option<String>,
    pub last: Option<OffsetResetStatus>,
    /// Earlier requests that are over.
    pub ended_ids: Vec<String>,
    /// The reason of the condition OffsetsReset.
    pub last_reason: Option<Reason>,
    pub pinned_cluster: Option<String>,
    pub pinned_pipeline: Option<String>,
    /// The spec changed since that status.
    pub spec_changed: bool,
    /// It reports something that is still to be done, possibly for a request that has ended.
    pub under_way: bool,
}

impl PriorStatus {
    /// A status written for another uid (restored, copied, forged) is ignored.
    pub fn of(pipeline: &StreamPipeline) -> Self {
        let uid = pipeline.metadata.uid.as_deref();
        let own = |s: &&StreamPipelineStatus| uid.is_some() && s.observed_uid.as_deref() == uid;
        let Some(status) = pipeline.status.as_ref().filter(own) else { return Self { spec_changed: true, ..Self::default() } };
        Self {
            seen_before: true,
            acknowledged_id: status.acknowledged_id.clone(),
            last: status.offset_reset.as_deref().cloned(),
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

    /// Whether nothing is asked of this object that is not over, and nothing is owed to it: its next look may wait for a quiet moment.
    pub fn is_at_rest(pipeline: &StreamPipeline) -> bool {
        let (prior, metadata) = (Self::of(pipeline), &pipeline.metadata);
        let is_over = |id: &str| prior.last.as_ref().is_some_and(|last| last.id == id && last.stage.is_final());
        let owed = metadata.deletion_timestamp.is_some() || metadata.finalizers.iter().flatten().any(|name| name == FINALIZER);
        let over = pipeline.spec.offset_reset.as_ref().is_none_or(|asked| is_over(&asked.id));
        prior.seen_before && !prior.spec_changed && !prior.under_way && !owed && over
    }

    /// The cluster seen first, if this identity is of another cluster.
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

    /// The last status of the request `id`, if this object has acknowledged it. A dry run and a reset with the same id are two requests.
    pub fn of_request(&self, id: &str, dry_run: bool) -> Option<&OffsetResetStatus> {
        self.last.as_ref().filter(|last| last.id == id && last.is_dry_run() == dry_run)
    }

    /// Whether a reset with this id would no longer run.
    pub fn is_used_up(&self, id: &str) -> bool {
        self.has_ended(id) || self.of_request(id, false).is_some_and(|last| last.stage.uses_up_its_id())
    }
}
