//! What a process and those it started have used, from /proc.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use testbed::Operator;

/// The operator and the processes of its Kafka clients.
pub fn family(operator: &Operator) -> Vec<u32> {
    std::iter::once(operator.pid()).chain(operator.children()).collect()
}

/// Time on processors, of those that live and of those that have ended and were waited for.
pub fn cpu(family: &[u32]) -> Duration {
    // Linux counts in hundredths of a second here, on every platform it runs on.
    Duration::from_millis(10 * family.iter().map(|pid| ticks(*pid).unwrap_or_default()).sum::<u64>())
}

fn ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which is in brackets: utime, stime and the same of its children are the 12th to the 15th.
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.split(' ').skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum())
}

/// Time on processors of this measurement and of what it has started, by the names of their programs.
pub fn all() -> BTreeMap<String, Duration> {
    // Any of its threads may have started one.
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let started = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok()).collect::<String>();
    let pids = started.split_whitespace().filter_map(|pid| pid.parse().ok());
    let mut all = BTreeMap::from([("this measurement".to_owned(), own_time())]);
    for pid in pids {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        *all.entry(name.trim().to_owned()).or_default() += cpu(&[pid]);
    }
    all
}

/// Without what its children have used that have ended.
fn own_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').skip(11).take(2);
    Duration::from_millis(10 * fields.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>())
}

/// Resident memory of all of them, MiB.
pub fn resident(family: &[u32]) -> f64 {
    memory(family, "VmRSS:")
}

/// The most that each of them has had, summed up, MiB.
pub fn peak(family: &[u32]) -> f64 {
    memory(family, "VmHWM:")
}

fn memory(family: &[u32], field: &str) -> f64 {
    let of = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    family.iter().filter_map(of).sum::<f64>() / 1024.0
}

/// The processor, how many of it, the memory and the kernel.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, field: &str| {
        let line = text.lines().find(|line| line.starts_with(field));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let model = after(&cpu, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kib = after(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok()).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores of {model}, {:.0} GiB, Linux {}", kib / f64::from(1 << 20), kernel.trim())
}
