//! What else scales a workload, and so would work against a pause.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};

use super::workloads::Workloads;
use stream_pipeline_api::{Reason, WorkloadReference};
use stream_pipeline_core::Cause;

/// An annotation that people set on a ScaledObject: KEDA then leaves the count alone and removes its HorizontalPodAutoscaler.
const KEDA_PAUSED: &str = "autoscaling.keda.sh/paused";

/// An autoscaler of one of the workloads, in words. KEDA's are looked for first, because KEDA creates HorizontalPodAutoscalers for its own.
pub(super) async fn of(workloads: &Workloads) -> Result<Option<String>, Cause> {
    let Some(first) = workloads.references.first() else { return Ok(None) };
    let scales = |kind: &str, name: &str| workloads.references.iter().find(|at| at.kind == kind && at.name == name);
    let keda = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject"), "scaledobjects");
    let scaled: Api<DynamicObject> = Api::namespaced_with(workloads.client.clone(), &workloads.namespace, &keda);
    let listed = match workloads.call("listing ScaledObjects", first, scaled.list(&ListParams::default())).await {
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
    let hpas: Api<HorizontalPodAutoscaler> = Api::namespaced(workloads.client.clone(), &workloads.namespace);
    for hpa in workloads.call("listing HorizontalPodAutoscalers", first, hpas.list(&ListParams::default())).await? {
        let Some(target) = hpa.spec.as_ref().map(|s| &s.scale_target_ref) else { continue };
        if let Some(at) = scales(&target.kind, &target.name) {
            return Ok(Some(scaled_by("HorizontalPodAutoscaler", &hpa.name_any(), at, "Remove it")));
        }
    }
    Ok(None)
}

pub(super) fn scaled_by(what: &str, by: &str, at: &WorkloadReference, way_out: &str) -> String {
    format!("{what} {by} scales {} {}: it would work against the pause. {way_out}, or use Wait", at.kind, at.name)
}

pub(super) fn scaled_by_keda(by: &str, at: &WorkloadReference) -> String {
    scaled_by("ScaledObject", by, at, &format!("Pause it (annotation {KEDA_PAUSED}: \"true\") or remove it"))
}
