//! Messages keep their bytes, and what no node sends is refused.

use std::fmt::Debug;

use super::*;

fn golden<M: Message + PartialEq + Debug>(message: &M, bytes: &[u8]) {
    assert_eq!(message.to_wire().as_deref(), Ok(bytes), "{message:?}");
    assert_eq!(M::from_wire(bytes).as_ref(), Ok(message));
    for cut in 0..bytes.len() {
        assert!(M::from_wire(&bytes[..cut]).is_err(), "{message:?} cut at {cut}");
    }
    assert!(M::from_wire(&[bytes, &[0]].concat()).is_err(), "{message:?} and more");
    let newer = [&[VERSION + 1], &bytes[1..]].concat();
    let version = CodecError::Version { found: VERSION + 1, supported: VERSION };
    assert_eq!(M::from_wire(&newer), Err(version));
}

#[test]
fn messages_keep_their_bytes() {
    golden(
        &Propose { everywhere: true, wait_ms: 300, command: vec![7, 8] },
        &[1, 1, 251, 44, 1, 2, 7, 8],
    );
    golden(&ReadIndex { wait_ms: 9 }, &[1, 9]);
    golden(
        &Join { node: 3, incarnation: 5, address: "a:1".into(), voter: true },
        &[1, 3, 5, 3, b'a', b':', b'1', 1],
    );
    golden(&Change::Remove(3), &[1, 1, 3]);
    golden(&Change::Transfer(3), &[1, 2, 3]);
    for (answer, bytes) in [
        (ProposeAnswer::Committed { index: 9, reply: vec![6] }, [1, 1, 9, 1, 6].as_slice()),
        (ProposeAnswer::NotAppended, &[1, 2, 0, 0]),
        (ProposeAnswer::Overloaded, &[1, 3, 0, 0]),
        (ProposeAnswer::Unknown, &[1, 4, 0, 0]),
        (ProposeAnswer::ReignOver { reply: vec![6] }, &[1, 5, 0, 1, 6]),
    ] {
        golden(&answer, bytes);
    }
    for (answer, bytes) in [
        (ReadIndexAnswer::Confirmed { index: 8, last: 9 }, [1, 1, 8, 9]),
        (ReadIndexAnswer::NotLeader, [1, 2, 0, 0]),
        (ReadIndexAnswer::NoQuorum, [1, 3, 0, 0]),
    ] {
        golden(&answer, &bytes);
    }
    let leader = Some((2, "b:2".to_owned()));
    for (answer, bytes) in [
        (JoinAnswer::Learner, [1, 1, 0, 0].as_slice()),
        (JoinAnswer::Voter, &[1, 2, 0, 0]),
        (JoinAnswer::NotLeader(leader), &[1, 3, 1, 2, 3, b'b', b':', b'2', 0]),
        (JoinAnswer::NotLeader(None), &[1, 3, 0, 0]),
        (JoinAnswer::Busy, &[1, 4, 0, 0]),
    ] {
        golden(&answer, bytes);
    }
    golden(&ChangeAnswer::Done, &[1, 1, 0]);
    golden(&ChangeAnswer::Retry, &[1, 2, 0]);
    for (role, tag) in [
        (Role::Learner, 1),
        (Role::Follower, 2),
        (Role::Candidate, 3),
        (Role::Leader, 4),
        (Role::Stopped, 5),
    ] {
        let answer =
            StatusAnswer { role, term: 2, last_log_index: 9, applied_index: 8, lease_left_ms: 7 };
        golden(&answer, &[1, tag, 2, 9, 8, 7]);
    }
}

#[test]
fn refusals_keep_their_tags() {
    for (refusal, tag) in [
        (Refusal::Removed, 1),
        (Refusal::Taken, 2),
        (Refusal::NoMember, 3),
        (Refusal::LastVoter, 4),
        (Refusal::QuorumLost, 5),
        (Refusal::CannotLead, 6),
        (Refusal::Address, 7),
        (Refusal::NoPeers, 8),
    ] {
        golden(&JoinAnswer::Refused(refusal), &[1, 5, 0, tag]);
        golden(&ChangeAnswer::Refused(refusal), &[1, 3, tag]);
    }
}

#[test]
fn what_no_node_sends_is_refused() {
    assert!(ProposeAnswer::from_wire(&[1, 6, 0, 0]).is_err());
    assert!(ReadIndexAnswer::from_wire(&[1, 4, 0, 0]).is_err());
    assert!(JoinAnswer::from_wire(&[1, 6, 0, 0]).is_err());
    assert!(JoinAnswer::from_wire(&[1, 5, 0, 9]).is_err());
    assert!(Change::from_wire(&[1, 3, 0]).is_err());
    assert!(ChangeAnswer::from_wire(&[1, 4, 0]).is_err());
    assert!(StatusAnswer::from_wire(&[1, 0, 2, 9, 8, 7]).is_err());
}

#[test]
fn each_kind_of_request_has_a_path_of_its_own() {
    for rpc in Rpc::ALL {
        assert_eq!(Rpc::at(rpc.path()), Some(rpc));
    }
    for other in ["", "/", "/1", "/1/append/", "/2/append", "/1/Append"] {
        assert_eq!(Rpc::at(other), None, "{other}");
    }
}
