//! What all clients' processes share.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::memory_watch::MemoryWatch;
use super::spawn::Spawner;
use crate::endpoints::EndpointPolicy;
use crate::fair::Fair;
use crate::metrics::Metrics;

/// The limits for all clients' processes together.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most at once.
    pub most: usize,
    /// The most bytes of private memory together; None: no limit.
    pub memory: Option<u64>,
}

/// What all clients' processes share. `policy`: which addresses they may connect to, both given and advertised ones.
pub struct Processes {
    pub(super) spawner: Spawner,
    pub(super) slots: Arc<Fair>,
    pub(super) memory: Arc<MemoryWatch>,
    pub(super) policy: Arc<EndpointPolicy>,
    metrics: Arc<Metrics>,
    open_doors_told: AtomicBool,
}

impl Processes {
    /// `program`: the operator's own binary. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn new(program: PathBuf, bounds: Bounds, policy: Arc<EndpointPolicy>, metrics: Arc<Metrics>) -> std::io::Result<Arc<Self>> {
        let spawner = Spawner::new(program)?;
        let (slots, memory) = (Fair::new(bounds.most), MemoryWatch::new(bounds.memory));
        Ok(Arc::new(Self { spawner, slots, memory, policy, metrics, open_doors_told: AtomicBool::new(false) }))
    }

    /// Logs once which restrictions this system could not put on a client's process.
    pub(super) fn note_open_doors(&self, open: &[String]) {
        self.metrics.kafka_open_doors.set(i64::try_from(open.len()).unwrap_or(i64::MAX));
        if !open.is_empty() && !self.open_doors_told.swap(true, Ordering::Relaxed) {
            let open = stream_pipeline_core::words::cut(&open.join("; "), 1000);
            tracing::warn!(open, "The processes of Kafka clients are less confined than they could be on this system");
        }
    }

    /// Counts an end that was not requested.
    pub(super) fn note_end(&self, status: Option<ExitStatus>) {
        let how = match status.map(|s| (s.signal(), s.code())) {
            Some((Some(signal), _)) => format!("signal {signal}"),
            Some((None, _)) => "exit".to_owned(),
            None => "killed".to_owned(),
        };
        self.metrics.kafka_client_ended(&how);
    }
}
