//! The rows about EnOS, on the simulator of the platform, which shares nothing with the operator's client.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use stream_pipeline_operator::api::{OffsetResetRecord, Stage, StreamPipelineStatus};
use testbed::enos::{ACCESS_KEY, Call, Fault, Kind, ORGANISATION, Options, Pipeline, SECRET_KEY, Simulator, When};
use testbed::eventually;

use crate::support::world::{LIMIT, World, instead};

/// The id of the one pipeline most tests have.
pub const ID: &str = "565c0114-0000-4372-86d1-000000000001";

/// Of one of several.
pub fn id(n: usize) -> String {
    format!("565c0114-0000-4372-86d1-{n:012}")
}

/// Flags that let the operator reach a simulator on this machine.
pub const LOCAL: [&str; 4] = ["--allow-plain-http", "--allowed-endpoints=127.0.0.1,::1", "--list-interval=300ms", "--slow-stop=7s"];

/// Shorter waits for what may still land: 4.5 s instead of 7.
pub const QUICK: [&str; 2] = ["--call-deadline=2s", "--late-bound=500ms"];

/// A namespace with an operator, a platform, and the Secret of an application.
pub struct Enos {
    pub world: World,
    pub sim: Simulator,
    pub extra: Vec<&'static str>,
}

impl Enos {
    /// One pipeline, `ID`, in this state: its log has 1,000,000 records, of which 400,000 are read.
    pub async fn with(test: &str, status: &str) -> Self {
        let enos = Self::new(test, Options::default()).await;
        enos.sim.add(Pipeline::new(ORGANISATION, ID, "cleaning", status).series(400_000, 1_000_000));
        enos
    }

