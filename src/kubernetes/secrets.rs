//! Secrets and ConfigMaps, read when used and from the object's own namespace only. The operator may `get` them; it never
//! lists or watches them. An answer is kept for a few seconds, so that a thousand pipelines with one Secret do not each ask.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use parking_lot::Mutex;

use super::call::call_or;
use super::pem::{self, Form};
use super::refusal;
use crate::clock;
use stream_pipeline_api::{CaSource, Reason};
use stream_pipeline_core::{Cause, words};

/// A rotated value is seen after this long at most.
const FRESH: Duration = Duration::from_secs(5);

type Values = BTreeMap<String, Vec<u8>>;
/// Kind, namespace and name.
type Key = (&'static str, String, String);

/// See the module's own comment. No Debug, because it holds secrets.
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

    /// A certificate and its key, under either usual pair of names: those of `kubernetes.io/tls`, or Strimzi's. `field`: the field of the
    /// spec that names the Secret.
    ///
    /// # Errors
    /// As [`Secrets::secret`]; `TlsFailed` where a value is not what it is named for.
    pub async fn certificate(&self, namespace: &str, field: &str, name: &str) -> Result<[String; 2], Cause> {
        let values = self.secret_values(namespace, name).await?;
        let pair = |keys: [&'static str; 2]| pick("Secret", name, keys, &values).map(|found| (keys, found));
        let (keys, [certificate, key]) =
            pair(["tls.crt", "tls.key"]).or_else(|missing| pair(["user.crt", "user.key"]).map_err(|_| missing))?;
        let at = |key| At { kind: "Secret", name, key, field };
        Ok([at(keys[0]).pem(certificate, Form::Certificates)?, at(keys[1]).pem(key, Form::Key)?])
    }

    /// CA certificates: of the given key, or of every key that looks like one. `field`: the field of the spec that names them.
    ///
    /// # Errors
    /// As [`Secrets::secret`]; `TlsFailed` where a value holds no certificates: TLS would trust the system's CAs instead.
    pub async fn ca(&self, namespace: &str, field: &str, source: &CaSource) -> Result<String, Cause> {
        let (kind, at, values) = match (&source.secret_key_ref, &source.config_map_key_ref) {
            (Some(at), _) => ("Secret", at, self.secret_values(namespace, &at.name).await?),
            (None, Some(at)) => ("ConfigMap", at, self.config_map_values(namespace, &at.name).await?),
            (None, None) => {
                return Err(Cause::new(
                    Reason::SecretNotFound,
                    format!("{field}: exactly one of secretKeyRef and configMapKeyRef is needed"),
                ));
            }
        };
        let of = |key: &str, value: Vec<u8>| At { kind, name: &at.name, key, field }.pem(value, Form::Certificates);
        if let Some(key) = &at.key {
            let [value] = pick(kind, &at.name, [key.as_str()], &values)?;
            return of(key, value);
        }
        let is_ca = |key: &str| (key.ends_with(".crt") || key.ends_with(".pem")) && !matches!(key, "tls.crt" | "user.crt");
        let named = values.iter().filter(|(key, value)| is_ca(key) && !pem::is_of_another_kind(value));
        let bundle = named.map(|(key, value)| of(key, value.clone())).collect::<Result<Vec<_>, _>>()?;
        if bundle.is_empty() {
            let [value] = pick(kind, &at.name, ["ca.crt"], &values)?;
            return of("ca.crt", value);
        }
        Ok(bundle.join("\n"))
    }

    /// A text in a ConfigMap, read anew: whoever has just corrected it asks with a new id at once.
    ///
    /// # Errors
    /// As [`Secrets::secret`]; `InvalidTarget` where it is no text.
    pub async fn text_now(&self, namespace: &str, name: &str, key: &str) -> Result<String, Cause> {
        self.kept.lock().remove(&("ConfigMap", namespace.to_owned(), name.to_owned()));
        let [value] = pick("ConfigMap", name, [key], &self.config_map_values(namespace, name).await?)?;
        String::from_utf8(value).map_err(|_| {
            Cause::new(
                Reason::InvalidTarget,
                format!("key {key} of ConfigMap {name} is no text in UTF-8; nothing was sent. Write it anew, and ask with a new id"),
            )
        })
    }

    /// Forgets values that are too old to be used again.
    pub fn sweep(&self, now: Instant) {
        self.kept.lock().retain(|_, (at, _)| now.saturating_duration_since(*at) < FRESH);
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
            // kubectl puts the value here if the file is not text.
            let binary =
                |c: &mut ConfigMap| c.binary_data.take().unwrap_or_default().into_iter().map(|(k, v)| (k, v.0)).collect::<Vec<_>>();
            Ok(found.map(|mut c| {
                let binary = binary(&mut c);
                c.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.into_bytes())).chain(binary).collect()
            }))
        };
        self.read("ConfigMap", namespace, name, read).await
    }

    async fn read(
        &self,
        kind: &'static str,
        namespace: &str,
        name: &str,
        read: impl Future<Output = kube::Result<Option<Values>>>,
    ) -> Result<Values, Cause> {
        let key = (kind, namespace.to_owned(), name.to_owned());
        let now = clock::mono();
        let kept = || self.kept.lock();
        if let Some((at, values)) = kept().get(&key)
            && now.saturating_duration_since(*at) < FRESH
        {
            return Ok(values.clone());
        }
        let what = format!("reading {kind} {name}");
        let refused = |error: &kube::Error| {
            let right =
                format!("the operator may not read {kind} {name}: the right `get` on it is needed (the chart's ClusterRole has it)");
            refusal::cause(&what, error, &right)
        };
        let found = call_or(&what, self.deadline, read, refused).await.and_then(|found| found.ok_or_else(|| missing(kind, name)));
        let mut kept = kept();
        kept.retain(|_, (at, _)| now.saturating_duration_since(*at) < FRESH);
        if let Ok(values) = &found {
            kept.insert(key, (now, values.clone()));
        }
        found
    }
}

