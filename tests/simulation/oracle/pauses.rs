//! What the operator stops and starts.

use std::time::Duration;

use serde_json::Value;
use stream_pipeline_operator::api::OffsetResetRecord;
use stream_pipeline_operator::memory::is_closed;

use super::{counts, record_of};
use crate::environment::Act;
use crate::process::Process;
use crate::world::World;

impl World {
    pub(super) fn scaled(&mut self, process: &Process, workload: &str, before: Option<&Value>, after: Option<&Value>) {
        let count = |o: Option<&Value>| o.and_then(|o| o["spec"]["replicas"].as_i64()).unwrap_or(0);
        let (from, to) = (count(before), count(after));
        self.say(|| format!("{} scales {workload} from {from} to {to}", process.name));
        self.oracle.last_scale.insert(workload.to_owned(), to);
        self.plan(Duration::from_millis(800), Act::Pods);
        let asked = |r: &OffsetResetRecord| {
            let before = r.spec.run_state_before.as_ref().filter(|b| b.running);
            let recorded = before.and_then(|b| b.workloads.iter().find(|w| w.name == workload)).map(|w| i64::from(w.replicas));
            let open = if to == 0 { !is_closed(r) && recorded == Some(from) } else { recorded == Some(to) };
            open && counts(r)
        };
        let is_asked = self.api.all("offsetresetrecords").filter_map(|(_, o)| record_of(o)).any(|r| asked(&r));
        // With its record goes what is known of a pause.
        if !is_asked && !self.oracle.unknown_pauses.contains(workload) {
            self.violation(format!("{} scales {workload} from {from} to {to}, and no record asks for it", process.name));
        }
    }

    /// What the operator stopped stays so only where a record that names it is held for a person.
    pub(super) fn left_stopped(&self) -> Vec<String> {
        let stopped = self.oracle.last_scale.iter().filter(|(workload, to)| **to == 0 && !self.oracle.scaled_by_others.contains(*workload));
        let is_down = |name: &str| self.api.all("deployments").any(|(key, o)| key.2 == name && o["spec"]["replicas"] == 0);
        let excused = |name: &str| self.oracle.unknown_pauses.contains(name) || self.is_held_stopped(Some(name));
        let down = stopped.filter(|(name, _)| is_down(name) && !excused(name));
        down.map(|(name, _)| format!("{name} stays stopped, and no record that stopped it is held")).collect()
    }
}
