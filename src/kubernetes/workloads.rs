//! The run state of whatever has a scale subresource: read, scaled to 0, scaled back. Nothing but the count is touched, and only
//! through the subresource; whether it should be is decided elsewhere.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt, discovery};
use parking_lot::Mutex;
use serde_json::json;

use crate::api::{OPERATOR, Reason, ScaledWorkload, WorkloadReference};
use crate::domain::{Answer, Cause, RunState, words};
use crate::kubernetes::refusal;

/// Set by people on a ScaledObject: KEDA leaves the count as it is, and its own HorizontalPodAutoscaler goes.
const KEDA_PAUSED: &str = "autoscaling.keda.sh/paused";

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
    /// Of one call to the API server.
    pub deadline: Duration,
}

/// One workload as its scale subresource shows it.
struct Seen {
    at: WorkloadReference,
    /// Asked for.
    wanted: i32,
    /// There now.
    running: i32,
    resource_version: Option<String>,
}

/// Counts to set. Each write names the version that was read, so one that comes late, or after another's, does nothing.
pub struct Scaling<'a> {
    of: &'a Workloads,
    counts: Vec<(Seen, i32)>,
}

impl Scaling<'_> {
    pub async fn carry_out(&self) -> Answer {
        for (seen, count) in &self.counts {
            if let Err(cause) = self.of.scale(seen, *count).await {
                return Answer::Unclear(cause);
            }
        }
        Answer::Definite { refused: [].into() }
    }
}

impl Workloads {
    /// Why the workloads are not at rest; None: all are at 0, or there are none.
    ///
    /// # Errors
    /// One cannot be read: it or its kind does not exist, a right is missing, the API server does not answer.
    pub async fn hindrance(&self) -> Result<Option<Cause>, Cause> {
        let mut busy = Vec::new();
        for at in &self.references {
            let seen = self.look(at).await?;
            if seen.wanted > 0 || seen.running > 0 {
                busy.push(self.told(&seen).await);
            }
        }
        let text = || format!("{} at work: {}", if busy.len() == 1 { "a workload is" } else { "workloads are" }, words::some_of(&busy));
        Ok((!busy.is_empty()).then(|| Cause::new(Reason::GroupActive, text())))
    }

    /// The counts to come back to. Refused where an autoscaler would set them again.
    ///
    /// # Errors
    /// As [`Workloads::hindrance`]; `AutoscalerActive`.
    pub async fn counts(&self) -> Result<Vec<ScaledWorkload>, Cause> {
        let mut counts = Vec::new();
        for at in &self.references {
            let seen = self.look(at).await?;
            counts.push(ScaledWorkload {
                api_version: at.api_version.clone(),
                kind: at.kind.clone(),
                name: at.name.clone(),
                replicas: seen.wanted,
            });
        }
        if let Some(by) = self.autoscaler().await? {
            return Err(Cause::new(Reason::AutoscalerActive, by));
        }
        Ok(counts)
    }

    /// Where the workloads of a record stand: up where none that ran is at 0.
    ///
    /// # Errors
    /// As [`Workloads::hindrance`].
    pub async fn state(&self, before: &[ScaledWorkload]) -> Result<RunState, Cause> {
        let (mut down, mut up, mut other) = (false, false, Vec::new());
        for was in before.iter().filter(|w| w.replicas > 0) {
            match self.look(&was.reference()).await {
                Ok(seen) => {
                    down |= seen.wanted == 0;
                    up |= seen.wanted != 0;
                    if seen.wanted != 0 && seen.wanted != was.replicas {
                        other.push(format!("{} {} now has {} (it had {})", was.kind, was.name, seen.wanted, was.replicas));
                    }
                }
                // There is nothing to bring back.
                Err(cause) if cause.reason == Reason::WorkloadNotFound => other.push(cause.message),
                Err(cause) => return Err(cause),
            }
        }
        Ok(match (down, up) {
            (true, true) => RunState::Partly,
            (true, false) => RunState::Down,
            _ if other.is_empty() => RunState::Up,
            _ => RunState::Changed(format!("somebody else changed it meanwhile, and theirs counts: {}", words::some_of(&other))),
        })
    }

