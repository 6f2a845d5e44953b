//! The clocks of a simulated node: two that measure time, each at a rate of its own within what the
//! guarantee assumes, and one that tells it.

use authrai_cluster::lease::Reading;

/// Parts per million that a clock may be off.
pub const RATE_ERROR_MAX_PPM: u64 = 10_000;
/// A wall clock at the beginning, milliseconds since the Unix epoch.
const WALL_MS: u64 = 1_700_000_000_000;

#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// Nanoseconds that a million of true ones last.
    pub boottime_ppm: u64,
    pub raw_ppm: u64,
    /// What both showed at the beginning.
    pub origin_ns: u64,
    /// How far the wall clock is ahead.
    pub wall_ahead_ms: u64,
}

fn scaled(now_ns: u64, ppm: u64) -> u64 {
    (u128::from(now_ns) * u128::from(ppm) / 1_000_000) as u64
}

impl Clocks {
    pub fn reading(self, now_ns: u64) -> Reading {
        Reading {
            boottime_ns: self.origin_ns + scaled(now_ns, self.boottime_ppm),
            raw_ns: self.origin_ns + scaled(now_ns, self.raw_ppm),
        }
    }

    pub fn wall_ms(self, now_ns: u64) -> u64 {
        WALL_MS + self.wall_ahead_ms + now_ns / 1_000_000
    }
}
