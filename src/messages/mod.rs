//! Every message a person meets in a status, with what leads to it: written to `docs/messages.md`, so that they can be read one after
//! the other, and checked. `UPDATE=1` writes the file (`make generate` does).

use std::fmt::Write as _;

use strum::IntoEnumIterator;

use crate::backend::enos::{RunStatus, said, state};
use crate::fixtures::*;
use stream_pipeline_api::{LagSample, RunStateBefore};
use stream_pipeline_core::status::{StatusInputs, status_of};
use stream_pipeline_core::{RunState, RunStateCall};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/messages.md");

/// What leads to it, and what is told: RESET, reason, message.
struct Row(String, String, Reason, String);

fn row(input: &str, object: &StreamPipeline, seen: &Observation) -> Row {
    let desired = Desired::of(object, crate::facts_of, now().wall).unwrap();
    let decide = |seen: &Observation| decide(&desired, &PriorStatus::of(object), seen, &timing(), now());
    let mut decision = decide(seen);
    // What is told once the record says it.
    if let (Some(Step::Close(status)), Observed::Read(Some(look))) = (&decision.step, &seen.record) {
        let mut look = look.clone();
        look.state = PlanState::Closed;
        let brought_back_at = (status.phase != RecordPhase::Held).then(|| now().wall);
        look.object.status = Some(OffsetResetRecordStatus { brought_back_at, ..status.clone() });
        decision = decide(&Observation { record: Observed::Read(Some(look)), ..seen.clone() });
    }
    let status = status_of(object, &desired, &decision.report, &StatusInputs::default(), timing().pause_warning, now().wall);
    let ready = status.iter().flat_map(|s| &s.conditions).find(|c| c.type_ == "Ready").unwrap_or_else(|| panic!("{input}: {decision:?}"));
    let reason = Reason::iter().find(|reason| reason.as_str() == ready.reason).unwrap();
    let stage = match &decision.report {
        Report::Request(ending) => format!("{:?}", ending.stage),
        _ => "–".to_owned(),
    };
    Row(input.to_owned(), stage, reason, ready.message.clone())
}

/// What a platform, a Secret or the API server says, as the status repeats it.
fn passed_on(input: String, cause: &Cause) -> Row {
    let seen = Observation { identity: Observed::Unreadable(cause.clone()), ..ready() };
    row(&input, &pipeline(earliest(), known()), &seen)
}

