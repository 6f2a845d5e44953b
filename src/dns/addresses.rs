//! The addresses of a host, from the hosts file and the DNS, without a thread.
//!
//! The system's own lookup blocks a thread of a pool that disks and files need too, for as long as
//! a stranger's name server likes. This one waits for sockets. Each look reads the system's
//! configuration anew and keeps nothing. Must not know what the addresses are for.

use std::net::IpAddr;

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, ResolveHosts, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
    proto::rr::Name,
    system_conf::read_system_conf,
};

/// Looks hosts up. Clones do the same.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    search: bool,
}

/// A host has no address, or it cannot be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name does not resolve to any address")]
pub struct NoAddress;

impl Addresses {
    /// Takes every name as it is: one that a stranger gave must not lead to a host of the
    /// operator's own domain.
    pub const fn of_full_names() -> Self {
        Self { search: false }
    }

    /// Also tries a name within the domains that the system's configuration says to search.
    pub const fn of_names_as_the_system_has_them() -> Self {
        Self { search: true }
    }

    /// All addresses of `host`, of both families.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub async fn find(&self, host: &str) -> Result<Vec<IpAddr>, NoAddress> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        // As a URL has it; what is no name of the DNS may stand in the hosts file.
        let mut name = Name::from_str_relaxed(host).map_err(|_| NoAddress)?;
        if !self.search {
            name.set_fqdn(true);
        }
        let resolver = of_system().map_err(|error| {
            tracing::warn!(%error, "no names can be looked up");
            NoAddress
        })?;
        let found = resolver.lookup_ip(name).await.map_err(|error| {
            tracing::debug!(%error, host, "a host was not found");
            NoAddress
        })?;
        let addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() { Err(NoAddress) } else { Ok(addresses) }
    }
}

/// A resolver over the system's servers, as it has them now; over the hosts file alone if it has
/// none.
fn of_system() -> Result<TokioResolver, hickory_resolver::net::NetError> {
    let (config, options) = read_system_conf().unwrap_or_else(|_| {
        (ResolverConfig::from_parts(None, Vec::new(), Vec::new()), ResolverOpts::default())
    });
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    let options = builder.options_mut();
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Always;
    // Both, so that whoever judges addresses sees all of them.
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_machine_is_found_without_a_server() {
        for addresses in [Addresses::of_full_names(), Addresses::of_names_as_the_system_has_them()]
        {
            for host in ["localhost", "localhost."] {
                let found = addresses.find(host).await.expect(host);
                assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty(), "{found:?}");
            }
            for (text, address) in [("192.0.2.7", "192.0.2.7"), ("2001:db8::1", "2001:db8::1")] {
                assert_eq!(addresses.find(text).await, Ok(vec![address.parse().unwrap()]));
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_name_has_no_address() {
        let long = "a".repeat(64);
        for host in ["", "a..b", &long] {
            assert_eq!(Addresses::of_full_names().find(host).await, Err(NoAddress), "{host:?}");
        }
    }
}