/// Where a value is, and which field of the spec named it.
struct At<'a> {
    kind: &'a str,
    name: &'a str,
    key: &'a str,
    field: &'a str,
}

impl At<'_> {
    fn pem(&self, value: Vec<u8>, form: Form) -> Result<String, Cause> {
        let wrong = match pem::check(&value, form) {
            Ok(()) => match String::from_utf8(value) {
                Ok(text) => return Ok(text),
                Err(_) => "it is not text".to_owned(),
            },
            Err(wrong) => wrong,
        };
        let (kind, name, key, field) = (self.kind, self.name, words::cut(self.key, 253), self.field);
        let text = format!(
            "{field}: key {key} of {kind} {name} must hold {}, but {wrong}; correct it, and the operator goes on by itself",
            form.expected()
        );
        Err(Cause::new(Reason::TlsFailed, text))
    }
}

/// A value that is sent as text.
///
/// # Errors
/// `AuthenticationFailed` where it is not UTF-8.
pub fn text(name: &str, key: &str, value: Vec<u8>) -> Result<String, Cause> {
    String::from_utf8(value).map_err(|_| {
        let text =
            format!("the value of key {key} in Secret {name} is binary, not text (UTF-8); correct it, and the operator goes on by itself");
        Cause::new(Reason::AuthenticationFailed, text)
    })
}

fn missing(kind: &str, name: &str) -> Cause {
    Cause::new(Reason::SecretNotFound, format!("{kind} {name} is not in this namespace; create it, and the operator goes on by itself"))
}

fn pick<const N: usize>(kind: &str, name: &str, keys: [&str; N], values: &Values) -> Result<[Vec<u8>; N], Cause> {
    if let Some(lacks) = keys.iter().find(|key| !values.contains_key(**key)) {
        let keys: Vec<_> = values.keys().cloned().collect();
        let has = if keys.is_empty() { "it is empty".to_owned() } else { format!("it has {}", words::some_of(&keys)) };
        let text = format!("{kind} {name} has no key {lacks} ({has}); add it, and the operator goes on by itself");
        return Err(Cause::new(Reason::SecretNotFound, text));
    }
    Ok(keys.map(|key| values.get(key).cloned().unwrap_or_default()))
}

/// How each way to fail is reported, with what leads to it: for the page of all messages.
#[cfg(test)]
pub(crate) fn messages() -> Vec<(String, Cause)> {
    let lacks = |values: &[&str]| {
        let values: Values = values.iter().map(|key| ((*key).to_owned(), Vec::new())).collect();
        pick("Secret", "app", ["username"], &values).unwrap_err()
    };
    vec![
        ("the Secret is not there".to_owned(), missing("Secret", "app")),
        ("the Secret has another key".to_owned(), lacks(&["user", "password"])),
        ("the Secret is empty".to_owned(), lacks(&[])),
    ]
}
