//! A second copy of this node's vote, and who votes beside it, in a file outside the store.
//!
//! A node whose store is damaged can fetch everything in it from its peers but its vote: one that
//! forgot what it had promised could let two leaders have one term. So the vote is kept twice. The file
//! is synced before the store is written, and so is never behind what was answered. Must not know what
//! a vote is for.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::stored::StoredVote;
use super::{disk, replace_file};
use crate::codec;
use crate::error::{Fatal, StartError, What};
use crate::types::Vote;

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    vote: Option<StoredVote>,
    /// The other voters, and where they are reached.
    pub others: Vec<(u64, String)>,
}

impl Kept {
    pub(crate) fn vote(&self) -> Option<Vote> {
        self.vote.map(StoredVote::vote)
    }
}

/// The file, and what it holds.
pub(crate) struct Ballot {
    path: PathBuf,
    kept: Kept,
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("ballot")
}

/// What the file in `data_dir` holds; none if there is none, or if it is damaged.
pub(crate) fn read(data_dir: &Path) -> io::Result<Option<Kept>> {
    let path = file(data_dir);
    match disk::read(&path) {
        Ok(bytes) => {
            let kept = decode(&bytes);
            if kept.is_none() {
                tracing::warn!(path = %path.display(), "the second copy of the vote is damaged");
            }
            Ok(kept)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn decode(bytes: &[u8]) -> Option<Kept> {
    let (checksum, body) = bytes.split_first_chunk::<CHECKSUM_BYTES>()?;
    let whole = crc32fast::hash(body) == u32::from_le_bytes(*checksum);
    whole.then(|| codec::decode(VERSION, body).ok()).flatten()
}

fn encode(kept: &Kept) -> Result<Vec<u8>, Fatal> {
    let body = codec::encode(VERSION, kept).map_err(|e| Fatal::codec(What::Mark, "ballot", e))?;
    Ok([crc32fast::hash(&body).to_le_bytes().as_slice(), &body].concat())
}

impl Ballot {
    /// Opens the file beside a store that holds `in_store`. Returns the newer of the two votes: the
    /// file's is one ahead if a crash came between the two writes, and the store's is only there if
    /// the file is damaged or was never written.
    pub(crate) fn open(
        data_dir: &Path,
        in_store: Option<Vote>,
    ) -> Result<(Ballot, Option<Vote>), StartError> {
        let path = file(data_dir);
        let kept = read(data_dir).map_err(|e| StartError::io(data_dir, &path, "reading", &e))?;
        let mut ballot = Ballot { path, kept: kept.unwrap_or_default() };
        let in_file = ballot.kept.vote();
        match in_store.filter(|store| in_file.as_ref().is_none_or(|file| store > file)) {
            Some(vote) => {
                ballot.keep_vote(&vote).map_err(|e| StartError::fatal(data_dir, e))?;
                Ok((ballot, Some(vote)))
            }
            None => Ok((ballot, in_file)),
        }
    }

    /// The other voters.
    pub(crate) fn others(&self) -> &[(u64, String)] {
        &self.kept.others
    }

    /// Keeps `vote` for good.
    pub(crate) fn keep_vote(&mut self, vote: &Vote) -> Result<(), Fatal> {
        self.write(Kept { vote: Some(StoredVote::from(vote)), others: self.kept.others.clone() })
    }

    /// Keeps who else votes.
    pub(crate) fn keep_others(&mut self, others: Vec<(u64, String)>) -> Result<(), Fatal> {
        if others == self.kept.others {
            return Ok(());
        }
        self.write(Kept { vote: self.kept.vote, others })
    }

    fn write(&mut self, kept: Kept) -> Result<(), Fatal> {
        replace_file(&self.path, &encode(&kept)?)
            .map_err(|e| Fatal::disk("writing the second copy of the vote", &e))?;
        self.kept = kept;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(term: u64) -> Vote {
        Vote::new_committed(term, 2)
    }

    #[test]
    fn the_stored_form_of_a_ballot_does_not_change() {
        let kept = Kept { vote: Some(StoredVote::from(&vote(7))), others: vec![(2, "b:1".into())] };
        let bytes = encode(&kept).expect("encodes");
        assert_eq!(bytes[4..], [1, 1, 7, 2, 1, 1, 2, 3, b'b', b':', b'1']);
        assert_eq!(decode(&bytes), Some(kept));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn the_newer_of_the_two_votes_counts_and_is_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = |in_store| Ballot::open(dir.path(), in_store).expect("opens");
        assert_eq!(open(None).1, None);
        assert_eq!(open(Some(vote(3))).1, Some(vote(3)));
        let (mut ballot, newest) = open(Some(vote(2)));
        assert_eq!(newest, Some(vote(3)), "the store is behind");
        ballot.keep_vote(&vote(5)).expect("writes");
        ballot.keep_others(vec![(2, "b:1".into())]).expect("writes");
        assert_eq!(open(Some(vote(4))).1, Some(vote(5)));
        // A damaged file does not stop a node whose store is whole.
        std::fs::write(file(dir.path()), b"damaged").expect("writes");
        assert_eq!(open(Some(vote(4))).1, Some(vote(4)));
        assert_eq!(read(dir.path()).expect("reads").expect("whole").vote(), Some(vote(4)));
    }
}
