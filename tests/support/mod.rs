//! What the scenarios share.

pub mod enos;
pub mod manifests;
pub mod matrix;
pub mod observing;
pub mod process;
pub mod proxied;
pub mod secured;
pub mod workloads;
pub mod world;
