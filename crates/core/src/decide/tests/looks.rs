//! What is looked at next.

use super::*;
use crate::decide::{Found, Look, looks, note};

/// What is looked at after all that was found, in one line.
fn next(desired: &Desired, prior: &PriorStatus, seen: &Observation) -> Vec<Look> {
    looks(desired, prior, seen, &timing(), now())
}

/// A pipeline that is gone says nothing of its record: an end told beside an open one would leave it open for ever.
#[test]
fn the_record_is_looked_for_also_where_the_pipeline_cannot_be_found() {
    for cause in [Cause::new(Reason::PipelineNotFound, "gone"), Cause::new(Reason::BrokerUnreachable, "no answer")] {
        let object = pipeline(earliest(), Value::Null);
        let (desired, prior) = (Desired::of(&object, crate::facts_of, now().wall).unwrap(), PriorStatus::of(&object));
        let mut seen = Observation::default();
        note(&mut seen, &desired, &Look::OpenRecords, Found::OpenRecords(Vec::new(), None));
        let identity = next(&desired, &prior, &seen);
        assert!(matches!(identity.as_slice(), [Look::Identity { known: None }]), "{identity:?}");
        note(&mut seen, &desired, &identity[0], Found::Identity(Err(cause)));
        let record = next(&desired, &prior, &seen);
        let [Look::Record(names)] = record.as_slice() else { panic!("{record:?}") };
        let open = super::fixtures::record(sent(&[], 1, 1));
        note(&mut seen, &desired, &record[0], Found::Record { name: names.name.clone(), record: Ok(Some(open)) });
        let decision = decide(&desired, &prior, &seen, &timing(), now());
        assert_eq!(stands(&decision).map(|(stage, _)| stage), Some(Stage::Sending), "{decision:?}");
    }
}

/// What would be stopped is counted only once it is known that nobody else keeps it stopped, or a count of 0 would be taken for the usual
/// one. The live list of the namespace, which costs most, comes last.
#[test]
fn who_goes_first_is_looked_at_before_what_would_be_stopped_is_counted() {
    let mut object = pipeline(json!({ "id": "r1", "to": { "position": "Earliest" }, "whenActive": "Pause" }), known());
    object.spec.kafka.as_mut().unwrap().workloads =
        serde_json::from_value(json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "d" }])).unwrap();
    object.metadata.creation_timestamp = Some(Time(now().wall - jiff::SignedDuration::from_secs(5)));
    let (desired, prior) = (Desired::of(&object, crate::facts_of, now().wall).unwrap(), PriorStatus::of(&object));
    let kinds = |mut seen: Observation| {
        let mut all = Vec::new();
        while let Some(kinds) = Some(next(&desired, &prior, &seen)).filter(|looks| !looks.is_empty()) {
            let kinds: Vec<_> = kinds.iter().map(crate::decide::LookKind::from).collect();
            seen.looked.extend(&kinds);
            all.push(kinds);
        }
        all
    };
    use crate::decide::LookKind::*;
    let running = Observation { activity: Observed::Read(active()), ..ready() };
    let found = kinds(running.clone());
    let expected = [[GroupRecords], [Elsewhere], [NamespaceRecords], [RunStateBefore], [OlderPipelineLive]].map(Vec::from);
    assert!(found.ends_with(&expected), "{found:?}");
    let held = Observed::Read(vec!["Deployment d, by record p-1".to_owned()]);
    let found = kinds(Observation { shared_workloads: held, ..running });
    assert!(!found.contains(&vec![OlderPipelineLive]), "it waits in any case: {found:?}");
}