/// On Kafka, without a record.
fn waiting() -> Vec<Row> {
    let mut rows = Vec::new();
    let [members, share, none] = crate::backend::kafka::groups();
    assert_eq!(members, active(), "the members are told in the operator's own words");
    let ask = |extra: Value| {
        let mut reset = earliest();
        extra.as_object().unwrap().iter().for_each(|(key, value)| reset[key] = value.clone());
        reset
    };
    let mut add = |input: &str, reset: Value, status: Value, change: &dyn Fn(&mut Observation)| {
        let mut seen = ready();
        change(&mut seen);
        rows.push(row(input, &pipeline(reset, status), &seen));
    };
    let as_is = |_: &mut Observation| {};
    let log = |start: i64, end: i64| LogBounds { start, end, high_watermark: end, ..LogBounds::default() };
    add("no `offsetReset`", Value::Null, known(), &as_is);
    add("everything is ready", earliest(), known(), &as_is);
    add("two members", earliest(), known(), &|s| s.activity = Observed::Read(active()));
    add("two members, `whenActive: Fail`", ask(json!({ "whenActive": "Fail" })), known(), &|s| s.activity = Observed::Read(active()));
    add("offsets move without a member", earliest(), known(), &|s| {
        s.quiet = Quiet { since: Some(Duration::ZERO), moved: Some(Duration::ZERO) };
    });
    add("Empty for a second", earliest(), known(), &|s| s.quiet.since = Some(Duration::from_secs(1)));
    add("an open transaction holds an offset", earliest(), known(), &|s| {
        s.committed = Observed::Read(BTreeMap::from([(at(0), Commit { offset: 7, pending: true, ..Commit::default() })]));
    });
    add("the record of another request of the group is open", earliest(), known(), &|s| {
        s.conflicting_records = Observed::Read(vec!["n/other".to_owned()])
    });
    add("an older StreamPipeline names the group", earliest(), known(), &|s| {
        s.older_pipeline = Some(OlderPipeline::Acts("n/older".to_owned()))
    });
    add("an older StreamPipeline names the group, not looked at yet", earliest(), known(), &|s| {
        s.older_pipeline = Some(OlderPipeline::NotLookedAt("n/older".to_owned()))
    });
    add("another cluster than before", earliest(), json!({ "observedUID": "u", "clusterID": "d" }), &as_is);
    let late = json!({ "observedUID": "u", "acknowledgedID": "r1", "offsetReset": { "id": "r1", "stage": "Waiting", "acceptedAt": "2025-12-30T00:00:00Z" } });
    add("two members until `waitTimeout`", earliest(), late, &|s| s.activity = Observed::Read(active()));
    let long = ask(json!({ "whenActive": "Pause", "waitTimeout": "720h" }));
    add("`whenActive: Pause` with a `waitTimeout` of a month, of an earlier version", long, known(), &as_is);
    add("`expiresAt` has passed", ask(json!({ "expiresAt": "2026-01-01T00:00:00Z" })), known(), &as_is);
    add("the object is new", earliest(), Value::Null, &as_is);
    let ended =
        json!({ "observedUID": "u", "acknowledgedID": "r2", "endedIDs": ["r1"], "offsetReset": { "id": "r2", "stage": "Verified" } });
    add("an id from before the last one, its record pruned", earliest(), ended, &as_is);
    let sending = json!({ "observedUID": "u", "acknowledgedID": "r1", "offsetReset": { "id": "r1", "stage": "Sending" } });
    add("sent, by the status, and the record is gone", earliest(), sending, &as_is);
    add("`dryrun: true`", ask(json!({ "dryrun": true })), known(), &as_is);
    add("a time in the future", json!({ "id": "r1", "to": { "timestamp": "2027-01-01T00:00:00Z" } }), known(), &as_is);
    add("no such group", earliest(), known(), &|s| s.activity = Observed::Read(none.clone()));
    add("a share group", earliest(), known(), &|s| s.activity = Observed::Read(share.clone()));
    add("no committed offset at all", earliest(), known(), &|s| s.topics = Observed::Read(BTreeMap::new()));
    add("a group of Kafka Streams", earliest(), known(), &|s| {
        let topic = Topic { id: "x".to_owned(), partitions: BTreeMap::from([(0, true)]) };
        s.topics = Observed::Read(BTreeMap::from([("g-counts-changelog".to_owned(), Some(topic))]));
    });
    add("a topic that does not exist", earliest(), known(), &|s| s.topics = Observed::Read(BTreeMap::from([("t".to_owned(), None)])));
    add("`shiftBy: 100`, ten records in the log", json!({ "id": "r1", "to": { "shiftBy": 100 } }), known(), &as_is);
    add("`shiftBy`, and a partition without a commit", json!({ "id": "r1", "to": { "shiftBy": -1 } }), known(), &|s| {
        s.committed = Observed::Read(committed(&[7]));
    });
    let since = |policy: &str| json!({ "id": "r1", "to": { "timestamp": "2026-01-01T00:00:00Z" }, "noRecordAtTime": policy });
    add("no record since the time, `noRecordAtTime: Fail`", since("Fail"), known(), &as_is);
    add("no record since the time, `noRecordAtTime: Skip`", since("Skip"), known(), &as_is);
    add("a look-up by time that contradicts the newest record", since("Latest"), known(), &|s| {
        let log = LogBounds { newest: Some(now().wall.as_millisecond()), ..log(0, 10) };
        s.log = Observed::Read(BTreeMap::from([(at(0), log), (at(1), log)]));
    });
    add("30,000 partitions, each with other numbers", earliest(), known(), &|s| {
        let partitions = (0..30_000).map(|p| (p, true)).collect();
        let far = |p: i32| 1_000_000_000_000 + i64::from(p) * 7_919;
        s.topics = Observed::Read(BTreeMap::from([("t".to_owned(), Some(Topic { id: "x".to_owned(), partitions }))]));
        s.committed = Observed::Read((0..30_000).map(|p| (at(p), Commit { offset: far(p), ..Commit::default() })).collect());
        s.log = Observed::Read((0..30_000).map(|p| (at(p), log(far(p) - 1000, far(p) + 1000))).collect());
    });
    rows
}

