//! Configuration: what an operator may choose, each key with its default, its bounds and its
//! documentation in one place.
//!
//! A value comes from a flag, else from the environment, else from the TOML file, else from the
//! default. A key that does not exist is an error that suggests the nearest one that does. The
//! reference in `docs/configuration.md` is generated from here.
//!
//! Must not know what a key is used for, nor read anything but the file it is given.

mod error;
mod key;
mod layers;
mod plans;
mod setting;
mod show;

pub use error::{ConfigError, Problem};
pub use key::{Initial, Key, Origin};
pub use layers::{Flag, Profile, Resolved, Sources};
pub use plans::{OfferedPlan, OfferedPlans, PlanName};
pub use setting::{DnsServers, LogFormat, LogLevel, PublicUrl, RetrySchedule, Setting};
pub use show::{as_json, as_toml, reference};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use secrecy::SecretString;

use key::settings;

settings! {
    /// A node's configuration, whole and checked.
    #[derive(Debug, Clone)]
    pub struct Config {
        top {
            /// The address on which the API answers. `0.0.0.0:8080` answers on every IPv4 address
            /// of the machine; port 0 takes a free one. TLS is a reverse proxy's business.
            listen: SocketAddr = "127.0.0.1:8080";

            /// The URL under which clients reach the API, without `/v1`. It stands in the OpenAPI
            /// document and is the default of `tokens.issuer`.
            public_url: PublicUrl = from "`http://` and `listen`";

            /// The directory that holds the replicated log, the snapshots and the audit journal.
            /// One process at a time uses it.
            data_dir: PathBuf = "/var/lib/authrai";

            /// The number of this node in its cluster. Never give one node's number to another.
            node_id: u64, in (1..=1_000_000) = "1";
        }

        /// Tokens.
        section tokens: Tokens {
            /// The `iss` claim of every token. The same on all nodes, and best left alone once
            /// services check it offline.
            issuer: String = from "`public_url`";

            /// How many hours a signing key signs before the node makes a new one. The public half
            /// of the old one stays published until its last token has expired.
            key_rotation_hours: u64, in (1..=8_760) = "720";
        }

        /// Secrets.
        section secrets: Secrets {
            /// The file with the key that seals what must be stored and yet be readable, such as
            /// the node's signing keys. Made when the cluster is founded, mode 0600. Keep a copy
            /// of it apart from the data directory: a backup of either without the other is worth
            /// little to a thief, and to you.
            key_file: PathBuf = from "`secrets.key` in `data_dir`";
        }

        /// The other nodes of the cluster. Without `peers.listen` this node is a cluster of one; with
        /// it, the three files must be there too.
        section peers: Peers {
            /// The address on which the other nodes reach this one, over mutual TLS.
            listen: Option<SocketAddr> = "";

            /// What the other nodes are told to reach it at, as `host:port`, where that is not
            /// `peers.listen`.
            advertise: Option<String> = "";

            /// The address of this machine from which it connects to the other nodes, where it has
            /// several and their firewalls know one. Not set, the system chooses.
            connect_from: Option<IpAddr> = "";

            /// The certificates of the cluster's CA, PEM. `authrai cluster certs` makes one to try
            /// out.
            ca_file: Option<PathBuf> = "";

            /// This node's certificate and what leads from it to the CA, PEM. It names the node and
            /// its cluster as `node-ID.CLUSTER.authrai.internal`.
            certificate_file: Option<PathBuf> = "";

            /// The private key of that certificate, PEM.
            key_file: Option<PathBuf> = "";

            /// Whether this node gets a vote. One without – Raft calls it a learner – verifies as
            /// any other and passes writes on, and writes wait for no such node. A vote that a node has
            /// is not taken from it by this.
            voter: bool = "true";
        }

        /// Leases: how long a node may answer without having asked the leader again. The same on all
        /// nodes.
        section lease: Lease {
            /// How long a lease lasts, in milliseconds. A revoke waits up to this long for a node
            /// that has just died; a node that cannot reach the leader stops answering after it.
            length_ms: u64, in (100..=60_000) = "2000";

            /// How often a lease is renewed, in milliseconds; at most half its length.
            renew_ms: u64, in (10..=30_000) = "250";
        }

        /// Webhooks.
        section webhooks: WebhooksConfig {
            /// After how many seconds a delivery that failed is tried again, once for each number:
            /// commas separate them. Up to a fifth is taken off each, so that what failed together
            /// does not come back together. After the last the delivery has failed.
            retry_schedule: RetrySchedule = "5,300,1800,7200,18000,36000,50400,72000,86400";

            /// Whether webhooks may go to private, loopback and link-local addresses, and over
            /// plain http. `authrai dev` lets them. Elsewhere anyone with an API key could make
            /// this node post into its own network: leave it off.
            allow_private: bool = "false";
        }

        /// Metrics.
        section metrics: Metrics {
            /// The address on which `/metrics` answers, in Prometheus' format. The same address as
            /// `listen` puts it beside the API, where `authrai dev` has it; empty switches it off.
            listen: Option<SocketAddr> = "127.0.0.1:9464";
        }

        /// Logging, on standard error.
        section log: Log {
            /// `text`, for people, or `json`, one object a line.
            format: LogFormat = "text";

            /// The least severe level that is logged.
            level: LogLevel = "info";
        }

        /// Storage.
        section storage: Storage {
            /// After how many log entries a new snapshot is written. Fewer make a start faster and
            /// cost more writing.
            snapshot_every_entries: u64, in (100..=100_000_000) = "100000";

            /// Memory that the store may use as its cache, in MiB.
            cache_mib: u64, in (16..=1_048_576) = "256";
        }

        /// The server.
        section server: Server {
            /// How many seconds a node that was told to stop waits for requests in flight.
            shutdown_grace_s: u64, in (0..=600) = "20";
        }

        /// The DNS, in which organisations prove that domains are theirs.
        section dns: Dns {
            /// The servers to ask, `host:port` with commas between, in this order until one
            /// answers. Not set, those of the machine's `/etc/resolv.conf`.
            servers: DnsServers = "";

            /// How many milliseconds one server may take to answer.
            timeout_ms: u64, in (100..=10_000) = "3000";

            /// After how many seconds a verified domain is looked up again; one whose record is
            /// gone then is verified no longer.
            recheck_interval_s: u64, in (1..=2_592_000) = "86400";
        }

        /// Plans.
        section plans: Plans {
            /// The plans on offer, the least first. What an organisation uses counts in both its
            /// environments together; a limit that is left out is none. `requests_per_second`
            /// holds for each API key and for all keys of an organisation together, on each node.
            /// An organisation can change by itself to a plan that says `self_service`; any other
            /// is given by an operator. A node puts this into force when it starts,
            /// for the whole cluster, so give all nodes the same. A plan that is taken away goes
            /// on for the organisations that are on it. How many bytes an organisation may store,
            /// and write to its audit log in a day, follows from these limits, as docs/limits.md
            /// says.
            offered: OfferedPlans = "free self_service agents=25 tokens_per_month=10000 webhooks=2 requests_per_second=20 price=Free, team self_service agents=500 tokens_per_month=1000000 webhooks=20 requests_per_second=200 price=49 USD a month, enterprise agents=100000 tokens_per_month=100000000 webhooks=500 requests_per_second=2000 price=On request, unlimited requests_per_second=1000000 price=Self-hosted";

            /// The plan of a new organisation that names none. `authrai dev` has `unlimited`, or
            /// what `dev.plan` says.
            default: PlanName = "free";
        }

        /// Rate limits.
        section rate_limits: RateLimits {
            /// Most verifications a second from one address, or one /64 network of IPv6, on each
            /// node; 0 is no limit. Verification takes no key, so the address is all there is to
            /// go by: behind a reverse proxy every client has the proxy's, and the limit belongs
            /// there.
            verify_per_address: u64, in (0..=1_000_000) = "0";
        }

        /// `authrai dev` alone; an error elsewhere.
        section dev: Dev {
            /// A fixed API key, for CI. The flag `--api-key` does the same but shows in the
            /// machine's list of processes. `authrai key generate` makes one.
            api_key: Option<SecretString> = "";

            /// The plan of the development organisation, put into force at every start. When it is
            /// not set, a new organisation is on `plans.default`, and one that is there stays on
            /// its plan.
            plan: Option<PlanName> = "";
        }
    }
}

/// The URL of `listen`, as someone on the same machine would type it.
pub fn local_url(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

#[cfg(test)]
mod tests;
