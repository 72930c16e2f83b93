//! What is still unfinished, and what is lost with a record that somebody deletes.

use serde_json::Value;
use stream_pipeline_api::{OffsetResetRecord, RecordPhase};
use stream_pipeline_operator::process_state::is_closed;

use super::{name, pipeline_key, record_of, uid};
use crate::world::World;

/// The workloads that were stopped for this record; None: none were.
fn stopped_by(record: &OffsetResetRecord) -> Option<Vec<String>> {
    let before = record.spec.run_state_before.as_ref().filter(|before| before.running)?;
    Some(before.workloads.iter().filter(|w| w.replicas > 0).map(|w| w.name.clone()).collect())
}

impl World {
    /// Somebody deletes a record. A status that mentions it still prevents a second run, if whoever could run it has seen that or the
    /// second look shows its end; else this is one of the stated limits.
    pub fn record_deleted(&mut self, object: &Value) {
        let Some(record) = record_of(object) else { return };
        // Of two at work at once, one may not know what the other has told.
        let stale = self.oracle.replicas > 1 && self.oracle.watches_stale_until > self.at();
        let told = self.api.get(&pipeline_key(&record.spec.pipeline.name)).is_some_and(|p| {
            let told = &p["status"]["offsetReset"];
            let mentions = match told["stage"].as_str() {
                None => false,
                Some("Waiting") => told["recordRef"]["name"] == name(&record) && !stale,
                Some("Pausing" | "Sending") => !stale,
                Some(_) => true,
            };
            mentions && told["id"] == record.spec.request.id.as_str()
        });
        self.oracle.deleted.insert(uid(&record));
        self.oracle.unknown_pauses.extend(stopped_by(&record).into_iter().flatten());
        if told {
            let pipeline = record.spec.pipeline.name.clone();
            self.oracle.told_by_status.push((pipeline, name(&record), uid(&record)));
        } else {
            self.pardon(&name(&record), uid(&record));
        }
    }

    /// A status is lost or overwritten: nobody knows any more what only that status said.
    pub fn status_lost(&mut self, pipeline: &str) {
        for (of, record, uid) in std::mem::take(&mut self.oracle.told_by_status) {
            if of == pipeline {
                self.pardon(&record, uid);
            } else {
                self.oracle.told_by_status.push((of, record, uid));
            }
        }
    }

    fn pardon(&mut self, record: &str, uid: String) {
        self.oracle.pardoned.insert(uid);
        self.oracle.effects.retain(|(of, ..), _| of != record);
    }

    /// What is still unfinished; empty at the end of a good history.
    pub fn open_ends(&self) -> Vec<String> {
        let mut open = Vec::new();
        let mut somebody_waits = false;
        for (key, object) in self.api.all("streampipelines") {
            let asked = &object["spec"]["offsetReset"]["id"];
            let stage = &object["status"]["offsetReset"];
            let is_final = !matches!(stage["stage"].as_str(), None | Some("Waiting" | "Pausing" | "Sending"));
            if object["metadata"]["deletionTimestamp"].is_string() {
                open.push(format!("{} is not gone", key.2));
            } else if asked.is_string() && !(stage["id"] == *asked && is_final) {
                somebody_waits = true;
                open.push(format!("{} has not ended: {stage}", key.2));
            } else if !asked.is_string() && !object["status"]["observedUID"].is_string() {
                open.push(format!("{} was not seen", key.2));
            }
        }
        for (key, object) in self.api.all("offsetresetrecords") {
            let Some(record) = record_of(object).filter(|record| !is_closed(record)) else { continue };
            // If its object is gone, whoever waits for the group judges the record; if nobody waits, the record may stay open.
            if self.api.get(&pipeline_key(&record.spec.pipeline.name)).is_some() || somebody_waits {
                open.push(format!("record {} is not closed", key.2));
            }
        }
        open.extend(self.left_stopped());
        open.extend(self.left_paused());
        open
    }

    /// Whether a held record, which its object still asks for, keeps something stopped until a person acts: this workload, or any pipeline
    /// of the platform.
    pub(super) fn is_held_stopped(&self, workload: Option<&str>) -> bool {
        self.api.all("offsetresetrecords").filter_map(|(_, object)| record_of(object)).any(|record| {
            let held = record.status.as_ref().is_some_and(|s| s.phase == RecordPhase::Held && s.brought_back_at.is_none());
            let asked = self.api.get(&pipeline_key(&record.spec.pipeline.name)).is_some_and(|p| {
                p["spec"]["offsetReset"]["id"] == record.spec.request.id.as_str()
                    && p["metadata"]["uid"] == record.spec.pipeline.uid.as_str()
            });
            held && asked
                && stopped_by(&record).is_some_and(|names| workload.is_none_or(|workload| names.iter().any(|name| name == workload)))
        })
    }
}
