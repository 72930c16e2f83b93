//! `spec.kafka`: a consumer group, how its cluster is reached, and what runs its consumers.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{CaSource, SecretReference, rules};

const MECHANISM: &str = "self in ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512', 'OAUTHBEARER']";
/// A name of the API: DNS labels.
const API_VERSION: &str = "self.matches('^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?v[a-z0-9]+$')";

/// A consumer group on a Kafka cluster.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::null_is_absent)]
pub struct KafkaBackend {
    /// Addresses (host:port) of some brokers of the cluster, at most 8; the others are learned from them. They may change; the cluster
    /// they lead to may not.
    #[schemars(schema_with = "rules::bootstrap_schema")]
    pub bootstrap_servers: Vec<String>,
    /// The consumer group (`group.id`), exactly as the consumers spell it. Immutable.
    #[x_kube(
        validation = Rule::new("self == oldSelf").message("spec.kafka.consumerGroup is immutable: delete the StreamPipeline and create it anew for another group"),
        validation = Rule::new(rules::RENDERED).message("spec.kafka.consumerGroup: it still has the marks of a template (such as ${…}, {{ … }} or <% … %>), so it was never rendered; render the manifest"),
        validation = Rule::new(rules::VISIBLE).message("spec.kafka.consumerGroup: no control, invisible or line-breaking characters; spell it exactly as the consumers do")
    )]
    #[schemars(length(min = 1, max = 255))]
    pub consumer_group: String,
    /// Speak TLS with the brokers; certificates and host names are always verified. {} trusts the system's CAs. Omitted: plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Box<Tls>>,
    /// Authenticate by SASL. Omitted: no SASL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Box<Sasl>>,
    /// What runs the consumers: anything with a scale subresource, in the same namespace. The pipeline is inactive only
    /// when all of them are at 0 too; with `whenActive: Pause` they are scaled to 0 and back. Omitted: the group alone counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["apiVersion".into(), "kind".into(), "name".into()]))]
    #[schemars(length(min = 1, max = 16))]
    pub workloads: Option<Vec<WorkloadReference>>,
}

/// TLS with the brokers.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::null_is_absent)]
pub struct Tls {
    /// CA certificates (PEM) to trust instead of the system's. Omitted: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaSource>,
    /// Secret with a client certificate and its key: tls.crt and tls.key, or user.crt and user.key. Omitted: none is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_secret_ref: Option<SecretReference>,
}

/// Authentication by SASL.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::null_is_absent, extend("x-kubernetes-map-type" = "atomic"))]
#[x_kube(
    validation = Rule::new("(self.mechanism == 'OAUTHBEARER') == (has(self.tokenEndpoint) && has(self.clientID))").message("spec.kafka.sasl: tokenEndpoint and clientID are needed with OAUTHBEARER, and mean nothing with another mechanism"),
    validation = Rule::new("self.mechanism == 'OAUTHBEARER' || !(has(self.scope) || has(self.ca) || has(self.tokenEndpoint) || has(self.clientID))").message("spec.kafka.sasl: tokenEndpoint, clientID, scope and ca are for OAUTHBEARER only; remove them")
)]
pub struct Sasl {
    /// PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.
    #[x_kube(validation = Rule::new(MECHANISM).message("spec.kafka.sasl.mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER are supported; GSSAPI (Kerberos) and AWS_MSK_IAM are not. Use a listener that offers one of the four"))]
    #[schemars(length(max = 64))]
    pub mechanism: String,
    /// Secret with the keys username and password; with OAUTHBEARER with the key clientSecret.
    pub credentials_secret_ref: SecretReference,
    /// OAUTHBEARER: where a token is had for the client's id and secret (OAuth 2 client credentials).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::ENDPOINT).message("spec.kafka.sasl.tokenEndpoint: https://host/path, without user, query or fragment"))]
    #[schemars(length(max = 512))]
    pub token_endpoint: Option<String>,
    /// OAUTHBEARER: the client's id.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "clientID")]
    #[x_kube(validation = Rule::new(r"self.size() > 0 && !self.matches(r'[\p{Cc}\p{Zl}\p{Zp}]')").message("spec.kafka.sasl.clientID: printable characters, at least one"))]
    #[schemars(length(max = 255))]
    pub client_id: Option<String>,
    /// OAUTHBEARER: scopes to ask for, separated by spaces. Omitted: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub scope: Option<String>,
    /// OAUTHBEARER: CA certificates (PEM) to trust at the token endpoint. Omitted: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaSource>,
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::EnumString, strum::IntoStaticStr)]
pub enum Mechanism {
    #[strum(serialize = "PLAIN")]
    Plain,
    #[strum(serialize = "SCRAM-SHA-256")]
    ScramSha256,
    #[strum(serialize = "SCRAM-SHA-512")]
    ScramSha512,
    #[strum(serialize = "OAUTHBEARER")]
    OAuthBearer,
}

/// An object with a scale subresource, in the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadReference {
    /// Such as apps/v1.
    #[x_kube(validation = Rule::new(API_VERSION).message("spec.kafka.workloads[].apiVersion: group/version, such as apps/v1"))]
    #[schemars(length(max = 253))]
    pub api_version: String,
    /// Such as Deployment or StatefulSet.
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z][A-Za-z0-9]*$')").message("spec.kafka.workloads[].kind: the kind as it is written in a manifest, such as Deployment"))]
    #[schemars(length(max = 63))]
    pub kind: String,
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')").message("spec.kafka.workloads[].name: the name of an object in the same namespace"))]
    #[schemars(length(max = 253))]
    pub name: String,
}

impl WorkloadReference {
    /// The same object, whichever version of its group it is named by.
    pub fn is(&self, other: &Self) -> bool {
        let group = |at: &Self| at.api_version.rsplit_once('/').map_or(String::new(), |(group, _)| group.to_owned());
        (group(self), &self.kind, &self.name) == (group(other), &other.kind, &other.name)
    }
}