    /// As [`Enos::with`], `RUNNING`, known to the operator, which waits shorter.
    pub async fn running(test: &str, extra: &[&'static str]) -> Self {
        let enos = Self::with_flags(test, Options::default(), &instead(&QUICK, extra)).await;
        enos.sim.add(Pipeline::new(ORGANISATION, ID, "cleaning", "RUNNING").series(400_000, 1_000_000));
        enos.known("p").await;
        enos
    }

    pub async fn new(test: &str, options: Options) -> Self {
        Self::with_flags(test, options, &[]).await
    }

    pub async fn with_flags(test: &str, options: Options, extra: &[&'static str]) -> Self {
        let world = World::without_operator(test).await;
        let sim = Simulator::start(options).await;
        let mut enos = Self { world, sim, extra: extra.to_vec() };
        enos.secret("app", json!({ "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY })).await;
        enos.start();
        enos
    }

    pub fn start(&mut self) {
        self.world.start_operator_with(&instead(&LOCAL, &self.extra));
    }

    pub fn restart(&mut self) {
        self.world.kill_operator();
        self.start();
    }

    /// Creates or replaces the Secret of an application.
    pub async fn secret(&self, name: &str, values: Value) {
        let api: Api<Secret> = Api::namespaced(self.world.client.clone(), self.world.namespace.name());
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": values });
        api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(secret)).await.expect("the Secret is taken");
    }

    /// The `spec.enos` of a pipeline.
    pub fn spec(&self, id: &str) -> Value {
        json!({
            "endpoint": self.sim.endpoint(), "orgID": ORGANISATION, "pipelineID": id, "credentialsSecretRef": { "name": "app" },
            "start": { "executionMode": "Standalone", "kafkaRate": 1000, "resourceConfig": { "server": "1" } }
        })
    }

    pub async fn apply(&self, name: &str, id: &str, reset: Value) {
        self.apply_spec(name, self.spec(id), reset).await;
    }

    pub async fn apply_spec(&self, name: &str, enos: Value, reset: Value) {
        let mut spec = json!({ "enos": enos });
        if !reset.is_null() {
            spec["offsetReset"] = reset;
        }
        self.world.apply_spec(name, spec).await.expect("the API server takes it");
    }

    /// Created with a request that runs at once; `more` are further fields of it.
    pub async fn run(&self, name: &str, enos: Value, more: Value) {
        let mut request = json!({ "id": "r1", "whenCreated": "Run" });
        for (field, value) in more.as_object().into_iter().flatten() {
            request[field] = value.clone();
        }
        self.apply_spec(name, enos, request).await;
    }

    /// Created without a request, and seen.
    pub async fn known(&self, name: &str) {
        self.apply(name, ID, Value::Null).await;
        self.world.wait(name, "the operator to see the object", |s| s.observed_uid.is_some()).await;
    }

    /// Accepted, and not provable before the next start.
    pub async fn sent(&self, name: &str, id: &str) -> StreamPipelineStatus {
        self.world.reaches(name, id, Stage::Sent, "NoReadBackWhilePaused").await
    }

    pub async fn record(&self) -> OffsetResetRecord {
        let mut all = self.world.all_records().await;
        assert_eq!(all.len(), 1, "one record");
        all.remove(0)
    }

    pub fn reset_calls(&self) -> usize {
        self.sim.count(Call::Reset)
    }

    /// Calls of this kind that came for one pipeline.
    pub fn calls_for(&self, call: Call, id: &str) -> usize {
        self.sim.calls().iter().filter(|c| c.call == call && c.pipeline.as_deref() == Some(id)).count()
    }

    /// Waits for a state on the platform.
    pub async fn is(&self, id: &str, status: &str) {
        eventually(&format!("{id} to be {status}"), LIMIT, async || {
            let seen = self.sim.status(id);
            if seen == status { Ok(()) } else { Err(seen) }
        })
        .await;
    }

    /// The platform has answered so many more calls of this kind.
    pub async fn calls(&self, call: Call, more: usize) {
        let had = self.sim.count(call);
        eventually(&format!("{more} more calls of {call:?}"), LIMIT, async || match self.sim.count(call) {
            n if n >= had + more => Ok(()),
            n => Err(format!("{} of {more}", n - had)),
        })
        .await;
    }

    /// So many calls of these kinds have come: pauses, resets, starts, stops.
    pub fn changes(&self) -> [usize; 4] {
        [Call::Pause, Call::Reset, Call::Start, Call::Stop].map(|call| self.sim.count(call))
    }

    pub async fn finalizers(&self, name: &str) -> Vec<String> {
        self.world.pipelines().get(name).await.expect("the object is there").finalizers().to_vec()
    }

    /// Runs again, which the record says, and nothing is left to do for it.
    pub async fn brought_back(&self, name: &str, record: &str) {
        self.world.brought_back(record).await;
        eventually("the finalizer to go", LIMIT, async || match self.world.pipelines().get_opt(name).await {
            Ok(Some(object)) if !object.finalizers().is_empty() => Err(format!("{:?}", object.finalizers())),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        })
        .await;
        assert_eq!(self.sim.status(ID), "RUNNING");
    }

    /// Paused by the operator, reset, and held, because the platform answered 61168.
    pub async fn held(&self) -> StreamPipelineStatus {
        self.sim.fault(Fault::new(Call::Reset, When::Before, Kind::Code(61168, None)));
        self.apply("p", ID, pause("r1")).await;
        let status = self.world.reaches("p", "r1", Stage::Held, "AverageRateUnavailable").await;
        assert_eq!((self.sim.status(ID).as_str(), self.changes()), ("PAUSED", [1, 1, 0, 0]));
        status
    }
}

impl World {
    /// The record says that nothing is left to bring back.
    pub async fn brought_back(&self, record: &str) -> OffsetResetRecord {
        eventually("the pipeline to be brought back", LIMIT, async || {
            let record = self.record_named(record).await;
            if record.status.as_ref().is_some_and(|s| s.brought_back_at.is_some()) {
                Ok(record)
            } else {
                Err(format!("{:?}", record.status))
            }
        })
        .await
    }
}

/// A request that may stop the pipeline.
pub fn pause(id: &str) -> Value {
    json!({ "id": id, "whenActive": "Pause" })
}
