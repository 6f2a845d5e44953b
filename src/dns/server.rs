//! The address of a DNS server, as an operator writes it.

use std::{fmt, net::SocketAddr};

use crate::limits;

const DNS_PORT: u16 = 53;

/// A DNS server: a host, by address or by name, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsServer {
    host: String,
    port: u16,
}

impl DnsServer {
    /// Reads `host:port`, or a host alone, whose port is 53 then; an IPv6 address stands in
    /// brackets before a port.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return (address.port() != 0).then(|| address.into());
        }
        if let Ok(ip) = text.trim_matches(['[', ']']).parse() {
            return Some(SocketAddr::new(ip, DNS_PORT).into());
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (text, DNS_PORT),
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_good = (1..=limits::DOMAIN_NAME_MAX_BYTES).contains(&host.len())
            && host.chars().all(is_host)
            && port != 0;
        is_good.then(|| Self { host: host.to_owned(), port })
    }

    /// Host and port, as a lookup of addresses takes them.
    pub(super) fn host_and_port(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

impl From<SocketAddr> for DnsServer {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for DnsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port() {
        for (text, shown) in [
            ("127.0.0.1:5353", "127.0.0.1:5353"),
            ("9.9.9.9", "9.9.9.9:53"),
            ("[2620:fe::fe]:53", "[2620:fe::fe]:53"),
            ("2620:fe::fe", "[2620:fe::fe]:53"),
            ("[2620:fe::fe]", "[2620:fe::fe]:53"),
            ("localhost:5353", "localhost:5353"),
            ("dns", "dns:53"),
        ] {
            let server = DnsServer::parse(text).map(|server| server.to_string());
            assert_eq!(server.as_deref(), Some(shown), "{text}");
        }
        for bad in [
            "",
            ":53",
            "dns:",
            "dns:0",
            "127.0.0.1:0",
            "dns:65536",
            "a b",
            "dns:53:53",
            "https://dns",
        ] {
            assert_eq!(DnsServer::parse(bad), None, "{bad}");
        }
    }
}
