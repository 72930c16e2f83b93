//! The pipelines and their states.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::options::Options;
use super::pipeline::{Backing, Pipeline, ResetTo, Series};
use crate::consumer::Consumer;

/// One point of offset-lag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub ts: u64,
    pub offset: i64,
    pub lag: i64,
}

pub(super) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

pub(super) struct Entry {
    /// Its status is what the list shows.
    pub pipeline: Pipeline,
    /// What a call has begun that the list does not show yet.
    pub becoming: Option<&'static str>,
    /// Counts the changes of state, so that one that was overtaken is dropped.
    pub change: u64,
    pub resets: u64,
    pub refused_resets: u64,
    pub starts: Vec<Value>,
    pub kafka_rate: u32,
    execution_mode: i64,
    resource_config: String,
    updated: u64,
    pub series: Series,
    pub samples: Vec<Sample>,
    pub consumer: Option<Consumer>,
    /// One change at a time.
    pub turn: Arc<tokio::sync::Mutex<()>>,
}

impl Entry {
    pub fn new(pipeline: Pipeline) -> Self {
        let series = Series::new(&pipeline.backing);
        Self {
            pipeline,
            becoming: None,
            change: 0,
            resets: 0,
            refused_resets: 0,
            starts: Vec::new(),
            kafka_rate: 1000,
            execution_mode: 0,
            resource_config: r#"{"men":2.0,"cpu":1.0}"#.to_owned(),
            updated: now_ms(),
            series,
            samples: Vec::new(),
            consumer: None,
            turn: Arc::default(),
        }
    }

    pub fn is(&self, status: &str) -> bool {
        self.pipeline.status.eq_ignore_ascii_case(status)
    }

    /// Moves an imagined log up to now.
    pub fn settle(&mut self) {
        let read = if self.is("RUNNING") { f64::from(self.kafka_rate) } else { 0.0 };
        self.series.settle(read);
    }

    /// Takes a status on, and gives back the consumer that is to end with it.
    pub fn become_status(&mut self, status: &str, bootstrap: Option<&str>) -> Option<Consumer> {
        self.settle();
        self.change += 1;
        self.becoming = None;
        status.clone_into(&mut self.pipeline.status);
        self.updated = now_ms();
        if !self.is("RUNNING") {
            return self.consumer.take();
        }
        if let (Backing::Group { group, topic }, Some(bootstrap), None) = (&self.pipeline.backing, bootstrap, &self.consumer) {
            let from = if self.pipeline.reset_to == ResetTo::Latest { "latest" } else { "earliest" };
            self.consumer = Some(Consumer::committing(bootstrap, group, topic, &self.pipeline.name, from, self.kafka_rate));
        }
        None
    }

    pub fn started(&mut self, body: &Value) {
        self.execution_mode = body["executionMode"].as_i64().unwrap_or_default();
        self.kafka_rate = body["kafkaRate"].as_u64().and_then(|rate| u32::try_from(rate).ok()).unwrap_or(1000);
        if let Some(config) = body.get("resourceConfig").filter(|config| !config.is_null()) {
            self.resource_config = config.to_string();
        }
        self.starts.push(body.clone());
    }

    fn listed(&self) -> Value {
        let p = &self.pipeline;
        json!({
            "orgId": p.org, "status": p.status, "version": "0.1.0", "pipelineId": p.id, "pipelineName": p.name,
            "updateTime": self.updated.to_string(), "alarmConfig": "", "templateType": 1, "messageChannel": 0,
            "executionMode": self.execution_mode, "resourceConfig": self.resource_config,
        })
    }

    pub fn details(&self) -> Value {
        let p = &self.pipeline;
        json!({
            "desc": "", "pipelineId": p.id, "pipelineName": p.name, "version": "0.1.0", "templateType": 1,
            "templateName": { "en_us": "Origin", "zh_cn": "Origin" }, "messageChannel": "0", "pipelineJson": {},
        })
    }

    pub fn topic(&self) -> String {
        match &self.pipeline.backing {
            Backing::Group { topic, .. } => topic.clone(),
            Backing::Series { .. } => format!("MEASURE_POINT_INTERNAL_{}", self.pipeline.org),
        }
    }

    /// Keeps a point, and the three before it.
    pub fn sampled(&mut self, offset: i64, lag: i64) {
        let ts = self.samples.last().map_or(0, |s| s.ts + 1).max(now_ms());
        if self.samples.is_empty() {
            // The manual's sample points are 225 s apart.
            self.samples.push(Sample { ts: ts - 225_060, offset, lag });
        }
        self.samples.push(Sample { ts, offset, lag });
        let surplus = self.samples.len().saturating_sub(4);
        self.samples.drain(..surplus);
    }
}

#[derive(Default)]
pub(super) struct World {
    pub entries: Vec<Entry>,
}

pub(super) struct Page {
    pub org: String,
    pub size: usize,
    pub number: usize,
    pub system: bool,
    pub released: bool,
}

impl World {
    pub fn get(&mut self, id: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|e| e.pipeline.id == id)
    }

    /// Of this organisation only: a foreign one does not exist.
    pub fn of(&mut self, org: &str, id: &str) -> Option<&mut Entry> {
        self.get(id).filter(|e| e.pipeline.org == org)
    }

    pub fn is_starting(&self, org: &str) -> bool {
        self.entries.iter().any(|e| e.pipeline.org == org && e.becoming == Some("RUNNING"))
    }

    pub fn list(&self, page: &Page, options: &Options) -> Value {
        let fits = |e: &&Entry| {
            let p = &e.pipeline;
            p.org == page.org && p.system == page.system && p.released == page.released
        };
        let all: Vec<_> = self.entries.iter().filter(fits).map(Entry::listed).collect();
        let size = options.max_page_size.map_or(page.size, |max| max.min(page.size));
        let total = all.len();
        let shown: Vec<_> = all.into_iter().skip(size.saturating_mul(page.number - 1)).take(size).collect();
        json!({ "count": if options.count_is_page { shown.len() } else { total }, "pipelines": shown })
    }

    /// The first of an organisation goes to the end of the list.
    pub fn shift(&mut self, org: &str) {
        if let Some(first) = self.entries.iter().position(|e| e.pipeline.org == org && e.pipeline.released && !e.pipeline.system) {
            let entry = self.entries.remove(first);
            self.entries.push(entry);
        }
    }

    pub fn running(&self) -> Vec<String> {
        self.entries.iter().filter(|e| e.is("RUNNING")).map(|e| e.pipeline.id.clone()).collect()
    }
}
