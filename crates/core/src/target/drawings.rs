//! The drawings of docs/targets.md: where each request of the page lands, found by the same functions as every plan. `UPDATE=1` writes them.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Snapshot, Source, Target, resolve};
use crate::decide::tests::fixtures::bare_record;
use crate::{Aim, Commit, Committed, LogBounds, OtherGroup, Plan, Request, Topic, TopicPartition, Topics, cost};
use stream_pipeline_api::{self as api, BackendIdentity, OffsetReset, OffsetResetRecord};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/targets.md");
const OFFSETS: Range<i64> = 0..11;
/// Columns before the first offset, and from one offset to the next.
const MARGIN: usize = 11;
const STEP: usize = 4;

/// What the page's ConfigMap holds.
const CSV: &str = "readings,0,4\nreadings,1,5\n";

/// A log and what is committed for it.
struct Drawn {
    at: TopicPartition,
    log: LogBounds,
    committed: i64,
}

fn drawn(partition: i32, start: i64, end: i64, high_watermark: i64, committed: i64) -> Drawn {
    let log = LogBounds { start, end, high_watermark, ..LogBounds::default() };
    Drawn { at: TopicPartition::new("readings", partition), log, committed }
}

/// The log of most drawings.
fn one_log(committed: i64) -> Vec<Drawn> {
    vec![drawn(0, 2, 8, 10, committed)]
}

/// Those of requests that name partitions.
fn two_logs() -> Vec<Drawn> {
    vec![drawn(0, 2, 10, 10, 6), drawn(1, 0, 8, 8, 3)]
}

/// Minutes between the time asked for and the record at this offset.
fn minutes(offset: i64) -> i64 {
    if offset < 5 { offset - 5 } else { offset - 4 }
}

/// One line: a name, and short texts at offsets.
fn line(name: &str, texts: impl IntoIterator<Item = (i64, String)>) -> String {
    let mut line = name.to_owned();
    for (offset, text) in texts {
        let column = MARGIN + STEP * usize::try_from(offset).unwrap();
        line = format!("{line:column$}{text}");
    }
    line + "\n"
}

fn log_lines(drawn: &Drawn, name: &str) -> String {
    let LogBounds { start, end, high_watermark, .. } = drawn.log;
    let record = |offset: i64| match offset {
        gone if gone < start => ".",
        read if read < end => "#",
        _ => "o",
    };
    let mut marks = BTreeMap::from([(start, "S"), (drawn.committed, "C"), (high_watermark, "H")]);
    marks.insert(end, "L");
    assert_eq!(marks.len(), if end == high_watermark { 3 } else { 4 }, "each mark has a place of its own");
    line(name, (0..high_watermark).map(|offset| (offset, record(offset).to_owned())))
        + &line("marks", marks.into_iter().map(|(offset, mark)| (offset, mark.to_owned())))
}

/// Everything of one request that is drawn.
struct Drawing {
    logs: Vec<Drawn>,
    plan: Plan,
    time: Option<Timestamp>,
    other: Option<i64>,
    record: Option<Plan>,
}

impl Drawing {
    fn text(&self) -> String {
        let mut text = line("offset", OFFSETS.map(|offset| (offset, offset.to_string())));
        for log in &self.logs {
            let name = if self.logs.len() == 1 { "records".to_owned() } else { log.at.to_string() };
            text += &log_lines(log, &name);
            if self.time.is_some() {
                text += &line("time", (log.log.start..log.log.high_watermark).map(|offset| (offset, format!("{:+}m", minutes(offset)))));
            }
            text += &self.other.map(|offset| line("other", [(offset, "O".to_owned())])).unwrap_or_default();
            for row in self.record.iter().flat_map(Plan::changes) {
                let (from, to) = (row.from.as_ref().unwrap().offset, row.aim.offset().unwrap());
                let marks = BTreeMap::from([(from, "F".to_owned()), (to, "T".to_owned())]);
                text += &line("record", marks);
            }
            text += &match self.plan.rows.iter().find(|row| row.at == log.at) {
                Some(row) if matches!(row.aim, Aim::Commit(_)) => {
                    line("target", [(row.aim.offset().unwrap(), format!("^ {}", cost::change(row)))])
                }
                _ => line("target", [(0, format!("{} stays as it is", log.at))]),
            };
        }
        text
    }
}

fn parse(reset: Value) -> OffsetReset {
    serde_json::from_value(reset).unwrap()
}

fn place() -> BackendIdentity {
    BackendIdentity::Kafka { cluster_id: "c".to_owned(), consumer_group: "turbine-cleaning".to_owned() }
}

