//! Journal records on their way to a node that lacks them.
//!
//! Must not know what a record means.

use serde::{Deserialize, Serialize};

use super::wire::{Message, plain_from_wire, plain_to_wire};
use crate::codec::{self, CodecError};

/// Bytes as they are.
#[derive(Serialize, Deserialize)]
struct Blob(#[serde(with = "codec::bytes")] Vec<u8>);

/// Asks which chains a node has, page by page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AskChains {
    /// The last chain of the page before; empty for the first page.
    pub after: Vec<u8>,
}

/// Chains and their heads, in order; none after the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chains {
    pub chains: Vec<(Vec<u8>, u64)>,
}

/// Asks for records of `chain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AskRecords {
    pub chain: Vec<u8>,
    /// The position of the first.
    pub from: u64,
}

/// Records that follow one another: tags and bytes of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Records {
    pub records: Vec<(Vec<Vec<u8>>, Vec<u8>)>,
}

#[derive(Serialize, Deserialize)]
struct StoredChain {
    chain: Blob,
    head: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredAskRecords {
    chain: Blob,
    from: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredRecord {
    tags: Vec<Blob>,
    bytes: Blob,
}

impl Message for AskChains {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        plain_to_wire(&Blob(self.after.clone()))
    }

    fn from_wire(bytes: &[u8]) -> Result<AskChains, CodecError> {
        let Blob(after) = plain_from_wire(bytes)?;
        Ok(AskChains { after })
    }
}

impl Message for Chains {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        let stored = |(chain, head): &(Vec<u8>, u64)| StoredChain {
            chain: Blob(chain.clone()),
            head: *head,
        };
        plain_to_wire(&self.chains.iter().map(stored).collect::<Vec<_>>())
    }

    fn from_wire(bytes: &[u8]) -> Result<Chains, CodecError> {
        let stored: Vec<StoredChain> = plain_from_wire(bytes)?;
        let chains =
            stored.into_iter().map(|StoredChain { chain: Blob(chain), head }| (chain, head));
        Ok(Chains { chains: chains.collect() })
    }
}

impl Message for AskRecords {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        plain_to_wire(&StoredAskRecords { chain: Blob(self.chain.clone()), from: self.from })
    }

    fn from_wire(bytes: &[u8]) -> Result<AskRecords, CodecError> {
        let StoredAskRecords { chain: Blob(chain), from } = plain_from_wire(bytes)?;
        Ok(AskRecords { chain, from })
    }
}

impl Message for Records {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        let stored = |(tags, bytes): &(Vec<Vec<u8>>, Vec<u8>)| StoredRecord {
            tags: tags.iter().cloned().map(Blob).collect(),
            bytes: Blob(bytes.clone()),
        };
        plain_to_wire(&self.records.iter().map(stored).collect::<Vec<_>>())
    }

    fn from_wire(bytes: &[u8]) -> Result<Records, CodecError> {
        let stored: Vec<StoredRecord> = plain_from_wire(bytes)?;
        let plain = |StoredRecord { tags, bytes: Blob(bytes) }| {
            (tags.into_iter().map(|Blob(tag)| tag).collect(), bytes)
        };
        Ok(Records { records: stored.into_iter().map(plain).collect() })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    fn golden<M: Message + PartialEq + Debug>(message: &M, bytes: &[u8]) {
        assert_eq!(message.to_wire().as_deref(), Ok(bytes), "{message:?}");
        assert_eq!(M::from_wire(bytes).as_ref(), Ok(message));
        for cut in 0..bytes.len() {
            assert!(M::from_wire(&bytes[..cut]).is_err(), "{message:?} cut at {cut}");
        }
    }

    #[test]
    fn messages_about_the_journal_keep_their_bytes() {
        golden(&AskChains { after: Vec::new() }, &[1, 0]);
        golden(&AskChains { after: vec![7] }, &[1, 1, 7]);
        golden(&Chains { chains: vec![(vec![7], 9), (vec![8], 1)] }, &[1, 2, 1, 7, 9, 1, 8, 1]);
        golden(&AskRecords { chain: vec![7], from: 9 }, &[1, 1, 7, 9]);
        let records = vec![(vec![vec![4], vec![5, 6]], vec![1, 2]), (Vec::new(), vec![3])];
        golden(&Records { records }, &[1, 2, 2, 1, 4, 2, 5, 6, 2, 1, 2, 0, 1, 3]);
    }
}
