//! Fair shares: what a node has in bounded supply, divided among those who ask for it.
//!
//! First come, first served lets whoever asks most have everything. So each bounded supply is keyed
//! by who asks: an organisation, or the network of a caller without a key. A [`Gate`] bounds how
//! much is held at a time, in total and by each; nobody may hold more than what is free (the dynamic
//! thresholds of Choudhury and Hahne, 1998): n askers who each take all that they get have 1/(n+1) of
//! the supply each, and the last share stays free for the next one. [`Turns`] hands a few slots out
//! to those who wait, in turn, and keeps the last free one for who has none.
//!
//! | supply | keyed by | mechanism |
//! | --- | --- | --- |
//! | commands in flight | organisation | gate, then turns at the log |
//! | judgements, simulations and checks of policies | organisation | gate, then turns at the threads |
//! | reads of the audit log | organisation | gate, then turns at the threads |
//! | exports and streams of the audit log | organisation | gate |
//! | rounds to the leader, waits for an index, with a key | organisation | gate |
//! | the same without a key | network of the caller | a gate of its own |
//! | requests that a node without a vote passes on | organisation, or network of the caller | a gate each |
//! | deliveries of webhooks | organisation | turns, apart for endpoints that struggle |
//! | outcomes of deliveries | organisation | gate, before the one queue of the recorder |
//! | tests of webhooks, checks of domains | organisation | gate |
//!
//! Must not know what is supplied.

#[cfg(test)]
pub mod check;
mod gate;
mod turns;

use std::{collections::BTreeMap, num::NonZeroUsize};

pub use gate::{Full, Gate, Pass};
pub use turns::{Turn, Turns};

/// How much there is of a supply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supply {
    /// In total.
    pub total: NonZeroUsize,
    /// Most that one may hold, however much is free.
    pub of_one: NonZeroUsize,
}

impl Supply {
    /// `total` in all, and at most `of_one` for each. There is always at least one.
    pub const fn new(total: usize, of_one: usize) -> Self {
        Self { total: at_least_one(total), of_one: at_least_one(of_one) }
    }
}

const fn at_least_one(number: usize) -> NonZeroUsize {
    match NonZeroUsize::new(number) {
        Some(number) => number,
        None => NonZeroUsize::MIN,
    }
}

/// Who holds how much of a supply.
#[derive(Debug)]
struct Held<K> {
    supply: Supply,
    total: usize,
    by: BTreeMap<K, usize>,
}

impl<K: Ord + Clone> Held<K> {
    const fn none(supply: Supply) -> Self {
        Self { supply, total: 0, by: BTreeMap::new() }
    }

    fn of(&self, key: &K) -> usize {
        self.by.get(key).copied().unwrap_or_default()
    }

    /// Whether `key` can have one more: it holds less than its bound, and less than is free.
    fn check(&self, key: &K) -> Result<(), Full> {
        let (held, free) = (self.of(key), self.supply.total.get().saturating_sub(self.total));
        if free == 0 {
            return Err(Full::Node);
        }
        if held >= self.supply.of_one.get() || held >= free {
            return Err(Full::Share);
        }
        Ok(())
    }

    /// The same for a turn, which is short: the last free slot is kept for who has none.
    fn can_have_turn(&self, key: &K) -> bool {
        let (held, free) = (self.of(key), self.supply.total.get().saturating_sub(self.total));
        free > 0 && held < self.supply.of_one.get() && (held == 0 || free > 1)
    }

    fn add(&mut self, key: &K) {
        *self.by.entry(key.clone()).or_default() += 1;
        self.total += 1;
    }

    fn remove(&mut self, key: &K) {
        if let Some(held) = self.by.get_mut(key) {
            *held -= 1;
            self.total -= 1;
            if *held == 0 {
                self.by.remove(key);
            }
        }
    }
}