/// On Kafka, with a record.
fn recorded() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |input: &str, reset: Value, look: RecordView, change: &dyn Fn(&mut Observation)| {
        let mut seen = with(look, &[7, 8]);
        change(&mut seen);
        rows.push(row(input, &pipeline(reset, known()), &seen));
    };
    let stand = |offsets: &'static [i64]| move |s: &mut Observation| s.committed = Observed::Read(committed(offsets));
    let doubt = || record(PlanState::InDoubt { since: now().mono.checked_sub(timing().doubt()).unwrap() });
    let closed = |phase: RecordPhase, reason: Reason, message: &str| {
        let mut look = record(PlanState::Closed);
        let status = OffsetResetRecordStatus::new(phase, reason, now().wall);
        look.object.status = Some(OffsetResetRecordStatus { attempt: 1, message: message.to_owned(), ..status });
        look
    };
    let as_is = |_: &mut Observation| {};
    add("written, and everything as planned", earliest(), record(unsent(1)), &as_is);
    add("written, and the send window passes", earliest(), record(unsent(6)), &as_is);
    add("written, and then a member joins", earliest(), record(unsent(1)), &|s| s.activity = Observed::Read(active()));
    add("written, and then an offset moves", earliest(), record(unsent(1)), &stand(&[7, 9]));
    add("written, and then a topic is made anew", earliest(), record(unsent(1)), &|s| {
        let partitions = BTreeMap::from([(0, true), (1, true)]);
        s.topics = Observed::Read(BTreeMap::from([("t".to_owned(), Some(Topic { id: "another".to_owned(), partitions }))]));
    });
    let mut skewed = record(unsent(1));
    skewed.object.spec.created_at = "2026-01-01T11:50:00Z".parse().unwrap();
    add("written with a clock ten minutes off", earliest(), skewed, &as_is);
    add(
        "the API server dropped a field of the record",
        earliest(),
        record(PlanState::OursUnsent { loaded_at: now().mono, intact: false, dead: false }),
        &as_is,
    );
    add("sent, and read back", earliest(), record(sent(&[], 1, 1)), &stand(&[0, 0]));
    add("sent, and something else moved a partition", earliest(), record(sent(&[], 1, 1)), &stand(&[0, 3]));
    add("sent, and an open transaction holds an offset", earliest(), record(sent(&[], 1, 1)), &|s| {
        s.committed = Observed::Read(BTreeMap::from([(at(0), Commit { offset: 7, pending: true, ..Commit::default() })]));
    });
    for (code, what) in [
        (25, "a member joined"),
        (29, "no right on the topic"),
        (30, "no right on the group"),
        (3, "no such partition"),
        (87, "another code"),
    ] {
        add(&format!("refused on all partitions, code {code} ({what})"), earliest(), record(sent(&[(0, code), (1, code)], 1, 1)), &as_is);
    }
    add("refused on one partition, three times", earliest(), record(sent(&[(1, 29)], 1, 3)), &stand(&[0, 8]));
    let lost = |seconds: u64| {
        let ended = now().mono.checked_sub(Duration::from_secs(seconds)).unwrap();
        record(PlanState::OursSent {
            loaded_at: ended,
            tries: 1,
            answer: SendOutcome::Unanswered { ended, cause: Cause::new(Reason::OutcomeUnknown, "no answer from b:9092") },
        })
    };
    add("sent, no answer, a second ago", earliest(), lost(1), &as_is);
    add("another process wrote the plan and died, a second ago", earliest(), record(PlanState::InDoubt { since: now().mono }), &as_is);
    add("the same after the wait, everything at its target", earliest(), doubt(), &stand(&[0, 0]));
    add("the same after the wait, everything as before", earliest(), doubt(), &stand(&[7, 8]));
    add("the same after the wait, one partition elsewhere", earliest(), doubt(), &stand(&[0, 9]));
    let mut edited = earliest();
    edited["to"] = json!({ "position": "Latest" });
    add(
        "`to` edited after it was verified, the same id",
        edited,
        closed(RecordPhase::Verified, Reason::ResetVerified, "2 of 2 partitions read back as planned"),
        &as_is,
    );
    let retry = json!({ "id": "r1", "to": { "position": "Earliest" }, "onUnknownOutcome": "Retry" });
    let held = || {
        let mut held = closed(RecordPhase::Held, Reason::OutcomeUnknown, "it is not known whether the reset was sent");
        let digest = held.object.spec.plan.as_ref().map(|plan| plan.digest());
        held.object.status.iter_mut().for_each(|status| status.plan_digest.clone_from(&digest));
        held
    };
    add("held, `onUnknownOutcome: Retry`, and a partition elsewhere", retry.clone(), held(), &stand(&[0, 9]));
    add("held, `onUnknownOutcome: Retry`, and a member", retry, held(), &|s| s.activity = Observed::Read(active()));
    let mut dry = record(PlanState::Closed);
    dry.object.spec.request.dry_run = Some(true);
    add("`dryRun: true`", json!({ "id": "r1", "to": { "position": "Earliest" }, "dryRun": true }), dry, &as_is);
    let of_another = |mut look: RecordView| {
        look.object.spec.pipeline.uid = "older".to_owned();
        look
    };
    add(
        "an earlier object of this name had this id verified",
        earliest(),
        of_another(closed(RecordPhase::Verified, Reason::ResetVerified, "")),
        &as_is,
    );
    add(
        "an earlier object of this name gave this id up",
        earliest(),
        of_another(closed(RecordPhase::Abandoned, Reason::NoLongerRequested, "")),
        &as_is,
    );
    let mut copied = record(PlanState::InDoubt { since: now().mono });
    copied.object.spec.created_at = "2025-12-01T00:00:00Z".parse().unwrap();
    add("the record came from a backup", earliest(), copied, &as_is);
    let mut of_next = closed(RecordPhase::OfAnotherVersion, Reason::OfAnotherVersion, "mirrored to the second site");
    of_next.object.spec.run_state_before = None;
    add("the record was closed by another version, with a phase of its own", earliest(), of_next, &as_is);
    // The principal is known where it logs in with a name.
    let known_to_be = |name: &'static str| move |s: &mut Observation| s.principal = Some(name.to_owned());
    add(
        "refused on all partitions, code 29, logged in by a password",
        earliest(),
        record(sent(&[(0, 29), (1, 29)], 1, 1)),
        &known_to_be("alice"),
    );
    rows
}

