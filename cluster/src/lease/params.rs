//! How long leases last, and every bound on what they make a node hold.
//!
//! All in integers, rounded against the node that measures. Must not know a clock.

/// Lease length that a cluster starts with.
pub const LENGTH_DEFAULT_NS: u64 = 2_000_000_000;
/// Shortest lease: below this, ordinary scheduling delays would cost leases.
pub const LENGTH_MIN_NS: u64 = 100_000_000;
/// Longest lease: a revoke waits this long for a node that died.
pub const LENGTH_MAX_NS: u64 = 60_000_000_000;
/// Clock-rate error allowed for, parts per million. One per cent is promised; this much makes the
/// granter's wait 1.05 lease lengths, so the promise has a margin.
pub const DRIFT_DEFAULT_PPM: u64 = 24_390;
/// Largest clock-rate error that can be allowed for.
pub const DRIFT_MAX_PPM: u64 = 500_000;
/// Renewals in one lease length: a lease has at least seven eighths left when a leader dies, which
/// is more than electing the next one takes.
pub const RENEWALS_PER_LENGTH: u64 = 8;
/// Requests of one holder that may be unanswered, and granted leases that may wait for its view.
pub const HOLDER_PENDING_MAX: usize = 8;
/// Unexpired grants that one holder may have; one more request is refused.
pub const GRANTS_PER_HOLDER_MAX: usize = 64;
/// Boots of one node that may have unexpired grants; a node that restarts more often waits.
pub const BOOTS_PER_NODE_MAX: usize = 16;
/// Requests that may wait for a read-index round.
pub const WAITING_REQUESTS_MAX: usize = 1_024;
/// How far a leader's wall clock may lie from the voters' median before it hands over.
pub const WALL_SKEW_MAX_MS: u64 = 5_000;

/// Why parameters were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadParams {
    /// The lease is too short or too long.
    #[error(
        "a lease of {length_ns} ns is outside {LENGTH_MIN_NS} to {LENGTH_MAX_NS} ns; set lease.length_ms between 100 and 60000"
    )]
    Length {
        /// What was asked for.
        length_ns: u64,
    },
    /// The allowed clock-rate error is too large.
    #[error("a clock-rate error of {drift_ppm} ppm is over {DRIFT_MAX_PPM} ppm")]
    Drift {
        /// What was asked for.
        drift_ppm: u64,
    },
    /// Renewal would come too late, or without pause.
    #[error(
        "renewal every {renew_ns} ns does not fit a lease of {length_ns} ns; set lease.renew_ms to at most half of lease.length_ms"
    )]
    Renewal {
        /// What was asked for.
        renew_ns: u64,
        /// The lease length.
        length_ns: u64,
    },
}

/// Lease length L, renewal, clock-rate error ρ and the wait W that follows from them. The same on
/// every node of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    length_ns: u64,
    renew_ns: u64,
    wait_ns: u64,
}

impl Params {
    /// Leases of `length_ns`, renewed every `renew_ns`, on clocks at most `drift_ppm` off.
    pub fn new(length_ns: u64, renew_ns: u64, drift_ppm: u64) -> Result<Params, BadParams> {
        if !(LENGTH_MIN_NS..=LENGTH_MAX_NS).contains(&length_ns) {
            return Err(BadParams::Length { length_ns });
        }
        if drift_ppm > DRIFT_MAX_PPM {
            return Err(BadParams::Drift { drift_ppm });
        }
        if renew_ns == 0 || renew_ns > length_ns / 2 {
            return Err(BadParams::Renewal { renew_ns, length_ns });
        }
        Ok(Params { length_ns, renew_ns, wait_ns: wait_ns(length_ns, drift_ppm) })
    }

    /// L: how long a holder may use a lease from the moment it asked, by its own clock.
    #[must_use]
    pub fn length_ns(&self) -> u64 {
        self.length_ns
    }

    /// How long after a request the next one is due.
    #[must_use]
    pub fn renew_ns(&self) -> u64 {
        self.renew_ns
    }

    /// W: how long a granter waits from a grant, by its own clock, until the lease is certainly
    /// over by the holder's.
    #[must_use]
    pub fn wait_ns(&self) -> u64 {
        self.wait_ns
    }

    /// How far behind a holder's view may be and still be granted leases: half a lease.
    #[must_use]
    pub fn lag_max_ns(&self) -> u64 {
        self.length_ns / 2
    }
}

impl Default for Params {
    fn default() -> Params {
        Params {
            length_ns: LENGTH_DEFAULT_NS,
            renew_ns: LENGTH_DEFAULT_NS / RENEWALS_PER_LENGTH,
            wait_ns: wait_ns(LENGTH_DEFAULT_NS, DRIFT_DEFAULT_PPM),
        }
    }
}

/// L·(1+ρ)/(1−ρ), rounded up: a holder's clock that runs slow by ρ spends L/(1−ρ) of real time on a
/// lease, and a granter's that runs fast by ρ sees (1+ρ) times that.
fn wait_ns(length_ns: u64, drift_ppm: u64) -> u64 {
    const MILLION: u64 = 1_000_000;
    let drift_ppm = drift_ppm.min(DRIFT_MAX_PPM);
    let wait = (u128::from(length_ns) * u128::from(MILLION + drift_ppm))
        .div_ceil(u128::from(MILLION - drift_ppm));
    u64::try_from(wait).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn the_wait_covers_both_clocks_and_rounds_up() {
        // length, ppm, wait
        let rows = [
            (2 * SECOND_NS, 0, 2 * SECOND_NS),
            (2 * SECOND_NS, 10_000, 2_040_404_041),
            (SECOND_NS, 100_000, 1_222_222_223),
            (900_000_000, 100_000, 1_100_000_000),
            (SECOND_NS, 500_000, 3 * SECOND_NS),
        ];
        for (length, ppm, wait) in rows {
            assert_eq!(wait_ns(length, ppm), wait, "{length} at {ppm} ppm");
        }
    }

    #[test]
    fn the_default_waits_one_and_a_twentieth_of_a_lease() {
        let params = Params::default();
        assert_eq!(
            Params::new(
                LENGTH_DEFAULT_NS,
                LENGTH_DEFAULT_NS / RENEWALS_PER_LENGTH,
                DRIFT_DEFAULT_PPM
            ),
            Ok(params)
        );
        assert!(params.wait_ns() <= LENGTH_DEFAULT_NS / 20 * 21);
        assert!(params.wait_ns() >= LENGTH_DEFAULT_NS / 1_000 * 1_049);
    }

    #[test]
    fn parameters_out_of_bounds_are_refused() {
        let (length, renew) = (SECOND_NS, SECOND_NS / 4);
        let rows = [
            (LENGTH_MIN_NS - 1, 1, 0, BadParams::Length { length_ns: LENGTH_MIN_NS - 1 }),
            (LENGTH_MAX_NS + 1, renew, 0, BadParams::Length { length_ns: LENGTH_MAX_NS + 1 }),
            (length, 0, 0, BadParams::Renewal { renew_ns: 0, length_ns: length }),
            (length, length, 0, BadParams::Renewal { renew_ns: length, length_ns: length }),
            (length, renew, DRIFT_MAX_PPM + 1, BadParams::Drift { drift_ppm: DRIFT_MAX_PPM + 1 }),
        ];
        for (length_ns, renew_ns, drift_ppm, error) in rows {
            assert_eq!(Params::new(length_ns, renew_ns, drift_ppm), Err(error));
        }
    }
}
