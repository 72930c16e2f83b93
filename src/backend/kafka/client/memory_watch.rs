//! Limits the memory that the processes of all Kafka clients take together. Each has a limit of its own (`process::lockdown`). But several
//! of them, each flooded by its broker, could fill the container, and the kernel might then kill the operator. So the largest is ended
//! before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

/// Shorter than a broker needs to fill the rest of the container.
const PERIOD: Duration = Duration::from_millis(100);

/// By process id.
type Watched = HashMap<u32, watch::Sender<Option<String>>>;

pub(super) struct MemoryWatch {
    /// In bytes.
    limit: Option<u64>,
    /// Every change under this lock leaves a consistent state.
    processes: Mutex<Watched>,
}

/// A process whose memory counts until this is dropped.
pub(super) struct WatchedProcess {
    memory: Arc<MemoryWatch>,
    pid: u32,
    verdict: watch::Receiver<Option<String>>,
}

impl MemoryWatch {
    /// Must be called inside a tokio runtime.
    pub(super) fn new(limit: Option<u64>) -> Arc<Self> {
        let memory = Arc::new(Self { limit, processes: Mutex::default() });
        if let Some(limit) = limit {
            let watching = Arc::downgrade(&memory);
            tokio::spawn(async move {
                let mut tick = tokio::time::interval(PERIOD);
                tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    tick.tick().await;
                    let Some(memory) = watching.upgrade() else { return };
                    memory.check(limit, private_bytes);
                }
            });
        }
        memory
    }

    pub(super) fn watch(self: &Arc<Self>, pid: u32) -> WatchedProcess {
        let (tell, verdict) = watch::channel(None);
        if self.limit.is_some() {
            self.processes.lock().insert(pid, tell);
        }
        WatchedProcess { memory: Arc::clone(self), pid, verdict }
    }

    /// Ends the largest process if all together exceed the limit; not while one that is being ended still takes its memory.
    fn check(&self, limit: u64, size_of: impl Fn(u32) -> Option<u64>) {
        let processes = self.processes.lock();
        let sizes: Vec<(u32, u64)> = processes.keys().filter_map(|pid| Some((*pid, size_of(*pid)?))).collect();
        let all = sizes.iter().fold(0_u64, |sum, (_, size)| sum.saturating_add(*size));
        let leaving = processes.values().any(|tell| tell.borrow().is_some());
        if all <= limit || leaving {
            return;
        }
        let Some((pid, size)) = sizes.into_iter().max_by_key(|(_, size)| *size) else { return };
        let (took, limit) = (size >> 20, limit >> 20);
        let why = format!("it took {took} MiB while all Kafka clients together took more than the {limit} MiB they may");
        if let Some(tell) = processes.get(&pid) {
            tell.send_replace(Some(why));
        }
    }
}

impl WatchedProcess {
    /// Resolves with the reason when the process is to be ended.
    pub(super) async fn over_limit(&mut self) -> String {
        match self.verdict.wait_for(Option::is_some).await.map(|why| why.clone()) {
            Ok(Some(why)) => why,
            // Without a limit it never is.
            _ => std::future::pending().await,
        }
    }
}

impl Drop for WatchedProcess {
    fn drop(&mut self) {
        self.memory.processes.lock().remove(&self.pid);
    }
}

/// Resident memory of the process that is not shared with files, in bytes. None: the process is gone.
fn private_bytes(pid: u32) -> Option<u64> {
    let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = pages.split(' ').skip(1).map_while(|field| field.parse::<u64>().ok());
    let (resident, shared) = (pages.next()?, pages.next()?);
    Some(resident.saturating_sub(shared).saturating_mul(rustix::param::page_size() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    const MIB: u64 = 1 << 20;

    #[tokio::test]
    async fn the_heaviest_goes_and_one_at_a_time() {
        let memory = MemoryWatch::new(Some(100 * MIB));
        let (mut small, mut large, mut middle) = (memory.watch(1), memory.watch(2), memory.watch(3));
        let size = |pid: u32| [None, Some(30 * MIB), Some(50 * MIB), Some(40 * MIB)].get(pid as usize).copied().flatten();
        memory.check(120 * MIB, size);
        assert!(large.over_limit().now_or_never().is_none(), "as much as there may be");
        memory.check(100 * MIB, size);
        let why = large.over_limit().now_or_never().expect("it has to go");
        assert_eq!(why, "it took 50 MiB while all Kafka clients together took more than the 100 MiB they may");
        memory.check(10 * MIB, size);
        assert!(small.over_limit().now_or_never().is_none() && middle.over_limit().now_or_never().is_none(), "it is still there");
        drop(large);
        memory.check(60 * MIB, size);
        assert!(middle.over_limit().now_or_never().is_some() && small.over_limit().now_or_never().is_none());
    }

    #[test]
    fn this_process_weighs_what_it_weighs() {
        assert!(private_bytes(std::process::id()).is_some_and(|bytes| bytes > 100_000 && bytes < 10 << 30));
        assert_eq!(private_bytes(u32::MAX), None);
    }
}
