//! O10 with workloads: the operator is killed before and after every write of a reset that scales. The cells are made from
//! the calls that a reset without faults was seen to make.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::future::join;
use kube::ResourceExt;
use serde_json::{Value, json};
use stream_pipeline_api::{FINALIZER, OPERATOR, Stage};
use testbed::proxy::KafkaProxy;
use testbed::trap::Side;
use testbed::wire::{Fate, Passing, Wire};
use testbed::{Broker, Operator, eventually, kafka, pods};

use crate::support::brokers;
use crate::support::calls::is_commit;
use crate::support::matrix::{run_cells, tally};
use crate::support::status::is_over;
use crate::support::workloads::{QUICK, pause, reference};
use crate::support::world::{EXE, LIMIT, World, flags};

/// So many resets at once.
const WORKERS: usize = 6;

/// A call, and how many writes of the reset had been made, itself included.
type Point = (usize, &'static str);
type Cell = (Point, Side);

/// Which writes a reset makes, each of them once where nothing goes wrong, but for the last two.
fn kind(call: &Passing) -> Option<&'static str> {
    let (path, body) = (call.path.as_str(), call.body.as_str());
    let named = |plural: &str| path.split(&format!("/{plural}/")).nth(1).is_some();
    Some(match (call.method.as_str(), path) {
        ("PATCH", p) if p.ends_with("/scale") && body.contains("\"replicas\":0") => "scale down",
        ("PATCH", p) if p.ends_with("/scale") => "scale up",
        ("POST", p) if p.ends_with("/offsetresetrecords") => "create record",
        ("PATCH", p) if named("offsetresetrecords") && p.ends_with("/status") && body.contains("\"phase\"") => "close",
        ("PATCH", p) if named("offsetresetrecords") && p.ends_with("/status") => "note brought back",
        ("PATCH", _) if named("offsetresetrecords") && body.contains("\"plan\":null") => "unload",
        ("PATCH", _) if named("offsetresetrecords") => "put plan",
        ("PATCH", _) if named("streampipelines") && body.contains(FINALIZER) => "finalizer on",
        ("PATCH", p) if named("streampipelines") && !p.ends_with("/status") => "finalizer off",
        ("POST", p) if p.contains("/events") => "event",
        (_, p) if named("streampipelines") && p.ends_with("/status") && call.method != "GET" => "status",
        _ => return None,
    })
}

#[derive(Default)]
struct State {
    on: bool,
    phase: usize,
    trace: Vec<Point>,
    armed: Option<(Point, Fate)>,
}

impl State {
    fn judge(&mut self, call: &Passing) -> (Fate, usize) {
        let Some(kind) = kind(call).filter(|_| self.on) else { return (Fate::Pass, 0) };
        self.phase += usize::from(!matches!(kind, "status" | "event"));
        let point = (self.phase, kind);
        // By its name alone: a write that meets a newer version is repeated, which shifts the numbers behind it. Of status and event
        // only the last is meant, which comes after the finalizer is off.
        let off = self.trace.iter().any(|p| p.1 == "finalizer off");
        let reached = |wanted: &str| wanted == kind && (off || !matches!(kind, "status" | "event"));
        if !self.trace.contains(&point) {
            self.trace.push(point);
        }
        (self.armed.take_if(|(at, _)| reached(at.1)).map_or(Fate::Pass, |(_, fate)| fate), self.phase)
    }
}

/// A namespace whose pods run, and proxies between an operator and its servers; it runs one cell after the other.
struct Bench {
    pods: pods::Pods,
    world: World,
    topic: String,
    state: Arc<Mutex<State>>,
    api: Wire,
    /// Only the bench that stops commits has a proxy and a broker of its own.
    commits: Option<(KafkaProxy, Broker)>,
    operator: Option<Operator>,
    cells: usize,
}

struct Row {
    cell: Option<Cell>,
    end: String,
    sent: usize,
    seconds: f32,
}

impl Bench {
    async fn new(test: &str, commits: bool) -> Self {
        let mut world = World::without_operator(test).await;
        let commits = if commits {
            let (proxy, listener) = KafkaProxy::bind().await.expect("a port");
            let (address, testbed) = (proxy.address.clone(), world.testbed);
            let start = move || Broker::start_with(&testbed.parts, |_| Some(address.clone()));
            let broker = brokers::start(start).await;
            proxy.serve(listener, broker.second());
            world.bootstrap = broker.bootstrap();
            Some((proxy, broker))
        } else {
            None
        };
        let topic = world.topic(&[10, 10]).await;
        let pods = pods::Pods::play(world.client.clone(), world.namespace.name(), &world.bootstrap);
        let state: Arc<Mutex<State>> = Arc::default();
        let judge = Arc::clone(&state);
        let judge = Arc::new(move |call: &Passing| judge.lock().expect("no panic under this lock").judge(call));
        let api = Wire::to_api_server(&world.testbed.cluster.operator_kubeconfig(), judge).await.expect("a proxy starts");
        Self { pods, world, topic, state, api, commits, operator: None, cells: 0 }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }

