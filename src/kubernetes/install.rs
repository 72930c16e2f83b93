//! What `helm test` asks: whether the operator that was installed can do its work.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::call::call;
use super::crds::Definitions;
use super::scope::Scope;
use stream_pipeline_api::{OffsetResetRecord, StreamPipeline};
use stream_pipeline_core::Timing;

/// Pods may be starting still, and a Service learns of them a moment later.
const DEADLINE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_secs(1);

/// `service`: host and port where the operator answers.
///
/// # Errors
/// What is missing, and what to do about it.
pub async fn check(client: &Client, scope: &Scope, timing: &Timing, service: &str) -> Result<()> {
    let definitions = Definitions::default();
    let given_up = CancellationToken::new();
    let over = given_up.clone();
    tokio::spawn(async move {
        tokio::time::sleep(DEADLINE).await;
        over.cancel();
    });
    if !definitions.known(client, timing, &given_up).await {
        bail!("the CRDs could not be read within {} s; the log says why", DEADLINE.as_secs());
    }
    if let Some(outdated) = definitions.outdated() {
        bail!(outdated.cause.message);
    }
    listed::<StreamPipeline>(client, scope).await?;
    listed::<OffsetResetRecord>(client, scope).await?;
    let ready = given_up.run_until_cancelled(answers(service)).await;
    // The last answer says more than that there was none.
    if ready.is_none()
        && let Err(error) = is_ready(service).await
    {
        return Err(error).with_context(|| format!("the operator is not ready at {service}; look at its pods and their log"));
    }
    tracing::info!(service, "Installed: the CRDs are as new as the operator, its account has its rights, and it is ready");
    Ok(())
}

async fn listed<K>(client: &Client, scope: &Scope) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
{
    for (namespace, api) in scope.apis::<K>(client) {
        let what = format!("listing {} in {}", K::plural(&()), namespace.unwrap_or("all namespaces"));
        call(&what, DEADLINE, api.list_metadata(&ListParams::default().limit(1))).await.map_err(|cause| anyhow!(cause.message))?;
    }
    Ok(())
}

async fn answers(service: &str) {
    while is_ready(service).await.is_err() {
        tokio::time::sleep(AGAIN).await;
    }
}

async fn is_ready(service: &str) -> Result<()> {
    let asked = async {
        let mut stream = TcpStream::connect(service).await?;
        let host = service.rsplit_once(':').map_or(service, |(host, _)| host);
        stream.write_all(format!("GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        // More than the operator has to say.
        stream.take(4096).read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), asked).await.context("no answer within 5 s")??;
    let status = answer.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200 ") {
        bail!("it answers {status:?}: {}", answer.lines().last().unwrap_or_default());
    }
    Ok(())
}
