//! Arithmetic on numbers from brokers, platforms and people, which may be any number. Nothing here overflows, and no other module adds or
//! subtracts such numbers.

use jiff::Timestamp;

/// How many offsets lie between the two, which is at least the number of records there; 0 if `to` comes before `from`.
pub fn distance(from: i64, to: i64) -> i64 {
    to.saturating_sub(from).max(0)
}

/// A sum that stops at the largest number instead of overflowing.
pub fn total(numbers: impl IntoIterator<Item = i64>) -> i64 {
    numbers.into_iter().fold(0, i64::saturating_add)
}

/// A count in the type that a status holds.
pub fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The first millisecond since 1970 at or after a time: record timestamps are whole milliseconds.
pub fn millisecond(time: Timestamp) -> i64 {
    let whole = time.as_nanosecond().saturating_add(999_999).div_euclid(1_000_000);
    i64::try_from(whole).unwrap_or(i64::MAX).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_counted_is_a_number() {
        assert_eq!(distance(3, 10), 7);
        assert_eq!(distance(10, 3), 0);
        assert_eq!(distance(i64::MIN, i64::MAX), i64::MAX);
        assert_eq!(distance(i64::MAX, i64::MIN), 0);
        assert_eq!(total([1, 2, 3]), 6);
        assert_eq!(total([i64::MAX; 3]), i64::MAX);
    }

    #[test]
    fn a_time_between_two_milliseconds_is_the_later_one() {
        for (time, expected) in [
            ("1970-01-01T00:00:01.002Z", 1002),
            ("1970-01-01T00:00:01.002000001Z", 1003),
            ("1970-01-01T00:00:01.0025Z", 1003),
            ("1970-01-01T00:00:01.999999999Z", 2000),
            ("1969-12-31T23:59:59.5Z", 0),
            ("-009999-01-02T01:59:59Z", 0),
            ("9999-12-30T22:00:00.9999Z", 253_402_207_201_000),
        ] {
            assert_eq!(millisecond(time.parse().unwrap()), expected, "{time}");
        }
    }
}
