//! The platforms a position can be moved on. A backend reads and writes; it never decides.

pub mod endpoints;
pub mod enos;
pub mod kafka;
