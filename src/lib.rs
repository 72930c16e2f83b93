//! A Kubernetes operator that moves the read position of a streaming pipeline once per request, and proves it.
//!
//! A pass goes one way: observe, decide, perform, report (see `reconcile`).

#![deny(unsafe_code)]

pub mod backend;
pub mod clock;
pub mod config;
pub mod context;
pub mod controller;
pub mod endpoints;
pub mod fair;
/// The fixtures of `decide`'s tests, for the tests of this crate.
#[cfg(test)]
#[path = "../crates/core/src/decide/tests/fixtures.rs"]
mod fixtures;
pub mod kubernetes;
pub mod leader;
#[cfg(test)]
mod messages;
pub mod metrics;
pub mod object;
mod observe;
mod pass;
mod perform;
pub mod pipelines;
pub mod process_state;
pub mod prune;
pub mod reconcile;
pub mod record_store;
pub mod records;
pub mod report;
pub mod running;
pub mod server;
pub mod telemetry;
mod unreadable;

#[cfg(test)]
use backend::facts as facts_of;
