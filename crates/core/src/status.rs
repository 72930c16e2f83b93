//! The status as a total function of what was seen and decided. The table is product.md, section 3.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::{
    BackendIdentity, Lag, OffsetResetStatus, Phase, Reason, RecordRef, ResetError, Stage, StreamPipeline, StreamPipelineStatus,
};
use crate::words;
use crate::{Activity, Backend, Cause, Desired, Observation, Observed, Report, RequestState, lag};

/// Offsets that moved without a member so lately, and have not rested since, mean a pipeline that runs.
const MOVING: Duration = Duration::from_secs(60);
const RESTING: Duration = Duration::from_secs(10);

/// What the passes of one run saw that the status tells. A later look replaces an earlier one; what was not looked at
/// again stays.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub identity: Option<BackendIdentity>,
    pub phase: Option<Phase>,
    /// Whether the pipeline is inactive, and why (not).
    pub inactive: Option<(bool, Cause)>,
    /// None: reached. Only set where the backend was asked.
    pub reached: Option<Result<(), Cause>>,
    pub lag: Option<Lag>,
}

impl Seen {
    /// Takes over what one pass saw, until now.
    pub fn note(&mut self, seen: &Observation, now: Timestamp) {
        if let Some(id) = seen.identity.get() {
            self.identity = Some(id.clone());
        }
        // Of a leftover only whether it could be looked at is told: it may be of another pipeline.
        let activity = seen.superseded.as_ref().map_or(&seen.activity, |left| &left.activity);
        let failed = [seen.identity.cause(), activity.cause(), seen.committed.cause(), seen.topics.cause(), seen.log.cause()]
            .into_iter()
            .flatten()
            // What the platform says of a pipeline is an answer.
            .find(|cause| !cause.reason.ends() && cause.reason != Reason::PipelineStatusUnknown);
        if let Some(cause) = failed {
            self.reached = Some(Err(cause.clone()));
        } else if activity.get().is_some() || seen.committed.get().is_some() {
            self.reached = Some(Ok(()));
        }
        match &seen.activity {
            Observed::Read(found) => {
                let moving = seen.quiet.moved.is_some_and(|m| m < MOVING) && !seen.quiet.is_enough(RESTING);
                self.phase = Some(if found.is_inactive() && moving { Phase::Running } else { found.phase() });
                self.inactive = Some(match found {
                    Activity::Inactive(..) if moving => {
                        (false, Cause::new(Reason::OffsetsMoving, "committed offsets move although the group has no members"))
                    }
                    Activity::Inactive(_, word) => {
                        let kafka = matches!(seen.identity.get(), Some(BackendIdentity::Kafka { .. }));
                        let reason = if kafka { Reason::GroupInactive } else { Reason::PipelineInactive };
                        (true, Cause::new(reason, format!("the platform reports it as {word}")))
                    }
                    Activity::Missing(cause) => (true, Cause::new(cause.reason, cause.message.clone())),
                    other => (false, other.blocker().cloned().unwrap_or_else(|| Cause::new(Reason::BackendError, "unknown"))),
                });
            }
            Observed::Unreadable(_) => self.phase = Some(Phase::Unknown),
            Observed::Unread => match seen.identity.cause() {
                Some(cause) if cause.reason == Reason::PipelineNotFound => self.phase = Some(Phase::NotFound),
                Some(_) => self.phase = Some(Phase::Unknown),
                None => {}
            },
        }
        if let Some(reading) = seen.reading {
            self.lag = Some(Lag { total: reading.lag, at: reading.at });
        }
        if let (Some(log), Some(committed)) = (seen.log.get(), seen.committed.get()) {
            self.lag = Some(Lag { total: lag(log, committed), at: now });
        }
    }
}

