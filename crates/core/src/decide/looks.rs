//! What to look at next, from what was seen so far. A pass asks until nothing is left to look at; each kind of look is made once
//! in a pass, what is costly only where a step could follow from it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use strum::EnumDiscriminants;

use super::precedence::{self, Names};
use crate::{
    Activity, Desired, Now, Observation, Observed, OlderPipeline, PlanState, PriorStatus, ReadBackTime, RecordView, Request, RunState,
    SendOutcome, Timing, TopicPartition, retry_asked,
};
use stream_pipeline_api::{BackendIdentity, OffsetResetStatus, OnUnknownOutcome, Reason, RecordPhase, Stage, WhenActive};

/// One look. What is looked at on the platform is looked at where the record of [`Observation::superseded`] was carried out, if there
/// is one, else where the spec says.
#[derive(Clone, Debug, EnumDiscriminants)]
#[strum_discriminants(name(LookKind), derive(PartialOrd, Ord))]
pub enum Look {
    /// The records of this StreamPipeline that are not known to be over, in the order of their names.
    OpenRecords,
    /// Live: the records of this StreamPipeline of which something may be left to bring back.
    NeedingResume,
    /// Where the pipeline is; known where that takes no look.
    Identity {
        known: Option<BackendIdentity>,
    },
    /// The record of the request.
    Record(Names),
    /// What the pipeline does, and all that its group has committed. What is remembered from before `since` does not count.
    Activity {
        since: Instant,
    },
    /// What the pipeline does, and nothing else.
    ActivityAlone,
    /// Which StreamPipeline of the namespace comes before this one, as far as the watch tells.
    OlderPipeline,
    /// Live: the same, for an object that is young, or was not looked at before.
    OlderPipelineLive,
    /// StreamPipelines of other namespaces that have read the same group.
    Elsewhere,
    /// Live: the records of this group in the namespace, but for the one of this name, that are not known to be over.
    GroupRecords {
        backend: BackendIdentity,
        but: String,
    },
    /// Live: whether a StreamPipeline of the record's name is there; the first of which none is.
    Orphan(Vec<RecordView>),
    /// Live: the records of the namespace, but for the one of this name, that are not known to be over.
    NamespaceRecords {
        but: String,
    },
    /// What would be recorded before the pipeline is stopped.
    RunStateBefore,
    /// Whether what the operator stopped, or is to stop, runs.
    RunState,
    /// The newest position as the platform reports it. `running`: the pipeline runs, so that it is worth remembering.
    Sample {
        running: bool,
    },
    /// The same for a pipeline that runs again after its reset.
    SampleAfterStart,
    Topics(Vec<String>),
    /// What is committed for these partitions.
    Committed(Vec<TopicPartition>),
    Logs {
        partitions: Vec<TopicPartition>,
        time: Option<Timestamp>,
    },
    /// Where the platform is now, long after something was sent there.
    Place,
    /// Live: the StreamPipeline itself.
    Live,
}

/// What to look at next; nothing where everything is seen that this pass needs.
pub fn looks(desired: &Desired, prior: &PriorStatus, seen: &Observation, timing: &Timing, now: Now) -> Vec<Look> {
    let mut looks = Looking { desired, prior, seen, timing, now }.next();
    looks.retain(|look| !seen.looked.contains(&LookKind::from(look)) || matches!(look, Look::Record(_)));
    looks
}

struct Looking<'a> {
    desired: &'a Desired,
    prior: &'a PriorStatus,
    seen: &'a Observation,
    timing: &'a Timing,
    now: Now,
}

