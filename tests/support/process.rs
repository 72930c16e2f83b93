//! The operator's own process: whether it lives, and what it takes.

use std::process::ExitStatus;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use testbed::Operator;
use tokio::time::sleep;

fn memory(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or_default()
}

/// Memory of the operator in KiB.
#[derive(Default)]
pub struct Memory {
    pub first: u64,
    pub most: u64,
    pub last: u64,
}

/// Ends only when the operator does.
pub async fn ended(operator: &mut Operator, begun: Instant, first: Duration, seen: &Mutex<Memory>) -> (ExitStatus, Duration) {
    loop {
        if let Some(status) = operator.ended() {
            return (status, begun.elapsed());
        }
        // 0 between its end and now.
        let now = memory(operator.pid());
        if now > 0 {
            let mut seen = seen.lock().expect("no panic under this lock");
            (seen.most, seen.last) = (seen.most.max(now), now);
            if seen.first == 0 && begun.elapsed() >= first {
                seen.first = now;
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}
