//! A CA and certificates for the nodes of a test.

use std::path::{Path, PathBuf};

use authrai_cluster::{ClusterId, certificate_name};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};

/// A CA whose certificate is a file.
pub struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub path: PathBuf,
}

/// The files of one node's certificate.
#[derive(Debug, Clone)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Ca {
    pub fn new(dir: &Path, name: &str) -> Ca {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
        let issuer = issuer.expect("a CA");
        let path = dir.join(format!("{name}.pem"));
        std::fs::write(&path, issuer.pem()).expect("writes");
        Ca { issuer, path }
    }

    /// A certificate for `node` of `cluster`.
    pub fn issue(&self, dir: &Path, cluster: &ClusterId, node: u64) -> Files {
        let params = CertificateParams::new(vec![certificate_name(cluster, node)]);
        let key = KeyPair::generate().expect("a key");
        let signed = params.expect("parameters").signed_by(&key, &self.issuer);
        let name = format!("{}-{node}", cluster[0]);
        let files = Files {
            certificate: dir.join(format!("{name}.crt")),
            key: dir.join(format!("{name}.key")),
        };
        std::fs::write(&files.certificate, signed.expect("a certificate").pem()).expect("writes");
        std::fs::write(&files.key, key.serialize_pem()).expect("writes");
        files
    }
}
