//! Brokers with TLS, SASL, OAuth and ACLs: one that all tests share; each has its own topics, groups, Secrets and operator.

mod advice;
mod crowd;
mod cut_connections;
mod listeners;
mod mistakes;
mod paused;
mod pem;
mod plain_logins;
mod quota;
mod rights;
mod rotation;
mod system_cas;
