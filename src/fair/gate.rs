//! A bound on how much is held at a time: whoever comes too late is turned away at once.
//!
//! Must not know how long anything is held.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Held, Supply};

/// Counts what is inside, in total and by key. Clones share it.
#[derive(Debug)]
pub struct Gate<K: Ord + Clone>(Arc<Mutex<Held<K>>>);

impl<K: Ord + Clone> Clone for Gate<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Why one more was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// Nothing is free on this node.
    #[error("this node has as many of these under way as it can hold")]
    Node,
    /// The asker has its share, and the rest is left to others.
    #[error("the caller has its share of what this node can hold")]
    Share,
}

/// Counts as inside until it is dropped.
#[derive(Debug)]
pub struct Pass<K: Ord + Clone> {
    gate: Gate<K>,
    key: K,
}

impl<K: Ord + Clone> Gate<K> {
    /// An empty gate.
    pub fn new(supply: Supply) -> Self {
        Self(Arc::new(Mutex::new(Held::none(supply))))
    }

    /// Lets one more of `key` in.
    ///
    /// # Errors
    ///
    /// [`Full::Share`] when `key` has its share, [`Full::Node`] when nothing is free.
    pub fn enter(&self, key: K) -> Result<Pass<K>, Full> {
        let mut held = self.held();
        held.check(&key)?;
        held.add(&key);
        drop(held);
        Ok(Pass { gate: self.clone(), key })
    }

    /// How many are inside.
    pub fn inside(&self) -> usize {
        self.held().total
    }

    fn held(&self) -> MutexGuard<'_, Held<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Clone> Pass<K> {
    /// Who holds it.
    pub const fn key(&self) -> &K {
        &self.key
    }
}

impl<K: Ord + Clone> Drop for Pass<K> {
    fn drop(&mut self) {
        self.gate.held().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_one_nor_all_exceed_their_bound() {
        let gate = Gate::new(Supply::new(3, 2));
        let held = [gate.enter(1), gate.enter(1), gate.enter(2)];
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(gate.enter(3).err(), Some(Full::Node));
        let [first, second, third] = held;
        drop(third);
        assert_eq!(gate.enter(1).err(), Some(Full::Share));
        drop((first, second));
        assert!(gate.enter(3).is_ok());
        assert!(gate.held().by.is_empty());
    }

    #[test]
    fn however_many_attack_a_newcomer_finds_its_place() {
        for attackers in [1, 2, 7, 31] {
            let gate = Gate::new(Supply::new(64, 64));
            let mut held = Vec::new();
            loop {
                let before = held.len();
                held.extend((0..attackers).filter_map(|attacker| gate.enter(attacker).ok()));
                if held.len() == before {
                    break;
                }
            }
            let share = 64 / (attackers + 1);
            for attacker in 0..attackers {
                let has = gate.held().of(&attacker);
                assert!((share..=share + 1).contains(&has), "{attackers} attackers: {has}");
            }
            assert!(gate.enter(attackers).is_ok(), "{attackers} attackers shut a newcomer out");
        }
    }
}
