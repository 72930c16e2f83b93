//! Which of several replicas works: the one that holds a Lease. The others keep their caches filled and stand by.
//!
//! It saves work and nothing else. What keeps a reset from happening twice are the records, whoever holds the Lease, so nothing here is a
//! guarantee that only one process works (docs/design/decisions/0008-safe-without-leader-election.md).

mod judge;

use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta};
use kube::{Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::kubernetes::call::{call_or, post};
use crate::kubernetes::refusal;
use crate::running::Running;
use judge::{Turn, judge};
use stream_pipeline_core::Cause;

/// Which Lease: `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseName {
    namespace: String,
    name: String,
}

impl FromStr for LeaseName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split('/').collect::<Vec<_>>().as_slice() {
            [namespace, name] if !namespace.is_empty() && !name.is_empty() => {
                Ok(Self { namespace: (*namespace).to_owned(), name: (*name).to_owned() })
            }
            _ => Err("a Lease is named as NAMESPACE/NAME, such as wind/stream-pipeline-operator".to_owned()),
        }
    }
}

/// How long a Lease lasts, from which the other waits follow.
#[derive(Clone, Copy, Debug)]
struct Waits {
    length: Duration,
}

impl Waits {
    /// How often a holder renews it. Two renewals may fail before the third is late.
    fn renewal(self) -> Duration {
        self.length / 6
    }

    /// A holder that has not renewed it for so long gives up, well before another may take it.
    fn deadline(self) -> Duration {
        self.length / 3 * 2
    }

    /// How often somebody who stands by looks: a holder that leaves is followed within that time.
    fn look(self) -> Duration {
        self.renewal().min(Duration::from_secs(1))
    }
}

/// One candidate for a Lease.
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
    waits: Waits,
}

/// A Lease as it was last written by its holder.
struct Held {
    lease: Lease,
    renewed: Instant,
}

impl Candidate {
    /// `identity`: one that no other process has; `length`: how long the Lease lasts without being renewed.
    pub fn new(client: Client, lease: &LeaseName, identity: String, length: Duration) -> Self {
        let leases = Api::namespaced(client, &lease.namespace);
        Self { leases, name: lease.name.clone(), identity, waits: Waits { length } }
    }

    /// Leads from when it holds the Lease until `running.shutdown`. `drained`: cancelled once the passes under way are over.
    ///
    /// # Errors
    /// The Lease was lost. Then the process is to end: it begins anew as one that stands by.
    pub async fn run(&self, running: &Running, drained: &CancellationToken) -> Result<()> {
        let Some(mut held) = running.shutdown.run_until_cancelled(self.win()).await else { return Ok(()) };
        tracing::info!(identity = self.identity, "Leading");
        running.lead();
        if let Some(how) = running.shutdown.run_until_cancelled(self.hold(&mut held)).await {
            // It still answers until it has finished.
            running.metrics.leader.set(0);
            bail!("the Lease {} was lost: {how}. This process ends, so that it begins anew and stands by", self.name);
        }
        // What is read back for longer needs no Lease.
        let _ = tokio::time::timeout(DRAIN, drained.cancelled()).await;
        self.release(held).await;
        Ok(())
    }

    /// Waits until this process holds the Lease.
    async fn win(&self) -> Held {
        let mut seen = None;
        let mut told = String::new();
        loop {
            let begun = Instant::now();
            let (lease, say) = match self.look(&mut seen).await {
                Ok((lease, Turn::Mine | Turn::Free)) => match self.take(lease).await {
                    Ok(lease) => return Held { lease, renewed: begun },
                    Err(cause) => (None, cause.message),
                },
                Ok((_, Turn::Theirs(holder))) => (Some(()), format!("Standing by: {holder} holds the Lease")),
                Err(cause) => (None, cause.message),
            };
            if told != say {
                match lease {
                    Some(()) => tracing::info!("{say}"),
                    None => tracing::warn!("The Lease could not be had, it is tried again: {say}"),
                }
                told = say;
            }
            tokio::time::sleep(self.waits.look()).await;
        }
    }

    /// The Lease as it is, and whose turn it is. `seen`: its version, and since when it has been that.
    async fn look(&self, seen: &mut Option<(String, Instant)>) -> Result<(Option<Lease>, Turn), Cause> {
        let lease = self.called("reading the Lease", self.leases.get_opt(&self.name)).await?;
        let now = Instant::now();
        let version = lease.as_ref().and_then(ResourceExt::resource_version).unwrap_or_default();
        let since = match seen.take() {
            Some((known, since)) if known == version => since,
            _ => now,
        };
        *seen = Some((version, since));
        let spec = lease.as_ref().and_then(|lease| lease.spec.as_ref());
        let turn = judge(spec, &self.identity, now - since, self.waits.length);
        Ok((lease, turn))
    }

