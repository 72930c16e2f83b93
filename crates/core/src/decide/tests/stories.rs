//! Stories that a person on call can check: what happens, and under it what is decided, what is told and what is done. Each line of
//! `stories.txt` that begins with `=>` is what `decide` answers; `UPDATE=1` writes them anew, to be read before they are committed.

use super::*;
use crate::{OlderPipeline, RunState, RunStateCall, SupersededRecord};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/decide/tests/stories.txt");

/// The state that the story has reached.
struct Story {
    reset: Value,
    workloads: bool,
    finalizer: bool,
    status: Value,
    seen: Observation,
    waited: Duration,
}

impl Story {
    fn new() -> Self {
        Self { reset: Value::Null, workloads: false, finalizer: false, status: known(), seen: ready(), waited: Duration::ZERO }
    }

    fn now(&self) -> Now {
        let now = now();
        Now { mono: now.mono + self.waited, wall: now.wall + self.waited }
    }

    fn decide(&self) -> Decision {
        let mut object = pipeline(self.reset.clone(), self.status.clone());
        if self.workloads {
            let workloads = json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "turbine" }]);
            object.spec.kafka.as_mut().unwrap().workloads = serde_json::from_value(workloads).unwrap();
        }
        if self.finalizer {
            object.metadata.finalizers = Some(vec![stream_pipeline_api::FINALIZER.to_owned()]);
        }
        let desired = Desired::of(&object, crate::facts_of, self.now().wall).unwrap();
        decide(&desired, &PriorStatus::of(&object), &self.seen, &timing(), self.now())
    }

    fn record(&mut self) -> &mut RecordView {
        let Observed::Read(Some(record)) = &mut self.seen.record else { panic!("there is a record") };
        record
    }

    fn put(&mut self, spec: impl FnOnce(&mut OffsetResetRecord), state: PlanState) {
        let now = self.now();
        let mut object = match self.seen.record.get() {
            Some(Some(record)) => record.object.clone(),
            _ => {
                let mut object = bare_record(&Plan::default(), now.wall + Duration::from_secs(86_400));
                (object.spec.plan, object.spec.writer) = (None, None);
                object.spec.request = serde_json::from_value(self.reset.clone()).unwrap();
                object
            }
        };
        spec(&mut object);
        let calls = self.seen.record.get().and_then(|r| r.as_ref()).map(|r| r.calls.clone()).unwrap_or_default();
        self.seen.record = Observed::Read(Some(RecordView::new(object, state, calls)));
    }

    /// One line of a story.
    fn happens(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |n: usize| words[n].parse::<u64>().unwrap_or_else(|_| panic!("a number: {line}"));
        match words.as_slice() {
            ["ask", ..] => self.reset = serde_json::from_str(&line["ask ".len()..]).unwrap_or_else(|e| panic!("{e}: {line}")),
            ["the", "request", "is", "removed"] => self.reset = Value::Null,
            ["a", "Deployment", "runs", "the", "consumers"] => {
                self.workloads = true;
                let before = json!({ "running": true, "workloads": [{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "turbine", "replicas": 2 }] });
                self.seen.before = Observed::Read(serde_json::from_value(before).unwrap());
                self.seen.shared_workloads = Observed::Read(vec![]);
            }
            ["two", "members", "are", "there"] => self.seen.activity = Observed::Read(active()),
            ["the", "members", "are", "gone"] => self.seen.activity = ready().activity,
            ["it", "was", "Empty", "for", _, "s"] => self.seen.quiet.since = Some(Duration::from_secs(number(4))),
            ["no", "broker", "answers"] => {
                let cause = Cause::new(Reason::BrokerUnreachable, "no answer from b:9092");
                (self.seen.identity, self.seen.activity) = (Observed::Unreadable(cause.clone()), Observed::Unreadable(cause.clone()));
                self.seen.committed = Observed::Unreadable(cause);
            }
            ["the", "brokers", "answer"] => {
                (self.seen.identity, self.seen.activity, self.seen.committed) = (ready().identity, ready().activity, ready().committed);
            }
            ["committed", ..] => {
                let offsets: Vec<i64> = words[1..].iter().map(|w| w.parse().unwrap()).collect();
                self.seen.committed = Observed::Read(committed(&offsets));
            }
            ["the", "topic", "is", "made", "anew"] => {
                let Observed::Read(topics) = &mut self.seen.topics else { panic!("the topics were looked at") };
                topics.values_mut().flatten().for_each(|topic| topic.id = "another".to_owned());
            }
            ["an", "older", "StreamPipeline", "acts"] => self.seen.older_pipeline = Some(OlderPipeline::Acts("n/older".to_owned())),
            ["the", "older", "StreamPipeline", "is", "gone"] => self.seen.older_pipeline = None,
            ["another", "record", "is", "open"] => self.seen.conflicting_records = Observed::Read(vec!["n/other".to_owned()]),
            ["the", "other", "record", "is", "closed"] => self.seen.conflicting_records = Observed::Read(vec![]),
            [_, "s", "pass"] => self.waited += Duration::from_secs(number(0)),
            ["the", "operator", "is", "started", "anew"] => {
                let since = self.now().mono;
                self.record().calls = RunStateCalls::default();
                if !matches!(self.record().state, PlanState::Absent | PlanState::Closed) {
                    self.record().state = PlanState::InDoubt { since };
                }
            }
            ["the", "step", "is", "done"] => self.step(),
            ["and", "answered"] => self.answer(SendOutcome::Answered { refused: BTreeMap::new() }),
            ["and", "refused", "for", partition, "with", "code", code] => {
                let refused = BTreeMap::from([(at(partition.parse().unwrap()), code.parse().unwrap())]);
                self.answer(SendOutcome::Answered { refused });
            }
            ["and", "not", "answered"] => {
                let cause = Cause::new(Reason::OutcomeUnknown, "no answer from b:9092");
                let ended = self.now().mono;
                self.answer(SendOutcome::Unanswered { ended, cause });
            }
            ["the", "Deployment", "is", "at", "0"] => {
                self.seen.run_state = Observed::Read(RunState::Stopped);
                self.record().calls.was_down = true;
            }
            ["the", "Deployment", "runs"] => self.seen.run_state = Observed::Read(RunState::Running),
            ["the", "record", "is", "of", "a", "request", "that", "nobody", "asks", "for"] => {
                let Observed::Read(Some(look)) = std::mem::take(&mut self.seen.record) else { panic!("there is a record") };
                let (committed, run_state) = (self.seen.committed.clone(), self.seen.run_state.clone());
                self.seen.record = Observed::Unread;
                self.seen.superseded = Some(SupersededRecord { record: look, committed, activity: Observed::Unread, run_state });
            }
            _ => panic!("nothing is known of: {line}"),
        }
    }

    /// Carries out what was decided.
    fn step(&mut self) {
        let now = self.now();
        match self.decide().step.expect("a step") {
            Step::AddFinalizer => self.finalizer = true,
            Step::RemoveFinalizer => self.finalizer = false,
            Step::RecordPause { before, .. } => self.put(|object| object.spec.run_state_before = Some(before), PlanState::Absent),
            Step::Stop => {
                self.record().calls.stop = Some(RunStateCall { last: now.mono, tries: 1, under_way: false, failure: None });
            }
            Step::Resume => self.record().calls.start = Some(RunStateCall { last: now.mono, tries: 1, under_way: false, failure: None }),
            Step::MarkResumed => {
                let record = self.record();
                record.object.status.as_mut().unwrap().brought_back_at = Some(now.wall);
            }
            Step::WriteAhead { plan, .. } | Step::RecordDryRun { plan, .. } => {
                let writer = Writer { incarnation: "i".to_owned(), number: 1, attempt: 1, chunk: 1 };
                let written =
                    |object: &mut OffsetResetRecord| (object.spec.plan, object.spec.writer) = (Some(plan.to_record()), Some(writer));
                self.put(written, PlanState::OursUnsent { loaded_at: now.mono, intact: true, dead: false });
            }
            Step::Send { .. } => {
                let cause = Cause::new(Reason::OutcomeUnknown, "no answer yet");
                let answer = SendOutcome::Unanswered { ended: now.mono, cause };
                self.record().state = PlanState::OursSent { loaded_at: now.mono, tries: 1, answer };
            }
            Step::StartChunk { .. } => panic!("no story has chunks"),
            Step::DropPlan => {
                self.put(|object| (object.spec.plan, object.spec.writer) = (None, None), PlanState::Absent);
            }
            Step::Close(status) => {
                let record = self.seen.superseded.as_mut().map_or_else(
                    || match &mut self.seen.record {
                        Observed::Read(Some(record)) => record,
                        _ => panic!("there is a record"),
                    },
                    |left| &mut left.record,
                );
                (record.object.status, record.state) = (Some(status), PlanState::Closed);
            }
            Step::Retry => {
                let written = |object: &mut OffsetResetRecord| object.spec.writer.as_mut().unwrap().attempt = 2;
                self.put(written, PlanState::OursUnsent { loaded_at: now.mono, intact: true, dead: false });
            }
        }
    }

    fn answer(&mut self, answer: SendOutcome) {
        let loaded_at = self.now().mono;
        self.record().state = PlanState::OursSent { loaded_at, tries: 1, answer };
    }
}

