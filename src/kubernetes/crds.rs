//! Compares the installed CRDs with this operator's own. The API server drops fields that an older CRD does not have from what people and
//! the operator write: a dropped `dryRun` would be a real reset. What follows from a difference is decided elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::{Api, Client, CustomResourceExt, ResourceExt};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::call::call;
use stream_pipeline_api::{OffsetResetRecord, Reason, StreamPipeline};
use stream_pipeline_core::{Cause, Outdated, Timing};

/// How often they are compared while nothing is missing.
const INTERVAL: Duration = Duration::from_secs(30);

/// How long the API server may take to use a changed CRD.
const SERVED: Duration = Duration::from_secs(1);

/// What the last comparison found.
#[derive(Clone, Debug, Default)]
pub struct Definitions(Arc<State>);

#[derive(Debug, Default)]
struct State {
    outdated: Mutex<Option<Outdated>>,
    /// The versions of the installed CRDs that were compared last.
    compared: Mutex<Vec<String>>,
    /// How often the CRDs were upgraded.
    upgrades: watch::Sender<u64>,
}

impl Definitions {
    /// Why nothing but statuses may be written.
    pub fn outdated(&self) -> Option<Outdated> {
        self.0.outdated.lock().clone()
    }

    /// Resolves when the CRDs are upgraded. A watch that was started before goes on leaving out the fields that the older CRDs lacked, so
    /// it has to be started anew before anything is done.
    pub fn upgraded(&self) -> impl Future<Output = ()> + use<> {
        let mut upgrades = self.0.upgrades.subscribe();
        // The sender lives as long as the process.
        async move { drop(upgrades.changed().await) }
    }

    /// Returns after the first comparison. False: the process was told to end before.
    pub async fn known(&self, client: &Client, timing: &Timing, shutdown: &CancellationToken) -> bool {
        let compared = async {
            loop {
                match self.compare(client, timing).await {
                    Ok(found) => return self.note(found),
                    Err(cause) => {
                        tracing::warn!(reason = %cause.reason, "The installed CRDs cannot be read; nothing is done before: {}", cause.message)
                    }
                }
                tokio::time::sleep(timing.recheck_waiting).await;
            }
        };
        shutdown.run_until_cancelled(compared).await.is_some()
    }

    /// Compares them again and again, more often while something is missing. If they cannot be read, the last result stays.
    pub async fn watch(self, client: Client, timing: Timing, shutdown: CancellationToken) {
        loop {
            let pause = if self.outdated().is_some() { timing.recheck_waiting } else { INTERVAL };
            if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            match self.compare(&client, &timing).await {
                Ok(None) if self.outdated().is_some() => {
                    tokio::time::sleep(SERVED).await;
                    self.0.upgrades.send_modify(|count| *count += 1);
                    // Passes that are under way still go by the old result.
                    tokio::time::sleep(SERVED).await;
                    self.note(None);
                }
                Ok(found) => self.note(found),
                Err(cause) => tracing::warn!(reason = %cause.reason, "The installed CRDs cannot be read: {}", cause.message),
            }
        }
    }

    async fn compare(&self, client: &Client, timing: &Timing) -> Result<Option<Outdated>, Cause> {
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        let reading = |name: &str| format!("reading the CRD {name}");
        // A CRD is large, and does not change for months.
        let mut versions = Vec::new();
        for name in [StreamPipeline::crd_name(), OffsetResetRecord::crd_name()] {
            let installed = call(&reading(name), timing.call_deadline, api.get_metadata(name)).await?;
            versions.push(installed.resource_version().unwrap_or_default());
        }
        if *self.0.compared.lock() == versions {
            return Ok(self.outdated());
        }
        let (mut found, mut compared) = (None, Vec::new());
        for own in [StreamPipeline::crd(), OffsetResetRecord::crd()] {
            let name = own.name_any();
            let installed = call(&reading(&name), timing.call_deadline, api.get(&name)).await?;
            compared.push(installed.resource_version().unwrap_or_default());
            found = found.or_else(|| lacks(&own, &installed));
        }
        *self.0.compared.lock() = compared;
        Ok(found)
    }

    fn note(&self, found: Option<Outdated>) {
        let mut last = self.0.outdated.lock();
        match (&*last, &found) {
            (before, Some(now)) if before.as_ref() != Some(now) => tracing::error!(reason = %now.cause.reason, "{}", now.cause.message),
            (Some(_), None) => tracing::info!("The installed CRDs have all that this operator needs now"),
            _ => {}
        }
        *last = found;
    }
}

/// What the installed CRD lacks. A newer CRD only has more.
fn lacks(own: &CustomResourceDefinition, installed: &CustomResourceDefinition) -> Option<Outdated> {
    let missing = own.spec.versions.iter().find_map(|version| {
        let found = installed.spec.versions.iter().find(|v| v.name == version.name && v.served);
        match (schema(version), found.and_then(schema)) {
            (Some(own), Some(installed)) => missing(own, installed),
            (own, _) => own.map(|_| version.name.clone()),
        }
    })?;
    let name = own.name_any();
    let text = format!(
        "the installed CRD {name} is older than this operator: it does not know {missing}, which the API server drops or refuses. \
         Nothing is sent or stopped until it is upgraded (what was stopped is started again all the same): helm upgrade of the chart brings it, or kubectl apply --server-side -f crds/"
    );
    let asked = own.spec.names.kind == "StreamPipeline" && !missing.starts_with("status");
    Some(Outdated { cause: Cause::new(Reason::CRDOutdated, text), asked })
}

