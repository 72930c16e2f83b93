//! One reset happens at most once, whoever dies or stands still in its middle: the operator at each of its calls, a second
//! operator beside it, the broker, the API server, etcd, the coordinator of the group.

mod broker;
mod control_plane;
mod matrix;
mod replicas;
mod slow_broker;
mod three_brokers;
mod window_of_doubt;
