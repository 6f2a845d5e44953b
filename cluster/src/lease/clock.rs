//! The clocks that leases are measured with.
//!
//! A lease is only as safe as the clocks of the two nodes that measure it. `CLOCK_BOOTTIME` goes
//! on while the machine is suspended but follows NTP's slewing; `CLOCK_MONOTONIC_RAW` follows
//! nothing but stops in suspend. Both are read: whoever holds a lease believes the one that ran
//! longer, whoever granted it the one that ran shorter, so that a node errs against itself as long
//! as one of its two clocks is right. Rust's `Instant` is neither of them. Must not know what is
//! measured.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Both clocks of one node at one moment, nanoseconds since an arbitrary start. Comparable only
/// with readings of the same machine since its last boot, so a reading never leaves its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reading {
    /// `CLOCK_BOOTTIME`.
    pub boottime_ns: u64,
    /// `CLOCK_MONOTONIC_RAW`.
    pub raw_ns: u64,
}

impl Reading {
    /// What has certainly not been exceeded since `earlier`: the holder's measure, nanoseconds.
    /// Zero when `earlier` is later than this.
    #[must_use]
    pub fn longest_since(self, earlier: Reading) -> u64 {
        let (boottime, raw) = self.since(earlier);
        boottime.max(raw)
    }

    /// What has certainly gone by since `earlier`: the granter's measure, nanoseconds. Zero when
    /// either clock was later then.
    #[must_use]
    pub fn shortest_since(self, earlier: Reading) -> u64 {
        let (boottime, raw) = self.since(earlier);
        boottime.min(raw)
    }

    /// Whether neither clock has run backwards since `earlier`.
    #[must_use]
    pub fn not_before(self, earlier: Reading) -> bool {
        self.boottime_ns >= earlier.boottime_ns && self.raw_ns >= earlier.raw_ns
    }

    fn since(self, earlier: Reading) -> (u64, u64) {
        (
            self.boottime_ns.saturating_sub(earlier.boottime_ns),
            self.raw_ns.saturating_sub(earlier.raw_ns),
        )
    }
}

/// Where readings come from.
pub trait LeaseClock: Send + Sync {
    /// Both clocks, now. Never a value kept from before the call.
    fn read(&self) -> Reading;
}

/// The clocks of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl LeaseClock for SystemClock {
    fn read(&self) -> Reading {
        #[cfg(test)]
        if let Some(reading) = crate::sim::lease_clock() {
            return reading;
        }
        Reading {
            boottime_ns: nanoseconds(clock_gettime(ClockId::Boottime)),
            raw_ns: nanoseconds(clock_gettime(ClockId::MonotonicRaw)),
        }
    }
}

/// Saturates instead of wrapping; 64 bits of nanoseconds last for 584 years of uptime.
fn nanoseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boottime_ns: u64, raw_ns: u64) -> Reading {
        Reading { boottime_ns, raw_ns }
    }

    #[test]
    fn the_holder_takes_the_longer_and_the_granter_the_shorter_elapsed() {
        // earlier, later, longest, shortest
        let rows = [
            (at(100, 10), at(150, 60), 50, 50),
            // A suspend: the raw clock stood still.
            (at(100, 10), at(900, 20), 800, 10),
            // A slew: boottime ran slow.
            (at(100, 10), at(110, 60), 50, 10),
            // One clock behind its own past counts as not having moved.
            (at(100, 10), at(90, 60), 50, 0),
            (at(100, 10), at(90, 5), 0, 0),
        ];
        for (earlier, later, longest, shortest) in rows {
            assert_eq!(later.longest_since(earlier), longest, "{earlier:?} {later:?}");
            assert_eq!(later.shortest_since(earlier), shortest, "{earlier:?} {later:?}");
        }
    }

    #[test]
    fn the_system_clock_does_not_run_backwards() {
        let first = SystemClock.read();
        let second = SystemClock.read();
        assert!(second.not_before(first), "{first:?} {second:?}");
        assert!(first.boottime_ns > 0 && first.raw_ns > 0);
    }
}
