//! What is measured and how often, by environment variables, and which operator.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

pub struct Settings {
    /// Words of the names of the rows that are run; none: all.
    pub only: Option<String>,
    /// How often a short row is measured, its references in between.
    pub runs: usize,
    /// Resets of `one reset`, all runs together.
    pub resets: usize,
    /// Pipelines that ask at once.
    pub count: usize,
    /// Pipelines at rest, and for how long they are watched.
    pub idle: usize,
    pub idle_seconds: u64,
    /// Resets in a row.
    pub row: usize,
    /// A binary to measure instead of a release build.
    pub operator: Option<PathBuf>,
}

impl Settings {
    pub fn of_environment() -> Result<Self> {
        let settings = Self {
            only: text("ONLY"),
            runs: number("RUNS", 5)?,
            resets: number("RESETS", 200)?,
            count: number("COUNT", 1000)?,
            idle: number("IDLE", 10_000)?,
            idle_seconds: number("IDLE_SECONDS", 300)? as u64,
            row: number("ROW", 5000)?,
            operator: text("OPERATOR").map(PathBuf::from),
        };
        if [settings.runs, settings.resets, settings.count, settings.idle, settings.row].contains(&0) {
            bail!("RUNS, RESETS, COUNT, IDLE and ROW are 1 or more");
        }
        Ok(settings)
    }

    pub fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|words| words.split(';').any(|words| name.contains(words)))
    }
}

fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str, default: usize) -> Result<usize> {
    text(name).map_or(Ok(default), |value| value.parse().with_context(|| format!("{name} is no number: {value}")))
}
