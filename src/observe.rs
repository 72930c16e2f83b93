//! Makes the looks that `decide` asks for, and no others. Reads only; a failed read is a value in the `Observation`.

use std::collections::BTreeSet;

use futures::future::join_all;
use kube::ResourceExt;

use crate::backend::Platform;
use crate::context::Context;
use crate::fair::Queued;
use stream_pipeline_api::{BackendIdentity, LagSample, OffsetResetRecord, Reason};
use stream_pipeline_core::decide::precedence::Names;
use stream_pipeline_core::decide::{Found, Look, is_seen_stopped, looks, may_explain, note};
use stream_pipeline_core::target::Source;
use stream_pipeline_core::{Cause, Desired, Now, Observation, OlderPipeline, OtherGroup, PriorStatus, RecordView, TopicPartition};

const IN_LINE: &str =
    "other requests of its application go first, since the platform takes only so many calls a second. It goes on by itself";

/// So many records are read to find one whose reset may explain a difference; beyond that the next one counts as if it did.
const MANY: usize = 32;

/// What the pass right before this one leaves, so that it need not be read again.
#[derive(Default)]
pub struct Carried {
    pub record: Option<Box<OffsetResetRecord>>,
    /// Where the pipeline is; only once nothing is sent any more, as the second look asks again.
    pub identity: Option<BackendIdentity>,
}

/// See the module's own comment. `queued`: in the platform's line, if it takes only so many plans at a time.
pub async fn observe(
    ctx: &Context,
    desired: &Desired,
    prior: &PriorStatus,
    carried: &Carried,
    queued: &mut Queued,
    now: Now,
) -> Observation {
    let platform = ctx.platform(desired).await;
    let mut seen = Observation {
        draining: ctx.running.shutdown.is_cancelled(),
        outdated: ctx.definitions.outdated(),
        principal: platform.principal(),
        remembered: ctx.process_state.reading(&desired.object),
        consumed: ctx.process_state.consumed(&desired.object),
        is_first: ctx.process_state.is_first(&desired.object),
        sample_is_due: ctx.process_state.reading_is_due(&desired.object, now.mono),
        ..Observation::default()
    };
    let mut looking = Looking { ctx, desired, carried, platform, now };
    let mut elsewhere = false;
    loop {
        let next = looks(desired, prior, &seen, &ctx.timing, now);
        if next.is_empty() {
            break;
        }
        // An earlier object of this name may have made its record on another platform than this spec's.
        if let Some(left) = seen.superseded.as_ref().filter(|_| !elsewhere) {
            looking.platform = ctx.platform_of(desired, &left.record.object.spec.backend).await;
            elsewhere = true;
        }
        if next.iter().any(Look::is_last_before_plan)
            && let Some(line) = looking.platform.line()
            && !queued.take_now(line, &desired.object.namespace)
        {
            seen.in_line = Some(Cause::new(Reason::RateLimited, IN_LINE));
            break;
        }
        let found = join_all(next.iter().map(|look| looking.look(look, &seen))).await;
        next.iter().zip(found).for_each(|(look, found)| note(&mut seen, desired, look, found));
    }
    if let Some(record) = is_seen_stopped(&seen) {
        ctx.process_state.note_down(&record.object);
    }
    seen
}

struct Looking<'a> {
    ctx: &'a Context,
    desired: &'a Desired,
    carried: &'a Carried,
    platform: Platform,
    now: Now,
}

