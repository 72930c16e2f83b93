//! Does the one step that was decided, under its deadlines. Decides nothing. Whether a step was done is not relied on: the next pass looks.

use jiff::Timestamp;

use crate::context::Context;
use stream_pipeline_api::{OffsetResetRecord, OffsetResetRecordSpec, PipelineRef, Reason, RunStateBefore};
use stream_pipeline_core::{Cause, Desired, Observation, Plan, RecordView, Request, SendOutcome, Step, TopicPartition, target, words};

/// The record that the step was about, where that is known without a read: as the API server answered the write, which is what it holds, or
/// as it was, where the step does not touch it. Whoever relies on it writes with its version, so a change meanwhile makes that write fail.
pub type Left = Option<Box<OffsetResetRecord>>;

/// # Errors
/// The step was not done, or it is not known whether it was: look again.
pub async fn perform(ctx: &Context, desired: &Desired, seen: &Observation, step: Step) -> Result<Left, Cause> {
    let subject = seen.subject();
    let act = Act { ctx, desired, subject };
    match step {
        Step::AddFinalizer => ctx.record_store.set_finalizer(&desired.object, true).await.map(|()| None),
        Step::RemoveFinalizer => ctx.record_store.set_finalizer(&desired.object, false).await.map(|()| None),
        Step::RecordPause { before, deadline } => act.record_pause(seen, before, deadline).await.map(left),
        Step::Stop => act.switch(false).await.map(|()| None),
        Step::Resume => act.switch(true).await.map(|()| None),
        Step::MarkResumed => ctx.record_store.mark_resumed(&act.subject()?.object, ctx.now().wall).await.map(|()| None),
        Step::WriteAhead { plan, before, deadline } => act.write_ahead(seen, &plan, before, deadline).await.map(left),
        Step::RecordDryRun { plan, deadline } => act.record_dry_run(seen, &plan, deadline).await.map(left),
        Step::Send { plan, only } => {
            act.send(&plan, |at| only.contains(at)).await?;
            Ok(left(act.subject()?.object.clone()))
        }
        Step::StartChunk { chunk } => {
            let record = &act.subject()?.object;
            let before = record.spec.writer.as_ref().ok_or_else(|| gone("the record has no writer"))?;
            let chunk = i32::try_from(chunk).map_err(|_| gone("there is no such chunk"))?;
            let writer =
                ctx.process_state.start_chunk(before, chunk, ctx.now().mono).ok_or_else(|| gone("the plan is not this process's"))?;
            ctx.record_store.start_chunk(record, &writer).await.map(left)
        }
        Step::DropPlan => {
            let record = act.subject()?;
            // First in memory: from now on this process never sends the plan, whether or not the write is answered.
            if let Some(writer) = &record.object.spec.writer {
                ctx.process_state.abandon_plan(writer);
            }
            ctx.record_store.drop_plan(&record.object).await.map(left)
        }
        Step::Close(status) => {
            let record = act.subject()?;
            if let Some(writer) = &record.object.spec.writer {
                ctx.process_state.abandon_plan(writer);
            }
            ctx.record_store.close(&record.object, &status).await.map(left)
        }
        Step::Retry => {
            let record = act.subject()?;
            let Some(plan) = &record.object.spec.plan else { return Err(gone("the record has no plan")) };
            let writer = ctx.process_state.register_plan(record.attempt() + 1, plan, ctx.now().mono);
            ctx.record_store.start_chunk(&record.object, &writer).await.map(left)
        }
    }
}

fn left(record: OffsetResetRecord) -> Left {
    Some(Box::new(record))
}

struct Act<'a> {
    ctx: &'a Context,
    desired: &'a Desired,
    subject: Option<&'a RecordView>,
}

