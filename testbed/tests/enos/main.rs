//! The simulated EnOS, through a small client of its own.

mod broker;
mod client;
mod faults;
mod pipelines;
mod tokens;
mod vendor;
