//! E08: every documented code, code by code and call by call, against the table of `backend/enos/codes.rs`.
//!
//! Each code has a platform of its own, so that what one says of tokens or pace does not reach its neighbours.

use serde_json::{Value, json};
use stream_pipeline_api::{Reason, RecordPhase, Stage, StreamPipelineStatus};
use stream_pipeline_operator::backend::enos::codes::{CODES, Code, Done, Retry, Source};
use testbed::enos::{Call, Fault, Kind, ORGANISATION, Options, Pipeline, Simulator, When};

use crate::support::enos::EnosWorld;
use crate::support::status::{assert_has, is_over, reset, says};

const FLAGS: [&str; 3] = ["--concurrency=32", "--call-deadline=5s", "--late-bound=500ms"];

/// A row of the table, and how the platform answers with it. `row` is None for a code that is not documented.
struct Case {
    name: String,
    number: i32,
    /// An id for each case: the operator takes equal ids for one pipeline, whatever the endpoint.
    id: String,
    kind: Kind,
    row: Option<&'static Code>,
    sim: Simulator,
}

const UNDOCUMENTED: i32 = 61170;

impl Case {
    async fn new(row: Option<&'static Code>, status: &str, listed: bool) -> Self {
        let number = row.map_or(UNDOCUMENTED, |row| row.number);
        let text = "The platform's own words.".to_owned();
        let kind = match row.map(|row| row.source) {
            Some(Source::Http) => Kind::Http(u16::try_from(number).expect("an HTTP status"), text),
            Some(Source::Gateway) => Kind::ApimStatus(i64::from(number)),
            _ => Kind::Code(i64::from(number), Some(text)),
        };
        let sim = Simulator::start(Options::default()).await;
        let id = format!("565c0114-0000-4372-86d1-{number:012}");
        if listed {
            sim.add(Pipeline::new(ORGANISATION, &id, "cleaning", status).series(400_000, 1_000_000));
        }
        Self { name: format!("c{number}"), number, id, kind, row, sim }
    }

    fn reason(&self) -> Reason {
        self.row.map_or(Reason::PlatformError, |row| row.reason)
    }

    fn fail(&self, call: Call) {
        self.sim.fault(Fault::new(call, When::Before, self.kind.clone()).times(u32::MAX));
    }

    /// Whether the platform refuses with it before anything is done.
    fn undone(&self) -> bool {
        self.row.is_some_and(|row| row.done == Done::No)
    }

    fn spec(&self, enos: &EnosWorld) -> Value {
        let mut spec = enos.spec(&self.id);
        spec["endpoint"] = json!(self.sim.endpoint());
        spec
    }

    /// Fails unless the status tells the number and the platform's words.
    fn is_told(&self, status: &StreamPipelineStatus, retryable: bool) {
        let error = reset(status).error.as_ref().unwrap_or_else(|| panic!("{}: no error in {status:?}", self.name));
        // 4011 and 4012 come in a field of their own, in an answer that has no code.
        let gateway = self.row.is_some_and(|row| row.source == Source::Gateway);
        if !gateway {
            assert_eq!(error.code, Some(self.number), "{}", error.message);
            assert!(error.message.starts_with(&format!("{}: ", self.number)), "{}", error.message);
            assert_has(&error.message, &["The platform's own words"]);
        }
        assert_eq!(error.retryable, retryable, "{}: {}", self.name, error.message);
        assert!(!error.message.contains("..") && !error.message.contains("  "), "{}", error.message);
        let (_, _, message) = says(status, "Ready");
        // More may follow: what the operator keeps paused, and what became of the reset.
        assert!(message.starts_with(error.message.trim_end_matches('.')), "{}: one text: {message}", self.name);
    }

    fn advises(&self, status: &StreamPipelineStatus) {
        let message = says(status, "Ready").2;
        match self.row {
            Some(row) if row.source != Source::Gateway => {
                assert!(message.contains(row.help.trim_end_matches('.')), "{}: {message}", self.name)
            }
            Some(_) => assert!(message.contains("Check accessKey and secretKey"), "{}: {message}", self.name),
            None => assert!(message.contains("not documented") && message.contains("Ask EnOS support"), "{}: {message}", self.name),
        }
    }
}

