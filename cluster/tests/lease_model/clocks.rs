//! The clocks of one machine: two, of which at least one keeps within the allowed error.
//!
//! Time passes in ticks of a real millisecond. A clock that is right advances 0.9 to 1.1 ms a
//! tick; a faulty one anything from nothing to five. Suspend stops the raw clock only.

use authrai_cluster::lease::Reading;

use crate::dice::Dice;

/// The rate error that the model allows, parts per million.
pub const DRIFT_PPM: u64 = 100_000;
/// A lease, in ticks.
pub const LENGTH_TICKS: u64 = 100;
/// Nanoseconds that a clock with rate 1000 advances in a tick.
pub const TICK_NS: u64 = 1_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Faulty {
    Neither,
    Boottime,
    Raw,
}

pub struct Clocks {
    now: Reading,
    faulty: Faulty,
    /// Rates in thousandths.
    boottime_rate: u64,
    raw_rate: u64,
    pub suspended: bool,
}

impl Clocks {
    pub fn new(dice: &mut Dice) -> Clocks {
        let faulty = dice.pick(&[
            Faulty::Neither,
            Faulty::Neither,
            Faulty::Neither,
            Faulty::Boottime,
            Faulty::Raw,
        ]);
        let start = |dice: &mut Dice| 1_000_000_000 + dice.below(1_000) as u64 * TICK_NS;
        let now = Reading { boottime_ns: start(dice), raw_ns: start(dice) };
        let mut clocks =
            Clocks { now, faulty, boottime_rate: 1_000, raw_rate: 1_000, suspended: false };
        clocks.change_rates(dice);
        clocks
    }

    pub fn change_rates(&mut self, dice: &mut Dice) {
        let right = |dice: &mut Dice| match dice.below(3) {
            0 => 900,
            1 => 1_100,
            _ => 900 + dice.below(201) as u64,
        };
        let wrong = |dice: &mut Dice| dice.pick(&[0, 300, 1_000, 2_000, 5_000]);
        let faulty = self.faulty;
        self.boottime_rate = if faulty == Faulty::Boottime { wrong(dice) } else { right(dice) };
        self.raw_rate = if faulty == Faulty::Raw { wrong(dice) } else { right(dice) };
    }

    /// A machine whose boottime is wrong is never suspended: both clocks would be wrong.
    pub fn suspend(&mut self) {
        if self.faulty != Faulty::Boottime {
            self.faulty = Faulty::Raw;
            self.suspended = true;
        }
    }

    pub fn advance(&mut self, ticks: u64) {
        let raw_rate = if self.suspended { 0 } else { self.raw_rate };
        self.now.boottime_ns += ticks * self.boottime_rate * (TICK_NS / 1_000);
        self.now.raw_ns += ticks * raw_rate * (TICK_NS / 1_000);
    }

    pub fn now(&self) -> Reading {
        self.now
    }
}
