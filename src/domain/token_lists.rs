//! Lists of live tokens, for people to read; verification does not look here.
//!
//! One list for each agent and signing key, so that a cascade – an agent's tokens, a signing key's
//! tokens – drops whole lists instead of walking tokens. A revoked or expired token is in none.
//! Must not know why a token leaves.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::{AgentId, Tenant, TokenDetails, TokenId, merge};
use crate::{codec, limits};

/// One list, and the stored forms of its tokens together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct List {
    tokens: OrdMap<TokenId, Arc<TokenDetails>>,
    bytes: u64,
}

/// Which list: an agent, and the number of a signing key.
type ListKey = (AgentId, u32);

/// All lists, and how many tokens they hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenLists {
    lists: OrdMap<ListKey, List>,
    /// The newest token of every list, by tenant: where a page of a whole tenant starts.
    newest: OrdSet<(Tenant, TokenId, ListKey)>,
    live: OrdMap<Tenant, u64>,
    bytes: OrdMap<Tenant, u64>,
    total: u64,
}

impl TokenLists {
    /// What the live tokens of `tenant` take, in their stored form.
    pub fn bytes_of_tenant(&self, tenant: Tenant) -> u64 {
        self.bytes.get(&tenant).copied().unwrap_or(0)
    }

    /// How many live tokens there are in the cluster.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many live tokens `tenant` has.
    pub fn live_of_tenant(&self, tenant: Tenant) -> u64 {
        self.live.get(&tenant).copied().unwrap_or(0)
    }

    /// How many live tokens `agent` has: O(signing keys that it has tokens of).
    pub fn live_of_agent(&self, agent: AgentId) -> u64 {
        self.of_agent(agent).map(|(_, list)| list.tokens.len() as u64).sum()
    }

    /// The live token with this id.
    pub fn get(&self, agent: AgentId, signing_key: u32, id: TokenId) -> Option<&Arc<TokenDetails>> {
        self.lists.get(&(agent, signing_key))?.tokens.get(&id)
    }

