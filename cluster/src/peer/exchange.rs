//! What both ends of a link agree on besides the messages: the settings of a node that has peers,
//! and the header that says which data directories speak.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use hyper::header::{HeaderName, HeaderValue};

use crate::types::Incarnation;

/// Where and how a node speaks to its peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// The address on which it listens for peers. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// `host:port` at which peers reach it; empty for the address that it listens on.
    pub advertise: String,
    /// The address that connections to peers are made from; `None` lets the system choose.
    pub connect_from: Option<IpAddr>,
    /// The certificates of the cluster's CA, PEM.
    pub ca: PathBuf,
    /// This node's certificate and what leads from it to the CA, PEM. It names the node and the
    /// cluster: see [`crate::certificate_name`].
    pub certificate: PathBuf,
    /// The certificate's private key, PEM.
    pub key: PathBuf,
}

/// The header that carries [`Directories`].
pub(super) const DIRECTORIES: HeaderName = HeaderName::from_static("authrai-directories");

/// Which data directory sends, and which one is meant to receive.
///
/// A node whose directory was wiped has lost its vote and its log. If it went on under its old id,
/// votes could be given twice and what was committed could be lost; so a message is taken only
/// when both ends are the directories that the members know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directories {
    pub from: Incarnation,
    /// `None` where the sender does not know: only who joins may.
    pub to: Option<Incarnation>,
}

impl Directories {
    pub(super) fn header(self) -> Option<HeaderValue> {
        let to = self.to.map_or_else(|| "any".into(), |to| format!("{to:016x}"));
        HeaderValue::from_str(&format!("{:016x} {to}", self.from)).ok()
    }

    pub(super) fn parse(header: &HeaderValue) -> Option<Directories> {
        let number = |text| Incarnation::from_str_radix(text, 16).ok();
        let (from, to) = header.to_str().ok()?.split_once(' ')?;
        let to = if to == "any" { None } else { Some(number(to)?) };
        Some(Directories { from: number(from)?, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_comes_back_and_anything_else_is_none() {
        for to in [None, Some(9)] {
            let directories = Directories { from: 10, to };
            let header = directories.header().expect("text");
            assert_eq!(Directories::parse(&header), Some(directories));
        }
        for bad in ["", "1", "1 ", "any any", "x 1", "1 2 3"] {
            let header = HeaderValue::from_static(bad);
            assert_eq!(Directories::parse(&header), None, "{bad}");
        }
    }
}
