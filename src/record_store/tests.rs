//! What a list of records keeps.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use axum::http::{Request, Response};
use kube::client::Body;
use serde_json::Value;

use super::*;
use stream_pipeline_core::{PlanState, RunStateCalls};

/// An API server with three records, of which the last one is open.
#[derive(Clone)]
struct Records {
    /// Its definitions have no field that a list could leave records out by.
    of_older: bool,
}

impl tower::Service<Request<Body>> for Records {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if self.of_older && request.uri().query().unwrap_or_default().contains("fieldSelector=status.over%21%3Dtrue") {
            let text = "field label not supported: status.over";
            let refused =
                json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": text, "reason": "BadRequest", "code": 400 });
            let answer = Response::builder().status(400).body(Body::from(refused.to_string().into_bytes()));
            return ready(Ok(answer.unwrap()));
        }
        let answer = match request.uri().path().rsplit('/').next().and_then(|name| name.strip_prefix("r-")) {
            Some(n) => record(n.parse().unwrap()),
            None => {
                let metadata = |n: usize| json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": record(n)["metadata"] });
                let row = |n: usize| json!({ "cells": [record(n)["status"]["phase"]], "object": metadata(n) });
                // Of definitions that show less than those of this version: each has to be read.
                json!({ "columnDefinitions": [{ "name": "Phase" }], "rows": (0..3).map(row).collect::<Vec<_>>() })
            }
        };
        ready(Ok(Response::new(Body::from(answer.to_string().into_bytes()))))
    }
}

fn record(n: usize) -> Value {
    let mut record = json!({
        "apiVersion": "streampipeline.io/v1alpha1", "kind": "OffsetResetRecord",
        "metadata": { "name": format!("r-{n}"), "namespace": "n", "uid": format!("uid-{n}"), "resourceVersion": "1" },
        "spec": {
            "pipeline": { "name": "p", "uid": "u" }, "request": { "id": "r1" }, "backend": { "clusterID": "c", "consumerGroup": "g" },
            "createdAt": "2026-01-01T00:00:00Z", "deadline": "2026-01-02T00:00:00Z",
        },
    });
    if n < 2 {
        record["status"] =
            json!({ "phase": "Verified", "attempt": 1, "reason": "ResetVerified", "message": "", "completedAt": "2026-01-01T00:00:00Z" });
    }
    record
}

/// After a restart no record is known to be over, and a namespace may hold thousands of them, each of up to 1 MiB.
#[tokio::test]
async fn records_that_are_over_are_not_kept_while_the_others_are_read() {
    let store = RecordStore::new(Client::new(Records { of_older: false }, "n"), Duration::from_secs(1));
    let known = ProcessState::new("i".to_owned());
    let names = |records: Vec<RecordView>| records.iter().map(|r| r.name().to_owned()).collect::<Vec<_>>();
    let found = store.of_namespace("n", "", &known).await.unwrap();
    assert_eq!(names(found), ["r-2"]);
}

/// What is sent is sent from the record as it was written: it is not read once more, so the live list has to show it.
#[tokio::test]
async fn the_list_of_the_group_shows_whether_the_own_record_is_still_as_it_was_written() {
    let store = RecordStore::new(Client::new(Records { of_older: false }, "n"), Duration::from_secs(1));
    let known = ProcessState::new("i".to_owned());
    let own: OffsetResetRecord = serde_json::from_value(record(2)).unwrap();
    let place = own.spec.backend.clone();
    let others = async |own: &OffsetResetRecord| store.of_group("n", &place, (Some(own), "r-2"), &known).await.map(|others| others.len());
    assert_eq!(others(&own).await, Ok(0), "it is there, and the others are over");
    let of_older = RecordStore::new(Client::new(Records { of_older: true }, "n"), Duration::from_secs(1));
    let found = of_older.of_group("n", &place, (Some(&own), "r-2"), &known).await.map(|others| others.len());
    assert_eq!(found, Ok(0), "all are listed, as before");
    let mut changed = own.clone();
    changed.metadata.resource_version = Some("0".to_owned());
    let mut gone = own.clone();
    gone.metadata.uid = Some("uid-of-an-earlier-one".to_owned());
    for other in [changed, gone] {
        let cause = others(&other).await.unwrap_err();
        assert!(cause.message.starts_with("record r-2 changed while it was looked at"), "{}", cause.message);
    }
}

/// A list leaves out what says so, so nothing may say so that asks for one more step.
#[test]
fn only_what_is_over_says_so() {
    let mut said = 0;
    for phase in ["Planned", "Verified", "Sent", "Held", "Abandoned", "OfTheNextVersion"] {
        for (stopped, brought_back) in [(None, false), (Some(false), false), (Some(true), false), (Some(true), true)] {
            let mut object = record(0);
            object["status"]["phase"] = json!(phase);
            object["spec"]["runStateBefore"] = stopped.map_or(Value::Null, |running| json!({ "running": running }));
            object["status"]["broughtBackAt"] = if brought_back { json!("2026-01-01T00:00:01Z") } else { Value::Null };
            let object: OffsetResetRecord = serde_json::from_value(object).unwrap();
            let closed = object.status.as_ref().unwrap().phase;
            let over = is_over_in(&object, closed, brought_back);
            let expected = ["Planned", "Verified", "Abandoned"].contains(&phase) && (stopped != Some(true) || brought_back);
            assert_eq!(over, expected, "{phase} {stopped:?} {brought_back}");
            let view = RecordView::new(object, PlanState::Closed, RunStateCalls::default());
            assert!(!over || view.is_over(), "{phase} {stopped:?} {brought_back}");
            said += usize::from(over);
        }
    }
    assert_eq!(said, 9);
}
