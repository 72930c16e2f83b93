//! How long to wait after failures.

use std::time::Duration;

/// `first` after none, doubled by each, never longer than `longest`.
pub fn backoff(first: Duration, failures: u32, longest: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_longest() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!([0, 1, 5, 6, 40, u32::MAX].map(|failures| backoff(first, failures, longest).as_secs()), [1, 2, 32, 60, 60, 60]);
        assert_eq!(backoff(Duration::MAX, 3, longest), longest);
    }
}
