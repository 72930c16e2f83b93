//! Which addresses a tenant may make the operator connect to. A name is checked again when it has been resolved, so that it cannot
//! smuggle an address in. Nothing here resolves or connects.
//!
//! Without rules: everything but loopback, link-local, unspecified, multicast and the `forbidden` addresses, also where one of them is
//! wrapped in an IPv6 address. With rules, exactly what they name: an address rule is taken at its word, except that a range never
//! opens a `forbidden` address (a rule for that one address does); a name rule lets the name resolve to anything that is allowed
//! without rules. No rule opens the API server's own sockets, which are learned while the operator runs.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use parking_lot::RwLock;

/// Why an API server's address is refused. Where a message has this text, it names no flag as the remedy.
pub const API_SERVER: &str = "it is the Kubernetes API server";

/// Why an address or a host is not connected to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{target} is not allowed: {why}")]
pub struct EndpointNotAllowed {
    /// The host or the address, "host (address)" where a name was resolved.
    pub target: String,
    pub why: &'static str,
}

/// A rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address, CIDR range, host name or *.suffix")]
pub struct BadRule(pub String);

/// One entry of `--allowed-endpoints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `10.0.0.0/8`, or one address.
    Net(IpNet),
    /// `gateway.example.com`, in lower case.
    Host(String),
    /// `*.example.com`, kept as `.example.com`: any name below it, not the name itself.
    Below(String),
}

impl FromStr for Rule {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        let text = text.trim();
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(Rule::Net(IpNet::from(unwrapped(ip))));
        }
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Rule::Net(net.trunc()));
        }
        let (below, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let name = canonical(name);
        let label = |l: &str| !l.is_empty() && l.len() <= 63 && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        // A last label of digits would be an address written in a way that the parser above does not know.
        let numeric = name.rsplit('.').next().is_some_and(|l| l.chars().all(|c| c.is_ascii_digit()));
        if name.len() > 253 || numeric || !name.split('.').all(label) {
            return Err(BadRule(text.to_owned()));
        }
        Ok(if below { Rule::Below(format!(".{name}")) } else { Rule::Host(name) })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Net(net) if net.prefix_len() == net.max_prefix_len() => write!(f, "{}", net.addr()),
            Rule::Net(net) => write!(f, "{net}"),
            Rule::Host(name) => f.write_str(name),
            Rule::Below(name) => write!(f, "*{name}"),
        }
    }
}

/// The rules, and the addresses that no tenant may reach (the API server's own).
#[derive(Debug, Default)]
pub struct EndpointPolicy {
    pub allowed: Vec<Rule>,
    pub forbidden: Vec<IpAddr>,
    /// Where the API server listens, however it is reached.
    api_server: RwLock<Vec<SocketAddr>>,
}

impl EndpointPolicy {
    pub fn new(allowed: Vec<Rule>, forbidden: &[IpAddr]) -> Self {
        Self { allowed, forbidden: forbidden.iter().copied().map(unwrapped).collect(), api_server: RwLock::default() }
    }

    /// Updates where the API server listens. True: something changed.
    pub fn learn_api_server(&self, sockets: &[SocketAddr]) -> bool {
        let mut sockets: Vec<_> = sockets.iter().map(|at| SocketAddr::new(unwrapped(at.ip()), at.port())).collect();
        sockets.sort_unstable();
        sockets.dedup();
        let mut known = self.api_server.write();
        let news = *known != sockets;
        *known = sockets;
        news
    }