impl Looking<'_> {
    fn next(&self) -> Vec<Look> {
        if !self.has(LookKind::OpenRecords) {
            let owed = self.desired.has_finalizer.then_some(Look::NeedingResume);
            return [Some(Look::OpenRecords), owed].into_iter().flatten().collect();
        }
        if let Some(left) = &self.seen.superseded {
            return self.after_send(&left.record, &left.committed);
        }
        match self.desired.asked() {
            Some(request) => self.request(request),
            None => self.at_rest(),
        }
    }

    fn has(&self, kind: LookKind) -> bool {
        self.seen.looked.contains(&kind)
    }

    fn own(&self) -> Option<&RecordView> {
        self.seen.record.get().and_then(Option::as_ref)
    }

    fn request(&self, request: &Request) -> Vec<Look> {
        if self.own().is_none() && self.is_settled(request) {
            let rest = self.at_rest();
            // Once it runs again the platform can say where it reads.
            let compare = self.awaits_start() && self.is_active();
            if !rest.is_empty() || !compare {
                return rest;
            }
        } else if !self.has(LookKind::Identity) {
            return vec![Look::Identity { known: None }];
        }
        // Also where the platform does not say where the pipeline is, or that it is gone: an end is not told beside an open record.
        if matches!(self.seen.record, Observed::Unread) {
            let identity = self.named_by();
            return vec![Look::Record(precedence::names(self.desired, request, identity.as_ref(), self.seen.record_name.as_deref()))];
        }
        match self.own() {
            Some(record) => self.with_record(request, record),
            None => self.for_plan(request, None),
        }
    }

    /// The identity that records of this object are named by: the one seen first.
    fn named_by(&self) -> Option<BackendIdentity> {
        self.desired.backend.known_identity(self.prior).or_else(|| self.seen.identity.get().cloned())
    }

    /// It ended, and nothing was changed since: nothing needs to be known about it.
    fn is_settled(&self, request: &Request) -> bool {
        let retry = request.on_unknown_outcome == OnUnknownOutcome::Retry;
        let last = self.prior.of_request(&request.id, request.dry_run).filter(|last| last.stage.is_final());
        // Looked at for as long as the status tells it as paused, or of something that is still to be done.
        let told = |last: &OffsetResetStatus| self.prior.under_way || last.paused_by_operator.is_some();
        last.is_some_and(|last| !(self.prior.spec_changed || told(last) || retry && last.stage == Stage::Held))
    }

    /// Its reset was accepted and cannot be proven before the pipeline's next start.
    fn awaits_start(&self) -> bool {
        let sent = self.prior.last.as_ref().is_some_and(|last| last.stage == Stage::Sent);
        sent && self.prior.last_reason == Some(Reason::NoReadBackWhilePaused)
    }

    fn is_active(&self) -> bool {
        self.seen.activity.get().is_some_and(Activity::is_active)
    }

    /// What the pipeline does, and the looks that count towards a later quiet period.
    fn at_rest(&self) -> Vec<Look> {
        if !self.has(LookKind::Identity) {
            return vec![Look::Identity { known: self.desired.backend.known_identity(self.prior) }];
        }
        if self.seen.identity.get().is_none() || self.has(LookKind::Activity) {
            return Vec::new();
        }
        // Whether it runs again is not told from a look before.
        let interval = if self.own().is_some_and(RecordView::needs_resume) { Duration::ZERO } else { self.timing.list_interval };
        vec![Look::Activity { since: self.now.mono.checked_sub(interval).unwrap_or(self.now.mono) }]
    }

    fn activity(&self) -> Look {
        Look::Activity { since: self.now.mono }
    }

    /// What a plan is made from; the costly parts only where it could be made now.
    fn for_plan(&self, request: &Request, own: Option<&RecordView>) -> Vec<Look> {
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

    fn with_record(&self, request: &Request, record: &RecordView) -> Vec<Look> {
        match &record.state {
            PlanState::Absent => self.for_plan(request, Some(record)),
            PlanState::OursUnsent { .. } => second_look(record),
            PlanState::OursSent { .. } | PlanState::InDoubt { .. } => {
                let looks = self.after_send(record, &self.seen.committed);
                if let (Some(_), Some(plan), false) = (self.seen.committed.get(), record.plan(), self.has(LookKind::Topics)) {
                    // What came to them since the plan.
                    let topics = Look::Topics(plan.topic_ids.keys().cloned().collect());
                    return looks.into_iter().chain([topics]).collect();
                }
                looks
            }
            PlanState::Closed if retry_asked(request, record) => {
                if !self.has(LookKind::Activity) {
                    return vec![self.activity()];
                }
                let again = record.plan().filter(|_| self.seen.activity.get().is_some());
                let committed = again.map(|plan| Look::Committed(plan.partitions()));
                committed.into_iter().chain([group_records(record)]).collect()
            }
            PlanState::Closed if record.needs_resume() => {
                [Some(self.activity()), Some(Look::RunState), self.log_before_start(record)].into_iter().flatten().collect()
            }
            PlanState::Closed => self.after_start(record),
        }
    }

    /// What an open record needs to be judged, or one that nobody asks for any more to be closed: what became of what was sent, what the pipeline
    /// does right after, and whether what was stopped runs.
    fn after_send(&self, record: &RecordView, committed: &Observed<crate::Committed>) -> Vec<Look> {
        let mut looks = Vec::new();
        if let (Some(in_doubt), Some(plan)) = (self.is_read_back(record), record.plan().filter(|plan| !plan.rows.is_empty())) {
            // Long after the send the brokers may be others.
            if in_doubt && !self.has(LookKind::Place) {
                looks.push(Look::Place);
            } else if matches!(committed, Observed::Unread) {
                looks.push(Look::Committed(plan.partitions()));
            }
        }
        let accepted = matches!(&record.state, PlanState::OursSent { answer: SendOutcome::Answered { .. }, .. });
        if accepted && self.desired.facts.read_back == ReadBackTime::AfterStart {
            looks.push(Look::ActivityAlone);
        }
        if record.pauses().is_some() && matches!(record.state, PlanState::Absent | PlanState::Closed) {
            looks.push(Look::RunState);
        }
        looks.retain(|look| !self.has(look.into()));
        looks
    }

    /// Whether it is time to read back what was sent; Some(true): after a doubt.
    fn is_read_back(&self, record: &RecordView) -> Option<bool> {
        let over = |since: Instant| (since + self.timing.doubt() <= self.now.mono).then_some(true);
        match &record.state {
            PlanState::OursSent { answer: SendOutcome::Answered { .. }, .. } => Some(false),
            PlanState::OursSent { answer: SendOutcome::Unanswered { ended, .. }, .. } => over(*ended),
            PlanState::InDoubt { since } => over(*since),
            PlanState::OursSent { answer: SendOutcome::NotApplied(_) | SendOutcome::Ambiguous(_), .. } => None,
            // What was sent before is told, also where nothing more is.
            PlanState::OursUnsent { .. } => (!record.is_first_send()).then_some(false),
            PlanState::Absent | PlanState::Closed => None,
        }
    }

    /// The logs of a plan that was read back, before what was stopped is started on them.
    fn log_before_start(&self, record: &RecordView) -> Option<Look> {
        let verified = record.object.status.as_ref().is_some_and(|s| s.reason == Reason::ResetVerified);
        let plan = record.plan().filter(|plan| verified && !plan.rows.is_empty() && record.calls.start.is_none())?;
        Some(Look::Logs { partitions: plan.partitions(), time: None })
    }

    /// The readings of a pipeline whose reset can only be seen once it runs.
    fn after_start(&self, record: &RecordView) -> Vec<Look> {
        let unproven =
            |s: &stream_pipeline_api::OffsetResetRecordStatus| s.phase == RecordPhase::Sent && s.reason == Reason::NoReadBackWhilePaused;
        if !record.object.status.as_ref().is_some_and(unproven) {
            return Vec::new();
        }
        match self.seen.activity {
            Observed::Unread => vec![self.activity()],
            _ if self.is_active() => vec![Look::SampleAfterStart],
            _ => Vec::new(),
        }
    }
}

/// Everything again, live (docs/design/protocol.md, step 2).
fn second_look(record: &RecordView) -> Vec<Look> {
    let partitions = record.plan().map(|plan| plan.partitions()).unwrap_or_default();
    let topics = record.plan().map(|plan| plan.topic_ids.keys().cloned().collect()).unwrap_or_default();
    vec![Look::Live, group_records(record), Look::ActivityAlone, Look::Committed(partitions), Look::Topics(topics)]
}

fn group_records(record: &RecordView) -> Look {
    Look::GroupRecords { backend: record.object.spec.backend.clone(), but: record.name().to_owned() }
}

/// Whether this request's pipeline was seen to have stopped for it, and not for another one that comes before.
pub fn is_seen_stopped(seen: &Observation) -> Option<&RecordView> {
    let own = seen.record.get().and_then(Option::as_ref).filter(|own| matches!(own.state, PlanState::Absent))?;
    let stopped = matches!(seen.run_state, Observed::Read(RunState::Stopped)) && seen.conflicting_records.get().is_some_and(Vec::is_empty);
    stopped.then_some(own)
}
