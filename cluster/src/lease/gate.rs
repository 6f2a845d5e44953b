//! What a verifier asks before it looks a token up: two atomic loads.
//!
//! A lease reaches the gate only after the view that it needs has been published, so the gate
//! holds nothing but the two clock values at which the newest such lease ends. Both only grow
//! until the gate closes, and a lease that was asked for later ends later on both clocks; so a
//! reader that catches one value of an old lease and one of a new is held to less than the new
//! one allows. Whoever reads a new value (Acquire) also sees the view published before it was
//! stored (Release): a view loaded *after* [`Gate::usable`] has reached the lease's commit index.
//!
//! Must not know where leases come from, nor what a view is.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::clock::{LeaseClock, Reading};
use super::rules::{Rule, Rules};

/// The lease of one node as its verifiers see it. Starts closed.
#[derive(Debug, Default)]
pub struct Gate {
    /// First `CLOCK_BOOTTIME` value at which there is no lease; 0 when closed.
    boottime_end_ns: AtomicU64,
    /// First `CLOCK_MONOTONIC_RAW` value at which there is no lease; 0 when closed.
    raw_end_ns: AtomicU64,
    /// The cluster's time less this node's boottime, milliseconds: what it surely is.
    surely_ms: AtomicI64,
    /// The same: what it is at most.
    at_most_ms: AtomicI64,
    rules: Rules,
}

/// The cluster's time at one moment, as far as a node can tell: between two bounds, milliseconds
/// since the Unix epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// It is this late at least.
    pub surely_ms: u64,
    /// It is no later than this.
    pub at_most_ms: u64,
}

/// The cluster's time less the boottime of a node that was granted a lease, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offsets {
    pub surely_ms: i64,
    pub at_most_ms: i64,
}

impl Gate {
    pub(super) fn new(rules: Rules) -> Gate {
        let none = || AtomicI64::new(i64::MIN);
        Gate { rules, surely_ms: none(), at_most_ms: none(), ..Gate::default() }
    }

    /// Runs `load` if this node may answer, and gives what it loaded; `None` is a 503
    /// `verification_unavailable`. Keeps the order of rule 5: a fresh clock, then the lease, then
    /// what `load` loads, which must be the published view or a part of it.
    pub fn enter<T>(&self, clock: &impl LeaseClock, load: impl FnOnce(Reading) -> T) -> Option<T> {
        let now = clock.read();
        self.usable(now).then(|| load(now))
    }

    /// Whether this node holds a lease at `now`. For a verification, `now` must have been read
    /// after it began and the view must be loaded after this: [`Gate::enter`] does both.
    #[inline]
    #[must_use]
    pub fn usable(&self, now: Reading) -> bool {
        let boottime_end_ns = self.boottime_end_ns.load(Ordering::Acquire);
        let raw_end_ns = self.raw_end_ns.load(Ordering::Acquire);
        if !self.rules.keep(Rule::Expiry) {
            return boottime_end_ns > 0;
        }
        if !self.rules.keep(Rule::HolderTakesLonger) {
            return now.boottime_ns < boottime_end_ns || now.raw_ns < raw_end_ns;
        }
        now.boottime_ns < boottime_end_ns && now.raw_ns < raw_end_ns
    }

    /// How long the lease lasts from `now`, nanoseconds; 0 without one. For status, not to decide.
    #[must_use]
    pub fn left_ns(&self, now: Reading) -> u64 {
        let boottime = self.boottime_end_ns.load(Ordering::Acquire).saturating_sub(now.boottime_ns);
        let raw = self.raw_end_ns.load(Ordering::Acquire).saturating_sub(now.raw_ns);
        boottime.min(raw)
    }

