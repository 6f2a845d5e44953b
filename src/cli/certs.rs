//! `authrai cluster certs`: a CA and certificates with which the nodes of a cluster know each other.
//!
//! For trying out, and for whoever has no CA of their own. Everything lies in one directory; run
//! again, it adds the nodes that are missing, under the same CA and for the same cluster.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use authrai_cluster::{ClusterId, certificate_name, parse_cluster_id};
use clap::Args;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::{Exit, Failure, print};

const CLUSTER: &str = "cluster-id";
const CA: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
/// Most nodes that one run makes certificates for.
const NODES_MAX: u64 = 1_000;

/// `authrai cluster certs`
#[derive(Debug, Args)]
pub struct Certs {
    /// The directory for the files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Make certificates for nodes 1 to N
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=NODES_MAX))]
    nodes: u64,
    /// The cluster's id, 32 hex digits, where there is a cluster already [default: a new one]
    #[arg(long, value_name = "HEX")]
    cluster_id: Option<String>,
}

/// Runs it.
///
/// # Errors
/// If a file cannot be written, or does not fit the others.
pub fn run(certs: &Certs) -> Result<(), Failure> {
    let dir = &certs.out;
    fs::create_dir_all(dir).map_err(|error| cannot(dir, &error))?;
    let cluster = cluster_id(dir, certs.cluster_id.as_deref())?;
    let params = ca_params(&cluster)?;
    let key = ca_key(dir)?;
    let ca = dir.join(CA);
    if !ca.exists() {
        let signed = params.self_signed(&key).map_err(|error| failed(&error))?;
        write(&ca, 0o644, signed.pem().as_bytes())?;
    }
    let issuer = Issuer::from_params(&params, &key);
    let mut made = Vec::new();
    for node in 1..=certs.nodes {
        let certificate = dir.join(format!("node-{node}.pem"));
        if certificate.exists() {
            continue;
        }
        let own = KeyPair::generate().map_err(|error| failed(&error))?;
        let named = CertificateParams::new(vec![certificate_name(&cluster, node)]);
        let signed = named.and_then(|named| named.signed_by(&own, &issuer));
        let signed = signed.map_err(|error| failed(&error))?;
        write(&dir.join(format!("node-{node}.key")), 0o600, own.serialize_pem().as_bytes())?;
        write(&certificate, 0o644, signed.pem().as_bytes())?;
        made.push(node.to_string());
    }
    print(&what_next(dir, &cluster, &made))
}

fn what_next(dir: &Path, cluster: &ClusterId, made: &[String]) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let dir = dir.display();
    let made = if made.is_empty() { "none: all are there".into() } else { made.join(", ") };
    format!(
        "\
Certificates for cluster {cluster} in {dir}.

  New for nodes   {made}
  CA's key        {dir}/{CA_KEY}
                  Keep it off the nodes: whoever has it can make a node.

Each node is told of its own, in its configuration:

  [peers]
  listen           = \"IP:PORT\"
  ca_file          = \"{dir}/{CA}\"
  certificate_file = \"{dir}/node-ID.pem\"
  key_file         = \"{dir}/node-ID.key\"
",
        cluster = hex::encode(cluster),
    )
}

/// The cluster of the directory: the one that it names, or a new one.
fn cluster_id(dir: &Path, given: Option<&str>) -> Result<ClusterId, Failure> {
    let path = dir.join(CLUSTER);
    let bad = |text: &str| {
        let text = text.trim();
        Failure::new(Exit::Usage, format!("{text:?} is no cluster id: 32 lowercase hex digits"))
    };
    let given = given.map(|text| parse_cluster_id(text).ok_or_else(|| bad(text))).transpose()?;
    if path.exists() {
        let text = fs::read_to_string(&path).map_err(|error| cannot(&path, &error))?;
        let there = parse_cluster_id(text.trim()).ok_or_else(|| bad(&text))?;
        return match given {
            Some(given) if given != there => Err(Failure::new(
                Exit::Usage,
                format!(
                    "{} holds the certificates of cluster {}; choose another directory for {}",
                    dir.display(),
                    hex::encode(there),
                    hex::encode(given)
                ),
            )),
            _ => Ok(there),
        };
    }
    let mut cluster = given.unwrap_or_default();
    if given.is_none() {
        getrandom::fill(&mut cluster).map_err(|error| failed(&error))?;
    }
    write(&path, 0o644, format!("{}\n", hex::encode(cluster)).as_bytes())?;
    Ok(cluster)
}

/// The CA as its certificate describes it; the same for every run over one directory.
fn ca_params(cluster: &ClusterId) -> Result<CertificateParams, Failure> {
    let mut params = CertificateParams::new(Vec::new()).map_err(|error| failed(&error))?;
    let name = format!("AuthRAI cluster {}", hex::encode(cluster));
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn ca_key(dir: &Path) -> Result<KeyPair, Failure> {
    let path = dir.join(CA_KEY);
    if path.exists() {
        let text = fs::read_to_string(&path).map_err(|error| cannot(&path, &error))?;
        return KeyPair::from_pem(&text).map_err(|error| {
            Failure::new(Exit::Data, format!("{} is no private key: {error}", path.display()))
        });
    }
    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    write(&path, 0o600, key.serialize_pem().as_bytes())?;
    Ok(key)
}

fn write(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(|error| cannot(path, &error))
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::CannotCreate, format!("cannot write {}: {error}", path.display()))
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Internal, format!("a certificate cannot be made: {error}"))
}
