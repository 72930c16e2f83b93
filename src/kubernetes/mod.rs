//! What talks to the Kubernetes API server, and the texts for its answers.
//!
//! The workloads are here and not with the platforms, because all that is known of them (scale subresources, autoscalers, discovery) is
//! Kubernetes' own, whatever the workload reads. Only `backend` knows that they are the run state of a consumer group.

pub mod api_server;
mod autoscalers;
pub(crate) mod call;
pub mod crds;
pub(crate) mod fresh;
pub mod install;
mod pem;
pub(crate) mod refusal;
pub mod scope;
pub mod secrets;
pub(crate) mod shared;
pub mod uninstall;
pub(crate) mod watch;
pub mod workloads;
