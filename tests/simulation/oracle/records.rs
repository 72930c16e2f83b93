//! What is written to records, and what a status says of them.

use stream_pipeline_api::{OffsetResetRecord, RecordPhase, Stage, StreamPipeline, TargetReason};
use stream_pipeline_core::{Aim, Commit, PartitionPlan, Plan};

use super::{PlanWritten, RESTORED, Send, gap, name, reaches, uid};
use crate::process::Process;
use crate::world::World;

impl World {
    pub(super) fn wrote_record(&mut self, process: &Process, was: Option<&OffsetResetRecord>, is: &OffsetResetRecord) {
        let (record, who) = (name(is), &process.name);
        if is.spec.plan.is_some() && is.spec.writer.is_some() && was.and_then(|r| r.spec.writer.as_ref()) != is.spec.writer.as_ref() {
            self.wrote_plan(process, was, is);
        }
        if was.is_some_and(|r| r.spec.plan.is_some()) && is.spec.plan.is_none() {
            self.say(|| format!("{who} drops the plan of {record}"));
            let own = |s: &Send| s.plan.is_some_and(|plan| self.oracle.plans[plan].uid == uid(is));
            let sent = |s: &Send| own(s) && s.landed.is_none();
            let moved = self.oracle.moved(&record) && self.oracle.deleted.is_empty();
            // A restored record is closed next, and nothing is planned in it again.
            if gap(is) <= RESTORED && (self.oracle.sends.iter().any(sent) || moved) {
                self.violation(format!("{who} drops the plan of {record} although it was sent"));
            }
        }
        let closed = |r: &OffsetResetRecord| r.status.as_ref().map(|s| (s.phase, s.attempt, s.reason));
        let (then, end) = (was.and_then(closed), closed(is));
        if let Some((phase, _, reason)) = end.filter(|_| end != then) {
            self.say(|| format!("{who} closes {record} as {phase:?} ({reason})"));
        }
        if let Some((phase, attempt, _)) = end
            && then.is_none_or(|(was, before, _)| (was, before) != (phase, attempt))
        {
            if phase == RecordPhase::Verified {
                self.oracle.verified.insert(record.clone());
                self.check_verified(process, is);
            }
            if phase == RecordPhase::Abandoned && self.oracle.moved_by(&record, &uid(is)) && gap(is) <= RESTORED {
                self.violation(format!("{record} is closed as Abandoned although it moved offsets"));
            }
        }
    }

    /// A plan is written into the record, its next chunk is announced, or all of it once more.
    fn wrote_plan(&mut self, process: &Process, was: Option<&OffsetResetRecord>, is: &OffsetResetRecord) {
        let (Some(plan), Some(writer)) = (&is.spec.plan, &is.spec.writer) else { return };
        let (at, record, who) = (self.at(), name(is), &process.name);
        let plan = Plan::of_record(plan);
        self.say(|| {
            let chunk = format!("chunk {} of {}", writer.chunk, plan.chunks());
            format!("{who} writes a plan into {record} (attempt {}, {chunk}, plan {})", writer.attempt, writer.number)
        });
        // A second attempt in one that its own maker had judged is refused at the second look.
        if was.is_some() && gap(is) > RESTORED && writer.attempt == 1 {
            self.violation(format!("{who} put a plan into the restored record {record}"));
        }
        // If somebody has deleted the record, the live status prevents the send.
        if was.is_none_or(|r| r.spec.plan.is_none()) && self.oracle.moved(&record) && self.oracle.deleted.is_empty() {
            self.violation(format!("{record} is planned anew although it moved offsets"));
        }
        let request = (is.spec.pipeline.uid.clone(), is.spec.request.id.clone());
        if self.oracle.not_to_run.contains(&request) && !self.oracle.forged.contains(&is.spec.pipeline.name) {
            self.violation(format!("{who} plans {}, which was there when its object was created, and was not to run then", request.1));
        }
        if writer.attempt > 1 && (writer.attempt > 2 || !self.retry_was_asked(is)) {
            self.violation(format!("{who} retries {record} (attempt {}) and nobody asked for it", writer.attempt));
        }
        let first = self.oracle.plans.iter().rev().find(|p| p.uid == uid(is) && p.writer.attempt == 1);
        if writer.attempt > 1 && first.is_some_and(|first| first.plan.rows != plan.rows) {
            self.violation(format!("{who} retries {record} with another plan than was announced"));
        }
        if let Some(wrong) = self.not_led_back(is, &plan) {
            self.violation(format!("{who} undoes by {record}, {wrong}"));
        }
        let written = PlanWritten { record, uid: uid(is), writer: writer.clone(), plan, at };
        if written.chunk() > 1
            && let Some(wrong) = self.announced_early(process, &written)
        {
            self.violation(wrong);
        }
        self.oracle.plans.push(written);
    }

