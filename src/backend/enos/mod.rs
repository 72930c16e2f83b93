//! A pipeline of the EnOS Stream Processing Service, through its REST API v2.0: the adapter for the ports, and the client below it. The
//! client reads, sends and says what is certain about a call. It decides nothing, and repeats nothing that may have been carried out.

mod adapter;
mod cause;
mod client;
pub mod codes;
mod credentials;
mod facts;
mod failure;
mod judge;
mod limits;
mod list;
mod operation;
mod parts;
mod platform;
mod pool;
mod sign;
mod starts;
mod token;
mod wire;

pub(crate) use adapter::Enos;
#[cfg(test)]
pub(crate) use adapter::state;
#[cfg(test)]
pub(crate) use cause::{ambiguous, messages, said};
pub(crate) use client::{EnosClient, Settings, StartBody};
pub(crate) use credentials::Credentials;
pub use facts::facts;
pub(crate) use failure::{Failure, FailureKind};
#[cfg(test)]
pub(crate) use operation::Operation;
pub use platform::EnosPlatform;
pub(crate) use wire::answers::RunStatus;

#[cfg(test)]
mod tests;
