//! What a program would do that made the same calls and nothing else: no watch, no looks before and after, no care.

pub mod broker;
pub mod objects;
