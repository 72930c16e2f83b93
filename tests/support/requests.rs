//! `spec.offsetReset` as the tests write it.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A request that need not wait for a quiet period.
pub fn ask(id: &str, position: &str) -> Value {
    to(id, json!({ "position": position }))
}

/// The same with any target.
pub fn to(id: &str, target: Value) -> Value {
    json!({ "id": id, "quietPeriod": "0s", "to": target })
}

/// The same JSON with this field set.
pub fn with(mut request: Value, field: &str, value: Value) -> Value {
    request[field] = value;
    request
}

/// A time stamp that is so many seconds away from now.
pub fn from_now(seconds: i64) -> Value {
    json!(Timestamp::now().checked_add(SignedDuration::from_secs(seconds)).expect("a time").to_string())
}
