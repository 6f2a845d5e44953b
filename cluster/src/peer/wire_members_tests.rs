//! Messages about the membership keep their bytes, and what no node sends is refused.

use super::*;
use crate::peer::wire::tests::golden;

#[test]
fn messages_about_members_keep_their_bytes() {
    golden(
        &Join { node: 3, incarnation: 5, address: "a:1".into(), voter: true, level: 2 },
        &[1, 3, 5, 3, b'a', b':', b'1', 1, 2],
    );
    golden(&Change::Remove(3), &[1, 1, 3]);
    golden(&Change::Transfer(3), &[1, 2, 3]);
    golden(&Change::RaiseLevel, &[1, 3, 0]);
    golden(&AskStatus {}, &[1]);
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
        let diverged = Some(Reason::Diverged);
        for (lease_refused, unready, why) in [
            (None, 0, &[0][..]),
            (diverged, 0, &[7]),
            (diverged, 13, &[251, 7, 13]),
            (None, 13, &[251, 0, 13]),
        ] {
            let answer = StatusAnswer {
                role,
                term: 2,
                last_log_index: 9,
                applied_index: 8,
                lease_left_ms: 7,
                lease_refused,
                newest_level: 6,
                unready,
            };
            golden(&answer, &[&[1, tag, 2, 9, 8, 7], why, &[6]].concat());
        }
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
        (Refusal::TooOld, 9),
        (Refusal::LevelUnknown, 10),
    ] {
        golden(&JoinAnswer::Refused(refusal), &[1, 5, 0, tag]);
        golden(&ChangeAnswer::Refused(refusal), &[1, 3, tag]);
    }
}

#[test]
fn what_no_member_sends_is_refused() {
    assert!(JoinAnswer::from_wire(&[1, 6, 0, 0]).is_err());
    assert!(JoinAnswer::from_wire(&[1, 5, 0, 11]).is_err());
    assert!(Change::from_wire(&[1, 4, 0]).is_err());
    assert!(ChangeAnswer::from_wire(&[1, 4, 0]).is_err());
    assert!(StatusAnswer::from_wire(&[1, 0, 2, 9, 8, 7, 0, 6]).is_err());
}
