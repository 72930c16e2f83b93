//! The contract, row by row, on a real API server and a real broker. Each test has its own namespace, topics, groups and
//! operator, so all run side by side. A directory is a theme; what several themes need is in `support`.

#[path = "../support/mod.rs"]
mod support;

mod active;
mod api;
mod differential;
mod enos;
mod faults;
mod gitops;
mod hostile;
mod installation;
mod kafka;
mod kill;
mod messages;
mod once;
mod secured;
mod workloads;
