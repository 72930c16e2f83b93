//! What the operator stops and starts.

use std::time::Duration;

use serde_json::Value;
use stream_pipeline_api::OffsetResetRecord;
use stream_pipeline_operator::process_state::is_closed;

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
        let late = self.at().saturating_sub(self.oracle.called_at);
        let called_at = self.wall().checked_sub(late).expect("a time");
        let asked = |r: &OffsetResetRecord| {
            let before = r.spec.run_state_before.as_ref().filter(|b| b.running);
            let recorded = before.and_then(|b| b.workloads.iter().find(|w| w.name == workload)).map(|w| i64::from(w.replicas));
            // A stop may land late. It is awaited before the workload counts as brought back.
            let was_open = || r.status.as_ref().is_none_or(|s| !is_closed(r) || s.completed_at >= called_at);
            let open = if to == 0 { was_open() && recorded == Some(from) } else { recorded == Some(to) };
            open && counts(r)
        };
        let is_asked = self.api.all("offsetresetrecords").filter_map(|(_, o)| record_of(o)).any(|r| asked(&r));
        // If a record was deleted, nobody knows of its pause any more.
        if !is_asked && !self.oracle.unknown_pauses.contains(workload) {
            self.violation(format!("{} scales {workload} from {from} to {to}, and no record asks for it", process.name));
        }
    }

    /// What the operator stopped may stay stopped only if a held record that names it waits for a person.
    pub(super) fn left_stopped(&self) -> Vec<String> {
        let stopped = self.oracle.last_scale.iter().filter(|(workload, to)| **to == 0 && !self.oracle.scaled_by_others.contains(*workload));
        let is_down = |name: &str| self.api.all("deployments").any(|(key, o)| key.2 == name && o["spec"]["replicas"] == 0);
        let excused = |name: &str| self.oracle.unknown_pauses.contains(name) || self.is_held_stopped(Some(name));
        let down = stopped.filter(|(name, _)| is_down(name) && !excused(name));
        down.map(|(name, _)| format!("{name} stays stopped, and no record that stopped it is held")).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use crate::oracle::pipeline_key;
    use crate::process::{NAMESPACE, TIMING};
    use crate::world::World;

    /// Two workloads are at 0, and a record that had stopped one of them is held.
    #[test]
    fn a_held_pause_excuses_its_own_workload_and_no_other() {
        let mut world = World::new(0, None, TIMING, false);
        let (now, key) = (Timestamp::UNIX_EPOCH, |kind: &str, name: &str| (kind.to_owned(), NAMESPACE.to_owned(), name.to_owned()));
        for name in ["held", "forgotten"] {
            world.api.create(key("deployments", name), json!({ "spec": { "replicas": 0 } }), now);
            world.oracle.last_scale.insert(name.to_owned(), 0);
        }
        assert_eq!(world.left_stopped().len(), 2, "nothing is held yet");
        let (_, pipeline) = world.api.create(pipeline_key("p0"), json!({ "spec": { "offsetReset": { "id": "r1" } } }), now);
        let workload = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "held", "replicas": 2 });
        let record = json!({
            "apiVersion": "streampipeline.io/v1alpha1", "kind": "OffsetResetRecord",
            "spec": {
                "pipeline": { "name": "p0", "uid": pipeline["metadata"]["uid"] }, "request": { "id": "r1" },
                "backend": { "clusterID": "c", "consumerGroup": "g" }, "createdAt": now, "deadline": now,
                "runStateBefore": { "running": true, "workloads": [workload] },
            },
            "status": { "phase": "Held", "attempt": 1, "reason": "OutcomeUnknown", "message": "", "completedAt": now },
        });
        world.api.create(key("offsetresetrecords", "p0-1"), record, now);
        assert_eq!(world.left_stopped(), ["forgotten stays stopped, and no record that stopped it is held"]);
    }
}
