//! O10: the operator is killed at every call of a reset, reads too, before the server has it and before its answer comes
//! back. The points are those that a reset without a death was seen to pass.

use std::collections::BTreeMap;
use std::time::Instant;

use stream_pipeline_api::Stage;
use stream_pipeline_operator::process_state::is_closed;
use testbed::eventually;
use testbed::trap::Side;

use crate::support::matrix::{run_cells, tally};
use crate::support::proxied::ProxiedWorld;
use crate::support::world::LIMIT;

/// So many resets at once.
const WORKERS: usize = 12;
/// Few looks at pipelines at rest, which would be taken for calls of the reset.
const CALM: [&str; 1] = ["--recheck-idle=10s"];

/// A request or an answer of a reset.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    /// How many writes that move a reset on had been sent, itself included.
    phase: usize,
    kind: String,
    /// Which one of its kind in its phase.
    nth: usize,
    side: Side,
}

/// What kind of call of a reset; None for those that have nothing to do with one.
fn kind(call: &str) -> Option<String> {
    let kafka = |key: &str| match key {
        "2" => "ListOffsets".to_owned(),
        "3" => "Metadata".to_owned(),
        "8" => "OffsetCommit".to_owned(),
        "9" => "OffsetFetch".to_owned(),
        "10" => "FindCoordinator".to_owned(),
        "15" => "DescribeGroups".to_owned(),
        "60" => "DescribeCluster".to_owned(),
        "69" => "ConsumerGroupDescribe".to_owned(),
        "75" => "DescribeTopicPartitions".to_owned(),
        other => format!("Kafka {other}"),
    };
    let Some((verb, path)) = call.split_once(' ') else { return Some(kafka(call)) };
    let named = |plural: &str| path.contains(&format!("/{plural}/"));
    let name = match verb {
        "POST" if path.ends_with("/offsetresetrecords") => "create record",
        "PATCH" if named("offsetresetrecords") && path.ends_with("/status") => "close",
        "PATCH" if named("offsetresetrecords") => "change record",
        "GET" if path.ends_with("/offsetresetrecords") => "list records",
        "GET" if named("offsetresetrecords") => "read record",
        "GET" if named("streampipelines") => "read object",
        "PUT" | "PATCH" if named("streampipelines") && path.ends_with("/status") => "status",
        "POST" if path.contains("/events") => "event",
        _ => return None,
    };
    Some(name.to_owned())
}

fn moves_on(kind: &str) -> bool {
    matches!(kind, "create record" | "change record" | "OffsetCommit" | "close")
}

fn writes(kind: &str) -> bool {
    moves_on(kind) || matches!(kind, "status" | "event")
}

/// Names the calls of one reset as they go by.
#[derive(Default)]
struct Namer {
    phase: usize,
    had: BTreeMap<(usize, String, Side), usize>,
}

impl Namer {
    fn name(&mut self, side: Side, call: &str) -> Option<Point> {
        let kind = kind(call)?;
        self.phase += usize::from(side == Side::Before && moves_on(&kind));
        let had = self.had.entry((self.phase, kind.clone(), side)).or_default();
        *had += 1;
        Some(Point { phase: self.phase, kind, nth: *had, side })
    }
}

/// Between the write of the plan and the commit only the process that died may send, so the request is held. Otherwise the reset
/// ends as if nobody had died.
fn is_expected(point: &Point, end: &str) -> bool {
    let is = |kind: &str, side: Side| point.kind == kind && point.side == side;
    let planned = point.phase == 1 && !is("create record", Side::Before);
    let (held, verified) = (end == "Held/OutcomeUnknown", end == "Verified/ResetVerified");
    match point.kind.as_str() {
        // The client library asks for metadata on its own too, at any time. Either end is fine, since what landed is compared with it.
        "Metadata" if planned => held || verified,
        _ if planned || is("OffsetCommit", Side::Before) => held,
        _ => verified,
    }
}

struct Row {
    point: Option<Point>,
    /// Where this reset begins in the log of the proxies.
    from: usize,
    reached: bool,
    end: String,
    seconds: f32,
}

/// Which process is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Victim {
    Operator,
    /// The process of its Kafka client.
    Client,
}

/// One reset with one death.
async fn cell(proxied: &mut ProxiedWorld, point: Option<Point>, victim: Victim) -> Row {
    let begun = Instant::now();
    let name = proxied.world.unique("p");
    proxied.restart_with(&CALM);
    proxied.fresh(&name).await;
    let (before, from) = (proxied.answered(), proxied.traps.log().len());
    if let Some(point) = point.clone() {
        let mut namer = Namer::default();
        proxied.traps.arm_by(move |side, call| namer.name(side, call).is_some_and(|passing| passing == point));
    }
    proxied.ask().await;
    let mut reached = false;
    if point.is_some() {
        reached = eventually(&format!("{point:?} to be reached"), LIMIT, async || match proxied.traps.has_sprung() {
            true => Ok(true),
            // Which reads are made differs from run to run. A reset without this one ends by itself.
            false => ended(proxied).await.map(|_| false),
        })
        .await;
        if victim == Victim::Operator {
            proxied.kill();
            proxied.restart_with(&CALM);
        } else {
            proxied.kill_clients();
        }
    }
    let end = eventually(&format!("the end of {point:?}"), LIMIT, async || ended(proxied).await).await;
    let landed = proxied.landed().await;
    let sent = proxied.answered() - before;
    let once = if end.starts_with("Verified") { vec![vec![0, 0, 0]] } else { Vec::new() };
    assert_eq!((&landed, sent), (&once, once.len()), "{point:?}: {end}");
    // Nothing is left that the next operator would look at.
    proxied.world.delete(&name).await;
    Row { point, from, reached, end, seconds: begun.elapsed().as_secs_f32() }
}

