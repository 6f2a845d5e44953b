//! The address guard: where webhooks may go.
//!
//! A tenant chooses the URLs, so without a guard a node would post into its own network for anyone.
//! It refuses addresses that are not on the public internet, by the IANA special-purpose
//! registries (RFC 6890 and its updates), and judges the address that is connected to: names are
//! resolved here, for the connection, so that no name can change between check and use, and a name
//! with one refused address is refused as a whole. Must not know what is sent.

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use ipnet::{Ipv4Net, Ipv6Net};
use reqwest::dns::{Name, Resolve, Resolving};
use url::{Host, Url};

use crate::{dns::Addresses, limits};

const fn v4(a: u8, b: u8, c: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), prefix)
}

const fn v6(first: u16, second: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), prefix)
}

/// What is refused of IPv4, and what it is.
const REFUSED_V4: &[(Ipv4Net, &str)] = &[
    (v4(0, 0, 0, 8), "an unspecified address"),
    (v4(10, 0, 0, 8), "a private address"),
    (v4(100, 64, 0, 10), "a shared address of a provider"),
    (v4(127, 0, 0, 8), "a loopback address"),
    (v4(169, 254, 0, 16), "a link-local address, where clouds keep their metadata"),
    (v4(172, 16, 0, 12), "a private address"),
    (v4(192, 0, 0, 24), "an address for protocols"),
    (v4(192, 0, 2, 24), "an address for documentation"),
    (v4(192, 88, 99, 24), "an address of a 6to4 relay"),
    (v4(192, 168, 0, 16), "a private address"),
    (v4(198, 18, 0, 15), "an address for benchmarks"),
    (v4(198, 51, 100, 24), "an address for documentation"),
    (v4(203, 0, 113, 24), "an address for documentation"),
    (v4(224, 0, 0, 4), "a multicast address"),
    (v4(240, 0, 0, 4), "a reserved or broadcast address"),
];

/// What is refused of IPv6, and what it is; the first that fits. At the end stands everything but
/// global unicast, which is 2000::/3.
const REFUSED_V6: &[(Ipv6Net, &str)] = &[
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), "the unspecified address"),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "the loopback address"),
    (
        Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
        "an IPv4 address inside an IPv6 one",
    ),
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 96), "an IPv4 address inside an IPv6 one"),
    (v6(0x64, 0xff9b, 32), "an IPv4 address behind NAT64"),
    (v6(0x2001, 0, 23), "an address for protocols and tunnels"),
    (v6(0x2001, 0xdb8, 32), "an address for documentation"),
    (v6(0x2002, 0, 16), "an IPv4 address in a 6to4 one"),
    (v6(0x3fff, 0, 20), "an address for documentation"),
    (v6(0xfc00, 0, 7), "a private address"),
    (v6(0xfe80, 0, 10), "a link-local address"),
    (v6(0xff00, 0, 8), "a multicast address"),
    (v6(0, 0, 3), "an address outside the public internet"),
    (v6(0x4000, 0, 2), "an address outside the public internet"),
    (v6(0x8000, 0, 1), "an address outside the public internet"),
];

/// What kind of address this is, if webhooks may not go there.
fn refused(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => {
            REFUSED_V4.iter().find(|(net, _)| net.contains(&address)).map(|(_, what)| *what)
        }
        IpAddr::V6(address) => {
            REFUSED_V6.iter().find(|(net, _)| net.contains(&address)).map(|(_, what)| *what)
        }
    }
}

/// An address that webhooks may not go to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {what}")]
pub(super) struct Forbidden {
    address: IpAddr,
    what: &'static str,
}

/// A name without an address.
pub(super) use crate::dns::NoAddress as Unresolved;

fn admit(address: IpAddr) -> Result<(), Forbidden> {
    refused(address).map_or(Ok(()), |what| Err(Forbidden { address, what }))
}

/// Reads the URL of an endpoint. Literal addresses are judged here, however they are spelled; names
/// only when they are connected to.
///
/// # Errors
///
/// What is wrong with it, as the end of a sentence that begins with the field's name.
pub fn check_url(text: &str, allow_private: bool) -> Result<Url, String> {
    if text.len() > limits::WEBHOOK_URL_MAX_BYTES {
        let most = limits::WEBHOOK_URL_MAX_BYTES;
        return Err(format!("must be at most {most} bytes; got {}", text.len()));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("must not contain spaces or control characters".into());
    }
    let url = Url::parse(text)
        .map_err(|error| format!("must be a URL, such as https://example.com/webhooks: {error}"))?;
    match url.scheme() {
        "https" => {}
        "http" if allow_private => {}
        "http" => return Err("must be https: http is for development only".into()),
        _ => return Err("must be an https URL".into()),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user name or password".into());
    }
    if url.fragment().is_some() {
        return Err("must not contain a fragment (#…): it would not be sent".into());
    }
    let forbidden = match url.host() {
        None => return Err("must name a host".into()),
        Some(_) if allow_private => None,
        Some(Host::Ipv4(address)) => admit(address.into()).err(),
        Some(Host::Ipv6(address)) => admit(address.into()).err(),
        Some(Host::Domain(name)) => is_local(name)
            .then_some(Forbidden { address: Ipv4Addr::LOCALHOST.into(), what: "this machine" }),
    };
    match forbidden {
        None => Ok(url),
        Some(Forbidden { what, .. }) => {
            Err(format!("must lead to the public internet, and its host is {what}"))
        }
    }
}

/// RFC 6761, section 6.3.
fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

/// Resolves names for connections, and refuses those that lead to a refused address.
pub struct Guard {
    resolver: Arc<dyn Resolve>,
    allow_private: bool,
}

impl Guard {
    /// A guard over what `resolver` finds.
    pub fn new(resolver: Arc<dyn Resolve>, allow_private: bool) -> Self {
        Self { resolver, allow_private }
    }

    /// A guard over the hosts file and the DNS servers of the system.
    pub fn of_system(allow_private: bool) -> Self {
        // Names within the operator's own domain are for development.
        let addresses = match allow_private {
            true => Addresses::of_names_as_the_system_has_them(),
            false => Addresses::of_full_names(),
        };
        Self::new(Arc::new(SystemResolver(addresses)), allow_private)
    }

    /// Whether every address is let through.
    pub fn allows_private(&self) -> bool {
        self.allow_private
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self.resolver.resolve(name);
        let allow_private = self.allow_private;
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = found.await?.collect();
            if addresses.is_empty() {
                return Err(Unresolved.into());
            }
            if !allow_private {
                for address in &addresses {
                    admit(address.ip())?;
                }
            }
            Ok(Box::new(addresses.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}

/// The hosts file and the DNS servers of the system.
struct SystemResolver(Addresses);

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let addresses = self.0;
        Box::pin(async move {
            let found = addresses.find(name.as_str()).await;
            let found = found.map_err(|error| Box::new(error) as Box<dyn Error + Send + Sync>)?;
            let found = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(found) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}

#[cfg(test)]
mod tests;
