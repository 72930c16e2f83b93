//! The client of the EnOS Stream Processing REST API v2.0. It reads, sends and tells what is certain about a call; it never decides and
//! repeats nothing that may have been carried out.

pub mod client;
pub mod clients;
pub mod codes;
pub mod credentials;
pub mod failure;
mod http;
pub mod limits;
mod list;
mod sign;
mod token;
pub mod wire;

pub use client::{EnosClient, Settings, StartBody};
pub use clients::Clients;
pub use credentials::Credentials;
pub use failure::{Effect, Failure, FailureKind};
pub use list::Pipelines;
pub use wire::answers::{Details, Item, LagPoint, RunStatus};

#[cfg(test)]
mod tests;
