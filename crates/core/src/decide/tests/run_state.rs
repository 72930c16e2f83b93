//! A platform that chooses the target and is read back only after the next start; stopping and bringing back.

use super::*;
use crate::{RunState, RunStateCall, RunStateCalls};
use stream_pipeline_api::{LagSample, RunStateBefore};

fn enos(reset: Value, status: Value, finalizer: bool) -> StreamPipeline {
    let mut object = json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline",
        "metadata": { "name": "p", "namespace": "n", "uid": "u", "generation": 2 },
        "spec": { "enos": {
            "endpoint": "https://gw", "orgID": "o1", "pipelineID": "id", "credentialsSecretRef": { "name": "app" },
            "start": { "executionMode": "Standalone", "kafkaRate": 1000 }
        } },
        "status": status
    });
    if !reset.is_null() {
        object["spec"]["offsetReset"] = reset;
    }
    if finalizer {
        object["metadata"]["finalizers"] = json!(["streampipeline.io/bring-back"]);
    }
    serde_json::from_value(object).unwrap()
}

fn decided(object: &StreamPipeline, seen: &Observation) -> Decision {
    decide(&Desired::of(object, crate::facts_of, now().wall).unwrap(), &PriorStatus::of(object), seen, &timing(), now())
}

fn pause(seen: &Observation) -> Decision {
    decided(&enos(json!({ "id": "r1", "whenActive": "Pause" }), known(), true), seen)
}

fn running() -> Observed<Activity> {
    Observed::Read(Activity::Active(Cause::new(Reason::PipelineActive, "RUNNING")))
}

fn is(phase: Phase) -> Observed<Activity> {
    Observed::Read(Activity::Inactive(phase, format!("{phase:?}")))
}

/// The run state, as the adapter derives it from the same answer as the activity.
fn state_of(activity: &Observed<Activity>) -> Observed<RunState> {
    match activity {
        Observed::Read(Activity::Active(_)) => Observed::Read(RunState::Running),
        Observed::Read(Activity::Inactive(Phase::Paused, _)) => Observed::Read(RunState::Stopped),
        Observed::Read(_) => Observed::Read(RunState::ChangedExternally("somebody else".to_owned())),
        _ => Observed::Unread,
    }
}

fn looked(activity: Observed<Activity>, record: Option<RecordView>) -> Observation {
    seen_on_enos(state_of(&activity), activity, record)
}

/// The record of `r1`, whose pipeline ran before.
fn record(state: PlanState) -> RecordView {
    let Some(Step::WriteAhead { plan, deadline, .. }) = pause(&looked(is(Phase::Paused), None)).step else { panic!("the call is planned") };
    let mut object = bare_record(&plan, deadline);
    object.spec.request = *enos(json!({ "id": "r1", "whenActive": "Pause" }), Value::Null, false).spec.offset_reset.unwrap();
    object.spec.backend = pipeline_on_enos();
    object.spec.run_state_before = Some(RunStateBefore { running: true, ..RunStateBefore::default() });
    if matches!(state, PlanState::Absent) {
        (object.spec.plan, object.spec.writer) = (None, None);
    }
    RecordView::new(object, state, RunStateCalls { first_seen: Some(*BEGINNING), ..RunStateCalls::default() })
}

pub fn closed(phase: RecordPhase, reason: Reason) -> RecordView {
    let mut look = record(PlanState::Closed);
    look.object.status = Some(closing(&look, phase, reason, 1));
    look
}

fn ago(seconds: u64) -> Option<RunStateCall> {
    Some(RunStateCall { last: now().mono - Duration::from_secs(seconds), tries: 1, under_way: true, failure: None })
}

