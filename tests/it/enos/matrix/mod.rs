//! O10, O11 on EnOS: every call of a reset, to the platform and to the API server, goes wrong in every way. The cells are
//! made from the calls that a reset without faults was seen to make.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use stream_pipeline_operator::api::{FINALIZER, OffsetResetRecord, Stage, StreamPipeline};
use testbed::enos::{ORGANISATION, Options, Pipeline, Simulator};
use testbed::wire::{Fate, Passing, Wire};
use testbed::{Operator, eventually};

use crate::support::enos::{Enos, LOCAL, QUICK, pause};
use crate::support::matrix::{counts, work_off};
use crate::support::world::{EXE, LIMIT, flags, is_over};

/// So many resets at once in one test.
const WORKERS: usize = 12;

/// A call, and how many writes of the reset had been made, itself included.
type Point = (usize, &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    CrashBefore,
    CrashAfter,
    Wire(Fate),
}

/// Which calls a reset makes: None for those that have nothing to do with one.
fn kind(call: &Passing) -> Option<&'static str> {
    let (path, body) = (call.path.as_str(), call.body.as_str());
    let named = |plural: &str| path.split(&format!("/{plural}/")).nth(1).is_some();
    Some(match (call.method.as_str(), path) {
        _ if call.query.contains("watch=") => return None,
        (_, p) if p.contains("/token/") => "token",
        ("GET", p) if p.ends_with("/streaming/pipelines") => "list",
        ("GET", p) if p.ends_with("/offset-lag") => "lag",
        ("POST", p) if p.ends_with("/offset") => "reset",
        ("POST", p) if p.contains("/streaming/pipeline/") && call.query.contains("action=pause") => "pause",
        ("POST", p) if p.contains("/streaming/pipeline/") && call.query.contains("action=start") => "start",
        ("GET", p) if p.contains("/secrets/") => "read Secret",
        ("POST", p) if p.contains("/events") => "event",
        ("POST", p) if p.ends_with("/offsetresetrecords") => "create record",
        ("GET", p) if p.ends_with("/offsetresetrecords") && call.query.contains("labelSelector") => "list records",
        ("GET", _) if named("offsetresetrecords") => "read record",
        ("PATCH", p) if named("offsetresetrecords") && p.ends_with("/status") && body.contains("\"phase\"") => "close",
        ("PATCH", p) if named("offsetresetrecords") && p.ends_with("/status") => "note brought back",
        ("PATCH", _) if named("offsetresetrecords") && body.contains("\"plan\":null") => "unload",
        ("PATCH", _) if named("offsetresetrecords") => "put plan",
        ("GET", _) if named("streampipelines") => "read object",
        ("PATCH", _) if named("streampipelines") && body.contains(FINALIZER) => "finalizer on",
        ("PATCH", _) if named("streampipelines") => "finalizer off",
        ("PUT", p) if p.ends_with("/status") => "status",
        _ => return None,
    })
}

/// Writes that move a reset on, each of them once where nothing goes wrong.
fn moves_on(kind: &str) -> bool {
    matches!(
        kind,
        "finalizer on"
            | "create record"
            | "pause"
            | "put plan"
            | "unload"
            | "reset"
            | "close"
            | "start"
            | "note brought back"
            | "finalizer off"
    )
}

fn writes(kind: &str) -> bool {
    moves_on(kind) || matches!(kind, "status" | "event" | "token")
}

/// Every way in which such a call can go wrong.
fn faults(kind: &str) -> Vec<Fault> {
    use Fate::*;
    if !writes(kind) {
        // A read has no effect to be before or after.
        return [Fault::CrashBefore].into_iter().chain([ErrorBefore, HangBefore, DropBefore, Stale].map(Fault::Wire)).collect();
    }
    let mut all = vec![Fault::CrashBefore, Fault::CrashAfter];
    all.extend([ErrorBefore, ErrorAfter, HangBefore, HangAfter, DropBefore, DropAfter, Late(Duration::from_millis(2300))].map(Fault::Wire));
    if kind != "reset" {
        // Nobody can keep a network from repeating the one call that must not be.
        all.push(Fault::Wire(Twice));
    }
    all
}

