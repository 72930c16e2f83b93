//! Messages on Kafka: without a record, and with one.

use super::*;

/// On Kafka, without a record.
pub(super) fn waiting() -> Vec<Row> {
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
    add(
        "`consumerGroup: other`, and a partition that it lacks",
        json!({ "id": "r1", "to": { "consumerGroup": "other" } }),
        known(),
        &|s| {
            s.other_group = Observed::Read(stream_pipeline_core::OtherGroup { committed: committed(&[7]), active: None });
        },
    );
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
pub(super) fn recorded() -> Vec<Row> {
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
    // The principal is known where the client logs in with a name.
    let known_to_be = |name: &'static str| move |s: &mut Observation| s.principal = Some(name.to_owned());
    add(
        "refused on all partitions, code 29, logged in by a password",
        earliest(),
        record(sent(&[(0, 29), (1, 29)], 1, 1)),
        &known_to_be("alice"),
    );
    rows
}
