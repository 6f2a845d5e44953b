//! A command that may be proposed is one that every node reads from then on, however its bytes and
//! its parts are counted; another is refused before it is appended.

use authrai_cluster::{Machine, Unproposable, limits::COMMAND_MAX_BYTES};

use super::AuthMachine;
use crate::{
    domain::{Action, Command, IssueToken, tests::world::*},
    limits::{PROPOSED_MAX_BYTES, STORED_ITEM_MAX_BYTES},
};

fn with_scope(scope: Vec<String>) -> Command {
    let new = new_token(1, 1, S0, 300);
    command(ALICE, Action::IssueToken(IssueToken { scope, ..new }))
}

/// Whether the command may be proposed; and every node must read whatever may.
fn is_proposable(command: &Command) -> bool {
    let bytes = AuthMachine::encode_command(command);
    let proposable = AuthMachine::check_command(&bytes);
    if bytes.len() <= STORED_ITEM_MAX_BYTES {
        assert!(AuthMachine::decode_command(&bytes).as_ref() == Ok(command));
    }
    match proposable {
        Ok(()) => {
            assert!(bytes.len() <= COMMAND_MAX_BYTES);
            true
        }
        Err(why) => {
            assert_eq!(why, Unproposable::TooLarge { limit: PROPOSED_MAX_BYTES });
            false
        }
    }
}

#[test]
fn around_its_limit_a_command_is_refused_or_read_by_every_node() {
    // One long text, and many short ones: a byte each where they are stored, nine where they are
    // counted.
    let made: [fn(usize) -> Command; 2] =
        [|size| with_scope(vec!["x".repeat(size)]), |parts| with_scope(vec![String::new(); parts])];
    for (make, about) in made.iter().zip([PROPOSED_MAX_BYTES, PROPOSED_MAX_BYTES / 8]) {
        let came: Vec<_> =
            (about - 300..about + 3).step_by(3).map(|n| is_proposable(&make(n))).collect();
        assert!(came.contains(&true) && came.contains(&false), "{about}");
        assert!(came.is_sorted_by(|a, b| a >= b), "{about}");
    }
    // Far above it as well, up to what an item may be.
    for parts in [PROPOSED_MAX_BYTES / 4, PROPOSED_MAX_BYTES, 2 * PROPOSED_MAX_BYTES] {
        assert!(!is_proposable(&with_scope(vec![String::new(); parts])));
    }
}

#[test]
fn bytes_that_are_not_a_command_are_not_proposable() {
    let bytes = AuthMachine::encode_command(&with_scope(Vec::new()));
    let long = [bytes.as_slice(), &[0]].concat();
    for bad in [&bytes[..bytes.len() - 1], &long, &[]] {
        let came = AuthMachine::check_command(bad);
        assert!(matches!(came, Err(Unproposable::Unreadable(_))), "{came:?}");
    }
}
