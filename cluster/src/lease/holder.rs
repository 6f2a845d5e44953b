//! The holder's half: asks for leases and decides when one may be used.
//!
//! A lease is measured from before its request was sent (rule 2), is used only once the published
//! view has reached its commit index (rule 4), and lives here and in the [`Gate`] and nowhere else
//! (rule 10). While a newer lease waits for the view, the older one stays in the gate. A pure
//! state machine: it is told the time, what arrived and what was published, and says what to send.
//!
//! Must not know how messages travel, what a view is, or who grants.

use std::collections::VecDeque;
use std::sync::Arc;

use super::clock::Reading;
use super::gate::{Gate, Offsets};
use super::messages::{Boot, Grant, NodeId, Report, Request};
use super::params::{HOLDER_PENDING_MAX, Params};
use super::rules::{Rule, Rules};

/// What became of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// The lease is in the gate.
    Usable,
    /// The lease waits until the published view reaches this index.
    Waits {
        /// The log index.
        until: u64,
    },
    /// It answers no open request of this boot, or answers it twice.
    Unasked,
    /// It took so long that the lease is over already.
    TooLate,
    /// The leases have been given up.
    Closed,
}

/// An unanswered request.
#[derive(Debug, Clone, Copy)]
struct Sent {
    nonce: u64,
    at: Reading,
}

/// A granted lease that the view has not caught up with.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    at: Reading,
    commit: u64,
    offsets: Offsets,
}

/// The leases of one process.
#[derive(Debug)]
pub struct Holder {
    params: Params,
    node: NodeId,
    boot: Boot,
    gate: Arc<Gate>,
    published: u64,
    digest: u64,
    next_nonce: u64,
    last_sent: Option<Reading>,
    sent: VecDeque<Sent>,
    waiting: Vec<Waiting>,
    closed: bool,
    rules: Rules,
}

impl Holder {
    /// A holder without a lease. `boot` is a fresh random number; nothing of an earlier process
    /// is taken over.
    #[must_use]
    pub fn new(params: Params, node: NodeId, boot: Boot) -> Holder {
        Holder::keeping(Rules::ALL, params, node, boot)
    }

    /// The same, keeping only `rules`.
    #[cfg(feature = "model")]
    #[must_use]
    pub fn with_rules(rules: Rules, params: Params, node: NodeId, boot: Boot) -> Holder {
        Holder::keeping(rules, params, node, boot)
    }

    fn keeping(rules: Rules, params: Params, node: NodeId, boot: Boot) -> Holder {
        Holder {
            params,
            node,
            boot,
            gate: Arc::new(Gate::new(rules)),
            published: 0,
            digest: 0,
            next_nonce: 1,
            last_sent: None,
            sent: VecDeque::new(),
            waiting: Vec::new(),
            closed: false,
            rules,
        }
    }

