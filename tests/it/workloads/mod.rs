//! Workloads that are scaled to 0 for a reset (`spec.kafka.workloads`): real controllers, and a real consumer per pod.

mod admission;
mod held;
mod matrix;
mod pause;
mod refused;
mod taken_away;