fn ask_enos(start: bool) -> StreamPipeline {
    let mut object = json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline",
        "metadata": { "name": "p", "namespace": "n", "uid": "u", "generation": 2, "finalizers": ["streampipeline.io/bring-back"] },
        "spec": {
            "enos": { "endpoint": "https://gw", "orgID": "o1", "pipelineID": "id", "credentialsSecretRef": { "name": "app" } },
            "offsetReset": { "id": "r1", "whenActive": "Pause" }
        },
        "status": known()
    });
    if start {
        object["spec"]["enos"]["start"] = json!({ "executionMode": "Standalone", "kafkaRate": 1000 });
    }
    serde_json::from_value(object).unwrap()
}

/// On EnOS: stopped, sent, read after the next start.
fn on_enos() -> Vec<Row> {
    let place = || BackendIdentity::Enos { org_id: "o1".to_owned(), pipeline_id: "id".to_owned() };
    let object = ask_enos(true);
    let running = || Observed::Read(state(&RunStatus::Running));
    let paused = || Observed::Read(state(&RunStatus::Paused));
    let looked = |activity: Observed<Activity>, run_state: Observed<RunState>, record: Option<RecordView>| Observation {
        identity: Observed::Read(place()),
        activity,
        run_state,
        before: Observed::Read(RunStateBefore { running: true, ..RunStateBefore::default() }),
        committed: Observed::Read(Committed::new()),
        topics: Observed::Read(BTreeMap::new()),
        record: Observed::Read(record),
        conflicting_records: Observed::Read(vec![]),
        wanted: Observed::Read(true),
        needing_resume: Observed::Read(vec![]),
        ..Observation::default()
    };
    let planned = || {
        let decision = decide(
            &Desired::of(&object, crate::facts_of, now().wall).unwrap(),
            &PriorStatus::of(&object),
            &looked(paused(), Observed::Read(RunState::Stopped), None),
            &timing(),
            now(),
        );
        let Some(Step::WriteAhead { plan, deadline, .. }) = decision.step else { panic!("the call is planned") };
        (plan, deadline)
    };
    let record = |state: PlanState| {
        let (plan, deadline) = planned();
        let mut record = bare_record(&plan, deadline);
        record.spec.request = object.spec.offset_reset.clone().unwrap();
        record.spec.backend = place();
        record.spec.run_state_before = Some(RunStateBefore { running: true, ..RunStateBefore::default() });
        if matches!(state, PlanState::Absent) {
            (record.spec.plan, record.spec.writer) = (None, None);
        }
        RecordView::new(record, state, RunStateCalls { first_seen: Some(*BEGINNING), ..RunStateCalls::default() })
    };
    let closed = |phase: RecordPhase, reason: Reason, brought_back: bool| {
        let mut look = record(PlanState::Closed);
        let status = OffsetResetRecordStatus { attempt: 1, ..OffsetResetRecordStatus::new(phase, reason, now().wall) };
        look.object.status = Some(OffsetResetRecordStatus {
            brought_back_at: brought_back.then(|| now().wall),
            message: "as the record says".to_owned(),
            ..status
        });
        look
    };
    let up = || Observed::Read(RunState::Running);
    let down = || Observed::Read(RunState::Stopped);
    let mut rows = Vec::new();
    let mut waits = object.clone();
    waits.spec.offset_reset.as_mut().unwrap().when_active = None;
    rows.push(row("EnOS: it runs", &waits, &looked(running(), up(), None)));
    let mut add = |input: &str, seen: &Observation| rows.push(row(&format!("EnOS: {input}"), &object, seen));
    add("it runs, `whenActive: Pause`", &looked(running(), up(), None));
    let absent = || record(PlanState::Absent);
    add("it is being paused", &looked(running(), up(), Some(absent())));
    let failing = |mut look: RecordView, start: bool| {
        let failure = Some(if start { said("start", 61165) } else { said("pause", 61152) });
        let switch = Some(RunStateCall { last: now().mono, tries: 1, under_way: false, failure });
        if start {
            look.calls.start = switch;
        } else {
            look.calls.stop = switch;
        }
        look
    };
    add("it is being paused, and the platform refuses", &looked(running(), up(), Some(failing(absent(), false))));
    let mut started = absent();
    started.calls.was_down = true;
    add("somebody starts it while it is paused for the reset", &looked(running(), up(), Some(started)));
    let mut late = absent();
    late.object.spec.deadline = now().wall;
    add("it does not pause before the deadline", &looked(running(), up(), Some(late)));
    for status in [RunStatus::Published, RunStatus::RunError, RunStatus::Other("STARTING".to_owned())] {
        add(&format!("its state is {status:?}"), &looked(Observed::Read(state(&status)), Observed::Unread, None));
    }
    let answered = |answer: SendOutcome| record(PlanState::OursSent { loaded_at: now().mono, tries: 1, answer });
    let accepted = || answered(SendOutcome::Answered { refused: BTreeMap::new() });
    add("accepted while it is paused", &looked(paused(), down(), Some(accepted())));
    add("accepted, and right after it runs", &looked(running(), up(), Some(accepted())));
    for code in [61168, 99000] {
        add(&format!("answered with {code}"), &looked(paused(), down(), Some(answered(SendOutcome::Ambiguous(said("reset", code))))));
    }
    let mut unpaused = answered(SendOutcome::NotApplied(said("reset", 61108)));
    unpaused.object.spec.run_state_before = None;
    add("answered with 61108", &looked(paused(), down(), Some(unpaused)));
    add("it is being started again", &looked(paused(), down(), Some(closed(RecordPhase::Sent, Reason::NoReadBackWhilePaused, false))));
    add(
        "it is being started again, and the platform refuses",
        &looked(paused(), down(), Some(failing(closed(RecordPhase::Sent, Reason::NoReadBackWhilePaused, false), true))),
    );
    let compared = |before: Option<(i64, i64)>, after: (i64, i64)| {
        let mut look = closed(RecordPhase::Sent, Reason::NoReadBackWhilePaused, true);
        let call = look.object.spec.plan.as_mut().unwrap().call.as_mut().unwrap();
        call.before = before.map(|(offset, lag)| LagSample { offset, lag, at: "2026-01-01T11:59:00Z".parse().unwrap() });
        call.before_was_read_while_inactive = true;
        look.calls.running = Some((now(), None));
        let reading = Some(LagSample { offset: after.0, lag: after.1, at: "2026-01-01T12:00:01Z".parse().unwrap() });
        Observation { reading, ..looked(running(), up(), Some(look)) }
    };
    add("it runs again, further back than before", &compared(Some((500, 10)), (20, 490)));
    add("it runs again, from where it was", &compared(Some((500, 1000)), (600, 900)));
    add("it runs again, and the readings fit both", &compared(Some((500, 10)), (510, 0)));
    let named = crate::backend::enos::ambiguous("cleaning", "o1", &["a", "b", "c"]);
    add(
        "its name is not unique",
        &Observation { identity: Observed::Unreadable(named), ..looked(Observed::Unread, Observed::Unread, None) },
    );
    let mut overtaken = crate::fixtures::record(PlanState::Closed);
    overtaken.object.status = Some(OffsetResetRecordStatus {
        attempt: 1,
        message: "the log start overtook the target of 1 partition before the pipeline was started again: t-0 (0 < 5). There its consumer goes where its auto.offset.reset says. Nothing is written again by itself. 2 of 2 partitions read back as planned".to_owned(),
        ..OffsetResetRecordStatus::new(RecordPhase::Verified, Reason::BelowLogStart, now().wall)
    });
    rows.push(row("retention overtook a target before the start", &pipeline(earliest(), known()), &with(overtaken, &[0, 0])));
    rows
}

