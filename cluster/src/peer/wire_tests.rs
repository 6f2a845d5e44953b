//! Messages keep their bytes, and what no node sends is refused.

use std::fmt::Debug;

use super::*;

/// Checks a message against its bytes: whole, cut, with more behind, and of another version.
pub(in crate::peer) fn golden<M: Message + PartialEq + Debug>(message: &M, bytes: &[u8]) {
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
}

#[test]
fn what_no_node_sends_is_refused() {
    assert!(ProposeAnswer::from_wire(&[1, 6, 0, 0]).is_err());
    assert!(ReadIndexAnswer::from_wire(&[1, 4, 0, 0]).is_err());
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
