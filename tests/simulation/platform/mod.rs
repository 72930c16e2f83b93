//! The stream processing platform EnOS in memory, with the rules that a reset relies on: a pipeline is reset only while paused or stopped,
//! its position is shown only while it runs, one pipeline of an organization starts at a time, and calls are signed with a token. Routes,
//! envelopes and texts are compared with the testbed's simulator, which was written from the manual.

mod call;
mod tokens;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::random::Random;
pub use call::Call;
use tokens::Tokens;

pub const ORG: &str = "o15000000000001";
pub const ACCESS_KEY: &str = "11111111-2222-3333-4444-555555555555";
pub const SECRET_KEY: &str = "66666666-7777-8888-9999-aaaaaaaaaaaa";
/// The pipeline of a history.
pub const ID: &str = "s1";
pub const NAME: &str = "turbines";

/// Milliseconds between the points in the manual's sample.
const SAMPLE_GAP: i64 = 225_060;

/// How a platform behaves.
#[derive(Clone, Debug)]
pub struct Setup {
    pub status: &'static str,
    pub resets_to_latest: bool,
    /// How long a start, pause or stop takes to show.
    pub transition: Duration,
    /// How often a new point of offset and lag is taken; zero: at every question.
    pub sample_every: Duration,
    /// Offset and lag of a pipeline that does not run: a success without points, else 99000.
    pub lag_empty: bool,
    /// True: as documented, `data` is a list of one and numbers are strings. False: as in the samples.
    pub as_documented: bool,
    pub token_life: Duration,
    /// Whether a refresh ends the old token at once, also for its other holders.
    pub refresh_kills_old: bool,
    pub backlog: i64,
    pub input_per_second: i64,
}

impl Setup {
    pub fn of(mut random: Random) -> Self {
        let millis = |random: &mut Random, of: &[u64]| Duration::from_millis(random.pick(of));
        Self {
            status: random.pick(&["RUNNING", "RUNNING", "PAUSED", "PAUSED", "STOPPED"]),
            resets_to_latest: random.one_in(2),
            transition: millis(&mut random, &[0, 0, 400, 3000]),
            sample_every: millis(&mut random, &[0, 0, 7000, 30_000]),
            lag_empty: random.one_in(2),
            as_documented: random.one_in(2),
            token_life: Duration::from_secs(random.pick(&[25, 90, 7200])),
            refresh_kills_old: random.one_in(2),
            backlog: random.pick(&[0, 500, 2_000_000]),
            input_per_second: random.pick(&[0, 0, 40]),
        }
    }
}

/// HTTP status and body.
pub type Answer = (u16, Value);

/// The time: since the beginning, and in milliseconds since 1970.
#[derive(Clone, Copy)]
pub struct Now {
    pub at: Duration,
    pub ms: i64,
}

pub struct Pipeline {
    pub name: String,
    pub status: &'static str,
    /// A change that has begun and does not show yet.
    becoming: Option<(&'static str, Duration)>,
    offset: i64,
    end: i64,
    rate: i64,
    settled: Duration,
    /// Time, offset and lag.
    points: Vec<(i64, i64, i64)>,
    sampled: Option<Duration>,
    /// When resets took effect.
    pub resets: Vec<Duration>,
    /// Those of others than the operator.
    pub resets_at_console: Vec<Duration>,
    /// The highest rate with which others started it.
    pub rate_at_console: i64,
}

pub struct Platform {
    pub setup: Setup,
    pub pipelines: BTreeMap<String, Pipeline>,
    tokens: Tokens,
}

impl Pipeline {
    /// Advances the log to this time.
    fn advance(&mut self, to: Duration, input: i64) {
        let millis = |d: Duration| i64::try_from(d.as_millis()).expect("a short time");
        let passed = millis(to) - millis(self.settled);
        self.settled = to;
        self.end += passed * input / 1000;
        if self.status == "RUNNING" {
            self.offset = self.end.min(self.offset + passed * self.rate / 1000);
        }
    }

