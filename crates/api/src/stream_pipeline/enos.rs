//! `spec.enos`: a pipeline of the EnOS Stream Processing Service.

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CaSource, SecretReference, rules};

/// A pipeline of the EnOS Stream Processing Service, reached through the API gateway (Stream Processing API v2.0).
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::null_is_absent)]
#[x_kube(
    validation = Rule::new("has(self.pipelineID) != has(self.pipelineName)").message("spec.enos: exactly one of pipelineID and pipelineName is needed; keep the one that is meant"),
    validation = Rule::new("(has(self.pipelineID) ? self.pipelineID : '') == (has(oldSelf.pipelineID) ? oldSelf.pipelineID : '') && (has(self.pipelineName) ? self.pipelineName : '') == (has(oldSelf.pipelineName) ? oldSelf.pipelineName : '')").message("spec.enos.pipelineID and pipelineName are immutable: delete the StreamPipeline and create it anew for another pipeline")
)]
pub struct EnosBackend {
    /// Address of the API gateway, such as https://apigw.example.com. http:// only where the operator was started with --allow-plain-http.
    #[x_kube(validation = Rule::new(rules::ENDPOINT).message("spec.enos.endpoint: https://host or https://host:port, without user, query or fragment, such as https://apigw.example.com"))]
    #[schemars(length(max = 512))]
    pub endpoint: String,
    /// The organization (OU) the pipeline belongs to, such as o15500000000001. Immutable.
    #[serde(rename = "orgID")]
    #[x_kube(
        validation = Rule::new("self == oldSelf").message("spec.enos.orgID is immutable: delete the StreamPipeline and create it anew for another organization"),
        validation = Rule::new("self.matches('^[A-Za-z0-9_-]+$')").message("spec.enos.orgID: letters, digits, '-' and '_', such as o15500000000001")
    )]
    #[schemars(length(max = 64))]
    pub org_id: String,
    /// The pipeline's id. Immutable. Omitted: pipelineName names it.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "pipelineID")]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-]+$')").message("spec.enos.pipelineID: letters, digits, '-' and '_', as the console shows it"))]
    #[schemars(length(max = 64))]
    pub pipeline_id: Option<String>,
    /// The pipeline's name, which must be unique in the organization; the id first found for it is kept. Immutable. Omitted: pipelineID names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new(r"self.size() > 0 && !self.matches(r'[\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}]')").message("spec.enos.pipelineName: printable characters, at least one, exactly as the console shows it"),
        validation = Rule::new(rules::RENDERED).message("spec.enos.pipelineName: it still has the marks of a template (such as ${…}, {{ … }} or <% … %>), so it was never rendered; render the manifest, or name the pipeline by pipelineID")
    )]
    #[schemars(length(max = 255))]
    pub pipeline_name: Option<String>,
    /// Secret in the same namespace with the keys accessKey and secretKey of an application that may operate the pipeline.
    pub credentials_secret_ref: SecretReference,
    /// CA certificates (PEM) to trust instead of the system's. Omitted: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaSource>,
    /// How to start the pipeline again where the operator paused it. Needed with `whenActive: Pause`, since the platform
    /// does not tell how it was started. Omitted: the operator never starts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartOptions>,
}

/// The body of Start Pipeline.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = rules::null_is_absent)]
pub struct StartOptions {
    /// Standalone (one engine) or Cluster (YARN).
    pub execution_mode: ExecutionMode,
    /// Most records a second it reads from Kafka; the platform's own default is 1000.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub kafka_rate: i64,
    /// Resources, handed to the platform as they are: a number of CUs, or an object such as {"server":"1"}. Omitted: not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_json")]
    pub resource_config: Option<Value>,
}

/// How the platform runs a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExecutionMode {
    Standalone,
    Cluster,
}

fn any_json(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}