fn word(decision: &Decision) -> String {
    let step = match &decision.step {
        None => "wait".to_owned(),
        Some(Step::Close(status)) => format!("close {:?} {}", status.phase, status.reason),
        Some(step) => format!("{step:?}").split([' ', '{', '(']).next().unwrap_or_default().to_owned(),
    };
    match &decision.report {
        Report::Request(told) => {
            let cause = told.owed.as_ref().unwrap_or(&told.cause);
            format!("{step}, {:?} {}", told.stage, cause.reason)
        }
        _ => step,
    }
}

#[test]
fn e02_a_running_pipeline_is_stopped_only_where_asked_and_only_by_a_record_that_says_so() {
    let ask = |when: &str| decided(&enos(json!({ "id": "r1", "whenActive": when }), known(), false), &looked(running(), None));
    assert_eq!(word(&ask("Wait")), "wait, Waiting PipelineActive");
    assert_eq!(word(&ask("Fail")), "wait, Failed PipelineActive");
    assert_eq!(word(&ask("Pause")), "AddFinalizer, Waiting Pausing");
    assert_eq!(word(&pause(&looked(running(), None))), "RecordPause, Waiting Pausing");
    let rival = Observation { conflicting_records: Observed::Read(vec!["n/x".to_owned()]), ..looked(running(), None) };
    assert_eq!(word(&pause(&rival)), "wait, Waiting AnotherResetOpen", "O36");
    let older_pipeline = Observation { older_pipeline: Some(OlderPipeline::Acts("n/x".to_owned())), ..looked(running(), None) };
    assert_eq!(word(&pause(&older_pipeline)), "wait, Waiting DuplicateGroup", "O08");
    assert_eq!(word(&pause(&looked(running(), Some(record(PlanState::Absent))))), "Stop, Pausing Pausing");
    let mut stopped = record(PlanState::Absent);
    stopped.calls.stop = ago(1);
    assert_eq!(word(&pause(&looked(running(), Some(stopped.clone())))), "wait, Pausing Pausing", "a stop takes its time");
    stopped.calls.stop = ago(30);
    assert_eq!(word(&pause(&looked(running(), Some(stopped.clone())))), "Stop, Pausing Pausing");
    stopped.calls.was_down = true;
    assert_eq!(word(&pause(&looked(running(), Some(stopped)))), "wait, Waiting PauseOverridden", "A13");
    assert_eq!(word(&pause(&looked(is(Phase::Paused), Some(record(PlanState::Absent))))), "WriteAhead, Waiting PlanRecorded");
    // Scaled to 0, but a member is still in the group.
    let leaving = Observation { run_state: Observed::Read(RunState::Stopped), ..looked(running(), Some(record(PlanState::Absent))) };
    assert_eq!(word(&pause(&leaving)), "wait, Pausing Pausing");
    let none_of_ours = Observation { before: Observed::Read(RunStateBefore::default()), ..looked(running(), None) };
    assert_eq!(word(&pause(&none_of_ours)), "wait, Waiting PipelineActive", "members that none of the workloads runs");
    let scaled = Cause::new(Reason::AutoscalerActive, "an HPA");
    let scaled = Observation { before: Observed::Unreadable(scaled), ..looked(running(), None) };
    assert_eq!(word(&pause(&scaled)), "wait, Waiting AutoscalerActive", "A05");
    // A pipeline that did not run when the request began is never stopped.
    let mut inactive = record(PlanState::Absent);
    inactive.object.spec.run_state_before = Some(RunStateBefore::default());
    assert_eq!(word(&pause(&looked(running(), Some(inactive)))), "wait, Waiting PipelineActive");
}

#[test]
fn e03_what_is_neither_paused_nor_stopped_waits() {
    for (phase, reason) in [
        (Phase::NotStarted, Reason::PipelineNotStartedYet),
        (Phase::Failed, Reason::PipelineFailed),
        (Phase::Unknown, Reason::PipelineStatusUnknown),
    ] {
        let seen = looked(Observed::Read(Activity::NotResettable(phase, Cause::new(reason, "so"))), None);
        assert_eq!(word(&pause(&seen)), format!("wait, Waiting {reason}"));
    }
}

