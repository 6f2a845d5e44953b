//! Which node of which cluster a data directory belongs to.
//!
//! Written once, at the first start, into the store and then into a file beside it, so that
//! neither can be exchanged for another's unnoticed. Must not know who the other members are.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Store, disk, keys, renewal};
use crate::codec;
use crate::error::{Fatal, StartError, What};
use crate::types::Incarnation;

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

/// A cluster's id: random, given when it is founded.
pub type ClusterId = [u8; 16];

/// Node and cluster of a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub cluster: ClusterId,
    pub node: u64,
    /// Drawn with this directory: a directory that was wiped and made anew is not the one that
    /// the members know, whatever node it says it is.
    pub incarnation: Incarnation,
    /// Whether the node joined a cluster; else it founded one.
    pub joined: bool,
}

/// Who a directory that holds no node is to become.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fresh {
    pub node: u64,
    /// A random one, if the caller knows none.
    pub cluster: Option<ClusterId>,
    pub joined: bool,
}

/// A cluster id as people see it.
pub(crate) fn hex(id: &ClusterId) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The file's bytes: a checksum, then the identity.
fn encode(identity: &Identity) -> Result<Vec<u8>, Fatal> {
    let body = codec::encode(VERSION, identity)
        .map_err(|e| Fatal::codec(What::Identity, "the identity", e))?;
    Ok([crc32fast::hash(&body).to_le_bytes().as_slice(), &body].concat())
}

fn decode(place: &str, bytes: &[u8]) -> Result<Identity, Fatal> {
    let damaged = |detail| Fatal::damaged(What::Identity, place, detail);
    let (checksum, body) =
        bytes.split_first_chunk::<CHECKSUM_BYTES>().ok_or_else(|| damaged("too short"))?;
    if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
        return Err(damaged("the checksum does not match"));
    }
    codec::decode(VERSION, body).map_err(|e| Fatal::codec(What::Identity, place, e))
}

/// Whether `data_dir` holds a node.
pub(crate) fn exists(data_dir: &Path) -> bool {
    disk::exists(&data_dir.join("identity"))
}

/// The identity in the file of `data_dir`, if there is one.
pub(crate) fn read_file(data_dir: &Path) -> Result<Option<Identity>, Fatal> {
    let path = data_dir.join("identity");
    match disk::read(&path) {
        Ok(bytes) => decode(&path.display().to_string(), &bytes).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Fatal::disk(format!("reading {}", path.display()), &e)),
    }
}

/// Reads the identity of `data_dir`, or writes a fresh one for `node`, and checks it against the
/// store and against who is asked for.
pub(crate) fn check_or_write(
    data_dir: &Path,
    store: &Store,
    fresh: Fresh,
) -> Result<Identity, StartError> {
    let Fresh { node, cluster, joined } = fresh;
    let path = data_dir.join("identity");
    let fatal = |e| StartError::fatal(data_dir, e);
    let in_store = store
        .with(|trees| {
            trees.meta.get(keys::IDENTITY).map_err(|e| Fatal::sled(What::Identity, "reading", e))
        })
        .map_err(fatal)?
        .map(|bytes| decode("the store", &bytes))
        .transpose()
        .map_err(fatal)?;
    let in_file = match read_file(data_dir) {
        // It is written again from the store.
        Err(error @ Fatal::Damaged { .. }) if in_store.is_some() => {
            tracing::warn!(%error, "the identity is put back from the store");
            None
        }
        read => read.map_err(fatal)?,
    };
    let identity = match (in_store, in_file) {
        (Some(a), Some(b)) if a != b => {
            return Err(StartError::ForeignCluster {
                path: data_dir.join("store"),
                found: hex(&a.cluster),
                expected: hex(&b.cluster),
            });
        }
        // The store of a node that is being filled again begins empty.
        (None, Some(identity)) if renewal::under_way(data_dir) => {
            write(data_dir, &path, store, &identity)?;
            identity
        }
        // The store is written first, so a file without it means that the store is gone.
        (None, Some(_)) => {
            return Err(StartError::Damaged {
                what: What::Store,
                place: data_dir.join("store").display().to_string(),
                detail: "it is empty, although a node was founded here".into(),
            });
        }
        (Some(identity), Some(_)) => identity,
        (stored, None) => {
            let identity = match stored {
                Some(identity) => identity,
                None => Identity {
                    cluster: cluster.map_or_else(|| draw(data_dir), Ok)?,
                    node,
                    incarnation: Incarnation::from_le_bytes(draw(data_dir)?),
                    joined,
                },
            };
            write(data_dir, &path, store, &identity)?;
            identity
        }
    };
    if identity.node != node {
        return Err(StartError::ForeignNode {
            dir: data_dir.into(),
            stored: identity.node,
            configured: node,
        });
    }
    match cluster {
        Some(expected) if expected != identity.cluster => Err(StartError::ForeignCluster {
            path: data_dir.into(),
            found: hex(&identity.cluster),
            expected: hex(&expected),
        }),
        _ => Ok(identity),
    }
}

/// Random bytes.
pub(crate) fn draw<const BYTES: usize>(dir: &Path) -> Result<[u8; BYTES], StartError> {
    let mut bytes = [0; BYTES];
    #[cfg(test)]
    if crate::sim::draw(&mut bytes) {
        return Ok(bytes);
    }
    getrandom::fill(&mut bytes).map_err(|e| {
        StartError::fatal(dir, Fatal::disk("drawing an id", &io::Error::other(e.to_string())))
    })?;
    Ok(bytes)
}

fn write(dir: &Path, path: &Path, store: &Store, identity: &Identity) -> Result<(), StartError> {
    let bytes = encode(identity).map_err(|e| StartError::fatal(dir, e))?;
    store
        .with(|trees| {
            trees
                .meta
                .insert(keys::IDENTITY, bytes.as_slice())
                .map_err(|e| Fatal::sled(What::Identity, "writing", e))
        })
        .and_then(|_| store.sync())
        .map_err(|e| StartError::fatal(dir, e))?;
    super::replace_file(path, &bytes).map_err(|e| StartError::io(dir, path, "writing", &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_of_an_identity_does_not_change() {
        let identity = Identity { cluster: [9; 16], node: 3, incarnation: 8, joined: true };
        let bytes = encode(&identity).expect("encodes");
        assert_eq!(bytes[4..], [1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 3, 8, 1]);
        assert_eq!(bytes[..4], crc32fast::hash(&bytes[4..]).to_le_bytes());
        assert_eq!(decode("here", &bytes), Ok(identity));
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let good = encode(&Identity { cluster: [9; 16], node: 3, incarnation: 8, joined: false });
        let good = good.expect("encodes");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode("here", &bad).is_err(), "bit {bit}");
        }
    }
}
