//! A Kubernetes operator that moves the read position of a streaming pipeline once per request, and proves it.
//!
//! A pass goes one way: observe, decide, perform, report (see `reconcile`).

#![deny(unsafe_code)]

pub mod api;
pub mod backend;
pub mod backoff;
pub mod clock;
pub mod config;
pub mod context;
pub mod controller;
pub mod decide;
pub mod digest;
pub mod domain;
pub mod endpoints;
pub mod kubernetes;
pub mod ledger;
pub mod memory;
pub mod metrics;
pub mod observe;
pub mod perform;
pub mod reconcile;
pub mod report;
pub mod server;
pub mod telemetry;
pub mod unreadable;
