//! What the API server accepts and refuses: the schema, the rules of the custom resources, and who may do what.

mod manifests;
mod record_rules;
mod rights;
