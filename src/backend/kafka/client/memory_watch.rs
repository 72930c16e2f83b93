//! What the processes of Kafka clients weigh together. Each has a limit of its own (`process::lockdown`); but several, each flooded by its
//! broker, would fill the container all the same, and there the kernel ends the operator with them. So the largest is ended before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

/// A broker needs longer to fill what is left of the container.
const PERIOD: Duration = Duration::from_millis(100);

/// By process id.
type Watched = HashMap<u32, watch::Sender<Option<String>>>;

pub(super) struct MemoryWatch {
    /// Bytes.
    most: Option<u64>,
    on: Mutex<Watched>,
}

/// A process on the memory; taken off when dropped.
pub(super) struct WatchedProcess {
    memory: Arc<MemoryWatch>,
    pid: u32,
    told: watch::Receiver<Option<String>>,
}

impl MemoryWatch {
    /// To be called inside of a runtime.
    pub(super) fn new(most: Option<u64>) -> Arc<Self> {
        let memory = Arc::new(Self { most, on: Mutex::default() });
        if let Some(most) = most {
            let watching = Arc::downgrade(&memory);
            tokio::spawn(async move {
                let mut tick = tokio::time::interval(PERIOD);
                tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    tick.tick().await;
                    let Some(memory) = watching.upgrade() else { return };
                    memory.check(most, private_bytes);
                }
            });
        }
        memory
    }

    pub(super) fn watch(self: &Arc<Self>, pid: u32) -> WatchedProcess {
        let (tell, told) = watch::channel(None);
        if self.most.is_some() {
            self.with(|on| on.insert(pid, tell));
        }
        WatchedProcess { memory: Arc::clone(self), pid, told }
    }

    /// Ends the heaviest where all are too heavy. One that was told already is on its way out, and weighs until it is gone.
    fn check(&self, most: u64, weight_of: impl Fn(u32) -> Option<u64>) {
        self.with(|on| {
            let weights: Vec<(u32, u64)> = on.keys().filter_map(|pid| Some((*pid, weight_of(*pid)?))).collect();
            let all = weights.iter().fold(0_u64, |sum, (_, weight)| sum.saturating_add(*weight));
            let leaving = on.values().any(|tell| tell.borrow().is_some());
            if all <= most || leaving {
                return;
            }
            let Some((pid, weight)) = weights.into_iter().max_by_key(|(_, weight)| *weight) else { return };
            let (took, most) = (weight >> 20, most >> 20);
            let why = format!("it took {took} MiB while all Kafka clients together took more than the {most} MiB they may");
            if let Some(tell) = on.get(&pid) {
                tell.send_replace(Some(why));
            }
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut Watched) -> T) -> T {
        // Every change under this lock is complete in itself.
        change(&mut self.on.lock())
    }
}

impl WatchedProcess {
    /// Resolves when it is to be ended, with why.
    pub(super) async fn over_limit(&mut self) -> String {
        match self.told.wait_for(Option::is_some).await.map(|why| why.clone()) {
            Ok(Some(why)) => why,
            // Nobody weighs it.
            _ => std::future::pending().await,
        }
    }
}

impl Drop for WatchedProcess {
    fn drop(&mut self) {
        self.memory.with(|on| on.remove(&self.pid));
    }
}

/// Resident memory that the process shares with no file, in bytes. None: it is gone.
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
        let weight = |pid: u32| [None, Some(30 * MIB), Some(50 * MIB), Some(40 * MIB)].get(pid as usize).copied().flatten();
        memory.check(120 * MIB, weight);
        assert!(large.over_limit().now_or_never().is_none(), "as much as there may be");
        memory.check(100 * MIB, weight);
        let why = large.over_limit().now_or_never().expect("it has to go");
        assert_eq!(why, "it took 50 MiB while all Kafka clients together took more than the 100 MiB they may");
        memory.check(10 * MIB, weight);
        assert!(small.over_limit().now_or_never().is_none() && middle.over_limit().now_or_never().is_none(), "it is still there");
        drop(large);
        memory.check(60 * MIB, weight);
        assert!(middle.over_limit().now_or_never().is_some() && small.over_limit().now_or_never().is_none());
    }

    #[test]
    fn this_process_weighs_what_it_weighs() {
        assert!(private_bytes(std::process::id()).is_some_and(|bytes| bytes > 100_000 && bytes < 10 << 30));
        assert_eq!(private_bytes(u32::MAX), None);
    }
}