impl Act<'_> {
    fn subject(&self) -> Result<&RecordView, Cause> {
        self.subject.ok_or_else(|| gone("there is no record"))
    }

    async fn record_pause(&self, seen: &Observation, before: RunStateBefore, deadline: Timestamp) -> Result<OffsetResetRecord, Cause> {
        let (name, mut spec) = self.spec(seen, deadline)?;
        spec.run_state_before = Some(before);
        self.create(&name, spec).await
    }

    /// Stops the pipeline, or starts it again. Noted before the call, because a call that times out may still land.
    async fn switch(&self, start: bool) -> Result<(), Cause> {
        let record = &self.subject()?.object;
        let platform = self.ctx.platform_of(self.desired, &record.spec.backend).await;
        let before = record.spec.run_state_before.as_ref().ok_or_else(|| gone("the run state before is not recorded"))?;
        let change = if start { platform.starting(before).await } else { platform.stopping(before).await };
        // The looks before this may have taken long, and another replica may have closed the record meanwhile: a stop for a closed record
        // would never be undone. The counts were read before this check, and each write names their version, so a stop and start by
        // somebody else in between makes the write fail.
        self.ctx.record_store.unchanged(record).await?;
        self.ctx.process_state.note_call(record, start, self.ctx.now().mono);
        let (at_once, answer) = match change {
            Ok(change) => (change.takes_effect_at_once(), change.carry_out().await),
            Err(cause) => (false, SendOutcome::NotApplied(cause)),
        };
        if !start && at_once && matches!(answer, SendOutcome::Answered { .. }) {
            self.ctx.process_state.note_down(record);
        }
        let under_way = matches!(answer, SendOutcome::Unanswered { .. });
        let failure = match answer {
            SendOutcome::Answered { .. } => None,
            SendOutcome::NotApplied(cause) | SendOutcome::Ambiguous(cause) | SendOutcome::Unanswered { cause, .. } => Some(cause),
        };
        self.ctx.process_state.note_call_answered(record, start, under_way, failure.clone());
        failure.map_or(Ok(()), Err)
    }

    async fn write_ahead(
        &self,
        seen: &Observation,
        plan: &Plan,
        before: Option<RunStateBefore>,
        deadline: Timestamp,
    ) -> Result<OffsetResetRecord, Cause> {
        let recorded = plan.to_record();
        if let Some(record) = self.subject {
            let writer = self.ctx.process_state.register_plan(1, &recorded, self.ctx.now().mono);
            return self.ctx.record_store.put_plan(&record.object, &recorded, &writer).await;
        }
        let (name, mut spec) = self.spec(seen, deadline)?;
        spec.run_state_before = before;
        // The window counts from just before the write.
        spec.writer = Some(self.ctx.process_state.register_plan(1, &recorded, self.ctx.now().mono));
        spec.plan = Some(recorded);
        self.create(&name, spec).await
    }

    async fn create(&self, name: &str, spec: OffsetResetRecordSpec) -> Result<OffsetResetRecord, Cause> {
        let record = self.ctx.record_store.create(&self.desired.object, name, spec).await?;
        if record.spec.run_state_before.is_some() {
            self.ctx.process_state.note_made(&record);
        }
        Ok(record)
    }

    async fn record_dry_run(&self, seen: &Observation, plan: &Plan, deadline: Timestamp) -> Result<OffsetResetRecord, Cause> {
        let (name, mut spec) = self.spec(seen, deadline)?;
        spec.plan = Some(plan.to_record());
        self.ctx.record_store.create(&self.desired.object, &name, spec).await
    }

    fn spec(&self, seen: &Observation, deadline: Timestamp) -> Result<(String, OffsetResetRecordSpec), Cause> {
        let object = &self.desired.object;
        let request: &Request = self.desired.asked().ok_or_else(|| gone("the request is not there"))?;
        let backend = seen.identity.get().ok_or_else(|| gone("where the pipeline lives is not known"))?.clone();
        let name = seen.record_name.clone().ok_or_else(|| gone("the name of the record is not known"))?;
        let pipeline = PipelineRef { name: object.name.clone(), uid: object.uid.clone() };
        let (request, target) = (request.written.clone(), target::in_words(&request.written));
        let created_at = self.ctx.now().wall;
        Ok((
            name,
            OffsetResetRecordSpec {
                pipeline,
                request,
                target,
                backend,
                created_at,
                deadline,
                run_state_before: None,
                writer: None,
                plan: None,
            },
        ))
    }

    async fn send(&self, plan: &Plan, only: impl Fn(&TopicPartition) -> bool) -> Result<(), Cause> {
        let record = self.subject()?;
        let writer = record.object.spec.writer.as_ref().ok_or_else(|| gone("the record has no writer"))?;
        let changes: Vec<_> = plan.changes().filter(|row| only(&row.at)).map(|row| (row.at.clone(), row.aim.clone())).collect();
        let platform = self.ctx.platform_of(self.desired, &record.object.spec.backend).await;
        let now = self.ctx.now().mono;
        let Some(closes) = self.ctx.process_state.loaded_at(writer).map(|at| at + self.ctx.timing.send_window).filter(|end| now < *end)
        else {
            return Err(Cause::new(Reason::PlanRecorded, words::too_slow(self.ctx.timing.send_window)));
        };
        // If this pass is dropped in the middle, the call may still be under way until its deadline.
        let ended = now + 3 * self.ctx.timing.call_deadline;
        let pending =
            SendOutcome::Unanswered { ended, cause: Cause::new(Reason::OutcomeUnknown, "the operator gave up waiting for the answer") };
        if !self.ctx.process_state.begin_send(writer, pending) {
            return Err(gone("the plan was given up"));
        }
        let namespace = &self.desired.object.namespace;
        tracing::info!(namespace, record = record.object.metadata.name, partitions = changes.len(), "Sending the plan");
        let answer = platform.send(&changes, closes).await;
        self.ctx.process_state.note_answer(writer, answer);
        // The operator's own commit must not count as movement of the group.
        self.ctx.process_state.forget_looks(&self.desired.object.namespace, &record.object.spec.backend);
        Ok(())
    }
}

fn gone(what: &str) -> Cause {
    Cause::new(Reason::BackendError, format!("{what} any more; it is looked at again"))
}
