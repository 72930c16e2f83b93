//! What the operator's process and those of its Kafka clients take.

use std::process::ExitStatus;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use testbed::Operator;
use tokio::time::sleep;

/// A number of `/proc/<pid>/status`, such as `VmRSS` (KiB) or `Threads`; None where the process is gone.
pub fn field(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// KiB of a process that must run.
pub fn memory(pid: u32) -> u64 {
    field(pid, "VmRSS").unwrap_or_else(|| panic!("expected process {pid} to run"))
}

/// Threads of a process that must run.
pub fn threads(pid: u32) -> u64 {
    field(pid, "Threads").unwrap_or_else(|| panic!("expected process {pid} to run"))
}

/// KiB that a process shares with no other; 0 where it is gone.
pub fn private_memory(pid: u32) -> u64 {
    let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages: Vec<u64> = pages.split(' ').filter_map(|field| field.parse().ok()).collect();
    pages.get(1..3).map_or(0, |of| of[0].saturating_sub(of[1]) * 4)
}

/// Memory of the operator in KiB, as it was seen while a test ran.
#[derive(Default)]
pub struct Memory {
    /// When the test had run for a while.
    pub first: u64,
    pub most: u64,
    pub last: u64,
}

/// Watches the operator's memory; `first` is how long after `begun` the first figure is kept. Ends only when the operator
/// does, with how it ended and after how long.
pub async fn ended(operator: &mut Operator, begun: Instant, first: Duration, seen: &Mutex<Memory>) -> (ExitStatus, Duration) {
    loop {
        if let Some(status) = operator.ended() {
            return (status, begun.elapsed());
        }
        // A process that ended just now has none.
        if let Some(now) = field(operator.pid(), "VmRSS") {
            let mut seen = seen.lock().expect("no panic under this lock");
            (seen.most, seen.last) = (seen.most.max(now), now);
            if seen.first == 0 && begun.elapsed() >= first {
                seen.first = now;
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}
