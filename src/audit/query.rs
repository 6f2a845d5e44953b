//! Queries: a filter, and one page of the events that match it, in ascending order.
//!
//! `event` and `agent` are found by posting lists and `from`, `to` and `token` bound the range,
//! since `at` never runs backwards within a chain. `token` and `actor` have no index: what remains
//! is read event by event, and a page ends early when [`AUDIT_SCAN_MAX_RECORDS`] were read for it.
//! Such a page says that there may be more and after which event to go on, so a client that always
//! goes on after [`Page::next_after_seq`] sees every match exactly once. An offset that reaches
//! beyond the bound is refused rather than answered with the wrong page. Must not know HTTP.

use super::{
    chain,
    record::{Entry, Fields},
    selection::Selection,
    source::{AuditError, Chain, Reader},
};
use crate::{
    domain::{AgentId, TokenId},
    limits::{AUDIT_SCAN_MAX_RECORDS, AUDIT_TOKEN_SLACK_S, TTL_MAX_S},
    rfc3339,
};

/// Which events are asked for: those that match everything that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// With this name.
    pub event: Option<String>,
    /// That concern this agent.
    pub agent: Option<AgentId>,
    /// That concern this token.
    pub token: Option<TokenId>,
    /// Caused by the actor with this id.
    pub actor: Option<String>,
    /// At this time or later, milliseconds since the Unix epoch.
    pub from_ms: Option<u64>,
    /// Before this time, milliseconds since the Unix epoch.
    pub to_ms: Option<u64>,
    /// After this place in the chain.
    pub after_seq: u64,
}

impl Filter {
    fn tags(&self) -> [Option<Vec<u8>>; 2] {
        [self.event.as_deref().map(chain::name_tag), self.agent.map(chain::agent_tag)]
    }

    /// Whether the posting lists answer it for the whole chain.
    fn is_whole(&self) -> bool {
        self.from_ms.is_none()
            && self.to_ms.is_none()
            && self.after_seq == 0
            && !self.needs_reading()
    }

    /// Whether only an event itself tells if it matches.
    pub(super) fn needs_reading(&self) -> bool {
        self.token.is_some() || self.actor.is_some()
    }

    /// The times that a match can lie between: from the first, before the second.
    fn times(&self) -> (Option<u64>, Option<u64>) {
        let slack_ms = AUDIT_TOKEN_SLACK_S * 1_000;
        let minted = self.token.map(TokenId::minted_at_ms);
        let born = minted.map(|at| at.saturating_sub(slack_ms));
        let gone = minted.map(|at| at + TTL_MAX_S * 1_000 + slack_ms);
        let to = [self.to_ms, gone].into_iter().flatten().min();
        (self.from_ms.max(born), to)
    }
}

/// One page of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The events, ascending.
    pub events: Vec<Entry>,
    /// How many match in all, where the index tells.
    pub total: Option<u64>,
    /// Set when more may follow: go on after this place. The page may hold fewer events than
    /// asked for, or none, when it took too much reading to fill it.
    pub next_after_seq: Option<u64>,
}

/// Why there is no page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The log could not be read.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Too many events would have to be read to get to the offset.
    #[error("the offset is too deep for this filter")]
    OffsetTooDeep,
}

/// The page of `limit` matches after the first `offset`.
pub fn page(chain: Chain, filter: &Filter, offset: u64, limit: usize) -> Result<Page, QueryError> {
    let head = chain.head();
    let mut search = Search::new(chain, filter, head)?;
    let total = match filter.needs_reading() {
        true => None,
        false => search.selection.total(filter.is_whole())?,
    };
    let mut budget = AUDIT_SCAN_MAX_RECORDS;
    if !search.skip(offset, &mut budget)? {
        return Err(QueryError::OffsetTooDeep);
    }
    let mut events = Vec::new();
    while events.len() < limit {
        match search.next(&mut budget)? {
            Next::Match(entry) => events.push(entry),
            Next::End => return Ok(Page { events, total, next_after_seq: None }),
            Next::Spent => {
                return Ok(Page { events, total, next_after_seq: Some(search.passed) });
            }
        }
    }
    let last = search.passed;
    let next_after_seq = search.has_more(&mut budget)?.then_some(last);
    Ok(Page { events, total, next_after_seq })
}

