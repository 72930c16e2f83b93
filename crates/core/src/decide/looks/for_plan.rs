//! What a plan is made from, and who comes before it.

use super::{Look, LookKind, Looking};
use crate::{Observed, OlderPipeline, RecordView, Request};
use stream_pipeline_api::{BackendIdentity, WhenActive};

impl Looking<'_> {
    /// What a plan is made from; the costly parts only where it could be made now.
    pub(super) fn for_plan(&self, request: &Request, own: Option<&RecordView>) -> Vec<Look> {
        let Some(identity) = self.seen.identity.get().filter(|_| !self.seen.draining) else { return Vec::new() };
        if !self.has(LookKind::Activity) {
            return vec![self.activity()];
        }
        // Whoever has begun goes on, so that no two wait for each other; who cannot reach the pipeline is told that first.
        let first = own.is_none() && !request.dry_run;
        if first && self.seen.activity.get().is_some() && !self.has(LookKind::OlderPipeline) {
            return vec![Look::OlderPipeline];
        }
        if self.seen.older_pipeline.is_some() {
            return Vec::new();
        }
        let (Some(activity), Some(committed)) = (self.seen.activity.get(), self.seen.committed.get()) else { return Vec::new() };
        let quiet = !self.desired.facts.quiet || self.seen.quiet.is_enough(request.quiet_period);
        let ready = activity.is_inactive() && quiet && !committed.values().any(|c| c.pending);
        let stops = activity.is_active() && request.when_active == WhenActive::Pause;
        if !request.dry_run && (ready || stops) {
            // What was made along with this object the copies may not hold yet.
            let young = |created| !self.prior.seen_before || OlderPipeline::is_young(created, self.now.wall);
            if first && self.desired.created.is_some_and(young) && !self.has(LookKind::OlderPipelineLive) {
                return vec![Look::OlderPipelineLive];
            }
            // What may come before could not be told.
            if self.seen.conflicting_records.cause().is_some() && !self.has(LookKind::GroupRecords) {
                return Vec::new();
            }
            let others = self.others(request, own, identity, stops, first);
            if !others.is_empty() {
                return others;
            }
            let conflicts = &self.seen.conflicts;
            if !conflicts.is_empty() && !self.has(LookKind::Orphan) {
                return vec![Look::Orphan(conflicts.clone())];
            }
        }
        if own.is_some_and(|own| own.pauses().is_some()) && !self.has(LookKind::RunState) {
            return vec![Look::RunState];
        }
        if self.desired.facts.call.is_some() {
            let at_once = stops && own.is_none() || request.dry_run || ready;
            let due = at_once || activity.is_active() && self.seen.sample_is_due;
            return if due && !self.has(LookKind::Sample) { vec![Look::Sample { running: activity.is_active() }] } else { Vec::new() };
        }
        if ready || request.dry_run { self.snapshot(request) } else { Vec::new() }
    }

    /// Who else works on the same, and what runs the pipeline: looked at together.
    fn others(&self, request: &Request, own: Option<&RecordView>, identity: &BackendIdentity, stops: bool, first: bool) -> Vec<Look> {
        let pauses = request.when_active == WhenActive::Pause && self.desired.facts.run_state;
        let but = || own.map(|r| r.name().to_owned()).or_else(|| self.seen.record_name.clone()).unwrap_or_default();
        let mut looks = vec![Look::GroupRecords { backend: identity.clone(), but: but() }];
        if first {
            looks.push(Look::Elsewhere);
        }
        if pauses {
            looks.push(Look::NamespaceRecords { but: but() });
        }
        // Once it was stopped: who may have started it.
        if stops && self.desired.facts.run_state && own.is_none_or(|own| own.calls.was_down) {
            looks.push(Look::RunStateBefore);
        }
        looks.retain(|look| !self.has(look.into()));
        looks
    }

    /// Topics, and then what is committed in the selected partitions and how far their logs go.
    fn snapshot(&self, request: &Request) -> Vec<Look> {
        let Some(topics) = self.seen.topics.get() else {
            let mut names: Vec<String> = match &request.topics {
                Some(selection) => selection.keys().cloned().collect(),
                None => self.seen.committed.get().into_iter().flat_map(|c| c.keys().map(|at| at.topic.clone())).collect(),
            };
            names.dedup();
            return if self.has(LookKind::Topics) { Vec::new() } else { vec![Look::Topics(names)] };
        };
        let partitions = request.selected(topics);
        // Without a leader its log is not asked for: the client would look for one until the deadline.
        if partitions.is_empty() || !matches!(self.seen.log, Observed::Unread) {
            return Vec::new();
        }
        vec![Look::Committed(partitions.clone()), Look::Logs { partitions, time: request.to.looks_up() }]
    }
}
