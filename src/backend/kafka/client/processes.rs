//! What all clients' processes share.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::memory_watch::MemoryWatch;
use super::slots::ProcessSlots;
use super::spawn::Spawner;
use crate::endpoints::EndpointPolicy;
use crate::metrics::Metrics;

/// How much there may be of all clients' processes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// So many at once.
    pub most: usize,
    /// Bytes of memory of their own that they may take together; none: without end.
    pub memory: Option<u64>,
}

/// What all clients' processes share. `policy`: where they may connect to, brokers as given and as advertised.
pub struct Processes {
    pub(super) spawner: Spawner,
    pub(super) slots: Arc<ProcessSlots>,
    pub(super) memory: Arc<MemoryWatch>,
    pub(super) policy: Arc<EndpointPolicy>,
    metrics: Arc<Metrics>,
    open_doors_told: AtomicBool,
}

impl Processes {
    /// `program`: the operator's own binary. To be called inside of a runtime.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn new(program: PathBuf, bounds: Bounds, policy: Arc<EndpointPolicy>, metrics: Arc<Metrics>) -> std::io::Result<Arc<Self>> {
        let spawner = Spawner::new(program)?;
        let (slots, memory) = (ProcessSlots::new(bounds.most), MemoryWatch::new(bounds.memory));
        Ok(Arc::new(Self { spawner, slots, memory, policy, metrics, open_doors_told: AtomicBool::new(false) }))
    }

    /// Tells once what this system cannot keep a client's process from.
    pub(super) fn note_open_doors(&self, open: &[String]) {
        self.metrics.kafka_open_doors.set(i64::try_from(open.len()).unwrap_or(i64::MAX));
        if !open.is_empty() && !self.open_doors_told.swap(true, Ordering::Relaxed) {
            let open = stream_pipeline_core::words::cut(&open.join("; "), 1000);
            tracing::warn!(open, "The processes of Kafka clients are less confined than they could be on this system");
        }
    }

    /// Counts an end that nobody here wanted.
    pub(super) fn note_end(&self, status: Option<ExitStatus>) {
        let how = match status.map(|s| (s.signal(), s.code())) {
            Some((Some(signal), _)) => format!("signal {signal}"),
            Some((None, _)) => "exit".to_owned(),
            None => "killed".to_owned(),
        };
        self.metrics.kafka_client_ended(&how);
    }
}
