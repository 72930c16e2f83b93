//! Messages on EnOS: the pipeline is stopped, the reset is sent, and the position is read after the next start.

use super::*;
use crate::backend::enos::{Operation, RunStatus, said, state};

pub(super) fn ask_enos(start: bool) -> StreamPipeline {
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

/// On EnOS: the pipeline is stopped, the reset is sent, and the position is read after the next start.
pub(super) fn on_enos() -> Vec<Row> {
    let object = ask_enos(true);
    let running = || Observed::Read(state(&RunStatus::Running));
    let paused = || Observed::Read(state(&RunStatus::Paused));
    let looked = |activity, run_state, record| seen_on_enos(run_state, activity, record);
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
        record.spec.request = *object.spec.offset_reset.clone().unwrap();
        record.spec.backend = pipeline_on_enos();
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
        let failure = Some(if start { said(Operation::Start, 61165) } else { said(Operation::Pause, 61152) });
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
        add(
            &format!("answered with {code}"),
            &looked(paused(), down(), Some(answered(SendOutcome::Ambiguous(said(Operation::Reset, code))))),
        );
    }
    let mut unpaused = answered(SendOutcome::NotApplied(said(Operation::Reset, 61108)));
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
        Observation { reading, other_reset: Observed::Read(None), ..looked(running(), up(), Some(look)) }
    };
    add("it runs again, further back than before", &compared(Some((500, 10)), (20, 490)));
    add("it runs again, from where it was", &compared(Some((500, 1000)), (600, 900)));
    add("it runs again, and the readings fit both", &compared(Some((500, 10)), (510, 0)));
    let other = Observed::Read(Some("cleaning-1f0c3a9be1d24c77".to_owned()));
    add(
        "it runs again, and another reset was sent between the readings",
        &Observation { other_reset: other, ..compared(Some((500, 10)), (20, 490)) },
    );
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
