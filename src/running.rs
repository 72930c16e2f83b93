//! What the tasks of this process share: its name, whether it is ready, whether it works, and when it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, anyhow};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// See the module's own comment.
#[derive(Clone)]
pub struct Running {
    /// A random name for this process. A plan carries it, so that no other process ever sends that plan.
    pub incarnation: String,
    pub metrics: Arc<Metrics>,
    /// Set once the caches are filled.
    ready: Arc<AtomicBool>,
    /// Cancelled once this process works; until then it stands by.
    pub leading: CancellationToken,
    /// Cancelled when it is to end.
    pub shutdown: CancellationToken,
}

impl Running {
    /// # Errors
    /// The system gives no random numbers.
    pub fn begin() -> Result<Self> {
        incarnation().map(Self::named)
    }

    pub fn named(incarnation: String) -> Self {
        Self {
            incarnation,
            metrics: Arc::default(),
            ready: Arc::default(),
            leading: CancellationToken::new(),
            shutdown: CancellationToken::new(),
        }
    }

    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub fn lead(&self) {
        self.metrics.leader.set(1);
        self.leading.cancel();
    }

    pub fn leads(&self) -> bool {
        self.leading.is_cancelled()
    }
}

fn incarnation() -> Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| anyhow!("the system gives no random numbers to name this process by: {e}"))?;
    Ok(format!("{:032x}-{}", u128::from_ne_bytes(random), Timestamp::now().as_second()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn d5_no_two_processes_have_one_name_also_where_they_start_in_the_same_second() {
        let names: HashSet<String> = (0..1000).map(|_| incarnation().unwrap()).collect();
        let random: HashSet<&str> = names.iter().filter_map(|name| name.split('-').next()).collect();
        assert_eq!(random.len(), 1000, "apart from the time");
    }
}
