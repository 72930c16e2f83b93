//! Where the offsets of a Kafka group go: every target, and topics, groups and clusters that are not as one would wish.

mod approved;
mod client_process;
mod clusters;
mod groups;
mod history;
mod numbers;
mod offsets_from;
mod page;
mod races;
mod targets;
mod undo;
