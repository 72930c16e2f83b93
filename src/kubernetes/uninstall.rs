//! What an uninstall would leave behind: pipelines that the operator keeps stopped, which nobody would start again once it is gone.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Client, ResourceExt};

use super::call::call;
use super::scope::Scope;
use stream_pipeline_api::{FINALIZER, StreamPipeline};
use stream_pipeline_core::words;

/// Longer than any list takes that succeeds.
const DEADLINE: Duration = Duration::from_secs(60);

const PAGE: u32 = 500;

/// # Errors
/// Something is kept stopped, and what to do about it; or it could not be found out.
pub async fn check(client: &Client, scope: &Scope) -> Result<()> {
    let kept = call("listing StreamPipelines", DEADLINE, kept(client, scope)).await.map_err(|cause| anyhow!(cause.message));
    let kept = kept.context("it is not known whether a pipeline is kept stopped")?;
    if kept.is_empty() {
        return Ok(());
    }
    bail!(
        "the operator keeps {} stopped, or is starting it again, for: {}. Nobody does once it is uninstalled. Wait until they are done \
         (kubectl get streampipelines -A), or remove spec.offsetReset from them: then the operator starts the pipelines again. Uninstall \
         after that; with --no-hooks at once, and then scale the workloads yourself and take the finalizer {FINALIZER} off",
        if kept.len() == 1 { "a pipeline".to_owned() } else { format!("{} pipelines", kept.len()) },
        words::some_of(&kept)
    )
}

async fn kept(client: &Client, scope: &Scope) -> kube::Result<Vec<String>> {
    let mut kept = Vec::new();
    for (_, api) in scope.apis(client) {
        kept.extend(kept_of(&api).await?);
    }
    Ok(kept)
}

async fn kept_of(api: &Api<StreamPipeline>) -> kube::Result<Vec<String>> {
    let (mut kept, mut page) = (Vec::new(), ListParams::default().limit(PAGE));
    loop {
        // Metadata alone: an object that this version cannot read counts like the others.
        let found: kube::core::ObjectList<PartialObjectMeta<StreamPipeline>> = api.list_metadata(&page).await?;
        let held = found.items.iter().filter(|object| object.finalizers().iter().any(|f| f == FINALIZER));
        kept.extend(held.map(|object| format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())));
        match found.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => page = page.continue_token(&next),
            None => return Ok(kept),
        }
    }
}
