//! What a plan costs, in a sentence: offsets, which are distances and not counts of records.

use jiff::SignedDuration;

use super::{Aim, LogBounds, PartitionPlan, Plan, words};
use stream_pipeline_api::{PlanTotals, TargetReason};

/// A plan of at most this many partitions is told partition by partition.
const FEW: usize = 5;

/// Most bytes of the warnings in a message; the record has them whole.
const WARNINGS: usize = 400;

/// A rate within this factor of another is taken for the same: both are averages.
const MARGIN: f64 = 1.1;

/// "at most 27 records will be replayed, 0 skipped; lag after 30, …". `be`: "will be", "would be".
pub fn in_words(plan: Option<&Plan>, totals: &PlanTotals, be: &str) -> String {
    let mut text = format!(
        "at most {} records {be} replayed, {} skipped; lag after {}, average input {:.1} records/s over at most {:#}",
        words::number(totals.replayed),
        words::number(totals.skipped),
        words::number(totals.lag_after),
        totals.average_rate,
        LogBounds::RATE_WINDOW
    );
    if let Some(catch_up) = &totals.catch_up {
        text += &format!("; time to catch up: {catch_up}");
    }
    let Some(plan) = plan else { return text };
    let changes: Vec<_> = plan.changes().take(FEW + 1).collect();
    if changes.len() <= FEW {
        text += &format!("; {}", changes.iter().map(|row| change(row)).collect::<Vec<_>>().join(", "));
    }
    let warnings = plan.warnings.join("; ");
    if warnings.is_empty() { text } else { format!("{text}. Mind: {}", words::cut(&warnings, WARNINGS)) }
}

/// "t-0 from 7 to 0 (-7)".
pub(crate) fn change(row: &PartitionPlan) -> String {
    let number = |offset: Option<i64>| offset.map_or_else(|| "none".to_owned(), words::number);
    let (from, to) = (row.from.as_ref().map(|from| from.offset), row.aim.offset());
    let by = from.zip(to).map(|(from, to)| to.saturating_sub(from)).filter(|by| *by != 0);
    let mut about: Vec<String> = by.map(|by| format!("{}{}", if by > 0 { "+" } else { "" }, words::number(by))).into_iter().collect();
    about.extend(why(row).map(str::to_owned));
    let about = if about.is_empty() { String::new() } else { format!(" ({})", about.join(", ")) };
    format!("{} from {} to {}{about}", row.at, number(from), number(to))
}

fn why(row: &PartitionPlan) -> Option<&'static str> {
    match (row.why, &row.aim) {
        (_, Aim::Delete) => Some("deleted"),
        (TargetReason::ClampedToStart, _) => Some("clamped to the log start"),
        (TargetReason::ClampedToEnd, _) => Some("clamped to the log end"),
        (TargetReason::NoRecordLatest, _) => Some("no record since, so the log end"),
        (TargetReason::TransactionOpen, _) => Some("a transaction is open"),
        _ => None,
    }
}

/// How long the pipeline will read until it has caught up, as "about 3m 20s (…)", or why that is not known. `consumed`: records per second
/// that it was seen to read. Whoever reads only as fast as records come may be able to read faster.
pub fn catch_up(plan: &Plan, consumed: Option<f64>) -> String {
    let (lag, input) = (plan.totals().lag_after, plan.average_rate);
    if plan.rows.iter().any(|row| row.aim == Aim::Delete) {
        return "unknown (where a commit is deleted, it is not known where the consumer begins)".to_owned();
    }
    time_for(lag, input, consumed)
}

fn time_for(lag: i64, input: f64, consumed: Option<f64>) -> String {
    if lag == 0 {
        return "none, it is at the end".to_owned();
    }
    let Some(consumed) = consumed.filter(|consumed| *consumed > 0.0) else { return "unknown (it was not seen reading)".to_owned() };
    let seen = format!("it was seen to read {consumed:.1} records/s");
    if consumed * MARGIN < input {
        return format!("never ({seen})");
    }
    if consumed < input * MARGIN {
        return format!("unknown ({seen}, which is as fast as they come)");
    }
    #[allow(clippy::cast_precision_loss)] // A rough figure.
    let seconds = lag as f64 / (consumed - input);
    // A century is long enough for any lag.
    #[allow(clippy::cast_possible_truncation)]
    let time = SignedDuration::from_secs(seconds.clamp(1.0, 3.2e9).ceil() as i64);
    format!("about {time:#} ({seen})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p05_the_time_to_catch_up_is_told_only_where_it_is_known() {
        for (lag, input, consumed, told) in [
            (1000, 0.0, None, "unknown (it was not seen reading)"),
            (1000, 0.0, Some(10.0), "about 1m 40s (it was seen to read 10.0 records/s)"),
            (36_000, 10.0, Some(20.0), "about 1h (it was seen to read 20.0 records/s)"),
            (1000, 100.0, Some(10.0), "never (it was seen to read 10.0 records/s)"),
            (1000, 10.0, Some(10.0), "unknown (it was seen to read 10.0 records/s, which is as fast as they come)"),
            (1000, 0.0, Some(0.0), "unknown (it was not seen reading)"),
            (0, 10.0, Some(10.0), "none, it is at the end"),
            (i64::MAX, 0.0, Some(1.0), "about 888888h 53m 20s (it was seen to read 1.0 records/s)"),
        ] {
            assert_eq!(time_for(lag, input, consumed), told);
        }
    }
}
