//! A few slots, handed out in turn to those who wait: work of one key never waits for more than a
//! bounded amount of another's.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, 1996): each key has a virtual time that a turn
//! of it advances by what the turn costs, and the key that is furthest behind is next. With equal
//! costs this is round robin. A key that comes back after a pause begins where the others are, so
//! nobody saves turns up, and what it owes is forgotten only once the others have caught up.
//! Whoever waits was let in by a [`Gate`](super::Gate): waiting itself is not bounded here. Must
//! not know what is done in a turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::{Held, Supply};

/// The slots. Clones share them.
#[derive(Debug)]
pub struct Turns<K: Ord + Clone>(Arc<Mutex<Queue<K>>>);

impl<K: Ord + Clone> Clone for Turns<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A slot, until it is dropped.
#[derive(Debug)]
pub struct Turn<K: Ord + Clone> {
    turns: Turns<K>,
    key: K,
}

#[derive(Debug)]
struct Queue<K: Ord + Clone> {
    held: Held<K>,
    /// The virtual time: that of the key whose turn began last.
    now: u64,
    lanes: BTreeMap<K, Lane<K>>,
    /// Keys of which something waits, by their virtual time.
    waiting: BTreeSet<(u64, K)>,
    /// Keys of which nothing waits and that are ahead of the virtual time.
    ahead: BTreeSet<(u64, K)>,
    tickets: u64,
}

/// What waits of one key, and its virtual time.
#[derive(Debug)]
struct Lane<K: Ord + Clone> {
    time: u64,
    waiters: BTreeMap<u64, Waiter<K>>,
}

#[derive(Debug)]
struct Waiter<K: Ord + Clone> {
    cost: u64,
    wake: oneshot::Sender<Turn<K>>,
}

impl<K: Ord + Clone> Turns<K> {
    /// Nobody waits, and every slot is free.
    pub fn new(supply: Supply) -> Self {
        Self(Arc::new(Mutex::new(Queue {
            held: Held::none(supply),
            now: 0,
            lanes: BTreeMap::new(),
            waiting: BTreeSet::new(),
            ahead: BTreeSet::new(),
            tickets: 0,
        })))
    }

    /// Waits for a slot. `cost` says how long it will be held, compared with others; at least 1.
    ///
    /// Who stops waiting leaves nothing behind.
    pub async fn take(&self, key: K, cost: u64) -> Turn<K> {
        let (wake, woken) = oneshot::channel();
        let ticket = self.queue().enter(key.clone(), cost.max(1), wake);
        // Dropped with the future of this call, it takes the waiter out again.
        let _leaving = Leaving { turns: self, key: key.clone(), ticket };
        self.hand_out();
        match woken.await {
            Ok(turn) => turn,
            // Waiters leave only with their own futures.
            Err(_) => unreachable_turn(self, key),
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.queue().lanes.values().map(|lane| lane.waiters.len()).sum()
    }

    /// Gives free slots to those who wait, until there is no free slot or nobody who can have one.
    fn hand_out(&self) {
        loop {
            let next = self.queue().next();
            let Some((key, wake)) = next else { return };
            // One whose waiter has just gone comes back by its drop. The lock is not held here.
            drop(wake.send(Turn { turns: self.clone(), key }));
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot beside the supply, for the case that cannot be: better one too many than a lost request.
fn unreachable_turn<K: Ord + Clone>(turns: &Turns<K>, key: K) -> Turn<K> {
    turns.queue().held.add(&key);
    Turn { turns: turns.clone(), key }
}

impl<K: Ord + Clone> Queue<K> {
    fn enter(&mut self, key: K, cost: u64, wake: oneshot::Sender<Turn<K>>) -> u64 {
        self.tickets += 1;
        let ticket = self.tickets;
        let now = self.now;
        let lane = self
            .lanes
            .entry(key.clone())
            .or_insert_with(|| Lane { time: now, waiters: BTreeMap::new() });
        if lane.waiters.is_empty() {
            self.ahead.remove(&(lane.time, key.clone()));
            lane.time = lane.time.max(now);
            self.waiting.insert((lane.time, key));
        }
        lane.waiters.insert(ticket, Waiter { cost, wake });
        ticket
    }

    fn leave(&mut self, key: &K, ticket: u64) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if lane.waiters.remove(&ticket).is_some() && lane.waiters.is_empty() {
            let time = lane.time;
            self.waiting.remove(&(time, key.clone()));
            self.rest(key, time);
        }
    }

    /// Takes the next waiter out and counts its slot as held.
    fn next(&mut self) -> Option<(K, oneshot::Sender<Turn<K>>)> {
        if self.held.total >= self.held.supply.total.get() {
            return None;
        }
        // Only keys that hold a slot can be passed over, so few are looked at.
        let can_have = |(_, key): &&(u64, K)| self.held.can_have_turn(key);
        let (time, key) = self.waiting.iter().find(can_have).cloned()?;
        let lane = self.lanes.get_mut(&key)?;
        let (_, waiter) = lane.waiters.pop_first()?;
        let is_last = lane.waiters.is_empty();
        lane.time = time.saturating_add(waiter.cost);
        let later = lane.time;
        self.waiting.remove(&(time, key.clone()));
        self.now = self.now.max(time);
        if is_last {
            self.rest(&key, later);
        } else {
            self.waiting.insert((later, key.clone()));
        }
        self.held.add(&key);
        self.forgive();
        Some((key, waiter.wake))
    }

    /// Nothing of `key` waits: it is remembered while it is ahead of the others.
    fn rest(&mut self, key: &K, time: u64) {
        if time > self.now {
            self.ahead.insert((time, key.clone()));
        } else {
            self.lanes.remove(key);
        }
    }

    /// Forgets the keys that are ahead no longer; all of them when nobody is left to be behind.
    fn forgive(&mut self) {
        let nobody_waits = self.waiting.is_empty() && self.held.total == 0;
        while let Some((time, _)) = self.ahead.first()
            && (nobody_waits || *time <= self.now)
            && let Some((_, key)) = self.ahead.pop_first()
        {
            self.lanes.remove(&key);
        }
    }
}

impl<K: Ord + Clone> Drop for Turn<K> {
    fn drop(&mut self) {
        {
            let mut queue = self.turns.queue();
            queue.held.remove(&self.key);
            queue.forgive();
        }
        self.turns.hand_out();
    }
}

/// Takes a waiter out when its future is dropped; nothing if it was woken.
struct Leaving<'a, K: Ord + Clone> {
    turns: &'a Turns<K>,
    key: K,
    ticket: u64,
}

impl<K: Ord + Clone> Drop for Leaving<'_, K> {
    fn drop(&mut self) {
        self.turns.queue().leave(&self.key, self.ticket);
    }
}

#[cfg(test)]
mod tests;
