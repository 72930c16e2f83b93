//! What to look at next, given what was seen so far. A pass asks until nothing is left to look at. Each kind of look is made once in a
//! pass, and a costly one only where a step could follow from it.

mod for_plan;
mod with_record;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use strum::EnumDiscriminants;

use super::precedence::{self, Names};
use crate::target::Source;
use crate::{
    Activity, Change, Desired, Now, Observation, Observed, PlanState, PriorStatus, RecordView, Request, RunState, Timing, TopicPartition,
};
use stream_pipeline_api::{BackendIdentity, LagSample, OffsetResetStatus, OnUnknownOutcome, Reason, Stage};

/// One look. Looks at the platform go to the pipeline of the record in [`Observation::superseded`], if there is one, else to the one that
/// the spec names.
#[derive(Clone, Debug, EnumDiscriminants)]
#[strum_discriminants(name(LookKind), derive(PartialOrd, Ord))]
pub enum Look {
    /// The records of this StreamPipeline that are not known to be over, in the order of their names.
    OpenRecords,
    /// Live: the records of this StreamPipeline whose pipeline may still have to be brought back.
    NeedingResume,
    /// Where the pipeline is. `known`: the answer, where it takes no look.
    Identity {
        known: Option<BackendIdentity>,
    },
    /// The record of the request.
    Record(Names),
    /// What the pipeline does, and all that its group has committed. An answer from the cache counts only if it is not older than `since`.
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
    /// The records of this group in the namespace, but for the one of this name, that are not known to be over. `live`: not only those
    /// that the watch has told of.
    GroupRecords {
        backend: BackendIdentity,
        but: String,
        live: bool,
    },
    /// Live: the first of these records whose StreamPipeline no longer exists.
    Orphan(Vec<RecordView>),
    /// Live: the records of the namespace, but for the one of this name, that are not known to be over.
    NamespaceRecords {
        but: String,
    },
    /// What would be recorded before the pipeline is stopped.
    RunStateBefore,
    /// Whether what the operator stopped, or is to stop, runs.
    RunState,
    /// The newest position as the platform reports it. `running`: the pipeline runs, so the position is worth remembering.
    Sample {
        running: bool,
    },
    /// The newest position of a pipeline that runs again after its reset.
    SampleAfterStart,
    /// Another record of this pipeline whose reset may explain a difference to the reading `before`, among those that changed after
    /// `since`; but for the one of this name. What changed earlier was done before that reading.
    OtherReset {
        backend: BackendIdentity,
        but: String,
        before: LagSample,
        since: Timestamp,
    },
    /// Live: what holds the numbers of the target.
    Numbers(Source),
    /// The group whose position is copied: what it does, and what is committed for these partitions.
    OtherGroup {
        place: BackendIdentity,
        partitions: Vec<TopicPartition>,
    },
    /// `to`: what the group is then to be moved by, which takes rights.
    Topics {
        names: Vec<String>,
        to: Change,
    },
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

impl Look {
    /// Whether it is the last look before a plan could be made, and sent.
    pub fn is_last_before_plan(&self) -> bool {
        matches!(self, Look::Sample { running: false })
    }
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
            return vec![Look::OpenRecords];
        }
        // After them, since they make closed records known.
        if self.desired.has_finalizer && !self.has(LookKind::NeedingResume) {
            return vec![Look::NeedingResume];
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
            // Only a running pipeline can be asked where it reads.
            let compare = self.awaits_start() && self.is_active();
            if !rest.is_empty() || !compare {
                return rest;
            }
        } else if !self.has(LookKind::Identity) && !self.own().is_some_and(is_unsent) {
            // Where it was seen before, its record's name is known.
            let known = self.desired.backend.known_identity(self.prior).filter(|_| matches!(self.seen.record, Observed::Unread));
            let record = known.map(|known| Look::Record(precedence::names(self.desired, request, Some(&known), None)));
            return [Some(Look::Identity { known: None }), record].into_iter().flatten().collect();
        }
        // Also where the pipeline's place is unknown or the pipeline is gone: no end may be reported while a record is still open.
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

    /// The request ended and nothing was changed since: no look at its record is needed.
    fn is_settled(&self, request: &Request) -> bool {
        let retry = request.on_unknown_outcome == OnUnknownOutcome::Retry;
        let last = self.prior.of_request(&request.id, request.dry_run).filter(|last| last.stage.is_final());
        // Something is left to do for as long as the status reports a pause or an unfinished step.
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

    /// What the pipeline does; these looks also count towards a later quiet period.
    fn at_rest(&self) -> Vec<Look> {
        if !self.has(LookKind::Identity) {
            return vec![Look::Identity { known: self.desired.backend.known_identity(self.prior) }];
        }
        if self.seen.identity.get().is_none() || self.has(LookKind::Activity) {
            return Vec::new();
        }
        // An older look does not show whether the pipeline runs again.
        let interval = if self.own().is_some_and(RecordView::needs_resume) { Duration::ZERO } else { self.timing.list_interval };
        vec![Look::Activity { since: self.now.mono.checked_sub(interval).unwrap_or(self.now.mono) }]
    }

    fn activity(&self) -> Look {
        Look::Activity { since: self.now.mono }
    }
}

/// It is looked at all at once.
fn is_unsent(record: &RecordView) -> bool {
    matches!(record.state, PlanState::OursUnsent { .. })
}

/// This request's record, if its pipeline was seen stopped for it and not for another request that goes first.
pub fn is_seen_stopped(seen: &Observation) -> Option<&RecordView> {
    let own = seen.record.get().and_then(Option::as_ref).filter(|own| matches!(own.state, PlanState::Absent))?;
    let stopped = matches!(seen.run_state, Observed::Read(RunState::Stopped)) && seen.conflicting_records.get().is_some_and(Vec::is_empty);
    stopped.then_some(own)
}