    /// The cluster's time, by which expiry is judged: what the leader's clock said at the newest
    /// lease's grant, and what has gone by since. The grant fell between the request and its
    /// arrival, and this node's clock may run wrong; so there are two bounds, right for as long as
    /// the lease lasts. Both 0 before the first lease.
    #[must_use]
    pub fn moment(&self, now: Reading) -> Moment {
        let boottime_ms = now.boottime_ns / 1_000_000;
        let at = |offset_ms: i64| boottime_ms.saturating_add_signed(offset_ms);
        // Bounds of two leases are bounds as well, so it does no harm to read one of each.
        Moment {
            surely_ms: at(self.surely_ms.load(Ordering::Acquire)),
            at_most_ms: at(self.at_most_ms.load(Ordering::Acquire)),
        }
    }

    /// Opens the gate up to `end`, never back. The view that the lease needs has been published.
    pub(super) fn open(&self, end: Reading, offsets: Offsets) {
        if end.boottime_ns < self.boottime_end_ns.load(Ordering::Acquire)
            || end.raw_ns < self.raw_end_ns.load(Ordering::Acquire)
        {
            return;
        }
        self.surely_ms.store(offsets.surely_ms, Ordering::Release);
        self.at_most_ms.store(offsets.at_most_ms, Ordering::Release);
        self.boottime_end_ns.store(end.boottime_ns, Ordering::Release);
        self.raw_end_ns.store(end.raw_ns, Ordering::Release);
    }

    /// Closes it. Sequentially consistent, so that it is seen before any message that is sent
    /// after this.
    pub(super) fn close(&self) {
        if self.rules.keep(Rule::ReleaseCloses) {
            self.boottime_end_ns.swap(0, Ordering::SeqCst);
            self.raw_end_ns.swap(0, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Offsets = Offsets { surely_ms: 0, at_most_ms: 0 };

    fn at(boottime_ns: u64, raw_ns: u64) -> Reading {
        Reading { boottime_ns, raw_ns }
    }

    #[test]
    fn the_gate_is_shut_from_the_end_on_whichever_clock_gets_there_first() {
        let gate = Gate::default();
        assert!(!gate.usable(at(0, 0)), "closed at first");
        gate.open(at(200, 100), NOW);
        for (now, usable) in [
            (at(199, 99), true),
            (at(200, 99), false),
            (at(199, 100), false),
            (at(0, 0), true),
            (at(500, 0), false),
        ] {
            assert_eq!(gate.usable(now), usable, "{now:?}");
        }
        assert_eq!(gate.left_ns(at(150, 80)), 20);
        assert_eq!(gate.left_ns(at(201, 80)), 0);
    }

    #[test]
    fn an_older_lease_never_replaces_a_newer_one() {
        let gate = Gate::default();
        gate.open(at(200, 100), NOW);
        for older in [at(150, 50), at(199, 120), at(220, 99)] {
            gate.open(older, NOW);
            assert!(gate.usable(at(199, 99)), "{older:?}");
            assert!(!gate.usable(at(200, 99)), "{older:?}");
        }
    }

    #[test]
    fn a_closed_gate_lets_nobody_in() {
        let gate = Gate::default();
        gate.open(at(200, 100), NOW);
        gate.close();
        assert!(!gate.usable(at(0, 0)));
    }

    #[test]
    fn the_view_is_loaded_only_with_a_lease_and_after_it() {
        struct Fixed(Reading);
        impl LeaseClock for Fixed {
            fn read(&self) -> Reading {
                self.0
            }
        }
        let gate = Gate::default();
        assert_eq!(gate.enter(&Fixed(at(1, 1)), |_| panic!("loaded without a lease")), None::<()>);
        gate.open(at(200, 100), NOW);
        assert_eq!(gate.enter(&Fixed(at(1, 2)), |now| now), Some(at(1, 2)));
    }

    #[test]
    fn the_clusters_time_goes_on_with_boottime() {
        let gate = Gate::new(Rules::ALL);
        assert_eq!(gate.moment(at(7, 7)), Moment::default());
        let begun = 1_700_000_000_000 - 5_000;
        gate.open(at(9_000_000_000, 9), Offsets { surely_ms: begun - 60, at_most_ms: begun + 50 });
        let moment = Moment { surely_ms: 1_700_000_000_190, at_most_ms: 1_700_000_000_300 };
        assert_eq!(gate.moment(at(5_250_000_000, 1)), moment);
    }
}
