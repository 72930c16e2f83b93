//! The looks that a plan is made from, and those that tell who goes first.

use super::{Look, LookKind, Looking};
use crate::{Change, Observed, OlderPipeline, RecordView, Request};
use stream_pipeline_api::{BackendIdentity, WhenActive};

impl Looking<'_> {
    /// What a plan is made from; the costly looks only where a plan could be made now.
    pub(super) fn for_plan(&self, request: &Request, own: Option<&RecordView>) -> Vec<Look> {
        let Some(identity) = self.seen.identity.get().filter(|_| !self.seen.draining) else { return Vec::new() };
        if !self.has(LookKind::Activity) {
            return vec![self.activity()];
        }
        // A request that has its record goes on, or two would wait for each other. A pipeline that cannot be reached reports that first.
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
        // Before anything is stopped for them.
        if let (Some(source), true, false) = (request.to.source(), ready || stops || request.dry_run, self.has(LookKind::Numbers)) {
            return vec![Look::Numbers(source)];
        }
        if !request.dry_run && (ready || stops) {
            let others = self.others(request, own, identity, stops, first);
            if !others.is_empty() {
                return others;
            }
            let conflicts = &self.seen.conflicts;
            if !conflicts.is_empty() && !self.has(LookKind::Orphan) {
                return vec![Look::Orphan(conflicts.clone())];
            }
            if first && !self.seen.is_first && self.is_next() {
                // The watch caches may still lack objects that were created at the same time as this one.
                let young = |created| !self.prior.seen_before || OlderPipeline::is_young(created, self.now.wall);
                if self.desired.created.is_some_and(young) && !self.has(LookKind::OlderPipelineLive) {
                    return vec![Look::OlderPipelineLive];
                }
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
        if ready || request.dry_run { self.snapshot(request, identity) } else { Vec::new() }
    }

    /// Whether no other request is in the way, as far as was looked. The live list of the namespace is costly, so it comes last.
    fn is_next(&self) -> bool {
        let none = |names: &Observed<Vec<String>>| names.cause().is_none() && names.get().is_none_or(Vec::is_empty);
        none(&self.seen.conflicting_records) && none(&self.seen.shared_workloads) && self.seen.before.cause().is_none()
    }

    /// Who else works on the same group or workloads, and then what runs the pipeline: a workload that another request has just brought
    /// back would be counted as it was before. One list after the other, since the first one makes closed records known.
    fn others(&self, request: &Request, own: Option<&RecordView>, identity: &BackendIdentity, stops: bool, first: bool) -> Vec<Look> {
        let pauses = request.when_active == WhenActive::Pause && self.desired.facts.run_state;
        let but = || own.map(|r| r.name().to_owned()).or_else(|| self.seen.record_name.clone()).unwrap_or_default();
        // After a stop it tells what may have started it again.
        let before = stops && self.desired.facts.run_state && own.is_none_or(|own| own.calls.was_down);
        // What nothing is stopped for is only recorded now, and the second look lists live what the watch has not told yet.
        let live = stops || !first;
        let in_turn = [
            Some(Look::GroupRecords { backend: identity.clone(), but: but(), live }),
            first.then_some(Look::Elsewhere),
            pauses.then(|| Look::NamespaceRecords { but: but() }),
            before.then_some(Look::RunStateBefore),
        ];
        in_turn.into_iter().flatten().find(|look| !self.has(look.into())).into_iter().collect()
    }

    /// Topics, and then what is committed in the selected partitions and how far their logs go.
    fn snapshot(&self, request: &Request, identity: &BackendIdentity) -> Vec<Look> {
        let request = self.seen.resolved(request);
        if request.to.source().is_some() {
            return Vec::new();
        }
        let Some(topics) = self.seen.topics.get() else {
            let mut names: Vec<String> = match &request.topics {
                Some(selection) => selection.keys().cloned().collect(),
                None => self.seen.committed.get().into_iter().flat_map(|c| c.keys().map(|at| at.topic.clone())).collect(),
            };
            names.dedup();
            let committed = self.seen.committed.get();
            let to = Change::of(request.to.deletes(|at| committed.is_some_and(|committed| committed.contains_key(at))));
            return if self.has(LookKind::Topics) { Vec::new() } else { vec![Look::Topics { names, to }] };
        };
        let partitions = request.selected(topics);
        // The log is not asked for before all leaders are known: without a leader the client would search for one until the deadline.
        if partitions.is_empty() || !matches!(self.seen.log, Observed::Unread) {
            return Vec::new();
        }
        let made_at = self.own().map_or(self.now.wall, |own| own.object.spec.created_at);
        // Before the logs: they grow, and the other group may read what has come since.
        if let (Some(other), false) = (request.to.other_group(), self.has(LookKind::OtherGroup)) {
            return identity.beside(other).map(|place| Look::OtherGroup { place, partitions }).into_iter().collect();
        }
        vec![Look::Committed(partitions.clone()), Look::Logs { partitions, time: request.to.looks_up(made_at) }]
    }
}
