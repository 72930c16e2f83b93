//! A Kubernetes operator that moves the read position of a streaming pipeline once per request, and proves it.
//!
//! A pass goes one way: observe, decide, perform, report (see `reconcile`).

#![deny(unsafe_code)]

pub mod api_server;
pub mod backend;
pub mod clock;
pub mod config;
pub mod context;
pub mod controller;
pub mod definitions;
/// What the tests of `decide` look at, for those of this crate.
#[cfg(test)]
#[path = "../crates/core/src/decide/tests/fixtures.rs"]
mod fixtures;
pub mod fresh;
#[cfg(test)]
mod messages;
pub mod metrics;
pub mod observe;
pub mod pem;
pub mod perform;
pub mod process_state;
pub mod reconcile;
pub mod record_store;
pub mod refusal;
pub mod report;
pub mod secrets;
pub mod server;
pub mod telemetry;
pub mod uninstall;
pub mod unreadable;

#[cfg(test)]
use backend::facts as facts_of;
use stream_pipeline_api as api;
use stream_pipeline_core as domain;
use stream_pipeline_core::decide;
