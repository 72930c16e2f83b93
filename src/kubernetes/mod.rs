//! What talks to the Kubernetes API server, and what is said of its answers.

pub mod api_server;
pub mod crds;
pub mod fresh;
pub mod pem;
pub mod refusal;
pub mod secrets;
pub mod uninstall;
pub mod workloads;