/// Where else a reason is met: another condition, an event, a record.
struct Elsewhere(&'static str, &'static str, Reason, String);

fn elsewhere() -> Vec<Elsewhere> {
    let mut rows = Vec::new();
    let desired = |object: &StreamPipeline| Desired::of(object, crate::facts_of, now().wall).unwrap();
    let condition = |object: &StreamPipeline, seen: &Observation, kind: &str| {
        let mut told = StatusInputs::default();
        told.note(seen, &desired(object).facts, now().wall);
        let decision = decide(&desired(object), &PriorStatus::of(object), seen, &timing(), now());
        let status = status_of(object, &desired(object), &decision.report, &told, timing().pause_warning, now().wall);
        let found = status.into_iter().flat_map(|s| s.conditions).find(|c| c.type_ == kind).unwrap_or_else(|| panic!("{decision:?}"));
        (Reason::iter().find(|reason| reason.as_str() == found.reason).unwrap(), found.message)
    };
    let mut add = |input, at, (reason, message)| rows.push(Elsewhere(input, at, reason, message));
    let group = pipeline(Value::Null, known());
    add("the group is Empty", "condition `PipelineInactive=True`", condition(&group, &ready(), "PipelineInactive"));
    add("the brokers answer", "condition `BackendReachable=True`", condition(&group, &ready(), "BackendReachable"));
    let place = BackendIdentity::Enos { org_id: "o1".to_owned(), pipeline_id: "id".to_owned() };
    let paused = Observation {
        identity: Observed::Read(place.clone()),
        activity: Observed::Read(state(&RunStatus::Paused)),
        committed: Observed::Read(Committed::new()),
        record: Observed::Read(None),
        ..Observation::default()
    };
    let mut idle = ask_enos(true);
    idle.spec.offset_reset = None;
    add("EnOS: the pipeline is paused", "condition `PipelineInactive=True`", condition(&idle, &paused, "PipelineInactive"));
    // Kept since the day before.
    let mut held = crate::fixtures::record(PlanState::Closed);
    held.object.spec.backend = place;
    held.object.spec.created_at = "2025-12-31T20:00:00Z".parse().unwrap();
    held.object.spec.run_state_before = Some(RunStateBefore { running: true, ..RunStateBefore::default() });
    held.object.status = Some(OffsetResetRecordStatus { attempt: 1, ..closing(&held, RecordPhase::Held, Reason::OutcomeUnknown, 1) });
    let seen = Observation { record: Observed::Read(Some(held.clone())), run_state: Observed::Read(RunState::Stopped), ..paused.clone() };
    add("EnOS: held for 16 h", "condition `PauseLimitNear=True`", condition(&ask_enos(true), &seen, "PauseLimitNear"));
    let mut deleted = pipeline(Value::Null, known());
    deleted.metadata.finalizers = Some(vec![stream_pipeline_api::FINALIZER.to_owned()]);
    deleted.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time("2026-01-01T11:00:00Z".parse().unwrap()));
    let mut stopped = crate::fixtures::record(PlanState::Closed);
    let worker = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "worker", "replicas": 2 });
    let workloads = vec![serde_json::from_value(worker).unwrap()];
    stopped.object.spec.run_state_before = Some(RunStateBefore { running: true, workloads, ..RunStateBefore::default() });
    stopped.object.status = Some(closing(&stopped, RecordPhase::Held, Reason::OutcomeUnknown, 1));
    let refused =
        crate::kubernetes::workloads::messages().into_iter().find(|(_, cause)| cause.reason == Reason::PermissionMissing).unwrap().1;
    let seen = Observation {
        superseded: Some(SupersededRecord {
            record: stopped,
            committed: Observed::Unread,
            activity: Observed::Unread,
            run_state: Observed::Unreadable(refused),
        }),
        needing_resume: Observed::Read(vec!["p-1".to_owned()]),
        ..Observation::default()
    };
    let decision = decide(&desired(&deleted), &PriorStatus::of(&deleted), &seen, &timing(), now());
    let Report::LeftPaused(left) = decision.report else { panic!("{decision:?}") };
    add("deleted, and its workload could not be scaled back in time", "a Warning event", (left.reason, left.message));
    let withdrawn = Observation {
        superseded: Some(SupersededRecord {
            record: crate::fixtures::record(PlanState::Absent),
            committed: Observed::Unread,
            activity: Observed::Unread,
            run_state: Observed::Unread,
        }),
        ..Observation::default()
    };
    let decision = decide(&desired(&group), &PriorStatus::of(&group), &withdrawn, &timing(), now());
    let Some(Step::Close(status)) = decision.step else { panic!("{decision:?}") };
    add("the request is withdrawn before anything is sent", "the record's status", (status.reason, status.message));
    let error = "missing field `bootstrapServers`";
    add("an object that does not decode", "condition `Ready=False`", (Reason::InvalidObject, crate::unreadable::unreadable(error)));
    rows
}

