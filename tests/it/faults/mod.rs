//! What goes wrong around the operator: brokers that are down, clocks that are wrong, addresses that are not allowed.

mod brokers;
mod clocks;
pub mod endpoints;
