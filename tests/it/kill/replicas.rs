//! O09, O37: two operators at once on one namespace, without leader election; each alive, one stopped in the middle, both
//! with a plan of their own.

use std::time::{Duration, Instant};

use stream_pipeline_api::{RecordPhase, Stage};
use testbed::eventually;
use testbed::trap::Side;

use crate::support::calls::{closes_record, creates_record, is_commit};
use crate::support::matrix::run_cells;
use crate::support::proxied::{ProxiedOperator, ProxiedWorld};
use crate::support::settings;
use crate::support::world::{LIMIT, LOG_EVERY_LOOK, PATIENT};

const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;

fn sent(log: &str) -> usize {
    log.lines().filter(|line| line.contains("Sending the plan")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn o09_two_replicas_reset_a_group_once_for_each_request() {
    let mut proxied = ProxiedWorld::without_operator("o09").await;
    proxied.restart_with(&[]);
    let second = ProxiedOperator::start(&proxied.world, &[]).await;
    proxied.fresh("p").await;
    let mut expected = Vec::new();
    for n in 0..16 {
        let (position, offset) = if n % 2 == 0 { ("Earliest", 0) } else { ("Latest", 10) };
        let id = format!("r{n}");
        proxied.ask_for(&id, position).await;
        proxied.world.verified("p", &id).await;
        expected.push(vec![offset; 3]);
    }
    assert_eq!(proxied.landed().await, expected);
    let records = proxied.world.all_records().await;
    assert_eq!(records.len(), expected.len());
    assert!(
        records.iter().all(|r| r.status.as_ref().is_some_and(|s| s.phase == RecordPhase::Verified)),
        "expected every record to be verified: {records:?}"
    );
    let counts = [proxied.operator.as_ref().map_or(0, |o| sent(&o.log())), sent(&second.operator.log())];
    println!("o09: {} requests, sent by the first {}, by the second {}", expected.len(), counts[0], counts[1]);
    assert_eq!(counts[0] + counts[1], expected.len());
}

/// The write of a reset at which the first replica is stopped.
type Stop = (&'static str, Side);

fn stops_at(stop: Stop) -> impl Fn(&str) -> bool {
    move |call| match stop.0 {
        "create record" => creates_record(call),
        "commit" => is_commit(call),
        _ => closes_record(call),
    }
}

/// How the second replica ends the request. "Before the commit" is missing: a commit that has left a process cannot be called back.
const STOPS: [(Stop, Stage); 5] = [
    (("create record", Side::Before), Stage::Verified),
    (("create record", Side::After), Stage::Held),
    (("commit", Side::After), Stage::Verified),
    (("close", Side::Before), Stage::Verified),
    (("close", Side::After), Stage::Verified),
];

#[tokio::test(flavor = "multi_thread")]
async fn o09_one_of_two_replicas_stands_still_in_the_middle_and_goes_on_when_the_other_has_ended_it() {
    let mut benches = Vec::new();
    for _ in STOPS {
        benches.push(ProxiedWorld::without_operator("o09s").await);
    }
    let said = run_cells(benches, STOPS, stall).await;
    for line in said {
        println!("o09s | {line}");
    }
}

async fn stall(proxied: &mut ProxiedWorld, (stop, end): (Stop, Stage)) -> String {
    let real = ["--send-window=5s", "--call-deadline=10s", "--late-bound=20s", LOG_EVERY_LOOK];
    let (flags, still) = if settings::long() { (&real[..], Duration::from_mins(1)) } else { (&real[3..], Duration::ZERO) };
    proxied.restart_with(flags);
    proxied.fresh("p").await;
    proxied.ask_and_stop(stop.1, stops_at(stop)).await;
    let first = proxied.operator.as_ref().expect("an operator");
    first.signal(SIGSTOP);
    let begun = Instant::now();
    if stop.1 == Side::After {
        // The answer is there when the first replica goes on.
        proxied.traps.release();
    }
    let second = ProxiedOperator::start(&proxied.world, flags).await;
    let reason = if end == Stage::Held { "OutcomeUnknown" } else { "ResetVerified" };
    let status = proxied.world.reaches("p", "r1", end, reason).await;
    let record = proxied.world.record(&status).await;
    if stop.1 == Side::Before {
        // The write of the first replica arrives after the second has ended the request.
        proxied.traps.release();
    }
    tokio::time::sleep(still.saturating_sub(begun.elapsed())).await;
    let stood = begun.elapsed();
    let had = first.log().len();
    first.signal(SIGCONT);
    let decided = || first.log()[had..].lines().filter(|line| line.contains("Decided: ")).count();
    eventually("the first replica to look again", LIMIT, async || match decided() {
        n if n >= 3 => Ok(()),
        n => Err(format!("{n} looks")),
    })
    .await;
    let counts = [sent(&first.log()), sent(&second.operator.log())];
    let once = if end == Stage::Held { Vec::new() } else { vec![vec![0, 0, 0]] };
    assert_eq!(proxied.landed().await, once, "{stop:?}");
    assert_eq!(proxied.world.all_records().await, [record], "{stop:?}: one record, as the second one left it");
    assert!(counts[0] + counts[1] <= 1, "{stop:?}: {counts:?}");
    // Both are alive, and the next request is carried out.
    proxied.ask_for("r2", "Latest").await;
    proxied.world.verified("p", "r2").await;
    assert_eq!(proxied.landed().await.last(), Some(&vec![10, 10, 10]));
    let said = |log: &str| {
        let of_request = |l: &&str| l.contains("Decided: ") && l.contains("id=\"r1\"") && !l.contains("nothing new");
        let last = log.lines().rfind(of_request).and_then(|l| l.split(" namespace=").next()?.split("Decided: ").nth(1));
        last.unwrap_or("nothing to do").to_owned()
    };
    format!(
        "stopped {:?} {} for {:.0} s | {end:?} | sent {} and {} | first: {} | second: {}",
        stop.1,
        stop.0,
        stood.as_secs_f32(),
        counts[0],
        counts[1],
        said(&first.log()),
        said(&second.operator.log())
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn o37_of_two_plans_in_doubt_at_once_neither_is_sent_before_it_is_alone() {
    let mut proxied = ProxiedWorld::without_operator("o37").await;
    // No deadline ends while both replicas are stopped.
    proxied.restart_with(&PATIENT);
    proxied.fresh("p").await;
    // The first replica is about to write its plan ahead when the request changes; the second one plans that.
    proxied.ask_and_stop(Side::Before, creates_record).await;
    let second = ProxiedOperator::start(&proxied.world, &PATIENT).await;
    second.traps.arm(Side::Before, creates_record);
    proxied.ask_for("r2", "Latest").await;
    second.traps.sprung().await;
    // Both plans are open at once: neither write is answered before both records are there.
    proxied.traps.arm(Side::After, creates_record);
    second.traps.arm(Side::After, creates_record);
    proxied.traps.let_go();
    second.traps.let_go();
    proxied.traps.sprung().await;
    second.traps.sprung().await;
    let both = proxied.world.all_records().await;
    assert!(
        both.len() == 2 && both.iter().all(|r| r.spec.plan.is_some() && r.status.is_none()),
        "expected two open records with a plan each: {both:?}"
    );
    proxied.traps.release();
    second.traps.release();
    let status = proxied.world.verified("p", "r2").await;
    let all = eventually("every record to be closed", LIMIT, async || {
        let all = proxied.world.all_records().await;
        if all.iter().all(stream_pipeline_operator::process_state::is_closed) { Ok(all) } else { Err(format!("{all:?}")) }
    })
    .await;
    assert_eq!(proxied.landed().await, [[10, 10, 10]], "commits that landed, where only r2 is wanted");
    assert_eq!(all.len(), 2);
    let verified = proxied.world.record(&status).await;
    let dropped = all.iter().find(|r| r.spec.request.id == "r1").expect("its record");
    assert_eq!(dropped.spec.plan, None, "expected records without a plan");
    assert!(verified.spec.writer.as_ref().is_some_and(|w| w.attempt == 1));
    // Nothing is sent before the other plan is given up, and the two do not go back and forth.
    let log: Vec<_> = proxied.traps.log().into_iter().chain(second.traps.log()).collect();
    let name = dropped.metadata.name.as_deref().expect("a name");
    let given_up = log.iter().filter(|p| p.side == Side::After && p.call.starts_with("PATCH") && p.call.contains(name)).map(|p| p.at).min();
    let sent = log.iter().filter(|p| p.side == Side::Before && is_commit(&p.call)).map(|p| p.at).min();
    assert!(given_up.is_some() && given_up < sent, "{given_up:?} {sent:?}");
    let plans =
        log.iter().filter(|p| p.side == Side::Before && p.call.starts_with("PATCH") && p.call.contains("/offsetresetrecords/")).count();
    println!("o37: both in doubt; {plans} changes of the two records until the end");
    assert!(plans <= 12, "{plans} changes");
}
