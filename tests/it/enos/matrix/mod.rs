//! O10, O11 on EnOS: every call of a reset, to the platform and to the API server, goes wrong in every way. The cells are
//! made from the calls that a reset without faults was seen to make.

mod bench;
mod calls;

use testbed::wire::Fate;

use crate::support::matrix::{run_cells, tally};
use bench::{Bench, Flow, Row};
use calls::{Fault, Point, faults, moves_on};

/// So many resets at once in one test.
const WORKERS: usize = 12;

/// The calls of a reset without faults, in order.
async fn recorded(bench: &mut Bench, flow: Flow) -> Vec<Point> {
    let row = bench.cell(flow, None).await;
    assert_eq!(row.end, expected(flow));
    assert_eq!(row.resets, (1, 1));
    bench.state().trace.clone()
}

fn expected(flow: Flow) -> &'static str {
    match flow {
        Flow::Pause => "Verified/ResetVerified",
        Flow::Plain => "Sent/NoReadBackWhilePaused",
    }
}

/// All cells of these faults; a table of how they ended.
async fn matrix(test: &'static str, flow: Flow, wanted: impl Fn(&'static str, Fault) -> bool) {
    let mut first = Bench::new(test).await;
    let points = recorded(&mut first, flow).await;
    println!("{test}: {} points: {points:?}", points.len());
    let at = |kind: &str| points.iter().find(|p| p.1 == kind).expect("it was seen").0;
    let plan = at(if flow == Flow::Pause { "put plan" } else { "create record" });
    let doubt = plan..=at("close");
    let cells: Vec<(Point, Fault)> =
        points.iter().flat_map(|p| faults(p.1).into_iter().filter(|f| wanted(p.1, *f)).map(move |f| (*p, f))).collect();
    let count = cells.len();
    let mut workers = vec![first];
    for n in 1..WORKERS {
        workers.push(Bench::new(&format!("{test}{n}")).await);
    }
    let mut rows = run_cells(workers, cells, async |bench: &mut Bench, cell: (Point, Fault)| {
        let mut row = bench.cell(flow, Some(cell)).await;
        for _ in 0..2 {
            // On a busy machine the reset may not make this call: try again.
            if !row.fired && moves_on(cell.0.1) {
                row = bench.cell(flow, Some(cell)).await;
            }
        }
        row
    })
    .await;
    assert_eq!(rows.len(), count);
    rows.sort_by_key(|r| r.point);
    let mut wrong = Vec::new();
    for row in &rows {
        let (phase, call) = row.point;
        let fault = row.fault.map(|f| match f {
            Fault::Wire(fate) => format!("{fate:?}"),
            crash => format!("{crash:?}"),
        });
        let end = row.said();
        let line = format!(
            "{test} | {phase} {call} | {} | {end} | sent {} done {} | {:.1} s",
            fault.unwrap_or_default(),
            row.resets.0,
            row.resets.1,
            row.took.as_secs_f32()
        );
        println!("{line}");
        let held = row.end == "Held/OutcomeUnknown" && doubt.contains(&phase);
        if row.end != expected(flow) && !held {
            wrong.push(line);
        }
    }
    println!("{test}: {count} cells: {}", tally(rows.iter().map(Row::said)));
    assert!(wrong.is_empty(), "{} wrong ends: {wrong:#?}", wrong.len());
}

fn crash(fault: Fault) -> bool {
    matches!(fault, Fault::CrashBefore | Fault::CrashAfter)
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_killed_before_and_after_every_call_of_a_reset_with_a_pause() {
    matrix("o10m", Flow::Pause, |_, fault| crash(fault)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o11_an_error_before_and_after_every_call_of_a_reset_with_a_pause() {
    matrix("o11e", Flow::Pause, |_, fault| matches!(fault, Fault::Wire(Fate::ErrorBefore | Fate::ErrorAfter))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o11_no_answer_or_a_late_one_to_every_call_of_a_reset_with_a_pause() {
    matrix("o11t", Flow::Pause, |_, fault| matches!(fault, Fault::Wire(Fate::HangBefore | Fate::HangAfter | Fate::Late(_)))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o11_lost_repeated_and_stale_answers_to_every_call_of_a_reset_with_a_pause() {
    let wanted = |fault| matches!(fault, Fault::Wire(Fate::DropBefore | Fate::DropAfter | Fate::Twice | Fate::Stale));
    matrix("o11l", Flow::Pause, move |_, fault| wanted(fault)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o10_o11_every_fault_at_every_call_of_a_reset_of_a_paused_pipeline() {
    matrix("o11p", Flow::Plain, |_, _| true).await;
}