#[derive(Default)]
struct State {
    on: bool,
    phase: usize,
    trace: Vec<Point>,
    /// Resets that left the operator.
    resets: usize,
    armed: Option<(Point, Fate)>,
    fired: bool,
}

impl State {
    fn judge(&mut self, call: &Passing) -> (Fate, usize) {
        let Some(kind) = kind(call).filter(|_| self.on) else { return (Fate::Pass, 0) };
        self.phase += usize::from(moves_on(kind));
        self.resets += usize::from(kind == "reset");
        let point = (self.phase, kind);
        if !self.trace.contains(&point) {
            self.trace.push(point);
        }
        match self.armed.take_if(|(at, _)| *at == point) {
            Some((_, fate)) => {
                self.fired = true;
                (fate, self.phase)
            }
            None => (Fate::Pass, self.phase),
        }
    }
}

/// Where a pipeline stands before, and how it is asked for.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Pause,
    Plain,
}

/// A platform, a namespace and the wires between them and an operator. One cell after the other.
struct Bench {
    enos: Enos,
    state: Arc<Mutex<State>>,
    api: Wire,
    platform: Wire,
    operator: Option<Operator>,
    cells: usize,
}

struct Row {
    point: Point,
    fault: Option<Fault>,
    fired: bool,
    end: String,
    /// Sent by the operator; carried out by the platform.
    resets: (usize, u64),
    took: Duration,
}

impl Row {
    fn said(&self) -> &str {
        if self.fired { &self.end } else { "not reached" }
    }
}

impl Bench {
    async fn new(test: &str) -> Self {
        let world = crate::support::world::World::without_operator(test).await;
        let sim = Simulator::start(Options::default()).await;
        let enos = Enos { world, sim, extra: Vec::new() };
        enos.secret("app", json!({ "accessKey": testbed::enos::ACCESS_KEY, "secretKey": testbed::enos::SECRET_KEY })).await;
        let state: Arc<Mutex<State>> = Arc::default();
        let judge = |state: &Arc<Mutex<State>>| {
            let state = Arc::clone(state);
            Arc::new(move |call: &Passing| state.lock().expect("no panic under this lock").judge(call))
        };
        let api = Wire::to_api_server(&enos.world.testbed.cluster.operator_kubeconfig(), judge(&state)).await.expect("a proxy starts");
        let platform = Wire::to(&enos.sim.endpoint(), judge(&state)).await.expect("a proxy starts");
        Self { enos, state, api, platform, operator: None, cells: 0 }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }

    fn start(&mut self) {
        self.operator = None;
        let extra: Vec<&str> = LOCAL.iter().chain(&QUICK).copied().collect();
        let args = flags(&extra);
        self.operator = Some(Operator::start_with(&self.api.kubeconfig(), Path::new(EXE), self.enos.world.namespace.name(), &args));
    }

    async fn object(&self, name: &str) -> Option<StreamPipeline> {
        self.enos.world.pipelines().get_opt(name).await.expect("the API server answers")
    }

    async fn records(&self, name: &str) -> Vec<OffsetResetRecord> {
        let of = ListParams::default().labels(&format!("streampipeline.io/pipeline={name}"));
        self.enos.world.records().list(&of).await.expect("the API server answers").items
    }

    async fn apply(&self, name: &str, id: &str, reset: Value) {
        let mut spec = self.enos.spec(id);
        spec["endpoint"] = json!(self.platform.endpoint());
        self.enos.apply_spec(name, spec, reset).await;
    }