#[test]
fn the_state_right_before_and_right_after_counts() {
    let unsent = |activity| pause(&looked(activity, Some(record(unsent(1)))));
    assert_eq!(word(&unsent(is(Phase::Paused))), "Send, Sending PlanRecorded");
    assert_eq!(word(&unsent(running())), "DropPlan, Waiting PipelineActive");
    let answered = |activity| pause(&looked(activity, Some(record(sent(&[], 1, 1)))));
    assert_eq!(word(&answered(is(Phase::Stopped))), "close Sent NoReadBackWhilePaused, Sending NoReadBackWhilePaused");
    assert_eq!(word(&answered(running())), "close Held OutcomeUnknown, Sending OutcomeUnknown", "E15");
    let cannot_look = Observed::Unreadable(Cause::new(Reason::EndpointUnreachable, "no answer"));
    assert_eq!(word(&answered(cannot_look)), "wait, Sending EndpointUnreachable", "an answer alone is not believed");
}

#[test]
fn what_may_have_been_carried_out_is_never_repeated() {
    let sent = |answer: SendOutcome| PlanState::OursSent { loaded_at: now().mono, tries: 1, answer };
    let coded = |reason, code| Cause { code: Some(code), ..Cause::new(reason, "so") };
    let judged = |state| pause(&looked(is(Phase::Paused), Some(record(state))));
    let held = judged(sent(SendOutcome::Ambiguous(coded(Reason::AverageRateUnavailable, 61168))));
    assert_eq!(word(&held), "close Held AverageRateUnavailable, Sending AverageRateUnavailable", "E05");
    assert!(matches!(&held.step, Some(Step::Close(status)) if status.code == Some(61168)), "{held:?}");
    assert_eq!(
        word(&judged(sent(SendOutcome::Ambiguous(coded(Reason::PlatformError, 99000))))),
        "close Held OutcomeUnknown, Sending OutcomeUnknown"
    );
    let lost = |seconds| {
        let ended = now().mono.checked_sub(Duration::from_secs(seconds)).unwrap();
        judged(sent(SendOutcome::Unanswered { ended, cause: Cause::new(Reason::EndpointUnreachable, "no answer") }))
    };
    assert_eq!(word(&lost(1)), "wait, Sending Sent", "E06: it may still land");
    assert_eq!(word(&lost(timing().doubt().as_secs())), "close Held OutcomeUnknown, Sending OutcomeUnknown");
    let since = now().mono.checked_sub(timing().doubt()).unwrap();
    assert_eq!(word(&judged(PlanState::InDoubt { since })), "close Held OutcomeUnknown, Sending OutcomeUnknown", "O22");
    // A call that certainly did nothing is planned anew, or ends the request.
    assert_eq!(
        word(&judged(sent(SendOutcome::NotApplied(Cause::new(Reason::EndpointUnreachable, "refused"))))),
        "DropPlan, Waiting EndpointUnreachable"
    );
    assert_eq!(
        word(&judged(sent(SendOutcome::NotApplied(coded(Reason::PipelineNotFound, 61108))))),
        "close Abandoned PipelineNotFound, Sending PipelineNotFound",
        "E04"
    );
}

