//! What an endpoint has in hand: events read and waiting, attempts under way, and outcomes that are
//! not in the state yet. Decides what is sent next.
//!
//! What the endpoint has been sent and is owed stands in the state; here is only what the state
//! cannot know yet, so losing it costs at most a second delivery. Must not know how to send.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    domain::{Millis, Outbox},
    limits,
};

/// An attempt that is to be made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    /// The event's place in the chain.
    pub(super) seq: u64,
    /// Counts the attempts at it, from 1.
    pub(super) number: u32,
    /// The event's text, unless it must be read again.
    pub(super) text: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Desk {
    /// The first event that was not read yet.
    next: u64,
    /// Events that the endpoint wants and that were not attempted yet.
    queue: BTreeMap<u64, String>,
    /// Events that are being attempted for the first time.
    first_attempts: BTreeSet<u64>,
    /// Events that are being attempted again.
    retries: BTreeSet<u64>,
    /// Events whose attempt has ended, until the state knows; true if it failed.
    unrecorded: BTreeMap<u64, bool>,
}

impl Desk {
    /// Of an endpoint that has come as far as `outbox` says.
    pub(super) fn new(outbox: &Outbox) -> Self {
        Self {
            next: outbox.progress.position.saturating_add(1),
            queue: BTreeMap::new(),
            first_attempts: BTreeSet::new(),
            retries: BTreeSet::new(),
            unrecorded: BTreeMap::new(),
        }
    }

