//! Which positions of a chain can match a filter, told from the posting lists alone.
//!
//! No filter is arithmetic, a tag is its posting list, two tags are walked in step: the rarer list
//! leads and the other one is entered where the rarer stands, so neither is read in full for the
//! sake of the other. Must not know what an event says.

use std::collections::VecDeque;

use super::source::{AuditError, Chain};

/// Positions fetched from a posting list at a time.
const FETCH: usize = 4_096;

/// Ascending positions in one chain.
#[derive(Clone)]
pub struct Selection {
    chain: Chain,
    tags: Tags,
    /// Positions up to here have been passed, or stand in `ahead`.
    after: u64,
    /// No position beyond.
    last: u64,
    ahead: VecDeque<u64>,
}

#[derive(Clone)]
enum Tags {
    None,
    One(Vec<u8>),
    Both { rare: Vec<u8>, common: Vec<u8> },
}

impl Selection {
    /// Positions after `after` up to `last` whose records carry all of `tags`, at most two.
    pub fn new(
        chain: Chain,
        tags: [Option<Vec<u8>>; 2],
        after: u64,
        last: u64,
    ) -> Result<Self, AuditError> {
        let tags = match tags {
            [None, None] => Tags::None,
            [Some(tag), None] | [None, Some(tag)] => Tags::One(tag),
            [Some(one), Some(other)] if chain.count(&one)? <= chain.count(&other)? => {
                Tags::Both { rare: one, common: other }
            }
            [Some(one), Some(other)] => Tags::Both { rare: other, common: one },
        };
        Ok(Self { chain, tags, after, last, ahead: VecDeque::new() })
    }

    /// How many positions there are in all, before any was passed; `None` for tags unless the
    /// selection spans its `whole` chain.
    pub fn total(&self, whole: bool) -> Result<Option<u64>, AuditError> {
        match &self.tags {
            Tags::None => Ok(Some(self.last.saturating_sub(self.after))),
            Tags::One(tag) if whole => self.chain.count(tag).map(Some),
            Tags::Both { .. } if whole => self.clone().count().map(Some),
            Tags::One(_) | Tags::Both { .. } => Ok(None),
        }
    }

    fn count(mut self) -> Result<u64, AuditError> {
        let mut total = 0;
        while self.fetch(0)? {
            total += self.ahead.len() as u64;
            self.ahead.clear();
        }
        Ok(total)
    }

    /// Passes `positions` without looking at each, where the index allows it.
    pub fn skip(&mut self, positions: u64) -> Result<(), AuditError> {
        match &self.tags {
            Tags::None => self.after = self.after.saturating_add(positions),
            Tags::One(_) => {
                let fetched = self.ahead.len() as u64;
                self.ahead.drain(..fetched.min(positions) as usize);
                if positions > fetched {
                    self.fetch(positions - fetched)?;
                }
            }
            Tags::Both { .. } => {
                let mut left = positions;
                while left > 0 && self.next()?.is_some() {
                    left -= 1;
                }
            }
        }
        Ok(())
    }

    /// The next position.
    pub fn next(&mut self) -> Result<Option<u64>, AuditError> {
        if matches!(self.tags, Tags::None) {
            self.after = self.after.saturating_add(1);
            return Ok((self.after <= self.last).then_some(self.after));
        }
        if self.ahead.is_empty() {
            self.fetch(0)?;
        }
        Ok(self.ahead.pop_front())
    }

    /// Fills `ahead`, which is empty, leaving the first `skip` positions out; false at the end.
    fn fetch(&mut self, skip: u64) -> Result<bool, AuditError> {
        let last = self.last;
        let within = |seqs: Vec<u64>| seqs.into_iter().take_while(move |seq| *seq <= last);
        match &self.tags {
            Tags::None => {}
            Tags::One(tag) => {
                let found = self.chain.seqs(tag, self.after, skip, FETCH)?;
                self.after = found.last().map_or(last, |seq| (*seq).min(last));
                self.ahead.extend(within(found));
            }
            Tags::Both { rare, common } => {
                let mut common = Leap { chain: &self.chain, tag: common, ahead: VecDeque::new() };
                while self.ahead.is_empty() && self.after < last {
                    let found = self.chain.seqs(rare, self.after, 0, FETCH)?;
                    self.after = found.last().map_or(last, |seq| (*seq).min(last));
                    for seq in within(found) {
                        if common.holds(seq)? {
                            self.ahead.push_back(seq);
                        }
                    }
                }
            }
        }
        Ok(!self.ahead.is_empty())
    }
}

/// A posting list that is asked for ascending positions.
struct Leap<'a> {
    chain: &'a Chain,
    tag: &'a [u8],
    ahead: VecDeque<u64>,
}

impl Leap<'_> {
    fn holds(&mut self, seq: u64) -> Result<bool, AuditError> {
        if self.ahead.back().is_none_or(|last| *last < seq) {
            self.ahead = self.chain.seqs(self.tag, seq - 1, 0, FETCH)?.into();
        }
        while self.ahead.front().is_some_and(|first| *first < seq) {
            self.ahead.pop_front();
        }
        Ok(self.ahead.front() == Some(&seq))
    }
}