    fn settle(&mut self, now: Now, setup: &Setup) {
        if let Some((status, at)) = self.becoming.filter(|(_, at)| *at <= now.at) {
            self.advance(at, setup.input_per_second);
            (self.status, self.becoming) = (status, None);
        }
        self.advance(now.at, setup.input_per_second);
        let due = self.sampled.is_none_or(|last| now.at >= last + setup.sample_every);
        if self.status == "RUNNING" && due {
            self.sampled = Some(now.at);
            let lag = self.end - self.offset;
            if self.points.is_empty() {
                self.points.push((now.ms - SAMPLE_GAP, self.offset, lag));
            }
            let ts = self.points.last().map_or(0, |(ts, ..)| ts + 1).max(now.ms);
            self.points.push((ts, self.offset, lag));
            let surplus = self.points.len().saturating_sub(4);
            self.points.drain(..surplus);
        }
    }

    fn reset(&mut self, now: Now, setup: &Setup) {
        self.resets.push(now.at);
        self.offset = if setup.resets_to_latest { self.end } else { 0 };
    }

    fn change(&mut self, to: &'static str, now: Now, setup: &Setup) {
        self.becoming = Some((to, now.at + setup.transition));
        self.settle(now, setup);
    }
}

impl Platform {
    pub fn new(setup: Setup) -> Self {
        let (offset, end) = (1_000_000, 1_000_000 + setup.backlog);
        let pipeline = Pipeline {
            name: NAME.to_owned(),
            status: setup.status,
            becoming: None,
            offset,
            end,
            rate: 10,
            settled: Duration::ZERO,
            points: Vec::new(),
            sampled: None,
            resets: Vec::new(),
            resets_at_console: Vec::new(),
            rate_at_console: 0,
        };
        let pipelines = BTreeMap::from([(ID.to_owned(), pipeline)]);
        Self { setup, pipelines, tokens: Tokens::default() }
    }

    /// How many resets took effect.
    pub fn resets(&self) -> usize {
        self.pipelines.values().map(|p| p.resets.len()).sum()
    }

    /// Somebody resets it at the console, where the same rules hold.
    pub fn reset(&mut self, now: Now) {
        let Self { setup, pipelines, .. } = self;
        if let Some(pipeline) = pipelines.get_mut(ID) {
            pipeline.settle(now, setup);
            if matches!(pipeline.status, "PAUSED" | "STOPPED") && pipeline.becoming.is_none() {
                pipeline.reset(now, setup);
                pipeline.resets_at_console.push(now.at);
            }
        }
    }

    /// From now on the tokens given so far are refused.
    pub fn revoke_tokens(&mut self) {
        self.tokens.revoke();
    }

    /// Somebody at the console changes its state, without asking anybody.
    pub fn put(&mut self, to: &'static str, rate: i64, now: Now) {
        let Self { setup, pipelines, .. } = self;
        if let Some(pipeline) = pipelines.get_mut(ID) {
            pipeline.settle(now, setup);
            if to == "RUNNING" {
                if pipeline.status == to {
                    return;
                }
                pipeline.rate = rate;
                pipeline.rate_at_console = rate.max(pipeline.rate_at_console);
            }
            (pipeline.status, pipeline.becoming) = (to, None);
        }
    }

