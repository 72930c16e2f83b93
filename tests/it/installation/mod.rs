//! Installing, upgrading and uninstalling: the chart, the examples, and versions of CRDs and records that are not this operator's.

mod chart;
mod deploy;
mod examples;
mod image;
mod life;
mod namespaces;
mod newer_version;
pub mod older_crds;
mod pages;
mod policies;
mod release;
mod rights;
mod uninstall;
mod values;
