//! A snapshot that is not whole is refused.

use super::*;
use crate::domain::{
    Action, IdempotencyClaim, OrgId, TokenRef,
    tests::{dns_domain::new_domain, world::*},
};

fn machine() -> AuthMachine {
    let mut machine = AuthMachine::default();
    for (index, command) in (1..).zip(genesis()) {
        apply(&mut machine, index, T0, &command).reply.expect("the world can be made");
    }
    let second = Action::IssueToken(new_token(2, 1, S0, 100));
    let end = Action::RevokeToken(TokenRef::Id(tok(2)));
    let delete = Action::DeleteApiKey(key(4));
    let domain = new_domain(1, "a.example");
    for (index, action) in (100..).zip([second, end, delete, domain]) {
        apply(&mut machine, index, T0, &command(ALICE, action)).reply.expect("accepted");
    }
    let claim = IdempotencyClaim { record: hash(1), request: hash(2), sealed: vec![3] };
    let once = command(ALICE, Action::CreateAgent(new_agent(9)));
    let once = Command { idempotency: Some(claim), ..once };
    apply(&mut machine, 104, T0, &once).reply.expect("accepted");
    machine
}

/// The frames of a snapshot, and what comes before them.
fn frames(bytes: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (magic, mut rest) = bytes.split_at(16);
    let mut frames = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (frame, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        frames.push(frame.to_vec());
        rest = after;
    }
    (magic.to_vec(), frames)
}

fn joined(magic: &[u8], frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    for frame in frames {
        bytes.extend((frame.len() as u32).to_be_bytes());
        bytes.extend(frame);
    }
    bytes
}

fn refused(bytes: &[u8]) -> bool {
    let mut machine = machine();
    let before = machine.state().clone();
    let came = machine.restore(&mut &*bytes);
    assert!(came.is_ok() || *machine.state() == before, "a refused snapshot changes nothing");
    came.is_err()
}

#[test]
fn a_snapshot_holds_every_kind_of_record_and_reads_back() {
    let machine = machine();
    let bytes = snapshot(&machine);
    let (magic, frames) = frames(&bytes);
    assert_eq!(joined(&magic, &frames), bytes);
    let mut tags: Vec<u8> = frames.iter().map(|frame| frame[1]).collect();
    tags.dedup();
    let last = [40, 45, 46, 47, 200, 12];
    assert_eq!(tags, (1..=11).chain(last).collect::<Vec<u8>>());
    assert_eq!(restored(&bytes).state(), machine.state());
}

#[test]
fn a_snapshot_with_a_record_gone_swapped_or_twice_is_refused() {
    let bytes = snapshot(&machine());
    let (magic, frames) = frames(&bytes);
    for place in 0..frames.len() {
        let mut gone = frames.clone();
        gone.remove(place);
        assert!(refused(&joined(&magic, &gone)), "record {place} gone");
        let mut twice = frames.clone();
        twice.insert(place, frames[place].clone());
        assert!(refused(&joined(&magic, &twice)), "record {place} twice");
        if place > 0 {
            let mut swapped = frames.clone();
            swapped.swap(place, place - 1);
            assert!(refused(&joined(&magic, &swapped)), "record {place} swapped");
        }
        let mut unknown = frames.clone();
        unknown[place][1] = 99;
        assert!(refused(&joined(&magic, &unknown)), "record {place} of an unknown kind");
        unknown[place][0] = 2;
        assert!(refused(&joined(&magic, &unknown)), "record {place} of another version");
    }
}

#[test]
fn a_snapshot_that_is_cut_off_or_goes_on_is_refused() {
    let bytes = snapshot(&machine());
    for cut in 0..bytes.len() {
        assert!(refused(&bytes[..cut]), "cut at {cut}");
    }
    assert!(refused(&[bytes.as_slice(), b"x"].concat()));
    let mut other = bytes.clone();
    other[15] = 2;
    assert!(refused(&other), "another version of the framing");
    let mut huge = bytes;
    huge[16..20].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(refused(&huge), "a record that would fill memory");
}

