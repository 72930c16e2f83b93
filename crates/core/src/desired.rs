//! A StreamPipeline as the stages see it.

use jiff::Timestamp;

use super::{Backend, Cause, PlatformFacts, Request};
use stream_pipeline_api::{FINALIZER, OffsetReset, Reason, StreamPipeline};

/// The identity of a StreamPipeline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// A StreamPipeline as the stages see it.
#[derive(Clone, Debug)]
pub struct Desired {
    pub object: Identity,
    /// When the API server made it.
    pub created: Option<Timestamp>,
    pub generation: i64,
    pub backend: Backend,
    /// What holds of its platform.
    pub facts: PlatformFacts,
    /// The id of the request, if there is one, even if the request itself is refused.
    pub id: Option<String>,
    /// The request, or why it is refused.
    pub request: Option<Result<Request, Cause>>,
    /// Whether it is a dry run, even if the request itself is refused.
    pub dry_run: bool,
    /// The object is being deleted: nothing is wanted any more, what was paused is brought back.
    pub deleted: Option<Timestamp>,
    /// Whether our finalizer is on the object.
    pub has_finalizer: bool,
}

impl Desired {
    /// `facts`: what holds of the platform that the spec names.
    ///
    /// # Errors
    /// Neither backend is given; admission refuses that.
    pub fn of(pipeline: &StreamPipeline, facts: fn(&Backend) -> PlatformFacts, now: Timestamp) -> Result<Self, Cause> {
        let backend =
            Backend::of(pipeline).ok_or_else(|| Cause::new(Reason::InvalidObject, "spec: exactly one of kafka and enos is needed"))?;
        let facts = facts(&backend);
        let deleted = pipeline.metadata.deletion_timestamp.as_ref().map(|t| t.0);
        let reset = pipeline.spec.offset_reset.as_deref().filter(|_| deleted.is_none());
        Ok(Self {
            object: Identity {
                namespace: pipeline.metadata.namespace.clone().unwrap_or_default(),
                name: pipeline.metadata.name.clone().unwrap_or_default(),
                uid: pipeline.metadata.uid.clone().unwrap_or_default(),
            },
            created: pipeline.metadata.creation_timestamp.as_ref().map(|t| t.0),
            generation: pipeline.metadata.generation.unwrap_or_default(),
            id: reset.map(|r| r.id.clone()),
            dry_run: reset.is_some_and(OffsetReset::is_dry_run),
            request: reset.map(|r| Request::of(r, facts.call.is_some(), now)),
            backend,
            facts,
            deleted,
            has_finalizer: pipeline.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER),
        })
    }

    /// The request, if there is one and it is not refused.
    pub fn asked(&self) -> Option<&Request> {
        self.request.as_ref().and_then(|r| r.as_ref().ok())
    }
}
