//! Drops the tables of old records now and then. Every write is guarded by the record's version, so several replicas do it side by side.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::process_state::is_closed;
use stream_pipeline_api::{OffsetResetRecord, PIPELINE_LABEL};
use stream_pipeline_core::prune::{Keep, Listed, Walk, due};
use stream_pipeline_core::{Cause, PlanState, RecordView, RunStateCalls};

/// How often it is looked, at most.
const EVERY: Duration = Duration::from_secs(3600);

/// Runs until `shutdown`. `listed`: cancelled once all StreamPipelines are known; before, a record that one of them names would not be
/// known as such.
pub async fn prune(ctx: Arc<Context>, keep: Keep, listed: CancellationToken, shutdown: CancellationToken) {
    if shutdown.run_until_cancelled(listed.cancelled()).await.is_none() {
        return;
    }
    // Short times are for tests.
    let mut tick = tokio::time::interval((keep.plans_for / 2).clamp(Duration::from_secs(1), EVERY));
    // Closed records that have no table, by namespace and name.
    let mut bare = HashSet::new();
    while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
        if ctx.definitions.outdated().is_some() {
            continue;
        }
        let all: Vec<_> = ctx.records.state().iter().filter_map(|meta| row(meta)).collect();
        let there: HashSet<_> = all.iter().map(key).collect();
        bare.retain(|known| there.contains(known));
        let left: Vec<_> = all.into_iter().filter(|record| !bare.contains(&key(record))).collect();
        for of_pipeline in due(&left, &keep, ctx.now().wall) {
            if let Err(cause) = of_one(&ctx, &of_pipeline, &mut bare, &shutdown).await {
                let pipeline = of_pipeline.first().map(|(record, _)| record.pipeline.as_str());
                tracing::warn!(pipeline, reason = %cause.reason, "The table of an old record could not be dropped: {}", cause.message);
            }
        }
    }
}

fn key(record: &Listed) -> (String, String) {
    (record.namespace.clone(), record.name.clone())
}

fn row(meta: &PartialObjectMeta<OffsetResetRecord>) -> Option<Listed> {
    Some(Listed {
        namespace: meta.namespace()?,
        name: meta.name_any(),
        pipeline: meta.labels().get(PIPELINE_LABEL)?.clone(),
        created_at: meta.creation_timestamp()?.0,
    })
}

/// The records of one StreamPipeline, the newest first.
async fn of_one(
    ctx: &Context,
    records: &[(&Listed, bool)],
    bare: &mut HashSet<(String, String)>,
    shutdown: &CancellationToken,
) -> Result<(), Cause> {
    let mut walk = Walk::default();
    for (record, due) in records {
        if shutdown.is_cancelled() || !walk.reads(*due) || is_named(ctx, record) {
            continue;
        }
        let Some(object) = ctx.record_store.get(&record.namespace, &record.name).await? else { continue };
        let owes = || RecordView::new(object.clone(), PlanState::Closed, RunStateCalls::default()).needs_resume();
        if !is_closed(&object) || owes() {
            continue;
        }
        if object.spec.plan.is_none() {
            bare.insert(key(record));
        } else if walk.drops((record, *due), &object) {
            ctx.record_store.drop_table(&object).await?;
            bare.insert(key(record));
            tracing::info!(namespace = record.namespace, record = record.name, "The table of an old record was dropped");
        }
    }
    Ok(())
}

/// A StreamPipeline asks for the record's table.
fn is_named(ctx: &Context, record: &Listed) -> bool {
    let names = |reset: &stream_pipeline_api::OffsetReset| {
        let undo = reset.to.as_ref().and_then(|to| to.undo.as_ref()).map(|undo| undo.name.as_str());
        [undo, reset.approved_plan.as_deref()].contains(&Some(record.name.as_str()))
    };
    ctx.pipelines.state().iter().filter_map(|guard| guard.0.as_ref().ok()).any(|pipeline| {
        pipeline.namespace().as_deref() == Some(&record.namespace) && pipeline.spec.offset_reset.as_ref().is_some_and(names)
    })
}