    /// What verifiers ask.
    #[must_use]
    pub fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }

    /// How long until the next request is due, nanoseconds; 0 if now. A leader that was just
    /// found may be asked at once.
    #[must_use]
    pub fn due_in_ns(&self, now: Reading) -> u64 {
        match self.last_sent {
            Some(last) => self.params.renew_ns().saturating_sub(now.longest_since(last)),
            None => 0,
        }
    }

    /// The next request, to be sent to the leader after this returns. `now` is read by the caller
    /// right before. `None` once the leases have been given up.
    pub fn request(&mut self, now: Reading, wall_ms: u64) -> Option<Request> {
        if self.closed {
            return None;
        }
        let nonce = self.next_nonce;
        self.next_nonce += 1;
        if self.sent.len() == HOLDER_PENDING_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { nonce, at: now });
        self.last_sent = Some(now);
        let Holder { node, boot, published, .. } = *self;
        let digest = self.digest;
        Some(Request { node, boot, nonce, published, digest, wall_ms })
    }

    /// A grant arrived.
    pub fn granted(&mut self, now: Reading, grant: &Grant) -> Received {
        if self.closed {
            return Received::Closed;
        }
        let asked = self.sent.iter().position(|sent| sent.nonce == grant.nonce);
        let Some(sent) = asked.filter(|_| grant.boot == self.boot) else {
            return Received::Unasked;
        };
        let Some(sent) = self.sent.remove(sent) else {
            return Received::Unasked;
        };
        let at = sent.at;
        let at = if self.rules.keep(Rule::MeasuredFromRequest) { at } else { now };
        if now.longest_since(at) >= self.params.length_ns() && self.rules.keep(Rule::Expiry) {
            return Received::TooLate;
        }
        let lease =
            Waiting { at, commit: grant.commit, offsets: self.offsets(sent.at, now, grant) };
        if lease.commit <= self.published || !self.rules.keep(Rule::CaughtUp) {
            self.open(lease);
            return Received::Usable;
        }
        self.wait(now, lease);
        Received::Waits { until: lease.commit }
    }

    /// A request was refused: its answer is no longer waited for.
    pub fn refused(&mut self, nonce: u64) {
        self.sent.retain(|sent| sent.nonce != nonce);
    }

    /// The view that has reached log index `index` is what verifiers load from now on. `everywhere`
    /// says that the entries since the last call include one whose proposer waits for all holders;
    /// the report it gives must be sent to the leader at once.
    pub fn published(&mut self, index: u64, everywhere: bool) -> Option<Report> {
        self.published = self.published.max(index);
        let caught_up = self.waiting.iter().filter(|lease| lease.commit <= self.published);
        if let Some(newest) = caught_up.max_by_key(|lease| lease.at.raw_ns).copied() {
            self.waiting.retain(|lease| !newest.at.not_before(lease.at));
            self.open(newest);
        }
        (everywhere && !self.closed).then(|| self.report())
    }

    /// Gives every lease up for good; the report tells the leader that nothing waits for this
    /// process any more. Verifications are refused from here on.
    pub fn shut(&mut self) -> Report {
        self.closed = true;
        self.gate.close();
        self.waiting.clear();
        self.sent.clear();
        self.report()
    }

    /// What the machine has written up to the index that was published last, digested: told with
    /// the next request, never judged here.
    pub fn digested(&mut self, digest: u64) {
        self.digest = digest;
    }

    fn report(&self) -> Report {
        let Holder { node, boot, published, closed, .. } = *self;
        Report { node, boot, published, released: closed }
    }

    fn wait(&mut self, now: Reading, lease: Waiting) {
        let length_ns = self.params.length_ns();
        self.waiting.retain(|old| now.longest_since(old.at) < length_ns);
        if self.waiting.len() < HOLDER_PENDING_MAX {
            self.waiting.push(lease);
        }
    }

    /// The leader read its clock between `asked` and `now`, and a clock that runs wrong goes off by
    /// half of what the granter waits beyond the lease, as long as that lasts.
    fn offsets(&self, asked: Reading, now: Reading, grant: &Grant) -> Offsets {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let wrong_ns = (self.params.wait_ns() - self.params.length_ns()) / 2;
        let wrong_ms = signed(wrong_ns.div_ceil(1_000_000)) + 1;
        let less =
            |at: Reading| signed(grant.wall_ms).saturating_sub(signed(at.boottime_ns / 1_000_000));
        Offsets {
            surely_ms: less(now).saturating_sub(wrong_ms),
            at_most_ms: less(asked).saturating_add(wrong_ms),
        }
    }

    fn open(&self, lease: Waiting) {
        let length_ns = self.params.length_ns();
        let end = Reading {
            boottime_ns: lease.at.boottime_ns.saturating_add(length_ns),
            raw_ns: lease.at.raw_ns.saturating_add(length_ns),
        };
        self.gate.open(end, lease.offsets);
    }
}

#[cfg(test)]
mod tests;