fn page(rows: &[Row], passed_on: &[Row], elsewhere: &[Elsewhere]) -> String {
    let mut text = String::from(
        "# Messages\n\n<!-- Generated by `make generate` from src/messages, by the operator's own code. -->\n\n\
         What the condition `Ready` (and the event) says, and what leads to it; the same words stand in `status.offsetReset.error.message`.\n\
         The group is `g` with topic `t`, of two partitions, logs 0 to 10, committed 7 and 8; it is 2026-01-01T12:00:00Z.\n",
    );
    let told = |message: &str| message.replace('|', "\\|");
    for (title, rows) in [("What the operator says", rows), ("What it says of others", passed_on)] {
        let _ = writeln!(text, "\n## {title}\n\n| what leads to it | RESET | reason | message |\n| --- | --- | --- | --- |");
        for Row(input, stage, reason, message) in rows {
            let _ = writeln!(text, "| {input} | {stage} | `{reason}` | {} |", told(message));
        }
    }
    text.push_str("\n## Elsewhere\n\n| what leads to it | where it stands | reason | message |\n| --- | --- | --- | --- |\n");
    for Elsewhere(input, at, reason, message) in elsewhere {
        let _ = writeln!(text, "| {input} | {at} | `{reason}` | {} |", told(message));
    }
    text
}

fn all() -> (Vec<Row>, Vec<Row>, Vec<Elsewhere>) {
    let rows = waiting().into_iter().chain(recorded()).chain(on_enos()).collect();
    let others = crate::backend::kafka::messages().into_iter().chain(crate::backend::enos::messages());
    let others = others
        .chain(crate::kubernetes::secrets::messages())
        .chain(crate::kubernetes::workloads::messages())
        .chain(crate::kubernetes::refusal::messages());
    (rows, others.map(|(input, cause)| passed_on(input, &cause)).collect(), elsewhere())
}

