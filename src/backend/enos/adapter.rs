//! One EnOS pipeline during one pass, in the terms of `stream-pipeline-core`. Every failure gets its reason here; nothing is decided.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::cause::cause;
use super::codes::{self, Code};
use super::starts::Starts;
use super::{EnosClient, Failure, RunStatus, StartBody};
use crate::clock::mono;
use crate::fair::Fair;
use stream_pipeline_api::{BackendIdentity, ExecutionMode, LagSample, Phase, Reason, StartOptions};
use stream_pipeline_core::{Activity, Cause, EnosPipeline, RunState, SendOutcome};

/// See the module's own comment.
pub struct Enos {
    client: EnosClient,
    pipeline: EnosPipeline,
    /// The pipeline's id, once its name was looked up.
    found: OnceLock<String>,
    starts: Arc<Starts>,
    deadline: Duration,
    /// A value of the Secret ends with a line break.
    broken_secret: bool,
}

impl Enos {
    pub fn new(client: EnosClient, pipeline: EnosPipeline, starts: Arc<Starts>, deadline: Duration, broken_secret: bool) -> Self {
        let found = pipeline.id.clone().map_or_else(OnceLock::new, OnceLock::from);
        Self { client, pipeline, found, starts, deadline, broken_secret }
    }

    fn org(&self) -> &str {
        &self.pipeline.spec.org_id
    }

    fn cause(&self, failure: &Failure) -> Cause {
        cause(failure, &self.pipeline.spec, self.broken_secret)
    }

    /// None: the spec gives only a name, and it was not looked up yet.
    pub fn identity_of(&self) -> Option<BackendIdentity> {
        let pipeline_id = self.found.get()?.clone();
        Some(BackendIdentity::Enos { org_id: self.org().to_owned(), pipeline_id })
    }

    /// # Errors
    /// The platform does not answer or refuses; `PipelineNotFound` or `PipelineNameAmbiguous` where the name leads to none or
    /// to several.
    pub async fn identity(&self, since: Instant) -> Result<BackendIdentity, Cause> {
        if let Some(known) = self.identity_of() {
            return Ok(known);
        }
        let name = self.pipeline.spec.pipeline_name.as_deref().unwrap_or_default();
        let list = self.client.pipelines(self.org(), since).await.map_err(|f| self.cause(&f))?;
        let mut ids = list.items.iter().filter(|(_, item)| item.name == name).map(|(id, _)| id.clone());
        match (ids.next(), ids.next()) {
            (Some(id), None) if list.settled => {
                let pipeline_id = self.found.get_or_init(|| id).clone();
                Ok(BackendIdentity::Enos { org_id: self.org().to_owned(), pipeline_id })
            }
            (None, _) if list.settled => {
                let text = format!(
                    "no released pipeline of organization {} is named {name}; nothing was sent. Correct spec.enos in a new object",
                    self.org()
                );
                Err(Cause { code: Reason::PipelineNotFound.code(), ..Cause::new(Reason::PipelineNotFound, text) })
            }
            (Some(first), Some(second)) => {
                let ids: Vec<_> = [first, second].into_iter().chain(ids).collect();
                Err(super::cause::ambiguous(name, self.org(), &ids))
            }
            _ => Err(Cause::new(
                Reason::PipelineStatusUnknown,
                "the list of pipelines changed each time it was read, so the name cannot be looked up; it is read again",
            )),
        }
    }

    /// The state as List Pipelines shows it; it is the only call that does.
    ///
    /// # Errors
    /// The platform does not answer or refuses.
    pub async fn activity(&self, since: Instant) -> Result<Activity, Cause> {
        let BackendIdentity::Enos { pipeline_id: id, .. } = self.identity(since).await? else {
            return Err(Cause::new(Reason::BackendError, "the identity is of another kind"));
        };
        let list = self.client.pipelines(self.org(), since).await.map_err(|f| self.cause(&f))?;
        let Some(item) = list.items.get(&id) else { return self.unlisted(&id).await };
        if matches!(item.status, RunStatus::Running | RunStatus::RunError) {
            self.starts.ended(&self.pipeline.spec.endpoint, self.org(), &id);
        }
        Ok(state(&item.status))
    }

    /// The pipeline is not in the list. Only the platform's own answer for this id proves that it does not exist.
    async fn unlisted(&self, id: &str) -> Result<Activity, Cause> {
        match self.client.details(self.org(), id, true).await {
            Err(failure) if failure.code.and_then(codes::of_body).is_some_and(Code::says_missing) => {
                let text = format!(
                    "organization {} has no released pipeline {id}; nothing was sent. Correct spec.enos in a new object, or release it and choose a new id",
                    self.org()
                );
                Ok(Activity::Missing(Cause { message: text, ..self.cause(&failure) }))
            }
            Err(failure) => Err(self.cause(&failure)),
            Ok(_) => {
                let text = format!("pipeline {id} exists, but the list of the organization does not show it; it is read again");
                Ok(Activity::NotResettable(Phase::Unknown, Cause::new(Reason::PipelineStatusUnknown, text)))
            }
        }
    }

