//! What a Lease says to somebody who watches it. Pure: how long it has said the same is an argument.
//!
//! As in client-go, a holder's clock is never compared with this process's: a Lease has run out once it was seen unchanged for as long as
//! it is to last.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;

/// Who may work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// This process holds it.
    Mine,
    /// Nobody does, or whoever did no longer renews it.
    Free,
    /// Another process does.
    Theirs(String),
}

/// A Lease without a length of its own, which somebody has emptied by hand, lasts this long.
pub fn judge(spec: Option<&LeaseSpec>, me: &str, unchanged_for: Duration, default_length: Duration) -> Turn {
    let Some(spec) = spec else { return Turn::Free };
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let length = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    // A length that nobody would wait for is somebody's mistake.
    let length = length.map_or(default_length, Duration::from_secs).min(LONGEST);
    match holder {
        "" => Turn::Free,
        holder if holder == me => Turn::Mine,
        _ if unchanged_for >= length => Turn::Free,
        holder => Turn::Theirs(holder.to_owned()),
    }
}

const LONGEST: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o09_a_lease_is_taken_only_once_it_was_seen_unchanged_for_its_own_length() {
        let held = |holder: &str, seconds: Option<i32>| LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: seconds,
            ..LeaseSpec::default()
        };
        let theirs = Turn::Theirs("b".to_owned());
        for (spec, seen, turn) in [
            (None, 0, Turn::Free),
            (Some(LeaseSpec::default()), 0, Turn::Free),
            (Some(held("", Some(15))), 0, Turn::Free),
            (Some(held("a", Some(15))), 0, Turn::Mine),
            (Some(held("a", Some(15))), 99, Turn::Mine),
            (Some(held("b", Some(15))), 0, theirs.clone()),
            (Some(held("b", Some(15))), 14, theirs.clone()),
            (Some(held("b", Some(15))), 15, Turn::Free),
            (Some(held("b", None)), 14, theirs.clone()),
            (Some(held("b", Some(-1))), 15, Turn::Free),
            (Some(held("b", Some(i32::MAX))), 599, theirs),
            (Some(held("b", Some(i32::MAX))), 600, Turn::Free),
        ] {
            let judged = judge(spec.as_ref(), "a", Duration::from_secs(seen), Duration::from_secs(15));
            assert_eq!(judged, turn, "{spec:?} unchanged for {seen} s");
        }
    }
}
