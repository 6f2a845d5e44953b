//! What nodes ask each other beyond what the cluster crate does by itself: to carry out a request
//! that was passed on, and to hand the key file over to a node that has joined and got its vote.
//! Whoever has no vote has no use for it, and gets none.
//!
//! Both travel between members only, over mutual TLS; the first byte of a question says which it
//! is. The key file is written for its owner alone, and nothing of it is logged. Must not know what
//! a request is, or what the key file seals.

use std::{path::Path, sync::Arc, time::Duration};

use authrai_cluster::{Answerer, Answering, AskError, Handle, Machine};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use crate::secrets::{KeyFile, KeyFileError};

/// The rest of the question is a request.
pub const PASSED_ON: u8 = 1;
/// There is no rest.
const KEY_FILE: u8 = 2;

/// How long a new node may take to catch up and get its vote.
const VOTE_WITHIN: Duration = Duration::from_secs(3600);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a new node asks for the key file.
const FETCH_WITHIN: Duration = Duration::from_secs(20);

/// Why a node that joins has no key file.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// No member gave it.
    #[error(
        "this node is a member now, but no other one handed the key file over ({0}). Run the same \
         command again, or copy the file of another node to secrets.key_file, readable by its \
         owner alone"
    )]
    NotGiven(AskError),
    /// What was given cannot be kept.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
}

/// Answers the other nodes.
pub struct Handover<R> {
    /// What carries out a request that was passed on.
    pub requests: Arc<R>,
    /// What a new node is given.
    pub key_file: Arc<KeyFile>,
    /// Whether a node has a vote.
    pub is_voter: Box<dyn Fn(u64) -> bool + Send + Sync>,
}

impl<R: Answerer> Answerer for Handover<R> {
    fn answer(&self, from: u64, mut question: Vec<u8>) -> Answering {
        match question.first() {
            Some(&PASSED_ON) => {
                question.remove(0);
                self.requests.answer(from, question)
            }
            Some(&KEY_FILE) if question.len() == 1 && (self.is_voter)(from) => {
                tracing::warn!(node = from, "a member is given the key file");
                let text = self.key_file.text();
                Box::pin(async move { Some(text.as_bytes().to_vec()) })
            }
            // Of a newer version, or of who may not yet ask that.
            _ => Box::pin(async { None }),
        }
    }
}

/// Has the key file handed over once node `own` has its vote, and keeps it at `path`.
///
/// # Errors
///
/// If nobody gives it, or it cannot be written.
pub async fn fetch<M: Machine>(
    handle: &Handle<M>,
    own: u64,
    path: &Path,
) -> Result<KeyFile, HandoverError> {
    let until = Instant::now() + VOTE_WITHIN;
    while !handle.is_voter(own) && Instant::now() < until {
        sleep(LOOK_EVERY).await;
    }
    let given = handle.ask_a_voter(vec![KEY_FILE], FETCH_WITHIN).await;
    let text = Zeroizing::new(given.map_err(HandoverError::NotGiven)?);
    let keys = KeyFile::keep(path, &text)?;
    tracing::info!(path = %path.display(), "another node has handed the key file over");
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;

    impl Answerer for Echo {
        fn answer(&self, _from: u64, question: Vec<u8>) -> Answering {
            Box::pin(async move { Some(question) })
        }
    }

    #[tokio::test]
    async fn a_request_goes_on_and_the_key_file_arrives_whole_and_private() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let made = KeyFile::create(&folder.path().join("a")).unwrap();
        let sealed = made.seal(b"owner", b"text");
        let handover = Handover {
            requests: Arc::new(Echo),
            key_file: Arc::new(made),
            is_voter: Box::new(|node| node == 2),
        };
        assert_eq!(handover.answer(2, vec![PASSED_ON, 7, 8]).await, Some(vec![7, 8]));
        for unknown in [vec![], vec![KEY_FILE, 0], vec![9]] {
            assert_eq!(handover.answer(2, unknown).await, None);
        }
        assert_eq!(handover.answer(3, vec![KEY_FILE]).await, None, "no vote, no keys");
        let given = handover.answer(2, vec![KEY_FILE]).await.unwrap();
        let path = folder.path().join("deeper/b");
        let kept = KeyFile::keep(&path, &given).unwrap();
        assert_eq!(*kept.open(b"owner", &sealed).unwrap(), b"text");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(KeyFile::load(&path).is_ok());
        // Nothing is overwritten, and nothing kept that is no key file.
        assert!(KeyFile::keep(&path, &given).is_err());
        let other = folder.path().join("c");
        assert!(KeyFile::keep(&other, &given[..given.len() - 3]).is_err() && !other.exists());
    }
}
