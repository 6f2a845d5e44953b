//! Who a peer is: certificates, and the names in them.
//!
//! TLS 1.3 only, one explicit crypto provider, no resumption: every connection proves anew who is
//! at both ends. Must not know what is said over it.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use webpki::EndEntityCert;

use super::PeerConfig;
use crate::error::StartError;
use crate::store::identity::{ClusterId, hex};

const SUFFIX: &str = "authrai.internal";
const ALPN: &[u8] = b"h2";

/// The DNS name that the certificate of node `node` of cluster `cluster` must carry.
pub fn certificate_name(cluster: &ClusterId, node: u64) -> String {
    format!("node-{node}.{}.{SUFFIX}", hex(cluster))
}

/// The node and cluster that `name` is the name of; only the spelling that
/// [`certificate_name`] gives counts.
fn parse_name(name: &str) -> Option<(ClusterId, u64)> {
    let (node, rest) = name.strip_prefix("node-")?.split_once('.')?;
    let (digits, suffix) = rest.split_once('.')?;
    let node = node.parse().ok()?;
    let cluster = parse_hex(digits)?;
    (suffix == SUFFIX && certificate_name(&cluster, node) == name).then_some((cluster, node))
}

/// A cluster id from the 32 hex digits that people see.
pub fn parse_hex(digits: &str) -> Option<ClusterId> {
    let mut cluster = ClusterId::default();
    if digits.len() != 2 * cluster.len() {
        return None;
    }
    for (byte, at) in cluster.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    Some(cluster)
}

/// Who `certificate` says it is: the one name of that form in it.
pub(crate) fn holder(certificate: &CertificateDer<'_>) -> Option<(ClusterId, u64)> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let mut names = certificate.valid_dns_names().filter_map(parse_name);
    let name = names.next()?;
    names.next().is_none().then_some(name)
}

/// What this node proves itself with, and how it judges others.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub cluster: ClusterId,
    pub node: u64,
    pub client: Arc<ClientConfig>,
    pub server: Arc<ServerConfig>,
    /// The address that connections are made from, if one was chosen.
    pub connect_from: Option<IpAddr>,
}

impl Credentials {
    /// Reads the files that `config` names.
    pub(crate) fn load(config: &PeerConfig) -> Result<Credentials, StartError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&config.ca)? {
            roots.add(certificate).map_err(|e| unusable(&config.ca, &e))?;
        }
        let chain = certificates(&config.certificate)?;
        let key =
            PrivateKeyDer::from_pem_file(&config.key).map_err(|e| unusable(&config.key, &e))?;
        let (cluster, node) = chain.first().and_then(holder).ok_or_else(|| {
            let want = format!("node-<id>.<32 hex digits of the cluster id>.{SUFFIX}");
            unusable(&config.certificate, &format!("it must name its node once, as {want}"))
        })?;
        let (roots, provider) = (Arc::new(roots), Arc::new(ring::default_provider()));
        let wrong = |e: rustls::Error| unusable(&config.certificate, &e);
        let client = client(&provider, &roots, chain.clone(), key.clone_key()).map_err(wrong)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|e| unusable(&config.ca, &e))?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .and_then(|builder| {
                builder.with_client_cert_verifier(verifier).with_single_cert(chain, key)
            })
            .map_err(wrong)?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Credentials {
            cluster,
            node,
            client: Arc::new(client),
            server: Arc::new(server),
            connect_from: config.connect_from,
        })
    }

    /// The same, of a certificate that must name `node`.
    pub(crate) fn of_node(config: &PeerConfig, node: u64) -> Result<Credentials, StartError> {
        let this = Credentials::load(config)?;
        if this.node != node {
            let detail = format!("it names node {}, but this is node {node}", this.node);
            return Err(StartError::Certificate { path: config.certificate.clone(), detail });
        }
        Ok(this)
    }

    /// The name that the certificate of `node` must carry.
    pub(crate) fn server_name(&self, node: u64) -> Option<ServerName<'static>> {
        DnsName::try_from(certificate_name(&self.cluster, node)).ok().map(ServerName::DnsName)
    }
}

fn client(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, rustls::Error> {
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots.clone())
        .with_client_auth_cert(chain, key)?;
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.resumption = Resumption::disabled();
    Ok(client)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let read: Vec<_> = read.map_err(|e| unusable(path, &e))?;
    if read.is_empty() {
        return Err(unusable(path, &"it holds no certificate"));
    }
    Ok(read)
}

fn unusable(path: &Path, detail: &dyn std::fmt::Display) -> StartError {
    StartError::Certificate { path: path.into(), detail: detail.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = [0xa7; 16];

    #[test]
    fn a_name_is_of_one_node_of_one_cluster_and_spelled_one_way() {
        let name = certificate_name(&CLUSTER, 12);
        assert_eq!(name, format!("node-12.{}.authrai.internal", "a7".repeat(16)));
        assert_eq!(parse_name(&name), Some((CLUSTER, 12)));
        let digits = "a7".repeat(16);
        for other in [
            format!("node-012.{digits}.authrai.internal"),
            format!("node-+1.{digits}.authrai.internal"),
            format!("node-1.{}.authrai.internal", digits.to_uppercase()),
            format!("node-1.{}.authrai.internal", &digits[1..]),
            format!("node-1.{digits}.authrai.internal.example"),
            format!("node-1.{digits}.example.authrai.internal"),
            format!("*.{digits}.authrai.internal"),
            "node-1".to_owned(),
        ] {
            assert_eq!(parse_name(&other), None, "{other}");
        }
    }

    #[test]
    fn a_cluster_id_is_read_back_from_what_people_see() {
        assert_eq!(parse_hex(&hex(&CLUSTER)), Some(CLUSTER));
        for bad in ["", "a7", &"zz".repeat(16), &"a7".repeat(17), &"é".repeat(16)] {
            assert_eq!(parse_hex(bad), None, "{bad}");
        }
    }
}
