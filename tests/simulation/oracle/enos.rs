//! What the operator reads from the platform and calls on it.

use std::time::Duration;

use stream_pipeline_api::OffsetResetRecord;
use stream_pipeline_operator::backend::kafka::admin::TopicPartition;
use stream_pipeline_operator::process_state::is_closed;

use super::{Oracle, PlanWritten, counts, name, record_of, uid};
use crate::environment::KAFKA_RATE;
use crate::platform::{Answer, Call};
use crate::process::Process;
use crate::world::World;

/// How long a start may still be under way after another replica has seen it and noted that.
const NOTED: i64 = 120;

/// What is known of the platform's pipeline.
#[derive(Default)]
pub(super) struct OnPlatform {
    /// The operator was the last to act on the pipeline, and paused it.
    paused_by_operator: bool,
}

impl Oracle {
    pub fn console_acted(&mut self) {
        self.platform.paused_by_operator = false;
    }
}

impl World {
    /// The operator sends a call. Returns the number under which a reset is noted when it lands.
    pub fn calls_platform(&mut self, process: &Process, call: &Call) -> Option<usize> {
        let who = &process.name;
        match call.named() {
            "reset" => Some(self.resets(process)),
            "pause" => {
                self.say(|| format!("{who} pauses {}", call.pipeline()));
                let asked = |r: &OffsetResetRecord| !is_closed(r);
                self.check_switch(who, "pauses", asked);
                None
            }
            "start" => {
                self.say(|| format!("{who} starts {}", call.pipeline()));
                let now = self.wall().as_second();
                let owes = |r: &OffsetResetRecord| {
                    let brought_back = r.status.as_ref().and_then(|s| s.brought_back_at);
                    is_closed(r) && brought_back.is_none_or(|t| now - t.as_second() < NOTED)
                };
                self.check_switch(who, "starts", owes);
                None
            }
            "stop" => {
                self.violation(format!("{who} stops {}: it can only be paused", call.pipeline()));
                None
            }
            _ => None,
        }
    }

    fn check_switch(&mut self, who: &str, what: &str, asked: impl Fn(&OffsetResetRecord) -> bool) {
        let ran = |r: &OffsetResetRecord| r.spec.run_state_before.as_ref().is_some_and(|b| b.running) && counts(r);
        let is_asked = self.api.all("offsetresetrecords").filter_map(|(_, o)| record_of(o)).any(|r| ran(&r) && asked(&r));
        if !is_asked && self.oracle.deleted.is_empty() {
            self.violation(format!("{who} {what} the pipeline, and no record asks for it"));
        }
    }

    fn resets(&mut self, process: &Process) -> usize {
        let (at, who) = (self.at(), &process.name);
        self.say(|| format!("{who} calls the reset"));
        let own = |p: &PlanWritten| p.writer.incarnation == process.incarnation && p.plan.call.is_some();
        let records: Vec<OffsetResetRecord> = self.api.all("offsetresetrecords").filter_map(|(_, o)| record_of(o)).collect();
        let in_place = |p: &PlanWritten| {
            records.iter().any(|r| uid(r) == p.uid && !is_closed(r) && r.spec.plan.is_some() && r.spec.writer.as_ref() == Some(&p.writer))
        };
        let plans = &self.oracle.plans;
        // The call names no record. It counts for the last plan of this process that is in place and may be sent, else for the last one
        // in place: where it was for another one, that one's own call counts twice there.
        let newest_first = || (0..plans.len()).rev().filter(|i| own(&plans[*i]));
        let placed = || newest_first().filter(|i| in_place(&plans[*i]));
        let clean = placed().find(|i| self.check_reset(process, &plans[*i], at).is_empty());
        let plan = clean.or_else(|| placed().next()).or_else(|| newest_first().next());
        let wrong = match plan {
            None => vec![format!("{who} calls a reset that it has written into no record")],
            Some(i) => self.check_reset(process, &plans[i], at),
        };
        self.sent(process, plan, wrong)
    }

    /// What is wrong with a reset that is called now for this plan.
    fn check_reset(&self, process: &Process, written: &PlanWritten, at: Duration) -> Vec<String> {
        let mut wrong = self.check_wanted(process, written, at);
        let seen = self.oracle.reads.get(&process.incarnation).and_then(|reads| reads.status.as_ref());
        // A pipeline that does not exist refuses by itself.
        let idle = |(when, status): &(Duration, String)| *when >= written.at && matches!(status.as_str(), "PAUSED" | "STOPPED" | "");
        if !seen.is_some_and(idle) {
            let who = &process.name;
            wrong.push(format!("{who} resets for {}, and did not see it paused or stopped after the plan (saw {seen:?})", written.record));
        }
        wrong
    }

