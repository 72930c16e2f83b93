//! Every message a person meets in a status, with what leads to it: written to `docs/messages.md`, so that they can be read one after
//! the other, and checked. `UPDATE=1` writes the file (`make generate` does).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use strum::IntoEnumIterator;

use super::*;
use crate::api::{LagReading, RunStateBefore};
use crate::backend::enos::{RunStatus, said, state};
use crate::domain::{RunState, Switch};
use crate::report::{Seen, status_of};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/messages.md");

/// Reasons that no row leads to, and why.
const ELSEWHERE: [(Reason, &str); 11] = [
    (Reason::AdmissionRefused, "what a policy or a webhook of the cluster says of a write, after what was written"),
    (Reason::OfAnotherVersion, "a record or a status that another version of the operator wrote"),
    (Reason::APIServerError, "what the API server says, after what was asked of it"),
    (Reason::InvalidObject, "an object that this version cannot read; written past the usual way"),
    (Reason::WorkloadNotFound, "what the API server says of a workload"),
    (Reason::GroupInactive, "only the reason of `PipelineInactive=True`"),
    (Reason::PipelineInactive, "only the reason of `PipelineInactive=True`"),
    (Reason::Reachable, "only the reason of `BackendReachable=True`"),
    (Reason::PauseLimitNear, "a condition of its own beside the request's"),
    (Reason::LeftPaused, "an event: the object is gone"),
    (Reason::NoLongerRequested, "only in the record: the object asks for something else by then"),
];

/// What leads to it, and what is told: RESET, reason, message.
struct Row(String, String, Reason, String);

fn row(input: &str, object: &StreamPipeline, seen: &Observation) -> Row {
    let desired = Desired::of(object, now().wall).unwrap();
    let decide = |seen: &Observation| decide(&desired, &Progress::of(object), seen, &timing(), now());
    let mut decision = decide(seen);
    // What is told once the record says it.
    if let (Some(Step::Close(status)), Reading::Read(Some(look))) = (&decision.step, &seen.record) {
        let mut look = RecordLook { state: PlanState::Closed, ..look.clone() };
        let brought_back_at = (status.phase != RecordPhase::Held).then(|| now().wall);
        look.object.status = Some(OffsetResetRecordStatus { brought_back_at, ..status.clone() });
        decision = decide(&Observation { record: Reading::Read(Some(look)), ..seen.clone() });
    }
    let status = status_of(object, &desired, &decision.verdict, &Seen::default(), timing().pause_warning, now().wall);
    let ready = status.iter().flat_map(|s| &s.conditions).find(|c| c.type_ == "Ready").unwrap_or_else(|| panic!("{input}: {decision:?}"));
    let reason = Reason::iter().find(|reason| reason.as_str() == ready.reason).unwrap();
    let stage = match &decision.verdict {
        Verdict::Request(ending) => format!("{:?}", ending.stage),
        _ => "–".to_owned(),
    };
    Row(input.to_owned(), stage, reason, ready.message.clone())
}

/// What a platform, a Secret or the API server says, as the status repeats it.
fn passed_on(input: String, cause: &Cause) -> Row {
    let seen = Observation { identity: Reading::Unreadable(cause.clone()), ..ready() };
    row(&input, &pipeline(earliest(), known()), &seen)
}

