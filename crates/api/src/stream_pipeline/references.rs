//! References to Secrets and ConfigMaps, always in the namespace of the object that names them.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rules;

/// A Secret in the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct SecretReference {
    /// Its name.
    #[x_kube(validation = Rule::new(rules::OBJECT).message("name: the name of a Secret in the same namespace: lower-case letters, digits, '-' and '.'; a template must be rendered before"))]
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Where certificates come from: exactly one of the two.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::null_is_absent, extend("x-kubernetes-map-type" = "atomic"))]
#[x_kube(validation = Rule::new("has(self.secretKeyRef) != has(self.configMapKeyRef)").message("ca: exactly one of secretKeyRef and configMapKeyRef is needed"))]
pub struct CaSource {
    /// A key of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyReference>,
    /// A key of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyReference>,
}

/// A key of a Secret or ConfigMap in the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[schemars(transform = rules::null_is_absent, extend("x-kubernetes-map-type" = "atomic"))]
pub struct KeyReference {
    /// Name of the object.
    #[x_kube(validation = Rule::new(rules::OBJECT).message("name: the name of an object in the same namespace: lower-case letters, digits, '-' and '.'; a template must be rendered before"))]
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its key; a bundle of several certificates may be in it. Omitted: every key that ends in .crt or .pem, but for tls.crt
    /// and user.crt, so that an old and a new CA in one object are both trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// Where offsets come from.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct OffsetsSource {
    /// A key of a ConfigMap. Each line is `topic,partition,offset` or `group,topic,partition,offset`, without a heading.
    pub config_map_key_ref: ConfigMapKeyReference,
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

/// An OffsetResetRecord in the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct RecordReference {
    /// Its name, as `kubectl get osr` shows it.
    #[x_kube(validation = Rule::new(rules::OBJECT).message("name: the name of an OffsetResetRecord in the same namespace, as kubectl get osr shows it: lower-case letters, digits, '-' and '.'; a template must be rendered before"))]
    #[schemars(length(max = 253))]
    pub name: String,
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

/// A key of a ConfigMap in the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct ConfigMapKeyReference {
    /// Name of the ConfigMap.
    #[x_kube(validation = Rule::new(rules::OBJECT).message("name: the name of a ConfigMap in the same namespace: lower-case letters, digits, '-' and '.'; a template must be rendered before"))]
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its key.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}
