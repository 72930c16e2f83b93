//! Matrices: a reset for every cell, such as every fault at every call; several are worked off side by side.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use futures::future::join_all;

/// Works off all cells, on each of the benches one after the other; their results come in any order.
pub async fn run_cells<B, C, R>(benches: Vec<B>, cells: impl IntoIterator<Item = C>, run: impl AsyncFn(&mut B, C) -> R) -> Vec<R> {
    let cells: Mutex<VecDeque<C>> = Mutex::new(cells.into_iter().collect());
    let next = || cells.lock().expect("no panic under this lock").pop_front();
    let work = benches.into_iter().map(async |mut bench| {
        let mut results = Vec::new();
        while let Some(cell) = next() {
            results.push(run(&mut bench, cell).await);
        }
        results
    });
    join_all(work).await.into_iter().flatten().collect()
}

/// How often each end was seen: "Held/OutcomeUnknown: 12, Verified/ResetVerified: 30".
pub fn tally<'a>(ends: impl Iterator<Item = &'a str>) -> String {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for end in ends {
        *seen.entry(end).or_default() += 1;
    }
    seen.iter().map(|(end, count)| format!("{end}: {count}")).collect::<Vec<_>>().join(", ")
}