/// Carries a request of the page out on its logs, in the order of a pass.
fn draw(written: &OffsetReset) -> Drawing {
    let to = written.to.as_ref().unwrap();
    let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let shown = |reset: &OffsetReset, logs, record| planned(Request::of(reset, false, now).unwrap(), logs, record, now);
    let back_three = || parse(serde_json::json!({ "id": "before", "to": { "shiftBy": -3 } }));
    if to.undo.is_some() {
        // What was read since the reset that is undone.
        return shown(written, one_log(4), Some(record(&back_three(), &shown(&back_three(), one_log(6), None).plan)));
    }
    if written.approved_plan.is_some() {
        let dry_run = OffsetReset { approved_plan: None, dry_run: Some(true), ..written.clone() };
        return shown(written, one_log(7), Some(record(&dry_run, &shown(&dry_run, one_log(6), None).plan)));
    }
    shown(written, if to.names_partitions() { two_logs() } else { one_log(6) }, None)
}

fn record(request: &OffsetReset, plan: &Plan) -> OffsetResetRecord {
    let mut object = bare_record(plan, Timestamp::UNIX_EPOCH);
    (object.spec.request, object.spec.backend) = (request.clone(), place());
    let closed = api::OffsetResetRecordStatus::new(api::RecordPhase::Verified, api::Reason::ResetVerified, Timestamp::UNIX_EPOCH);
    object.status = (!request.is_dry_run()).then_some(closed);
    object
}

fn planned(mut request: Request, mut logs: Vec<Drawn>, record: Option<OffsetResetRecord>, now: Timestamp) -> Drawing {
    let to = match (request.to.source(), &record) {
        (Some(Source::File(_)), _) => Some(Target::of_csv(CSV, &place()).unwrap()),
        (Some(Source::Record(_)), Some(_)) => {
            Some(request.to.with_record(record.as_ref(), &place(), &request.written).get().unwrap().clone().unwrap())
        }
        _ => None,
    };
    if let Some(to) = to {
        request = request.with_numbers(to);
    }
    let time = request.to.looks_up(now);
    if let Some(time) = time {
        let stamp = |offset| (time + SignedDuration::from_mins(minutes(offset))).as_millisecond();
        for Drawn { log, .. } in &mut logs {
            log.found = (log.start..log.high_watermark).find(|offset| minutes(*offset) >= 0).map(|offset| (offset, stamp(offset), None));
        }
    }
    let commit = |offset| Commit { offset, ..Commit::default() };
    let committed: Committed = logs.iter().map(|drawn| (drawn.at.clone(), commit(drawn.committed))).collect();
    let log = logs.iter().map(|drawn| (drawn.at.clone(), drawn.log)).collect();
    let partitions = logs.iter().map(|drawn| (drawn.at.partition, true)).collect();
    let topics = Topics::from([("readings".to_owned(), Some(Topic { id: "topic-id".to_owned(), partitions }))]);
    let other = request.to.other_group().map(|_| 4);
    let theirs =
        other.map(|offset| OtherGroup { committed: committed.keys().map(|at| (at.clone(), commit(offset))).collect(), active: None });
    let seen = Snapshot { topics: &topics, committed: &committed, log: &log, time, other: theirs.as_ref(), consumed: None };
    let plan = resolve(&request, &seen, now).unwrap();
    let record = record.map(|record| Plan::of_record(record.spec.plan.as_ref().unwrap()));
    Drawing { logs, plan, time, other, record }
}

/// The page with its drawings made anew, and how many there are. The request of each stands right above it.
fn redrawn(page: &str) -> (String, usize) {
    let mut text = String::new();
    let mut drawings = 0;
    for part in page.split_inclusive("```text\n") {
        let (old, rest) = part.split_once("```\n").filter(|(old, _)| old.starts_with("offset ")).unwrap_or(("", part));
        if rest.len() < part.len() {
            let request = text.rsplit_once("```yaml\nspec:\n").and_then(|(_, block)| block.split_once("```"));
            let request = request.filter(|(_, between)| between.trim() == "```text").map(|(block, _)| block);
            let new = match request {
                Some(block) => {
                    let spec: Value = serde_saphyr::from_str(block).unwrap();
                    draw(&parse(spec["offsetReset"].clone())).text()
                }
                None => line("offset", OFFSETS.map(|offset| (offset, offset.to_string()))) + &log_lines(&one_log(6)[0], "records"),
            };
            drawings += 1;
            text += &new;
            text += "```\n";
        } else {
            assert!(old.is_empty());
        }
        text += rest;
    }
    (text, drawings)
}

#[test]
fn d4_every_target_is_drawn_where_its_plan_lands() {
    let written = std::fs::read_to_string(PAGE).unwrap();
    let (page, drawings) = redrawn(&written);
    assert!(CSV.lines().all(|line| written.contains(&format!("`{line}`"))), "the page tells what its ConfigMap holds");
    assert_eq!(
        drawings,
        written.matches("```yaml\nspec:\n  offsetReset:").count() + 1,
        "one for each request of the page, and the log alone"
    );
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let differs = written.lines().zip(page.lines()).find(|(a, b)| a != b);
    assert!(written == page || std::env::var_os("UPDATE").is_some(), "docs/targets.md is out of date (`make generate`): {differs:?}");
}