    /// Starts another operator; returns how often the one before had begun to send.
    fn restart(&mut self) -> usize {
        let sent = self.sent();
        self.operator = None;
        self.operator = Some(Operator::start_with(&self.api.kubeconfig(), Path::new(EXE), self.world.namespace.name(), &flags(&QUICK)));
        sent
    }

    fn sent(&self) -> usize {
        self.operator.as_ref().map_or(0, |o| o.log().lines().filter(|l| l.contains("Sending the plan")).count())
    }

    async fn apply(&self, name: &str, workload: &Value, reset: Value) {
        let servers = self.commits.as_ref().map_or(&self.world.bootstrap, |(proxy, _)| &proxy.address);
        let mut spec = json!({ "kafka": { "bootstrapServers": [servers], "consumerGroup": name, "workloads": [reference(workload)] } });
        if !reset.is_null() {
            spec["offsetReset"] = reset;
        }
        self.world.apply_spec(name, spec).await.expect("the API server takes it");
    }

    async fn offsets(&self, group: &str) -> Vec<Option<i64>> {
        self.world.offsets(group, &self.topic, 2).await
    }

    async fn count(&self, workload: &Value) -> i64 {
        let found = pods::get(&self.world.client, self.world.namespace.name(), workload).await.expect("it is there");
        found.data["spec"]["replicas"].as_i64().unwrap_or_default()
    }

    /// One reset with one death.
    async fn cell(&mut self, cell: Option<Cell>) -> Row {
        let begun = std::time::Instant::now();
        self.cells += 1;
        let name = format!("{}-{}", self.world.namespace.name(), self.cells);
        let workload = pods::deployment(&name, 2, &name, &self.topic);
        pods::apply(&self.world.client, self.world.namespace.name(), "owner", &workload).await.expect("the manifest is accepted");
        self.apply(&name, &workload, Value::Null).await;
        self.operator = None;
        self.restart();
        self.world.wait(&name, "the operator to see the object", |s| s.phase.is_some()).await;
        self.all_read(&name).await;
        let stopped = self.api.stopped();
        let commits = || self.commits.as_ref().map_or(0, |(p, _)| p.traps.seen().iter().filter(|c| is_commit(c)).count());
        let before = commits();
        let at_commit = cell.is_some_and(|(point, _)| point.1 == "commit");
        let fate = |side| if side == Side::Before { Fate::HangBefore } else { Fate::HangAfter };
        *self.state() = State { on: true, armed: cell.filter(|_| !at_commit).map(|(p, side)| (p, fate(side))), ..State::default() };
        if let (Some((_, side)), Some((proxy, _)), true) = (cell, &self.commits, at_commit) {
            proxy.traps.arm(side, is_commit);
        }
        self.apply(&name, &workload, pause("r1")).await;
        let mut sent = 0;
        if cell.is_some() {
            if at_commit {
                self.commits.as_ref().expect("it stops commits").0.traps.sprung().await;
            } else {
                eventually(&format!("{cell:?} to be reached"), LIMIT, async || match self.api.stopped() > stopped {
                    true => Ok(()),
                    false => Err(format!("{:?}", self.state().trace)),
                })
                .await;
            }
            if let Some((proxy, _)) = &self.commits {
                self.operator.as_mut().expect("an operator").kill();
                proxy.traps.disarm();
            }
            sent = self.restart();
        }
        let end = eventually(&format!("the end of {cell:?}"), LIMIT, async || self.ended(&name, &workload).await).await;
        sent += self.sent();
        if let Some((proxy, _)) = &self.commits {
            let came = proxy.traps.seen().iter().filter(|c| is_commit(c)).count() - before;
            assert!(came <= 1, "{cell:?}: {came} commits");
        }
        assert!(sent <= 1, "{cell:?}: sent {sent} times");
        let mut trace = self.state().trace.clone();
        trace.dedup();
        self.clear(&name, &workload, end.starts_with("Held")).await;
        if cell.is_none() {
            self.state().trace = trace;
        }
        Row { cell, end, sent, seconds: begun.elapsed().as_secs_f32() }
    }