/// What is only recorded is looked at once more before it is sent; what is stopped is stopped right away.
#[test]
fn other_records_are_listed_live_before_a_stop_and_before_a_send() {
    let is_live = |request: serde_json::Value, seen: Observation| {
        let mut object = pipeline(request, known());
        object.spec.kafka.as_mut().unwrap().workloads =
            serde_json::from_value(json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "d" }])).unwrap();
        let (desired, prior) = (Desired::of(&object, crate::facts_of, now().wall).unwrap(), PriorStatus::of(&object));
        let mut seen = seen;
        loop {
            let looks = next(&desired, &prior, &seen);
            assert!(!looks.is_empty(), "they are listed");
            if let Some(live) = looks.iter().find_map(|look| if let Look::GroupRecords { live, .. } = look { Some(*live) } else { None }) {
                return live;
            }
            seen.looked.extend(looks.iter().map(crate::decide::LookKind::from));
        }
    };
    let ask = |when: &str| json!({ "id": "r1", "to": { "position": "Earliest" }, "whenActive": when });
    assert!(!is_live(ask("Wait"), ready()));
    assert!(!is_live(ask("Pause"), ready()), "nothing runs that had to be stopped");
    assert!(is_live(ask("Pause"), Observation { activity: Observed::Read(active()), ..ready() }));
    let recorded = super::fixtures::record(unsent(1));
    assert!(is_live(ask("Wait"), Observation { record: Observed::Read(Some(recorded)), ..ready() }));
}

/// A name that was mistyped would keep the pipeline stopped until the deadline.
#[test]
fn nothing_is_stopped_for_numbers_that_are_not_there() {
    let to = json!({ "offsetsFrom": { "configMapKeyRef": { "name": "night", "key": "offsets.csv" } } });
    let mut object = pipeline(json!({ "id": "r1", "to": to, "whenActive": "Pause" }), known());
    object.spec.kafka.as_mut().unwrap().workloads =
        serde_json::from_value(json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "d" }])).unwrap();
    let (desired, prior) = (Desired::of(&object, crate::facts_of, now().wall).unwrap(), PriorStatus::of(&object));
    let before = RunStateBefore { running: true, ..RunStateBefore::default() };
    let running = Observation { activity: Observed::Read(active()), before: Observed::Read(before), ..ready() };
    let mut seen = running.clone();
    seen.looked.extend([crate::decide::LookKind::OpenRecords, crate::decide::LookKind::Identity, crate::decide::LookKind::Record]);
    seen.looked.extend([crate::decide::LookKind::Activity, crate::decide::LookKind::OlderPipeline]);
    let asked = next(&desired, &prior, &seen);
    let [numbers @ Look::Numbers(_)] = asked.as_slice() else { panic!("{asked:?}") };
    let decided = |found: Result<String, Cause>| {
        let mut seen = running.clone();
        note(&mut seen, &desired, numbers, Found::File(found));
        let decision = decide(&desired, &prior, &seen, &timing(), now());
        (stands(&decision).unwrap(), decision.step.is_some())
    };
    let missing = Cause::new(Reason::SecretNotFound, "ConfigMap night is not in this namespace");
    assert_eq!(decided(Err(missing)), ((Stage::Waiting, Reason::SecretNotFound), false));
    assert_eq!(decided(Ok("t,0".to_owned())), ((Stage::Failed, Reason::InvalidTarget), false));
    assert_eq!(decided(Err(Cause::new(Reason::InvalidTarget, "no text"))), ((Stage::Failed, Reason::InvalidTarget), false));
    assert_eq!(decided(Ok("t,0,5".to_owned())), ((Stage::Waiting, Reason::Pausing), true), "now it is stopped");
}

/// What a transaction holds is not known: neither a plan nor a preview is made of it.
#[test]
fn nothing_is_planned_from_an_offset_that_a_transaction_holds() {
    let held = || BTreeMap::from([(at(0), Commit { offset: -1, pending: true, ..Commit::default() })]);
    for dry_run in [false, true] {
        let ask = |to: Value| json!({ "id": "r1", "to": to, "outOfRange": "Clamp", "dryRun": dry_run });
        let own = Observation { committed: Observed::Read(held()), ..ready() };
        assert_eq!(stands(&run(ask(json!({ "shiftBy": -1 })), known(), &own)), Some((Stage::Waiting, Reason::TransactionOpen)));
        let other = crate::OtherGroup { committed: held(), active: None };
        let copied = Observation { other_group: Observed::Read(other), ..ready() };
        let found = run(ask(json!({ "consumerGroup": "other" })), known(), &copied);
        assert_eq!(stands(&found), Some((Stage::Waiting, Reason::TransactionOpen)));
    }
}