#[test]
fn what_was_stopped_runs_again_before_the_end_is_told() {
    let sent = || closed(RecordPhase::Sent, Reason::NoReadBackWhilePaused);
    let back = |look: RecordView, activity| word(&pause(&looked(activity, Some(look))));
    assert_eq!(back(sent(), is(Phase::Paused)), "Resume, Sent BringingBack");
    let partly = Observation { run_state: Observed::Read(RunState::PartlyStopped), ..looked(running(), Some(sent())) };
    assert_eq!(word(&pause(&partly)), "Resume, Sent BringingBack", "one of two is still down");
    let mut started = sent();
    started.calls.start = ago(1);
    assert_eq!(back(started.clone(), is(Phase::Paused)), "wait, Sent BringingBack");
    started.calls.stop = ago(20);
    assert_eq!(back(started.clone(), running()), "wait, Sent BringingBack", "O35: a stop may still land");
    started.calls.stop = ago(41);
    assert_eq!(back(started.clone(), running()), "MarkResumed, Sent BringingBack");
    started.calls.stop = Some(RunStateCall { under_way: false, ..ago(1).unwrap() });
    assert_eq!(back(started.clone(), running()), "wait, Sent BringingBack", "accepted, and not seen to have stopped it");
    started.calls.stop = Some(RunStateCall { under_way: false, ..ago(299).unwrap() });
    assert_eq!(back(started.clone(), running()), "wait, Sent BringingBack", "a platform may take minutes");
    let refused = Some(Cause::new(Reason::StatusNotAllowed, "no"));
    started.calls.stop = Some(RunStateCall { under_way: false, failure: refused, ..ago(41).unwrap() });
    assert_eq!(back(started.clone(), running()), "MarkResumed, Sent BringingBack", "refused");
    started.calls.stop = Some(RunStateCall { under_way: false, ..ago(1).unwrap() });
    started.calls.was_down = true;
    assert_eq!(back(started.clone(), running()), "MarkResumed, Sent BringingBack");
    // An earlier process may have called a stop for it before this one knew of it.
    started.calls.first_seen = Some(now().mono);
    assert_eq!(back(started.clone(), running()), "wait, Sent BringingBack", "O35: of whoever made the record");
    started.calls.made_here = true;
    assert_eq!(back(started, running()), "MarkResumed, Sent BringingBack");
    assert_eq!(back(sent(), is(Phase::Stopped)), "MarkResumed, Sent BringingBack", "A09: theirs counts");
    assert_eq!(back(closed(RecordPhase::Abandoned, Reason::PauseTimedOut), is(Phase::Paused)), "Resume, Failed BringingBack", "A08");
    // A held request's pipeline stays stopped for as long as the request is asked for.
    let held = || closed(RecordPhase::Held, Reason::OutcomeUnknown);
    assert_eq!(back(held(), is(Phase::Paused)), "wait, Held OutcomeUnknown");
    let superseded = |look: RecordView, activity| {
        let superseded = Some(SupersededRecord { record: look, committed: Observed::Unread, run_state: state_of(&activity), activity });
        Observation { superseded, ..looked(Observed::Unread, None) }
    };
    let withdrawn = decided(&enos(Value::Null, known(), true), &superseded(held(), is(Phase::Paused)));
    assert_eq!(word(&withdrawn), "Resume", "O19");
    let replaced = decided(&enos(json!({ "id": "r2" }), known(), true), &superseded(held(), is(Phase::Paused)));
    assert_eq!(word(&replaced), "Resume, Waiting AnotherResetOpen");
    let mut restored = record(PlanState::Absent);
    restored.object.spec.created_at = "2026-01-01T11:00:00Z".parse().unwrap();
    assert_eq!(word(&pause(&looked(running(), Some(restored)))), "close Abandoned Restored, Sending Restored", "O30: nothing is stopped");
    assert!(!closed(RecordPhase::Abandoned, Reason::Restored).needs_resume());
}

#[test]
fn the_finalizer_goes_when_nothing_is_owed() {
    let nothing = |needing_resume: Vec<String>| {
        let seen = Observation { needing_resume: Observed::Read(needing_resume), ..looked(running(), None) };
        word(&decided(&enos(Value::Null, known(), true), &seen))
    };
    assert_eq!(nothing(vec![]), "RemoveFinalizer");
    assert_eq!(nothing(vec!["p-1".to_owned()]), "wait");
    let mut done = closed(RecordPhase::Verified, Reason::ResetVerified);
    done.object.status.as_mut().unwrap().brought_back_at = Some(now().wall);
    assert_eq!(word(&pause(&looked(running(), Some(done)))), "RemoveFinalizer, Verified ResetVerified");
}

