//! The contract, row by row, on a real API server and a real broker. Each test has its own namespace, topics, groups and
//! operator, so all run side by side.

mod cells;
mod watching;
mod wired;
mod world;

mod chart;
mod manifests;
mod next_version;
mod record_rules;

mod kafka_groups;
mod kafka_numbers;
mod kafka_targets;

mod active;
mod advice;
mod between;
mod chunks;
mod client_process;
mod clocks;
mod clusters;
mod crash;
mod created;
mod doors;
mod duplicates;
mod enos;
mod examples;
mod faults;
mod hostile;
mod hostile_broker;
mod kill;
mod logs;
mod once;
mod once_partly;
mod once_records;
mod once_restored;
mod once_steps;
mod outdated;
mod restored;
mod secured;
mod set_back;
mod told;
mod workloads;
