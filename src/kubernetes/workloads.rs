//! The run state of whatever has a scale subresource: read, scaled to 0, scaled back. Nothing but the count is touched, and only
//! through the subresource; whether it should be is decided elsewhere.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch};
use kube::{Client, discovery};
use parking_lot::Mutex;
use serde_json::json;

use super::autoscalers;
use super::call::{self, call_or};
use super::refusal;
use stream_pipeline_api::{Reason, ScaledWorkload, WorkloadReference};
use stream_pipeline_core::{Cause, RunState, SendOutcome, words};

/// The plural of a kind is looked up once per process.
pub type Kinds = Arc<Mutex<HashMap<WorkloadKind, ApiResource>>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkloadKind {
    api_version: String,
    kind: String,
}

/// The workloads of one pipeline.
pub struct Workloads {
    pub client: Client,
    pub namespace: String,
    pub references: Vec<WorkloadReference>,
    pub kinds: Kinds,
    /// The deadline of one call to the API server.
    pub deadline: Duration,
}

/// One workload as its scale subresource shows it.
struct Scale {
    at: WorkloadReference,
    /// Replicas that are asked for.
    wanted: i32,
    /// Replicas that exist now.
    running: i32,
    resource_version: Option<String>,
}

/// Counts to set. Each write names the version that was read, so a late write, or one after somebody else's, does nothing.
pub struct Scaling<'a> {
    of: &'a Workloads,
    counts: Vec<(Scale, i32)>,
}

impl Scaling<'_> {
    pub async fn carry_out(&self) -> SendOutcome {
        for (scale, count) in &self.counts {
            if let Err(cause) = self.of.scale(scale, *count).await {
                return SendOutcome::Ambiguous(cause);
            }
        }
        SendOutcome::Answered { refused: [].into() }
    }
}

impl Workloads {
    /// Why the workloads are not at rest; None: all are at 0, or there are none.
    ///
    /// # Errors
    /// One cannot be read: it or its kind does not exist, a right is missing, the API server does not answer.
    pub async fn busy(&self) -> Result<Option<Cause>, Cause> {
        let mut busy = Vec::new();
        for at in &self.references {
            let scale = self.look(at).await?;
            if scale.wanted > 0 || scale.running > 0 {
                busy.push(self.describe(&scale).await);
            }
        }
        let text = || format!("{} at work: {}", if busy.len() == 1 { "a workload is" } else { "workloads are" }, words::some_of(&busy));
        Ok((!busy.is_empty()).then(|| Cause::new(Reason::GroupActive, text())))
    }

    /// The counts to restore later. Refused if an autoscaler would change them again.
    ///
    /// # Errors
    /// As [`Workloads::busy`]; `AutoscalerActive`.
    pub async fn counts(&self) -> Result<Vec<ScaledWorkload>, Cause> {
        let mut counts = Vec::new();
        for at in &self.references {
            let scale = self.look(at).await?;
            counts.push(ScaledWorkload {
                api_version: at.api_version.clone(),
                kind: at.kind.clone(),
                name: at.name.clone(),
                replicas: scale.wanted,
            });
        }
        if let Some(by) = autoscalers::of(self).await? {
            return Err(Cause::new(Reason::AutoscalerActive, by));
        }
        Ok(counts)
    }

    /// The run state of a record's workloads: running if none that ran is at 0.
    ///
    /// # Errors
    /// As [`Workloads::busy`].
    pub async fn state(&self, before: &[ScaledWorkload]) -> Result<RunState, Cause> {
        let (mut down, mut up, mut other) = (false, false, Vec::new());
        for was in before.iter().filter(|w| w.replicas > 0) {
            match self.look(&was.reference()).await {
                Ok(scale) => {
                    down |= scale.wanted == 0;
                    up |= scale.wanted != 0;
                    if scale.wanted != 0 && scale.wanted != was.replicas {
                        other.push(format!("{} {} now has {} (it had {})", was.kind, was.name, scale.wanted, was.replicas));
                    }
                }
                // A workload that is gone cannot be brought back.
                Err(cause) if cause.reason == Reason::WorkloadNotFound => other.push(cause.message),
                Err(cause) => return Err(cause),
            }
        }
        Ok(match (down, up) {
            (true, true) => RunState::PartlyStopped,
            (true, false) => RunState::Stopped,
            _ if other.is_empty() => RunState::Running,
            _ => RunState::ChangedExternally(format!("somebody else changed it meanwhile, and theirs counts: {}", words::some_of(&other))),
        })
    }