    /// One reset with one fault.
    async fn cell(&mut self, flow: Flow, cell: Option<(Point, Fault)>) -> Row {
        let begun = std::time::Instant::now();
        self.cells += 1;
        let (name, id) = (format!("c{}", self.cells), crate::support::enos::id(self.cells));
        let status = if flow == Flow::Pause { "RUNNING" } else { "PAUSED" };
        self.enos.sim.add(Pipeline::new(ORGANISATION, &id, &name, status).series(400_000, 1_000_000));
        self.apply(&name, &id, Value::Null).await;
        self.start();
        self.enos.world.wait(&name, "the operator to see the object", |s| s.phase.is_some()).await;
        self.enos.sim.expire_tokens();
        let stopped = |bench: &Self| bench.api.stopped() + bench.platform.stopped();
        let stopped_before = stopped(self);
        *self.state() = State {
            on: true,
            armed: cell.map(|(point, fault)| match fault {
                Fault::CrashBefore => (point, Fate::HangBefore),
                Fault::CrashAfter => (point, Fate::HangAfter),
                Fault::Wire(fate) => (point, fate),
            }),
            ..State::default()
        };
        self.apply(&name, &id, if flow == Flow::Pause { pause("r1") } else { json!({ "id": "r1" }) }).await;
        if cell.is_some_and(|(_, fault)| matches!(fault, Fault::CrashBefore | Fault::CrashAfter)) {
            let what = format!("{cell:?} to be reached");
            eventually(&what, LIMIT, async || match stopped(self) > stopped_before {
                true => Ok(()),
                // Polls differ from run to run: then there is nothing to kill at.
                false if self.ended(flow, &name, &id).await.is_ok() => Ok(()),
                false => Err(format!("{:?}", self.state().trace)),
            })
            .await;
            self.start();
        }
        let what = format!("the end of {cell:?}");
        let end = eventually(&what, LIMIT, async || self.ended(flow, &name, &id).await).await;
        let fired = cell.is_none() || self.state().fired;
        let records = self.records(&name).await;
        assert_eq!(records.len(), 1, "one record: {cell:?}");
        let row = Row {
            point: cell.map_or((0, "none"), |c| c.0),
            fault: cell.map(|c| c.1),
            fired,
            end,
            resets: (self.state().resets, self.enos.sim.resets(&id)),
            took: begun.elapsed(),
        };
        assert!(row.resets.0 <= 1 && row.resets.1 <= 1, "{cell:?}: {:?} resets", row.resets);
        self.clear(&name, &id, status).await;
        row
    }

    /// How it ended, once nothing is left to do.
    async fn ended(&self, flow: Flow, name: &str, id: &str) -> Result<String, String> {
        let object = self.object(name).await.ok_or("gone")?;
        let status = object.status.clone().unwrap_or_default();
        let seen = serde_json::to_string(&status).unwrap_or_default();
        let (stage, reason) = match &status.offset_reset {
            Some(reset) => {
                (reset.stage, status.conditions.iter().find(|c| c.type_ == "Ready").map(|c| c.reason.clone()).unwrap_or_default())
            }
            None => return Err(seen),
        };
        let on_platform = self.enos.sim.status(id);
        let at_rest = match (flow, stage) {
            (_, Stage::Waiting | Stage::Pausing | Stage::Sending) => false,
            (Flow::Pause, Stage::Held) => on_platform == "PAUSED" && !object.finalizers().is_empty(),
            (Flow::Plain, _) => on_platform == "PAUSED",
            // The comparison after the start comes.
            (Flow::Pause, Stage::Sent) => is_over(&status) && reason != "NoReadBackWhilePaused",
            (Flow::Pause, _) => on_platform == "RUNNING" && object.finalizers().is_empty() && is_over(&status),
        };
        if !at_rest {
            return Err(format!("{on_platform}, {:?}: {seen}", object.finalizers()));
        }
        let records = self.records(name).await;
        let owes =
            |r: &OffsetResetRecord| r.spec.run_state_before.is_some() && r.status.as_ref().is_none_or(|s| s.brought_back_at.is_none());
        if flow == Flow::Pause && stage != Stage::Held && records.iter().any(owes) {
            return Err(format!("not brought back: {records:?}"));
        }
        Ok(format!("{stage:?}/{reason}"))
    }

    /// Deletes the object: what is held is brought back first.
    async fn clear(&mut self, name: &str, id: &str, as_before: &str) {
        self.state().on = false;
        self.enos.world.pipelines().delete(name, &DeleteParams::default()).await.expect("it can be deleted");
        eventually(&format!("{name} to be gone"), LIMIT, async || match self.object(name).await {
            None => Ok(()),
            Some(object) => Err(format!("{:?}", object.metadata)),
        })
        .await;
        assert_eq!(self.enos.sim.status(id), as_before, "brought back");
        self.enos.sim.remove(id);
    }
}

