//! Watches StreamPipelines and the metadata of records, and runs `reconcile` for each change and each due look.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use kube::runtime::controller::{Config as ControllerConfig, Error as ControllerError};
use kube::runtime::events::Reporter;
use kube::runtime::{Controller, WatchStreamExt, reflector};
use kube::{Api, Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::backend::Platforms;
use crate::backend::enos::EnosPlatform;
use crate::backend::http::HttpPolicy;
use crate::backend::kafka::client::{Bounds, Processes};
use crate::backend::kafka::pool::ClientPool;
use crate::clock::Clock;
use crate::config::Config;
use crate::context::Context;
use crate::endpoints::EndpointPolicy;
use crate::kubernetes::api_server::ApiServer;
use crate::kubernetes::crds::Definitions;
use crate::kubernetes::fresh::{self, Versions, Watched, version};
use crate::kubernetes::refusal;
use crate::kubernetes::secrets::Secrets;
use crate::kubernetes::watch;
use crate::kubernetes::workloads::Kinds;
use crate::metrics::Metrics;
use crate::object::Object;
use crate::pass::{Turns, pass};
use crate::pipelines::Pipelines;
use crate::process_state::ProcessState;
use crate::prune::prune;
use crate::record_store::RecordStore;
use crate::records::{Meta, Records};
use crate::report::Events;
use crate::running::Running;
use stream_pipeline_api::{FINALIZER, OPERATOR, OffsetResetRecord, StreamPipeline};
use stream_pipeline_core::decide::decide;

/// How many may wait for their turn at once. Those beyond wait without regard to their namespace; but kube's runner asks all of these each
/// time that one of them is done.
const WAITING: u16 = 2048;

/// StreamPipelines in a page of the first list.
const PIPELINES: u32 = 500;
/// Records, of which each may have up to 1 MiB on the API server's side, and here what fields who manages.
const RECORDS: u32 = 100;

/// Runs until `shutdown`, then finishes the passes under way.
///
/// # Errors
/// The watch of records ended by itself.
pub async fn run(
    (client, clock): (Client, Clock),
    config: &Config,
    (policy, given): (Arc<EndpointPolicy>, Vec<SocketAddr>),
    running: Running,
) -> Result<()> {
    let (metrics, shutdown) = (Arc::clone(&running.metrics), running.shutdown.clone());
    let scope = config.scope();
    let definitions = Definitions::default();
    if !definitions.known(&client, &config.timing(), &shutdown).await {
        return Ok(());
    }
    tokio::spawn(definitions.clone().watch(client.clone(), config.timing(), shutdown.clone()));
    let api_server = ApiServer { client: client.clone(), policy: Arc::clone(&policy), given, deadline: config.timing().call_deadline };
    let known = api_server.learn(false).await;
    tokio::spawn(api_server.watch(known, shutdown.clone()));
    let program = std::path::PathBuf::from("/proc/self/exe");
    let bounds = Bounds { most: config.kafka_clients.into(), memory: config.memory_limit.map(|bytes| bytes / 4 * 3) };
    let processes = Processes::new(program, bounds, Arc::clone(&policy), Arc::clone(&metrics))?;
    let kafka = ClientPool::new(processes, config.timing().max_backoff).allowing_plain_sasl(config.allow_plain_sasl);
    let kafka = Arc::new(kafka);
    let http = HttpPolicy { endpoints: policy, allow_plain_http: config.allow_plain_http };
    let enos = Arc::new(EnosPlatform::new(http.clone(), config.timing().call_deadline, clock.clone()));
    tokio::spawn(sweep(Arc::clone(&kafka), Arc::clone(&enos), clock.clone(), Arc::clone(&metrics), shutdown.clone()));
    let instance = running.incarnation.clone();
    let process_state = Arc::new(ProcessState::new(instance.clone()));
    // Runs once, unless the watches have to be started anew.
    while !shutdown.is_cancelled() {
        let round = shutdown.child_token();
        let turns = Turns::new(config.concurrency.into(), round.clone());
        let upgraded = definitions.upgraded();
        let records = watch_records(scope.apis(&client), round.clone());
        // Until the records are known, one of an earlier request would be overlooked.
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = records.filled() => {}
        }
        let (known, mut filler) = Pipelines::empty();
        let store = known.store().clone();
        let pipelines: Vec<(_, Api<Object>)> = scope.apis(&client);
        let changes = watch::objects(pipelines, PIPELINES, held(store.clone()));
        let changes = changes.inspect_ok(move |event| filler.apply(event)).applied_objects();
        // How many work at once is decided in `pass`.
        let settings = ControllerConfig::default().concurrency(WAITING);
        // What changed while this process stood by is looked at once it leads.
        let leads = stream::once(running.leading.clone().cancelled_owned());
        let controller = Controller::for_stream(changes, store.clone()).with_config(settings).reconcile_all_on(leads);
        let context = Arc::new(Context {
            record_store: RecordStore::new(client.clone(), config.timing().call_deadline),
            records: records.clone(),
            pipelines: known,
            process_state: Arc::clone(&process_state),
            platforms: Platforms {
                client: client.clone(),
                secrets: Secrets::new(client.clone(), config.timing().call_deadline),
                kinds: Kinds::default(),
                kafka: Arc::clone(&kafka),
                enos: Arc::clone(&enos),
                http: http.clone(),
                deadline: config.timing().call_deadline,
            },
            definitions: definitions.clone(),
            timing: config.timing(),
            clock: clock.clone(),
            decide: Box::new(decide),
            events: Events::new(client.clone(), Reporter { controller: OPERATOR.to_owned(), instance: Some(instance.clone()) }),
            running: running.clone(),
            client: client.clone(),
        });
        // `Store::wait_until_ready` wakes only the task that asked last (kube 5), so only this one asks.
        let listed = CancellationToken::new();
        tokio::spawn(forget(Arc::clone(&context), turns.clone(), listed.clone(), round.clone()));
        tokio::spawn(prune(Arc::clone(&context), config.keep(), listed.clone(), round.clone()));
        let disproven = async {
            if store.wait_until_ready().await.is_ok() {
                listed.cancel();
                running.set_ready();
                tracing::info!("Watching StreamPipelines");
            }
            let (told, told_of_records) = (&store, &records);
            let pipelines =
                scope.apis(&client).into_iter().map(|(ns, api)| Watched::new::<StreamPipeline>(api, move || versions(told, ns)));
            let of_records = scope
                .apis(&client)
                .into_iter()
                .map(|(ns, api)| Watched::new::<OffsetResetRecord>(api, move || told_of_records.versions(ns)));
            let watched: Vec<_> = pipelines.chain(of_records).collect();
            fresh::disproven(&watched, config.timing().call_deadline).await
        };
        let in_turn = turns.clone();
        let passes = controller
            .graceful_shutdown_on(round.clone().cancelled_owned())
            .run(move |object, ctx| pass(in_turn.clone(), object, ctx), |_, error: &Infallible, _| match *error {}, context)
            .for_each(|result| async {
                match result {
                    Ok(_) | Err(ControllerError::ObjectNotFound(_)) => {}
                    Err(error) => {
                        let cause = refusal::of_watch("watching StreamPipelines", &error);
                        tracing::warn!(reason = %cause.reason, "It is tried again: {}", cause.message);
                    }
                }
            });
        let mut passes = pin!(passes);
        tokio::select! {
            () = &mut passes => return Ok(()),
            why = disproven => tracing::error!("{why}"),
            () = upgraded => tracing::info!("The CRDs were upgraded; the watches, which left out what the older ones did not know, are begun anew"),
        }
        round.cancel();
        passes.await;
        process_state.forget_closed();
    }
    Ok(())
}

