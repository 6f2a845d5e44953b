//! From which API key each API key descends.
//!
//! A key that an API key created acts only while its creator can, and that one's creator, up to a
//! key that an operator or the setup made. Nothing is passed on when a creator is disabled, deleted
//! or runs out: every use of a key looks at the keys above it, of which there are few by
//! [`limits::API_KEY_GENERATIONS_MAX`]. A creator that is gone cannot come back, so its descendants
//! are dead for good; those of a disabled one act again when it does. A new secret changes nothing
//! in the line. Must not know what a key may do.

use super::{ApiKey, ApiKeyId, Millis, State};
use crate::limits;

impl State {
    /// The API key that created this one. Operators, the setup and builds that kept no creators
    /// leave none.
    pub fn api_key_creator(&self, id: ApiKeyId) -> Option<ApiKeyId> {
        self.api_key_creators.get(&id).copied()
    }

    /// The ids above `id`, the creator first. One more than can be: whoever walks past the bound
    /// has met a line that this build does not make.
    fn creators_above(&self, id: ApiKeyId) -> impl Iterator<Item = ApiKeyId> {
        std::iter::successors(self.api_key_creator(id), |above| self.api_key_creator(*above))
            .take(limits::API_KEY_GENERATIONS_MAX)
    }

    /// Whether the key, and every key above it, can act at `at`.
    pub fn is_api_key_alive(&self, key: &ApiKey, at: Millis) -> bool {
        let mut above = 0;
        let all_act = self.creators_above(key.id).all(|id| {
            above += 1;
            self.api_keys.get(&id).is_some_and(|creator| creator.is_alive(at))
        });
        key.is_alive(at) && all_act && above < limits::API_KEY_GENERATIONS_MAX
    }

    /// From when on the key no longer acts: the earliest end in its line, if any has one.
    pub(super) fn api_key_end(&self, key: &ApiKey) -> Option<Millis> {
        let above = self.creators_above(key.id).filter_map(|id| self.api_keys.get(&id)?.expires_at);
        above.chain(key.expires_at).min()
    }

    /// Whether `above` is somewhere above `id`.
    pub(super) fn api_key_descends_from(&self, id: ApiKeyId, above: ApiKeyId) -> bool {
        self.creators_above(id).any(|creator| creator == above)
    }

    /// Whether the key can have descendants: its line is not as long as a line can be.
    pub(super) fn can_api_key_create(&self, id: ApiKeyId) -> bool {
        self.creators_above(id).count() + 1 < limits::API_KEY_GENERATIONS_MAX
    }

    pub(crate) fn put_api_key_creator(&mut self, id: ApiKeyId, creator: ApiKeyId) {
        self.api_key_creators.insert(id, creator);
    }
}