    async fn all_read(&self, group: &str) {
        eventually("everything to be read by two", LIMIT, async || {
            let seen = (self.offsets(group).await, kafka::members(&self.world.bootstrap, group).await?.1.len());
            if seen == (vec![Some(10), Some(10)], 2) { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    }

    /// How it ended, once nothing is left to do.
    async fn ended(&self, name: &str, workload: &Value) -> Result<String, String> {
        let object = self.world.pipelines().get(name).await.map_err(|e| e.to_string())?;
        let status = object.status.clone().unwrap_or_default();
        let seen = serde_json::to_string(&status).unwrap_or_default();
        let Some(reset) = &status.offset_reset else { return Err(seen) };
        let reason = status.conditions.iter().find(|c| c.type_ == "Ready").map(|c| c.reason.clone()).unwrap_or_default();
        let (count, guarded) = (self.count(workload).await, !object.finalizers().is_empty());
        let records = self.world.records_of(name).await;
        if records.len() > 1 {
            return Err(format!("{} records", records.len()));
        }
        let back = records.iter().all(|r| r.status.as_ref().is_some_and(|s| s.brought_back_at.is_some()));
        let at_rest = match reset.stage {
            Stage::Waiting | Stage::Pausing | Stage::Sending => false,
            Stage::Held => (count, guarded, back) == (0, true, false),
            _ => (count, guarded, back) == (2, false, true) && is_over(&status),
        };
        if at_rest { Ok(format!("{:?}/{reason}", reset.stage)) } else { Err(format!("{count} replicas, {guarded}, {back}: {seen}")) }
    }

    /// Deletes the object, which scales back what is kept at 0.
    async fn clear(&mut self, name: &str, workload: &Value, held: bool) {
        self.state().on = false;
        if held {
            assert_eq!(self.offsets(name).await, [Some(10), Some(10)], "offsets, where nothing was sent");
        }
        self.world.delete(name).await;
        assert_eq!(self.count(workload).await, 2, "replicas after the deletion");
        let found = pods::get(&self.world.client, self.world.namespace.name(), workload).await.expect("it is there");
        let managers: Vec<_> = found.metadata.managed_fields.iter().flatten().filter_map(|m| m.manager.clone()).collect();
        assert!(!managers.iter().any(|m| m.starts_with(OPERATOR)), "the count is not ours any more: {managers:?}");
        if !held {
            // The reset was to 0: everything is read again.
            self.all_read(name).await;
        }
        pods::delete(&self.world.client, self.world.namespace.name(), workload).await.expect("it can be deleted");
        eventually("its pods to end", LIMIT, async || match self.pods.running() {
            none if none.is_empty() => Ok(()),
            some => Err(format!("{some:?}")),
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_killed_before_and_after_every_write_of_a_reset_that_scales() {
    let mut first = Bench::new("w10", true).await;
    let clean = first.cell(None).await;
    assert_eq!((clean.end.as_str(), clean.sent), ("Verified/ResetVerified", 1));
    let mut points = first.state().trace.clone();
    // Statuses and events on the way differ from run to run; only the last ones are always there.
    let last = points.iter().map(|p| p.0).max();
    points.retain(|p| !matches!(p.1, "status" | "event") || Some(p.0) == last);
    println!("w10: {} points: {points:?}", points.len());
    for kind in ["finalizer on", "create record", "scale down", "put plan", "close", "scale up", "note brought back", "finalizer off"] {
        assert!(points.iter().any(|p| p.1 == kind), "no {kind}: {points:?}");
    }
    let sides = [Side::Before, Side::After];
    let phase = points.iter().find(|p| p.1 == "put plan").expect("it was seen").0;
    points.push((phase, "commit"));
    let cells = points.iter().flat_map(|p| sides.map(|side| (*p, side)));
    // One broker with a proxy is enough for the commits.
    let (own, cells): (Vec<Cell>, Vec<Cell>) = cells.partition(|cell| cell.0.1 == "commit");
    let mut workers = Vec::new();
    for n in 1..WORKERS {
        workers.push(Bench::new(&format!("w10x{n}"), false).await);
    }
    let work = async |bench: &mut Bench, cell: Cell| bench.cell(Some(cell)).await;
    let (commits, others) = join(run_cells(vec![first], own, work), run_cells(workers, cells, work)).await;
    let mut rows: Vec<Row> = commits.into_iter().chain(others).collect();
    rows.sort_by_key(|r| r.cell.map(|(point, side)| (point, side == Side::After)));
    let mut wrong = Vec::new();
    for row in &rows {
        let Some(((at, call), side)) = row.cell else { continue };
        let line = format!("w10 | {at} {call} | killed {side:?} | {} | sent {} | {:.1} s", row.end, row.sent, row.seconds);
        println!("{line}");
        // Between the write of the plan and the commit only the process that died may send, so the request is held.
        let in_doubt = matches!((call, side), ("put plan", Side::After) | ("commit", Side::Before));
        if row.end != if in_doubt { "Held/OutcomeUnknown" } else { "Verified/ResetVerified" } {
            wrong.push(line);
        }
    }
    println!("w10: {} cells: {}", rows.len(), tally(rows.iter().map(|row| row.end.as_str())));
    assert!(wrong.is_empty(), "{} wrong ends: {wrong:#?}", wrong.len());
}
