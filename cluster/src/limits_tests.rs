//! What one side lets in, every other side lets through: around each limit that bounds an item, the
//! item is stored, sent, and read back, or refused where it would first come in.

use std::sync::Arc;

use openraft::EntryPayload;
use openraft::vote::RaftLeaderId;

use super::*;
use crate::Machine;
use crate::error::ProposeError;
use crate::handle::check_command;
use crate::peer::wire::{Message, Propose, ProposeAnswer};
use crate::peer::wire_journal::Records;
use crate::peer::wire_questions::{Question, QuestionAnswer};
use crate::peer::wire_raft::Append;
use crate::store::journal::within;
use crate::store::journal_rows::{StoredRecord, decode_record, encode_record};
use crate::store::stored::{decode_entry, encode_entry};
use crate::toy::{Command as ToyCommand, Counter};
use crate::types::{Command, Entry, LogId, Proposed, Vote};

/// Sizes on both sides of a limit.
fn around(limit: usize) -> std::ops::RangeInclusive<usize> {
    limit - 2..=limit + 2
}

fn travels<M: Message>(message: &M) -> M {
    let bytes = message.to_wire().expect("goes out");
    assert!(bytes.len() <= PEER_MESSAGE_MAX_BYTES, "{} bytes", bytes.len());
    M::from_wire(&bytes).expect("comes in")
}

fn entry(bytes: Arc<[u8]>, index: u64) -> Entry {
    let log_id = LogId::new(RaftLeaderId::new(u64::MAX, u64::MAX), index);
    let command = Command { at_ms: u64::MAX, everywhere: true, bytes };
    Entry { log_id, payload: EntryPayload::Normal(Proposed::Command(command)) }
}

fn append(entries: Vec<Entry>) -> Append {
    let id = LogId::new(RaftLeaderId::new(u64::MAX, u64::MAX), u64::MAX);
    let vote = Vote::new_committed(u64::MAX, u64::MAX);
    Append { vote, prev_log_id: Some(id), entries, leader_commit: Some(id) }
}

#[test]
fn a_command_that_is_admitted_is_forwarded_stored_and_replicated() {
    for size in around(COMMAND_MAX_BYTES) {
        let bytes =
            Counter::encode_command(&ToyCommand::Add { chain: 1, id: 1, padding: size - 10 });
        assert_eq!(bytes.len(), size);
        match check_command::<Counter>(&bytes) {
            Err(error) => {
                assert_eq!(error, ProposeError::TooLarge { bytes: size, limit: COMMAND_MAX_BYTES });
                assert!(size > COMMAND_MAX_BYTES);
            }
            Ok(()) => {
                assert!(size <= COMMAND_MAX_BYTES);
                let forwarded = travels(&Propose {
                    everywhere: true,
                    wait_ms: u32::MAX,
                    command: bytes.clone(),
                });
                let entry = entry(forwarded.command.into(), u64::MAX);
                let stored = encode_entry(&entry).expect("is stored");
                assert_eq!(decode_entry(&stored).expect("is read").payload, entry.payload);
                let sent = travels(&append(vec![entry.clone()]));
                assert_eq!(sent.entries[0].payload, entry.payload);
                assert!(Counter::decode_command(&bytes).is_ok());
            }
        }
    }
}

#[test]
fn as_many_entries_as_a_read_returns_fit_one_message() {
    let most = LOG_READ_MAX_ENTRIES as usize;
    let small: Vec<_> =
        (0..most).map(|_| entry(vec![7; LOG_READ_MAX_BYTES / most].into(), u64::MAX)).collect();
    assert_eq!(travels(&append(small)).entries.len(), most);
    let empty: Vec<_> = (0..most).map(|_| entry(Vec::new().into(), u64::MAX)).collect();
    assert_eq!(travels(&append(empty)).entries.len(), most);
}

#[test]
fn a_record_that_the_journal_takes_is_stored_and_handed_over() {
    let tags = vec![vec![7; TAG_MAX_BYTES]; RECORD_TAGS_MAX];
    let chain = [7; CHAIN_KEY_MAX_BYTES];
    for size in RECORD_MAX_BYTES - 2..=RECORD_MAX_BYTES {
        let record = StoredRecord { tags: tags.clone(), bytes: vec![7; size] };
        let stored = encode_record(&chain, u64::MAX, &record).expect("is stored");
        assert!(decode_record(&chain, u64::MAX, &stored).as_ref() == Ok(&record));
        // At most what a read returns comes with it.
        let beside = (tags.clone(), vec![7; JOURNAL_FETCH_MAX_BYTES]);
        let records = Records { records: vec![beside, (record.tags, record.bytes)] };
        assert!(travels(&records) == records);
    }
}

#[test]
fn a_reply_a_question_and_its_answer_reach_the_other_node() {
    for size in REPLY_MAX_BYTES - 2..=REPLY_MAX_BYTES {
        let answer = ProposeAnswer::Committed { index: u64::MAX, reply: vec![7; size] };
        assert!(travels(&answer) == answer);
    }
    for size in QUESTION_MAX_BYTES - 2..=QUESTION_MAX_BYTES {
        let question = Question { wait_ms: u32::MAX, bytes: vec![7; size] };
        assert!(travels(&question) == question);
        let answer = QuestionAnswer::Answered(vec![7; size]);
        assert!(travels(&answer) == answer);
    }
}

#[test]
fn records_with_longer_tags_than_text_still_fit_one_message() {
    let tags = vec![vec![7; TAG_MAX_BYTES]; RECORD_TAGS_MAX];
    let record = |seq| crate::Record { chain: vec![1], seq, tags: tags.clone(), bytes: vec![1] };
    let most = JOURNAL_READ_MAX_RECORDS as u64;
    let records = within((1..=most).map(record).collect(), JOURNAL_FETCH_MAX_BYTES);
    assert!(records.len() > 1);
    let message = Records { records: records.into_iter().map(|r| (r.tags, r.bytes)).collect() };
    assert!(travels(&message) == message);
    assert!(message.to_wire().expect("goes out").len() <= JOURNAL_FETCH_MAX_BYTES);
    // One is never too many.
    assert_eq!(within(vec![record(1)], 0).len(), 1);
}