    /// The last event that was read.
    pub(super) fn read_to(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// Every event up to here has been dealt with, apart from retries.
    pub(super) fn position(&self) -> u64 {
        let waiting = self.queue.keys().next();
        let under_way = self.first_attempts.first();
        let first = waiting.into_iter().chain(under_way).min();
        first.copied().unwrap_or(self.next).saturating_sub(1)
    }

    /// Whether more events are to be read, if there are any.
    pub(super) fn wants_more(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes in an event that was read: its text, if the endpoint wants it.
    pub(super) fn take_in(&mut self, outbox: &Outbox, seq: u64, wanted: Option<String>) {
        self.next = self.next.max(seq.saturating_add(1));
        if let Some(text) = wanted
            && !outbox.is_dealt_with(seq)
            && !self.is_in_hand(seq)
        {
            self.queue.insert(seq, text);
        }
    }

    fn is_in_hand(&self, seq: u64) -> bool {
        self.first_attempts.contains(&seq)
            || self.retries.contains(&seq)
            || self.unrecorded.contains_key(&seq)
    }

    /// What is to be attempted at `now`: retries that are due first, then events in their order. It
    /// counts as under way from here on.
    pub(super) fn start(&mut self, outbox: &Outbox, now: Millis) -> Vec<Start> {
        let mut started = Vec::new();
        if self.unrecorded.len() >= limits::WEBHOOK_UNRECORDED_MAX {
            return started;
        }
        if self.has_place(self.retries.len()) {
            self.start_retries(outbox, now, &mut started);
        }
        while self.has_place(self.first_attempts.len()) && self.may_owe_more(outbox) {
            let furthest = self.position().saturating_add(limits::WEBHOOK_AHEAD_MAX);
            let Some(entry) = self.queue.first_entry().filter(|entry| *entry.key() <= furthest)
            else {
                break;
            };
            let (seq, text) = entry.remove_entry();
            self.first_attempts.insert(seq);
            started.push(Start { seq, number: 1, text: Some(text) });
        }
        started
    }

    fn start_retries(&mut self, outbox: &Outbox, now: Millis, started: &mut Vec<Start>) {
        let due = outbox.open.iter().filter(|(_, retry)| retry.due_at <= now);
        let mut due: Vec<_> = due
            .filter(|(seq, _)| !self.is_in_hand(**seq))
            .map(|(seq, retry)| (retry.due_at, *seq, retry.attempts))
            .collect();
        due.sort_unstable();
        for (_, seq, attempts) in due {
            if !self.has_place(self.retries.len()) {
                break;
            }
            self.retries.insert(seq);
            started.push(Start { seq, number: attempts.saturating_add(1), text: None });
        }
    }

    /// Whether another attempt of a kind of which so many are under way has a place.
    fn has_place(&self, of_this_kind: usize) -> bool {
        of_this_kind < limits::WEBHOOK_ATTEMPTS_OF_A_KIND_MAX
            && self.first_attempts.len() + self.retries.len()
                < limits::WEBHOOK_ATTEMPTS_PER_ENDPOINT_MAX
    }

    /// Whether there is room among the open retries for every event that is on its way there.
    fn may_owe_more(&self, outbox: &Outbox) -> bool {
        let failed = self.unrecorded.values().filter(|failed| **failed).count();
        let owed = outbox.open.len() + self.first_attempts.len() + failed;
        owed < limits::WEBHOOK_OPEN_RETRIES_MAX
    }

    /// An attempt was not made after all.
    pub(super) fn put_back(&mut self, start: Start) {
        self.retries.remove(&start.seq);
        if self.first_attempts.remove(&start.seq)
            && let Some(text) = start.text
        {
            self.queue.insert(start.seq, text);
        }
    }

    /// An attempt has ended; its outcome is on its way to the state.
    pub(super) fn ended(&mut self, seq: u64, failed: bool) {
        self.retries.remove(&seq);
        self.first_attempts.remove(&seq);
        self.unrecorded.insert(seq, failed);
    }

    /// The state knows of the outcomes of these.
    pub(super) fn recorded(&mut self, seqs: &[u64]) {
        for seq in seqs {
            self.unrecorded.remove(seq);
        }
    }

    /// When the next retry is due that is not in hand.
    pub(super) fn next_due(&self, outbox: &Outbox) -> Option<Millis> {
        let waiting = outbox.open.iter().filter(|(seq, _)| !self.is_in_hand(**seq));
        waiting.map(|(_, retry)| retry.due_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::OpenRetry;

    const NOW: Millis = 1_000;

    fn outbox(position: u64, open: &[(u64, u32, Millis)]) -> Outbox {
        let mut outbox = Outbox::starting_after(position);
        for (seq, attempts, due_at) in open {
            outbox.open.insert(*seq, OpenRetry { attempts: *attempts, due_at: *due_at });
        }
        outbox
    }

    /// A desk that has read events up to `last`, all wanted.
    fn desk(outbox: &Outbox, last: u64) -> Desk {
        let mut desk = Desk::new(outbox);
        for seq in outbox.progress.position + 1..=last {
            desk.take_in(outbox, seq, Some(format!("event {seq}")));
        }
        desk
    }

    fn seqs(started: &[Start]) -> Vec<u64> {
        started.iter().map(|start| start.seq).collect()
    }

    #[test]
    fn the_position_is_before_the_first_event_that_is_still_under_way() {
        let outbox = outbox(10, &[]);
        let mut desk = desk(&outbox, 14);
        assert_eq!(desk.position(), 10);
        assert_eq!(seqs(&desk.start(&outbox, NOW)), [11, 12, 13, 14]);
        desk.ended(12, false);
        assert_eq!(desk.position(), 10);
        desk.ended(11, true);
        assert_eq!(desk.position(), 12);
        desk.ended(13, false);
        desk.ended(14, false);
        assert_eq!(desk.position(), 14);
        desk.take_in(&outbox, 15, None);
        assert_eq!(desk.position(), 15, "an event that is not wanted is passed over");
    }

    #[test]
    fn neither_retries_nor_first_attempts_take_every_place() {
        let open: Vec<_> = (1..=40).map(|seq| (seq, 2, 0)).collect();
        let outbox = outbox(50, &open);
        let mut desk = desk(&outbox, 90);
        let started = desk.start(&outbox, NOW);
        let (retries, first): (Vec<_>, Vec<_>) =
            started.iter().partition(|start| start.number == 3);
        assert_eq!(retries.len(), limits::WEBHOOK_ATTEMPTS_OF_A_KIND_MAX);
        assert_eq!(started.len(), limits::WEBHOOK_ATTEMPTS_PER_ENDPOINT_MAX);
        assert!(first.iter().all(|start| start.number == 1 && start.text.is_some()));
        assert_eq!(desk.start(&outbox, NOW), []);
    }

    #[test]
    fn a_retry_waits_until_it_is_due_and_is_not_made_twice() {
        let outbox = outbox(5, &[(3, 1, NOW), (4, 1, NOW + 1)]);
        let mut desk = desk(&outbox, 5);
        assert_eq!(seqs(&desk.start(&outbox, NOW)), [3]);
        assert_eq!(desk.next_due(&outbox), Some(NOW + 1));
        desk.ended(3, true);
        assert_eq!(seqs(&desk.start(&outbox, NOW)), [0; 0], "the state does not know of it yet");
        desk.recorded(&[3]);
        assert_eq!(seqs(&desk.start(&outbox, NOW + 1)), [3, 4]);
    }

    #[test]
    fn the_position_waits_when_the_open_retries_are_full() {
        let full: Vec<_> =
            (1..=limits::WEBHOOK_OPEN_RETRIES_MAX as u64).map(|seq| (seq, 1, NOW + 9)).collect();
        let full_outbox = outbox(2_000, &full);
        let mut one_free = desk(&outbox(2_000, &full[1..]), 2_010);
        assert_eq!(seqs(&desk(&full_outbox, 2_010).start(&full_outbox, NOW)), [0; 0]);
        let with_room = outbox(2_000, &full[1..]);
        assert_eq!(seqs(&one_free.start(&with_room, NOW)), [2_001]);
        one_free.ended(2_001, true);
        assert_eq!(
            seqs(&one_free.start(&with_room, NOW)),
            [0; 0],
            "a failure on its way takes room"
        );
        one_free.ended(2_001, false);
        assert_eq!(seqs(&one_free.start(&with_room, NOW)), [2_002]);
    }

    #[test]
    fn nothing_is_sent_far_beyond_an_event_that_is_slow() {
        let outbox = outbox(0, &[]);
        let mut desk = desk(&outbox, 200);
        let mut furthest = 0;
        for _ in 0..200 {
            let started = desk.start(&outbox, NOW);
            for start in started.iter().filter(|start| start.seq > 1) {
                furthest = furthest.max(start.seq);
                desk.ended(start.seq, false);
            }
        }
        assert_eq!(furthest, limits::WEBHOOK_AHEAD_MAX);
    }

    #[test]
    fn what_was_dealt_with_ahead_of_the_position_is_not_sent_again() {
        let mut outbox = outbox(0, &[]);
        outbox.progress.ahead.insert(2);
        let mut desk = desk(&outbox, 3);
        assert_eq!(seqs(&desk.start(&outbox, NOW)), [1, 3]);
    }

    #[test]
    fn an_attempt_that_was_not_made_is_made_later() {
        let outbox = outbox(0, &[]);
        let mut desk = desk(&outbox, 2);
        for start in desk.start(&outbox, NOW) {
            desk.put_back(start);
        }
        assert_eq!(desk.position(), 0);
        assert_eq!(seqs(&desk.start(&outbox, NOW)), [1, 2]);
    }
}
