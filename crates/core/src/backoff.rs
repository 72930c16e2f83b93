//! How long to wait after failures.

use std::time::Duration;

use crate::Timing;
use stream_pipeline_api::Reason;

/// How soon a corrected Secret or ConfigMap is noticed; up to as much again is added at random, then the look itself takes its time.
const VALUES: Duration = Duration::from_secs(5);

/// `first` after no failure, doubled by each failure, never longer than `longest`.
pub fn backoff(first: Duration, failures: u32, longest: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures)).min(longest)
}

/// How long to wait after this many looks in a row that did not reach the platform; `reason` is that of the last one.
pub fn after_failed_looks(failures: u32, reason: Option<Reason>, timing: &Timing) -> Duration {
    let by_value = reason.is_some_and(heals_by_a_value);
    let longest = if by_value { timing.max_backoff.min(VALUES) } else { timing.max_backoff };
    backoff(timing.recheck_waiting / 5, failures, longest)
}

/// How long to wait after a step that failed this many times.
pub fn after_failed_steps(failures: u32, timing: &Timing) -> Duration {
    backoff(timing.recheck_waiting / 5, failures, timing.max_backoff)
}

/// Whether a corrected Secret or ConfigMap may end the failure. Nobody watches those objects: they are read again at the next look.
/// Retrying early does not repeat a refused login: the clients do not ask again so soon with unchanged credentials.
fn heals_by_a_value(reason: Reason) -> bool {
    matches!(reason, Reason::SecretNotFound | Reason::TlsFailed | Reason::AuthenticationFailed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::tests::fixtures::timing;

    #[test]
    fn b10_what_a_secret_may_heal_is_looked_at_within_seconds_and_the_rest_within_the_cap() {
        let timing = timing();
        for failures in 1..100 {
            for reason in [Reason::SecretNotFound, Reason::TlsFailed, Reason::AuthenticationFailed] {
                assert!(after_failed_looks(failures, Some(reason), &timing) <= VALUES, "{reason} {failures}");
            }
            assert!(after_failed_looks(failures, Some(Reason::BrokerUnreachable), &timing) <= timing.max_backoff);
        }
        assert_eq!(after_failed_looks(50, Some(Reason::BrokerUnreachable), &timing), timing.max_backoff);
        assert_eq!(after_failed_looks(50, None, &timing), timing.max_backoff);
    }

    #[test]
    fn it_doubles_up_to_the_longest() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!([0, 1, 5, 6, 40, u32::MAX].map(|failures| backoff(first, failures, longest).as_secs()), [1, 2, 32, 60, 60, 60]);
        assert_eq!(backoff(Duration::MAX, 3, longest), longest);
    }
}