    /// What scales all that ran to 0, but for a count that somebody else has set since it was recorded: it would be lost.
    ///
    /// # Errors
    /// As [`Workloads::hindrance`].
    pub async fn stopping(&self, before: &[ScaledWorkload]) -> Result<Scaling<'_>, Cause> {
        self.scaling(before, |seen, was| (seen.wanted == was).then_some(0)).await
    }

    /// What scales those that are at 0 back to what they had.
    ///
    /// # Errors
    /// As [`Workloads::hindrance`].
    pub async fn starting(&self, before: &[ScaledWorkload]) -> Result<Scaling<'_>, Cause> {
        self.scaling(before, |seen, was| (seen.wanted == 0).then_some(was)).await
    }

    async fn scaling(&self, before: &[ScaledWorkload], to: impl Fn(&Seen, i32) -> Option<i32>) -> Result<Scaling<'_>, Cause> {
        let mut counts = Vec::new();
        for was in before.iter().filter(|w| w.replicas > 0) {
            match self.look(&was.reference()).await {
                Ok(seen) => counts.extend(to(&seen, was.replicas).map(|count| (seen, count))),
                Err(cause) if cause.reason == Reason::WorkloadNotFound => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(Scaling { of: self, counts })
    }

    /// The API server notes no manager for a merge patch of the subresource, so the owner's next server-side apply meets no
    /// conflict from us (tried on 1.37).
    async fn scale(&self, seen: &Seen, replicas: i32) -> Result<(), Cause> {
        let api = self.api(&seen.at).await?;
        let params = PatchParams { field_manager: Some(OPERATOR.to_owned()), ..PatchParams::default() };
        let patch = json!({ "metadata": { "resourceVersion": seen.resource_version }, "spec": { "replicas": replicas } });
        let what = format!("scaling {} {} to {replicas}", seen.at.kind, seen.at.name);
        self.call(&what, &seen.at, api.patch_scale(&seen.at.name, &params, &Patch::Merge(&patch))).await.map(drop)
    }

    async fn look(&self, at: &WorkloadReference) -> Result<Seen, Cause> {
        let api = self.api(at).await?;
        let scale = self.call(&format!("reading the scale of {} {}", at.kind, at.name), at, api.get_scale(&at.name)).await?;
        Ok(Seen {
            at: at.clone(),
            wanted: scale.spec.as_ref().and_then(|s| s.replicas).unwrap_or_default(),
            running: scale.status.as_ref().map_or(0, |s| s.replicas),
            resource_version: scale.metadata.resource_version,
        })
    }

    /// "Deployment turbine (2 replicas, 0 ready: it starts, or crash-loops)".
    async fn told(&self, seen: &Seen) -> String {
        let (kind, name) = (&seen.at.kind, &seen.at.name);
        if seen.wanted == 0 {
            return format!("{kind} {name} (scaled to 0, {} still there)", seen.running);
        }
        let ready = async {
            let object = self.api(&seen.at).await.ok()?.get(name).await.ok()?;
            object.data["status"].as_object().map(|s| s.get("readyReplicas").and_then(serde_json::Value::as_i64).unwrap_or(0))
        };
        match tokio::time::timeout(self.deadline, ready).await.ok().flatten() {
            Some(0) => format!("{kind} {name} ({} replicas, none ready: it starts, or crash-loops)", seen.wanted),
            Some(ready) => format!("{kind} {name} ({} replicas, {ready} ready)", seen.wanted),
            None => format!("{kind} {name} ({} replicas)", seen.wanted),
        }
    }

    /// An autoscaler of one of the workloads, in words. KEDA's first: it makes an autoscaler of the other kind for its own.
    async fn autoscaler(&self) -> Result<Option<String>, Cause> {
        let Some(first) = self.references.first() else { return Ok(None) };
        let scales = |kind: &str, name: &str| self.references.iter().find(|at| at.kind == kind && at.name == name);
        let keda = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject"), "scaledobjects");
        let scaled: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &keda);
        let listed = match self.call("listing ScaledObjects", first, scaled.list(&ListParams::default())).await {
            Ok(listed) => listed.items,
            // KEDA is not installed.
            Err(cause) if cause.reason == Reason::WorkloadNotFound => Vec::new(),
            Err(cause) => return Err(cause),
        };
        for object in listed {
            let target = &object.data["spec"]["scaleTargetRef"];
            let kind = target["kind"].as_str().unwrap_or("Deployment");
            let paused = object.annotations().get(KEDA_PAUSED).is_some_and(|value| value == "true");
            if let Some(at) = scales(kind, target["name"].as_str().unwrap_or_default())
                && !paused
            {
                return Ok(Some(scaled_by_keda(&object.name_any(), at)));
            }
        }
        let hpas: Api<HorizontalPodAutoscaler> = Api::namespaced(self.client.clone(), &self.namespace);
        for hpa in self.call("listing HorizontalPodAutoscalers", first, hpas.list(&ListParams::default())).await? {
            let Some(target) = hpa.spec.as_ref().map(|s| &s.scale_target_ref) else { continue };
            if let Some(at) = scales(&target.kind, &target.name) {
                return Ok(Some(scaled_by("HorizontalPodAutoscaler", &hpa.name_any(), at, "Remove it")));
            }
        }
        Ok(None)
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

    async fn call<T>(&self, what: &str, at: &WorkloadReference, call: impl Future<Output = kube::Result<T>>) -> Result<T, Cause> {
        match tokio::time::timeout(self.deadline, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let key = WorkloadKind { api_version: at.api_version.clone(), kind: at.kind.clone() };
                let plural = self.kinds.lock().get(&key).map(|resource| resource.plural.clone());
                Err(failed(what, &error, at, plural.as_deref()))
            }
            Err(_) => Err(refusal::silent(what, self.deadline)),
        }
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
        // By its number: of a group that nobody serves the answer is no Status, and has no reason.
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

fn scaled_by(what: &str, by: &str, at: &WorkloadReference, way_out: &str) -> String {
    format!("{what} {by} scales {} {}: it would work against the pause. {way_out}, or use Wait", at.kind, at.name)
}

fn scaled_by_keda(by: &str, at: &WorkloadReference) -> String {
    scaled_by("ScaledObject", by, at, &format!("Pause it (annotation {KEDA_PAUSED}: \"true\") or remove it"))
}

/// What each way to fail is told as, with what leads to it: for the page of all messages.
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
        ("a HorizontalPodAutoscaler".to_owned(), scaled(scaled_by("HorizontalPodAutoscaler", "h", &deployment, "Remove it"))),
        ("a ScaledObject of KEDA".to_owned(), scaled(scaled_by_keda("k", &deployment))),
    ]
}
