//! What a kubelet would write into a pod's status.

use std::sync::atomic::{AtomicU32, Ordering};

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

/// A patch that makes the pod run and be ready.
pub fn ready(pod: &Pod) -> Value {
    let began = began(pod);
    status(pod, true, &json!({ "running": { "startedAt": began } }), &json!({}))
}

/// A patch that makes it fall over again and again.
pub fn crash_loop(pod: &Pod) -> Value {
    let waiting = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container" } });
    let last = json!({ "terminated": { "exitCode": 1, "reason": "Error", "startedAt": began(pod), "finishedAt": began(pod) } });
    status(pod, false, &waiting, &last)
}

/// The controllers count the time for which a pod has been ready: a moment that has passed.
fn began(pod: &Pod) -> Value {
    json!(pod.metadata.creation_timestamp)
}

fn status(pod: &Pod, ready: bool, state: &Value, last: &Value) -> Value {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let [_, _, high, low] = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let ip = format!("10.244.{high}.{low}");
    let condition = |kind: &str, holds: bool| {
        let status = if holds { "True" } else { "False" };
        let reason = (!holds).then_some("ContainersNotReady");
        json!({ "type": kind, "status": status, "reason": reason, "lastTransitionTime": began(pod) })
    };
    let containers: Vec<_> = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .map(|container| {
            json!({ "name": container.name, "image": container.image, "imageID": "testbed", "ready": ready, "started": ready,
                "restartCount": if ready { 0 } else { 7 }, "state": state, "lastState": last })
        })
        .collect();
    let conditions = [("PodScheduled", true), ("Initialized", true), ("ContainersReady", ready), ("Ready", ready)]
        .map(|(kind, holds)| condition(kind, holds));
    json!({ "status": { "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }], "startTime": began(pod),
        "conditions": conditions, "containerStatuses": containers } })
}
