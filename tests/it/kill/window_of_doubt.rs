//! O22: how long the time is in which the death of the operator leaves the outcome unknown.

use std::time::{Duration, Instant};

use testbed::trap::{Passed, Side};

use crate::support::calls::{closes_record, creates_record, is_commit};
use crate::support::proxied::ProxiedWorld;

const RESETS: usize = 40;

fn line(what: &str, mut widths: Vec<Duration>) {
    widths.sort();
    let at = |share: usize| widths[(widths.len() * share / 100).min(widths.len() - 1)].as_secs_f64() * 1000.0;
    println!("width | {what} | {} resets | median {:.1} ms | p95 {:.1} ms", widths.len(), at(50), at(95));
}

#[tokio::test(flavor = "multi_thread")]
async fn o22_the_window_of_doubt_of_a_healthy_reset_is_measured() {
    let proxied = ProxiedWorld::new("o22w").await;
    let (mut to_commit, mut to_close) = (Vec::new(), Vec::new());
    for n in 0..RESETS {
        let from = proxied.traps.log().len();
        let id = format!("r{n}");
        proxied.ask_for(&id, if n % 2 == 0 { "Earliest" } else { "Latest" }).await;
        proxied.world.verified("p", &id).await;
        let log = proxied.traps.log().split_off(from);
        let answer = |what: &str, is: &dyn Fn(&str) -> bool| -> Instant {
            let passed: Vec<&Passed> = log.iter().filter(|p| p.side == Side::After && is(&p.call)).collect();
            assert_eq!(passed.len(), 1, "{what}: {log:?}");
            passed[0].at
        };
        let plan = answer("plan", &creates_record);
        let commit = answer("commit", &is_commit);
        let close = answer("close", &closes_record);
        assert!(plan < commit && commit < close, "expected plan, commit and close in this order: {log:?}");
        to_commit.push(commit - plan);
        to_close.push(close - plan);
    }
    assert_eq!(proxied.landed().await.len(), RESETS);
    line("plan's write answered until commit answered", to_commit);
    line("plan's write answered until close answered", to_close);
}
