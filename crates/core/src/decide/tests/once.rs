//! One request, one plan, one place: whatever answers, and whatever somebody or another version has written meanwhile.

use super::*;

fn retry() -> Value {
    json!({ "id": "r1", "to": { "position": "Earliest" }, "onUnknownOutcome": "Retry" })
}

fn held() -> RecordView {
    let mut look = record(PlanState::Closed);
    look.object.status = Some(closing(&look, RecordPhase::Held, Reason::OutcomeUnknown, 1));
    look
}

fn says(decision: &Decision) -> &str {
    match &decision.report {
        Report::Request(ending) => &ending.cause.message,
        _ => "",
    }
}

#[test]
fn a_plan_exchanged_in_a_held_record_is_not_sent_once_more() {
    let retried = |change: &dyn Fn(&mut RecordView)| {
        let mut look = held();
        change(&mut look);
        run(retry(), known(), &with(look, &[7, 8]))
    };
    assert!(matches!(retried(&|_| ()).step, Some(Step::Retry)));
    type Exchange = (&'static str, fn(&mut RecordView));
    let exchanged: [Exchange; 6] = [
        ("a target", |l| l.object.spec.plan.as_mut().unwrap().topics[0].to[0] = 9_000_000_000),
        ("the snapshot", |l| l.object.spec.plan.as_mut().unwrap().topics[0].log_end[0] = 9_000_000_000),
        ("a topic", |l| l.object.spec.plan.as_mut().unwrap().topics[0].topic_id = "another".to_owned()),
        ("a column", |l| l.object.spec.plan.as_mut().unwrap().topics[0].to_leader_epoch = vec![3, 3]),
        ("no plan", |l| l.object.spec.plan = None),
        ("no word of what was announced", |l| l.object.status.as_mut().unwrap().plan_digest = None),
    ];
    for (what, change) in exchanged {
        let decision = retried(&change);
        assert!(decision.step.is_none(), "{what}: {decision:?}");
        assert!(
            says(&decision).contains("not the one it was closed with") && says(&decision).contains("new id"),
            "{what}: {}",
            says(&decision)
        );
    }
    // Warnings are for people only and are no part of the plan.
    assert!(matches!(retried(&|l| l.object.spec.plan.as_mut().unwrap().warnings.clear()).step, Some(Step::Retry)));
}

#[test]
fn a_close_says_what_stands_for_the_plan() {
    let look = record(PlanState::InDoubt { since: *BEGINNING });
    let digest = look.object.spec.plan.as_ref().map(|plan| plan.digest());
    let Some(Step::Close(status)) = run(earliest(), known(), &with(look, &[7, 8])).step else { panic!("it is judged") };
    assert_eq!((status.phase, status.plan_digest), (RecordPhase::Held, digest));
}

#[test]
fn a_request_whose_record_is_of_one_cluster_is_not_begun_or_sent_again_on_another() {
    let elsewhere = |look: RecordView| Observation { identity: Observed::Read(cluster("d")), ..with(look, &[7, 8]) };
    // Before the first status no cluster is pinned.
    let decision = run(retry(), known(), &elsewhere(record(PlanState::Absent)));
    assert_eq!((stands(&decision), decision.step.is_none()), (Some((Stage::Waiting, Reason::ClusterChanged)), true));
    assert!(says(&decision).contains("is of c/g, and d/g answers now; nothing is sent"), "{}", says(&decision));
    let decision = run(retry(), known(), &elsewhere(held()));
    assert!(decision.step.is_none() && says(&decision).contains("d/g answers now"), "{decision:?}");
    // Nothing is stopped for it either.
    let mut pausing = record(PlanState::Absent);
    pausing.object.spec.run_state_before = Some(stream_pipeline_api::RunStateBefore { running: true, ..Default::default() });
    let running =
        Observation { activity: Observed::Read(active()), run_state: Observed::Read(crate::RunState::Running), ..elsewhere(pausing) };
    let mut pause = earliest();
    pause["whenActive"] = json!("Pause");
    let mut object = pipeline(pause, known());
    object.metadata.finalizers = Some(vec![stream_pipeline_api::FINALIZER.to_owned()]);
    object.spec.kafka.as_mut().unwrap().workloads = Some(vec![]);
    let asked = |seen: &Observation| {
        decide(&Desired::of(&object, crate::facts_of, now().wall).unwrap(), &PriorStatus::of(&object), seen, &timing(), now())
    };
    assert!(asked(&running).step.is_none(), "{:?}", asked(&running));
    let same = Observation { identity: Observed::Read(cluster("c")), ..running };
    assert!(matches!(asked(&same).step, Some(Step::Stop)), "{:?}", asked(&same));
}

#[test]
fn an_older_one_that_was_not_looked_at_is_waited_for_and_one_that_may_still_come_too() {
    let with_elder =
        |older_pipeline: OlderPipeline| run(earliest(), known(), &Observation { older_pipeline: Some(older_pipeline), ..ready() });
    let unseen = with_elder(OlderPipeline::NotLookedAt("n/a".to_owned()));
    assert_eq!((stands(&unseen), unseen.step.is_none()), (Some((Stage::Waiting, Reason::DuplicateGroup)), true));
    assert!(says(&unseen).contains("n/a is older") && says(&unseen).contains("not looked at it yet"), "{}", says(&unseen));
    let young = with_elder(OlderPipeline::MayCome(Duration::from_millis(700)));
    assert!(matches!(young.report, Report::Unchanged) && young.step.is_none() && young.recheck == Duration::from_millis(700), "{young:?}");
}

#[test]
fn those_of_other_namespaces_are_told_in_the_plan_and_not_waited_for() {
    let seen = Observation { elsewhere: vec!["solar/x".to_owned()], ..ready() };
    let Some(Step::WriteAhead { plan, .. }) = run(earliest(), known(), &seen).step else { panic!("it is planned") };
    assert!(plan.warnings.iter().any(|w| w.contains("other namespaces") && w.ends_with("solar/x")), "{:?}", plan.warnings);
}

#[test]
fn f09_what_another_version_said_of_a_request_begins_nothing_and_is_told() {
    let of_next = |stage: &str| json!({ "observedUID": "u", "observedGeneration": 1, "acknowledgedID": "r1", "offsetReset": { "id": "r1", "stage": stage } });
    let gone = run(earliest(), of_next("Scheduled"), &ready());
    assert_eq!((stands(&gone), gone.step.is_none()), (Some((Stage::Held, Reason::RecordMissing)), true), "{gone:?}");
    // An open record counts more than what the status says.
    let open = run(earliest(), of_next("Scheduled"), &with(record(unsent(1)), &[7, 8]));
    assert!(matches!(open.step, Some(Step::Send { .. })), "{open:?}");
    let closed = |phase: RecordPhase, reason: Reason| {
        let mut look = record(PlanState::Closed);
        let status = closing(&look, phase, reason, 1);
        look.object.status = Some(OffsetResetRecordStatus { message: "proven by a mirror".to_owned(), ..status });
        run(retry(), of_next("Proven"), &with(look, &[0, 0]))
    };
    let told = closed(RecordPhase::Verified, Reason::OfAnotherVersion);
    assert_eq!((stands(&told), told.step.is_none()), (Some((Stage::Verified, Reason::OfAnotherVersion)), true), "{told:?}");
    let told = closed(RecordPhase::OfAnotherVersion, Reason::OutcomeUnknown);
    assert_eq!((stands(&told), told.step.is_none()), (Some((Stage::Held, Reason::OfAnotherVersion)), true), "{told:?}");
    assert!(says(&told).contains("proven by a mirror") && says(&told).contains("new id"), "{}", says(&told));
    // An unreadable record is reported only where the status says that the request was under way.
    let unreadable = Observed::Unreadable(Cause::new(Reason::InvalidObject, "reading a record: p-1 cannot be read by this version"));
    let seen = Observation { record: unreadable, ..ready() };
    for stage in ["Sending", "Scheduled", "Waiting"] {
        let decision = run(earliest(), of_next(stage), &seen);
        assert!(decision.step.is_none() && says(&decision).contains("cannot be read by this version"), "{stage}: {decision:?}");
    }
}

/// A write of the deleted object's record lands late, with a plan: until it is closed, nothing is said of this object's own request, which
/// would count as accepted from then on.
#[test]
fn o02_what_an_earlier_object_began_accepts_nothing_for_this_one_and_opens_nothing_again() {
    let mut of_earlier = record(unsent(1));
    of_earlier.object.spec.pipeline.uid = "earlier".to_owned();
    let seen = Observation { wanted: Observed::Read(false), ..with(of_earlier, &[7, 8]) };
    let skipped = json!({ "observedUID": "u", "acknowledgedID": "r1", "offsetReset": { "id": "r1", "stage": "Skipped" } });
    for status in [Value::Null, known(), skipped] {
        let decision = run(earliest(), status, &seen);
        assert!(matches!((&decision.step, &decision.report), (Some(Step::DropPlan), Report::Outstanding(_))), "{decision:?}");
    }
}

#[test]
fn a_request_that_has_ended_is_not_opened_again_and_what_was_sent_was_not_never_sent() {
    let told = |stage: &str| json!({ "observedUID": "u", "acknowledgedID": "r1", "offsetReset": { "id": "r1", "stage": stage } });
    let late = Observation { wanted: Observed::Read(false), ..with(record(unsent(1)), &[7, 8]) };
    for stage in ["Failed", "Skipped", "Sent", "Verified"] {
        let decision = run(earliest(), told(stage), &late);
        assert!(matches!((&decision.step, &decision.report), (Some(Step::DropPlan), Report::Settled { .. })), "{stage}: {decision:?}");
    }
    let mut unrun = record(PlanState::Closed);
    unrun.object.status = Some(closing(&unrun, RecordPhase::Abandoned, Reason::NoLongerRequested, 1));
    for stage in ["Sent", "Verified", "Held"] {
        let decision = run(earliest(), told(stage), &with(unrun.clone(), &[0, 0]));
        assert!(matches!((&decision.step, &decision.report), (None, Report::Settled { .. })), "{stage}: {decision:?}");
    }
    let decision = run(earliest(), told("Sending"), &with(unrun, &[7, 8]));
    assert_eq!(stands(&decision), Some((Stage::Failed, Reason::AbandonedUnrun)), "it may have been planned and given up");
}

/// Where the API server does not answer for a while, as right after a start.
#[test]
fn while_its_record_cannot_be_read_no_end_of_a_request_is_told() {
    let unread = || Observation { record: Observed::Unreadable(Cause::new(Reason::APIServerError, "no answer")), ..ready() };
    let first = run(earliest(), Value::Null, &unread());
    assert!(matches!(first.report, Report::Unchanged), "not skipped: {first:?}");
    let late = json!({ "observedUID": "u", "acknowledgedID": "r1", "offsetReset": { "id": "r1", "stage": "Waiting", "acceptedAt": "2025-12-30T00:00:00Z" } });
    let expired = json!({ "id": "r1", "to": { "position": "Earliest" }, "expiresAt": "2026-01-01T00:00:00Z" });
    for (request, status) in [(earliest(), late), (expired, known())] {
        let decision = run(request, status, &unread());
        assert_eq!((stands(&decision), decision.step.is_none()), (Some((Stage::Waiting, Reason::APIServerError)), true), "{decision:?}");
    }
}
