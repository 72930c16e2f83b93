//! What two readings, before a reset and after the next start, prove where the platform cannot be read back in between.
//!
//! The platform does not say where a reset goes: to the newest records, or to where the pipeline's `auto.offset.reset` points. So only a
//! difference that cannot be explained without a reset proves one.

#![deny(clippy::arithmetic_side_effects)]

use crate::{numbers::distance, words::number};
use stream_pipeline_api::LagSample;

#[derive(Debug, PartialEq)]
pub enum Comparison {
    /// The position moved; the text has the numbers.
    Moved(String),
    /// The pipeline went on from where it was: the reset had no effect.
    NotTakenUp(String),
    /// The readings fit both a reset and none.
    Unproven(String),
}

/// `natural`: the most records the pipeline could have read by itself between the two readings; None: not known.
pub fn compare(before: Option<LagSample>, after: LagSample, natural: Option<i64>) -> Comparison {
    let now = format!("offset {}, lag {}", number(after.offset), number(after.lag));
    let Some(before) = before else {
        return Comparison::Unproven(format!("it now reads at {now}; there is no earlier reading to compare with"));
    };
    let numbers = format!("offset {} and lag {} before, {now} after", number(before.offset), number(before.lag));
    let end_before = before.offset.saturating_add(before.lag);
    if after.offset < before.offset {
        return Comparison::Moved(format!("it went back by {} ({numbers})", number(distance(after.offset, before.offset))));
    }
    if after.offset < end_before {
        return Comparison::NotTakenUp(format!("it went on from where it was ({numbers})"));
    }
    match natural {
        Some(natural) if before.lag > natural => {
            let least = distance(natural, before.lag);
            Comparison::Moved(format!("it skipped at least {} ({numbers})", number(least)))
        }
        _ => Comparison::Unproven(format!("{numbers}: it may have moved, or have read on by itself")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(offset: i64, lag: i64) -> LagSample {
        LagSample { offset, lag, at: jiff::Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn only_what_cannot_be_explained_otherwise_proves_a_reset() {
        let word = |before: Option<(i64, i64)>, after: (i64, i64), natural| match compare(
            before.map(|(o, l)| reading(o, l)),
            reading(after.0, after.1),
            natural,
        ) {
            Comparison::Moved(_) => "moved",
            Comparison::NotTakenUp(_) => "not",
            Comparison::Unproven(_) => "unproven",
        };
        for (sentence, before, after, natural, expected) in [
            ("back to the oldest", Some((1000, 50)), (10, 1100), None, "moved"),
            ("to the newest, more than it could have read", Some((1000, 500_000)), (501_500, 0), Some(10_000), "moved"),
            ("to the newest, or read by itself", Some((1000, 500)), (1600, 0), Some(10_000), "unproven"),
            ("to the newest, rate not known", Some((1000, 500_000)), (501_500, 0), None, "unproven"),
            ("on from where it was", Some((1000, 500_000)), (1200, 500_100), Some(10_000), "not"),
            ("no backlog: nothing could move", Some((1000, 0)), (1000, 0), Some(10_000), "unproven"),
            ("no reading before", None, (1000, 0), Some(10_000), "unproven"),
        ] {
            assert_eq!(word(before, after, natural), expected, "{sentence}");
        }
    }
}
