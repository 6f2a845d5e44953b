//! What an organisation takes up, in bytes: of the state, and of the audit log in a day.
//!
//! Every number here follows from the records, or is itself a record, and is kept in the step that
//! changes them: asking for it costs the same however much there is. Bytes are those of stored
//! forms, with an allowance for indexes, and not those of a node's memory. Must not know what an
//! organisation is allowed.

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::{Environment, Level, Millis, OrgId, State, Tenant};
use crate::{codec, limits};

const DAY_MS: u64 = 86_400_000;

/// What the items of each organisation take together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemBytes(OrdMap<OrgId, u64>);

impl ItemBytes {
    /// `new` is there instead of `old`; how large it is in its stored form.
    pub(super) fn replace<T: Serialize>(
        &mut self,
        org: OrgId,
        old: Option<&T>,
        new: Option<&T>,
    ) -> usize {
        let counted = |bytes: usize| (bytes as u64).saturating_add(limits::ITEM_INDEX_BYTES);
        let (before, now) = (old.map(codec::encoded_len), new.map(codec::encoded_len));
        let all = self.of(org).saturating_sub(before.map_or(0, counted));
        match all.saturating_add(now.map_or(0, counted)) {
            0 => self.0.remove(&org),
            all => self.0.insert(org, all),
        };
        now.unwrap_or(0)
    }

    fn of(&self, org: OrgId) -> u64 {
        self.0.get(&org).copied().unwrap_or(0)
    }
}

/// What an organisation's events took on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventDay {
    /// The day, UTC, counted from 1970-01-01.
    pub day: u64,
    /// The records of its events in the journal.
    pub bytes: u64,
}

/// When the day of `at` is over, in seconds from then.
pub(super) fn rest_of_day_s(at: Millis) -> u64 {
    (DAY_MS - at % DAY_MS).div_ceil(1000)
}

impl State {
    /// What `org` has in the state, in both its environments.
    pub fn state_bytes(&self, org: OrgId) -> u64 {
        let answers = self.answers_remembered.get(&org).copied().unwrap_or_default();
        let own = [
            (1, self.item_bytes.of(org)),
            (limits::API_KEY_BYTES, self.api_keys_of_org(org)),
            (limits::OUTBOX_BYTES, self.webhooks_of_org(org) as u64),
            (1, answers.bytes),
            (limits::ITEM_INDEX_BYTES, answers.records),
        ];
        let of_tenants =
            [Environment::Live, Environment::Test].into_iter().flat_map(|environment| {
                let tenant = Tenant { org, environment };
                [
                    (1, self.token_lists.bytes_of_tenant(tenant)),
                    (
                        limits::TOKEN_RECORD_BYTES,
                        self.token_records.get(&tenant).copied().unwrap_or(0),
                    ),
                    (limits::NONCE_BYTES, self.nonces_of(tenant)),
                    (limits::THROTTLE_WINDOW_BYTES, self.windows_of(tenant)),
                ]
            });
        let all = own.into_iter().chain(of_tenants);
        all.fold(0, |sum, (each, number)| sum.saturating_add(number.saturating_mul(each)))
    }

    /// What the events of `org` took so far on the day of `at`.
    pub fn event_bytes_on(&self, org: OrgId, at: Millis) -> u64 {
        let day = self.event_days.get(&org).filter(|known| known.day == at / DAY_MS);
        day.map_or(0, |day| day.bytes)
    }

    /// An event was written to `chain` at `at`. Counted from the level on at which the count decides
    /// something, so that replicas of an older build, which do not count, agree until then.
    pub fn note_event_bytes(&mut self, chain: Tenant, at: Millis, bytes: u64) {
        if self.level < Level::BOUNDED || !self.organizations.contains_key(&chain.org) {
            return;
        }
        let bytes = self.event_bytes_on(chain.org, at).saturating_add(bytes);
        self.event_days.insert(chain.org, EventDay { day: at / DAY_MS, bytes });
    }
}