/// On Kafka, without a record.
fn waiting() -> Vec<Row> {
    let mut rows = Vec::new();
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
    let log = |start: i64, end: i64| Log { start, end, high_watermark: end, ..Log::default() };
    add("no `offsetReset`", Value::Null, known(), &as_is);
    add("everything is ready", earliest(), known(), &as_is);
    add("two members", earliest(), known(), &|s| s.activity = Reading::Read(active()));
    add("two members, `whenActive: Fail`", ask(json!({ "whenActive": "Fail" })), known(), &|s| s.activity = Reading::Read(active()));
    add("offsets move without a member", earliest(), known(), &|s| {
        s.quiet = Quiet { since: Some(Duration::ZERO), moved: Some(Duration::ZERO) };
    });
    add("Empty for a second", earliest(), known(), &|s| s.quiet.since = Some(Duration::from_secs(1)));
    add("an open transaction holds an offset", earliest(), known(), &|s| {
        s.committed = Reading::Read(BTreeMap::from([(at(0), Commit { offset: 7, pending: true, ..Commit::default() })]));
    });
    add("the record of another request of the group is open", earliest(), known(), &|s| {
        s.rivals = Reading::Read(vec!["n/other".to_owned()])
    });
    add("an older StreamPipeline names the group", earliest(), known(), &|s| s.elder = Some(Elder::Acts("n/older".to_owned())));
    add("an older StreamPipeline names the group, not looked at yet", earliest(), known(), &|s| {
        s.elder = Some(Elder::NotLookedAt("n/older".to_owned()))
    });
    add("another cluster than before", earliest(), json!({ "observedUID": "u", "clusterID": "d" }), &as_is);
    let late = json!({ "observedUID": "u", "acknowledgedID": "r1", "offsetReset": { "id": "r1", "stage": "Waiting", "acceptedAt": "2025-12-30T00:00:00Z" } });
    add("two members until `waitTimeout`", earliest(), late, &|s| s.activity = Reading::Read(active()));
    add("`expiresAt` has passed", ask(json!({ "expiresAt": "2026-01-01T00:00:00Z" })), known(), &as_is);
    add("the object is new", earliest(), Value::Null, &as_is);
    let ended =
        json!({ "observedUID": "u", "acknowledgedID": "r2", "endedIDs": ["r1"], "offsetReset": { "id": "r2", "stage": "Verified" } });
    add("an id from before the last one, its record pruned", earliest(), ended, &as_is);
    let sending = json!({ "observedUID": "u", "acknowledgedID": "r1", "offsetReset": { "id": "r1", "stage": "Sending" } });
    add("sent, by the status, and the record is gone", earliest(), sending, &as_is);
    add("`dryrun: true`", ask(json!({ "dryrun": true })), known(), &as_is);
    add("a time in the future", json!({ "id": "r1", "to": { "timestamp": "2027-01-01T00:00:00Z" } }), known(), &as_is);
    add("no such group", earliest(), known(), &|s| {
        let said = "consumer group g does not exist; nothing was sent. Correct spec.kafka.consumerGroup, or set missingGroup: Create with topics and a new id";
        s.activity = Reading::Read(Activity::Missing(Cause::new(Reason::PipelineNotFound, said)));
    });
    add("a share group", earliest(), known(), &|s| {
        let said = "g is a share group; only consumer groups (classic and KIP-848) can be reset. Nothing was sent";
        s.activity = Reading::Read(Activity::Unsupported(Cause::new(Reason::GroupTypeNotSupported, said)));
    });
    add("no committed offset at all", earliest(), known(), &|s| s.topics = Reading::Read(BTreeMap::new()));
    add("a group of Kafka Streams", earliest(), known(), &|s| {
        let topic = Topic { id: "x".to_owned(), partitions: BTreeMap::from([(0, true)]) };
        s.topics = Reading::Read(BTreeMap::from([("g-counts-changelog".to_owned(), Some(topic))]));
    });
    add("a topic that does not exist", earliest(), known(), &|s| s.topics = Reading::Read(BTreeMap::from([("t".to_owned(), None)])));
    add("`shiftBy: 100`, ten records in the log", json!({ "id": "r1", "to": { "shiftBy": 100 } }), known(), &as_is);
    add("`shiftBy`, and a partition without a commit", json!({ "id": "r1", "to": { "shiftBy": -1 } }), known(), &|s| {
        s.committed = Reading::Read(committed(&[7]));
    });
    let since = |policy: &str| json!({ "id": "r1", "to": { "timestamp": "2026-01-01T00:00:00Z" }, "noRecordAtTime": policy });
    add("no record since the time, `noRecordAtTime: Fail`", since("Fail"), known(), &as_is);
    add("no record since the time, `noRecordAtTime: Skip`", since("Skip"), known(), &as_is);
    add("a look-up by time that contradicts the newest record", since("Latest"), known(), &|s| {
        let log = Log { newest: Some(now().wall.as_millisecond()), ..log(0, 10) };
        s.log = Reading::Read(BTreeMap::from([(at(0), log), (at(1), log)]));
    });
    add("30,000 partitions, each with other numbers", earliest(), known(), &|s| {
        let partitions = (0..30_000).map(|p| (p, true)).collect();
        let far = |p: i32| 1_000_000_000_000 + i64::from(p) * 7_919;
        s.topics = Reading::Read(BTreeMap::from([("t".to_owned(), Some(Topic { id: "x".to_owned(), partitions }))]));
        s.committed = Reading::Read((0..30_000).map(|p| (at(p), Commit { offset: far(p), ..Commit::default() })).collect());
        s.log = Reading::Read((0..30_000).map(|p| (at(p), log(far(p) - 1000, far(p) + 1000))).collect());
    });
    rows
}

