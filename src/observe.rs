//! Looks at what this pass needs, and at nothing else. Reads only; a failed read is a value in the `Observation`.

use std::time::Duration;

use crate::api::{BackendIdentity, Reason, Stage};
use crate::backend::kafka::Kafka;
use crate::context::Context;
use crate::domain::{
    Answer, Cause, Committed, Desired, Group, Leftover, Now, Observation, Plan, PlanState, Progress, Reading, RecordLook, Request, Target,
    TopicPartition,
};
use crate::ledger::record_name;

/// See the module.
pub async fn observe(ctx: &Context, desired: &Desired, progress: &Progress, now: Now) -> Observation {
    let mut seen = Observation { draining: ctx.shutdown.is_cancelled(), ..Observation::default() };
    let kafka = match ctx.backend(desired) {
        Ok(kafka) => kafka,
        Err(cause) => {
            seen.cluster_id = Reading::Unreadable(cause);
            return seen;
        }
    };
    let look = Look { ctx, desired, progress, kafka, now };
    match look.open_records().await {
        Err(cause) => seen.record = Reading::Unreadable(cause),
        Ok((_, Some(left))) => {
            let committed = look.read_back(&left).await;
            seen.leftover = Some(Leftover { look: left, committed });
            return seen;
        }
        Ok((Some(own), None)) => seen.record = Reading::Read(Some(own)),
        Ok((None, None)) => {}
    }
    look.request(&mut seen).await;
    seen
}

struct Look<'a> {
    ctx: &'a Context,
    desired: &'a Desired,
    progress: &'a Progress,
    kafka: Kafka,
    now: Now,
}