type Version = k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion;

fn schema(version: &Version) -> Option<&JSONSchemaProps> {
    version.schema.as_ref()?.open_api_v3_schema.as_ref()
}

/// The first field or value that only the first of the two has.
fn missing(own: &JSONSchemaProps, installed: &JSONSchemaProps) -> Option<String> {
    if own.x_kubernetes_preserve_unknown_fields == Some(true) && installed.x_kubernetes_preserve_unknown_fields != Some(true) {
        return Some("*".to_owned());
    }
    let values = |schema: &JSONSchemaProps| schema.enum_.clone().unwrap_or_default();
    let known = values(installed);
    if let Some(value) = values(own).into_iter().find(|value| !known.is_empty() && !known.contains(value)) {
        return Some(value.0.to_string());
    }
    let none = BTreeMap::new();
    let fields = installed.properties.as_ref().unwrap_or(&none);
    let of_fields = own.properties.iter().flatten().find_map(|(name, own)| match fields.get(name) {
        None => Some(name.clone()),
        Some(installed) => missing(own, installed).map(|at| format!("{name}.{at}")),
    });
    let of_items = || match (&own.items, &installed.items) {
        (Some(JSONSchemaPropsOrArray::Schema(own)), Some(JSONSchemaPropsOrArray::Schema(installed))) => missing(own, installed),
        _ => None,
    };
    let of_values = || match (&own.additional_properties, &installed.additional_properties) {
        (Some(JSONSchemaPropsOrBool::Schema(own)), Some(JSONSchemaPropsOrBool::Schema(installed))) => missing(own, installed),
        _ => None,
    };
    of_fields.or_else(of_items).or_else(of_values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(crd: &CustomResourceDefinition, change: impl Fn(&mut JSONSchemaProps)) -> CustomResourceDefinition {
        let mut crd = crd.clone();
        let schema = crd.spec.versions[0].schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut());
        change(schema.expect("a schema"));
        crd
    }

    /// The field at this path.
    fn at<'a>(schema: &'a mut JSONSchemaProps, path: &[&str]) -> &'a mut JSONSchemaProps {
        path.iter().fold(schema, |schema, name| schema.properties.as_mut().and_then(|p| p.get_mut(*name)).expect("a field"))
    }

    fn says(own: &CustomResourceDefinition, installed: &CustomResourceDefinition) -> Option<(bool, String)> {
        lacks(own, installed).map(|found| {
            assert_eq!(found.cause.reason, Reason::CRDOutdated);
            (found.asked, found.cause.message)
        })
    }

    #[test]
    fn o29_an_older_definition_is_told_by_what_it_does_not_know_and_a_newer_one_is_none() {
        let (pipeline, record) = (StreamPipeline::crd(), OffsetResetRecord::crd());
        let without = |crd: &CustomResourceDefinition, path: &[&str], name: &str| {
            changed(crd, |schema| {
                let gone = at(schema, path).properties.as_mut().and_then(|p| p.remove(name));
                assert!(gone.is_some(), "{name}");
            })
        };
        for crd in [&pipeline, &record] {
            assert_eq!(says(crd, crd), None);
        }
        let asks = without(&pipeline, &["spec", "offsetReset"], "dryRun");
        let (asked, message) = says(&pipeline, &asks).expect("it is older");
        assert!(asked && message.contains("streampipelines.streampipeline.io is older") && message.contains("spec.offsetReset.dryRun"));
        assert!(message.contains("helm upgrade") && message.contains("kubectl apply --server-side -f crds/"), "{message}");
        assert_eq!(says(&asks, &pipeline), None, "the newer one has more");
        let told = without(&pipeline, &["status"], "observedUID");
        assert!(says(&pipeline, &told).is_some_and(|(asked, m)| !asked && m.contains("status.observedUID")));
        let planned = without(&record, &["spec", "plan"], "chunkSize");
        assert!(says(&record, &planned).is_some_and(|(asked, m)| !asked && m.contains("spec.plan.chunkSize")));
        let strict = changed(&pipeline, |s| at(s, &["spec", "offsetReset"]).x_kubernetes_preserve_unknown_fields = None);
        assert!(says(&pipeline, &strict).is_some_and(|(asked, m)| asked && m.contains("spec.offsetReset.*")));
        let fewer = changed(&pipeline, |s| {
            let known = at(s, &["spec", "offsetReset", "whenActive"]).enum_.as_mut().expect("words");
            known.retain(|word| word.0 != "Pause");
        });
        assert!(says(&pipeline, &fewer).is_some_and(|(asked, m)| asked && m.contains("spec.offsetReset.whenActive.\"Pause\"")));
        let mut other = pipeline.clone();
        other.spec.versions[0].name = "v1alpha0".to_owned();
        assert!(says(&pipeline, &other).is_some_and(|(asked, m)| asked && m.contains("v1alpha1")));
    }
}
