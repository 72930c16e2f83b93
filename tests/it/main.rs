//! The contract, row by row, on a real API server and a real broker. Each test has its own namespace, topics, groups and
//! operator, so all run side by side.

mod crash;
mod faults;
mod world;

mod active;
mod once;

mod chart;
mod manifests;
mod record_rules;

mod kafka_groups;
mod kafka_targets;
