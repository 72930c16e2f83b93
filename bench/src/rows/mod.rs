//! What is run, in the order of importance. Each makes the rows that begin with its name.

pub mod enos;
pub mod hand_over;
pub mod idle;
pub mod in_a_row;
pub mod landing;
pub mod one_reset;
pub mod partitions;
pub mod thousand;
