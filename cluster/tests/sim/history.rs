//! What clients asked and were answered, and whether that may be.
//!
//! Every request and every answer has a place in one order, which is the true one: there is one
//! thread.

use std::collections::{BTreeMap, BTreeSet};

use super::vault::State;

/// A write that was acknowledged.
#[derive(Debug, Clone, Copy)]
struct Acked {
    asked: u64,
    answered: u64,
    index: u64,
}

/// What may not be.
pub type Violation = String;

#[derive(Debug, Default)]
pub struct History {
    order: u64,
    keys: u64,
    /// Keys whose issue was acknowledged.
    pub issued: Vec<u64>,
    /// Keys whose revoke was.
    revoked: BTreeSet<u64>,
    acked: Vec<Acked>,
    highest: u64,
    pub violations: Vec<Violation>,
    pub counts: BTreeMap<&'static str, u64>,
}

impl History {
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// The next place in the order.
    pub fn now(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    /// A key that was never used.
    pub fn fresh_key(&mut self) -> u64 {
        self.keys += 1;
        self.keys
    }

    pub fn is_revoked(&self, key: u64) -> bool {
        self.revoked.contains(&key)
    }

    /// The highest index that was acknowledged.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    pub fn violates(&mut self, what: Violation) {
        self.violations.push(what);
    }

    /// A write that was asked for at `asked` is answered now.
    pub fn acked(&mut self, asked: u64, index: u64) {
        let answered = self.now();
        self.highest = self.highest.max(index);
        self.acked.push(Acked { asked, answered, index });
    }

    pub fn revoke_acked(&mut self, key: u64) {
        self.revoked.insert(key);
    }

    /// Writes that follow one another in time do so in the log, and each has a place of its own.
    pub fn check_order(&mut self) {
        let mut by_answer = self.acked.clone();
        by_answer.sort_by_key(|write| write.answered);
        let mut by_ask = self.acked.clone();
        by_ask.sort_by_key(|write| write.asked);
        let mut before = by_answer.iter().peekable();
        let mut highest = 0;
        let mut wrong = None;
        for write in &by_ask {
            while let Some(done) = before.next_if(|done| done.answered < write.asked) {
                highest = highest.max(done.index);
            }
            if write.index <= highest {
                wrong = Some((write.index, highest));
            }
        }
        if let Some((index, highest)) = wrong {
            self.violates(format!("a write at {index} began after one at {highest} had answered"));
        }
        let places: BTreeSet<u64> = self.acked.iter().map(|write| write.index).collect();
        if places.len() != self.acked.len() {
            self.violates("two writes were answered with one place".into());
        }
    }

    /// What was acknowledged is in `state`.
    pub fn check_kept(&mut self, node: u64, state: &State) {
        let lost: Vec<u64> =
            self.issued.iter().filter(|key| !state.keys.contains_key(key)).copied().collect();
        let alive: Vec<u64> =
            self.revoked.iter().filter(|key| state.keys.get(key) != Some(&true)).copied().collect();
        for (what, keys) in [("an issue", lost), ("a revoke", alive)] {
            if !keys.is_empty() {
                self.violates(format!("node {node} has lost {what} that was answered: {keys:?}"));
            }
        }
    }
}