    /// Every live token, by agent, signing key and id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TokenDetails>> {
        self.lists.values().flat_map(|list| list.tokens.values())
    }

    /// A page of `agent`'s live tokens, newest first.
    pub fn page_of_agent(
        &self,
        agent: AgentId,
        offset: usize,
        limit: usize,
    ) -> Vec<Arc<TokenDetails>> {
        let mut lists: Vec<_> = self
            .of_agent(agent)
            .filter_map(|(_, list)| Some((list.tokens.get_max()?.0, newest_first(list))))
            .collect();
        lists.sort_by_key(|(newest, _)| std::cmp::Reverse(*newest));
        merge::newest(lists.into_iter(), offset, limit)
    }

    /// A page of `tenant`'s live tokens, newest first.
    pub fn page_of_tenant(
        &self,
        tenant: Tenant,
        offset: usize,
        limit: usize,
    ) -> Vec<Arc<TokenDetails>> {
        let first = (tenant, TokenId([0; 16]), (AgentId([0; 16]), 0));
        let last = (tenant, TokenId([u8::MAX; 16]), (AgentId([u8::MAX; 16]), u32::MAX));
        let lists = self
            .newest
            .range(first..=last)
            .rev()
            .filter_map(|(_, newest, key)| Some((*newest, newest_first(self.lists.get(key)?))));
        merge::newest(lists, offset, limit)
    }

    fn of_agent(&self, agent: AgentId) -> impl Iterator<Item = (&ListKey, &List)> {
        self.lists.range((agent, 0)..=(agent, u32::MAX))
    }

    /// Adds a token.
    pub(super) fn insert(&mut self, tenant: Tenant, signing_key: u32, token: Arc<TokenDetails>) {
        let key = (token.agent, signing_key);
        let bytes = bytes_of(&token);
        let list = self.lists.entry(key).or_default();
        let before = list.tokens.get_max().map(|(id, _)| *id);
        let id = token.id;
        if let Some(old) = list.tokens.insert(id, token) {
            let old = bytes_of(&old);
            list.bytes = list.bytes.saturating_sub(old).saturating_add(bytes);
            let all = self.bytes.entry(tenant).or_default();
            *all = all.saturating_sub(old).saturating_add(bytes);
            return;
        }
        list.bytes = list.bytes.saturating_add(bytes);
        if before.is_none_or(|newest| newest < id) {
            if let Some(newest) = before {
                self.newest.remove(&(tenant, newest, key));
            }
            self.newest.insert((tenant, id, key));
        }
        *self.live.entry(tenant).or_default() += 1;
        *self.bytes.entry(tenant).or_default() += bytes;
        self.total += 1;
    }

    /// Removes a token, if it is there.
    pub(super) fn remove(&mut self, tenant: Tenant, agent: AgentId, signing_key: u32, id: TokenId) {
        let key = (agent, signing_key);
        let Some(list) = self.lists.get_mut(&key) else { return };
        let before = list.tokens.get_max().map(|(id, _)| *id);
        let Some(old) = list.tokens.remove(&id) else { return };
        let bytes = bytes_of(&old);
        list.bytes = list.bytes.saturating_sub(bytes);
        let after = list.tokens.get_max().map(|(id, _)| *id);
        if before == Some(id) {
            self.newest.remove(&(tenant, id, key));
            if let Some(newest) = after {
                self.newest.insert((tenant, newest, key));
            }
        }
        if after.is_none() {
            self.lists.remove(&key);
        }
        self.count_down(tenant, 1, bytes);
    }

    /// Removes all tokens of `agent`: O(signing keys that it has tokens of).
    pub(super) fn remove_agent(&mut self, tenant: Tenant, agent: AgentId) {
        let keys: Vec<ListKey> = self.of_agent(agent).map(|(key, _)| *key).collect();
        for key in keys {
            self.drop_list(tenant, key);
        }
    }

    /// Removes all tokens of a signing key: O(agents that have live tokens).
    pub(super) fn remove_signing_key(
        &mut self,
        signing_key: u32,
        tenant_of: impl Fn(AgentId) -> Option<Tenant>,
    ) {
        let keys: Vec<ListKey> =
            self.lists.keys().filter(|(_, number)| *number == signing_key).copied().collect();
        for key in keys {
            if let Some(tenant) = tenant_of(key.0) {
                self.drop_list(tenant, key);
            }
        }
    }

    fn drop_list(&mut self, tenant: Tenant, key: ListKey) {
        let Some(list) = self.lists.remove(&key) else { return };
        if let Some((newest, _)) = list.tokens.get_max() {
            self.newest.remove(&(tenant, *newest, key));
        }
        self.count_down(tenant, list.tokens.len() as u64, list.bytes);
    }

    fn count_down(&mut self, tenant: Tenant, gone: u64, bytes: u64) {
        self.total = self.total.saturating_sub(gone);
        let left = self.live_of_tenant(tenant).saturating_sub(gone);
        if left == 0 {
            self.live.remove(&tenant);
            self.bytes.remove(&tenant);
        } else {
            let bytes = self.bytes_of_tenant(tenant).saturating_sub(bytes);
            self.live.insert(tenant, left);
            self.bytes.insert(tenant, bytes);
        }
    }
}

fn bytes_of(token: &TokenDetails) -> u64 {
    (codec::encoded_len(token) as u64).saturating_add(limits::ITEM_INDEX_BYTES)
}

fn newest_first(list: &List) -> impl Iterator<Item = (TokenId, Arc<TokenDetails>)> {
    list.tokens.iter().rev().map(|(id, token)| (*id, Arc::clone(token)))
}

#[cfg(test)]
impl TokenLists {
    /// Says that there are so many, to test a bound without filling memory.
    pub(super) fn pretend(&mut self, tenant: Tenant, live: u64, total: u64) {
        self.live.insert(tenant, live);
        self.total = total;
    }
}
