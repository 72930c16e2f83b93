//! What goes wrong around the operator: brokers that are down, clocks that are wrong, addresses that are not allowed.

mod brokers;
mod clocks;
mod endpoints;
mod objects;
mod termination;