    /// The call was served, with effect or not. Of a call that is delivered twice the first delivery counts: nobody can prevent the second.
    pub fn landed_on_platform(&mut self, send: Option<usize>, effect: bool) {
        let Some(send) = send.filter(|send| self.oracle.sends[*send].landed.is_none()) else { return };
        let at = self.at();
        self.oracle.sends[send].landed = Some(at);
        self.say(|| format!("the reset lands{}", if effect { "" } else { ", and is not done" }));
        let record = self.oracle.sends[send].record.clone();
        let Some(plan) = self.oracle.sends[send].plan.filter(|_| effect) else { return };
        let (attempt, uid) = (self.oracle.plans[plan].writer.attempt, self.oracle.plans[plan].uid.clone());
        if self.oracle.pardoned.contains(&uid) {
            return;
        }
        let pipeline = TopicPartition::new("the pipeline", 0);
        let times = self.oracle.effects.entry((record.clone(), attempt, pipeline)).or_default();
        *times += 1;
        if *times > 1 {
            let times = *times;
            self.violation(format!("{record} resets the pipeline {times} times"));
        }
        self.check_landing(send, &uid);
    }

    /// What the process learns from an answer.
    pub fn saw_platform(&mut self, process: &Process, call: &Call, (_, body): &Answer) {
        let at = self.at();
        let data = if body["data"].is_array() { &body["data"][0] } else { &body["data"] };
        match call.named() {
            // The later pages are empty.
            "list" if body["code"] == 0 && call.param("pageNo") == "1" => {
                let status = data["pipelines"][0]["status"].as_str().unwrap_or_default().to_owned();
                self.oracle.reads_of(process).status = Some((at, status));
            }
            "offset-lag" if data["lagAndOffset"].as_array().is_some_and(|points| !points.is_empty()) => {
                self.oracle.reads_of(process).lag = Some(at);
            }
            "pause" if body["code"] == 0 => self.oracle.platform.paused_by_operator = true,
            "start" if body["code"] == 0 => self.oracle.platform.paused_by_operator = false,
            _ => {}
        }
    }

    /// "Verified" is written only once the pipeline runs, its lag was read, and a reset was carried out.
    pub(super) fn check_compared(&self, process: &Process, record: &OffsetResetRecord, written: &PlanWritten) -> Option<String> {
        let landed = self.oracle.sends.iter().filter(|s| s.plan.is_some_and(|p| self.oracle.plans[p].uid == written.uid));
        let Some(landed) = landed.filter_map(|s| s.landed).next_back() else { return Some("it was never sent".to_owned()) };
        let lag = self.oracle.reads.get(&process.incarnation).and_then(|reads| reads.lag);
        if lag.is_none_or(|at| at < landed) || record.status.as_ref().is_none_or(|s| s.reading.is_none()) {
            return Some(format!("its lag was not read after the reset (read at {lag:?})"));
        }
        if self.oracle.moved(&name(record)) {
            return None;
        }
        let pipelines = || self.platform.iter().flat_map(|p| p.pipelines.values());
        // How much it skipped is judged by the manifest's rate; that others started it with a higher one cannot be seen.
        let skipped = record.status.as_ref().is_some_and(|s| s.message.contains("skipped at least"));
        if skipped && pipelines().any(|p| p.rate_at_console > KAFKA_RATE) {
            return None;
        }
        // What others reset cannot be told from it, nor what a record tells of that somebody deleted.
        let forgotten = !self.oracle.deleted.is_empty();
        let by_others = |p: &crate::platform::Pipeline| if forgotten { p.resets.clone() } else { p.resets_at_console.clone() };
        let resets: Vec<Duration> = pipelines().flat_map(by_others).collect();
        let truly = resets.iter().any(|at| *at >= written.at);
        (!truly).then(|| format!("{} itself has reset nothing, nor has anybody else since it was planned", name(record)))
    }

    /// What the operator paused may stay paused only if a record is held for a person.
    pub(super) fn left_paused(&self) -> Option<String> {
        let paused = self.platform.as_ref()?.pipelines.values().any(|p| p.status == "PAUSED");
        let excused = !self.oracle.deleted.is_empty() || self.is_held_stopped(None);
        (paused && self.oracle.platform.paused_by_operator && !excused).then(|| "the pipeline stays paused, and nothing is held".to_owned())
    }
}
