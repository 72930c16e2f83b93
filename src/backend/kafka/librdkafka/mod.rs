//! librdkafka's admin calls behind safe functions, which the safe crate lacks. `unsafe` is in this module and nowhere else.
//!
//! A [`Handle`] takes calls and hands out events; an [`AdminReply`] reads one. The handle lives in a process of its own (`process`),
//! whose main thread owns it, so no pointer leaves that; the rest of the operator calls `client`. Error codes and states are read as
//! `i32`: brokers and librdkafka know values that the binding's enums lack.
#![deny(unsafe_op_in_unsafe_fn)]

mod answer;
mod callbacks;
mod ffi;
mod handle;

pub(super) use answer::AdminReply;
pub(super) use callbacks::Callbacks;
pub(super) use ffi::{argument, cstring};
pub(super) use handle::{Handle, Ticket};