    /// # Errors
    /// The platform does not answer or refuses.
    pub async fn run_state(&self, since: Instant) -> Result<RunState, Cause> {
        Ok(match self.activity(since).await? {
            Activity::Active(_) => RunState::Running,
            // FAILED counts as stopped, so that a start that failed is made again.
            Activity::Inactive(Phase::Paused, _) | Activity::NotResettable(Phase::Failed, _) => RunState::Stopped,
            Activity::Inactive(_, word) => {
                RunState::ChangedExternally(format!("somebody else changed it to {word} meanwhile; it is left so"))
            }
            Activity::Missing(why) | Activity::Unsupported(why) | Activity::NotResettable(Phase::NotStarted, why) => {
                RunState::ChangedExternally(why.message)
            }
            Activity::NotResettable(_, why) => RunState::Unknown(why),
        })
    }

    /// How the pipeline is to be started, from the spec.
    pub fn start_options(&self) -> Option<&StartOptions> {
        self.pipeline.spec.start.as_ref()
    }

    fn id(&self) -> Result<&str, Cause> {
        self.found.get().map(String::as_str).ok_or_else(|| Cause::new(Reason::BackendError, "the pipeline's id is not known yet"))
    }

    /// The newest position the platform has. Documented for running pipelines only.
    ///
    /// # Errors
    /// The platform does not answer or refuses.
    pub async fn reading(&self) -> Result<Option<LagSample>, Cause> {
        let point = self.client.offset_lag(self.org(), self.id()?).await.map_err(|f| self.cause(&f))?;
        Ok(point.and_then(|p| Some(LagSample { offset: p.offset?, lag: p.lag?, at: Timestamp::from_millisecond(p.ts).ok()? })))
    }

    pub fn line(&self) -> Arc<Fair> {
        self.client.line()
    }

    /// Calls Reset Pipeline Offset, once. `not_after`: checked again right before the request is written to the socket.
    pub async fn reset(&self, not_after: Instant) -> SendOutcome {
        let id = match self.id() {
            Ok(id) => id,
            Err(cause) => return SendOutcome::NotApplied(cause),
        };
        self.answer(self.client.reset(self.org(), id, not_after).await)
    }

    fn answer(&self, result: Result<(), Failure>) -> SendOutcome {
        match result {
            Ok(()) => SendOutcome::Answered { refused: BTreeMap::new() },
            Err(failure) if failure.certainly_not_done() => SendOutcome::NotApplied(self.cause(&failure)),
            // The service itself answered, so nothing is under way any more.
            Err(failure) if failure.code.is_some() => SendOutcome::Ambiguous(self.cause(&failure)),
            Err(failure) => SendOutcome::Unanswered { ended: mono(), cause: self.cause(&failure) },
        }
    }

    pub async fn pause(&self) -> SendOutcome {
        match self.id() {
            Ok(id) => self.answer(self.client.pause(self.org(), id, mono() + self.deadline).await),
            Err(cause) => SendOutcome::NotApplied(cause),
        }
    }

    /// The platform allows one start at a time per organization (61121).
    pub async fn start(&self, options: &StartOptions) -> SendOutcome {
        let (endpoint, id) = match self.id() {
            Ok(id) => (&self.pipeline.spec.endpoint, id),
            Err(cause) => return SendOutcome::NotApplied(cause),
        };
        if let Err(other) = self.starts.begin(endpoint, self.org(), id, mono()) {
            let text = format!("pipeline {other} of the organization is being started; one starts at a time");
            return SendOutcome::NotApplied(Cause::new(Reason::AnotherPipelineStarting, text));
        }
        let mode = match options.execution_mode {
            ExecutionMode::Standalone => 0,
            ExecutionMode::Cluster => 1,
        };
        let body = StartBody { execution_mode: mode, kafka_rate: options.kafka_rate, resource_config: options.resource_config.clone() };
        let started = self.client.start(self.org(), id, &body, mono() + self.deadline).await;
        if started.as_ref().is_err_and(Failure::certainly_not_done) {
            self.starts.ended(endpoint, self.org(), id);
        }
        self.answer(started)
    }
}

/// What the state that List Pipelines shows means.
pub(crate) fn state(status: &RunStatus) -> Activity {
    match status {
        RunStatus::Running => Activity::Active(Cause::new(Reason::PipelineActive, "the platform reports the pipeline as RUNNING")),
        RunStatus::Paused => Activity::Inactive(Phase::Paused, "PAUSED".to_owned()),
        RunStatus::Stopped => Activity::Inactive(Phase::Stopped, "STOPPED".to_owned()),
        RunStatus::Published => {
            let text = "the pipeline is PUBLISHED and was never started; the platform resets only paused or stopped ones. Start and stop it, or remove spec.offsetReset";
            Activity::NotResettable(Phase::NotStarted, Cause::new(Reason::PipelineNotStartedYet, text))
        }
        RunStatus::RunError => {
            let text = "the platform reports that the pipeline failed (Run Error); look into it in the console, then stop it";
            Activity::NotResettable(Phase::Failed, Cause::new(Reason::PipelineFailed, text))
        }
        RunStatus::Other(word) => {
            let word = if word.is_empty() { "no state".to_owned() } else { format!("state {word:?}") };
            let text = format!("the platform reports {word}, which its manual does not name; nothing is called, it is looked at again");
            Activity::NotResettable(Phase::Unknown, Cause::new(Reason::PipelineStatusUnknown, text))
        }
    }
}
