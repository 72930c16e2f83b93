//! See the rows below.
