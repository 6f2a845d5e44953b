//! Random commands on domains: few names, so that organisations meet at them, and looks of which most
//! are in time.

use proptest::{collection::vec, prelude::*};

use super::commands::text;
use crate::domain::*;

/// Looks at a domain that is there, mostly at its present epoch, and sees its record where a text
/// was seen.
pub(super) fn look_at_some(state: &State, check: &mut RecordDomainCheck) {
    let count = state.domains.len().max(1);
    let Some(some) = state.domains.values().nth(usize::from(check.id[15]) % count) else { return };
    check.domain = some.id;
    check.challenge = some.challenge;
    check.epoch += some.epoch;
    if let Seen::Texts(texts) = &mut check.seen {
        texts.push(some.txt_value());
    }
}

pub(super) fn domains() -> impl Strategy<Value = Action> {
    let id = || (1u128..6).prop_map(DomainId::from_ulid);
    let name = || {
        prop_oneof![
            9 => "[ab]\\.example",
            1 => text(),
        ]
    };
    let seen = || {
        prop_oneof![
            6 => Just(Seen::Texts(Vec::new())),
            1 => vec(text(), 0..10).prop_map(Seen::Texts),
            1 => Just(Seen::NoTexts(())),
            3 => Just(Seen::NoName(())),
        ]
    };
    let look = (any::<[u8; 16]>(), prop_oneof![9 => Just(0), 1 => 1u64..3], seen());
    prop_oneof![
        4 => (id(), name(), 0u8..4).prop_map(|(id, name, challenge)| {
            Action::CreateDomain(CreateDomain { id, name, challenge: [challenge; 32] })
        }),
        8 => look.prop_map(|(id, epoch, seen)| {
            let (domain, challenge) = (DomainId::from_ulid(0), [0; 32]);
            Action::RecordDomainCheck(RecordDomainCheck { id, domain, challenge, epoch, seen })
        }),
        1 => id().prop_map(Action::DeleteDomain),
    ]
}
