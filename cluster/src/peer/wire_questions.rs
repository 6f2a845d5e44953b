//! Questions that this crate carries between nodes without reading them.
//!
//! Must not know what is asked.

use serde::{Deserialize, Serialize};

use super::wire::{Message, plain, plain_from_wire, plain_to_wire, unknown};
use crate::codec::{self, CodecError};

/// Something that the users of two nodes understand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Question {
    /// How long the sender waits, milliseconds.
    pub wait_ms: u32,
    #[serde(with = "codec::bytes")]
    pub bytes: Vec<u8>,
}

/// What became of a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum QuestionAnswer {
    /// Tag 1.
    Answered(Vec<u8>),
    /// Tag 2: nobody looked at it; another node may be asked.
    NotTaken,
}

#[derive(Serialize, Deserialize)]
struct StoredQuestionAnswer {
    tag: u8,
    #[serde(with = "codec::bytes")]
    bytes: Vec<u8>,
}

impl Message for QuestionAnswer {
    fn to_wire(&self) -> Result<Vec<u8>, CodecError> {
        let (tag, bytes) = match self {
            QuestionAnswer::Answered(bytes) => (1, bytes.clone()),
            QuestionAnswer::NotTaken => (2, Vec::new()),
        };
        plain_to_wire(&StoredQuestionAnswer { tag, bytes })
    }

    fn from_wire(bytes: &[u8]) -> Result<QuestionAnswer, CodecError> {
        let StoredQuestionAnswer { tag, bytes } = plain_from_wire(bytes)?;
        match tag {
            1 => Ok(QuestionAnswer::Answered(bytes)),
            2 => Ok(QuestionAnswer::NotTaken),
            tag => Err(unknown("answer", tag)),
        }
    }
}

plain!(Question);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::wire::tests::golden;

    #[test]
    fn messages_keep_their_bytes() {
        golden(&Question { wait_ms: 9, bytes: vec![7, 8] }, &[1, 9, 2, 7, 8]);
        golden(&QuestionAnswer::Answered(vec![6]), &[1, 1, 1, 6]);
        golden(&QuestionAnswer::NotTaken, &[1, 2, 0]);
        assert!(QuestionAnswer::from_wire(&[1, 3, 0]).is_err());
    }
}
