//! Asking the DNS for TXT records.
//!
//! Servers are asked one after the other, in the order that the operator gave, until one has an
//! answer. Each look builds its own stub resolver, which shares nothing with the last one: no
//! cache, and no answer to a question that somebody else asked a moment earlier.

use std::{net::SocketAddr, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, NoRecords, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType, rdata::TXT},
    },
    system_conf::read_system_conf,
};

use super::{Addresses, DnsServer};
use crate::limits;

/// What the DNS says of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Its TXT records, at least one and [`limits::DNS_RECORDS_MAX`] at most; the strings of a
    /// record are joined (RFC 7208 section 3.3 has the same), bytes that are not UTF-8 replaced.
    Texts(Vec<String>),
    /// It exists and has no TXT record.
    NoTexts,
    /// It does not exist.
    NoName,
}

/// The DNS says nothing, and why. Names no server: which the operator asks is for the log alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(pub String);

/// Asks the DNS. Clones ask the same servers.
#[derive(Debug, Clone)]
pub struct Resolver {
    servers: Vec<DnsServer>,
    timeout: Duration,
}

impl Resolver {
    /// Asks `servers`, or the system's when there are none; each may take as long as `timeout`.
    pub fn new(servers: Vec<DnsServer>, timeout: Duration) -> Self {
        Self { servers, timeout }
    }

    /// The TXT records at `name`, which is fully qualified with or without a dot at the end.
    ///
    /// # Errors
    ///
    /// When no server has an answer within [`limits::DNS_CHECK_MAX_MS`].
    pub async fn texts(&self, name: &str) -> Result<Answer, NoAnswer> {
        let mut name = Name::from_ascii(name)
            .map_err(|error| NoAnswer(format!("the name cannot be asked for: {error}")))?;
        name.set_fqdn(true);
        let whole = Duration::from_millis(limits::DNS_CHECK_MAX_MS);
        let asked = tokio::time::timeout(whole, self.ask_in_turn(&name));
        asked.await.unwrap_or_else(|_| Err(NoAnswer("the DNS took too long".to_owned())))
    }

    async fn ask_in_turn(&self, name: &Name) -> Result<Answer, NoAnswer> {
        let servers = match self.servers.is_empty() {
            true => system_servers()?,
            false => self.servers.clone(),
        };
        let mut failures = Vec::new();
        for server in servers {
            let asked = tokio::time::timeout(self.timeout, self.ask(&server, name));
            let why = match asked.await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(why)) => why,
                Err(_) => Failure::plain("did not answer in time"),
            };
            tracing::warn!(%server, %name, why = %why.logged, "a DNS server gave no answer");
            failures.push(why.told);
        }
        failures.dedup();
        Err(NoAnswer(match failures.is_empty() {
            true => "there is no DNS server to ask".to_owned(),
            false => format!("the server that was asked {}", failures.join("; the next one ")),
        }))
    }

    async fn ask(&self, server: &DnsServer, name: &Name) -> Result<Answer, Failure> {
        let (host, port) = server.host_and_port();
        let found = Addresses::of_names_as_the_system_has_them().find(host).await;
        let address = found.ok().and_then(|found| found.first().copied());
        let address = address.ok_or_else(|| Failure::plain("has no address"))?;
        let resolver =
            stub(SocketAddr::new(address, port), self.timeout).map_err(|error| failure(&error))?;
        match resolver.lookup(name.clone(), RecordType::TXT).await {
            Ok(lookup) => {
                let records = lookup.answers().iter().filter_map(|record| match &record.data {
                    RData::TXT(text) => Some(joined(text)),
                    _ => None,
                });
                let texts: Vec<_> = records.take(limits::DNS_RECORDS_MAX).collect();
                Ok(if texts.is_empty() { Answer::NoTexts } else { Answer::Texts(texts) })
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, .. }))) => {
                match response_code {
                    ResponseCode::NXDomain => Ok(Answer::NoName),
                    ResponseCode::NoError => Ok(Answer::NoTexts),
                    other => Err(Failure::plain(said(other))),
                }
            }
            Err(error) => Err(failure(&error)),
        }
    }
}

/// The servers that the system asks, as it has them now.
fn system_servers() -> Result<Vec<DnsServer>, NoAnswer> {
    let (config, _) = read_system_conf()
        .map_err(|_| NoAnswer("the system's configuration names no DNS server".to_owned()))?;
    let servers = config.name_servers().iter().take(limits::DNS_SERVERS_MAX);
    let address = |server: &NameServerConfig| {
        let port = server.connections.first().map_or(53, |connection| connection.port);
        SocketAddr::new(server.ip, port).into()
    };
    Ok(servers.map(address).collect())
}

fn stub(server: SocketAddr, timeout: Duration) -> Result<TokioResolver, NetError> {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    let server = NameServerConfig::new(server.ip(), true, connections.into());
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options: &mut ResolverOpts = builder.options_mut();
    options.timeout = timeout;
    options.attempts = 1;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build()
}

/// The character strings of one record, one after the other.
fn joined(text: &TXT) -> String {
    let bytes: Vec<u8> = text.txt_data.iter().flat_map(|part| part.iter().copied()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Why a server gave no answer: what is told to whoever asks, and what only the log says.
struct Failure {
    told: String,
    logged: String,
}

impl Failure {
    fn plain(why: impl Into<String>) -> Self {
        let told = why.into();
        Self { logged: told.clone(), told }
    }
}

fn failure(error: &NetError) -> Failure {
    let told = match error {
        NetError::Timeout => "did not answer in time".to_owned(),
        NetError::Dns(DnsError::ResponseCode(code)) => said(*code),
        NetError::Io(_) | NetError::NoConnections => "cannot be reached".to_owned(),
        _ => "gave no usable answer".to_owned(),
    };
    Failure { told, logged: error.to_string() }
}

fn said(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => "answered SERVFAIL".to_owned(),
        ResponseCode::Refused => "answered REFUSED".to_owned(),
        code => format!("answered: {code}"),
    }
}
