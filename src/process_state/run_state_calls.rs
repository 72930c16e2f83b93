//! The start and stop calls that this process made for a record's pipeline.

use std::time::Instant;

use jiff::Timestamp;
use kube::ResourceExt;

use super::ProcessState;
use stream_pipeline_api::OffsetResetRecord;
use stream_pipeline_core::{Cause, Now, RunStateCall};

impl ProcessState {
    /// Notes that this process has made this record.
    pub fn note_made(&self, record: &OffsetResetRecord) {
        self.inner().calls.entry(record.uid().unwrap_or_default()).or_default().made_here = true;
    }

    /// Notes that the pipeline of this record is stopped (`start: false`) or started, just before the call.
    pub fn note_call(&self, record: &OffsetResetRecord, start: bool, now: Instant) {
        let mut inner = self.inner();
        let known = inner.calls.entry(record.uid().unwrap_or_default()).or_default();
        let switch = if start { &mut known.start } else { &mut known.stop };
        let (tries, failure) = switch.as_ref().map_or((0, None), |s| (s.tries, s.failure.clone()));
        // Until its answer is noted. `tries` tells that an earlier call may still be under way.
        *switch = Some(RunStateCall { last: now, tries: tries.saturating_add(1), under_way: true, failure });
    }

    /// Notes how that call ended. `under_way`: it was not answered, and may land later.
    pub fn note_call_answered(&self, record: &OffsetResetRecord, start: bool, under_way: bool, failed: Option<Cause>) {
        let mut inner = self.inner();
        let Some(known) = inner.calls.get_mut(&record.uid().unwrap_or_default()) else { return };
        if let Some(switch) = if start { known.start.as_mut() } else { known.stop.as_mut() } {
            switch.failure = failed;
            switch.under_way = under_way;
        }
    }

    /// Notes that the pipeline of this record was seen down after a stop.
    pub fn note_down(&self, record: &OffsetResetRecord) {
        self.inner().calls.entry(record.uid().unwrap_or_default()).or_default().was_down = true;
    }

    /// Since when the pipeline of this closed record has been seen running, with the newest reading there was then.
    pub fn note_running(&self, record: &OffsetResetRecord, now: Now, newest: Option<Timestamp>) -> (Now, Option<Timestamp>) {
        let mut inner = self.inner();
        *inner.calls.entry(record.uid().unwrap_or_default()).or_default().running.get_or_insert((now, newest))
    }
}