impl Looking<'_> {
    async fn look(&self, look: &Look, seen: &Observation) -> Found {
        let (object, since) = (&self.desired.object, self.now.mono);
        let (records, known) = (&self.ctx.record_store, &*self.ctx.process_state);
        match look {
            Look::OpenRecords => self.open_records().await,
            Look::NeedingResume => Found::NeedingResume(records.of_pipeline(object, known).await),
            Look::Identity { known } => Found::Identity(match known.as_ref().or(self.carried.identity.as_ref()) {
                Some(identity) => Ok(identity.clone()),
                None => self.platform.identity(since).await,
            }),
            Look::Record(names) => self.record(names).await,
            Look::Activity { since } => self.activity(*since, seen.identity.get()).await,
            Look::ActivityAlone => Found::ActivityAlone(self.platform.activity_alone(since).await),
            Look::OlderPipeline => Found::OlderPipeline(Ok(seen.identity.get().and_then(|at| self.ctx.older_pipeline(object, at)))),
            Look::OlderPipelineLive => Found::OlderPipeline(self.older_pipeline_live(seen.identity.get()).await),
            Look::Elsewhere => Found::Elsewhere(seen.identity.get().map(|at| self.ctx.elsewhere(object, at)).unwrap_or_default()),
            Look::GroupRecords { backend, but, live } => {
                let own = seen.record.get().and_then(Option::as_ref).map(|own| &own.object).filter(|own| own.name_any() == *but);
                let told = (!live).then(|| self.ctx.open_records_of_group(&object.namespace, backend, but));
                Found::GroupRecords(match told {
                    Some(few) if few.len() <= 1 => records.open_of(few, &object.namespace, known).await,
                    _ => records.of_group(&object.namespace, backend, (own, but), known).await,
                })
            }
            Look::Orphan(others) => self.orphan(others).await,
            Look::NamespaceRecords { .. } if self.desired.backend.workloads().is_empty() => Found::NamespaceRecords(Ok(Vec::new())),
            Look::NamespaceRecords { but } => Found::NamespaceRecords(records.of_namespace(&object.namespace, but, known).await),
            Look::RunStateBefore => Found::RunStateBefore(self.platform.before().await),
            Look::RunState => self.run_state(seen).await,
            Look::Sample { running } => {
                let sample = self.sample().await;
                self.remember(sample.filter(|_| *running));
                Found::Sample(sample)
            }
            Look::SampleAfterStart => self.sample_after_start(seen).await,
            Look::OtherReset { backend, but, before, since } => {
                let mut names = self.ctx.records.of_group_since(&object.namespace, backend, *since);
                names.retain(|name| name != but);
                Found::OtherReset(self.other_reset(names, *before).await)
            }
            Look::Numbers(Source::File(file)) => Found::File(self.ctx.offsets_file(&object.namespace, file).await),
            Look::Numbers(Source::Record(name)) => Found::NamedRecord(records.get(&object.namespace, name).await),
            Look::OtherGroup { place, partitions } => Found::OtherGroup(self.other_group(place, partitions).await),
            Look::Topics { names, to } => Found::Topics(self.platform.topics(names, *to).await),
            Look::Committed(partitions) => Found::Committed(self.platform.committed(partitions).await),
            Look::Logs { partitions, time } => Found::Logs(self.platform.logs(partitions, *time, self.now.wall).await),
            Look::Place => Found::Place(self.platform.identity(since).await),
            Look::Live => Found::Live(records.pipeline(&object.namespace, &object.name).await),
        }
    }

    async fn open_records(&self) -> Found {
        let mut found = Vec::new();
        // The watch may not have told yet of what was just written.
        let own = self.carried.record.iter().filter(|record| record.spec.pipeline.name == self.desired.object.name);
        let names: BTreeSet<String> =
            self.ctx.open_records(&self.desired.object).into_iter().chain(own.map(|record| record.name_any())).collect();
        if names.len() > 1 {
            // As after a restart: one list shows which of them are over.
            let found = self.ctx.record_store.of_pipeline(&self.desired.object, &self.ctx.process_state).await;
            return found.map_or_else(|cause| Found::OpenRecords(Vec::new(), Some(cause)), |found| Found::OpenRecords(found, None));
        }
        for name in names {
            match self.read(&name).await {
                Ok(record) => {
                    let record = record.map(|record| self.ctx.process_state.look(record, self.now.mono));
                    found.extend(record.filter(|record| !record.is_over()));
                }
                Err(cause) => return Found::OpenRecords(found, Some(cause)),
            }
        }
        Found::OpenRecords(found, None)
    }

    async fn read(&self, name: &str) -> Result<Option<OffsetResetRecord>, Cause> {
        match &self.carried.record {
            Some(record) if record.name_any() == name => Ok(Some(record.as_ref().clone())),
            _ => self.ctx.record_store.get(&self.desired.object.namespace, name).await,
        }
    }

    async fn record(&self, names: &Names) -> Found {
        let namespace = &self.desired.object.namespace;
        let is_there = |name: &&String| self.ctx.records.has(namespace, name);
        let name = names.former.as_ref().filter(is_there).unwrap_or(&names.name);
        let record = self.read(name).await;
        let record = record.map(|found| found.map(|record| self.ctx.process_state.look(record, self.now.mono)));
        Found::Record { name: name.clone(), record }
    }

    async fn activity(&self, since: std::time::Instant, identity: Option<&BackendIdentity>) -> Found {
        let (activity, committed) = self.platform.activity(since).await;
        let quiet = match (&activity, &committed, identity.filter(|_| self.desired.facts.quiet)) {
            (Ok(activity), Ok(committed), Some(at)) => {
                let period = self.desired.asked().map_or(std::time::Duration::MAX, |r| r.quiet_period);
                let (object, inactive) = (&self.desired.object, activity.is_inactive());
                self.ctx.process_state.note_consumption(object, activity.is_active(), committed, self.now.mono);
                Some(self.ctx.process_state.note_look(object, at, inactive, committed, period, self.now.mono))
            }
            _ => None,
        };
        Found::Activity { activity, committed, quiet }
    }

    /// The watch cache may still lack objects that were created together with this one.
    async fn older_pipeline_live(&self, identity: Option<&BackendIdentity>) -> Result<Option<OlderPipeline>, Cause> {
        let (Some(identity), Some(created), object) = (identity, self.desired.created, &self.desired.object) else { return Ok(None) };
        if let Some(young) = OlderPipeline::may_come(created, self.now.wall) {
            return Ok(Some(young));
        }
        let listed_at = self.ctx.now().wall;
        let beside = self.ctx.record_store.pipelines(&object.namespace).await?;
        let older = OlderPipeline::among(beside.iter(), object, identity);
        // One list tells it of all, so that each need not ask for one.
        self.ctx.process_state.note_first(OlderPipeline::alone(&beside, listed_at));
        // Whatever is created from now on is younger, so this was the last look of this kind.
        if older.is_none() && OlderPipeline::none_can_come(created, self.now.wall) {
            self.ctx.process_state.note_first([object.uid.clone()]);
        }
        Ok(older)
    }

    /// A record that goes before this request and whose StreamPipeline is gone.
    async fn orphan(&self, others: &[RecordView]) -> Found {
        for other in others {
            if self.ctx.record_store.is_orphan(&other.object).await.unwrap_or(false) {
                return Found::Orphan(Some(other.clone()));
            }
        }
        Found::Orphan(None)
    }

    /// The first of these records whose reset may explain a difference to this reading.
    async fn other_reset(&self, names: Vec<String>, before: LagSample) -> Result<Option<String>, Cause> {
        for (n, name) in names.into_iter().enumerate() {
            let record = if n < MANY { self.read(&name).await? } else { return Ok(Some(name)) };
            if record.is_some_and(|record| may_explain(&record, before)) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    async fn run_state(&self, seen: &Observation) -> Found {
        let gone =
            || Cause::new(stream_pipeline_api::Reason::BackendError, "what was stopped is not recorded any more; it is looked at again");
        Found::RunState(match seen.subject().and_then(RecordView::pauses) {
            Some(before) => self.platform.run_state(before, self.now.mono).await,
            None => Err(gone()),
        })
    }

    async fn other_group(&self, place: &BackendIdentity, partitions: &[TopicPartition]) -> Result<OtherGroup, Cause> {
        let platform = self.ctx.platform_beside(self.desired, place).await;
        let (activity, committed) = tokio::join!(platform.activity_alone(self.now.mono), platform.committed(partitions));
        let active = activity?.blocker().map(|cause| cause.message.clone());
        Ok(OtherGroup { committed: committed?, active })
    }

    /// Without a reading the reset goes on, so why there is none is only logged.
    async fn sample(&self) -> Option<LagSample> {
        let object = &self.desired.object;
        self.platform.sample().await.unwrap_or_else(|cause| {
            tracing::debug!(namespace = object.namespace, name = object.name, reason = %cause.reason, "No reading: {}", cause.message);
            None
        })
    }

    /// Where a running pipeline was read last, for when it is reset while it does not run.
    fn remember(&self, sample: Option<LagSample>) {
        if let Some(sample) = sample {
            self.ctx.process_state.note_reading(&self.desired.object, sample, self.now.mono);
        }
    }

    async fn sample_after_start(&self, seen: &Observation) -> Found {
        let sample = self.sample().await;
        self.remember(sample);
        let running = seen.subject().map(|record| self.ctx.process_state.note_running(&record.object, self.now, sample.map(|s| s.at)));
        Found::SampleAfterStart { sample, running: running.unwrap_or((self.now, None)) }
    }
}
