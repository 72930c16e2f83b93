//! The consumers that run, and which are to: started, stopped and counted under one lock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::recipe::Recipe;
use crate::consumer::Consumer;

/// The uid of the object that wants it, and its own name.
pub type Key = (String, String);

struct Run {
    consumer: Consumer,
    stop_delay: Duration,
    /// When it is to hear that it should stop; one that stops is never taken back.
    stop_at: Option<Instant>,
}

#[derive(Default)]
pub struct Runs {
    running: BTreeMap<Key, Run>,
    pub hangs: bool,
    closed: bool,
}

impl Runs {
    /// Starts what is wanted, stops what is not. False when nothing is to happen.
    pub fn keep(&mut self, bootstrap: &str, wanted: &BTreeMap<Key, Recipe>) -> bool {
        if self.hangs || self.closed {
            return false;
        }
        let now = Instant::now();
        for (key, run) in &mut self.running {
            if !wanted.contains_key(key) {
                run.stop_at.get_or_insert(now + run.stop_delay);
            }
            if run.stop_at.is_some_and(|at| now >= at) {
                run.consumer.leave();
            }
        }
        self.running.retain(|_, run| run.stop_at.is_none() || !run.consumer.ended());
        for (key, recipe) in wanted {
            self.running.entry(key.clone()).or_insert_with(|| {
                let consumer = recipe.start(bootstrap, &key.1);
                Run { consumer, stop_delay: recipe.stop_delay, stop_at: None }
            });
        }
        true
    }

    pub fn has(&self, key: &Key) -> bool {
        self.running.contains_key(key)
    }

    /// How many run for one object.
    pub fn count(&self, uid: &str) -> usize {
        self.running.keys().filter(|key| key.0 == uid).count()
    }

    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.running.iter().filter(|(_, run)| !run.consumer.ended()).map(|(key, _)| key.1.clone()).collect();
        names.sort();
        names
    }

    /// Stops all, for good.
    pub fn close(&mut self) {
        self.closed = true;
        // All are told before the first is waited for.
        self.running.values().for_each(|run| run.consumer.leave());
        self.running.clear();
    }
}