    /// Reads `--allowed-endpoints`: entries as in [`Rule`], empty ones left out.
    pub fn parse<S: AsRef<str>>(rules: &[S], forbidden: &[IpAddr]) -> Result<Self, BadRule> {
        let allowed = rules.iter().map(AsRef::as_ref).filter(|r| !r.trim().is_empty()).map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self::new(allowed, forbidden))
    }

    /// Before anything is resolved: a literal address is judged, a name that no rule can allow is refused. `host` as in a URL, IPv6 in
    /// brackets or bare.
    pub fn permits_host(&self, host: &str, port: u16) -> Result<(), EndpointNotAllowed> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return self.permits(None, SocketAddr::new(ip, port));
        }
        // A name may resolve into an allowed range, so with a range among the rules only the addresses can tell.
        let open = self.allowed.is_empty() || self.allowed.iter().any(|r| matches!(r, Rule::Net(_)));
        if open || self.names(bare) { Ok(()) } else { Err(refused(host, None, "no rule of --allowed-endpoints names it")) }
    }

    /// Right before connecting. `host`: the name that resolved to this address, where there is one.
    pub fn permits(&self, host: Option<&str>, to: SocketAddr) -> Result<(), EndpointNotAllowed> {
        let ip = to.ip();
        let address = unwrapped(ip);
        let api_server = self.api_server.read().contains(&SocketAddr::new(address, to.port()));
        if api_server {
            return Err(refused(host.unwrap_or_default(), Some(ip), API_SERVER));
        }
        let named = host.is_some_and(|h| self.names(h));
        let forbidden = self.forbidden.contains(&address);
        let mut by_address = self.allowed.iter().filter_map(|r| match r {
            Rule::Net(net) if net.contains(&address) => Some(net.prefix_len() == net.max_prefix_len()),
            _ => None,
        });
        if by_address.any(|exact| exact || !forbidden) {
            return Ok(());
        }
        // Checked first, because even a rule that names this address does not permit it.
        if forbidden {
            return Err(refused(host.unwrap_or_default(), Some(ip), API_SERVER));
        }
        if !self.allowed.is_empty() && !named {
            return Err(refused(host.unwrap_or_default(), Some(ip), "no rule of --allowed-endpoints names it"));
        }
        match special(address) {
            Some(why) => Err(refused(host.unwrap_or_default(), Some(ip), why)),
            None => Ok(()),
        }
    }

    fn names(&self, host: &str) -> bool {
        let host = canonical(host);
        self.allowed.iter().any(|rule| match rule {
            Rule::Net(_) => false,
            Rule::Host(name) => *name == host,
            Rule::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        })
    }
}

fn refused(host: &str, ip: Option<IpAddr>, why: &'static str) -> EndpointNotAllowed {
    let target = match ip {
        Some(ip) if host.is_empty() => ip.to_string(),
        Some(ip) => format!("{} ({ip})", stream_pipeline_core::words::cut(host, 253)),
        None => stream_pipeline_core::words::cut(host, 253),
    };
    EndpointNotAllowed { target, why }
}

/// Lower case, without the dot of a fully qualified name.
fn canonical(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// The IPv4 address that an IPv6 address leads to, where it does: mapped, compatible, NAT64 and 6to4.
fn unwrapped(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = ip else { return ip };
    let [a, b, c, d, e, f, g, h] = six.segments();
    let four = |hi: u16, lo: u16| IpAddr::V4(Ipv4Addr::from((u32::from(hi) << 16) | u32::from(lo)));
    match (a, b) {
        (0, 0) if [c, d, e] == [0; 3] && (f == 0xffff || f == 0) && !matches!(six, Ipv6Addr::LOCALHOST | Ipv6Addr::UNSPECIFIED) => {
            four(g, h)
        }
        (0x64, 0xff9b) if [c, d, e, f] == [0; 4] => four(g, h),
        (0x2002, _) => four(b, c),
        _ => ip,
    }
}

/// Addresses that nobody means when they name a gateway.
fn special(ip: IpAddr) -> Option<&'static str> {
    let (loopback, unspecified, multicast, link_local) = match ip {
        // 0.0.0.0/8 means this host, and Linux connects to it.
        IpAddr::V4(v4) => (v4.is_loopback(), v4.octets()[0] == 0, v4.is_multicast() || v4.is_broadcast(), v4.is_link_local()),
        IpAddr::V6(v6) => (v6.is_loopback(), v6.is_unspecified(), v6.is_multicast(), v6.is_unicast_link_local()),
    };
    match () {
        () if loopback => Some("it is a loopback address"),
        () if link_local => Some("it is a link-local address"),
        () if unspecified => Some("it is an unspecified address"),
        () if multicast => Some("it is a multicast or broadcast address"),
        () => None,
    }
}

#[cfg(test)]
mod tests;
