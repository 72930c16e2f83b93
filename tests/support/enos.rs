//! A world with a simulated EnOS, which shares nothing with the operator's client.

use serde_json::{Value, json};
use stream_pipeline_api::{Stage, StreamPipelineStatus};
use testbed::enos::{ACCESS_KEY, Call, Fault, Kind, ORGANISATION, Options, Pipeline, SECRET_KEY, Simulator, When};
use testbed::eventually;

use crate::support::requests::with;
use crate::support::world::{LIMIT, World, instead};

/// The id of the one pipeline most tests have.
pub const ID: &str = "565c0114-0000-4372-86d1-000000000001";

/// The id of one of several pipelines.
pub fn id(n: usize) -> String {
    format!("565c0114-0000-4372-86d1-{n:012}")
}

/// A pipeline with this number, of whose log 400,000 of 1,000,000 records are read.
pub fn pipeline(n: usize, name: &str, status: &str) -> Pipeline {
    Pipeline::new(ORGANISATION, &id(n), name, status).series(400_000, 1_000_000)
}

/// The same, which is named after its number.
pub fn numbered(n: usize, status: &str) -> Pipeline {
    pipeline(n, &format!("p{n}"), status)
}

/// What the Secret of an application holds.
pub fn credentials() -> Value {
    json!({ "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY })
}

/// Flags that let the operator reach a simulator on this machine.
pub const LOCAL: [&str; 4] = ["--allow-plain-http", "--allowed-endpoints=127.0.0.1,::1", "--list-interval=300ms", "--slow-stop=7s"];

/// Shorter waits for what may still land: 4.5 s instead of 7.
pub const QUICK: [&str; 2] = ["--call-deadline=2s", "--late-bound=500ms"];

/// Short enough that a test need not wait long until what is in doubt is decided.
pub const SOON: [&str; 3] = ["--send-window=3s", "--call-deadline=2s", "--concurrency=16"];

/// A namespace with an operator, a platform, and the Secret of an application.
pub struct EnosWorld {
    pub world: World,
    pub sim: Simulator,
    pub extra: Vec<&'static str>,
}

impl EnosWorld {
    /// One pipeline, `ID`, in this state: its log has 1,000,000 records, of which 400,000 are read.
    pub async fn with(test: &str, status: &str) -> Self {
        let enos = Self::new(test, Options::default()).await;
        enos.sim.add(pipeline(1, "cleaning", status));
        enos
    }

    /// As [`EnosWorld::with`], `RUNNING`, known to the operator, which waits shorter.
    pub async fn running(test: &str, extra: &[&'static str]) -> Self {
        let enos = Self::with_flags(test, Options::default(), &instead(&QUICK, extra)).await;
        enos.sim.add(pipeline(1, "cleaning", "RUNNING"));
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
        enos.world.secret("app", credentials()).await;
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

    /// The `spec.enos` of a pipeline.
    pub fn spec(&self, id: &str) -> Value {
        json!({
            "endpoint": self.sim.endpoint(), "orgID": ORGANISATION, "pipelineID": id, "credentialsSecretRef": { "name": "app" },
            "start": { "executionMode": "Standalone", "kafkaRate": 1000, "resourceConfig": { "server": "1" } }
        })
    }

    /// The same at another address.
    pub fn spec_at(&self, id: &str, endpoint: &str) -> Value {
        with(self.spec(id), "endpoint", json!(endpoint))
    }

    /// The same with the Secret of another application.
    pub fn spec_with_secret(&self, id: &str, secret: &str) -> Value {
        with(self.spec(id), "credentialsSecretRef", json!({ "name": secret }))
    }

    /// The same for a pipeline that is known by its name.
    pub fn spec_by_name(&self, name: &str) -> Value {
        let mut spec = with(self.spec(ID), "pipelineName", json!(name));
        spec.as_object_mut().expect("a spec is an object").remove("pipelineID");
        spec
    }

    pub async fn apply(&self, name: &str, id: &str, reset: Value) {
        self.apply_spec(name, self.spec(id), reset).await;
    }

    pub async fn apply_spec(&self, name: &str, enos: Value, reset: Value) {
        self.world.apply_with(name, json!({ "enos": enos }), reset).await;
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
        self.world.is_seen(name).await;
    }

    /// Waits until the platform has accepted the reset, which cannot be proven before the next start.
    pub async fn sent(&self, name: &str, id: &str) -> StreamPipelineStatus {
        self.world.reaches(name, id, Stage::Sent, "NoReadBackWhilePaused").await
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

    /// Waits until the platform has answered so many more calls of this kind.
    pub async fn calls(&self, call: Call, more: usize) {
        let had = self.sim.count(call);
        eventually(&format!("{more} more calls of {call:?}"), LIMIT, async || match self.sim.count(call) {
            n if n >= had + more => Ok(()),
            n => Err(format!("{} of {more}", n - had)),
        })
        .await;
    }

    /// Fails where anything but looks has been called.
    pub fn assert_only_looks(&self) {
        let calls = self.sim.calls();
        let other: Vec<_> = calls.iter().filter(|c| !matches!(c.call, Call::TokenGet | Call::List | Call::Details | Call::Lag)).collect();
        assert!(other.is_empty(), "expected no calls but looks: {other:?}");
    }

    /// So many calls of these kinds have come: pauses, resets, starts, stops.
    pub fn changes(&self) -> [usize; 4] {
        [Call::Pause, Call::Reset, Call::Start, Call::Stop].map(|call| self.sim.count(call))
    }

    /// Waits until the pipeline runs again, the record says so, and nothing is left to do for it.
    pub async fn brought_back(&self, name: &str, record: &str) {
        self.world.brought_back(record).await;
        self.world.is_let_go(name).await;
        assert_eq!(self.sim.status(ID), "RUNNING", "the state of the pipeline");
    }

    /// Paused by the operator, reset, and held, because the platform answered 61168.
    pub async fn held(&self) -> StreamPipelineStatus {
        self.sim.fault(Fault::new(Call::Reset, When::Before, Kind::Code(61168, None)));
        self.apply("p", ID, pause("r1")).await;
        let status = self.world.reaches("p", "r1", Stage::Held, "AverageRateUnavailable").await;
        assert_eq!((self.sim.status(ID).as_str(), self.changes()), ("PAUSED", [1, 1, 0, 0]), "the state, and calls that change it");
        status
    }
}

/// A request that may stop the pipeline.
pub fn pause(id: &str) -> Value {
    json!({ "id": id, "whenActive": "Pause" })
}
