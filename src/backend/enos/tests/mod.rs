//! Tests of the client against a gateway on a socket, and of its decoders against samples and noise.

mod calls;
mod decoding;
mod fuzz;
mod lists;
mod secrets;
mod stub;
mod transport;