#[test]
fn d8_every_message_is_on_one_page_with_what_leads_to_it() {
    let (rows, others, elsewhere) = all();
    let page = page(&rows, &others, &elsewhere);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(FILE, &page).expect("it can be written");
    }
    let told = rows.iter().chain(&others).map(|row| row.2).chain(elsewhere.iter().map(|row| row.2)).collect::<Vec<_>>();
    let missing: Vec<_> = Reason::iter().filter(|reason| !told.contains(reason)).collect();
    assert!(missing.is_empty(), "no row for {missing:?}: add what leads to it");
    let written = std::fs::read_to_string(FILE).unwrap_or_default();
    let differs = written.lines().zip(page.lines()).find(|(a, b)| a != b);
    assert!(written == page, "docs/messages.md is out of date (`make generate`): {differs:?}");
}

/// What is done or under way: nothing is to be done about it.
const NOTHING_TO_DO: [Reason; 11] = [
    Reason::NoLongerRequested,
    Reason::NothingRequested,
    Reason::PlanRecorded,
    Reason::Sent,
    Reason::ResetVerified,
    Reason::Pausing,
    Reason::BringingBack,
    Reason::QuietPeriod,
    Reason::GroupInactive,
    Reason::PipelineInactive,
    Reason::Reachable,
];

/// Each kind of advice in the words that give it, and the test that does it to the letter; none where a person is to look, or to ask
/// somebody, and where there is nothing to do but to wait.
const ADVICE: &[(&str, Option<&str>)] = &[
    ("new id", Some("d1_a_new_id_runs_wherever_a_message_says_that_it_does")),
    ("or remove spec.offsetReset", Some("o19_held_stays_at_0_over_a_restart_and_is_scaled_back_when_the_id_is_removed")),
    ("set onUnknownOutcome: Retry", Some("o19_retry_sends_the_same_plan_once_and_scales_back")),
    ("Set dryRun: false", Some("d1_each_setting_that_a_message_names_runs_the_request")),
    ("Set outOfRange: Clamp", Some("d1_each_setting_that_a_message_names_runs_the_request")),
    ("whenCreated: Run", Some("d1_each_way_out_of_a_skipped_request_runs_it")),
    ("kafka-acls --add", Some("d1_the_commands_that_grant_a_missing_right_run_as_they_stand")),
    ("User:<principal>", Some("d1_a_principal_that_the_operator_cannot_know_is_told_with_where_to_find_it")),
    ("kafka-transactions", Some("d1_a_transaction_that_is_left_over_is_found_and_ended_as_the_message_says")),
    ("kafka-consumer-groups", Some("d1_every_command_on_the_page_of_messages_runs_as_it_stands")),
    ("kafka-configs --describe", Some("d1_every_command_on_the_page_of_messages_runs_as_it_stands")),
    ("kubectl get osr", Some("d1_every_command_on_the_page_of_messages_runs_as_it_stands")),
    ("create it, and the operator goes on", Some("d1_the_secret_and_the_keys_that_a_message_names_are_added_until_it_works")),
    ("add it, and the operator goes on", Some("d1_the_secret_and_the_keys_that_a_message_names_are_added_until_it_works")),
    ("--allowed-endpoints", Some("d1_the_flag_that_a_message_names_lets_the_operator_through")),
    ("--allow-plain-http", Some("f14_plain_http_is_refused_unless_the_operator_allows_it")),
    ("once the older is gone", Some("d1_the_object_that_a_message_names_is_the_one_that_is_in_the_way")),
    ("delete and create this object", Some("f13_another_cluster_behind_the_same_address_gets_nothing_until_the_object_is_made_anew")),
    (
        "delete the StreamPipeline and create it anew",
        Some("k27_share_and_streams_groups_are_refused_and_a_classic_streams_group_needs_topics"),
    ),
    ("in a new object", Some("d1_what_is_to_be_corrected_in_a_new_object_runs_in_one")),
    ("chart's value `workloads`", Some("d1_the_value_of_the_chart_that_a_message_names_gives_the_right")),
    ("chart's ClusterRole", Some("d8_what_the_api_server_refuses_is_logged_in_words_with_what_to_do")),
    ("autoscaling.keda.sh/paused", Some("d1_a_scaler_is_paused_by_the_annotation_that_the_message_names")),
    ("Remove it, or use Wait", Some("a05_a_horizontal_pod_autoscaler_is_named_and_nothing_is_scaled")),
    ("correct spec.kafka.workloads", Some("a_workload_that_is_not_there_is_told_and_corrected_in_the_spec")),
    ("scale it by hand", Some("d1_what_is_left_stopped_is_scaled_by_hand_as_the_message_says")),
    ("are older than the operator; upgrade them", Some("o29_an_operator_on_older_definitions_takes_no_step_and_says_how_to_upgrade_them")),
    ("Stop them; the reset starts by itself", Some("a01_a_classic_member_is_waited_for_and_named")),
    ("Stop it; the reset starts by itself", Some("a06_an_assign_consumer_that_was_never_a_member_counts_as_active")),
    (
        "Pause or stop it; the reset starts by itself",
        Some("e02_a12_running_with_wait_is_named_left_alone_and_reset_when_somebody_pauses_it"),
    ),
    ("Start and stop it", None),
    ("Start it: its lag is then compared", None),
    ("Correct the clock", None),
    ("Check spec.kafka", Some("f04_tls_that_is_refused_is_named_at_once_and_put_right")),
    ("check spec.kafka", Some("f04_who_hangs_up_or_is_not_there_is_named_and_put_right")),
    ("Check bootstrapServers", Some("f04_who_hangs_up_or_is_not_there_is_named_and_put_right")),
    ("Check the port in bootstrapServers", Some("f04_who_hangs_up_or_is_not_there_is_named_and_put_right")),
    ("Check whether the port", Some("f04_tls_that_is_refused_is_named_at_once_and_put_right")),
    ("check advertised.listeners", None),
    ("see what answers at", None),
    ("Check the certificate in", Some("f04_tls_that_is_refused_is_named_at_once_and_put_right")),
    ("Check the broker's certificate", None),
    ("Check username and password", Some("f04_a_log_in_that_is_refused_is_named_at_once_and_put_right")),
    ("Check firewalls", None),
    ("Check the quotas", Some("f20_a_quota_that_throttles_is_said_and_a_reset_goes_through_it")),
    ("Correct accessKey", Some("f05_an_unknown_access_key_is_named_and_picked_up")),
    ("Correct secretKey", Some("f05_a_wrong_secret_key_is_named_and_picked_up")),
    ("It needs accessKey and secretKey", Some("f05_an_empty_value_is_named_and_picked_up")),
    ("Correct spec.enos.start", None),
    ("Check spec.enos", Some("e13_what_somebody_new_gets_wrong_is_told_with_what_to_do")),
    ("Check that spec.enos.endpoint", Some("e13_what_somebody_new_gets_wrong_is_told_with_what_to_do")),
    ("spec.enos.ca", Some("e13_what_somebody_new_gets_wrong_is_told_with_what_to_do")),
    ("by itself", None),
    ("tried again", None),
    ("asked again", None),
    ("looked at again", None),
    ("is to be done", None),
    ("There is nothing to do", None),
    ("is asked again", None),
    ("Report it", None),
    ("Check that the pipeline belongs", None),
    ("Request the resource", None),
    ("See the text", None),
    ("Look whether a value", Some("f05_an_empty_value_is_named_and_picked_up")),
    ("Check the Secret", Some("f05_a_wrong_secret_key_is_named_and_picked_up")),
    ("Let the cluster's outgoing address in", None),
    ("Shorten spec.enos.start.resourceConfig", None),
    ("It has to be https://", None),
    ("Check the network and the gateway", None),
    ("Check accessKey and secretKey", Some("f05_a_wrong_secret_key_is_named_and_picked_up")),
    ("Authorize the application", None),
    ("ook at", None),
    ("ook into", None),
    ("Correct it", None),
];