/// The new status; None where it says nothing that the present one does not say, times apart.
pub fn status_of(
    pipeline: &StreamPipeline,
    desired: &Desired,
    report: &Report,
    seen: &Seen,
    pause_warning: Duration,
    now: Timestamp,
) -> Option<StreamPipelineStatus> {
    let uid = Some(desired.object.uid.clone());
    let before = pipeline.status.clone().filter(|s| s.observed_uid == uid);
    if before.is_none() && !matches!(report, Report::NotRequested | Report::Request(_)) {
        // Without a verdict nothing is acknowledged: an object not seen before stays so.
        return None;
    }
    let mut status = before.clone().unwrap_or_default();
    status.observed_uid = uid;
    match &seen.identity {
        // Naming a group or a pipeline does not make an object one that speaks for it: it must have been shown to its principal.
        Some(BackendIdentity::Kafka { cluster_id, .. }) if seen.phase.is_some_and(|p| p != Phase::Unknown) => {
            status.cluster_id = status.cluster_id.or_else(|| Some(cluster_id.clone()));
        }
        Some(BackendIdentity::Enos { pipeline_id, .. }) if seen.phase.is_some_and(|p| !matches!(p, Phase::Unknown | Phase::NotFound)) => {
            status.pipeline_id = status.pipeline_id.or_else(|| Some(pipeline_id.clone()));
        }
        Some(_) | None => {}
    }
    status.phase = seen.phase.or(status.phase);
    let generation = pipeline.metadata.generation;
    let kafka = matches!(desired.backend, Backend::Kafka(_));
    let mut conditions = Conditions { list: std::mem::take(&mut status.conditions), generation, now, kafka };
    // The generation that this speaks of: Git tools wait until it is the one they wrote.
    let before_edit = status.observed_generation.min(generation.map(|now| now - 1));
    match report {
        Report::Unchanged | Report::LeftPaused(_) => {}
        Report::Settled { edited } => {
            let done = status.offset_reset.as_ref().is_some_and(|last| matches!(last.stage, Stage::Verified | Stage::Sent));
            match edited.as_ref().filter(|_| done) {
                Some(refused) => {
                    conditions.edited(&format!("What it says now is refused: {}", refused.message));
                    status.observed_generation = before_edit;
                }
                None => {
                    conditions.refresh();
                    status.observed_generation = generation;
                }
            }
        }
        Report::Outstanding(cause) => conditions.owed(cause.reason, &conditions.message(cause)),
        Report::NotRequested => {
            status.observed_generation = generation;
            status.acknowledged_id = None;
            // The last result stays readable; what came to none leaves nothing behind.
            if status.offset_reset.as_ref().is_some_and(|r| !r.stage.is_final()) {
                status.leave_last();
                conditions.remove("OffsetsReset");
            }
            // What was paused for it was brought back before it came to this.
            if let Some(last) = &mut status.offset_reset {
                last.paused_by_operator = None;
            }
            let text = match &seen.reached {
                Some(Err(cause)) => words::and("no reset is requested; it could not run now", &conditions.message(cause)),
                _ => "no reset is requested".to_owned(),
            };
            conditions.set("Ready", "True", Reason::NothingRequested, &text);
            conditions.remove("Reconciling");
            conditions.remove("Stalled");
        }
        Report::Request(ending) => {
            status.acknowledged_id.clone_from(&desired.id);
            let same = |last: &OffsetResetStatus| desired.id.as_ref() == Some(&last.id) && last.is_dry_run() == desired.dry_run;
            if !status.offset_reset.as_ref().is_some_and(same) {
                status.leave_last();
            }
            let known = status.offset_reset.take();
            let error = error(ending, &conditions);
            status.offset_reset =
                desired.id.as_ref().map(|id| OffsetResetStatus { dry_run: desired.dry_run, ..reset_status(id, ending, known, error) });
            conditions.of_request(ending);
            status.observed_generation = if ending.is_edited() { before_edit } else { generation };
        }
    }
    if status.offset_reset.as_ref().is_some_and(|r| r.paused_by_operator.is_some())
        && matches!(status.phase, Some(Phase::Stopped | Phase::NotFound | Phase::Unknown))
    {
        status.phase = Some(Phase::Paused);
    }
    if let Some((inactive, cause)) = &seen.inactive {
        conditions.set("PipelineInactive", if *inactive { "True" } else { "False" }, cause.reason, &cause.message);
    }
    match &seen.reached {
        Some(Ok(())) => conditions.set("BackendReachable", "True", Reason::Reachable, "it answers"),
        Some(Err(cause)) => conditions.set("BackendReachable", "False", cause.reason, &cause.message),
        None => {}
    }
    let paused = status.offset_reset.as_ref().and_then(|r| r.paused_by_operator);
    conditions.pause_limit(paused, desired.backend.capabilities().pause_limit, pause_warning);
    status.conditions = conditions.list;
    let lag = seen.lag.clone().or(status.lag.clone()).filter(|lag| !is_outdated(lag, report));
    // A lag that is not true any more is taken away; one that changes all the time is no reason to write.
    if before.as_ref() == Some(&status) && (lag.is_some() || status.lag.is_none()) {
        return None;
    }
    status.lag = lag;
    Some(status)
}

