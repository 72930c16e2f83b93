//! What holds of the EnOS Stream Processing Service.

use std::time::Duration;

use stream_pipeline_api::Reason;
use stream_pipeline_core::{InternalTopics, PauseLimit, PlatformFacts, ReadBackTime, Refusal};

/// The platform samples a running pipeline's position about every four minutes.
const NO_SAMPLE: Duration = Duration::from_secs(30 * 60);

/// EnOS manual, "Monitoring jobs".
const PAUSE_LIMIT: PauseLimit =
    PauseLimit { limit: Duration::from_secs(24 * 3600), said: "the 24 h the platform documents", after: "its cached data may be gone" };

/// `run_state`: the spec says how to start the pipeline, so the operator can stop it.
pub fn facts(run_state: bool) -> PlatformFacts {
    PlatformFacts {
        read_back: ReadBackTime::AfterStart,
        run_state,
        quiet: false,
        pause_limit: Some(PAUSE_LIMIT),
        look: "Look at the pipeline and its lag in the EnOS console",
        inactive: Reason::PipelineInactive,
        call: Some("Reset Pipeline Offset"),
        code_of: None,
        no_sample: NO_SAMPLE,
        // One call moves all partitions of a pipeline, and names none of them.
        max_rows: |_, _| usize::MAX,
        internal_topics: InternalTopics { is: |_, _| false, of: "" },
        refusal: |_| Refusal { reason: Reason::PlatformError, meaning: "see docs/codes.md", remedy: None },
    }
}
