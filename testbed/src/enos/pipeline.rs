//! A pipeline as a test describes it, and the position of one that has no broker behind it.

use std::time::Instant;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pipeline {
    pub org: String,
    pub id: String,
    pub name: String,
    /// `PUBLISHED`, `RUNNING`, `PAUSED`, `STOPPED`, or any other word.
    pub status: String,
    #[serde(default = "yes")]
    pub released: bool,
    /// A Data Reader or a Data Writer.
    #[serde(default)]
    pub system: bool,
    #[serde(default)]
    pub backing: Backing,
    #[serde(default)]
    pub reset_to: ResetTo,
}

fn yes() -> bool {
    true
}

impl Pipeline {
    /// Released, not a system pipeline, backed by a series, reset to the end.
    pub fn new(org: &str, id: &str, name: &str, status: &str) -> Self {
        Self {
            org: org.to_owned(),
            id: id.to_owned(),
            name: name.to_owned(),
            status: status.to_owned(),
            released: true,
            system: false,
            backing: Backing::default(),
            reset_to: ResetTo::default(),
        }
    }

    pub fn unreleased(mut self) -> Self {
        self.released = false;
        self
    }

    pub fn system(mut self) -> Self {
        self.system = true;
        self
    }

    pub fn reset_to(mut self, to: ResetTo) -> Self {
        self.reset_to = to;
        self
    }

    /// Backed by numbers in memory; nothing comes in but what [`super::Simulator::produce`] adds.
    pub fn series(mut self, offset: i64, end: i64) -> Self {
        self.backing = Backing::Series { offset, end, input_per_second: 0.0 };
        self
    }

    /// Backed by a real consumer group.
    pub fn group(mut self, group: &str, topic: &str) -> Self {
        self.backing = Backing::Group { group: group.to_owned(), topic: topic.to_owned() };
        self
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backing {
    /// The log begins at 0.
    Series { offset: i64, end: i64, input_per_second: f64 },
    /// While the pipeline runs, a consumer of this group reads the topic and commits.
    Group { group: String, topic: String },
}

impl Default for Backing {
    fn default() -> Self {
        Self::Series { offset: 1000, end: 1000, input_per_second: 0.0 }
    }
}

/// Which way a reset goes; also what the pipeline's consumer does without a committed offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResetTo {
    #[default]
    Latest,
    Earliest,
}

/// The position in an imagined log, moved on whenever somebody looks.
pub(super) struct Series {
    offset: f64,
    end: f64,
    input_per_second: f64,
    seen: Instant,
}

impl Series {
    pub fn new(backing: &Backing) -> Self {
        let (offset, end, input_per_second) = match backing {
            Backing::Series { offset, end, input_per_second } => (*offset, *end, *input_per_second),
            Backing::Group { .. } => (0, 0, 0.0),
        };
        Self { offset: offset as f64, end: end as f64, input_per_second, seen: Instant::now() }
    }

    /// Up to now, during which the pipeline read so many records a second.
    pub fn settle(&mut self, read_per_second: f64) {
        let passed = self.seen.elapsed().as_secs_f64();
        self.seen = Instant::now();
        self.end += passed * self.input_per_second;
        self.offset = self.end.min(self.offset + passed * read_per_second);
    }

    pub fn produce(&mut self, count: i64) {
        self.end += count as f64;
    }

    pub fn reset(&mut self, to: ResetTo) {
        self.offset = if to == ResetTo::Latest { self.end } else { 0.0 };
    }

    /// Offset and lag.
    pub fn position(&self) -> (i64, i64) {
        let (offset, end) = (self.offset as i64, self.end as i64);
        (offset, end - offset)
    }
}
