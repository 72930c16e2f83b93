//! Where one reset after the other runs, each with one fault.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::ResourceExt;
use serde_json::{Value, json};
use stream_pipeline_api::{OffsetResetRecord, Stage, StreamPipeline};
use testbed::enos::{ORGANISATION, Options, Pipeline, Simulator};
use testbed::wire::{Fate, Passing, Wire};
use testbed::{Operator, eventually};

use super::calls::{Fault, Point, kind, moves_on};
use crate::support::enos::{EnosWorld, LOCAL, QUICK, credentials, id, pause};
use crate::support::status::is_over;
use crate::support::world::{EXE, LIMIT, World, flags};

#[derive(Default)]
pub struct State {
    on: bool,
    phase: usize,
    pub trace: Vec<Point>,
    /// Resets that the operator sent.
    resets: usize,
    armed: Option<(Point, Fate)>,
    pub fired: bool,
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
pub enum Flow {
    Pause,
    Plain,
}

/// A platform, a namespace, and proxies between both and an operator; it runs one cell after the other.
pub struct Bench {
    enos: EnosWorld,
    state: Arc<Mutex<State>>,
    api: Wire,
    platform: Wire,
    operator: Option<Operator>,
    cells: usize,
}

pub struct Row {
    pub point: Point,
    pub fault: Option<Fault>,
    pub fired: bool,
    pub end: String,
    /// How many resets the operator sent, and how many the platform carried out.
    pub resets: (usize, u64),
    pub took: Duration,
}

impl Row {
    pub fn said(&self) -> &str {
        if self.fired { &self.end } else { "not reached" }
    }
}

impl Bench {
    pub async fn new(test: &str) -> Self {
        let world = World::without_operator(test).await;
        let sim = Simulator::start(Options::default()).await;
        let enos = EnosWorld { world, sim, extra: Vec::new() };
        enos.world.secret("app", credentials()).await;
        let state: Arc<Mutex<State>> = Arc::default();
        let judge = |state: &Arc<Mutex<State>>| {
            let state = Arc::clone(state);
            Arc::new(move |call: &Passing| state.lock().expect("no panic under this lock").judge(call))
        };
        let api = Wire::to_api_server(&enos.world.testbed.cluster.operator_kubeconfig(), judge(&state)).await.expect("a proxy starts");
        let platform = Wire::to(&enos.sim.endpoint(), judge(&state)).await.expect("a proxy starts");
        Self { enos, state, api, platform, operator: None, cells: 0 }
    }

    pub fn state(&self) -> std::sync::MutexGuard<'_, State> {
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

    async fn apply(&self, name: &str, id: &str, reset: Value) {
        let mut spec = self.enos.spec(id);
        spec["endpoint"] = json!(self.platform.endpoint());
        self.enos.apply_spec(name, spec, reset).await;
    }

    /// One reset with one fault.
    pub async fn cell(&mut self, flow: Flow, cell: Option<(Point, Fault)>) -> Row {
        let begun = std::time::Instant::now();
        self.cells += 1;
        let (name, id) = (format!("c{}", self.cells), id(self.cells));
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
                // How often it polls differs from run to run. A reset without this call ends by itself.
                false if self.ended(flow, &name, &id).await.is_ok() => Ok(()),
                false => Err(format!("{:?}", self.state().trace)),
            })
            .await;
            self.start();
        }
        let what = format!("the end of {cell:?}");
        let end = eventually(&what, LIMIT, async || self.ended(flow, &name, &id).await).await;
        let fired = cell.is_none() || self.state().fired;
        let records = self.enos.world.records_of(&name).await;
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
            // The comparison after the start is still to come.
            (Flow::Pause, Stage::Sent) => is_over(&status) && reason != "NoReadBackWhilePaused",
            (Flow::Pause, _) => on_platform == "RUNNING" && object.finalizers().is_empty() && is_over(&status),
        };
        if !at_rest {
            return Err(format!("{on_platform}, {:?}: {seen}", object.finalizers()));
        }
        let records = self.enos.world.records_of(name).await;
        let owes =
            |r: &OffsetResetRecord| r.spec.run_state_before.is_some() && r.status.as_ref().is_none_or(|s| s.brought_back_at.is_none());
        if flow == Flow::Pause && stage != Stage::Held && records.iter().any(owes) {
            return Err(format!("not brought back: {records:?}"));
        }
        Ok(format!("{stage:?}/{reason}"))
    }

    /// Deletes the object, which first brings back a pipeline that is kept paused.
    async fn clear(&mut self, name: &str, id: &str, as_before: &str) {
        self.state().on = false;
        self.enos.world.ask_to_delete(name).await;
        eventually(&format!("{name} to be gone"), LIMIT, async || match self.object(name).await {
            None => Ok(()),
            Some(object) => Err(format!("{:?}", object.metadata)),
        })
        .await;
        assert_eq!(self.enos.sim.status(id), as_before, "the state of the pipeline after the deletion");
        self.enos.sim.remove(id);
    }
}
