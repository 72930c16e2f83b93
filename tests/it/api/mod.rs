//! What the API server accepts and refuses: the schema, the rules of the custom resources, and who may do what.

pub mod manifests;
mod record_rules;
