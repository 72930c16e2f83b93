//! Calls as the proxies show them: method and path of an API request, or the API key of a Kafka request.

use testbed::proxy::{OFFSET_COMMIT, OFFSET_DELETE};

/// A commit of a group's offsets.
pub fn is_commit(call: &str) -> bool {
    call == OFFSET_COMMIT
}

/// A deletion of a group's offsets.
pub fn is_deletion(call: &str) -> bool {
    call == OFFSET_DELETE
}

/// The plan is written ahead: its record is created.
pub fn creates_record(call: &str) -> bool {
    call.starts_with("POST") && call.ends_with("/offsetresetrecords")
}

/// The spec of a record is changed: its plan is put there or dropped, or another chunk is begun.
pub fn changes_record(call: &str) -> bool {
    patches_record(call) && !call.ends_with("/status")
}

/// The status of a record is written: it is closed, or it is noted that the pipeline runs again.
pub fn closes_record(call: &str) -> bool {
    patches_record(call) && call.ends_with("/status")
}

fn patches_record(call: &str) -> bool {
    call.starts_with("PATCH") && call.contains("/offsetresetrecords/")
}
