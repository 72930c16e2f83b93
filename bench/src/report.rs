//! What was measured: rows with a figure, what it stands beside, and the target. Printed, and kept as JSON.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::stats::Spread;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Begins with the name of what was run.
    pub name: String,
    pub unit: String,
    pub ours: Spread,
    pub reference: Option<Reference>,
    pub ratio: Option<f64>,
    pub target: Option<Target>,
    pub met: Option<bool>,
    /// What a reader must know of this figure.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reference {
    pub what: String,
    pub spread: Spread,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// Of the ratio.
    Ratio(f64),
    /// Of our figure.
    Value(f64),
}

impl Row {
    pub fn new(name: impl Into<String>, unit: &str, ours: Spread) -> Self {
        let name = name.into();
        Self { name, unit: unit.to_owned(), ours, reference: None, ratio: None, target: None, met: None, note: String::new() }
    }

    pub fn beside(mut self, what: &str, spread: Spread) -> Self {
        self.ratio = Some(self.ours.median / spread.median);
        self.reference = Some(Reference { what: what.to_owned(), spread });
        self
    }

    /// The target: at most so often the reference.
    pub fn at_most_times(mut self, limit: f64) -> Self {
        self.target = Some(Target::Ratio(limit));
        self.met = self.ratio.map(|ratio| ratio <= limit);
        self
    }

    /// The target: at most so much.
    pub fn at_most(mut self, limit: f64) -> Self {
        self.target = Some(Target::Value(limit));
        self.met = Some(self.ours.median <= limit);
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// On which machine, and with which operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Setting {
    pub machine: String,
    /// The beginning of the SHA-256 of its binary.
    pub operator: String,
    pub build: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub setting: Setting,
    pub written_at: String,
    pub rows: Vec<Row>,
}

impl Report {
    pub fn new(setting: Setting) -> Self {
        Self { setting, written_at: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(), rows: Vec::new() }
    }

    /// In the target directory, beside the testbed's own. `given`: the digest of an operator that was given: what is tried out on the way
    /// leaves the report of the release alone.
    pub fn file(given: Option<&str>) -> PathBuf {
        let name = given.map_or_else(|| "report.json".to_owned(), |digest| format!("report-{digest}.json"));
        testbed::base().with_file_name("bench").join(name)
    }

    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("no report at {}: run `make bench` first", file.display()))?;
        serde_json::from_str(&text).context("the report is not of this version: run `make bench` again")
    }

    /// With the rows of an earlier run that were not run this time, where that was of the same operator on the same machine.
    pub fn keeping_others(&self, file: &Path) -> Self {
        let mut whole = self.clone();
        if let Some(earlier) = Self::read(file).ok().filter(|earlier| earlier.setting == self.setting) {
            let again = |row: &Row| self.rows.iter().any(|new| new.name == row.name);
            whole.rows = earlier.rows.into_iter().filter(|row| !again(row)).chain(self.rows.clone()).collect();
        }
        whole
    }

    pub fn write(&self, file: &Path) -> Result<()> {
        fs::create_dir_all(file.parent().unwrap_or(Path::new("."))).context("making the report's directory")?;
        fs::write(file, serde_json::to_string_pretty(self)? + "\n").with_context(|| format!("writing {}", file.display()))
    }
}

/// As many digits as matter.
pub fn figure(value: f64) -> String {
    // A count that was taken off may leave a zero below zero.
    let value = value + 0.0;
    match value.abs() {
        v if v.is_nan() => "-".to_owned(),
        v if v >= 100.0 || v == 0.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

pub fn spread(of: &Spread) -> String {
    match of.samples {
        0 | 1 => figure(of.median),
        _ => format!("{} ({}..{})", figure(of.median), figure(of.min), figure(of.max)),
    }
}

pub fn target(row: &Row) -> String {
    match row.target {
        None => String::new(),
        Some(Target::Value(limit)) => format!("<= {} {}", figure(limit), row.unit).trim_end().to_owned(),
        Some(Target::Ratio(limit)) if limit < 0.1 => format!("<= 1/{:.0}", 1.0 / limit),
        Some(Target::Ratio(limit)) => format!("<= {limit} x"),
    }
}

pub fn ratio(row: &Row) -> String {
    match row.ratio {
        None => String::new(),
        Some(ratio) if ratio < 0.1 => format!("1/{:.1}", 1.0 / ratio),
        Some(ratio) => format!("{ratio:.2} x"),
    }
}

pub fn met(row: &Row) -> &'static str {
    match row.met {
        None => "",
        Some(true) => "met",
        Some(false) => "MISSED",
    }
}

/// The rows in columns.
pub fn table(rows: &[Row]) -> String {
    let head = ["what", "ours (min..max)", "", "samples", "beside (min..max)", "ratio", "target", ""].map(str::to_owned);
    let cells = |row: &Row| {
        let beside = row.reference.as_ref().map(|r| format!("{} {}", spread(&r.spread), r.what)).unwrap_or_default();
        let samples = row.ours.samples.to_string();
        [row.name.clone(), spread(&row.ours), row.unit.clone(), samples, beside, ratio(row), target(row), met(row).to_owned()]
    };
    let all: Vec<_> = std::iter::once(head).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| all.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<_> = (0..8).map(width).collect();
    let line = |cells: &[String; 8]| {
        let padded: Vec<_> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let notes = rows.iter().filter(|row| !row.note.is_empty()).map(|row| format!("  {}: {}\n", row.name, row.note));
    all.iter().map(line).chain(notes).collect()
}
