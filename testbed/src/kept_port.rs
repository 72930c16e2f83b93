use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Result;
use tokio::net::TcpSocket;

/// A port of this machine where nobody listens but who is told its number. One that is merely free may be given to a server of
/// whoever else runs, and the answer that comes is theirs.
pub struct KeptPort {
    pub address: String,
    _bound: TcpSocket,
}

impl KeptPort {
    pub fn new() -> Result<Self> {
        Self::at(&Ipv4Addr::LOCALHOST.to_string())
    }

    pub fn at(host: &str) -> Result<Self> {
        let bound = TcpSocket::new_v4()?;
        // Linux lets a second socket listen there that has the option, too (as every listener of the standard library), and gives the
        // port to nobody who asks for any.
        bound.set_reuseaddr(true)?;
        bound.bind(SocketAddr::from((host.parse::<IpAddr>()?, 0)))?;
        Ok(Self { address: bound.local_addr()?.to_string(), _bound: bound })
    }
}
