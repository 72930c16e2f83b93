//! Looks at what this pass needs, and at nothing else. Reads only; a failed read is a value in the `Observation`.

mod record;

use std::time::Duration;

use kube::runtime::reflector::ObjectRef;

use crate::api::{BackendIdentity, OffsetResetStatus, Reason, Stage};
use crate::backend::Platform;
use crate::context::Context;
use crate::domain::{
    Activity, Cause, Desired, Now, Observation, Observed, OlderPipeline, PlatformFacts, PriorStatus, RecordView, Request, RunState,
    SupersededRecord, TopicPartition, Topics, words,
};
use crate::record_store::{former_record_name, name_after, record_name};

/// See the module.
pub async fn observe(ctx: &Context, desired: &Desired, prior: &PriorStatus, now: Now) -> Observation {
    let mut seen = Observation { draining: ctx.shutdown.is_cancelled(), outdated: ctx.definitions.outdated(), ..Observation::default() };
    if desired.has_finalizer {
        seen.needing_resume = ctx.record_store.needing_resume(&desired.object, &ctx.process_state).await.into();
    }
    let platform = ctx.platform(desired).await;
    seen.principal = platform.principal();
    let look = Look { ctx, desired, prior, platform, facts: desired.facts, now };
    match look.open_records().await {
        Err(cause) => seen.record = Observed::Unreadable(cause),
        Ok((_, Some(left))) => {
            seen.superseded = Some(look.superseded(left).await);
            return seen;
        }
        Ok((Some(own), None)) => seen.record = Observed::Read(Some(own)),
        Ok((None, None)) => {}
    }
    look.request(&mut seen).await;
    seen
}

struct Look<'a> {
    ctx: &'a Context,
    desired: &'a Desired,
    prior: &'a PriorStatus,
    platform: Platform,
    facts: PlatformFacts,
    now: Now,
}

