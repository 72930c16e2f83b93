//! docs/performance.md, from a report.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use crate::report::{self, Report, Row};

/// For every figure, by the beginning of its row's name: what limits it. The first that fits counts.
const LIMITS: [(&str, &str); 16] = [
    (
        "one reset: p50 beside",
        "The bare calls are what no operator can leave out: one read and four writes on the API server, and eight requests to the broker, one \
         after another. What is above them: the patch that asks, and the watches on both sides (8 of 35 ms in one that was traced), and the looks \
         right before the send (4 ms), each of which is there to refuse a send that is not right any more",
    ),
    (
        "one reset: p",
        "The writes to the API server, one after another; the tool's time is the start of its JVM, which only looks and commits, and keeps no record",
    ),
    (
        "one reset: writes",
        "The record with the plan, its close, the status, an event: each has a reason to be there, and none is written twice",
    ),
    ("one reset:", "What is looked at a second time right before the send is looked at live, never remembered"),
    (
        "plan to landing",
        "Every look that is made once more between the write of the plan and the send lengthens it, and each of them is there to refuse a send that is \
         not right any more",
    ),
    (
        "1,000 at once: one in another",
        "A namespace has a Kafka client of its own, and a turn of its own; what it shares with the thousand is the API server and the processors",
    ),
    ("1,000 at once: plans dropped", "Few are worked on at a time (--concurrency), so none waits longer than --send-window"),
    (
        "1,000 at once",
        "The processors: both are busy all the time, most of it in the API server, with five writes for each reset, three reads, and what the watches \
         send. Who used how much of them is counted below. The tool writes nothing there",
    ),
    (
        "idle: processor",
        "The looks at the brokers: where more than forty pipelines are at rest, ten are looked at each second in all, however many there are. Of \
         10,000 each is looked at again after a quarter of an hour at the earliest, so five minutes after the first looks hold none",
    ),
    ("idle", "What is kept of each object: a copy of the StreamPipeline, and where its group stood when it was last looked at"),
    (
        "restart",
        "The first list, page by page: three quarters of the time the API server takes 10,000 objects out of etcd, a quarter the operator reads them. A \
         request comes before every look at what is at rest",
    ),
    ("hand-over", "The write by which the one gives the Lease back and the other takes it; after a crash the Lease has to run out"),
    ("8,000 partitions: peak", "The plan is held once as a table, and once as the text that is written"),
    (
        "8,000 partitions",
        "Four writes of a record of this size, 0.1 s each, and two chunks, each looked at again before it is sent and read back after. librdkafka \
         looks each partition of an answer up by going through all that were asked for, so reads are made of a thousand partitions at a time; a \
         look at all that a group has committed cannot be, and takes 0.14 s",
    ),
    ("5,000 in a row", "Closed records are kept in the API server, and a watch of them in the operator"),
    ("1,000 EnOS", "One call resets; whether the pipeline is paused is in the list that all pipelines of an organization share"),
];

fn limit(row: &Row) -> &'static str {
    LIMITS.iter().find(|(begin, _)| row.name.starts_with(begin)).map_or("", |(_, sentence)| sentence)
}

pub fn write(report: &Report) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
    std::fs::write(&file, page(report)).with_context(|| format!("writing {}", file.display()))
}

/// Above, what is compared; then the rows, those of one run together; below each, what limits them.
fn page(report: &Report) -> String {
    let mut text = HEAD.to_owned();
    // Writing into a String cannot fail.
    let _ = writeln!(text, "\nMeasured on {} with {}, {}: {}.\n", report.written_at, report.setting.machine, report.setting.build, LOADED);
    text += "| what | operator (min..max) | beside (min..max) | ratio | target | |\n| --- | --- | --- | --- | --- | --- |\n";
    for row in &report.rows {
        let ours = format!("{} {}", report::spread(&row.ours), row.unit);
        let beside = row.reference.as_ref().map(|r| format!("{}: {}", r.what, report::spread(&r.spread))).unwrap_or_default();
        let cells = [&row.name, ours.trim(), &beside, &report::ratio(row), &report::target(row), report::met(row)];
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text += "\n## What limits each\n\n";
    let mut told: Vec<&str> = Vec::new();
    for row in &report.rows {
        let sentence = limit(row);
        if !sentence.is_empty() && !told.contains(&sentence) {
            told.push(sentence);
            let _ = writeln!(text, "- **{}**: {sentence}.", row.name);
        }
    }
    text += "\n## What was counted\n\n";
    for row in report.rows.iter().filter(|row| !row.note.is_empty()) {
        let _ = writeln!(text, "- {}: {}", row.name, row.note);
    }
    text
}

const LOADED: &str =
    "servers, operator and measurement share the machine, so times are of a busy one, and the ratios say more than the times";

const HEAD: &str = "# Performance

<!-- Generated by `make bench PAGE=1` from a run of `make bench`. -->

What the operator costs, beside what would be run otherwise, on the same servers in the same run: a real API server with etcd, a real broker.

- **kafka-consumer-groups**: Kafka's own tool, `--reset-offsets --execute`, in a JVM that is started for it, as people run it.
- **bare calls**: a program that makes the same calls one after another on open connections and does nothing else: reads the object, finds and
  describes the group, reads its offsets, the metadata and both ends of the log, writes a record, commits, reads back, closes the record, writes the
  status and an event.
- **bare writes**: the four writes of as many resets, by as many clients as ask for them; nothing of Kafka.

Each figure is the middle of at least five runs, its references in between, with the least and the most; where one run was made, its note says *once*.
p50 and p99 are of all resets together, their least and most of the runs. `ONLY=words;words`, `RUNS=5`, `RESETS=200`, `COUNT=1000`, `IDLE=10000`,
`IDLE_SECONDS=300`, `ROW=5000` choose rows and sizes, `OPERATOR=path` another binary.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{enos, idle, in_a_row, landing, one_reset, partitions, thousand};
    use crate::stats::Spread;

    #[test]
    fn whatever_is_run_has_a_sentence_on_what_limits_it() {
        let names =
            [one_reset::NAME, thousand::NAME, idle::IDLE, idle::RESTART, partitions::NAME, landing::NAME, in_a_row::NAME, enos::NAME];
        for name in names {
            let row = Row::new(format!("{name}: p50"), "ms", Spread::of(&[1.0]));
            assert!(!limit(&row).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_row_is_a_line_with_its_ratio_and_whether_the_target_is_met() {
        let row = Row::new("one reset: p50", "ms", Spread::of(&[20.0, 21.0, 22.0]))
            .beside("the tool", Spread::of(&[1000.0]))
            .at_most_times(0.025);
        let setting = crate::report::Setting { machine: "m".to_owned(), operator: "o".to_owned(), build: "b".to_owned() };
        let mut report = Report::new(setting);
        report.rows.push(row);
        let line = "| one reset: p50 | 21.0 (20.0..22.0) ms | the tool: 1000 | 1/47.6 | <= 1/40 | met |";
        assert!(page(&report).contains(line), "{}", page(&report));
    }
}
