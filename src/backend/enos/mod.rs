//! A pipeline of the EnOS Stream Processing Service, through its REST API v2.0: the adapter of both ports, and the client below it.
//! The client reads, sends and tells what is certain about a call; it decides nothing and repeats nothing that may have been carried out.

mod adapter;
mod cause;
pub mod client;
pub mod codes;
pub mod credentials;
mod facts;
pub mod failure;
pub mod judge;
pub mod limits;
mod list;
mod parts;
mod platform;
mod pool;
mod sign;
mod starts;
mod token;
pub mod wire;

pub use adapter::Enos;
#[cfg(test)]
pub(crate) use adapter::state;
#[cfg(test)]
pub(crate) use cause::{ambiguous, messages, said};
pub use client::{EnosClient, Settings, StartBody};
pub use credentials::Credentials;
pub use facts::facts;
pub use failure::{Effect, Failure, FailureKind};
pub use list::Pipelines;
pub use platform::EnosPlatform;
pub use pool::ClientPool;
pub use wire::answers::{Details, Item, LagPoint, RunStatus};

#[cfg(test)]
mod tests;
