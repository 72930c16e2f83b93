//! What the status takes from the observations.

use std::time::Duration;

use jiff::Timestamp;

use crate::{Activity, Cause, Observation, Observed, PlatformFacts, lag};
use stream_pipeline_api::{BackendIdentity, Lag, Phase, Reason};

/// If offsets moved without a member within this time and have not rested since, the pipeline counts as running.
const MOVING: Duration = Duration::from_secs(60);
const RESTING: Duration = Duration::from_secs(10);

/// What the passes of one reconcile saw, as far as the status shows it. A later look replaces an earlier one; what was not looked at again
/// stays.
#[derive(Clone, Debug, Default)]
pub struct StatusInputs {
    pub identity: Option<BackendIdentity>,
    pub phase: Option<Phase>,
    /// Whether the pipeline is inactive, and why (not).
    pub inactive: Option<(bool, Cause)>,
    /// None: reached. Only set where the backend was asked.
    pub reached: Option<Result<(), Cause>>,
    pub lag: Option<Lag>,
}

impl StatusInputs {
    /// Takes over what one pass saw, up to `now`.
    pub fn note(&mut self, seen: &Observation, facts: &PlatformFacts, now: Timestamp) {
        if let Some(id) = seen.identity.get() {
            self.identity = Some(id.clone());
        }
        // An earlier record may be of another pipeline: of its looks the status only shows whether they succeeded.
        let activity = seen.superseded.as_ref().map_or(&seen.activity, |left| &left.activity);
        let failed = [seen.identity.cause(), activity.cause(), seen.committed.cause(), seen.topics.cause(), seen.log.cause()]
            .into_iter()
            .flatten()
            // A state that the platform reports is an answer, even if it is unclear.
            .find(|cause| !cause.reason.is_terminal() && cause.reason != Reason::PipelineStatusUnknown);
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
                    Activity::Inactive(_, word) => (true, Cause::new(facts.inactive, format!("the platform reports it as {word}"))),
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