#[test]
fn a_snapshot_is_not_held_in_memory_to_be_written() {
    struct Largest(usize);
    impl std::io::Write for Largest {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.max(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut machine = machine();
    for n in 1_000..6_000 {
        let issue = Action::IssueToken(new_token(n, 1, S0, 300));
        apply(&mut machine, n as u64, T0, &command(ALICE, issue)).reply.expect("accepted");
    }
    let mut largest = Largest(0);
    AuthMachine::write_snapshot(&machine.freeze(), &mut largest).expect("written");
    assert!(largest.0 <= super::super::snapshot::BUFFER_BYTES, "{} bytes at once", largest.0);
}

#[test]
fn heads_are_those_of_the_chains() {
    let machine = machine();
    let heads = machine.heads();
    assert_eq!(heads.len(), machine.state().heads.len());
    let system = crate::domain::Tenant::live(OrgId::SYSTEM).chain_key();
    assert!(
        heads.contains(&(system, 5)),
        "an operator key, plans, two organisations, a signing key"
    );
}

#[test]
fn what_is_published_is_what_was_applied() {
    let views = crate::verify::Views::default();
    let mut machine = AuthMachine::new(views.clone());
    for (index, command) in (1..).zip(genesis()) {
        apply(&mut machine, index, T0, &command).reply.expect("the world can be made");
        assert_eq!(views.load().index, index - 1, "not before it is published");
        machine.publish(index);
        let view = views.load();
        assert_eq!((view.index, &view.state), (index, machine.state()));
    }
}

#[test]
fn stored_bytes_that_mean_nothing_are_named() {
    for bytes in [&[][..], &[1], &[9, 9, 9]] {
        assert!(AuthMachine::decode_command(bytes).is_err());
        assert!(AuthMachine::decode_reply(bytes).is_err());
    }
}

#[test]
fn the_logs_time_never_runs_backwards_nor_past_what_can_be_written() {
    let mut machine = machine();
    let tick = command(NODE, Action::Tick(()));
    for (stamp, clock) in [
        (T0 + 500, T0 + 500),
        (T0 - 9_000, T0 + 500),
        (0, T0 + 500),
        (u64::MAX, crate::rfc3339::LAST_MS),
        (T0, crate::rfc3339::LAST_MS),
    ] {
        apply(&mut machine, 200, stamp, &tick).reply.expect("accepted");
        assert_eq!(machine.state().clock, clock, "stamped {stamp}");
    }
}

#[test]
fn records_of_a_peer_must_follow_each_other_and_end_where_the_state_does() {
    let mut machine = AuthMachine::default();
    let mut chains = std::collections::BTreeMap::<Vec<u8>, Vec<Vec<u8>>>::new();
    for (index, command) in (1..).zip(genesis()) {
        for record in apply(&mut machine, index, T0, &command).records {
            chains.entry(record.chain).or_default().push(record.bytes);
        }
    }
    assert!(chains.len() > 1, "several chains");
    for (chain, records) in &chains {
        let mut previous = None;
        for record in records {
            assert!(AuthMachine::follows(previous, record));
            let mut other = record.clone();
            *other.last_mut().expect("not empty") ^= 1;
            assert!(!AuthMachine::follows(previous, &other), "another text");
            previous = Some(record.as_slice());
        }
        let last = records.last().expect("a record");
        assert!(machine.ends_with(chain, last));
        assert!(!machine.ends_with(b"another", last));
        if let [.., before, _] = records.as_slice() {
            assert!(!machine.ends_with(chain, before), "a record is missing");
            assert!(!AuthMachine::follows(None, last), "it is not the first");
            assert!(!AuthMachine::follows(Some(last), before), "the other way round");
        }
    }
    assert!(!AuthMachine::follows(Some(b"short"), b"short"));
}
