//! What the matrices share: cells that are worked off side by side, and how often each end was seen.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use futures::future::join_all;

/// Works off all cells, one after the other on each of the benches.
pub async fn work_off<B, C, R>(benches: Vec<B>, cells: impl IntoIterator<Item = C>, cell: impl AsyncFn(&mut B, C) -> R) -> Vec<R> {
    let cells: Mutex<VecDeque<C>> = Mutex::new(cells.into_iter().collect());
    let next = || cells.lock().expect("no panic under this lock").pop_front();
    let work = benches.into_iter().map(async |mut bench| {
        let mut rows = Vec::new();
        while let Some(one) = next() {
            rows.push(cell(&mut bench, one).await);
        }
        rows
    });
    join_all(work).await.into_iter().flatten().collect()
}

/// "Held/OutcomeUnknown: 12, Verified/ResetVerified: 30".
pub fn counts<'a>(ends: impl Iterator<Item = &'a str>) -> String {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for end in ends {
        *seen.entry(end).or_default() += 1;
    }
    seen.iter().map(|(end, count)| format!("{end}: {count}")).collect::<Vec<_>>().join(", ")
}
