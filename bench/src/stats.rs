//! Medians and spreads.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The middle of some samples and how far they reach.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    /// How many measurements stand behind it.
    pub samples: usize,
}

impl Spread {
    pub fn of(samples: &[f64]) -> Self {
        let sorted = sorted(samples);
        let end = |n: Option<&f64>| n.copied().unwrap_or(f64::NAN);
        Self { median: share(&sorted, 0.5), min: end(sorted.first()), max: end(sorted.last()), samples: sorted.len() }
    }

    /// A share of all samples; its spread is that of the rounds, each by itself.
    pub fn share_of_rounds(rounds: &[Vec<f64>], of: f64) -> Self {
        let each: Vec<_> = rounds.iter().map(|round| share(&sorted(round), of)).collect();
        let all: Vec<_> = rounds.concat();
        Self { median: share(&sorted(&all), of), samples: all.len(), ..Self::of(&each) }
    }
}

/// The value below which this share of the sorted samples is.
fn share(sorted: &[f64], of: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    if of == 0.5 && sorted.len().is_multiple_of(2) {
        return (sorted[last / 2] + sorted[last / 2 + 1]) / 2.0;
    }
    let rank = (sorted.len() as f64 * of).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<_> = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_the_ends_and_a_share() {
        let spread = Spread::of(&[3.0, 1.0, 2.0, 10.0]);
        assert_eq!((spread.median, spread.min, spread.max, spread.samples), (2.5, 1.0, 10.0, 4));
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        let p99 = Spread::share_of_rounds(&[hundred[..50].to_vec(), hundred[50..].to_vec()], 0.99);
        assert_eq!((p99.median, p99.min, p99.max, p99.samples), (99.0, 50.0, 100.0, 100));
        assert!(Spread::of(&[]).median.is_nan());
    }
}