impl Look<'_> {
    /// The open record of the current request, and one that is not of it.
    async fn open_records(&self) -> Result<(Option<RecordLook>, Option<RecordLook>), Cause> {
        let object = &self.desired.object;
        let mut own = None;
        for name in self.ctx.open_records(object) {
            let Some(record) = self.ctx.ledger.get(&object.namespace, &name).await? else { continue };
            let state = self.ctx.memory.state_of(&record, self.now.mono);
            let look = RecordLook { object: record, state };
            if matches!(look.state, PlanState::Closed) {
                continue;
            }
            let request = &look.object.spec.request;
            let same_kind = request.dry_run == self.desired.request.as_ref().and_then(|r| r.as_ref().ok()).and_then(|r| r.written.dry_run);
            if Some(&request.id) == self.desired.id.as_ref() && same_kind {
                own = Some(look);
            } else if request.dry_run != Some(true) {
                return Ok((own, Some(look)));
            }
        }
        Ok((own, None))
    }

    async fn request(&self, seen: &mut Observation) {
        let request = self.desired.request.as_ref().and_then(|r| r.as_ref().ok());
        let Some(request) = request.filter(|r| seen.record.get().is_some() || !self.is_settled(r)) else { return self.at_rest(seen).await };
        seen.cluster_id = self.kafka.cluster_id().await.into();
        if let (Reading::Unread, Some(cluster_id)) = (&seen.record, self.progress.cluster_id.as_ref().or(seen.cluster_id.get())) {
            seen.record = self.record(request, cluster_id).await.into();
        }
        match seen.record.get().cloned().flatten() {
            Some(record) => self.with_record(seen, request, &record).await,
            None => self.for_plan(seen, request).await,
        }
    }

    /// The record of this request, open or closed.
    async fn record(&self, request: &Request, cluster_id: &str) -> Result<Option<RecordLook>, Cause> {
        let backend = BackendIdentity { cluster_id: cluster_id.to_owned(), consumer_group: self.desired.backend.group.clone() };
        let name = record_name(&self.desired.object, &backend, request);
        // A name says nothing: the record is adopted only if the id stored in it is the same.
        let found = self.ctx.ledger.get(&self.desired.object.namespace, &name).await?.filter(|record| record.spec.request.id == request.id);
        Ok(found.map(|object| RecordLook { state: self.ctx.memory.state_of(&object, self.now.mono), object }))
    }

    /// It ended, and nothing was changed since: nothing needs to be known about it.
    fn is_settled(&self, request: &Request) -> bool {
        let retry = request.on_unknown_outcome == crate::api::OnUnknownOutcome::Retry;
        let last = self.progress.of_request(&request.id).filter(|last| last.stage.is_final());
        last.is_some_and(|last| !(self.progress.spec_changed || retry && last.stage == Stage::Held))
    }

    /// What the pipeline does, and the looks that count towards a later quiet period.
    async fn at_rest(&self, seen: &mut Observation) {
        if let Some(first) = &self.progress.cluster_id {
            seen.cluster_id = Reading::Read(first.clone());
        } else {
            seen.cluster_id = self.kafka.cluster_id().await.into();
            if seen.cluster_id.get().is_none() {
                return;
            }
        }
        self.group(seen).await;
    }

    async fn group(&self, seen: &mut Observation) {
        let (group, committed) = tokio::join!(self.kafka.group(), self.kafka.committed(None));
        if let (Ok(group), Ok(committed)) = (&group, &committed) {
            seen.quiet = self.note(group, committed);
        }
        seen.group = group.into();
        seen.committed = committed.into();
    }

    fn note(&self, group: &Group, committed: &Committed) -> crate::domain::Quiet {
        let period = self.desired.request.as_ref().and_then(|r| r.as_ref().ok()).map_or(Duration::MAX, |r| r.quiet_period);
        self.ctx.memory.note_look(&self.desired.object.namespace, &self.desired.backend, group, committed, period, self.now.mono)
    }

    async fn with_record(&self, seen: &mut Observation, request: &Request, record: &RecordLook) {
        match &record.state {
            PlanState::Absent => self.for_plan(seen, request).await,
            PlanState::OursUnsent { .. } => self.second_look(seen, record).await,
            PlanState::OursSent { .. } | PlanState::InDoubt { .. } => seen.committed = self.read_back(record).await,
            PlanState::Closed if crate::domain::retry_asked(request, record) => {
                self.group(seen).await;
                if let (Some(plan), true) = (record.plan(), seen.group.get().is_some()) {
                    seen.committed = self.kafka.committed(Some(&plan.partitions())).await.into();
                }
                seen.rivals = self.rivals(record).await;
            }
            PlanState::Closed => {}
        }
    }

    async fn rivals(&self, record: &RecordLook) -> Reading<Vec<String>> {
        let name = record.object.metadata.name.as_deref().unwrap_or_default();
        self.ctx.ledger.rivals(&record.object.spec.backend, name, &self.ctx.memory).await.into()
    }

    /// Everything again, live (protocol.md, step 2).
    async fn second_look(&self, seen: &mut Observation, record: &RecordLook) {
        let plan = record.plan().unwrap_or_default();
        let (partitions, topics): (Vec<TopicPartition>, Vec<String>) = (plan.partitions(), plan.topic_ids.keys().cloned().collect());
        let id = &record.object.spec.request.id;
        let (wanted, rivals, group, committed, topics) = tokio::join!(
            self.ctx.ledger.is_wanted(&self.desired.object, id),
            self.rivals(record),
            self.kafka.group(),
            self.kafka.committed(Some(&partitions)),
            self.kafka.topics(&topics),
        );
        seen.wanted = wanted.into();
        seen.rivals = rivals;
        seen.group = group.into();
        seen.committed = committed.into();
        seen.topics = topics.into();
    }

    /// The commits of a plan's partitions, when it is time to look at them.
    async fn read_back(&self, record: &RecordLook) -> Reading<Committed> {
        let doubt_ends = match &record.state {
            PlanState::OursSent { answer: Answer::Definite { .. }, .. } => None,
            PlanState::OursSent { answer: Answer::None { ended, .. }, .. } => Some(*ended + self.ctx.timing.doubt()),
            PlanState::InDoubt { since } => Some(*since + self.ctx.timing.doubt()),
            PlanState::OursUnsent { .. } | PlanState::Absent | PlanState::Closed => return Reading::Unread,
        };
        let plan = record.plan().unwrap_or_default();
        if doubt_ends.is_some_and(|end| end > self.now.mono) || plan == Plan::default() {
            return Reading::Unread;
        }
        self.where_it_hit(record, &plan, doubt_ends.is_some()).await.into()
    }

    /// The commits of the record's own group, which an earlier object of this name may have chosen otherwise.
    async fn where_it_hit(&self, record: &RecordLook, plan: &Plan, in_doubt: bool) -> Result<Committed, Cause> {
        let BackendIdentity { cluster_id, consumer_group } = &record.object.spec.backend;
        let mut desired = self.desired.clone();
        desired.backend.group.clone_from(consumer_group);
        let kafka = self.ctx.backend(&desired)?;
        if in_doubt {
            // Long after the send the brokers may be others.
            let found = kafka.cluster_id().await?;
            if found != *cluster_id {
                let text = format!(
                    "the record is of cluster {cluster_id}, the brokers now answer as {found}: what was sent there cannot be looked at"
                );
                return Err(Cause::new(Reason::ClusterChanged, text));
            }
        }
        kafka.committed(Some(&plan.partitions())).await
    }

    /// What a plan is made from; the log only when it could be made now.
    async fn for_plan(&self, seen: &mut Observation, request: &Request) {
        if seen.cluster_id.get().is_none() || seen.draining {
            return;
        }
        self.group(seen).await;
        let (Some(group), Some(committed)) = (seen.group.get(), seen.committed.get()) else { return };
        let ready = group.is_inactive() && seen.quiet.is_enough(request.quiet_period) && !committed.values().any(|c| c.pending);
        if !ready && !request.dry_run {
            return;
        }
        if !request.dry_run {
            let Some(cluster_id) = seen.cluster_id.get() else { return };
            let backend = BackendIdentity { cluster_id: cluster_id.clone(), consumer_group: self.desired.backend.group.clone() };
            let own = record_name(&self.desired.object, &backend, request);
            seen.rivals = self.ctx.ledger.rivals(&backend, &own, &self.ctx.memory).await.into();
        }
        let mut names: Vec<String> = match &request.topics {
            Some(selection) => selection.keys().cloned().collect(),
            None => committed.keys().map(|at| at.topic.clone()).collect(),
        };
        names.dedup();
        seen.topics = self.kafka.topics(&names).await.into();
        let Some(topics) = seen.topics.get() else { return };
        let all = topics
            .iter()
            .flat_map(|(name, topic)| topic.iter().flat_map(move |t| t.partitions.keys().map(move |p| TopicPartition::new(name, *p))));
        let selected: Vec<TopicPartition> = all.filter(|at| request.selects(at)).collect();
        let leaderless = topics.values().flatten().any(|t| t.partitions.values().any(|led| !led));
        if selected.is_empty() || leaderless {
            return;
        }
        let time = if let Target::Timestamp(time) = request.to { Some(time) } else { None };
        let (committed, log) = tokio::join!(self.kafka.committed(Some(&selected)), self.kafka.log(&selected, time, self.now.wall));
        seen.committed = committed.into();
        seen.log = log.into();
    }
}