/// Whether the position may have been moved since.
fn is_outdated(lag: &Lag, report: &Report) -> bool {
    let Report::Request(ending) = report else { return false };
    let sent = matches!(ending.stage, Stage::Sending | Stage::Sent | Stage::Verified | Stage::Held);
    sent && ending.completed_at.is_none_or(|completed| lag.at <= completed)
}

/// Why it did not succeed; or why what is left to do is not done yet, where the platform says so by a code.
fn error(ending: &RequestState, conditions: &Conditions) -> Option<ResetError> {
    let failed = matches!(ending.stage, Stage::Waiting | Stage::Failed | Stage::Held) || ending.cause.code.is_some();
    let owed = ending.owed.as_ref().filter(|owed| owed.code.is_some());
    let cause = if failed { &ending.cause } else { owed? };
    Some(ResetError {
        code: cause.code(),
        reason: cause.reason,
        backend_code: cause.backend_code,
        message: conditions.message(cause),
        retryable: !failed || !ending.stage.is_final(),
    })
}

fn reset_status(id: &str, ending: &RequestState, known: Option<OffsetResetStatus>, error: Option<ResetError>) -> OffsetResetStatus {
    OffsetResetStatus {
        id: id.to_owned(),
        stage: ending.stage,
        dry_run: false,
        accepted_at: ending.accepted_at.or(known.as_ref().and_then(|k| k.accepted_at)),
        deadline: ending.deadline.or(known.as_ref().and_then(|k| k.deadline)),
        plan: ending.totals.clone(),
        record_ref: ending.record.clone().map(|name| RecordRef { name }),
        attempts: ending.attempts,
        completed_at: ending.completed_at,
        paused_by_operator: ending.kept.as_ref().map(|kept| kept.since),
        error,
    }
}

struct Conditions {
    list: Vec<Condition>,
    generation: Option<i64>,
    now: Timestamp,
    /// The codes are another platform's.
    kafka: bool,
}

impl Conditions {
    /// With a platform code the message begins with it.
    fn message(&self, cause: &Cause) -> String {
        let text = words::cut(&cause.message, 2000);
        match cause.code() {
            Some(code) if self.kafka => format!("{code}: {text} ({code} is the code that EnOS has for this)"),
            Some(code) => format!("{code}: {text}"),
            None => text,
        }
    }