/// "does Send; tells Sending, PlanRecorded: the plan is recorded and is sent now".
fn said(decision: &Decision) -> String {
    let step = match &decision.step {
        None => "nothing".to_owned(),
        Some(Step::Close(status)) => format!("close the record: {:?}, {}", status.phase, status.reason),
        Some(Step::Send { only, .. }) => format!("Send {}", only.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
        Some(step) => format!("{step:?}").split([' ', '{', '(']).next().unwrap_or_default().to_owned(),
    };
    let told = match &decision.report {
        Report::Request(told) => {
            let beside = told.owed.as_ref().map(|owed| format!("; and {}: {}", owed.reason, owed.message)).unwrap_or_default();
            let kept = told.kept.as_ref().map(|kept| format!(". {}", kept.said)).unwrap_or_default();
            format!("{}, {}: {}{beside}{kept}", <&str>::from(told.stage), told.cause.reason, told.cause.message)
        }
        Report::Outstanding(cause) => format!("{}: {}", cause.reason, cause.message),
        Report::Unchanged => "what it told before".to_owned(),
        Report::Settled { .. } => "the result before".to_owned(),
        Report::NotRequested => "that nothing is asked for".to_owned(),
        Report::LeftPaused(cause) => cause.message.clone(),
    };
    format!("=> does {step}; tells {told}")
}

#[test]
fn every_story_ends_as_it_is_told() {
    let text = std::fs::read_to_string(FILE).unwrap();
    let mut story = Story::new();
    let mut now = String::new();
    for line in text.lines().filter(|line| !line.starts_with("=>")) {
        now += line;
        now.push('\n');
        match line {
            "" => {}
            title if title.starts_with('#') => story = Story::new(),
            line => {
                story.happens(line);
                now += &said(&story.decide());
                now.push('\n');
            }
        }
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(FILE, &now).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(FILE).unwrap(),
        now,
        "stories.txt is not what is decided: UPDATE=1 writes it; read it before you commit it"
    );
}