/// D1: whoever reads it knows what to do; and what it tells to do a test does.
#[test]
fn d1_every_message_says_what_to_do_and_each_kind_of_advice_is_done_by_a_test() {
    let (rows, others, elsewhere) = all();
    let mut told: Vec<_> = rows.iter().chain(&others).map(|row| (row.2, row.3.as_str())).collect();
    told.extend(elsewhere.iter().map(|row| (row.2, row.3.as_str())));
    let silent: Vec<_> = told
        .iter()
        .filter(|(reason, text)| !NOTHING_TO_DO.contains(reason) && !ADVICE.iter().any(|(words, _)| text.contains(words)))
        .collect();
    assert!(silent.is_empty(), "what is to be done?\n{silent:#?}");
    let unused: Vec<_> =
        ADVICE.iter().map(|(words, _)| words).filter(|words| !told.iter().any(|(_, text)| text.contains(**words))).collect();
    assert!(unused.is_empty(), "no message says {unused:?}");
    let mut sources = String::new();
    let mut rooms = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it"))];
    while let Some(room) = rooms.pop() {
        for entry in std::fs::read_dir(room).expect("the tests are there").flatten() {
            match entry.path() {
                path if path.is_dir() => rooms.push(path),
                path => sources += &std::fs::read_to_string(path).expect("it can be read"),
            }
        }
    }
    let gone: Vec<_> = ADVICE.iter().filter_map(|(_, test)| *test).filter(|test| !sources.contains(&format!("async fn {test}("))).collect();
    assert!(gone.is_empty(), "no such test: {gone:?}");
}
