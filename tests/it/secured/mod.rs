//! Brokers with TLS, SASL, OAuth and ACLs: one that all tests share; each has its own topics, groups, Secrets and operator.

mod advice;
mod crowd;
mod doors;
mod listeners;
mod mistakes;
mod paused;
mod rights;
mod rotation;