/// Committing the same once more leaves nothing to see.
#[test]
fn a_renewal_that_may_not_have_been_sent_is_held() {
    let mut look = super::fixtures::record(PlanState::InDoubt { since: now().mono.checked_sub(timing().doubt()).unwrap() });
    look.object.spec.request.to = serde_json::from_value(json!({ "position": "Current" })).unwrap();
    look.object.spec.plan.as_mut().unwrap().topics[0].to = vec![7, 8];
    let look = RecordView::new(look.object, look.state, look.calls);
    let decision = run(json!({ "id": "r1", "to": { "position": "Current" } }), known(), &fixtures::with(look, &[7, 8]));
    let Some(Step::Close(status)) = decision.step else { panic!("{decision:?}") };
    assert_eq!((status.phase, status.reason), (RecordPhase::Held, Reason::OutcomeUnknown));
}

/// A retry that sent nothing would be verified by what was there before.
#[test]
fn a_retried_renewal_is_sent_for_every_partition_that_nobody_moved() {
    let mut look = super::fixtures::record(unsent(1));
    look.object.spec.request.to = serde_json::from_value(json!({ "position": "Current" })).unwrap();
    look.object.spec.plan.as_mut().unwrap().topics[0].to = vec![7, 8];
    look.object.status = Some(closing(&look, RecordPhase::Held, Reason::OutcomeUnknown, 1));
    look.object.spec.writer.as_mut().unwrap().attempt = 2;
    let look = RecordView::new(look.object, look.state, look.calls);
    let ask = json!({ "id": "r1", "to": { "position": "Current" }, "onUnknownOutcome": "Retry" });
    let decision = run(ask, known(), &fixtures::with(look, &[7, 8]));
    let Some(Step::Send { only, .. }) = decision.step else { panic!("{decision:?}") };
    assert_eq!(only, [at(0), at(1)].into());
}

/// K07: a pause may take hours; what is looked for is what was asked for when the record was made.
#[test]
fn k07_a_lookback_goes_back_from_the_record_where_there_is_one() {
    let object = pipeline(json!({ "id": "r1", "to": { "lookback": "2h" } }), known());
    let (desired, prior) = (Desired::of(&object, crate::facts_of, now().wall).unwrap(), PriorStatus::of(&object));
    let time_with = |own: Option<RecordView>| {
        let mut seen = Observation { record: Observed::Read(own), log: Observed::Unread, ..ready() };
        for _ in 0..10 {
            let all = next(&desired, &prior, &seen);
            if let Some(Look::Logs { time, .. }) = all.iter().find(|look| matches!(look, Look::Logs { .. })) {
                return *time;
            }
            seen.looked.extend(all.iter().map(crate::decide::LookKind::from));
        }
        panic!("the logs are not looked at")
    };
    let hours = |n: i64| jiff::SignedDuration::from_hours(n);
    assert_eq!(time_with(None), Some(now().wall - hours(2)));
    let mut own = super::fixtures::record(PlanState::Absent);
    own.object.spec.created_at = now().wall - hours(5);
    assert_eq!(time_with(Some(own)), Some(now().wall - hours(7)));
}

/// What another request sent before its record was closed has landed by the time that the list no longer shows it as open.
#[test]
fn the_second_look_reads_where_the_partitions_are_after_the_list_of_records() {
    let object = pipeline(earliest(), known());
    let (desired, prior) = (Desired::of(&object, crate::facts_of, now().wall).unwrap(), PriorStatus::of(&object));
    let mut seen = with(record(unsent(1)), &[7, 8]);
    seen.looked = [crate::decide::LookKind::OpenRecords].into();
    let first = next(&desired, &prior, &seen);
    assert!(first.iter().any(|look| matches!(look, Look::GroupRecords { live: true, .. })), "{first:?}");
    assert!(!first.iter().any(|look| matches!(look, Look::Committed(_))), "{first:?}");
    seen.looked.extend(first.iter().map(crate::decide::LookKind::from));
    let second = next(&desired, &prior, &seen);
    assert!(matches!(second.as_slice(), [Look::Committed(partitions)] if partitions.len() == 2), "{second:?}");
}
