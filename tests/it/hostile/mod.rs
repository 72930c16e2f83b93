//! Manifests, members and brokers that mean harm: they are refused or told truthfully, and nobody else is hindered.

mod broker;
mod broker_report;
mod manifests;
mod member_texts;
mod mutations;
mod silent_brokers;