    fn of_request(&mut self, ending: &RequestState) {
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
            self.stays("OffsetsReset", reset, reason, &result);
        } else {
            self.set("OffsetsReset", reset, reason, &result);
        }
        if let Some(owed) = &ending.owed {
            let said = words::and(&kept(&self.message(owed)), &format!("The reset: {result}"));
            return self.owed(owed.reason, &said);
        }
        if ending.is_edited() {
            self.edited("");
        } else {
            self.set("Ready", ready, reason, &message);
        }
        for (kind, speaks) in [("Reconciling", reconciling), ("Stalled", stalled)] {
            if speaks {
                self.set(kind, "True", reason, &message);
            } else {
                self.remove(kind);
            }
        }
    }

    /// Something is left to do, whatever became of the request.
    fn owed(&mut self, reason: Reason, message: &str) {
        self.set("Ready", "False", reason, message);
        self.set("Reconciling", "True", reason, message);
        self.remove("Stalled");
    }

    /// What is told of the reset is not what is asked for now. Only a person reads this: who waits for success goes by the
    /// generation, which stays behind.
    fn edited(&mut self, why: &str) {
        let before = self.list.iter().find(|c| c.type_ == "OffsetsReset").map(|c| c.message.clone()).unwrap_or_default();
        let text = "the request was edited after it ended; under the same id nothing runs. Choose a new id to run it";
        let text = if why.is_empty() { text.to_owned() } else { words::and(text, why) };
        self.set("Ready", "True", Reason::RequestEditedWithoutNewId, &words::and(&text, &format!("The result before: {before}")));
    }

    /// A pipeline that the operator keeps paused has a limit on the platform.
    fn pause_limit(&mut self, since: Option<Timestamp>, limit: Option<Duration>, warning: Duration) {
        let Some(limit) = limit.and_then(|limit| SignedDuration::try_from(limit).ok()) else { return self.remove("PauseLimitNear") };
        let paused = since.map(|since| self.now.duration_since(since));
        let Some(paused) = paused.filter(|p| p.unsigned_abs() >= warning && !p.is_negative()) else { return self.remove("PauseLimitNear") };
        let left = (limit - paused).as_hours();
        // Whole hours: a message that changes all the time would be written all the time.
        let text = if left < 0 {
            "the operator has kept the pipeline paused for longer than the 24 h the platform documents: its cached data may be gone. Decide now: onUnknownOutcome: Retry, a new id, or remove spec.offsetReset".to_owned()
        } else {
            format!(
                "the operator keeps the pipeline paused; of the 24 h the platform documents about {} h are left. Decide: onUnknownOutcome: Retry, a new id, or remove spec.offsetReset",
                left + 1
            )
        };
        self.set("PauseLimitNear", "True", Reason::PauseLimitNear, &text);
    }

    /// The transition time moves only when the status does (Kubernetes API conventions).
    fn set(&mut self, kind: &str, status: &str, reason: Reason, message: &str) {
        let since =
            self.list.iter().find(|c| c.type_ == kind && c.status == status).map_or(Time(self.now), |c| c.last_transition_time.clone());
        let condition = Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_string(),
            message: message.to_owned(),
            last_transition_time: since,
            observed_generation: self.generation,
        };
        match self.list.iter_mut().find(|c| c.type_ == kind) {
            Some(known) => *known = condition,
            None => self.list.push(condition),
        }
    }

    fn remove(&mut self, kind: &str) {
        self.list.retain(|c| c.type_ != kind);
    }

    /// Told again, of an earlier generation.
    fn stays(&mut self, kind: &str, status: &str, reason: Reason, message: &str) {
        let known = self.list.iter().find(|c| c.type_ == kind && c.status == status).and_then(|c| c.observed_generation);
        self.set(kind, status, reason, message);
        if let Some(condition) = self.list.iter_mut().find(|c| c.type_ == kind) {
            condition.observed_generation = self.generation.map(|now| known.unwrap_or_default().min(now - 1));
        }
    }

    /// What was said holds for this generation too. Success was seen of what was asked for then, which may be something else.
    fn refresh(&mut self) {
        for condition in self.list.iter_mut().filter(|c| !(c.type_ == "OffsetsReset" && c.status == "True")) {
            condition.observed_generation = self.generation;
        }
    }
}