    /// Answers a call if its signature is right; otherwise refuses it.
    pub fn serve(&mut self, call: &Call, now: Now) -> Answer {
        let named = call.named();
        if named.starts_with("token") {
            return self.tokens.answer(call, now, &self.setup);
        }
        if named.is_empty() {
            return (404, json!({ "message": "no Route matched with those values" }));
        }
        if !self.tokens.have_signed(call, now) {
            return (401, json!({ "message": "Invalid authentication credentials" }));
        }
        if call.param("orgId") != ORG {
            return code(99403, "Denied resource: orgId");
        }
        let is_starting = self.pipelines.values().any(|p| p.becoming.is_some_and(|(to, at)| to == "RUNNING" && at > now.at));
        let Self { setup, pipelines, .. } = self;
        if named == "list" {
            pipelines.values_mut().for_each(|p| p.settle(now, setup));
            return list(pipelines, call, setup);
        }
        let Some(pipeline) = pipelines.get_mut(call.pipeline()) else { return code(61108, "Stream processing job does not exit.") };
        pipeline.settle(now, setup);
        let wrong = |number: i64| code(number, &format!("Status of the stream processing job is [{}].", pipeline.status));
        let idle = matches!(pipeline.status, "PAUSED" | "STOPPED");
        match named {
            "details" => ok(shaped(setup, json!({ "pipelineId": call.pipeline(), "pipelineName": pipeline.name, "version": "0.1.0" }))),
            "offset-lag" if pipeline.status != "RUNNING" && !setup.lag_empty => code(99000, "Internal Server Error."),
            "offset-lag" => ok(shaped(setup, lag(pipeline, call.pipeline(), setup))),
            "reset" if !idle || pipeline.becoming.is_some_and(|(to, _)| to == "RUNNING") => wrong(99000),
            "reset" => {
                pipeline.reset(now, setup);
                (200, json!({ "code": 0, "msg": "OK" }))
            }
            "start" if is_starting => {
                code(61121, "Another user in the organization is starting a stream processing job. Please try again later.")
            }
            "start" if !(idle || pipeline.status == "PUBLISHED") => wrong(61165),
            "start" => match serde_json::from_slice::<Value>(&call.body).ok().and_then(|body| body["kafkaRate"].as_i64()) {
                None => code(61100, "The Stream configuration JSON is invalid."),
                Some(rate) => {
                    pipeline.rate = rate;
                    pipeline.change("RUNNING", now, setup);
                    ok(json!(""))
                }
            },
            "pause" if pipeline.status != "RUNNING" => wrong(61152),
            "pause" => {
                pipeline.change("PAUSED", now, setup);
                ok(json!(""))
            }
            "stop" if !matches!(pipeline.status, "RUNNING" | "PAUSED") => wrong(61152),
            _ => {
                pipeline.change("STOPPED", now, setup);
                ok(json!(""))
            }
        }
    }
}

pub fn code(number: i64, text: &str) -> Answer {
    (200, json!({ "code": number, "msg": text, "data": null }))
}

fn ok(data: Value) -> Answer {
    (200, json!({ "code": 0, "msg": "OK", "data": data }))
}

fn shaped(setup: &Setup, data: Value) -> Value {
    if setup.as_documented { json!([data]) } else { data }
}

fn list(pipelines: &BTreeMap<String, Pipeline>, call: &Call, setup: &Setup) -> Answer {
    let positive = |name: &str| call.param(name).parse::<usize>().ok().filter(|n| *n > 0);
    let (Some(size), Some(number)) = (positive("pageSize"), positive("pageNo")) else { return code(61176, "Param must be positive.") };
    let shown = pipelines.iter().skip(size * (number - 1)).take(size);
    let shown = shown.map(|(id, p)| json!({ "orgId": ORG, "status": p.status, "pipelineId": id, "pipelineName": p.name }));
    let page = json!({ "count": pipelines.len(), "pipelines": shown.collect::<Vec<_>>() });
    ok(shaped(setup, page))
}

fn lag(pipeline: &Pipeline, id: &str, setup: &Setup) -> Value {
    let number = |n: i64| if setup.as_documented { json!(n.to_string()) } else { json!(n) };
    let point = |(ts, offset, lag): &(i64, i64, i64)| json!({ "lag": number(*lag), "offset": number(*offset), "ts": ts });
    let points: Vec<Value> = if pipeline.status == "RUNNING" { pipeline.points.iter().map(point).collect() } else { Vec::new() };
    json!({ "pipelineId": id, "topicName": format!("MEASURE_POINT_INTERNAL_{ORG}"), "lagAndOffset": points })
}
