//! The pages are right about the tree: links lead somewhere, and what is mentioned is there.

mod links;
mod mentions;
mod tree;