    /// Scales all that ran to 0, except those whose count somebody else has changed since the record: that count would be lost.
    ///
    /// # Errors
    /// As [`Workloads::busy`].
    pub async fn stopping(&self, before: &[ScaledWorkload]) -> Result<Scaling<'_>, Cause> {
        self.scaling(before, |scale, was| (scale.wanted == was).then_some(0)).await
    }

    /// Scales those that are at 0 back to the recorded count.
    ///
    /// # Errors
    /// As [`Workloads::busy`].
    pub async fn starting(&self, before: &[ScaledWorkload]) -> Result<Scaling<'_>, Cause> {
        self.scaling(before, |scale, was| (scale.wanted == 0).then_some(was)).await
    }

    async fn scaling(&self, before: &[ScaledWorkload], to: impl Fn(&Scale, i32) -> Option<i32>) -> Result<Scaling<'_>, Cause> {
        let mut counts = Vec::new();
        for was in before.iter().filter(|w| w.replicas > 0) {
            match self.look(&was.reference()).await {
                Ok(scale) => counts.extend(to(&scale, was.replicas).map(|count| (scale, count))),
                Err(cause) if cause.reason == Reason::WorkloadNotFound => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(Scaling { of: self, counts })
    }

    /// The API server notes no manager for a merge patch of the subresource, so the owner's next server-side apply meets no
    /// conflict from us (tried on 1.37).
    async fn scale(&self, scale: &Scale, replicas: i32) -> Result<(), Cause> {
        let api = self.api(&scale.at).await?;
        let patch = json!({ "metadata": { "resourceVersion": scale.resource_version }, "spec": { "replicas": replicas } });
        let what = format!("scaling {} {} to {replicas}", scale.at.kind, scale.at.name);
        self.call(&what, &scale.at, api.patch_scale(&scale.at.name, &call::patch(), &Patch::Merge(&patch))).await.map(drop)
    }

    async fn look(&self, at: &WorkloadReference) -> Result<Scale, Cause> {
        let api = self.api(at).await?;
        let found = self.call(&format!("reading the scale of {} {}", at.kind, at.name), at, api.get_scale(&at.name)).await?;
        Ok(Scale {
            at: at.clone(),
            wanted: found.spec.as_ref().and_then(|s| s.replicas).unwrap_or_default(),
            running: found.status.as_ref().map_or(0, |s| s.replicas),
            resource_version: found.metadata.resource_version,
        })
    }

    /// "Deployment turbine (2 replicas, 0 ready: it starts, or crash-loops)".
    async fn describe(&self, scale: &Scale) -> String {
        let (kind, name) = (&scale.at.kind, &scale.at.name);
        if scale.wanted == 0 {
            return format!("{kind} {name} (scaled to 0, {} still there)", scale.running);
        }
        let ready = async {
            let object = self.api(&scale.at).await.ok()?.get(name).await.ok()?;
            object.data["status"].as_object().map(|s| s.get("readyReplicas").and_then(serde_json::Value::as_i64).unwrap_or(0))
        };
        match tokio::time::timeout(self.deadline, ready).await.ok().flatten() {
            Some(0) => format!("{kind} {name} ({} replicas, none ready: it starts, or crash-loops)", scale.wanted),
            Some(ready) => format!("{kind} {name} ({} replicas, {ready} ready)", scale.wanted),
            None => format!("{kind} {name} ({} replicas)", scale.wanted),
        }
    }

    async fn api(&self, at: &WorkloadReference) -> Result<Api<DynamicObject>, Cause> {
        let key = WorkloadKind { api_version: at.api_version.clone(), kind: at.kind.clone() };
        let known = self.kinds.lock().get(&key).cloned();
        let resource = match known {
            Some(resource) => resource,
            None => {
                let (group, version) = at.api_version.rsplit_once('/').unwrap_or(("", &at.api_version));
                let gvk = GroupVersionKind::gvk(group, version, &at.kind);
                let what = format!("looking up {} of {}", at.kind, at.api_version);
                let (resource, _) = self.call(&what, at, discovery::pinned_kind(&self.client, &gvk)).await?;
                self.kinds.lock().insert(key, resource.clone());
                resource
            }
        };
        Ok(Api::namespaced_with(self.client.clone(), &self.namespace, &resource))
    }

    /// Makes a call about this workload.
    pub(super) async fn call<T>(
        &self,
        what: &str,
        at: &WorkloadReference,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Cause> {
        let refused = |error: &kube::Error| {
            let key = WorkloadKind { api_version: at.api_version.clone(), kind: at.kind.clone() };
            let plural = self.kinds.lock().get(&key).map(|resource| resource.plural.clone());
            failed(what, error, at, plural.as_deref())
        };
        call_or(what, self.deadline, call, refused).await
    }
}

/// Why a call about this workload failed. `plural`: of its kind, where that is known.
fn failed(what: &str, error: &kube::Error, at: &WorkloadReference, plural: Option<&str>) -> Cause {
    let missing = |said: &str| {
        let said = said.trim_end_matches(['.', '\n']);
        Cause::new(
            Reason::WorkloadNotFound,
            format!("{what}: {said}. It goes on by itself once that is there, or correct spec.kafka.workloads"),
        )
    };
    match error {
        // Matched by number: for an API group that nobody serves, the answer is not a Status and has no reason.
        kube::Error::Api(status) if status.code == 404 => missing(&status.message),
        kube::Error::Discovery(error) => missing(&error.to_string()),
        error => {
            let group = at.api_version.rsplit_once('/').map_or("", |(group, _)| group);
            let plural = plural.map_or_else(|| format!("<plural of {}>", at.kind), str::to_owned);
            let right = format!(
                "it has this right once {{ apiGroups: ['{group}'], resources: [{plural}] }} is added to the chart's value `workloads`"
            );
            refusal::cause(what, error, &right)
        }
    }
}

/// How each way to fail is reported, with what leads to it: for the page of all messages.
#[cfg(test)]
pub(crate) fn messages() -> Vec<(String, Cause)> {
    let at = |api_version: &str, kind: &str| {
        let reference = json!({ "apiVersion": api_version, "kind": kind, "name": "worker" });
        serde_json::from_value::<WorkloadReference>(reference).unwrap()
    };
    let refused = |code: u16, message: &str| {
        kube::Error::Api(Box::new(kube::core::Status { code, message: message.to_owned(), ..kube::core::Status::default() }))
    };
    let deployment = at("apps/v1", "Deployment");
    let what = "reading the scale of Deployment worker";
    let of_kind = "workers.example.com \"worker\" is forbidden: User \"system:serviceaccount:s:o\" cannot patch resource \"workers/scale\" in API group \"example.com\" in the namespace \"n\"";
    let scaled = |text| Cause::new(Reason::AutoscalerActive, text);
    vec![
        (
            "a workload that is not there".to_owned(),
            failed(what, &refused(404, "deployments.apps \"worker\" not found"), &deployment, None),
        ),
        (
            "a workload of a kind that the operator may not scale".to_owned(),
            failed("scaling Worker worker to 0", &refused(403, of_kind), &at("example.com/v1", "Worker"), Some("workers")),
        ),
        ("a HorizontalPodAutoscaler".to_owned(), scaled(autoscalers::scaled_by("HorizontalPodAutoscaler", "h", &deployment, "Remove it"))),
        ("a ScaledObject of KEDA".to_owned(), scaled(autoscalers::scaled_by_keda("k", &deployment))),
    ]
}
