//! How fast a pipeline reads while it runs, from looks that are made anyway.

use std::time::{Duration, Instant};

use super::ProcessState;
use stream_pipeline_core::{Committed, Consumed, Identity};

/// A rate is taken over at least this long: consumers commit every few seconds.
const WINDOW: Duration = Duration::from_secs(30);

/// What was seen of one pipeline.
#[derive(Default)]
pub(super) struct Consumption {
    /// The look that the window begins with, while the pipeline runs.
    begun: Option<Position>,
    /// The highest rate of any window.
    highest: Option<Consumed>,
}

/// All partitions together.
#[derive(Clone, Copy)]
struct Position {
    at: Instant,
    partitions: usize,
    offsets: i128,
}

impl Consumption {
    fn note(&mut self, active: bool, committed: &Committed, now: Instant) {
        // Where a transaction holds an offset, it is not known.
        if committed.values().any(|commit| commit.pending) {
            self.begun.take_if(|_| !active);
            return;
        }
        let offsets = committed.values().map(|commit| i128::from(commit.offset)).sum();
        let here = Position { at: now, partitions: committed.len(), offsets };
        let same = self.begun.filter(|begun| active && begun.partitions == here.partitions && begun.offsets <= here.offsets);
        let Some(begun) = same else {
            self.begun = active.then_some(here);
            return;
        };
        let seconds = now.saturating_duration_since(begun.at).as_secs_f64();
        if seconds >= WINDOW.as_secs_f64() {
            #[allow(clippy::cast_precision_loss)] // A rough figure.
            let rate = (here.offsets - begun.offsets) as f64 / seconds;
            let partitions = here.partitions;
            self.highest = self.highest.filter(|highest| highest.rate > rate).or(Some(Consumed { rate, partitions }));
            self.begun = Some(here);
        }
    }
}

impl ProcessState {
    /// Notes where a pipeline is that runs, or does not.
    pub fn note_consumption(&self, object: &Identity, active: bool, committed: &Committed, now: Instant) {
        self.inner().consumption.entry(object.uid.clone()).or_default().note(active, committed, now);
    }

    /// The highest rate at which the pipeline was seen to read.
    pub fn consumed(&self, object: &Identity) -> Option<Consumed> {
        self.inner().consumption.get(&object.uid).and_then(|seen| seen.highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stream_pipeline_core::{Commit, TopicPartition};

    fn at(offsets: &[i64]) -> Committed {
        (0..).zip(offsets).map(|(p, offset)| (TopicPartition::new("t", p), Commit { offset: *offset, ..Commit::default() })).collect()
    }

    #[test]
    fn p05_the_highest_rate_of_any_half_minute_counts() {
        let (begun, mut seen) = (Instant::now(), Consumption::default());
        let mut look = |second: u64, active: bool, offsets: &[i64]| {
            seen.note(active, &at(offsets), begun + Duration::from_secs(second));
            seen.highest.map(|highest| highest.rate)
        };
        assert_eq!(look(0, true, &[0, 0]), None);
        assert_eq!(look(20, true, &[1000, 1000]), None, "too short a time");
        assert_eq!(look(40, true, &[2000, 2000]), Some(100.0));
        assert_eq!(look(80, true, &[2000, 2000]), Some(100.0), "at rest it could read faster");
        assert_eq!(look(100, false, &[2000, 2000]), Some(100.0));
        assert_eq!(look(200, true, &[900_000, 0]), Some(100.0), "what moved while it did not run, it has not read");
        assert_eq!(look(240, true, &[0, 0]), Some(100.0), "back is no reading");
        assert_eq!(look(280, true, &[4000, 4000, 4000]), Some(100.0), "another partition");
        assert_eq!(look(320, true, &[8000, 8000, 8000]), Some(300.0));
    }
}
