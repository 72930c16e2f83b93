//! Pipelines of EnOS, on a simulator of the platform that shares nothing with the operator's client.

mod addresses;
mod answers;
mod average_rate;
mod codes;
mod crowd;
mod deleted;
mod held;
mod listing;
mod matrix;
mod newcomers;
mod once;
mod pause;
mod reset;
mod secrets;
mod several;
mod shown_secrets;
mod states;
mod tokens;