    /// What an undo leads elsewhere than to where the reset of the record that it names started from.
    fn not_led_back(&self, record: &OffsetResetRecord, plan: &Plan) -> Option<String> {
        let undone = record.spec.request.to.as_ref()?.undo.as_ref()?;
        let before = self.oracle.plans.iter().rev().find(|written| written.record == undone.name)?;
        let led_back = |row: &&PartitionPlan| {
            let was = before.plan.changes().find(|was| was.at == row.at);
            let clamped = matches!(row.why, TargetReason::ClampedToStart | TargetReason::ClampedToEnd);
            was.is_some_and(|was| match (&was.from, &row.aim) {
                (None, aim) => *aim == Aim::Delete,
                (Some(from), Aim::Commit(to)) => {
                    clamped || (to.offset, to.leader_epoch, &to.metadata) == (from.offset, from.leader_epoch, &from.metadata)
                }
                (Some(_), Aim::Keep | Aim::Delete) => false,
            })
        };
        let row = plan.changes().find(|row| !led_back(row))?;
        Some(format!("and {} goes to {:?}, which is not where {} had it before", row.at, row.aim, undone.name))
    }

    /// Checks that a later chunk is announced only once those before it were read back.
    fn announced_early(&self, process: &Process, next: &PlanWritten) -> Option<String> {
        let chunk = next.chunk();
        let text = |what: &str| Some(format!("{} announces chunk {chunk} of {}, {what}", process.name, next.record));
        let Some(before) = self.oracle.plans.iter().rposition(|p| p.uid == next.uid) else { return text("which has no plan") };
        if self.oracle.plans[before].chunk() + 1 != chunk {
            return text("which is not the next");
        }
        let landed = self.oracle.sends.iter().filter(|s| s.plan == Some(before)).map(|s| s.landed).next_back();
        // In a retry nothing may be left to send.
        let landed = landed.unwrap_or(Some(self.oracle.plans[before].at));
        let Some(landed) = landed else { return text("and the one before has not landed") };
        let unread = next.plan.changes().take(next.plan.rows_before(chunk)).find(|row| {
            let as_planned = |value: &Option<Commit>| reaches(value.as_ref(), row);
            // The last read may be of a pass for another StreamPipeline of the group, if there is one.
            if self.api.count("streampipelines") > 1 {
                return !self.oracle.offset_reads(process, &row.at, landed).any(as_planned);
            }
            !self.oracle.offset_read(process, &row.at, landed).is_some_and(as_planned)
        });
        unread.and_then(|row| text(&format!("and {} was not read back after it was sent", row.at)))
    }

    /// The process may have acted on something a little older than the user's last write.
    fn retry_was_asked(&self, record: &OffsetResetRecord) -> bool {
        self.api.changes.iter().any(|(key, object, _)| {
            key.0 == "streampipelines"
                && key.2 == record.spec.pipeline.name
                && object["spec"]["offsetReset"]["id"] == record.spec.request.id.as_str()
                && object["spec"]["offsetReset"]["onUnknownOutcome"] == "Retry"
        })
    }

    fn check_verified(&mut self, process: &Process, record: &OffsetResetRecord) {
        let Some(written) = self.oracle.plans.iter().rev().find(|p| p.uid == uid(record) || Some(&p.writer) == record.spec.writer.as_ref())
        else {
            return self.violation(format!("{} is Verified without a plan", name(record)));
        };
        if written.plan.call.is_some() {
            if let Some(wrong) = self.check_compared(process, record, written) {
                self.violation(format!("{} is Verified by {}, but {wrong}", name(record), process.name));
            }
            return;
        }
        // With two pipelines, the last read of a process may be for the other one, right after the read that this record was judged by.
        let alone = self.api.count("streampipelines") < 2;
        let wrong = written.plan.changes().find_map(|row| {
            let read = self.oracle.offset_read(process, &row.at, written.at);
            let reached = |value: &Option<Commit>| reaches(value.as_ref(), row);
            let good = if alone { read.is_some_and(reached) } else { self.oracle.offset_reads(process, &row.at, written.at).any(reached) };
            (!good).then(|| format!("{} was not read back as planned: {:?} (read: {read:?})", row.at, row.aim))
        });
        if let Some(wrong) = wrong {
            self.violation(format!("{} is Verified by {}, but {wrong}", name(record), process.name));
        }
    }

    pub(super) fn wrote_status(&mut self, process: &Process, was: Option<&StreamPipeline>, is: &StreamPipeline) {
        let told = |p: &StreamPipeline| p.status.as_ref().and_then(|s| s.offset_reset.as_ref()).map(|r| (r.id.clone(), r.stage));
        let now = told(is);
        if now == was.and_then(told) {
            return;
        }
        let name = is.metadata.name.clone().unwrap_or_default();
        let reason = is.status.as_ref().and_then(|s| s.conditions.iter().find(|c| c.type_ == "Ready")).map(|c| c.reason.as_str());
        self.say(|| format!("{} tells on {name}: {now:?} ({})", process.name, reason.unwrap_or_default()));
        let record = is.status.as_ref().and_then(|s| s.offset_reset.as_ref()).and_then(|r| r.record_ref.as_ref()).map(|r| r.name.clone());
        let Some((id, stage)) = now else { return };
        if stage == Stage::Verified && !record.as_ref().is_some_and(|r| self.oracle.verified.contains(r)) {
            self.violation(format!("{name} is told to be Verified ({id}), and no record says so"));
        }
        let Some(record) = record else { return };
        if stage == Stage::Failed && self.oracle.moved(&record) && reason != Some("Restored") {
            self.violation(format!("{name} is told to have failed unsent ({id}), although {record} moved offsets"));
        }
    }
}