/// All rows of the table, and a code that is not documented.
async fn cases(status: &str, listed: bool) -> Vec<Case> {
    let mut all = Vec::new();
    for row in CODES.iter().map(Some).chain([None]) {
        all.push(Case::new(row, status, listed).await);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn e08_every_code_of_the_reset_has_its_reason_and_is_never_carried_out_twice() {
    let enos = EnosWorld::with_flags("e08r", Options::default(), &FLAGS).await;
    let cases = cases("PAUSED", true).await;
    for case in &cases {
        case.fail(Call::Reset);
        enos.run(&case.name, case.spec(&enos), Value::Null).await;
    }
    for case in &cases {
        let (name, reason) = (&case.name, case.reason());
        let last = case.row.is_some_and(|row| row.retry == Retry::No);
        if !case.undone() {
            // It may have been carried out.
            let reason = if reason == Reason::AverageRateUnavailable { reason } else { Reason::OutcomeUnknown };
            let held = enos.world.reaches(name, "r1", Stage::Held, reason.as_str()).await;
            case.is_told(&held, false);
            let message = says(&held, "Ready").2;
            assert_has(message, &["It is not known whether", "onUnknownOutcome: Retry"]);
            assert_eq!(case.sim.count(Call::Reset), 1, "{name}");
            assert_eq!(enos.world.record(&held).await.status.map(|s| (s.phase, s.code)), Some((RecordPhase::Held, Some(case.number))));
        } else if last {
            let failed = enos.world.reaches(name, "r1", Stage::Failed, reason.as_str()).await;
            case.is_told(&failed, false);
            case.advises(&failed);
            assert_eq!(case.sim.count(Call::Reset), 1, "{name}: what only a person can change is not repeated");
            assert_eq!(enos.world.record(&failed).await.status.map(|s| s.phase), Some(RecordPhase::Abandoned));
        } else {
            let waits = enos.world.reaches(name, "r1", Stage::Waiting, reason.as_str()).await;
            case.is_told(&waits, true);
            case.advises(&waits);
        }
        assert_eq!(case.sim.resets(&case.id), 0, "{name}");
    }
    for case in &cases {
        case.sim.clear_faults();
    }
    for case in &cases {
        if case.undone() && case.row.is_some_and(|row| row.retry != Retry::No) {
            // It was refused, so it goes on by itself once it no longer is.
            enos.sent(&case.name, "r1").await;
            assert_eq!(case.sim.resets(&case.id), 1, "{}", case.name);
        } else {
            assert_eq!((case.sim.count(Call::Reset), case.sim.resets(&case.id)), (1, 0), "{}", case.name);
        }
    }
}

/// The answers to reads are waited out, except for those that say that the pipeline does not exist.
async fn looked_at(test: &str, call: Call, listed: bool) {
    let enos = EnosWorld::with_flags(test, Options::default(), &FLAGS).await;
    let cases = cases("PAUSED", listed).await;
    for case in &cases {
        case.fail(call);
        enos.run(&case.name, case.spec(&enos), Value::Null).await;
    }
    for case in &cases {
        let (name, reason) = (&case.name, case.reason());
        if call == Call::Details && matches!(case.number, 61108 | 99404) {
            let failed = enos.world.reaches(name, "r1", Stage::Failed, "PipelineNotFound").await;
            case.is_missing(&failed);
            continue;
        }
        let waits = enos.world.reaches(name, "r1", Stage::Waiting, reason.as_str()).await;
        case.is_told(&waits, true);
        case.advises(&waits);
        assert_eq!(case.sim.count(Call::Reset), 0, "{name}");
    }
    for case in &cases {
        case.sim.clear_faults();
        if !listed {
            case.sim.add(Pipeline::new(ORGANISATION, &case.id, "cleaning", "PAUSED"));
        }
    }
    for case in &cases {
        if call == Call::Details && matches!(case.number, 61108 | 99404) {
            continue;
        }
        enos.sent(&case.name, "r1").await;
        assert_eq!((case.sim.count(Call::Reset), case.sim.resets(&case.id)), (1, 1), "{}", case.name);
    }
}

impl Case {
    fn is_missing(&self, status: &StreamPipelineStatus) {
        let error = reset(status).error.as_ref().expect("an error");
        assert_eq!((error.code, error.retryable), (Some(self.number), false));
        assert_has(&error.message, &["has no released pipeline"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e08_every_code_of_the_list_has_its_reason_and_is_waited_out() {
    looked_at("e08l", Call::List, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e08_every_code_of_the_details_has_its_reason_and_is_waited_out() {
    looked_at("e08d", Call::Details, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e08_every_code_of_offset_and_lag_hinders_nothing() {
    let enos = EnosWorld::with_flags("e08o", Options::default(), &FLAGS).await;
    let cases = cases("PAUSED", true).await;
    for case in &cases {
        case.fail(Call::Lag);
        enos.run(&case.name, case.spec(&enos), Value::Null).await;
    }
    for case in &cases {
        enos.sent(&case.name, "r1").await;
        assert_eq!((case.sim.count(Call::Reset), case.sim.resets(&case.id)), (1, 1), "{}", case.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e08_every_code_of_the_token_service_has_its_reason_and_is_waited_out() {
    let enos = EnosWorld::with_flags("e08t", Options::default(), &FLAGS).await;
    let mut cases = cases("PAUSED", true).await;
    // The token service does not answer with `apim_status`.
    cases.retain(|case| !matches!(case.number, 4011 | 4012));
    for case in &cases {
        case.fail(Call::TokenGet);
        enos.run(&case.name, case.spec(&enos), Value::Null).await;
    }
    for case in &cases {
        let waits = enos.world.reaches(&case.name, "r1", Stage::Waiting, case.reason().as_str()).await;
        case.is_told(&waits, true);
        case.advises(&waits);
        assert!(case.sim.calls().iter().all(|c| c.call == Call::TokenGet), "{}: nothing is called without a token", case.name);
    }
    for case in &cases {
        case.sim.clear_faults();
    }
    for case in &cases {
        enos.sent(&case.name, "r1").await;
        assert_eq!((case.sim.count(Call::Reset), case.sim.resets(&case.id)), (1, 1), "{}", case.name);
    }
}

/// The calls that pause and start the pipeline are told, tried again, and succeed once they are no longer refused.
async fn switched(test: &str, call: Call, stage: Stage) {
    let enos = EnosWorld::with_flags(test, Options::default(), &FLAGS).await;
    let cases = cases("RUNNING", true).await;
    for case in &cases {
        case.fail(call);
        enos.run(&case.name, case.spec(&enos), json!({ "whenActive": "Pause" })).await;
    }
    for case in &cases {
        let reason = case.reason();
        let tried = enos.world.reaches(&case.name, "r1", stage, reason.as_str()).await;
        if case.row.is_none_or(|row| row.source != Source::Gateway) {
            case.is_told(&tried, true);
        }
        case.advises(&tried);
        assert_eq!(
            (case.sim.resets(&case.id), case.sim.status(&case.id).as_str()),
            if call == Call::Pause { (0, "RUNNING") } else { (1, "PAUSED") }
        );
    }
    for case in &cases {
        case.sim.clear_faults();
    }
    for case in &cases {
        enos.world.wait(&case.name, "the end", is_over).await;
        assert_eq!((case.sim.count(Call::Reset), case.sim.resets(&case.id)), (1, 1), "{}", case.name);
        assert_eq!(case.sim.status(&case.id), "RUNNING", "{}: brought back", case.name);
        assert_eq!(case.sim.starts(&case.id).len(), 1, "{}: started once", case.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e08_every_code_of_the_pause_has_its_reason_and_is_tried_again() {
    switched("e08p", Call::Pause, Stage::Pausing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e08_every_code_of_the_start_has_its_reason_and_is_tried_again() {
    switched("e08s", Call::Start, Stage::Sent).await;
}
