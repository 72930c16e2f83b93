//! The custom resources as pure data: what a person writes, what the operator writes, and the words of their status.
//!
//! Nothing here reads, decides or talks to anybody.

mod condition_type;
pub mod lenient;
mod offset_reset_record;
mod offset_reset_record_status;
mod reason;
mod recorded_plan;
mod stage;
mod stream_pipeline;
mod stream_pipeline_status;

pub use condition_type::ConditionType;
pub use offset_reset_record::*;
pub use offset_reset_record_status::*;
pub use reason::Reason;
pub use recorded_plan::*;
pub use stage::Stage;
pub use stream_pipeline::*;
pub use stream_pipeline_status::*;

/// API group of both resources.
pub const GROUP: &str = "streampipeline.io";
/// Label of a record: the name of the StreamPipeline it belongs to.
pub const PIPELINE_LABEL: &str = "streampipeline.io/pipeline";
/// Label of a record: 16 hex digits that stand for the backend's identity (cluster id and group).
pub const BACKEND_LABEL: &str = "streampipeline.io/backend";
/// On a StreamPipeline only while the operator keeps its pipeline paused, so that deleting it brings it back first.
pub const FINALIZER: &str = "streampipeline.io/bring-back";
/// Field manager, event source and prefix of the client id.
pub const OPERATOR: &str = "stream-pipeline-operator";
