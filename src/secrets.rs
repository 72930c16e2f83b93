//! Secrets and ConfigMaps, read when used and from the object's own namespace only. The operator may `get` them; it never
//! lists or watches them. An answer is kept for a few seconds, so that a thousand pipelines with one Secret do not each ask.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};

use crate::api::{CaSource, Reason};
use crate::clock;
use crate::domain::Cause;
use crate::refusal;

/// A rotated value is seen after this long at most.
const FRESH: Duration = Duration::from_secs(5);

type Values = BTreeMap<String, Vec<u8>>;
/// Kind, namespace and name.
type Key = (&'static str, String, String);

/// See the module. Without Debug: it holds what must not be shown.
pub struct Secrets {
    client: Client,
    deadline: Duration,
    kept: Mutex<HashMap<Key, (Instant, Values)>>,
}

impl Secrets {
    pub fn new(client: Client, deadline: Duration) -> Self {
        Self { client, deadline, kept: Mutex::default() }
    }

    /// The values of these keys of a Secret.
    ///
    /// # Errors
    /// `SecretNotFound` where the Secret or a key is missing, `PermissionMissing` where it may not be read.
    pub async fn secret<const N: usize>(&self, namespace: &str, name: &str, keys: [&str; N]) -> Result<[Vec<u8>; N], Cause> {
        pick("Secret", name, keys, &self.secret_values(namespace, name).await?)
    }

    /// A certificate and its key, by either pair of names that people have: of `kubernetes.io/tls`, or Strimzi's.
    ///
    /// # Errors
    /// As [`Secrets::secret`].
    pub async fn certificate(&self, namespace: &str, name: &str) -> Result<[Vec<u8>; 2], Cause> {
        let values = self.secret_values(namespace, name).await?;
        let strimzi = pick("Secret", name, ["user.crt", "user.key"], &values);
        pick("Secret", name, ["tls.crt", "tls.key"], &values).or_else(|missing| strimzi.map_err(|_| missing))
    }

    /// CA certificates: of the key, or of every key that looks like one.
    ///
    /// # Errors
    /// As [`Secrets::secret`].
    pub async fn ca(&self, namespace: &str, source: &CaSource) -> Result<Vec<u8>, Cause> {
        let (kind, at, values) = match (&source.secret_key_ref, &source.config_map_key_ref) {
            (Some(at), _) => ("Secret", at, self.secret_values(namespace, &at.name).await?),
            (None, Some(at)) => ("ConfigMap", at, self.config_map_values(namespace, &at.name).await?),
            (None, None) => {
                return Err(Cause::new(Reason::SecretNotFound, "ca: exactly one of secretKeyRef and configMapKeyRef is needed"));
            }
        };
        if let Some(key) = &at.key {
            let [pem] = pick(kind, &at.name, [key.as_str()], &values)?;
            return Ok(pem);
        }
        let is_ca = |key: &str| (key.ends_with(".crt") || key.ends_with(".pem")) && !matches!(key, "tls.crt" | "user.crt");
        let bundle: Vec<&[u8]> = values.iter().filter(|(key, _)| is_ca(key)).map(|(_, pem)| pem.as_slice()).collect();
        if bundle.is_empty() {
            let [pem] = pick(kind, &at.name, ["ca.crt"], &values)?;
            return Ok(pem);
        }
        Ok(bundle.join(&b'\n'))
    }

    async fn secret_values(&self, namespace: &str, name: &str) -> Result<Values, Cause> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let read = async {
            let found = api.get_opt(name).await?;
            Ok(found.map(|s| s.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.0)).collect()))
        };
        self.read("Secret", namespace, name, read).await
    }

    async fn config_map_values(&self, namespace: &str, name: &str) -> Result<Values, Cause> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let read = async {
            let found = api.get_opt(name).await?;
            Ok(found.map(|c| c.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.into_bytes())).collect()))
        };
        self.read("ConfigMap", namespace, name, read).await
    }

    async fn read(
        &self,
        kind: &'static str,
        namespace: &str,
        name: &str,
        read: impl Future<Output = Result<Option<Values>, kube::Error>>,
    ) -> Result<Values, Cause> {
        let key = (kind, namespace.to_owned(), name.to_owned());
        let now = clock::mono();
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, values)) = kept().get(&key)
            && now.saturating_duration_since(*at) < FRESH
        {
            return Ok(values.clone());
        }
        let found = match tokio::time::timeout(self.deadline, read).await {
            Ok(Ok(Some(values))) => Ok(values),
            Ok(Ok(None)) => Err(missing(kind, name)),
            Ok(Err(error)) => {
                let right =
                    format!("the operator may not read {kind} {name}: the right `get` on it is needed (the chart's ClusterRole has it)");
                Err(refusal::cause(&format!("reading {kind} {name}"), &error, &right))
            }
            Err(_) => Err(refusal::silent(&format!("reading {kind} {name}"), self.deadline)),
        };
        let mut kept = kept();
        kept.retain(|_, (at, _)| now.saturating_duration_since(*at) < FRESH);
        if let Ok(values) = &found {
            kept.insert(key, (now, values.clone()));
        }
        found
    }
}

fn missing(kind: &str, name: &str) -> Cause {
    Cause::new(Reason::SecretNotFound, format!("{kind} {name} is not in this namespace; create it, and the operator goes on by itself"))
}

fn pick<const N: usize>(kind: &str, name: &str, keys: [&str; N], values: &Values) -> Result<[Vec<u8>; N], Cause> {
    if let Some(lacks) = keys.iter().find(|key| !values.contains_key(**key)) {
        let keys: Vec<_> = values.keys().cloned().collect();
        let has = if keys.is_empty() { "it is empty".to_owned() } else { format!("it has {}", crate::domain::words::some_of(&keys)) };
        let text = format!("{kind} {name} has no key {lacks} ({has}); add it, and the operator goes on by itself");
        return Err(Cause::new(Reason::SecretNotFound, text));
    }
    Ok(keys.map(|key| values.get(key).cloned().unwrap_or_default()))
}
