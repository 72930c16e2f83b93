//! A lag and its time are shown only if both are true.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::status::{StatusInputs, status_of};
use crate::{Cause, Commit, Committed, Desired, LogBounds, Observation, Observed, Report, RequestState, TopicPartition};
use stream_pipeline_api::{Lag, LagSample, Reason, Stage, StreamPipeline};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

fn lag(total: i64, second: i64) -> Option<Lag> {
    Some(Lag { total, at: at(second) })
}

fn ending(stage: Stage, completed: Option<i64>) -> Report {
    Report::request(RequestState {
        stage,
        cause: Cause::new(Reason::ResetVerified, "so it is"),
        accepted_at: None,
        deadline: None,
        totals: None,
        record: None,
        attempts: None,
        completed_at: completed.map(at),
        edited: false,
        kept: None,
        owed: None,
    })
}

/// The lag in the status written at second 100, after `before`.
fn told(before: Option<Lag>, report: &Report, seen: &StatusInputs) -> Option<Lag> {
    let object: StreamPipeline = serde_json::from_value(json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline",
        "metadata": { "name": "p", "namespace": "n", "uid": "u", "generation": 2 },
        "spec": {
            "kafka": { "bootstrapServers": ["b:9092"], "consumerGroup": "g" },
            "offsetReset": { "id": "r1", "to": { "position": "Latest" } },
        },
        "status": { "observedUID": "u", "observedGeneration": 1, "lag": before.map_or(Value::Null, |lag| json!(lag)) },
    }))
    .unwrap();
    let desired = Desired::of(&object, crate::facts_of, at(100)).unwrap();
    status_of(&object, &desired, report, seen, Duration::from_secs(3600), at(100)).expect("it says something new").lag
}

/// Ten offsets behind, as seen at this second.
fn seen_at(second: i64) -> StatusInputs {
    let partition = TopicPartition::new("t", 0);
    let (mut seen, log) = (StatusInputs::default(), LogBounds { start: 0, end: 17, high_watermark: 20, ..LogBounds::default() });
    let committed = Committed::from([(partition.clone(), Commit { offset: 7, ..Commit::default() })]);
    let look = Observation {
        log: Observed::Read(BTreeMap::from([(partition, log)])),
        committed: Observed::Read(committed),
        ..Observation::default()
    };
    seen.note(&look, &crate::kafka_facts::facts(false), at(second));
    seen
}

#[test]
fn a_lag_from_before_the_position_moved_is_told_no_more() {
    let nothing = StatusInputs::default();
    assert_eq!(told(None, &ending(Stage::Planned, None), &seen_at(90)), lag(10, 90), "with the time it was seen at");
    assert_eq!(told(lag(5, 10), &ending(Stage::Waiting, None), &nothing), lag(5, 10), "with the time it was seen at before");
    for (stage, completed) in
        [(Stage::Sending, None), (Stage::Sent, Some(95)), (Stage::Verified, Some(95)), (Stage::Held, Some(95)), (Stage::Verified, Some(90))]
    {
        assert_eq!(told(lag(5, 10), &ending(stage, completed), &seen_at(90)), None, "{stage:?}");
        assert_eq!(told(lag(5, 10), &ending(stage, completed), &nothing), None, "{stage:?}, told by an earlier pass");
    }
    // Read since the reset: before the paused pipeline is started, or after its start.
    assert_eq!(told(lag(5, 10), &ending(Stage::Verified, Some(80)), &seen_at(90)), lag(10, 90));
    assert_eq!(told(lag(5, 85), &ending(Stage::Verified, Some(80)), &nothing), lag(5, 85));
}

#[test]
fn a_platforms_lag_has_the_platforms_time() {
    let mut seen = StatusInputs::default();
    let reading = LagSample { offset: 3, lag: 40, at: at(20) };
    seen.note(&Observation { reading: Some(reading), ..Observation::default() }, &crate::enos_facts::facts(false), at(90));
    assert_eq!(told(None, &ending(Stage::Waiting, None), &seen), lag(40, 20));
}

#[test]
fn a_lag_that_is_true_no_more_is_reason_enough_to_write() {
    let first = seen_at(90);
    let mut object: StreamPipeline = serde_json::from_value(json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "StreamPipeline",
        "metadata": { "name": "p", "namespace": "n", "uid": "u", "generation": 2 },
        "spec": { "kafka": { "bootstrapServers": ["b:9092"], "consumerGroup": "g" }, "offsetReset": { "id": "r1", "to": { "position": "Latest" } } },
    }))
    .unwrap();
    let desired = Desired::of(&object, crate::facts_of, at(100)).unwrap();
    let write = |object: &StreamPipeline, seen: &StatusInputs| {
        status_of(object, &desired, &ending(Stage::Verified, Some(95)), seen, Duration::from_secs(3600), at(100))
    };
    object.status = write(&object, &first);
    assert_eq!(write(&object, &first), None, "nothing new");
    object.status.as_mut().expect("a status").lag = lag(5, 10);
    let again = write(&object, &StatusInputs::default()).expect("the lag is taken away");
    assert_eq!(again.lag, None);
}
