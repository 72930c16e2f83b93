//! The client against a gateway on a socket, its decoders against samples and noise.

mod calls;
mod decoding;
mod fuzz;
mod lists;
mod secrets;
mod stub;
mod transport;
