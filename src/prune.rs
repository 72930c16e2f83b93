//! Drops the tables of old records now and then. Every write is guarded by the record's version, so several replicas do it side by side.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::process_state::is_closed;
use stream_pipeline_api::StreamPipeline;
use stream_pipeline_core::prune::{Keep, Listed, Walk, due};
use stream_pipeline_core::{Cause, PlanState, RecordView, RunStateCalls};

/// How often it is looked, at most.
const EVERY: Duration = Duration::from_secs(3600);

/// Runs until `shutdown`. `listed`: cancelled once all StreamPipelines are known; before, a record that one of them names would not be
/// known as such. A process that stands by waits too.
pub async fn prune(ctx: Arc<Context>, keep: Keep, listed: CancellationToken, shutdown: CancellationToken) {
    let begins = async {
        listed.cancelled().await;
        ctx.running.leading.cancelled().await;
    };
    if shutdown.run_until_cancelled(begins).await.is_none() {
        return;
    }
    // Short times are for tests.
    let mut tick = tokio::time::interval((keep.plans_for / 2).clamp(Duration::from_secs(1), EVERY));
    // Closed records that have no table.
    let mut bare = HashSet::new();
    // What was found of a StreamPipeline where nothing was left to do.
    let mut settled: HashMap<Key, Vec<(String, bool)>> = HashMap::new();
    while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
        if ctx.definitions.outdated().is_some() {
            continue;
        }
        let all = ctx.records.listed();
        let there: HashSet<_> = all.iter().map(key).collect();
        bare.retain(|known| there.contains(known));
        let left: Vec<_> = all.into_iter().filter(|record| !bare.contains(&key(record))).collect();
        let due = due(&left, &keep, ctx.now().wall);
        let pipelines: HashSet<_> = due.iter().filter_map(|records| pipeline(records)).collect();
        settled.retain(|known, _| pipelines.contains(known));
        for records in due {
            let Some(pipeline) = pipeline(&records) else { continue };
            let listed: Vec<_> = records.iter().map(|(record, due)| (record.name.clone(), *due)).collect();
            if settled.get(&pipeline) == Some(&listed) {
                continue;
            }
            match of_one(&ctx, &records, &mut bare, &shutdown).await {
                Ok(true) => drop(settled.insert(pipeline, listed)),
                Ok(false) => {}
                Err(cause) => {
                    let (namespace, pipeline) = pipeline;
                    let text = "The table of an old record could not be dropped";
                    tracing::warn!(namespace, pipeline, reason = %cause.reason, "{text}: {}", cause.message);
                }
            }
        }
    }
}

/// A namespace and a name in it.
type Key = (String, String);

fn key(record: &Listed) -> Key {
    (record.namespace.clone(), record.name.clone())
}

fn pipeline(records: &[(&Listed, bool)]) -> Option<Key> {
    records.first().map(|(record, _)| (record.namespace.clone(), record.pipeline.clone()))
}

/// The records of one StreamPipeline, the newest first. Whether nothing is left to do until another is made or one more is due.
async fn of_one(ctx: &Context, records: &[(&Listed, bool)], bare: &mut HashSet<Key>, shutdown: &CancellationToken) -> Result<bool, Cause> {
    let (mut walk, mut done) = (Walk::default(), true);
    let named = named(ctx);
    for (record, due) in records {
        if shutdown.is_cancelled() || !walk.reads(*due) {
            continue;
        }
        let found = if named.contains(&key(record)) { None } else { ctx.record_store.get(&record.namespace, &record.name).await? };
        let view = found.map(|object| RecordView::new(object, PlanState::Closed, RunStateCalls::default()));
        let Some(view) = view.filter(|view| is_closed(&view.object) && !view.needs_resume()) else {
            done = false;
            continue;
        };
        if view.object.spec.plan.is_none() {
            bare.insert(key(record));
        } else if walk.drops((record, *due), &view.object) {
            ctx.record_store.drop_table(&view.object).await?;
            bare.insert(key(record));
            tracing::info!(namespace = record.namespace, record = record.name, "The table of an old record was dropped");
        }
    }
    Ok(done)
}

/// The records whose tables a StreamPipeline asks for.
fn named(ctx: &Context) -> HashSet<Key> {
    let of = |pipeline: &StreamPipeline| {
        let reset = pipeline.spec.offset_reset.as_ref();
        let undo = reset.and_then(|reset| reset.to.as_ref()?.undo.as_ref()).map(|undo| undo.name.clone());
        let names = undo.into_iter().chain(reset.and_then(|reset| reset.approved_plan.clone()));
        let namespace = pipeline.namespace().unwrap_or_default();
        names.map(|name| (namespace.clone(), name)).collect::<Vec<_>>()
    };
    ctx.pipelines.all().iter().filter_map(|object| object.0.as_ref().ok()).flat_map(of).collect()
}
