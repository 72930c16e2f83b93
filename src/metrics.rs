//! What is counted. No object names in labels.

use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use stream_pipeline_api::{Reason, Stage};
use strum::IntoEnumIterator;

/// The operator's metrics and their registry.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    standing: Family<StageLabels, Gauge>,
    kept_stopped: Gauge,
    reconcile_seconds: Histogram,
    pub leader: Gauge,
    pub kafka_clients: Gauge,
    /// How many restrictions could not be put on the processes of Kafka clients.
    pub kafka_open_doors: Gauge,
    kafka_client_ends: Family<EndLabels, Counter>,
    pub enos_clients: Gauge,
    pub clock_gap_seconds: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    stage: String,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    how: String,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("streampipeline");
        let requests = Family::default();
        let reconcile_seconds = Histogram::new([0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0]);
        let (leader, kafka_clients, enos_clients, clock_gap_seconds) =
            (Gauge::default(), Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("reset_transitions", "Requests that came to a stage, by reason", requests.clone());
        let (standing, kept_stopped) = (Family::default(), Gauge::default());
        registry.register("requests", "Requests by the stage at which they stand, as the process that works sees them", standing.clone());
        registry.register("kept_stopped", "Pipelines that the operator keeps stopped, or is starting again", kept_stopped.clone());
        registry.register("reconcile_time_seconds", "Duration of one reconciliation", reconcile_seconds.clone());
        registry.register("leader", "1 where this process works, 0 where it stands by", leader.clone());
        registry.register("kafka_clients", "Kafka clients that are open", kafka_clients.clone());
        let (kafka_open_doors, kafka_client_ends) = (Gauge::default(), Family::default());
        registry.register(
            "kafka_client_open_doors",
            "From how many of the things that they do not need the processes of Kafka clients cannot be kept on this system",
            kafka_open_doors.clone(),
        );
        registry.register(
            "kafka_client_ends",
            "Processes of Kafka clients that ended without being asked to, by signal",
            kafka_client_ends.clone(),
        );
        registry.register("enos_clients", "Clients of EnOS gateways that are open", enos_clients.clone());
        registry.register(
            "clock_gap_seconds",
            "By how much the API server's clock is ahead of the operator's, where they do not agree",
            clock_gap_seconds.clone(),
        );
        Self {
            registry: Mutex::new(registry),
            requests,
            standing,
            kept_stopped,
            reconcile_seconds,
            leader,
            kafka_clients,
            kafka_open_doors,
            kafka_client_ends,
            enos_clients,
            clock_gap_seconds,
        }
    }
}

impl Metrics {
    pub fn request(&self, stage: Stage, reason: Reason) {
        let stage: &str = stage.into();
        self.requests.get_or_create(&RequestLabels { stage: stage.to_owned(), reason: reason.as_str().to_owned() }).inc();
    }

    /// Where the requests stand now, and how many pipelines are kept stopped.
    pub fn stand(&self, requests: &[Stage], kept_stopped: usize) {
        for stage in Stage::iter() {
            let count = requests.iter().filter(|at| **at == stage).count();
            self.standing.get_or_create(&StageLabels { stage: stage.into() }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.kept_stopped.set(i64::try_from(kept_stopped).unwrap_or(i64::MAX));
    }

    /// `how`: "signal 6", "exit", "killed".
    pub fn kafka_client_ended(&self, how: &str) {
        self.kafka_client_ends.get_or_create(&EndLabels { how: how.to_owned() }).inc();
    }

    pub fn reconciled(&self, took: Duration) {
        self.reconcile_seconds.observe(took.as_secs_f64());
    }

    /// The OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}
