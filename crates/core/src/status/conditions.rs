//! The conditions of a StreamPipeline, by the Kubernetes API conventions.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::{Cause, PauseLimit, RequestState, words};
use stream_pipeline_api::{ConditionType, Reason, Stage};

pub(super) struct Conditions {
    pub(super) list: Vec<Condition>,
    pub(super) generation: Option<i64>,
    pub(super) now: Timestamp,
    /// The platform that the codes belong to, where it is not this one.
    pub(super) code_of: Option<&'static str>,
}

impl Conditions {
    /// The message, which begins with the platform's code where there is one.
    pub(super) fn message(&self, cause: &Cause) -> String {
        let text = words::cut(&cause.message, 2000);
        match cause.code() {
            Some(code) => match self.code_of {
                Some(platform) => format!("{code}: {text} ({code} is the code that {platform} has for this)"),
                None => format!("{code}: {text}"),
            },
            None => text,
        }
    }

    pub(super) fn of_request(&mut self, ending: &RequestState) {
        let (ready, reconciling, stalled, reset) = match ending.stage {
            Stage::Waiting | Stage::Pausing | Stage::Sending => ("False", true, false, "False"),
            Stage::Sent => ("True", false, false, "Unknown"),
            Stage::Planned | Stage::Skipped => ("True", false, false, "False"),
            Stage::Verified => ("True", false, false, "True"),
            Stage::Failed => ("False", false, true, "False"),
            Stage::Held | Stage::OfAnotherVersion => ("False", false, true, "Unknown"),
        };
        let (reason, result) = (ending.cause.reason, self.message(&ending.cause));
        let kept = |text: &str| ending.kept.as_ref().map_or(text.to_owned(), |kept| words::and(text, &kept.said));
        let message = kept(&result);
        if ending.is_edited() {
            self.stays(ConditionType::OffsetsReset, reset, reason, &result);
        } else {
            self.set(ConditionType::OffsetsReset, reset, reason, &result);
        }
        if let Some(owed) = &ending.owed {
            let said = words::and(&kept(&self.message(owed)), &format!("The reset: {result}"));
            return self.owed(owed.reason, &said);
        }
        if ending.is_edited() {
            return self.edited("");
        }
        self.set(ConditionType::Ready, ready, reason, &message);
        for (kind, speaks) in [(ConditionType::Reconciling, reconciling), (ConditionType::Stalled, stalled)] {
            if speaks {
                self.set(kind, "True", reason, &message);
            } else {
                self.remove(kind);
            }
        }
    }

    /// Something is left to do, whatever the result of the request is.
    pub(super) fn owed(&mut self, reason: Reason, message: &str) {
        self.set(ConditionType::Ready, "False", reason, message);
        self.set(ConditionType::Reconciling, "True", reason, message);
        self.remove(ConditionType::Stalled);
    }

    /// The result is not of what is asked for now, and nothing more happens until a person acts: Stalled. Whoever waits for success sees the
    /// generation of `OffsetsReset`, which stays behind.
    pub(super) fn edited(&mut self, why: &str) {
        let before =
            self.list.iter().find(|c| c.type_ == ConditionType::OffsetsReset.as_str()).map(|c| c.message.clone()).unwrap_or_default();
        let text = "the request was edited after it ended; under the same id nothing runs. Choose a new id to run it";
        let text = if why.is_empty() { text.to_owned() } else { words::and(text, why) };
        let text = words::and(&text, &format!("The result before: {before}"));
        for kind in [ConditionType::Ready, ConditionType::Stalled] {
            self.set(kind, "True", Reason::RequestEditedWithoutNewId, &text);
        }
        self.remove(ConditionType::Reconciling);
    }

    /// A pipeline that the operator keeps paused for long; where the platform has a limit, how much of it is left.
    pub(super) fn pause_limit(&mut self, since: Option<Timestamp>, limit: Option<PauseLimit>, warning: Duration) {
        let paused = since.map(|since| self.now.duration_since(since)).filter(|p| p.unsigned_abs() >= warning && !p.is_negative());
        let (Some(paused), Some(limit)) = (paused, limit) else { return self.remove(ConditionType::PauseLimitNear) };
        const DECIDE: &str = "onUnknownOutcome: Retry, a new id, or remove spec.offsetReset";
        let PauseLimit { limit, said, after } = limit;
        let text = match limit.checked_sub(paused.unsigned_abs()) {
            None => format!("the operator has kept the pipeline paused for longer than {said}: {after}. Decide now: {DECIDE}"),
            // Whole hours: a message that changes at every look would be written at every look.
            Some(left) => format!(
                "the operator keeps the pipeline paused; of {said} about {} h are left. Decide: {DECIDE}",
                left.as_secs() / 3600 + 1
            ),
        };
        self.set(ConditionType::PauseLimitNear, "True", Reason::PauseLimitNear, &text);
    }

    /// The transition time moves only when the status does (Kubernetes API conventions).
    pub(super) fn set(&mut self, kind: ConditionType, status: &str, reason: Reason, message: &str) {
        let since = self
            .list
            .iter()
            .find(|c| c.type_ == kind.as_str() && c.status == status)
            .map_or(Time(self.now), |c| c.last_transition_time.clone());
        let condition = Condition {
            type_: kind.as_str().to_owned(),
            status: status.to_owned(),
            reason: reason.to_string(),
            message: message.to_owned(),
            last_transition_time: since,
            observed_generation: self.generation,
        };
        match self.list.iter_mut().find(|c| c.type_ == kind.as_str()) {
            Some(known) => *known = condition,
            None => self.list.push(condition),
        }
    }

    pub(super) fn remove(&mut self, kind: ConditionType) {
        self.list.retain(|c| c.type_ != kind.as_str());
    }

    /// Sets the condition again, but for an earlier generation.
    pub(super) fn stays(&mut self, kind: ConditionType, status: &str, reason: Reason, message: &str) {
        let known = self.list.iter().find(|c| c.type_ == kind.as_str() && c.status == status).and_then(|c| c.observed_generation);
        self.set(kind, status, reason, message);
        if let Some(condition) = self.list.iter_mut().find(|c| c.type_ == kind.as_str()) {
            condition.observed_generation = self.generation.map(|now| known.unwrap_or_default().min(now - 1));
        }
    }

    /// All conditions hold for this generation too, except success: what succeeded may not be what this generation asks for.
    pub(super) fn refresh(&mut self) {
        for condition in self.list.iter_mut().filter(|c| !(c.type_ == ConditionType::OffsetsReset.as_str() && c.status == "True")) {
            condition.observed_generation = self.generation;
        }
    }
}