/// On Kafka, with a record.
fn recorded() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |input: &str, reset: Value, look: RecordLook, change: &dyn Fn(&mut Observation)| {
        let mut seen = with(look, &[7, 8]);
        change(&mut seen);
        rows.push(row(input, &pipeline(reset, known()), &seen));
    };
    let stand = |offsets: &'static [i64]| move |s: &mut Observation| s.committed = Reading::Read(committed(offsets));
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
    add("written, and then a member joins", earliest(), record(unsent(1)), &|s| s.activity = Reading::Read(active()));
    add("written, and then an offset moves", earliest(), record(unsent(1)), &stand(&[7, 9]));
    add("written, and then a topic is made anew", earliest(), record(unsent(1)), &|s| {
        let partitions = BTreeMap::from([(0, true), (1, true)]);
        s.topics = Reading::Read(BTreeMap::from([("t".to_owned(), Some(Topic { id: "another".to_owned(), partitions }))]));
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
        s.committed = Reading::Read(BTreeMap::from([(at(0), Commit { offset: 7, pending: true, ..Commit::default() })]));
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
            answer: Answer::None { ended, cause: Cause::new(Reason::OutcomeUnknown, "no answer from b:9092") },
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
    add("held, `onUnknownOutcome: Retry`, and a member", retry, held(), &|s| s.activity = Reading::Read(active()));
    let mut dry = record(PlanState::Closed);
    dry.object.spec.request.dry_run = Some(true);
    add("`dryRun: true`", json!({ "id": "r1", "to": { "position": "Earliest" }, "dryRun": true }), dry, &as_is);
    let of_another = |mut look: RecordLook| {
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
    add(
        "the record came from a backup",
        earliest(),
        closed(
            RecordPhase::Abandoned,
            Reason::Restored,
            "this record was restored from a backup, not made here: nothing is sent from it. A new id asks again",
        ),
        &as_is,
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
    let running = || Reading::Read(state(&RunStatus::Running));
    let paused = || Reading::Read(state(&RunStatus::Paused));
    let looked = |activity: Reading<Activity>, run_state: Reading<RunState>, record: Option<RecordLook>| Observation {
        identity: Reading::Read(place()),
        activity,
        run_state,
        before: Reading::Read(RunStateBefore { running: true, ..RunStateBefore::default() }),
        committed: Reading::Read(Committed::new()),
        topics: Reading::Read(BTreeMap::new()),
        record: Reading::Read(record),
        rivals: Reading::Read(vec![]),
        wanted: Reading::Read(true),
        owing: Reading::Read(vec![]),
        ..Observation::default()
    };
    let planned = || {
        let decision = decide(
            &Desired::of(&object, now().wall).unwrap(),
            &Progress::of(&object),
            &looked(paused(), Reading::Read(RunState::Down), None),
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
        RecordLook { object: record, state, switches: Switches { first_seen: Some(*BEGINNING), ..Switches::default() } }
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
    let up = || Reading::Read(RunState::Up);
    let down = || Reading::Read(RunState::Down);
    let mut rows = Vec::new();
    let mut waits = object.clone();
    waits.spec.offset_reset.as_mut().unwrap().when_active = None;
    rows.push(row("EnOS: it runs", &waits, &looked(running(), up(), None)));
    let mut add = |input: &str, seen: &Observation| rows.push(row(&format!("EnOS: {input}"), &object, seen));
    add("it runs, `whenActive: Pause`", &looked(running(), up(), None));
    let absent = || record(PlanState::Absent);
    add("it is being paused", &looked(running(), up(), Some(absent())));
    let failing = |mut look: RecordLook, start: bool| {
        let failure = Some(if start { said("start", 61165) } else { said("pause", 61152) });
        let switch = Some(Switch { last: now().mono, tries: 1, under_way: false, failure });
        if start {
            look.switches.start = switch;
        } else {
            look.switches.stop = switch;
        }
        look
    };
    add("it is being paused, and the platform refuses", &looked(running(), up(), Some(failing(absent(), false))));
    let mut started = absent();
    started.switches.was_down = true;
    add("somebody starts it while it is paused for the reset", &looked(running(), up(), Some(started)));
    let mut late = absent();
    late.object.spec.deadline = now().wall;
    add("it does not pause before the deadline", &looked(running(), up(), Some(late)));
    let scaled = Cause::new(Reason::AutoscalerActive, "HorizontalPodAutoscaler n/worker scales Deployment worker");
    add("an autoscaler is in the way", &Observation { before: Reading::Unreadable(scaled), ..looked(running(), up(), None) });
    for status in [RunStatus::Published, RunStatus::RunError, RunStatus::Other("STARTING".to_owned())] {
        add(&format!("its state is {status:?}"), &looked(Reading::Read(state(&status)), Reading::Unread, None));
    }
    let answered = |answer: Answer| record(PlanState::OursSent { loaded_at: now().mono, tries: 1, answer });
    let accepted = || answered(Answer::Definite { refused: BTreeMap::new() });
    add("accepted while it is paused", &looked(paused(), down(), Some(accepted())));
    add("accepted, and right after it runs", &looked(running(), up(), Some(accepted())));
    for code in [61168, 99000] {
        add(&format!("answered with {code}"), &looked(paused(), down(), Some(answered(Answer::Unclear(said("reset", code))))));
    }
    let mut unpaused = answered(Answer::NotDone(said("reset", 61108)));
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
        call.before = before.map(|(offset, lag)| LagReading { offset, lag, at: "2026-01-01T11:59:00Z".parse().unwrap() });
        call.before_was_read_while_inactive = true;
        look.switches.running = Some((now(), None));
        let reading = Some(LagReading { offset: after.0, lag: after.1, at: "2026-01-01T12:00:01Z".parse().unwrap() });
        Observation { reading, ..looked(running(), up(), Some(look)) }
    };
    add("it runs again, further back than before", &compared(Some((500, 10)), (20, 490)));
    add("it runs again, from where it was", &compared(Some((500, 1000)), (600, 900)));
    add("it runs again, and the readings fit both", &compared(Some((500, 10)), (510, 0)));
    let named = Cause::new(
        Reason::PipelineNameAmbiguous,
        "3 pipelines of organization o1 are named cleaning: a, b, c. Name one by spec.enos.pipelineID, in a new object",
    );
    add("its name is not unique", &Observation { identity: Reading::Unreadable(named), ..looked(Reading::Unread, Reading::Unread, None) });
    let mut overtaken = super::record(PlanState::Closed);
    overtaken.object.status = Some(OffsetResetRecordStatus {
        attempt: 1,
        message: "the log start overtook the target of 1 partition before the pipeline was started again: t-0 (0 < 5). There its consumer goes where its auto.offset.reset says. Nothing is written again by itself. 2 of 2 partitions read back as planned".to_owned(),
        ..OffsetResetRecordStatus::new(RecordPhase::Verified, Reason::BelowLogStart, now().wall)
    });
    rows.push(row("retention overtook a target before the start", &pipeline(earliest(), known()), &with(overtaken, &[0, 0])));
    rows
}

fn page(rows: &[Row], passed_on: &[Row]) -> String {
    let mut text = String::from(
        "# Messages\n\n<!-- Generated by `make generate` from src/decide/tests/messages.rs, by the operator's own code. -->\n\n\
         What the condition `Ready` (and the event) says, and what leads to it; the same words stand in `status.offsetReset.error.message`.\n\
         The group is `g` with topic `t`, of two partitions, logs 0 to 10, committed 7 and 8; it is 2026-01-01T12:00:00Z.\n",
    );
    for (title, rows) in [("What the operator says", rows), ("What it says of others", passed_on)] {
        let _ = writeln!(text, "\n## {title}\n\n| what leads to it | RESET | reason | message |\n| --- | --- | --- | --- |");
        for Row(input, stage, reason, message) in rows {
            let _ = writeln!(text, "| {input} | {stage} | `{reason}` | {} |", message.replace('|', "\\|"));
        }
    }
    text.push_str("\n## Not here\n\n| reason | where it is met |\n| --- | --- |\n");
    for (reason, why) in ELSEWHERE {
        let _ = writeln!(text, "| `{reason}` | {why} |");
    }
    text
}

#[test]
fn d8_every_message_is_on_one_page_with_what_leads_to_it() {
    let rows: Vec<_> = waiting().into_iter().chain(recorded()).chain(on_enos()).collect();
    let others = crate::backend::kafka::messages().into_iter().chain(crate::backend::enos::messages());
    let others: Vec<_> = others.chain(crate::secrets::messages()).map(|(input, cause)| passed_on(input, &cause)).collect();
    let page = page(&rows, &others);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(FILE, &page).expect("it can be written");
    }
    let told = |reason: &Reason| rows.iter().chain(&others).any(|row| row.2 == *reason);
    let elsewhere = |reason: &Reason| ELSEWHERE.iter().any(|(other, _)| other == reason);
    let missing: Vec<_> = Reason::iter().filter(|reason| !told(reason) && !elsewhere(reason)).collect();
    assert!(missing.is_empty(), "no input leads to {missing:?}: add one, or say in ELSEWHERE where it is met");
    let twice: Vec<_> = Reason::iter().filter(|reason| told(reason) && elsewhere(reason)).collect();
    assert!(twice.is_empty(), "ELSEWHERE is out of date: {twice:?}");
    let written = std::fs::read_to_string(FILE).unwrap_or_default();
    let differs = written.lines().zip(page.lines()).find(|(a, b)| a != b);
    assert!(written == page, "docs/messages.md is out of date (`make generate`): {differs:?}");
}