impl Look<'_> {
    /// The record of the current request that is not over, and one that is not of it.
    async fn open_records(&self) -> Result<(Option<RecordView>, Option<RecordView>), Cause> {
        let object = &self.desired.object;
        let mut own = None;
        for name in self.ctx.open_records(object) {
            let Some(record) = self.ctx.record_store.get(&object.namespace, &name).await? else { continue };
            let look = self.ctx.process_state.look(record, self.now.mono);
            if look.is_over() {
                continue;
            }
            let request = &look.object.spec.request;
            let same_kind = request.is_dry_run() == self.desired.dry_run;
            if Some(&request.id) == self.desired.id.as_ref() && same_kind {
                own = Some(look);
            } else if !request.is_dry_run() {
                return Ok((own, Some(look)));
            }
        }
        Ok((own, None))
    }

    /// Looked at where the record says it was carried out, which an earlier object of this name may have chosen otherwise.
    async fn superseded(&self, look: RecordView) -> SupersededRecord {
        let identity = &look.object.spec.backend;
        let at = self.ctx.platform_of(self.desired, identity).await;
        SupersededRecord {
            committed: self.read_back(&at, &look).await,
            activity: self.right_after(&at, &look).await,
            run_state: self.run_state(&at, &look).await,
            look,
        }
    }

    async fn request(&self, seen: &mut Observation) {
        let Some(request) = self.desired.asked() else { return self.at_rest(seen).await };
        if seen.record.get().is_none() && self.is_settled(request) {
            self.at_rest(seen).await;
            // It runs again: now the platform can say where it reads.
            let compare = self.awaits_start() && seen.activity.get().is_some_and(Activity::is_active);
            if !compare {
                return;
            }
        } else {
            seen.identity = self.platform.identity(self.now.mono).await.into();
        }
        if let (Observed::Unread, Some(identity)) = (&seen.record, self.pinned().as_ref().or(seen.identity.get())) {
            let (name, record) = self.record(request, identity).await;
            (seen.record_name, seen.record) = (Some(name), record.into());
        }
        match seen.record.get().cloned().flatten() {
            Some(record) => self.with_record(seen, request, &record).await,
            None => self.for_plan(seen, request, None).await,
        }
    }

    /// The identity seen first: what records of this object are named by.
    fn pinned(&self) -> Option<BackendIdentity> {
        self.platform.identity_of(self.prior.pinned_cluster.as_deref())
    }

    /// The record of this request, open or closed.
    async fn record(&self, request: &Request, identity: &BackendIdentity) -> (String, Result<Option<RecordView>, Cause>) {
        let (object, records) = (&self.desired.object, &self.ctx.records);
        let mut name = record_name(object, identity, request);
        let former = former_record_name(object, identity, request);
        if records.get(&ObjectRef::new(&former).within(&object.namespace)).is_some() {
            name = former;
        }
        loop {
            let found = match self.ctx.record_store.get(&object.namespace, &name).await {
                // A name says nothing: the record is adopted only if the id stored in it is the same.
                Ok(found) => found.filter(|record| record.spec.request.id == request.id),
                Err(cause) => return (name, Err(cause)),
            };
            let found = found.map(|record| self.ctx.process_state.look(record, self.now.mono));
            match found.as_ref().filter(|look| look.is_over() && look.is_left_behind(&object.uid)) {
                Some(left) => name = name_after(&left.object),
                None => return (name, Ok(found)),
            }
        }
    }

    /// It ended, and nothing was changed since: nothing needs to be known about it.
    fn is_settled(&self, request: &Request) -> bool {
        let retry = request.on_unknown_outcome == crate::api::OnUnknownOutcome::Retry;
        let last = self.prior.of_request(&request.id, request.dry_run).filter(|last| last.stage.is_final());
        // What is told as paused, or as still to be done, is looked at until it is not.
        let told = |last: &OffsetResetStatus| self.prior.under_way || last.paused_by_operator.is_some();
        last.is_some_and(|last| !(self.prior.spec_changed || told(last) || retry && last.stage == Stage::Held))
    }

    /// Its reset was accepted and cannot be proven before the pipeline's next start.
    fn awaits_start(&self) -> bool {
        let sent = self.prior.last.as_ref().is_some_and(|last| last.stage == Stage::Sent);
        sent && self.prior.last_reason == Some(Reason::NoReadBackWhilePaused)
    }

    /// What the pipeline does, and the looks that count towards a later quiet period.
    async fn at_rest(&self, seen: &mut Observation) {
        seen.identity = match self.pinned() {
            Some(first) => Observed::Read(first),
            None => self.platform.identity(self.now.mono).await.into(),
        };
        if seen.identity.get().is_some() {
            // Whether it runs again is not told from a look before.
            let owes = seen.record.get().and_then(Option::as_ref).is_some_and(RecordView::needs_resume);
            let interval = if owes { Duration::ZERO } else { self.ctx.timing.list_interval };
            let recent = self.now.mono.checked_sub(interval).unwrap_or(self.now.mono);
            self.activity(seen, recent).await;
        }
    }

    /// `since`: what is remembered from before does not count.
    async fn activity(&self, seen: &mut Observation, since: std::time::Instant) {
        let (activity, committed) = self.platform.activity(since).await;
        if let (Ok(activity), Ok(committed), Some(identity)) = (&activity, &committed, seen.identity.get())
            && self.facts.quiet
        {
            let period = self.desired.asked().map_or(Duration::MAX, |r| r.quiet_period);
            let inactive = activity.is_inactive();
            seen.quiet = self.ctx.process_state.note_look(&self.desired.object, identity, inactive, committed, period, self.now.mono);
        }
        seen.activity = activity.into();
        seen.committed = committed.into();
    }

    /// What a plan is made from; the costly parts only when it could be made now.
    async fn for_plan(&self, seen: &mut Observation, request: &Request, own: Option<&RecordView>) {
        if seen.identity.get().is_none() || seen.draining {
            return;
        }
        self.activity(seen, self.now.mono).await;
        // Whoever has begun goes on, so that no two wait for each other; who cannot reach the pipeline is told that first.
        if own.is_none() && !request.dry_run && seen.activity.get().is_some() {
            seen.older_pipeline = seen.identity.get().and_then(|identity| self.ctx.older_pipeline(&self.desired.object, identity));
            if seen.older_pipeline.is_some() {
                return;
            }
        }
        let (Some(activity), Some(committed)) = (seen.activity.get(), seen.committed.get()) else { return };
        let quiet = !self.facts.quiet || seen.quiet.is_enough(request.quiet_period);
        let ready = activity.is_inactive() && quiet && !committed.values().any(|c| c.pending);
        let stops = activity.is_active() && request.when_active == crate::api::WhenActive::Pause;
        if !request.dry_run && (ready || stops) {
            let Some(identity) = seen.identity.get() else { return };
            if own.is_none() {
                match self.elder_live(identity).await {
                    Ok(None) => seen.elsewhere = self.ctx.elsewhere(&self.desired.object, identity),
                    Ok(older_pipeline) => return seen.older_pipeline = older_pipeline,
                    Err(cause) => return seen.conflicting_records = Observed::Unreadable(cause),
                }
            }
            let name = own_name(seen, own);
            let open = self
                .ctx
                .record_store
                .conflicting_records(&self.desired.object.namespace, identity, (&name, own.map(|r| &r.object)), &self.ctx.process_state)
                .await;
            if let Some(orphan) = self.orphan(open.as_deref().unwrap_or_default()).await {
                seen.superseded = Some(self.superseded(orphan).await);
            }
            seen.conflicting_records = open.map(|open| open.iter().map(named).collect()).into();
        }
        let pauses = request.when_active == crate::api::WhenActive::Pause && !request.dry_run && self.facts.run_state;
        if pauses && (ready || stops) {
            seen.shared_workloads = self.shared_workloads(seen, own).await;
        }
        // Once it was stopped: who may have started it.
        if stops && self.facts.run_state && own.is_none_or(|own| own.calls.was_down) {
            seen.before = self.platform.before().await.into();
        }
        // Stopped for this request, not for another one that comes before.
        if let Some(own) = own.filter(|r| r.pauses().is_some()) {
            seen.run_state = self.run_state(&self.platform, own).await;
            if matches!(seen.run_state, Observed::Read(RunState::Stopped)) && seen.conflicting_records.get().is_some_and(Vec::is_empty) {
                self.ctx.process_state.note_down(&own.object);
            }
        }
        let stops = stops && own.is_none();
        if self.facts.call.is_some() {
            return self.reading(seen, stops || request.dry_run, ready).await;
        }
        if !ready && !request.dry_run {
            return;
        }
        let mut names: Vec<String> = match &request.topics {
            Some(selection) => selection.keys().cloned().collect(),
            None => committed.keys().map(|at| at.topic.clone()).collect(),
        };
        names.dedup();
        seen.topics = self.platform.topics(&names).await.into();
        let Some(topics) = seen.topics.get() else { return };
        let all = topics
            .iter()
            .flat_map(|(name, topic)| topic.iter().flat_map(move |t| t.partitions.keys().map(move |p| TopicPartition::new(name, *p))));
        let selected: Vec<TopicPartition> = all.filter(|at| request.selects(at)).collect();
        if selected.is_empty() {
            return;
        }
        let leaderless = leaderless(topics, &selected);
        if !leaderless.is_empty() {
            // Asked all the same, the client would look for a leader until the deadline.
            let text = format!(
                "no leader for {}: its log cannot be read and the average input rate cannot be had. Nothing was written; it is tried again",
                words::some_of(&leaderless)
            );
            seen.log = Observed::Unreadable(Cause::new(Reason::AverageRateUnavailable, text));
            return;
        }
        let (committed, log) =
            tokio::join!(self.platform.committed(&selected), self.platform.log(&selected, request.to.looks_up(), self.now.wall));
        seen.committed = committed.into();
        seen.log = log.into();
    }

    /// For one that was not looked at before: the copies may not hold yet what was made along with it.
    async fn elder_live(&self, identity: &BackendIdentity) -> Result<Option<OlderPipeline>, Cause> {
        let Some(created) = self.desired.created.filter(|_| !self.prior.seen_before) else { return Ok(None) };
        if let Some(older_pipeline) = OlderPipeline::may_come(created, self.now.wall) {
            return Ok(Some(older_pipeline));
        }
        let beside = self.ctx.record_store.pipelines(&self.desired.object.namespace).await?;
        Ok(OlderPipeline::among(beside.iter(), &self.desired.object, identity))
    }

    /// Where a platform says the pipeline reads: while it runs, now and then; at once before it is stopped or reset. Not
    /// having it hinders nothing.
    async fn reading(&self, seen: &mut Observation, at_once: bool, ready: bool) {
        let object = &self.desired.object;
        let active = seen.activity.get().is_some_and(Activity::is_active);
        if ready || at_once || active && self.ctx.process_state.reading_is_due(object, self.now.mono) {
            seen.reading = self.platform.reading().await.ok().flatten();
            if active && let Some(newest) = seen.reading {
                self.ctx.process_state.note_reading(object, newest, self.now.mono);
            }
        }
        seen.remembered = self.ctx.process_state.reading(object);
    }
}

/// Those of these partitions that nobody leads.
fn leaderless(topics: &Topics, of: &[TopicPartition]) -> Vec<String> {
    let led = |at: &TopicPartition| topics.get(&at.topic)?.as_ref()?.partitions.get(&at.partition).copied();
    of.iter().filter(|at| led(at) == Some(false)).map(ToString::to_string).collect()
}

/// The name of the record of this request, also where it is not there yet.
fn own_name(seen: &Observation, own: Option<&RecordView>) -> String {
    own.and_then(|r| r.object.metadata.name.clone()).or_else(|| seen.record_name.clone()).unwrap_or_default()
}

fn named(look: &RecordView) -> String {
    let meta = &look.object.metadata;
    format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}
