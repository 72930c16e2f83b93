//! Pipelines of EnOS, on a simulator of the platform that shares nothing with the operator's client.

mod addresses;
mod codes;
mod deleted;
mod held;
mod matrix;
mod once;
mod pause;
mod platform;
mod reset;
mod secrets;
mod transport;
