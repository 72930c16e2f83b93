//! What a record's state needs to be seen: the second look before the send, where the plan hit, the run state that is owed.

use std::collections::BTreeMap;

use super::{Look, named, own_name};
use crate::api::{Reason, RecordPhase};
use crate::backend::Platform;
use crate::domain::{
    Activity, Cause, Committed, LogBounds, Observation, Observed, Plan, PlanState, ReadBackTime, RecordView, Request, RunState,
    SendOutcome, TopicPartition, retry_asked,
};

impl Look<'_> {
    pub(super) async fn with_record(&self, seen: &mut Observation, request: &Request, record: &RecordView) {
        let since = self.now.mono;
        match &record.state {
            PlanState::Absent => self.for_plan(seen, request, Some(record)).await,
            PlanState::OursUnsent { .. } => self.second_look(seen, record).await,
            PlanState::OursSent { .. } | PlanState::InDoubt { .. } => {
                seen.committed = self.read_back(&self.platform, record).await;
                if let (Some(_), Some(plan)) = (seen.committed.get(), record.plan()) {
                    // What came to them since the plan.
                    let names: Vec<String> = plan.topic_ids.keys().cloned().collect();
                    seen.topics = self.platform.topics(&names).await.into();
                }
                seen.activity = self.right_after(&self.platform, record).await;
            }
            PlanState::Closed if retry_asked(request, record) => {
                self.activity(seen, since).await;
                if let (Some(plan), true) = (record.plan(), seen.activity.get().is_some()) {
                    seen.committed = self.platform.committed(&plan.partitions()).await.into();
                }
                seen.conflicting_records = self.conflicting_records(record).await;
            }
            PlanState::Closed if record.needs_resume() => {
                self.activity(seen, since).await;
                seen.run_state = self.run_state(&self.platform, record).await;
                seen.log = self.log_before_start(record).await;
            }
            PlanState::Closed => self.after_start(seen, record).await,
        }
    }

    /// The logs of a plan that was read back, before what was stopped is started on them.
    async fn log_before_start(&self, record: &RecordView) -> Observed<BTreeMap<TopicPartition, LogBounds>> {
        let verified = record.object.status.as_ref().is_some_and(|s| s.reason == Reason::ResetVerified);
        match record.plan().filter(|plan| verified && !plan.rows.is_empty() && record.calls.start.is_none()) {
            Some(plan) => self.platform.log(&plan.partitions(), None, self.now.wall).await.into(),
            None => Observed::Unread,
        }
    }

    /// The readings of a pipeline whose reset can only be seen once it runs.
    async fn after_start(&self, seen: &mut Observation, record: &RecordView) {
        if !record.object.status.as_ref().is_some_and(|s| s.phase == RecordPhase::Sent && s.reason == Reason::NoReadBackWhilePaused) {
            return;
        }
        if seen.activity.get().is_none() {
            self.activity(seen, self.now.mono).await;
        }
        if !seen.activity.get().is_some_and(Activity::is_active) {
            return;
        }
        seen.reading = self.platform.reading().await.ok().flatten();
        let mut look = record.clone();
        look.calls.running = Some(self.ctx.process_state.note_running(&look.object, self.now, seen.reading.map(|r| r.at)));
        seen.record = Observed::Read(Some(look));
    }

    pub(super) async fn conflicting_records(&self, record: &RecordView) -> Observed<Vec<String>> {
        let name = record.object.metadata.name.as_deref().unwrap_or_default();
        let (namespace, backend) = (&self.desired.object.namespace, &record.object.spec.backend);
        let open =
            self.ctx.record_store.conflicting_records(namespace, backend, (name, Some(&record.object)), &self.ctx.process_state).await;
        open.map(|open| open.iter().map(named).collect()).into()
    }

    /// What another record keeps stopped of what this request would stop.
    pub(super) async fn shared_workloads(&self, seen: &Observation, own: Option<&RecordView>) -> Observed<Vec<String>> {
        let (object, name) = (&self.desired.object, own_name(seen, own));
        let own = (name.as_str(), own.map(|r| &r.object));
        self.ctx
            .record_store
            .shared_workloads(&object.namespace, self.desired.backend.workloads(), own, &self.ctx.process_state)
            .await
            .into()
    }

    /// A record that stands in the way and that nobody else looks after.
    pub(super) async fn orphan(&self, conflicting_records: &[RecordView]) -> Option<RecordView> {
        for look in conflicting_records {
            if self.ctx.record_store.is_orphan(&look.object).await.unwrap_or(false) {
                return Some(look.clone());
            }
        }
        None
    }

    /// Everything again, live (protocol.md, step 2).
    async fn second_look(&self, seen: &mut Observation, record: &RecordView) {
        let none = Plan::default();
        let plan = record.plan().unwrap_or(&none);
        let (partitions, topics): (Vec<TopicPartition>, Vec<String>) = (plan.partitions(), plan.topic_ids.keys().cloned().collect());
        let id = &record.object.spec.request.id;
        let (wanted, conflicting_records, activity, committed, topics) = tokio::join!(
            self.ctx.record_store.is_wanted(&self.desired.object, id, record.attempt() > 1),
            self.conflicting_records(record),
            self.platform.activity_alone(self.now.mono),
            self.platform.committed(&partitions),
            self.platform.topics(&topics),
        );
        seen.wanted = wanted.into();
        seen.conflicting_records = conflicting_records;
        seen.activity = activity.into();
        seen.committed = committed.into();
        seen.topics = topics.into();
    }

    /// Whether what the operator stopped, or is to stop, runs.
    pub(super) async fn run_state(&self, at: &Platform, record: &RecordView) -> Observed<RunState> {
        match record.pauses() {
            Some(before) if matches!(record.state, PlanState::Absent | PlanState::Closed) => {
                at.run_state(before, self.now.mono).await.into()
            }
            _ => Observed::Unread,
        }
    }

    /// The state of a pipeline right after its reset.
    pub(super) async fn right_after(&self, at: &Platform, record: &RecordView) -> Observed<Activity> {
        let accepted = matches!(&record.state, PlanState::OursSent { answer: SendOutcome::Answered { .. }, .. });
        let counts = accepted && self.facts.read_back == ReadBackTime::AfterStart;
        if counts { at.activity_alone(self.now.mono).await.into() } else { Observed::Unread }
    }

    /// The commits of a plan's partitions, when it is time to look at them.
    pub(super) async fn read_back(&self, at: &Platform, record: &RecordView) -> Observed<Committed> {
        let doubt_ends = match &record.state {
            PlanState::OursSent { answer: SendOutcome::Answered { .. }, .. } => None,
            PlanState::OursSent { answer: SendOutcome::Unanswered { ended, .. }, .. } => Some(*ended + self.ctx.timing.doubt()),
            PlanState::InDoubt { since } => Some(*since + self.ctx.timing.doubt()),
            PlanState::OursSent { answer: SendOutcome::NotApplied(_) | SendOutcome::Ambiguous(_), .. } => return Observed::Unread,
            // What was sent before is told, also where nothing more is.
            PlanState::OursUnsent { .. } if !record.is_first_send() => None,
            PlanState::OursUnsent { .. } | PlanState::Absent | PlanState::Closed => return Observed::Unread,
        };
        let none = Plan::default();
        let plan = record.plan().unwrap_or(&none);
        if doubt_ends.is_some_and(|end| end > self.now.mono) || plan.rows.is_empty() {
            return Observed::Unread;
        }
        self.where_it_hit(at, record, plan, doubt_ends.is_some()).await.into()
    }

    async fn where_it_hit(&self, at: &Platform, record: &RecordView, plan: &Plan, in_doubt: bool) -> Result<Committed, Cause> {
        if in_doubt {
            // Long after the send the brokers may be others.
            let (made, found) = (&record.object.spec.backend, at.identity(self.now.mono).await?);
            if found != *made {
                let text = format!(
                    "the record is of {}, the backend now answers as {}: what was sent there cannot be looked at",
                    made.parts().join("/"),
                    found.parts().join("/")
                );
                return Err(Cause::new(Reason::ClusterChanged, text));
            }
        }
        at.committed(&plan.partitions()).await
    }
}
