//! Which namespaces the operator watches.

use std::collections::BTreeSet;

use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};

/// These; none: all.
#[derive(Clone, Debug, Default)]
pub struct Scope(BTreeSet<String>);

impl Scope {
    pub fn of(namespaces: &[String]) -> Self {
        Self(namespaces.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
    }

    /// One for each namespace, with its name, or one for all.
    pub fn apis<K>(&self, client: &Client) -> Vec<(Option<&str>, Api<K>)>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        if self.0.is_empty() {
            return vec![(None, Api::all(client.clone()))];
        }
        self.0.iter().map(|name| (Some(name.as_str()), Api::namespaced(client.clone(), name))).collect()
    }
}