/// How it ended, once its record is closed.
async fn ended(proxied: &ProxiedWorld) -> Result<String, String> {
    let object = proxied.world.pipelines().get(&proxied.name).await.map_err(|e| e.to_string())?;
    let status = object.status.unwrap_or_default();
    let records = proxied.world.records_of(&proxied.name).await;
    assert!(records.len() <= 1, "expected at most one record: {records:?}");
    let reason = status.conditions.iter().find(|c| c.type_ == "Ready").map(|c| c.reason.clone()).unwrap_or_default();
    let stage = status.offset_reset.as_ref().map(|r| r.stage);
    match stage {
        Some(stage @ (Stage::Verified | Stage::Held)) if records.iter().all(is_closed) => Ok(format!("{stage:?}/{reason}")),
        _ => Err(serde_json::to_string(&status).unwrap_or_default()),
    }
}

/// The points of a reset without a death, in order.
async fn recorded(proxied: &mut ProxiedWorld) -> Vec<Point> {
    let row = cell(proxied, None, Victim::Operator).await;
    assert_eq!(row.end, "Verified/ResetVerified");
    eventually("the end of a reset to be told", LIMIT, async || {
        let (mut namer, mut points) = (Namer::default(), Vec::new());
        for passed in proxied.traps.log().into_iter().skip(row.from) {
            points.extend(namer.name(passed.side, &passed.call));
            let told = |kind: &str| points.iter().any(|p| p.phase == 3 && p.kind == kind && p.side == Side::After);
            if told("status") && told("event") {
                return Ok(points);
            }
        }
        Err(format!("{points:?}"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_killed_before_and_after_every_call_of_a_reset() {
    let mut first = ProxiedWorld::without_operator("o10k").await;
    let points = recorded(&mut first).await;
    killed_at(first, points, Victim::Operator, is_expected).await;
}

/// The operator lives on and looks again: only a commit that may have been sent is in doubt.
#[tokio::test(flavor = "multi_thread")]
async fn o10_a_kafka_client_killed_before_and_after_every_call_of_a_reset() {
    let mut first = ProxiedWorld::without_operator("o10c").await;
    let mut points = recorded(&mut first).await;
    points.retain(|point| !point.kind.contains(' ') && !matches!(point.kind.as_str(), "close" | "status" | "event"));
    let expected = |point: &Point, end: &str| {
        let lost = point.kind == "OffsetCommit" && point.side == Side::Before;
        let (held, verified) = (end == "Held/OutcomeUnknown", end == "Verified/ResetVerified");
        // The client library asks for metadata on its own too, at any time. Either end is fine, since what landed is compared with it.
        if lost { held } else { verified || held && point.kind == "Metadata" }
    };
    killed_at(first, points, Victim::Client, expected).await;
}

async fn killed_at(first: ProxiedWorld, points: Vec<Point>, victim: Victim, is_expected: impl Fn(&Point, &str) -> bool) {
    let names: Vec<_> = points.iter().filter(|p| p.side == Side::Before).map(|p| format!("{} {} {}", p.phase, p.kind, p.nth)).collect();
    println!("o10k: {victim:?}: {} points of {} calls: {names:?}", points.len(), names.len());
    let wanted: &[&str] =
        if victim == Victim::Client { &["OffsetCommit"] } else { &["create record", "OffsetCommit", "close", "status", "event"] };
    for wanted in wanted {
        for side in [Side::Before, Side::After] {
            assert!(points.iter().any(|p| p.kind == *wanted && p.side == side), "no {wanted}: {points:?}");
        }
    }
    let mut benches = vec![first];
    for _ in 1..WORKERS {
        benches.push(ProxiedWorld::without_operator("o10k").await);
    }
    let begun = Instant::now();
    let mut rows = run_cells(benches, points, async |proxied: &mut ProxiedWorld, point: Point| {
        let mut row = cell(proxied, Some(point.clone()), victim).await;
        for _ in 0..2 {
            if !row.reached {
                row = cell(proxied, Some(point.clone()), victim).await;
            }
        }
        row
    })
    .await;
    rows.sort_by(|a, b| a.point.cmp(&b.point));
    let mut wrong = Vec::new();
    for row in &rows {
        let Some(point) = &row.point else { continue };
        let Point { phase, kind, nth, side } = point;
        let end = if row.reached { row.end.as_str() } else { "not reached" };
        let line = format!("o10k | {phase} {kind} {nth} | {victim:?} killed {side:?} | {end} | {:.1} s", row.seconds);
        println!("{line}");
        if row.reached && !is_expected(point, &row.end) || !row.reached && writes(kind) {
            wrong.push(line);
        }
    }
    let ends = tally(rows.iter().map(|row| if row.reached { row.end.as_str() } else { "not reached" }));
    println!("o10k: {} cells in {:.0} s: {ends}", rows.len(), begun.elapsed().as_secs_f32());
    assert!(wrong.is_empty(), "{} wrong ends: {wrong:#?}", wrong.len());
}
