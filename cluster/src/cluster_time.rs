//! The cluster's time, by which expiry is judged: one clock for all nodes, which never goes back.
//!
//! Nodes whose wall clocks differ would call a token expired here and valid there. So they all go by
//! the leader's clock, which leases carry to them ([`crate::lease::Gate::moment`]); and that goes on
//! where it was whatever happens to the leader or to its wall clock. One that is behind is waited for,
//! and one that jumped is not believed. A step within the allowed skew is made up for slowly, so that
//! what a node was told with its lease stays right for as long as the lease lasts. A leader takes over
//! what it saw of the time of the one before. Must not know whether a wall clock is right.

use crate::lease::WALL_SKEW_MAX_MS;

/// As far from the wall clock as two leaders' clocks may differ, the time goes slower or faster. Further
/// ahead it stands still; further behind it jumps, for somebody has said that the clock is right.
const SLEWED_UP_TO_NS: u64 = 2 * WALL_SKEW_MAX_MS * 1_000_000;
/// It goes slower or faster by one part in so many. Within a lease that is less than what the holders
/// of leases allow for wrong clocks, beside the clocks' own error of one part in a hundred.
const SLEWED_BY: u64 = 80;

/// The cluster's time, nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ClusterTime {
    ns: u64,
    /// Whether it has followed a trusted clock before: the first one sets it.
    followed: bool,
}

impl ClusterTime {
    /// Milliseconds since the Unix epoch.
    pub(crate) fn ms(self) -> u64 {
        self.ns / 1_000_000
    }

    /// It is `ms` or later.
    pub(crate) fn at_least(&mut self, ms: u64) {
        self.ns = self.ns.max(ms.saturating_mul(1_000_000));
    }

    /// At least `elapsed_ns` have gone by; `wall_ms` is what the wall clock says, if it is trusted.
    pub(crate) fn advance(&mut self, elapsed_ns: u64, wall_ms: Option<u64>) {
        let on = self.ns.saturating_add(elapsed_ns);
        let Some(wall_ms) = wall_ms else {
            self.ns = on;
            return;
        };
        let wall_ns = wall_ms.saturating_mul(1_000_000);
        let (ahead, behind) = (on.saturating_sub(wall_ns), wall_ns.saturating_sub(on));
        let slew = elapsed_ns / SLEWED_BY;
        let first = !std::mem::replace(&mut self.followed, true);
        self.ns = if ahead > SLEWED_UP_TO_NS {
            self.ns
        } else if ahead > 0 {
            (on - slew).max(wall_ns)
        } else if first || behind > SLEWED_UP_TO_NS {
            wall_ns
        } else {
            on.saturating_add(slew).min(wall_ns)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: u64 = 1_700_000_000_000;

    #[test]
    fn the_time_follows_a_trusted_clock_and_goes_on_without_one_but_never_back() {
        // The wall clock if it is trusted, from the start; and the time after eight seconds.
        for (wall_ms, then_ms) in [
            (Some(8_000), 8_000),
            (Some(8_050), 8_050),
            // A step is made up for.
            (Some(8_200), 8_100),
            (Some(18_000), 8_100),
            // Further than two leaders differ: somebody has confirmed it.
            (Some(18_001), 18_001),
            (Some(3_600_000), 3_600_000),
            (None, 8_000),
            // Behind by what two leaders may differ: slower.
            (Some(7_950), 7_950),
            (Some(-2_000), 7_900),
            // Behind by more: it waits.
            (Some(-2_001), 0),
            (Some(-3_600_000), 0),
        ] {
            let mut time = ClusterTime::default();
            time.advance(0, Some(START_MS));
            let wall_ms = wall_ms.map(|ms| START_MS.saturating_add_signed(ms));
            time.advance(8_000_000_000, wall_ms);
            assert_eq!(time.ms(), START_MS + then_ms, "{wall_ms:?}");
            time.at_least(START_MS);
            assert_eq!(time.ms(), START_MS + then_ms, "{wall_ms:?}");
        }
    }

    #[test]
    fn the_first_trusted_clock_sets_the_time_unless_it_is_behind() {
        for (wall_ms, then_ms) in [(4_000, 4_000), (-4_000, 0)] {
            let mut time = ClusterTime::default();
            time.at_least(START_MS);
            time.advance(0, Some(START_MS.saturating_add_signed(wall_ms)));
            assert_eq!(time.ms(), START_MS + then_ms, "{wall_ms}");
        }
    }

    #[test]
    fn what_is_short_of_a_millisecond_is_not_lost() {
        let mut time = ClusterTime::default();
        for _ in 0..4_000 {
            time.advance(250_000, None);
        }
        assert_eq!(time.ms(), 1_000);
    }
}
