//! What simulated nodes share: their disks, the wires between them, and who has died.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

use super::disk::Disk;
use super::network::Wires;
use crate::lease::{Rule, Rules};

#[derive(Default)]
pub struct Shared {
    disks: Mutex<BTreeMap<u64, Disk>>,
    wires: Mutex<Wires>,
    crashed: Mutex<Vec<u64>>,
    pub news: Notify,
    rules: Mutex<Rules>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl Shared {
    pub fn disk(&self, node: u64) -> Disk {
        let mut disks = self.disks.lock().expect("not poisoned");
        disks.entry(node).or_insert_with(|| Disk::new(node)).clone()
    }

    /// Breaks `rule` on every node.
    pub fn without(&self, rule: Rule) {
        *self.rules.lock().expect("not poisoned") = Rules::without(rule);
    }

    pub fn rules(&self) -> Rules {
        *self.rules.lock().expect("not poisoned")
    }

    /// Notes that something happened that a run should come by.
    pub fn count(&self, what: &'static str) {
        *self.counts().entry(what).or_default() += 1;
    }

    pub fn counts(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.counts.lock().expect("not poisoned")
    }

    pub fn wires(&self) -> MutexGuard<'_, Wires> {
        self.wires.lock().expect("not poisoned")
    }

    /// `node` died in the middle of what it did.
    pub fn crashed(&self, node: u64) {
        self.crashed.lock().expect("not poisoned").push(node);
        self.news.notify_one();
    }

    pub fn take_crashed(&self) -> Vec<u64> {
        std::mem::take(&mut *self.crashed.lock().expect("not poisoned"))
    }
}
