//! What is remembered, and what is forgotten.

use super::*;
use jiff::Timestamp;

use stream_pipeline_core::{Commit, Committed, TopicPartition};

fn group() -> BackendIdentity {
    BackendIdentity::Kafka { cluster_id: "c".to_owned(), consumer_group: "g".to_owned() }
}

fn object(name: &str) -> Identity {
    Identity { namespace: "n".to_owned(), name: name.to_owned(), uid: name.to_owned() }
}

#[test]
fn what_one_principal_sees_is_no_movement_to_another() {
    let (process_state, start) = (ProcessState::new("i".to_owned()), Instant::now());
    let at = |topic: &str| (TopicPartition::new(topic, 0), Commit { offset: 7, ..Commit::default() });
    let (all, some) = (Committed::from([at("a"), at("b")]), Committed::from([at("a")]));
    let look = |name: &str, sees: &Committed, second: u64| {
        process_state.note_look(&object(name), &group(), true, sees, Duration::from_secs(10), start + Duration::from_secs(second))
    };
    for second in (0..12).step_by(4) {
        look("p", &all, second);
        look("q", &some, second + 1);
    }
    for quiet in [look("p", &all, 12), look("q", &some, 13)] {
        assert_eq!((quiet.since, quiet.moved), (Some(Duration::from_secs(12)), None));
    }
    // The operator's own commit is movement for neither.
    process_state.forget_looks("n", &group());
    assert_eq!((look("p", &some, 14).moved, look("q", &all, 14).moved), (None, None));
}

/// Looks at these seconds at an Empty group that never moves; returns how long it is known to be quiet at the last look.
fn quiet(period: u64, looks: &[u64]) -> u64 {
    let (process_state, start) = (ProcessState::new("i".to_owned()), Instant::now());
    let (backend, object) = (group(), object("p"));
    let look = |at: &u64| {
        process_state.note_look(&object, &backend, true, &Committed::new(), Duration::from_secs(period), start + Duration::from_secs(*at))
    };
    looks.iter().map(look).last().and_then(|q| q.since).map_or(0, |since| since.as_secs())
}

#[test]
fn c1_what_is_remembered_of_objects_that_are_gone_is_let_go() {
    let (process_state, start) = (ProcessState::new("i".to_owned()), Instant::now());
    let object = |n: usize| Identity { namespace: "n".to_owned(), name: format!("p{n}"), uid: format!("uid-{n}") };
    let closed = |n: usize| -> OffsetResetRecord {
        let record = serde_json::json!({
            "apiVersion": "streampipeline.io/v1alpha1", "kind": "OffsetResetRecord",
            "metadata": { "name": "r", "uid": format!("record-{n}"), "resourceVersion": "1" },
            "spec": {
                "pipeline": { "name": "p", "uid": "u" }, "request": { "id": "r1" }, "backend": { "clusterID": "c", "consumerGroup": "g" },
                "createdAt": "2026-01-01T00:00:00Z", "deadline": "2026-01-02T00:00:00Z",
            },
            "status": { "phase": "Verified", "attempt": 1, "reason": "ResetVerified", "message": "", "completedAt": "2026-01-01T00:00:00Z" },
        });
        serde_json::from_value(record).unwrap()
    };
    // A request that stops its pipeline, with a plan that another process wrote.
    let open = |n: usize| -> OffsetResetRecord {
        let mut record = closed(n);
        record.metadata.uid = Some(format!("open-{n}"));
        record.status = None;
        record.spec.run_state_before = Some(stream_pipeline_api::RunStateBefore { running: true, ..Default::default() });
        record.spec.plan = Some(stream_pipeline_core::Plan::default().to_record());
        record.spec.writer = Some(Writer { incarnation: "another".to_owned(), number: 1, attempt: 1, chunk: 1 });
        record
    };
    let committed: Committed =
        (0..1000).map(|n| (stream_pipeline_core::TopicPartition::new("t", n), stream_pipeline_core::Commit::default())).collect();
    let look = |n: usize, at: Instant| {
        let backend = BackendIdentity::Kafka { cluster_id: "c".to_owned(), consumer_group: format!("g{n}") };
        process_state.note_look(&object(n), &backend, true, &committed, Duration::from_secs(4), at)
    };
    for n in 0..60 {
        process_state.note_reached(&object(n), 1, false);
        process_state.note_finalizer(&object(n), false);
        process_state.note_first([object(n).uid]);
        process_state.note_refusal(&open(n));
        process_state.note_call(&open(n), false, start);
        process_state.look(open(n), start);
        process_state.note_reading(&object(n), LagSample { offset: 1, lag: 1, at: Timestamp::UNIX_EPOCH }, start);
        assert!(process_state.look(closed(n), start).is_over());
        look(n, start);
    }
    let held = |process_state: &ProcessState| {
        let inner = process_state.inner();
        let of_objects = [inner.failures.len(), inner.readings.len(), inner.looks.len(), inner.unguarded.len(), inner.first.len()];
        let of_records = [inner.closed.len(), inner.refusals.len(), inner.calls.len(), inner.first_seen.len()];
        (of_objects, of_records)
    };
    assert_eq!(held(&process_state), ([60; 5], [60; 4]));
    process_state.forget(|_| true, start);
    assert_eq!(held(&process_state), ([60; 5], [60; 4]), "what is there is remembered");
    process_state.forget(|_| false, start);
    let of_records = held(&process_state).1;
    assert_eq!([of_records[2], of_records[3]], [60; 2], "a record that was made a moment ago may not be known yet");
    for n in 0..60 {
        process_state.note_reached(&object(n), 1, false);
        process_state.note_finalizer(&object(n), false);
        process_state.note_first([object(n).uid]);
        process_state.note_refusal(&open(n));
        process_state.note_reading(&object(n), LagSample { offset: 1, lag: 1, at: Timestamp::UNIX_EPOCH }, start);
        assert!(process_state.look(closed(n), start).is_over());
        look(n, start);
    }
    look(7, start + Duration::from_secs(4));
    let later = start + UNWATCHED;
    process_state.forget(|uid| ["uid-7", "record-7", "open-7"].contains(&uid), later);
    assert_eq!(held(&process_state), ([1; 5], [1; 4]));
    assert_eq!(process_state.note_finalizer(&object(7), false), 2, "it goes on counting");
    assert_eq!(process_state.note_finalizer(&object(7), true), 0);
    assert_eq!(process_state.note_finalizer(&object(7), false), 1);
    let known_closed = |record: &str| process_state.known_closed(&(record.to_owned(), "1".to_owned()));
    assert!(known_closed("record-7") && !known_closed("record-8"));
    assert_eq!(process_state.note_reached(&object(7), 1, false), 2, "it goes on counting");
    assert_eq!(process_state.note_reached(&object(7), 2, false), 1, "an edit begins anew");
    assert_eq!(process_state.note_reached(&object(7), 2, false), 2, "and only once");
}