/// The calls of a reset without faults, in order.
async fn recorded(bench: &mut Bench, flow: Flow) -> Vec<Point> {
    let row = bench.cell(flow, None).await;
    assert_eq!(row.end, expected(flow));
    assert_eq!(row.resets, (1, 1));
    bench.state().trace.clone()
}

fn expected(flow: Flow) -> &'static str {
    match flow {
        Flow::Pause => "Verified/ResetVerified",
        Flow::Plain => "Sent/NoReadBackWhilePaused",
    }
}

/// All cells of these faults; a table of how they ended.
async fn matrix(test: &'static str, flow: Flow, wanted: impl Fn(&'static str, Fault) -> bool) {
    let mut first = Bench::new(test).await;
    let points = recorded(&mut first, flow).await;
    println!("{test}: {} points: {points:?}", points.len());
    let at = |kind: &str| points.iter().find(|p| p.1 == kind).expect("it was seen").0;
    let plan = at(if flow == Flow::Pause { "put plan" } else { "create record" });
    let doubt = plan..=at("close");
    let cells: Vec<(Point, Fault)> =
        points.iter().flat_map(|p| faults(p.1).into_iter().filter(|f| wanted(p.1, *f)).map(move |f| (*p, f))).collect();
    let count = cells.len();
    let mut workers = vec![first];
    for n in 1..WORKERS {
        workers.push(Bench::new(&format!("{test}{n}")).await);
    }
    let mut rows = work_off(workers, cells, async |bench: &mut Bench, cell: (Point, Fault)| {
        let mut row = bench.cell(flow, Some(cell)).await;
        for _ in 0..2 {
            // A busy machine makes other calls: once more.
            if !row.fired && moves_on(cell.0.1) {
                row = bench.cell(flow, Some(cell)).await;
            }
        }
        row
    })
    .await;
    assert_eq!(rows.len(), count);
    rows.sort_by_key(|r| r.point);
    let mut wrong = Vec::new();
    for row in &rows {
        let (phase, call) = row.point;
        let fault = row.fault.map(|f| match f {
            Fault::Wire(fate) => format!("{fate:?}"),
            crash => format!("{crash:?}"),
        });
        let end = row.said();
        let line = format!(
            "{test} | {phase} {call} | {} | {end} | sent {} done {} | {:.1} s",
            fault.unwrap_or_default(),
            row.resets.0,
            row.resets.1,
            row.took.as_secs_f32()
        );
        println!("{line}");
        let held = row.end == "Held/OutcomeUnknown" && doubt.contains(&phase);
        if row.end != expected(flow) && !held {
            wrong.push(line);
        }
    }
    println!("{test}: {count} cells: {}", counts(rows.iter().map(Row::said)));
    assert!(wrong.is_empty(), "{} wrong ends: {wrong:#?}", wrong.len());
}

fn crash(fault: Fault) -> bool {
    matches!(fault, Fault::CrashBefore | Fault::CrashAfter)
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_killed_before_and_after_every_call_of_a_reset_with_a_pause() {
    matrix("o10m", Flow::Pause, |_, fault| crash(fault)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o11_an_error_before_and_after_every_call_of_a_reset_with_a_pause() {
    matrix("o11e", Flow::Pause, |_, fault| matches!(fault, Fault::Wire(Fate::ErrorBefore | Fate::ErrorAfter))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o11_no_answer_or_a_late_one_to_every_call_of_a_reset_with_a_pause() {
    matrix("o11t", Flow::Pause, |_, fault| matches!(fault, Fault::Wire(Fate::HangBefore | Fate::HangAfter | Fate::Late(_)))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o11_lost_repeated_and_stale_answers_to_every_call_of_a_reset_with_a_pause() {
    let wanted = |fault| matches!(fault, Fault::Wire(Fate::DropBefore | Fate::DropAfter | Fate::Twice | Fate::Stale));
    matrix("o11l", Flow::Pause, move |_, fault| wanted(fault)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_o11_every_fault_at_every_call_of_a_reset_of_a_paused_pipeline() {
    matrix("o11p", Flow::Plain, |_, _| true).await;
}