/// A walk through the events that match a filter, up to a head.
pub struct Search {
    reader: Reader,
    selection: Selection,
    token: Option<String>,
    actor: Option<String>,
    /// The last event that was judged.
    passed: u64,
}

/// What a step of a [`Search`] came to.
pub enum Next {
    /// The next match.
    Match(Entry),
    /// There are no more.
    End,
    /// The budget was spent before a match was found.
    Spent,
}

impl Search {
    /// Before the first match.
    pub fn new(chain: Chain, filter: &Filter, head: u64) -> Result<Self, AuditError> {
        let (from, to) = filter.times();
        let mut after = filter.after_seq;
        if let Some(from) = from {
            after = after.max(first_at(&chain, head, from)? - 1);
        }
        let last = match to {
            Some(to) => first_at(&chain, head, to)? - 1,
            None => head,
        };
        Ok(Self {
            reader: Reader::new(chain.clone()),
            selection: Selection::new(chain, filter.tags(), after, last)?,
            token: filter.token.map(|id| id.to_string()),
            actor: filter.actor.clone(),
            passed: after,
        })
    }

    /// The next match, reading about `budget` events at most, neighbours included.
    pub fn next(&mut self, budget: &mut u64) -> Result<Next, AuditError> {
        loop {
            if *budget == 0 {
                return Ok(Next::Spent);
            }
            let Some(seq) = self.selection.next()? else { return Ok(Next::End) };
            let before = self.reader.records_read();
            let entry = self.reader.entry(seq)?;
            *budget = budget.saturating_sub(self.reader.records_read() - before);
            self.passed = seq;
            if self.matches(&entry).map_err(|what| self.damaged(seq, what))? {
                return Ok(Next::Match(entry));
            }
        }
    }

    /// Whether there is another match, or none was found within the budget. The event itself is
    /// read only where nothing else tells.
    fn has_more(&mut self, budget: &mut u64) -> Result<bool, AuditError> {
        if self.token.is_none() && self.actor.is_none() {
            return Ok(self.selection.next()?.is_some());
        }
        Ok(!matches!(self.next(budget)?, Next::End))
    }

    /// Passes `matches` matches; false when the budget was spent before.
    fn skip(&mut self, matches: u64, budget: &mut u64) -> Result<bool, AuditError> {
        if self.token.is_none() && self.actor.is_none() {
            self.selection.skip(matches)?;
            return Ok(true);
        }
        for _ in 0..matches {
            match self.next(budget)? {
                Next::Match(_) => {}
                Next::End => break,
                Next::Spent => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The error for a damaged event.
    pub fn damaged(&self, seq: u64, what: String) -> AuditError {
        self.reader.chain().damaged(seq, what)
    }

    fn matches(&self, entry: &Entry) -> Result<bool, String> {
        if self.token.is_none() && self.actor.is_none() {
            return Ok(true);
        }
        let Fields { token_id, actor, .. } = entry.fields()?;
        let is_token =
            self.token.as_deref().is_none_or(|wanted| token_id.as_deref() == Some(wanted));
        Ok(is_token && self.actor.as_deref().is_none_or(|wanted| actor.id == wanted))
    }
}

/// The first place in a chain of `head` events whose event happened at `at_ms` or later; one past
/// the head when there is none.
fn first_at(chain: &Chain, head: u64, at_ms: u64) -> Result<u64, AuditError> {
    let mut reader = Reader::new(chain.clone());
    let (mut low, mut high) = (1, head + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let entry = reader.entry(middle)?;
        let at = entry.fields().and_then(|fields| {
            rfc3339::parse_ms(&fields.at).ok_or_else(|| format!("its time is {:?}", fields.at))
        });
        if at.map_err(|what| chain.damaged(middle, what))? < at_ms {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