    /// Takes a Lease that is free, in the version that was looked at.
    async fn take(&self, lease: Option<Lease>) -> Result<Lease, Cause> {
        let now = Some(MicroTime(Timestamp::now()));
        let before = lease.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let spec = LeaseSpec {
            acquire_time: now.clone(),
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.waits.length.as_secs()).ok(),
            lease_transitions: Some(before.lease_transitions.unwrap_or_default().saturating_add(1)),
            renew_time: now,
            ..before
        };
        match lease {
            Some(lease) => self.replace(&Lease { spec: Some(spec), ..lease }).await,
            None => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                let lease = Lease { metadata, spec: Some(spec) };
                self.called("creating the Lease", self.leases.create(&post(), &lease)).await
            }
        }
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, Cause> {
        self.called("writing the Lease", self.leases.replace(&self.name, &post(), lease)).await
    }

    /// Renews the Lease until it is lost, and returns how.
    async fn hold(&self, held: &mut Held) -> String {
        loop {
            tokio::time::sleep(self.waits.renewal()).await;
            let begun = Instant::now();
            // A process that stood still for long gives up without asking: another one may have begun.
            let failed = if begun.duration_since(held.renewed) < self.waits.deadline() {
                match self.renew(&held.lease).await {
                    Ok(Ok(lease)) => {
                        *held = Held { lease, renewed: begun };
                        continue;
                    }
                    Ok(Err(holder)) => return format!("it is held by {holder}"),
                    Err(cause) => cause.message,
                }
            } else {
                "this process stood still".to_owned()
            };
            if held.renewed.elapsed() >= self.waits.deadline() {
                return format!("it was not renewed for {} s: {failed}", held.renewed.elapsed().as_secs());
            }
            tracing::warn!("The Lease could not be renewed, it is tried again: {failed}");
        }
    }

    async fn renew(&self, lease: &Lease) -> Result<Result<Lease, String>, Cause> {
        let spec = lease.spec.clone().unwrap_or_default();
        self.rewrite(lease, LeaseSpec { renew_time: Some(MicroTime(Timestamp::now())), ..spec }).await
    }

    /// Lets the next one begin at once.
    async fn release(&self, held: Held) {
        let spec = held.lease.spec.clone().unwrap_or_default();
        let spec = LeaseSpec { holder_identity: None, acquire_time: None, renew_time: None, ..spec };
        match self.rewrite(&held.lease, spec).await {
            Ok(Ok(_)) => tracing::info!("The Lease is given back"),
            Ok(Err(holder)) => tracing::info!("The Lease is held by {holder} already"),
            // Then it runs out by itself.
            Err(cause) => tracing::warn!("The Lease could not be given back: {}", cause.message),
        }
    }

    /// Writes a Lease that this process holds. The error inside: who holds it now.
    async fn rewrite(&self, lease: &Lease, spec: LeaseSpec) -> Result<Result<Lease, String>, Cause> {
        let failed = match self.replace(&Lease { spec: Some(spec.clone()), ..lease.clone() }).await {
            Ok(lease) => return Ok(Ok(lease)),
            Err(cause) => cause,
        };
        if failed.backend_code != Some(CONFLICT) {
            return Err(failed);
        }
        // Somebody has written an annotation, or his own name, or this is the version before a renewal whose answer was not waited for.
        match self.look(&mut None).await? {
            (Some(lease), Turn::Mine) => Ok(Ok(self.replace(&Lease { spec: Some(spec), ..lease }).await?)),
            (_, Turn::Theirs(holder)) => Ok(Err(holder)),
            _ => Ok(Err("nobody".to_owned())),
        }
    }

    async fn called<T>(&self, what: &str, call: impl Future<Output = kube::Result<T>>) -> Result<T, Cause> {
        let of = |error: &kube::Error| refusal::cause(what, error, "the rights in the chart's Role for its Lease are needed");
        call_or(what, self.waits.renewal(), call, of).await
    }
}

/// How long a process that ends keeps its Lease for the passes under way.
const DRAIN: Duration = Duration::from_secs(1);

const CONFLICT: i32 = 409;

/// The system's name for this machine or pod, so that a person knows who leads.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