#[test]
fn a08_a_pause_that_never_takes_effect_ends_with_the_deadline() {
    let mut late = record(PlanState::Absent);
    late.object.spec.deadline = now().wall;
    assert_eq!(word(&pause(&looked(running(), Some(late)))), "close Abandoned PauseTimedOut, Waiting PauseTimedOut");
}

#[test]
fn e01_readings_are_compared_once_it_runs_again() {
    let beside = |other: Observed<Option<String>>, before: Option<(i64, i64)>, after: Option<(i64, i64, &str)>| {
        let mut look = closed(RecordPhase::Sent, Reason::NoReadBackWhilePaused);
        look.object.status.as_mut().unwrap().brought_back_at = Some(now().wall);
        let call = look.object.spec.plan.as_mut().unwrap().call.as_mut().unwrap();
        call.before = before.map(|(offset, lag)| LagSample { offset, lag, at: "2026-01-01T11:59:00Z".parse().unwrap() });
        call.before_was_read_while_inactive = true;
        look.calls.running = Some((now(), None));
        let mut seen = looked(running(), Some(look));
        seen.reading = after.map(|(offset, lag, at)| LagSample { offset, lag, at: at.parse().unwrap() });
        seen.other_reset = other;
        word(&pause(&seen))
    };
    let compared = |before, after| beside(Observed::Read(None), before, after);
    let (new, old) = ("2026-01-01T12:00:01Z", "2026-01-01T11:59:00Z");
    assert_eq!(compared(Some((500, 10)), Some((20, 490, new))), "close Verified ResetVerified, Sent NoReadBackWhilePaused");
    assert_eq!(compared(Some((500, 1000)), Some((600, 900, new))), "close Held NotTakenUp, Sent NoReadBackWhilePaused");
    assert_eq!(compared(Some((500, 10)), Some((510, 0, new))), "close Sent Unproven, Sent NoReadBackWhilePaused");
    assert_eq!(compared(None, Some((510, 0, new))), "close Sent Unproven, Sent NoReadBackWhilePaused");
    assert_eq!(compared(Some((500, 10)), Some((20, 490, old))), "wait, Sent NoReadBackWhilePaused", "from before the start");
    assert_eq!(compared(Some((500, 10)), None), "wait, Sent NoReadBackWhilePaused");
    let other = || Observed::Read(Some("p-2".to_owned()));
    for after in [(20, 490), (510, 0), (505, 5)] {
        let after = Some((after.0, after.1, new));
        assert_eq!(
            beside(other(), Some((500, 10)), after),
            "close Sent Unproven, Sent NoReadBackWhilePaused",
            "it may have been the other"
        );
    }
    let unread = Observed::Unreadable(Cause::new(Reason::APIServerError, "no answer"));
    assert_eq!(beside(unread, Some((500, 10)), Some((20, 490, new))), "wait, Sent NoReadBackWhilePaused", "others are not known");
}

#[test]
fn o19_a_retry_needs_the_pipeline_still_paused_or_stopped() {
    let retried = |activity: Observed<Activity>| {
        let mut look = closed(RecordPhase::Held, Reason::OutcomeUnknown);
        look.object.spec.run_state_before = None;
        let seen = looked(activity, Some(look));
        decided(&enos(json!({ "id": "r1", "onUnknownOutcome": "Retry" }), known(), false), &seen)
    };
    assert_eq!(word(&retried(is(Phase::Stopped))), "Retry, Held OutcomeUnknown");
    assert_eq!(word(&retried(running())), "wait, Held OutcomeUnknown");
    let gone = Activity::Missing(Cause::new(Reason::PipelineNotFound, "no such pipeline"));
    assert_eq!(word(&retried(Observed::Read(gone))), "wait, Held OutcomeUnknown");
}