/// What a watch has told of a namespace, or of all.
fn versions<K>(store: &reflector::Store<K>, namespace: Option<&str>) -> Versions
where
    K: kube::Resource<DynamicType = ()> + reflector::Lookup<DynamicType = ()> + Clone,
{
    watch::held(store, namespace).iter().map(|object| version(object.as_ref())).collect()
}

/// What a store of StreamPipelines holds of a namespace.
fn held(store: reflector::Store<Object>) -> impl Fn(&str) -> Vec<Object> {
    move |namespace| watch::held(&store, Some(namespace)).iter().map(|object| object.as_ref().clone()).collect()
}

/// Keeps what is needed of the metadata of all records.
fn watch_records(apis: Vec<(Option<&str>, Api<Meta>)>, shutdown: CancellationToken) -> Records {
    let (records, mut filler) = Records::empty();
    let told = records.clone();
    let changes = watch::objects(apis, RECORDS, move |namespace: &str| told.named(namespace)).take_until(shutdown.cancelled_owned());
    tokio::spawn(async move {
        let mut changes = pin!(changes);
        while let Some(change) = changes.next().await {
            // A watch that failed is told there, and goes on.
            let _ = change.map(|change| filler.apply(&change));
        }
    });
    records
}

/// Closes idle clients and updates the gauges now and then.
async fn sweep(clients: Arc<ClientPool>, gateways: Arc<EnosPlatform>, clock: Clock, metrics: Arc<Metrics>, shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(Duration::from_secs(10));
    while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
        clients.sweep(Instant::now());
        gateways.sweep(Instant::now());
        metrics.kafka_clients.set(i64::try_from(clients.count()).unwrap_or(i64::MAX));
        metrics.enos_clients.set(i64::try_from(gateways.count()).unwrap_or(i64::MAX));
        metrics.clock_gap_seconds.set(clock.gap().unwrap_or_default());
    }
}

/// Forgets what is remembered of objects that are gone, and counts where the others stand.
async fn forget(ctx: Arc<Context>, turns: Turns, listed: CancellationToken, shutdown: CancellationToken) {
    // Until all objects are listed, those that are missing would count as gone.
    if shutdown.run_until_cancelled(listed.cancelled()).await.is_none() {
        return;
    }
    let mut tick = tokio::time::interval(Duration::from_secs(10));
    while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
        let pipelines = ctx.pipelines.all();
        let alive: HashSet<String> = pipelines.iter().filter_map(|p| p.uid()).chain(ctx.records.uids()).collect();
        if ctx.running.leads() {
            let stages: Vec<_> =
                pipelines.iter().filter_map(|p| Some(p.0.as_ref().ok()?.status.as_ref()?.offset_reset.as_ref()?.stage)).collect();
            let kept = pipelines.iter().filter(|p| p.finalizers().iter().any(|f| f == FINALIZER)).count();
            ctx.running.metrics.stand(&stages, kept);
        }
        ctx.process_state.forget(|uid| alive.contains(uid), Instant::now());
        turns.forget(|uid| alive.contains(uid));
        ctx.platforms.secrets.sweep(Instant::now());
        ctx.record_store.sweep(Instant::now());
    }
}