#[test]
fn a15_only_looks_close_to_each_other_count() {
    for (period, looks, expected) in [
        (10, &[0, 4, 8, 12][..], 12),
        (10, &[0, 11][..], 0),
        (10, &[0, 11, 15][..], 4),
        (5, &[0, 8, 10][..], 2),
        (5, &[0, 4, 8, 12][..], 12),
        (60, &[0, 9, 18, 27][..], 27),
        (0, &[0][..], 0),
        // Each look is late: only many of them, over four times the period, prove as much.
        (10, &[0, 11, 22, 33][..], 0),
        (10, &[0, 11, 22, 33, 44][..], 11),
        (2, &[0, 3, 6, 9][..], 0),
        (2, &[0, 3, 6, 9, 12][..], 3),
    ] {
        assert_eq!(quiet(period, looks), expected, "period {period}, looks {looks:?}");
    }
}

/// A look that is late by less than three quarters of the period does not start the period anew.
#[test]
fn b1_the_next_look_comes_well_within_the_period_that_it_must_prove() {
    let (ms, usual) = (Duration::from_millis, Duration::from_secs(3));
    for period in [500, 1_000, 2_000, 3_000, 10_000, 60_000].map(ms) {
        for rested in (0..10).map(|tenths| period * tenths / 10) {
            let next = stream_pipeline_core::decide::next_look(period, rested, usual);
            assert!(next <= (period / 4).max(ms(100)) && next <= usual, "period {period:?}, rested {rested:?}: {next:?}");
        }
    }
    assert_eq!(stream_pipeline_core::decide::next_look(ms(10_000), ms(9_000), usual), ms(1_000), "when it is over, and not later");
}

/// Each next look is planned as `decide` plans it, and comes late by a random time.
#[test]
fn however_late_looks_come_a_quiet_period_ends() {
    let mut seed = 7_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let backend = BackendIdentity::Kafka { cluster_id: "c".to_owned(), consumer_group: "g".to_owned() };
    let object = Identity { namespace: "n".to_owned(), name: "p".to_owned(), uid: "u".to_owned() };
    for history in 0..2000 {
        let period = Duration::from_millis(100 + random(15_000));
        let latest = [60, 200, 1_000, 4_000, 30_000][usize::try_from(history % 5).expect("small")];
        let (process_state, start) = (ProcessState::new("i".to_owned()), Instant::now());
        let (mut at, mut looks) = (Duration::ZERO, 0);
        loop {
            let quiet = process_state.note_look(&object, &backend, true, &Committed::new(), period, start + at);
            looks += 1;
            if quiet.is_enough(period) {
                break;
            }
            let most = 5 * period + 6 * Duration::from_millis(latest + 50);
            assert!(at < most, "period {period:?}, up to {latest} ms late: not over after {looks} looks in {at:?}");
            at += stream_pipeline_core::decide::next_look(period, quiet.since.unwrap_or_default(), Duration::from_secs(3));
            at += Duration::from_millis(50 + random(latest));
        }
        assert!(at >= period, "never before it has passed");
    }
}

/// Of a plan in chunks each is named anew, so the record that a backup brings back may name one that this process still knows.
#[test]
fn o30_a_plan_is_of_the_record_it_was_first_seen_in_and_of_no_other() {
    let (process_state, start) = (ProcessState::new("i".to_owned()), Instant::now());
    let plan = stream_pipeline_core::Plan::default().to_record();
    let writer = process_state.register_plan(1, &plan, start);
    let record = |uid: &str| -> OffsetResetRecord {
        let record = serde_json::json!({
            "apiVersion": "streampipeline.io/v1alpha1", "kind": "OffsetResetRecord", "metadata": { "name": "r", "uid": uid },
            "spec": {
                "pipeline": { "name": "p", "uid": "u" }, "request": { "id": "r1" }, "backend": { "clusterID": "c", "consumerGroup": "g" },
                "createdAt": "2026-01-01T00:00:00Z", "deadline": "2026-01-02T00:00:00Z", "writer": writer, "plan": plan,
            },
        });
        serde_json::from_value(record).unwrap()
    };
    let is_ours = |uid: &str| matches!(process_state.look(record(uid), start).state, stream_pipeline_core::PlanState::OursUnsent { .. });
    assert!(is_ours("made") && !is_ours("restored") && is_ours("made"));
}
