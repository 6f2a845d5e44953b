//! The engine's messages keep their bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use openraft::EntryPayload;
use openraft::vote::RaftLeaderId;

use super::*;
use crate::types::{Command, Entry as LogEntry, Member, Membership, Proposed};

fn id(index: u64) -> LogId {
    LogId::new(RaftLeaderId::new(2, 3), index)
}

/// Compared by what they print: the engine's messages have no equality.
fn golden<M: Message + Debug>(message: &M, bytes: &[u8]) {
    assert_eq!(message.to_wire().as_deref(), Ok(bytes), "{message:?}");
    let back = M::from_wire(bytes).expect("decodes");
    assert_eq!(format!("{back:?}"), format!("{message:?}"));
    for cut in 0..bytes.len() {
        assert!(M::from_wire(&bytes[..cut]).is_err(), "{message:?} cut at {cut}");
    }
    assert!(M::from_wire(&[bytes, &[0]].concat()).is_err(), "{message:?} and more");
}

#[test]
fn what_the_leader_sends_keeps_its_bytes() {
    let command = Command { at_ms: 7, everywhere: false, bytes: Arc::from(b"hi".as_slice()) };
    let entry =
        LogEntry { log_id: id(9), payload: EntryPayload::Normal(Proposed::Command(command)) };
    let append = Append {
        vote: Vote::new_committed(2, 3),
        prev_log_id: Some(id(8)),
        entries: vec![entry],
        leader_commit: Some(id(7)),
    };
    let entry_bytes = [1, 2, 3, 9, 1, 7, 2, b'h', b'i'];
    let head = [1, 2, 3, 1, 1, 2, 3, 8, 1, 2, 3, 7, 1, 9];
    golden(&append, &[head.as_slice(), &entry_bytes].concat());
    let heartbeat = Append {
        vote: Vote::new_committed(2, 3),
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    };
    golden(&heartbeat, &[1, 2, 3, 1, 0, 0, 0]);
    golden(&Transfer::new(Vote::new_committed(2, 3), 4, Some(id(9))), &[1, 2, 3, 1, 4, 1, 2, 3, 9]);
    let members = BTreeMap::from([(1, Member { address: "a".into(), incarnation: 5 })]);
    let membership = Membership::new(vec![BTreeSet::from([1])], members).expect("valid");
    let meta = SnapshotMeta {
        last_log_id: Some(id(9)),
        last_membership: MembershipAt::new(Some(id(1)), membership),
    };
    golden(
        &SnapshotHead { vote: Vote::new_committed(2, 3), meta },
        &[1, 2, 3, 1, 1, 2, 3, 9, 1, 2, 3, 1, 1, 1, 1, 1, 1, 1, b'a', 5],
    );
}

#[test]
fn votes_and_answers_keep_their_bytes() {
    let ask =
        AskVote { vote: Vote::new(2, 3), last_log_id: Some(id(9)), leadership_transfer: true };
    golden(&ask, &[1, 2, 3, 0, 1, 2, 3, 9, 1]);
    let answer = VoteAnswer { vote: Vote::new(2, 3), vote_granted: true, last_log_id: None };
    golden(&answer, &[1, 2, 3, 0, 1, 0]);
    golden(&AppendAnswer::Success, &[1, 1, 0, 0]);
    golden(&AppendAnswer::PartialSuccess(Some(id(9))), &[1, 2, 1, 2, 3, 9, 0]);
    golden(&AppendAnswer::PartialSuccess(None), &[1, 2, 0, 0]);
    golden(&AppendAnswer::Conflict, &[1, 3, 0, 0]);
    golden(&AppendAnswer::HigherVote(Vote::new(4, 1)), &[1, 4, 0, 1, 4, 1, 0]);
    golden(&TransferAnswer::Taken, &[1, 1]);
    golden(&TransferAnswer::Declined, &[1, 2]);
    golden(&SnapshotAnswer::new(Vote::new(4, 1)), &[1, 4, 1, 0]);
    for unknown in [&[1, 5, 0, 0][..], &[1, 4, 0, 0], &[1, 0, 0, 0]] {
        assert!(AppendAnswer::from_wire(unknown).is_err(), "{unknown:?}");
    }
    assert!(TransferAnswer::from_wire(&[1, 3]).is_err());
}
