//! What the scenarios share. `world` is where a scenario runs, `observing` what it sees of it; the other worlds add what
//! their themes need: proxies in between, a secured broker, workloads, EnOS.

pub mod accounts;
pub mod brokers;
pub mod calls;
pub mod commands;
pub mod enos;
pub mod leaks;
pub mod manifests;
pub mod matrix;
pub mod metrics;
pub mod observing;
pub mod policies;
pub mod process;
pub mod proxied;
pub mod requests;
pub mod secured;
pub mod settings;
pub mod sockets;
pub mod status;
pub mod three_brokers;
pub mod workloads;
pub mod world;
